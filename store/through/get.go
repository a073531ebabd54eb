package through

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"headwater/store"
)

// flight is one read on behalf of all who want the item. It is the cache's: it
// goes on when who began it leaves.
type flight struct {
	done chan struct{} // closed when item and err are set
	item store.Item
	err  error
}

// maxFlights bounds the reads under way; more go to the store each for itself.
const maxFlights = 1024

// Signals implements store.Signaller: they are those of the store behind the cache.
func (s *Store) Signals() []store.Signal { return store.SignalsOf(s.below) }

// Get reads from the local zone, else another, else the store.
func (s *Store) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	return s.get(ctx, r, key, false)
}

// GetFresh is Get from the store, whatever is cached, and mends the cache: for
// who knows that there is something newer than Get returned.
func (s *Store) GetFresh(ctx context.Context, r store.Record, key string) (store.Item, error) {
	return s.get(ctx, r, key, true)
}

func (s *Store) get(ctx context.Context, r store.Record, key string, fresh bool) (store.Item, error) {
	if err := s.enter(ctx); err != nil {
		return store.Item{}, fmt.Errorf("through: get %v, key %q: %w", r, key, err)
	}
	defer s.ops.Done()
	if !cached(r) || store.ValidateKey(key) != nil {
		return s.below.Get(ctx, r, key)
	}
	f := s.join(id{r, key}, fresh)
	if f == nil {
		s.count.storeReads.Add(1)
		return s.below.Get(ctx, r, key)
	}
	select {
	case <-f.done:
		return f.item, f.err
	case <-ctx.Done():
		return store.Item{}, fmt.Errorf("through: get %v, key %q: %w", r, key, ctx.Err())
	}
}

// join returns the flight of an item, and begins it if there is none; nil if
// there are too many. A fresh one never joins, and takes the place of others.
func (s *Store) join(i id, fresh bool) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[i]; f != nil && !fresh {
		s.count.joined.Add(1)
		return f
	}
	if len(s.flights) >= maxFlights {
		return nil
	}
	f := &flight{done: make(chan struct{})}
	s.flights[i] = f
	s.tasks.Go(func() { s.fly(i, f, fresh) })
	return f
}

// forget has nobody join the flights of what which reports any more: what they
// read may be from before a mutation that is acknowledged now.
func (s *Store) forget(which func(id) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.flights {
		if which(i) {
			delete(s.flights, i)
		}
	}
}

func (s *Store) landed(i id, f *flight) {
	s.mu.Lock()
	if s.flights[i] == f {
		delete(s.flights, i)
	}
	s.mu.Unlock()
}

// fly reads, tells those who wait, and fills what missed. Until that is done
// others join: they would miss too.
func (s *Store) fly(i id, f *flight, fresh bool) {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.ReadTimeout)
	defer cancel()
	r := &read{s: s, id: i, names: s.names(i), fresh: fresh}
	f.item, f.err = r.run(ctx)
	if f.err != nil {
		if errors.Is(f.err, context.DeadlineExceeded) && ctx.Err() != nil || errors.Is(f.err, context.Canceled) {
			// The flight's own time, not the caller's.
			f.err = fmt.Errorf("through: get %v, key %q: %w: no answer of the store in %v", i.record, i.key, store.ErrUnavailable, s.cfg.ReadTimeout)
		}
		s.landed(i, f)
		close(f.done)
		return
	}
	close(f.done)
	r.fill(ctx, f.item)
	s.landed(i, f)
}

// read is one read: zone by zone, then the store.
type read struct {
	s     *Store
	id    id
	names names
	fresh bool

	leases  []*lease    // of the zones that were asked
	checked *lease      // where the item was found; nil if in the store
	floor   store.Token // the newest token that any zone knows of the item
	covers  store.Token // and of a delete of its record
	lacks   []lack      // chunks that zones did not have
	gone    store.Token // of an item whose chunks are not to be had
	entry   *entry      // describes the item, if that is known
}

type lack struct {
	zone   *zone
	chunks []int
}

func (r *read) run(ctx context.Context) (store.Item, error) {
	s := r.s
	for zi, z := range s.zones {
		n := z.node(r.names.entry)
		settled := n.settled(time.Now())
		l, err := n.lookup(ctx, s.cfg.Timeout, r.id, r.names)
		if err != nil {
			z.count.misses.Add(1)
			continue
		}
		r.leases = append(r.leases, l)
		overtaken := r.overtaken(l)
		if settled && !r.fresh && !overtaken && l.fresh(time.Now(), s.cfg.FreshFor) && !r.lost(l) && !s.doubts.about(r.names, l.entry) {
			if value, ok := r.assemble(ctx, zi, l.entry); ok {
				z.count.hits.Add(1)
				r.checked, r.entry = l, l.entry
				return l.entry.item(value), nil
			}
		}
		z.count.misses.Add(1)
	}
	if item, ok := r.confirm(ctx); ok {
		return item, nil
	}
	s.count.storeReads.Add(1)
	r.lacks = nil
	return s.below.Get(ctx, r.id.record, r.id.key)
}

// assemble gets an entry's value from zone zi, and what that lacks from the others.
func (r *read) assemble(ctx context.Context, zi int, e *entry) ([]byte, bool) {
	if len(e.sums) == 0 {
		return e.inline, true
	}
	value, need := make([]byte, e.size), e.all()
	for i := range r.s.zones {
		z := r.s.zones[(zi+i)%len(r.s.zones)]
		value, need = z.getChunks(ctx, r.s.budget(e.size), r.names, e, value, need)
		if len(need) == 0 {
			return value, true
		}
		r.lacks = append(r.lacks, lack{z, need})
	}
	r.gone = e.token
	return nil, false
}

// overtaken reports whether a zone that was asked before knows of a mutation
// that makes this one's entry old, and remembers what this one knows.
func (r *read) overtaken(l *lease) bool {
	old := l.entry != nil && l.entry.token.Compare(r.floor) < 0 ||
		l.entry != nil && l.covers.Compare(r.covers) < 0 && l.entry.token.Compare(r.covers) <= 0
	if l.entry != nil && l.entry.token.Compare(r.floor) > 0 {
		r.floor = l.entry.token
	}
	if l.covers.Compare(r.covers) > 0 {
		r.covers = l.covers
	}
	return old
}

// lost reports whether the chunks were asked for already, in all zones.
func (r *read) lost(l *lease) bool { return l.entry.token == r.gone }

// confirm serves an entry that has become too old to be believed, or counts no
// more, if the store says that its token is still the newest: that costs a look
// at the metadata, not the bytes.
func (r *read) confirm(ctx context.Context) (store.Item, bool) {
	if r.fresh || len(r.id.key) >= store.MaxKeyBytes {
		return store.Item{}, false
	}
	var best *lease
	for _, l := range r.leases {
		if l.entry != nil && l.entry.live && (best == nil || l.entry.token.Compare(best.entry.token) > 0) {
			best = l
		}
	}
	if best == nil || r.lost(best) {
		return store.Item{}, false
	}
	r.s.count.checks.Add(1)
	// No key lies between a key and itself with the least character.
	page, err := r.s.below.Scan(ctx, r.id.record, store.ScanOptions{From: r.id.key, To: r.id.key + "\x01", MaxBytes: 1})
	if err != nil || len(page.Items) != 1 || page.Items[0].Key != r.id.key || page.Items[0].Token != best.entry.token {
		return store.Item{}, false
	}
	for zi, z := range r.s.zones {
		if z != best.node.zone {
			continue
		}
		if value, ok := r.assemble(ctx, zi, best.entry); ok {
			r.entry = best.entry
			return best.entry.item(value), true
		}
	}
	return store.Item{}, false
}

// fill puts what was read where it missed.
func (r *read) fill(ctx context.Context, item store.Item) {
	s := r.s
	now := time.Now()
	if len(item.Value) > s.cfg.MaxItemBytes || !item.Expires.IsZero() && !item.Expires.After(now) {
		return
	}
	e := r.entry
	for _, lack := range r.lacks {
		if lack.zone.putChunks(ctx, s.budget(len(item.Value)), r.names, e, item.Value, lack.chunks) == nil {
			lack.zone.count.refills.Add(1)
		}
	}
	for _, l := range r.leases {
		if l == r.checked || l.held || l.entry != nil && l.entry.token.Compare(item.Token) > 0 {
			continue
		}
		if e == nil {
			e = s.newEntry(r.id, item)
		}
		z := l.node.zone
		// A zone that knows the token has the chunks, or lacked them above.
		if len(e.sums) > 0 && !(l.entry != nil && l.entry.live && l.entry.token == item.Token && r.entry != nil) {
			if z.putChunks(ctx, s.budget(len(item.Value)), r.names, e, item.Value, e.all()) != nil {
				continue
			}
		}
		// It was known to be the newest when this zone, or the one it comes
		// from, was asked: before the store was.
		checked := l.at
		if r.checked != nil {
			if t := time.UnixMilli(r.checked.entry.checked); t.Before(checked) {
				checked = t
			}
		}
		if done, err := l.set(ctx, s.cfg.Timeout, *e, checked); err == nil && done {
			z.count.refills.Add(1)
		} else if err == nil {
			z.count.overtaken.Add(1)
		}
	}
}

// Open implements store.Opener by Get: the value is held until Close.
func (s *Store) Open(ctx context.Context, r store.Record, key string) (store.Reader, error) {
	if o, ok := s.below.(store.Opener); ok && !cached(r) {
		if err := s.enter(ctx); err != nil {
			return nil, opError("open", r, err)
		}
		defer s.ops.Done()
		return o.Open(ctx, r, key)
	}
	item, err := s.Get(ctx, r, key)
	if err != nil {
		return nil, err
	}
	rd := &reader{Reader: bytes.NewReader(item.Value), item: item}
	rd.item.Value = nil
	return rd, nil
}

type reader struct {
	*bytes.Reader
	item store.Item
}

func (r *reader) Item() store.Item { return r.item }
func (r *reader) Close() error     { return nil }
