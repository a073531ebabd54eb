package disk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headwater/store"
)

// TestPowerFailures runs a store through random mutations, replays, faults of
// the disk, retention, clean closes and power failures. After each start all
// that was acknowledged is there, and nothing that nobody sent or that was
// deleted, replaced or had expired.
func TestPowerFailures(t *testing.T) {
	lives := 80
	if testing.Short() {
		lives = 20
	}
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { powerFailures(t, seed, lives) })
		})
	}
}

func powerFailures(t *testing.T, seed uint64, lives int) {
	r := rand.New(rand.NewPCG(seed, 7))
	m := newMemFS()
	var clients []*client
	for i := range 4 {
		namespace := []string{store.Media, store.Control}[i%2]
		clients = append(clients, &client{rec: store.Record{Namespace: namespace, ID: fmt.Sprint("r", i)}})
	}
	for life := range lives {
		m.setFault(nil)
		m.all = true // twins and the manifest fail as logs do, and the power at any of them
		open := func() (*Store, error) {
			return Open("d", Options{FS: m, FileBytes: controlShare * 4 * blockSize, Bucket: time.Minute, SweepInterval: 10 * time.Second,
				Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil))})
		}
		if r.IntN(2) == 0 { // starts end as well
			left := atomic.Int64{}
			left.Store(1 + int64(r.IntN(60)))
			m.setFault(func(op, _ string) error {
				if op != "read" && op != "open" && left.Add(-1) == 0 {
					m.off()
					return errPower
				}
				return nil
			})
			if s, err := open(); err == nil {
				m.off()
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			m.off()
			m = m.after(r)
			m.all = true
		}
		s, err := open()
		if err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		if st := s.Stats(); st.Media.CorruptRecords+st.Control.CorruptRecords > 0 {
			t.Errorf("life %d: damage where there is none: %+v", life, st)
		}
		if lost := losses(t, s); len(lost) > 0 {
			t.Errorf("life %d: lost, though the disk loses nothing: %v", life, lost)
		}
		for _, c := range clients {
			c.check(t, s, life, true)
		}
		if t.Failed() {
			s.Close()
			return
		}
		power := int64(r.IntN(300)) // operations until it fails, or more than there will be
		faulty := r.IntN(3) == 0
		var mu sync.Mutex
		faults := rand.New(rand.NewPCG(r.Uint64(), 1))
		left := atomic.Int64{}
		left.Store(power)
		m.setFault(func(op, _ string) error {
			if op == "read" {
				return nil
			}
			if left.Add(-1) == 0 {
				m.off()
				return errPower
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case !faulty || faults.IntN(10) > 0:
				return nil
			case op == "write" && faults.IntN(2) == 0:
				return partial{faults.IntN(4) * blockSize, errors.New("fault")}
			}
			return errors.New("fault")
		})
		for range 1 + r.IntN(3) {
			var wg sync.WaitGroup
			for _, c := range clients {
				n, rc := r.IntN(12), rand.New(rand.NewPCG(r.Uint64(), 2))
				wg.Go(func() {
					for range n {
						c.mutate(s, rc)
					}
				})
			}
			wg.Wait()
			for _, c := range clients {
				c.check(t, s, life, false)
			}
			time.Sleep(time.Duration(r.IntN(200)) * time.Second)
		}
		if r.IntN(3) > 0 {
			m.off()
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		m.mu.Lock()
		dead := m.dead
		m.mu.Unlock()
		if dead {
			m = m.after(r)
		}
	}
}

// client sends mutations to a record of its own, one after the other, and
// knows what may have become of them.
type client struct {
	rec     store.Record
	sent    []*request
	deleted store.Token // of the last delete of the record
}

type request struct {
	item  *store.Item // nil: it deletes the record
	token store.Token
	acked bool // otherwise it may have taken effect, or not
}

func (q *request) about(key string) bool {
	return q.item == nil || q.item.Key == key
}

// leaves returns the item that the request leaves, or nil.
func (q *request) leaves(now time.Time) *store.Item {
	if q.item == nil || !q.item.Expires.IsZero() && !now.Before(q.item.Expires) {
		return nil
	}
	return q.item
}

func (c *client) mutate(s store.Store, r *rand.Rand) {
	q := &request{token: nextToken()}
	key := string(rune('a' + r.IntN(4)))
	switch r.IntN(10) {
	case 0:
		c.deleted = q.token
	case 1, 2:
		gone := store.Gone(key, q.token)
		q.item = &gone
	case 3, 4: // again what was sent before, and what a delete would not have covered
		if len(c.sent) == 0 {
			return
		}
		if q = c.sent[r.IntN(len(c.sent))]; q.item != nil && q.token.Compare(c.deleted) < 0 {
			return
		}
	default:
		i := newItem(key, r.IntN(3*blockSize))
		i.Token = q.token
		switch r.IntN(3) {
		case 0:
			i.Expires = time.Now().Add(time.Duration(1+r.IntN(100)) * time.Second).Truncate(time.Millisecond)
		case 1:
			i.Expires = time.Now().Add(time.Hour).Truncate(time.Millisecond)
		}
		q.item = &i
	}
	var err error
	ctx := context.Background()
	if q.item != nil {
		err = s.Put(ctx, c.rec, *q.item)
	} else {
		err = s.DeleteRecord(ctx, c.rec, q.token)
	}
	if errors.Is(err, store.ErrTokenDrift) {
		return // an old one again: nothing changed
	}
	q.acked = q.acked || err == nil
	for _, known := range c.sent {
		if known == q {
			return
		}
	}
	c.sent = append(c.sent, q)
}

// check compares what the store has with what it may have. After a start what
// is not there will not come back.
func (c *client) check(t *testing.T, s store.Store, life int, start bool) {
	now := time.Now()
	page, err := s.Scan(t.Context(), c.rec, store.ScanOptions{Values: true})
	if err != nil {
		t.Errorf("life %d: scan: %v", life, err)
		return
	}
	for _, key := range []string{"a", "b", "c", "d"} {
		var got *store.Item
		for i := range page.Items {
			if page.Items[i].Key == key {
				got = &page.Items[i]
			}
		}
		var winner *request
		for _, q := range c.sent {
			if q.acked && q.about(key) && (winner == nil || q.token.Compare(winner.token) > 0) {
				winner = q
			}
		}
		allowed := winner == nil && got == nil
		var is *request
		for _, q := range c.sent {
			if !q.about(key) || q != winner && (q.acked || winner != nil && q.token.Compare(winner.token) < 0) {
				continue
			}
			left := q.leaves(now)
			if (left == nil) == (got == nil) && (got == nil || got.Token == left.Token && string(got.Value) == string(left.Value)) {
				allowed, is = true, q
			}
		}
		if !allowed {
			t.Errorf("life %d: %v %s: got %v, winner %+v", life, c.rec, key, got != nil, winner)
		}
		if start && is != nil && got != nil {
			is.acked = true
		}
	}
	if !start {
		return
	}
	var kept []*request
	for _, q := range c.sent {
		if q.acked || q.item == nil || q.leaves(now) == nil {
			kept = append(kept, q)
		}
	}
	c.sent = kept
}
