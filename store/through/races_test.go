package through

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// shared is a store that several caches are in front of: closing one leaves it open.
type shared struct {
	store.Store
	mu    sync.Mutex
	after func() // called once a Get has read, before it answers; guarded by mu
}

func (s *shared) Close() error { return nil }

func (s *shared) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	item, err := s.Store.Get(ctx, r, key)
	s.mu.Lock()
	after := s.after
	s.mu.Unlock()
	if after != nil {
		after()
	}
	return item, err
}

func (s *shared) hold(f func()) {
	s.mu.Lock()
	s.after = f
	s.mu.Unlock()
}

var (
	segments = store.Record{Namespace: store.Media, ID: "acme/final/v720"}
	tokens   = store.NewTokens()
)

// value is larger than what is kept inline.
func value(s string) store.Item {
	v := make([]byte, 300_000)
	copy(v, s)
	return store.Item{Key: "k", Token: tokens.Next(), Meta: []byte(s), Value: v, Size: int64(len(v))}
}

func mustPut(t *testing.T, s store.Store, item store.Item) {
	t.Helper()
	if err := s.Put(t.Context(), segments, item); err != nil {
		t.Fatal(err)
	}
}

// get returns what a reader sees: an item's metadata, or "none".
func get(t *testing.T, s store.Store) string {
	t.Helper()
	item, err := s.Get(t.Context(), segments, "k")
	if errors.Is(err, store.ErrNotFound) {
		return "none"
	}
	if err != nil {
		return err.Error()
	}
	if got := string(item.Value[:len(item.Meta)]); got != string(item.Meta) {
		t.Errorf("metadata %q with the value %q", item.Meta, got)
	}
	return string(item.Meta)
}

func wantSeen(t *testing.T, want string, nodes ...*Store) {
	t.Helper()
	for i, n := range nodes {
		if got := get(t, n); got != want {
			t.Errorf("node %d sees %q, want %q", i+1, got, want)
		}
	}
}

// idle waits until a node has no read under way.
func idle(t *testing.T, s *Store) {
	t.Helper()
	until(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.flights) == 0
	})
}

func until(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); {
		if time.Now().After(deadline) {
			t.Fatal("it does not come about")
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
}

// TestFillLosesToMutation: a fill with what a slow read of the store found does
// not put back what another node has replaced or deleted meanwhile, not even
// where the zones have lost what they knew of that.
func TestFillLosesToMutation(t *testing.T) {
	zones, servers := twoZones(t)
	forgetAll := func() {
		for _, m := range servers {
			m.Empty()
		}
	}
	for _, c := range []struct {
		name   string
		mutate func(t *testing.T, writer *Store)
		want   string
	}{
		{"put", func(t *testing.T, w *Store) { mustPut(t, w, value("new")) }, "new"},
		{"put, and everything forgotten", func(t *testing.T, w *Store) { mustPut(t, w, value("new")); forgetAll() }, "new"},
		{"delete", func(t *testing.T, w *Store) { w.DeleteItem(t.Context(), segments, "k", tokens.Next()) }, "none"},
		{"delete, and everything forgotten", func(t *testing.T, w *Store) {
			w.DeleteItem(t.Context(), segments, "k", tokens.Next())
			forgetAll()
		}, "none"},
		{"delete of a range", func(t *testing.T, w *Store) { w.DeleteRange(t.Context(), segments, "a", "z", tokens.Next()) }, "none"},
		{"delete of the record", func(t *testing.T, w *Store) { w.DeleteRecord(t.Context(), segments, tokens.Next()) }, "none"},
		{"delete of the record, and everything forgotten", func(t *testing.T, w *Store) {
			w.DeleteRecord(t.Context(), segments, tokens.Next())
			forgetAll()
		}, "none"},
		{"delete, and put again", func(t *testing.T, w *Store) {
			w.DeleteItem(t.Context(), segments, "k", tokens.Next())
			mustPut(t, w, value("again"))
		}, "again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			below := &shared{Store: memory.New(memory.Options{})}
			writer := opened(t, below, Config{Zones: zones, Prefix: "w"})
			reader := opened(t, below, Config{Zones: zones, Prefix: "w", Local: "zone-1"})
			mustPut(t, writer, value("old"))
			forgetAll()

			read, release := make(chan bool), make(chan bool)
			below.hold(func() { read <- true; <-release })
			seen := make(chan string)
			go func() { seen <- get(t, reader) }()
			<-read
			below.hold(nil)
			c.mutate(t, writer)
			wantSeen(t, c.want, writer)
			close(release)
			if got := <-seen; got != "old" {
				t.Errorf("the slow read saw %q", got)
			}
			idle(t, reader)
			wantSeen(t, c.want, writer, reader, writer, reader)
		})
	}
}

// TestNoReadIsJoinedThatBeganBeforeAMutation of the same node.
func TestNoReadIsJoinedThatBeganBeforeAMutation(t *testing.T) {
	zones, _ := twoZones(t)
	for name, mutate := range map[string]func(n *Store) string{
		"put":           func(n *Store) string { mustPut(t, n, value("new")); return "new" },
		"delete":        func(n *Store) string { n.DeleteItem(t.Context(), segments, "k", tokens.Next()); return "none" },
		"delete record": func(n *Store) string { n.DeleteRecord(t.Context(), segments, tokens.Next()); return "none" },
	} {
		t.Run(name, func(t *testing.T) {
			below := &shared{Store: memory.New(memory.Options{})}
			node := opened(t, below, Config{Zones: zones, Prefix: "j-" + name[len(name)-3:]})
			mustPut(t, below.Store, value("old"))
			read, release := make(chan bool), make(chan bool)
			below.hold(func() { read <- true; <-release })
			seen := make(chan string)
			go func() { seen <- get(t, node) }()
			<-read
			below.hold(nil)
			want := mutate(node)
			wantSeen(t, want, node)
			close(release)
			<-seen
			idle(t, node)
			wantSeen(t, want, node)
		})
	}
}

// TestReplaysOfOldWrites: a write that was overtaken by one of another node is
// not put into the cache, when it comes, or comes again.
func TestReplaysOfOldWrites(t *testing.T) {
	zones, servers := twoZones(t)
	below := &shared{Store: memory.New(memory.Options{})}
	one := opened(t, below, Config{Zones: zones})
	two := opened(t, below, Config{Zones: zones, Local: "zone-1"})
	old, older := value("old"), value("older")
	older.Token.Time = time.Now().Add(-10 * time.Second).UnixNano()
	mustPut(t, one, old)
	mustPut(t, two, value("new"))
	mustPut(t, one, old)
	wantSeen(t, "new", one, two)
	if err := two.DeleteRange(t.Context(), segments, "a", "", tokens.Next()); err != nil {
		t.Fatal(err)
	}
	mustPut(t, one, old)
	wantSeen(t, "none", one, two)
	mustPut(t, one, value("last"))
	if err := two.DeleteItem(t.Context(), segments, "k", tokens.Next()); err != nil {
		t.Fatal(err)
	}
	mustPut(t, one, old)
	wantSeen(t, "none", one, two)
	// The servers have forgotten the delete; the token is too old to trust.
	for _, m := range servers {
		m.Empty()
	}
	mustPut(t, one, older)
	wantSeen(t, "none", one, two)
}

// TestNewServersAreNotTrusted: what a server may have forgotten is not known
// while its generation is young, so a write only leaves a fence.
func TestNewServersAreNotTrusted(t *testing.T) {
	zones, servers := twoZones(t)
	below := &shared{Store: memory.New(memory.Options{})}
	one := opened(t, below, Config{Zones: zones, Settle: time.Hour})
	two := opened(t, below, Config{Zones: zones, Settle: time.Hour})
	old := value("old")
	if err := two.DeleteItem(t.Context(), segments, "k", tokens.Next()); err != nil {
		t.Fatal(err)
	}
	for _, m := range servers {
		m.Empty()
	}
	mustPut(t, one, old) // covered by the delete
	wantSeen(t, "none", one, two)
}

// TestFlightBelongsToTheCache: who began a read leaves; the others get it, from
// one read of the store, and it fills.
func TestFlightBelongsToTheCache(t *testing.T) {
	zones, _ := twoZones(t)
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	below := &shared{Store: faulty}
	node := opened(t, below, Config{Zones: zones})
	mustPut(t, faulty, value("v"))
	read, release := make(chan bool, 1), make(chan bool)
	below.hold(func() { read <- true; <-release })
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := node.Get(ctx, segments, "k")
		left <- err
	}()
	<-read
	var others sync.WaitGroup
	for range 50 {
		others.Go(func() { wantSeen(t, "v", node) })
	}
	until(t, func() bool { return node.Stats().Joined == 50 })
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left got %v", err)
	}
	close(release)
	others.Wait()
	idle(t, node)
	below.hold(nil)
	wantSeen(t, "v", node)
	if n := faulty.Count(storetest.Get); n != 1 {
		t.Errorf("%d reads of the store, want 1", n)
	}
}

// cut is a link between a node and some servers that can be cut.
type cut struct {
	mu    sync.Mutex
	to    map[string]bool // guarded by mu
	conns map[net.Conn]string
}

func (c *cut) dial(ctx context.Context, addr string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.to[addr] {
		return nil, errors.New("cut off")
	}
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err == nil {
		c.conns[nc] = addr
	}
	return nc, err
}

func (c *cut) off(z Zone) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range z.Servers {
		c.to[s] = true
	}
	for nc, addr := range c.conns {
		if c.to[addr] {
			nc.Close()
		}
	}
}

func (c *cut) on() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.to)
}

func newCut() *cut { return &cut{to: make(map[string]bool), conns: make(map[net.Conn]string)} }

// TestCutOffFromAZone: the writer cannot reach a zone that others read. It sees
// its own writes all the same, even where what that zone holds has spread;
// others see what was, at most for FreshFor, and not at all once the writer
// reaches the zone again.
func TestCutOffFromAZone(t *testing.T) {
	zones, servers := twoZones(t)
	for name, mutate := range map[string]func(t *testing.T, n *Store) string{
		"put": func(t *testing.T, n *Store) string { mustPut(t, n, value("new")); return "new" },
		"delete": func(t *testing.T, n *Store) string {
			if err := n.DeleteItem(t.Context(), segments, "k", tokens.Next()); err != nil {
				t.Fatal(err)
			}
			return "none"
		},
		"delete record": func(t *testing.T, n *Store) string {
			if err := n.DeleteRecord(t.Context(), segments, tokens.Next()); err != nil {
				t.Fatal(err)
			}
			return "none"
		},
	} {
		for _, back := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", link comes back ", back), func(t *testing.T) {
				link := newCut()
				below := &shared{Store: memory.New(memory.Options{})}
				prefix := fmt.Sprintf("cut-%s-%v", name[:3], back)
				if name == "delete record" {
					prefix += "r"
				}
				fresh := time.Hour
				if !back {
					fresh = 2 * time.Second
				}
				writer := opened(t, below, Config{Zones: zones, Prefix: prefix, Dial: link.dial, Local: "zone-1", FreshFor: fresh, Rejoin: -1})
				reader := opened(t, below, Config{Zones: zones, Prefix: prefix, FreshFor: fresh})
				third := opened(t, below, Config{Zones: zones, Prefix: prefix, Local: "zone-1", FreshFor: fresh})
				mustPut(t, writer, value("old"))
				wantSeen(t, "old", writer, reader, third)

				link.off(zones[0])
				want := mutate(t, writer)
				if writer.Stats().Zones[1].Owed == 0 {
					t.Fatal("nothing is owed to the zone that is cut off")
				}
				wantSeen(t, want, writer, third)
				if got := get(t, reader); got != "old" && got != want {
					t.Errorf("the reader of the other zone sees %q", got)
				}
				servers[2].Empty()
				servers[3].Empty()
				get(t, third) // may bring what was from zone-0 into zone-1
				idle(t, third)
				wantSeen(t, want, writer)
				if back {
					link.on()
					until(t, func() bool {
						z := writer.Stats().Zones[1]
						for _, n := range writer.zones[1].nodes {
							n.mu.Lock()
							owed := len(n.owed) + n.bankrupt
							n.mu.Unlock()
							if owed > 0 {
								return false
							}
						}
						return z.Repairs > 0
					})
					wantSeen(t, want, writer, reader, third)
					return
				}
				until(t, func() bool { return get(t, reader) == want && get(t, third) == want })
				wantSeen(t, want, writer)
			})
		}
	}
}
