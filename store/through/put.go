package through

import (
	"context"
	"fmt"
	"sync"
	"time"

	"headwater/store"
	"headwater/store/through/internal/memcache"
)

func opError(op string, r store.Record, err error) error {
	return fmt.Errorf("through: %s %v: %w", op, r, err)
}

// Put writes to the store, and beside it the chunks to every zone; what makes
// them visible there follows when the store has acknowledged, and is waited
// for, at most for the time-out.
func (s *Store) Put(ctx context.Context, r store.Record, item store.Item) error {
	if err := s.enter(ctx); err != nil {
		return opError("put", r, err)
	}
	defer s.ops.Done()
	if !cached(r) || item.Validate() != nil || item.Token.CheckDrift(time.Now()) != nil {
		return s.below.Put(ctx, r, item) // which may know better
	}
	w := s.stage(ctx, id{r, item.Key}, item)
	err := s.below.Put(ctx, r, item)
	stored := time.Now()
	w.end(err)
	store.Trace(ctx, "through", time.Since(stored))
	return err
}

// write is a Put under way in the zones.
type write struct {
	s     *Store
	id    id
	names names
	item  store.Item
	entry func() *entry // made once

	stage, commit         context.Context // of the chunks, and of all
	stopStage, stopCommit context.CancelCauseFunc
	acked                 chan struct{} // closed when the store has acknowledged
	zones                 sync.WaitGroup
}

// stage begins the write in every zone.
func (s *Store) stage(ctx context.Context, i id, item store.Item) *write {
	w := &write{s: s, id: i, names: s.names(i), item: item, acked: make(chan struct{})}
	w.entry = sync.OnceValue(func() *entry { return s.newEntry(i, item) })
	// A caller that leaves before the store has answered ends it; who leaves
	// between is owed to.
	w.commit, w.stopCommit = context.WithCancelCause(ctx)
	w.stage, w.stopStage = context.WithCancelCause(w.commit)
	for _, z := range s.zones {
		w.zones.Go(func() { w.into(z) })
	}
	return w
}

// end finishes the write: what the store did decides.
func (w *write) end(err error) {
	s, word := w.s, w.word()
	defer w.stopStage(nil)
	defer w.stopCommit(nil)
	if err == nil {
		close(w.acked)
		// Some of the time is kept for the word that has to be left in any case.
		budget := s.budget(len(w.item.Value))
		a := time.AfterFunc(budget*3/4, func() { w.stopStage(memcache.ErrTimeout) })
		b := time.AfterFunc(budget, func() { w.stopCommit(memcache.ErrTimeout) })
		w.zones.Wait()
		a.Stop()
		b.Stop()
		// At the end: what began before has perhaps seen what was not yet told.
		s.forget(func(i id) bool { return i == w.id })
		return
	}
	w.stopCommit(nil)
	w.zones.Wait()
	if !definite(err) {
		// It may have had its effect, or will have.
		nodes := s.entryNodes(w.names)
		s.tasks.Go(func() { s.tell(s.ctx, nodes, word) })
	}
}

func (w *write) word() debt { return debt{key: w.names.entry, token: w.item.Token} }

// into writes to one zone.
func (w *write) into(z *zone) {
	s, n := w.s, z.node(w.names.entry)
	l, err := n.lookup(w.stage, s.cfg.Timeout, w.id, w.names)
	whole := err == nil && w.certain(l)
	if whole && len(w.entry().sums) > 0 {
		err := z.putChunks(w.stage, s.budget(len(w.item.Value)), w.names, w.entry(), w.item.Value, w.entry().all())
		whole = err == nil
	}
	select {
	case <-w.acked:
	case <-w.commit.Done():
		select {
		case <-w.acked:
		default:
			return // the store has not
		}
	}
	if err == nil && whole {
		if done, setErr := l.set(w.commit, s.cfg.Timeout, *w.entry(), l.at); setErr == nil && done {
			z.count.puts.Add(1)
			return
		}
	}
	if err == nil && l.entry != nil && l.entry.token == w.item.Token && l.valid() {
		return // the same write again
	}
	if err != nil || n.raise(w.commit, s.cfg.Timeout, w.word()) != nil {
		n.owe(w.word())
	}
}

// certain reports whether the item will be the newest when the store has taken
// it: nothing newer is known here, and if there were, it would be. A write
// whose token is old may have been overtaken, and its server have forgotten by
// what; so may a server that is new.
func (w *write) certain(l *lease) bool {
	now, t := time.Now(), w.item.Token
	age := time.Duration(now.UnixNano() - t.Time)
	switch {
	case age > trusted || age < -trusted:
	case time.Duration(now.UnixMilli()-l.gen.born)*time.Millisecond < w.s.cfg.Settle:
	case l.covers.Compare(t) >= 0:
	case l.entry != nil && (l.entry.token.Compare(t) > 0 || l.entry.token == t && l.entry.live):
	case len(w.item.Value) > w.s.cfg.MaxItemBytes, !w.item.Expires.IsZero() && !w.item.Expires.After(now):
	default:
		return true
	}
	return false
}
