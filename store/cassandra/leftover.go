package cassandra

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"headwater/store"
)

// Who puts an item of control reads beside that which versions he replaces, and looks
// a little later which one the row names now. Chunks of the others that he knows of,
// his own among them, go. Who puts anything and fails looks later still, when nobody
// tries again with that token. Sweep finds what those left who ended before they looked.
//
//	a writer            another             a reader             later
//	reads: P is named   reads: P is named   reads: P is named
//	names A             names B, newer                           each looks: B is named;
//	                                                             P and A go
//	                                        a chunk of P is not
//	                                        there, reads again:
//	                                        B is named
//
// Who reads before A is named and names C after A's writer has looked knows nothing of
// A, so A is looked at until all who may have read before that have ended.
//
// He looks with a quorum of every data centre, which mends those that have not heard
// of the newest version. So none has a row that names a chunk which is gone; and what
// another data centre has named is not taken for an orphan where only its chunks have
// come so far. Where one does not answer, chunks stay until it does.
//
// Of a put that failed a single node may know, and tell the others when it is back. So
// what is newer than what is named goes only after every node was asked. It goes after
// OrphanAge of this process's own: by another's clock a put under way may look old.
//
// The delete of a chunk has the token of its put, and wins over it: an attempt that
// comes later still writes nothing.

// left are the chunks of one version of an item, which may be named by no row.
type left struct {
	itemKey
	token       store.Token
	from, parts int       // numbers of chunks: from, and before parts
	due         time.Time // when to look
	until       time.Time // who had not seen that it is named may still replace it before this
}

type itemKey struct {
	sp          *space
	record, key string
}

// mostLeft bounds the memory of what is to be looked at; of more the oldest is left to
// Sweep, or to its time to live.
const mostLeft = 1 << 14

// leftovers is what a process has to look at.
type leftovers struct {
	mu   sync.Mutex // guards the following
	list []left
}

func (l *leftovers) add(what ...left) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, what...)
	if over := len(l.list) - mostLeft; over > 0 {
		l.list = slices.Delete(l.list, 0, over)
	}
}

// take takes what is due, by item.
func (l *leftovers) take(now time.Time) map[itemKey][]left {
	l.mu.Lock()
	defer l.mu.Unlock()
	due := make(map[itemKey][]left)
	l.list = slices.DeleteFunc(l.list, func(x left) bool {
		if now.Before(x.due) {
			return false
		}
		due[x.itemKey] = append(due[x.itemKey], x)
		return true
	})
	return due
}

// replaced returns the versions with chunks that an item's row names, to be looked at
// once they are replaced. If it cannot read them they are left to Sweep.
func (s *Store) replaced(ctx context.Context, sp *space, r store.Record, key string) (all []left) {
	got, err := s.versions(ctx, sp, r, key)
	if err != nil {
		return nil
	}
	for token, b := range got.heads {
		if h, err := decodeHead(string(token), b); err == nil && !h.dead && !h.inline {
			all = append(all, left{itemKey: itemKey{sp, r.ID, key}, token: h.token, parts: len(h.sums)})
		}
	}
	return all
}

// leave has versions looked at that much later. Where they are named still they stay.
func (s *Store) leave(after time.Duration, versions ...left) {
	now := time.Now()
	for i := range versions {
		versions[i].due = now.Add(after)
		if versions[i].until.IsZero() {
			versions[i].until = now.Add(s.opt.Timeout + attemptTimeout)
		}
	}
	s.left.add(versions...)
}

// tidyEvery is how often a process looks whether something is due.
const tidyEvery = 5 * time.Second

// tidy removes what is due, until ctx ends.
func (s *Store) tidy(ctx context.Context) {
	tick := time.NewTicker(min(tidyEvery, s.opt.ReplacedAge, s.opt.OrphanAge))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for item, versions := range s.left.take(time.Now()) {
			if err := s.look(ctx, item, versions); err != nil && ctx.Err() == nil {
				s.opt.Logger.Debug("cassandra: chunks that may be named no more are looked at again later", "record", item.record, "key", item.key, "err", err)
				s.leave(s.opt.OrphanAge, versions...)
			}
		}
	}
}

// look removes the chunks of versions that the item's row does not name.
func (s *Store) look(ctx context.Context, item itemKey, versions []left) error {
	named, err := s.named(ctx, item, gocql.EachQuorum)
	if err == nil && slices.ContainsFunc(versions, func(v left) bool { return encodeToken(v.token) > named }) {
		named, err = s.named(ctx, item, gocql.All)
	}
	if err != nil {
		return err
	}
	for _, v := range versions {
		if encodeToken(v.token) == named {
			if time.Now().Before(v.until) {
				s.leave(s.opt.ReplacedAge, v)
			}
			continue
		}
		err := each(ctx, v.parts-v.from, parallel, func(ctx context.Context, i int) error { return s.drop(ctx, item, v.token, v.from+i) })
		if err != nil {
			return err
		}
	}
	return nil
}

// named returns the token of the version that counts, with whom it asks from now on;
// "" where there is none. It asks once, and not as a request does that somebody waits
// for: that another data centre does not answer is nothing that this one's nodes did. It
// reads values too: who has not heard of a version gets only what was asked for.
func (s *Store) named(ctx context.Context, item itemKey, whom gocql.Consistency) (token string, err error) {
	var got row
	err = s.session.Query(item.sp.getItem, item.record, bucketOf(item.key), item.key).Consistency(whom).ScanContext(ctx, &got.heads, &got.values)
	if err != nil && !errors.Is(err, gocql.ErrNotFound) {
		return "", fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return newestToken(got.heads), nil
}

// drop removes one chunk.
func (s *Store) drop(ctx context.Context, item itemKey, t store.Token, i int) error {
	return s.do(ctx, s.dropChunk, func(ctx context.Context) error {
		return s.exec(ctx, item.sp.dropChunk, t.Time, item.record, item.key, []byte(encodeToken(t)), i)
	})
}

// Sweep removes the chunks of control that are of replaced versions, and has those that
// are newer than what is named looked at later. Those of media end by their time to live.
func (s *Store) Sweep(ctx context.Context) (removed int, err error) {
	sp := s.spaces[store.Control]
	if sp == nil {
		return 0, nil
	}
	err = s.chunks(ctx, sp, func() {}, func(record, key string, t store.Token, i int) error {
		item := itemKey{sp, record, key}
		named, err := s.named(ctx, item, gocql.EachQuorum)
		switch own := encodeToken(t); {
		case err != nil || named == own:
			return err
		case named < own:
			s.leave(s.opt.OrphanAge, left{itemKey: item, token: t, from: i, parts: i + 1})
			return nil
		}
		removed++
		return s.drop(ctx, item, t, i)
	})
	if err != nil {
		return removed, fmt.Errorf("cassandra store: sweep: %w", err)
	}
	return removed, nil
}

// Every process sweeps soon, for what the process before it left, and then now and then:
// several at once do no harm.
const (
	firstSweep = 20 * time.Minute
	sweepEvery = 6 * time.Hour
)

// sweep sweeps until ctx ends.
func (s *Store) sweep(ctx context.Context) {
	for pause := firstSweep; ; pause = sweepEvery {
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if removed, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.opt.Logger.Warn("cassandra: sweeping what is left over", "removed", removed, "err", err)
		} else if removed > 0 {
			s.opt.Logger.Info("cassandra: swept what was left over", "chunks", removed)
		}
	}
}
