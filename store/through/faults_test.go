package through

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
	"headwater/store/through/memcachedtest"
)

// quick is the configuration of tests with servers that do not answer.
func quick(zones []Zone) Config { return Config{Zones: zones, Timeout: 20 * time.Millisecond} }

// TestContractWithServersDown: whatever happens to the servers, before and
// while it is used, the store keeps its contract.
func TestContractWithServersDown(t *testing.T) {
	for name, harm := range map[string]func(servers []*memcachedtest.Server, stop chan bool){
		"one zone dead":       func(s []*memcachedtest.Server, _ chan bool) { s[0].Kill(); s[1].Kill() },
		"all dead":            func(s []*memcachedtest.Server, _ chan bool) { s[0].Kill(); s[1].Kill(); s[2].Kill(); s[3].Kill() },
		"one of each hung":    func(s []*memcachedtest.Server, _ chan bool) { s[0].Hang(); s[2].Hang() },
		"hung, dead, emptied": chaos,
	} {
		t.Run(name, func(t *testing.T) {
			zones, servers := twoZones(t)
			stop, done := make(chan bool), make(chan bool)
			if name == "hung, dead, emptied" {
				go func() { harm(servers, stop); close(done) }()
			} else {
				harm(servers, stop)
				close(done)
			}
			storetest.Run(t, func(t *testing.T) store.Store {
				cfg := quick(zones)
				cfg.Rejoin = 50 * time.Millisecond
				return opened(t, memory.New(memory.Options{}), cfg)
			})
			close(stop)
			<-done
		})
	}
}

// chaos does things to the servers until it is stopped.
func chaos(servers []*memcachedtest.Server, stop chan bool) {
	for i := 0; ; i++ {
		m := servers[rand.IntN(len(servers))]
		var undo func()
		switch i % 3 {
		case 0:
			m.Hang()
			undo = m.Resume
		case 1:
			m.Kill()
			undo = m.Start
		case 2:
			m.Empty()
			undo = func() {}
		}
		select {
		case <-stop:
			undo()
			return
		case <-time.After(time.Duration(20+rand.IntN(300)) * time.Millisecond):
		}
		undo()
	}
}

// TestWhatAServerMissed while it was away does not come back with it: not on
// the node that wrote, ever, and not on others when that node has told it.
func TestWhatAServerMissed(t *testing.T) {
	for _, c := range []struct {
		name string
		away func(m *memcachedtest.Server)
		back func(m *memcachedtest.Server)
	}{
		{"kill and restart", (*memcachedtest.Server).Kill, (*memcachedtest.Server).Start},
		{"hang", (*memcachedtest.Server).Hang, (*memcachedtest.Server).Resume},
		{"empty", (*memcachedtest.Server).Empty, func(*memcachedtest.Server) {}},
		{"hang, then empty", (*memcachedtest.Server).Hang, func(m *memcachedtest.Server) { m.Resume(); m.Empty() }},
	} {
		for _, many := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, many keys %v", c.name, many), func(t *testing.T) {
				zones := []Zone{{Name: "a"}, {Name: "b"}}
				m, other := memcachedtest.New(t), memcachedtest.New(t)
				zones[0].Servers, zones[1].Servers = []string{m.Addr}, []string{other.Addr}
				below := &shared{Store: memory.New(memory.Options{})}
				writer, reader := opened(t, below, quick(zones)), opened(t, below, quick(zones))
				mustPut(t, writer, value("old"))
				wantSeen(t, "old", writer, reader)
				c.away(m)
				mustPut(t, writer, value("new"))
				if many {
					// More than are owed one by one.
					for i := range maxOwed + 10 {
						item := value("x")
						item.Key = fmt.Sprint(i)
						item.Value = item.Value[:10]
						mustPut(t, writer, item)
					}
				}
				wantSeen(t, "new", writer)
				c.back(m)
				wantSeen(t, "new", writer)
				n := writer.zones[0].nodes[0]
				until(t, func() bool {
					up, _ := n.srv.Up()
					n.mu.Lock()
					defer n.mu.Unlock()
					return up && len(n.owed) == 0 && n.bankrupt == 0
				})
				wantSeen(t, "new", writer, reader)
				// It is used again, warmed by reads.
				until(t, func() bool { return n.settled(time.Now()) })
				before := writer.Stats().Zones[0].Hits
				until(t, func() bool { wantSeen(t, "new", writer); return writer.Stats().Zones[0].Hits > before })
			})
		}
	}
}

// TestDeadZonesCostLittle: with all servers hung a write and a read take about
// the time-out, and nothing once they are ejected; none fails.
func TestDeadZonesCostLittle(t *testing.T) {
	zones, servers := twoZones(t)
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	node := opened(t, faulty, quick(zones))
	mustPut(t, node, value("old"))
	for _, m := range servers {
		m.Hang()
	}
	for i := range 20 {
		mustPut(t, node, value(fmt.Sprint(i)))
		wantSeen(t, fmt.Sprint(i), node)
	}
	until(t, func() bool {
		item := value("x")
		item.Key = fmt.Sprint(rand.Uint64())
		mustPut(t, node, item)
		st := node.Stats()
		return st.Zones[0].Up+st.Zones[1].Up == 0
	})
	timeouts := func() (n int64) {
		for _, z := range node.Stats().Zones {
			n += z.Timeouts
		}
		return n
	}
	before := timeouts()
	for range 100 {
		mustPut(t, node, value("last"))
		wantSeen(t, "last", node)
	}
	// What was under way when the last one was ejected may still run out.
	if n := timeouts() - before; n > 10 {
		t.Errorf("%d time-outs of 400 exchanges with all servers ejected", n)
	}
	for _, m := range servers {
		m.Resume()
	}
	until(t, func() bool { st := node.Stats(); return st.Zones[0].Up+st.Zones[1].Up == 4 })
}

// TestBytesAreTheCallersAfterAHungWrite: Put returns while a server has not
// taken the bytes; what the caller then does with them reaches nobody.
func TestBytesAreTheCallersAfterAHungWrite(t *testing.T) {
	m := memcachedtest.New(t)
	zones := []Zone{{Name: "a", Servers: []string{m.Addr}}}
	cfg := quick(zones)
	cfg.Timeout = 100 * time.Millisecond
	node := opened(t, memory.New(memory.Options{}), cfg)
	item := value("v")
	mustPut(t, node, item)
	want := bytes.Repeat([]byte("segment "), 2_000_000)
	for i := range 10 {
		if i == 3 {
			m.Hang()
		}
		given := store.Item{Key: fmt.Sprint(i), Token: tokens.Next(), Value: bytes.Clone(want)}
		mustPut(t, node, given)
		clear(given.Value)
	}
	m.Resume()
	until(t, func() bool { up, _ := node.zones[0].nodes[0].srv.Up(); return up })
	for i := range 10 {
		item, err := node.Get(t.Context(), segments, fmt.Sprint(i))
		if err != nil || !bytes.Equal(item.Value, want) {
			t.Errorf("item %d: %d bytes, error %v", i, len(item.Value), err)
		}
	}
}

// TestReadsThatReachTheStore: of 10,000 reads of 100 segments, from 8 readers
// on two nodes, none for what was just written, and one for each segment where
// the zones are cold.
func TestReadsThatReachTheStore(t *testing.T) {
	zones, servers := twoZones(t)
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	below := &shared{Store: faulty}
	cfg := Config{Zones: zones, ChunkBytes: 32 << 10}
	one := opened(t, below, cfg)
	cfg.Local = "zone-1"
	two := opened(t, below, cfg)
	const count = 100
	items := make([]store.Item, count)
	for i := range items {
		items[i] = value(fmt.Sprint("segment ", i))
		items[i].Key, items[i].Value = fmt.Sprint(i), items[i].Value[:80_000]
		mustPut(t, one, items[i])
	}
	readAll := func(reads int) {
		var wg sync.WaitGroup
		for r := range 8 {
			node := []*Store{one, two}[r%2]
			wg.Go(func() {
				for i := range reads / 8 {
					want := items[(i*8+r)%count]
					got, err := node.Get(t.Context(), segments, want.Key)
					if err != nil || got.Token != want.Token || !bytes.Equal(got.Value, want.Value) {
						t.Errorf("segment %s: %v", want.Key, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	readAll(10_000)
	if n := faulty.Count(storetest.Any) - count; n != 0 {
		t.Errorf("%d requests reached the store for what was just written, want none", n)
	}
	for _, m := range servers {
		m.Empty()
	}
	readAll(10_000)
	n := faulty.Count(storetest.Any) - count
	t.Logf("%d of 10,000 reads reached the store from cold", n)
	// Each node may find a segment missing at the same time.
	if n < count || n > 2*count {
		t.Errorf("%d requests reached the store from cold zones, want %d, or twice that where two nodes come at once", n, count)
	}
}

// TestNothingIsLeftAfterClose: no goroutine, and no connection.
func TestNothingIsLeftAfterClose(t *testing.T) {
	zones, servers := twoZones(t)
	before := runtime.NumGoroutine()
	for i := range 3 {
		node, err := New(memory.New(memory.Options{}), quick(zones))
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			servers[0].Hang()
		}
		for range 10 {
			mustPut(t, node, value("v"))
			get(t, node)
		}
		if err := node.Close(); err != nil {
			t.Fatal(err)
		}
		until(t, func() bool { return runtime.NumGoroutine() <= before })
	}
}
