package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

var segments = store.Record{Namespace: store.Media, ID: "acme/final/v720"}

// made counts tokens: time may stand still, and begins anew in each bubble.
var made atomic.Int64

func token() store.Token { return store.Token{Time: time.Now().UnixNano() + made.Add(1)} }

// blob is a segment that is several chunks and a bit.
func blob(key string) (store.Item, live.Digest) {
	v := bytes.Repeat([]byte(key+" "), 700_000/(len(key)+1))
	return store.Item{Key: key, Token: token(), Meta: []byte(key), Value: v, Size: int64(len(v)), Expires: time.Now().Add(time.Hour)}, live.DigestOf(v)
}

// world is a cache of two zones in memory, over a store that counts.
type world struct {
	t *testing.T
	*Cache
	near, far *fake
	st        *storetest.Faulty
}

// in runs a test in a bubble: everything has ended when it ends.
func in(t *testing.T, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(twoZones())
		w := &world{t: t, near: n.servers["near:1"], far: n.servers["far:1"], st: storetest.NewFaulty(memory.New(memory.Options{}))}
		w.Cache = opened(t, Config{Zones: twoZones(), Dial: n.dial, Timeout: budget})
		f(t, w)
		w.Close()
		for _, f := range n.servers {
			f.be(well)
			f.mu.Lock()
			f.cut()
			f.mu.Unlock()
		}
	})
}

func (w *world) put(item store.Item, d live.Digest) {
	w.t.Helper()
	if err := w.Put(w.t.Context(), w.st, segments, item, d); err != nil {
		w.t.Fatal(err)
	}
}

// get returns how long it took and how many reads of the store.
func (w *world) get(item store.Item, d live.Digest) (took time.Duration, reads int) {
	w.t.Helper()
	before, began := w.st.Count(storetest.Get), time.Now()
	got, err := w.Get(w.t.Context(), w.st, segments, item.Key, d, item.Size)
	took = time.Since(began)
	if err != nil || !bytes.Equal(got.Value, item.Value) || got.Key != item.Key || got.Size != item.Size {
		w.t.Errorf("%d bytes of %d, %v", len(got.Value), item.Size, err)
	}
	synctest.Wait() // until what was missing is filled
	return took, w.st.Count(storetest.Get) - before
}

// counted returns what is not zero of a counter, by zone and outcome.
func counted(c counts) map[string]int {
	out := make(map[string]int)
	for _, z := range []string{"near", "far"} {
		for o := range outcomes {
			var m dto.Metric
			c.of(&zone{name: z}, o).Write(&m)
			if v := int(m.GetCounter().GetValue()); v != 0 {
				out[z+" "+o.String()] = v
			}
		}
	}
	return out
}

func (w *world) want(what string, c counts, want map[string]int) {
	w.t.Helper()
	if got := counted(c); !maps.Equal(got, want) {
		w.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestWrittenEverywhereReadNear: what was put is in every zone, and comes from
// the local one without a read of the store.
func TestWrittenEverywhereReadNear(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		item, d := blob("a")
		w.put(item, d)
		for range 3 {
			if _, reads := w.get(item, d); reads != 0 {
				t.Errorf("%d reads of the store", reads)
			}
		}
		w.want("writes", w.metrics.writes, map[string]int{"near done": 1, "far done": 1})
		w.want("reads", w.metrics.reads, map[string]int{"near done": 3})
		if _, dials := w.near.count(); dials != 1 {
			t.Errorf("%d connections for one exchange at a time", dials)
		}
	})
}

// TestServersInTrouble: whatever a server does, a reader gets the right bytes,
// at the cost of the time-out at most, once, and what it found fills the zone
// again as soon as that is well.
func TestServersInTrouble(t *testing.T) {
	for _, c := range []struct {
		mode    mode
		outcome outcome
		cost    time.Duration // of the first read
		away    bool          // it is left alone afterwards
	}{
		{refusing, failed, 0, true},
		{hung, late, budget, true},
		{garbage, failed, 0, true},
		{cutting, failed, 0, true},
		{lying, wrong, 0, false},
		{short, missed, 0, false},
		{full, missed, 0, false},
	} {
		for _, both := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, both zones %v", c.mode, both), func(t *testing.T) {
				in(t, func(t *testing.T, w *world) {
					item, d := blob("a")
					w.put(item, d)
					w.near.be(c.mode)
					cost, reads := c.cost, 0
					if both {
						w.far.be(c.mode)
						cost, reads = 2*c.cost, 1
					}
					if took, n := w.get(item, d); took != cost || n != reads {
						t.Errorf("first: %v and %d reads of the store, want %v and %d", took, n, cost, reads)
					}
					if took, n := w.get(item, d); took != 0 || n != reads {
						t.Errorf("then: %v and %d reads of the store, want none and %d", took, n, reads)
					}
					got := counted(w.metrics.reads)
					second := c.outcome
					if c.away {
						second = away
					}
					if got["near "+c.outcome.String()] == 0 || got["near "+second.String()] == 0 {
						t.Errorf("outcomes %v, want %v, then %v", got, c.outcome, second)
					}
					// It has lost everything, and is well again.
					for _, f := range []*fake{w.near, w.far} {
						f.empty()
						f.be(well)
					}
					time.Sleep(2 * mostPause)
					w.get(item, d)
					if _, n := w.get(item, d); n != 0 {
						t.Errorf("%d reads of the store after it was warmed", n)
					}
					if got := counted(w.metrics.reads)["near done"]; got != 1 {
						t.Errorf("%d reads from the near zone, which is warm again", got)
					}
				})
			})
		}
	}
}

// TestPutWaitsForNoServer: a server in trouble costs a Put the time-out at most,
// beside the store's own time, and once.
func TestPutWaitsForNoServer(t *testing.T) {
	for _, m := range []mode{refusing, hung, full, well} {
		t.Run(string(m), func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				w.near.be(m)
				for i := range 3 {
					item, d := blob(fmt.Sprint(i))
					began := time.Now()
					w.put(item, d)
					most := time.Duration(0)
					if m == hung && i == 0 {
						most = budget
					}
					if took := time.Since(began); took > most {
						t.Errorf("put %d took %v, at most %v", i, took, most)
					}
					clear(item.Value) // the caller's again: a use of it would be a race
				}
			})
		})
	}
}

// TestStoreDecides: what the store refuses is refused, whatever the zones took.
func TestStoreDecides(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		item, d := blob("a")
		w.near.be(hung)
		w.st.Add(storetest.Fault{Op: storetest.Put, Err: store.ErrFull})
		began := time.Now()
		if err := w.Put(t.Context(), w.st, segments, item, d); !errors.Is(err, store.ErrFull) || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		w.near.be(well)
		w.st.Clear()
		w.st.Add(storetest.Fault{Op: storetest.Get, Err: store.ErrUnavailable})
		other, od := blob("b")
		if _, err := w.Get(t.Context(), w.st, segments, other.Key, od, other.Size); !errors.Is(err, store.ErrUnavailable) {
			t.Error(err)
		}
		// What a zone has is not asked of the store.
		w.st.Clear()
		w.put(item, d)
		w.st.Add(storetest.Fault{Op: storetest.Get, Err: store.ErrUnavailable})
		w.get(item, d)
	})
}

// TestOtherBytes: where the store has other bytes, the item comes with the error,
// and no zone is filled with it.
func TestOtherBytes(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		old, d := blob("a")
		repaired, rd := blob("b")
		repaired.Key = old.Key
		w.put(repaired, rd)
		items, _ := w.near.count()
		got, err := w.Get(t.Context(), w.st, segments, old.Key, d, old.Size)
		if !errors.Is(err, ErrOther) || string(got.Meta) != "b" || !bytes.Equal(got.Value, repaired.Value) {
			t.Errorf("%q, %v", got.Meta, err)
		}
		synctest.Wait()
		if now, _ := w.near.count(); now != items {
			t.Errorf("%d chunks where there were %d", now, items)
		}
	})
}

// TestOldAndNewAreApart: two nodes' views of a slot, before and after a repair,
// are two names. Neither is ever answered with the other, in any order of these:
//
//	node 1                node 2
//	put a                 read a: slow, from the store
//	put b (the repair)
//	                      the read of a ends, and fills a
//	read b                read b
func TestOldAndNewAreApart(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		old, d := blob("a")
		repaired, rd := blob("b")
		repaired.Key = old.Key
		w.put(old, d)
		w.near.empty()
		w.far.empty()
		reading, release := make(chan bool), make(chan bool)
		slow := &gated{Store: w.st, reading: reading, release: release}
		ended := make(chan error)
		go func() {
			got, err := w.Get(t.Context(), slow, segments, old.Key, d, old.Size)
			if err == nil && !bytes.Equal(got.Value, old.Value) {
				err = errors.New("other bytes")
			}
			ended <- err
		}()
		<-reading
		w.put(repaired, rd)
		close(release)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		for range 2 {
			if _, reads := w.get(repaired, rd); reads != 0 {
				t.Errorf("%d reads of the store", reads)
			}
		}
		// Who does not know of the repair yet gets the bytes that it knows.
		if _, reads := w.get(old, d); reads != 0 {
			t.Errorf("%d reads of the store", reads)
		}
	})
}

// gated has read, and answers when it is released.
type gated struct {
	store.Store
	reading, release chan bool
}

func (g *gated) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	item, err := g.Store.Get(ctx, r, key)
	g.reading <- true
	<-g.release
	return item, err
}

// TestWhoLeavesBlamesNobody: a caller that gives up is answered at once, and the
// server is not left alone for it.
func TestWhoLeavesBlamesNobody(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		item, d := blob("a")
		w.put(item, d)
		w.near.be(hung)
		ctx, cancel := context.WithTimeout(t.Context(), budget/2)
		defer cancel()
		began := time.Now()
		_, err := w.Get(ctx, w.st, segments, item.Key, d, item.Size)
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != budget/2 {
			t.Errorf("%v after %v", err, took)
		}
		w.near.be(well)
		if took, _ := w.get(item, d); took != 0 {
			t.Errorf("%v", took)
		}
		w.want("reads", w.metrics.reads, map[string]int{"near done": 1})
	})
}

// TestServerIsRestarted: connections that died while nobody used them cost
// nothing, and the server is not left alone.
func TestServerIsRestarted(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		item, d := blob("a")
		w.put(item, d)
		var readers sync.WaitGroup
		for range 5 {
			readers.Go(func() { w.Get(t.Context(), w.st, segments, item.Key, d, item.Size) })
		}
		readers.Wait()
		w.near.mu.Lock()
		w.near.cut()
		w.near.mu.Unlock()
		if took, reads := w.get(item, d); took != 0 || reads != 0 {
			t.Errorf("%v, %d reads of the store", took, reads)
		}
		w.want("reads", w.metrics.reads, map[string]int{"near done": 6})
	})
}

// TestTooManyAtOnce: who gets no connection in time goes elsewhere, which is not
// the server's fault.
func TestTooManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(twoZones())
		c := opened(t, Config{Zones: twoZones(), Dial: n.dial, Timeout: budget, MaxConns: 1})
		defer c.Close()
		s := c.zones[0].servers[0]
		s.busy <- struct{}{} // somebody has it
		item, d := blob("a")
		st := memory.New(memory.Options{})
		if err := c.Put(t.Context(), st, segments, item, d); err != nil {
			t.Fatal(err)
		}
		<-s.busy
		for range 3 {
			if _, err := c.Get(t.Context(), st, segments, item.Key, d, item.Size); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if got, want := counted(c.metrics.reads), map[string]int{"near missed": 1, "far done": 1, "near done": 2}; !maps.Equal(got, want) {
			t.Errorf("reads: %v, want %v", got, want)
		}
		if got, want := counted(c.metrics.writes), map[string]int{"near busy": 1, "far done": 1}; !maps.Equal(got, want) {
			t.Errorf("writes: %v, want %v", got, want)
		}
		if _, up := s.state(); !up {
			t.Error("it is left alone")
		}
		c.Close()
		for _, f := range n.servers {
			f.mu.Lock()
			f.cut()
			f.mu.Unlock()
		}
	})
}

// TestLateInACrowd: one exchange that is too slow does not have a server left
// alone that answers others meanwhile.
func TestLateInACrowd(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		item, d := blob("a")
		w.put(item, d)
		w.near.be(hung)
		slow := make(chan time.Duration)
		go func() {
			began := time.Now()
			if _, err := w.Get(t.Context(), w.st, segments, item.Key, d, item.Size); err != nil {
				t.Error(err)
			}
			slow <- time.Since(began)
		}()
		synctest.Wait()
		time.Sleep(budget / 2)
		s := w.zones[0].servers[0]
		s.give(newConn(nil), true) // another one has ended well
		s.take(t.Context())
		if took := <-slow; took != budget {
			t.Errorf("%v", took)
		}
		if _, up := s.state(); !up {
			t.Error("it is left alone")
		}
	})
}

// TestProbes: a server that stays away is asked more and more rarely, and one
// that comes back and fails again soon is left alone for longer.
func TestProbes(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		item, d := blob("a")
		w.put(item, d)
		w.near.be(refusing)
		w.get(item, d)
		_, before := w.near.count()
		time.Sleep(time.Minute)
		_, after := w.near.count()
		if n := after - before; n < 30 || n > 60 { // in the end every 2 s
			t.Errorf("%d probes in a minute", n)
		}
		w.near.be(hung) // it may be connected to, and answers nothing
		time.Sleep(time.Minute)
		if took, _ := w.get(item, d); took != 0 {
			t.Errorf("a probe took a server back that does not answer: %v", took)
		}
	})
}

// TestNoCache: without one all is the store's.
func TestNoCache(t *testing.T) {
	var none *Cache
	st := storetest.NewFaulty(memory.New(memory.Options{}))
	item, d := blob("a")
	if err := none.Put(t.Context(), st, segments, item, d); err != nil {
		t.Fatal(err)
	}
	got, err := none.Get(t.Context(), st, segments, item.Key, d, item.Size)
	if err != nil || string(got.Meta) != "a" {
		t.Errorf("%q, %v", got.Meta, err)
	}
	if _, err := none.Get(t.Context(), st, segments, item.Key, live.DigestOf(nil), item.Size); !errors.Is(err, ErrOther) {
		t.Error(err)
	}
}

// TestPlaces: bytes are spread over a zone's servers, and one that goes takes
// nobody else's along.
func TestPlaces(t *testing.T) {
	z := &zone{name: "z"}
	c := &Cache{}
	for i := range 5 {
		z.servers = append(z.servers, newServer(c, "z", fmt.Sprintf("10.0.0.%d:11211", i)))
	}
	less := &zone{name: "z", servers: z.servers[:4]}
	per, moved := make(map[*server]int), 0
	const n = 10_000
	for i := range n {
		d := live.DigestOf(fmt.Append(nil, i))
		s := z.server(d)
		per[s]++
		if less.server(d) != s && s != z.servers[4] {
			moved++
		}
	}
	for s, k := range per {
		if k < n/5*8/10 || k > n/5*12/10 {
			t.Errorf("%s has %d of %d", s.addr, k, n)
		}
	}
	if len(per) != 5 || moved > 0 {
		t.Errorf("%d servers have something; %d moved between those that stay", len(per), moved)
	}
}

// TestChaos: with servers that change what they do all the time, every read by
// any of two nodes returns the bytes that were put.
func TestChaos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zones := twoZones()
		zones[0].Servers = append(zones[0].Servers, "near:2")
		n := newNetwork(zones)
		st := memory.New(memory.Options{})
		nodes := []*Cache{opened(t, Config{Zones: zones, Dial: n.dial, Timeout: budget}), opened(t, Config{Zones: zones, Local: "far", Dial: n.dial, Timeout: budget})}
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
		defer stop()
		var all sync.WaitGroup
		all.Go(func() {
			modes := []mode{well, refusing, hung, lying, short, garbage, cutting, full}
			for ctx.Err() == nil {
				for _, f := range n.servers {
					f.be(modes[rand.N(len(modes))])
					if rand.N(4) == 0 {
						f.empty()
					}
				}
				time.Sleep(rand.N(300 * time.Millisecond))
			}
		})
		for i := range 6 {
			all.Go(func() {
				for k := 0; ctx.Err() == nil; k++ {
					item, d := blob(fmt.Sprintf("%d-%d", i, k))
					if err := nodes[i%2].Put(t.Context(), st, segments, item, d); err != nil {
						t.Error(err)
					}
					for _, c := range nodes {
						got, err := c.Get(t.Context(), st, segments, item.Key, d, item.Size)
						if err != nil || !bytes.Equal(got.Value, item.Value) {
							t.Errorf("%d bytes, %v", len(got.Value), err)
						}
					}
					time.Sleep(time.Second)
				}
			})
		}
		all.Wait()
		for _, c := range nodes {
			c.Close()
		}
		for _, f := range n.servers {
			f.be(well)
			f.mu.Lock()
			f.cut()
			f.mu.Unlock()
		}
	})
}
