package blobs

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"headwater/blobs/memcachedtest"
	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// started starts two zones of two real servers.
func started(t *testing.T) ([]Zone, []*memcachedtest.Server) {
	zones, servers := []Zone{{Name: "near"}, {Name: "far"}}, []*memcachedtest.Server(nil)
	for i := range zones {
		for range 2 {
			m := memcachedtest.New(t)
			servers = append(servers, m)
			zones[i].Servers = append(zones[i].Servers, m.Addr)
		}
	}
	return zones, servers
}

// until waits for something that real servers bring about.
func until(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come about")
		}
	}
}

func (c *Cache) up() (n int) {
	for _, z := range c.zones {
		for _, s := range z.servers {
			if _, up := s.state(); up {
				n++
			}
		}
	}
	return n
}

// TestRealServersInTrouble: what is read is what was put, whatever happens to
// real servers, and all is used again afterwards.
func TestRealServersInTrouble(t *testing.T) {
	zones, servers := started(t)
	st := memory.New(memory.Options{})
	for _, c := range []struct {
		name       string
		harm, mend func(*memcachedtest.Server)
	}{
		{"killed", (*memcachedtest.Server).Kill, (*memcachedtest.Server).Start},
		{"hung", (*memcachedtest.Server).Hang, (*memcachedtest.Server).Resume},
		{"emptied", (*memcachedtest.Server).Empty, func(*memcachedtest.Server) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := opened(t, Config{Zones: zones, Timeout: 100 * time.Millisecond})
			defer cache.Close()
			var items []store.Item
			var digests []live.Digest
			for i := range 12 {
				item, d := blob(fmt.Sprint(c.name, i))
				if err := cache.Put(t.Context(), st, segments, item, d); err != nil {
					t.Fatal(err)
				}
				items, digests = append(items, item), append(digests, d)
			}
			read := func() {
				t.Helper()
				var all sync.WaitGroup
				for i, item := range items {
					all.Go(func() {
						got, err := cache.Get(t.Context(), st, segments, item.Key, digests[i], item.Size)
						if err != nil || !bytes.Equal(got.Value, item.Value) {
							t.Errorf("item %d: %d bytes, %v", i, len(got.Value), err)
						}
					})
				}
				all.Wait()
			}
			read()
			for _, m := range servers {
				c.harm(m)
				read()
			}
			for _, m := range servers {
				c.mend(m)
			}
			until(t, func() bool { return cache.up() == len(servers) })
			until(t, func() bool { // warm again
				before := counted(cache.metrics.reads)["near done"]
				read()
				return counted(cache.metrics.reads)["near done"] >= before+len(items)
			})
		})
	}
}

// TestPoisoned: bytes that somebody else has put under our names are read by
// nobody, and make way for the right ones.
func TestPoisoned(t *testing.T) {
	m := memcachedtest.New(t)
	st := storetest.NewFaulty(memory.New(memory.Options{}))
	cache := opened(t, Config{Zones: []Zone{{Name: "near", Servers: []string{m.Addr}}}, Timeout: 5 * time.Second})
	defer cache.Close()
	item, d := blob("a")
	if err := cache.Put(t.Context(), st, segments, item, d); err != nil {
		t.Fatal(err)
	}
	poison := bytes.Repeat([]byte("evil"), chunkBytes/4)
	key := keyPrefix + base64.RawURLEncoding.EncodeToString(d[:]) + ":1"
	if got := m.Say(fmt.Sprintf("ms %s %d\r\n%s\r\n", key, len(poison), poison)); got != "HD\r\n" {
		t.Fatalf("%q", got)
	}
	for range 2 {
		got, err := cache.Get(t.Context(), st, segments, item.Key, d, item.Size)
		if err != nil || !bytes.Equal(got.Value, item.Value) {
			t.Fatalf("%d bytes, %v", len(got.Value), err)
		}
		until(t, func() bool { return counted(cache.metrics.fills)["near done"] == 1 })
	}
	if n := st.Count(storetest.Get); n != 1 {
		t.Errorf("%d reads of the store, want 1", n)
	}
}

// TestReadsThatReachTheStore: none of what was just written, and one for each
// segment where the zones are cold.
func TestReadsThatReachTheStore(t *testing.T) {
	zones, servers := started(t)
	st := storetest.NewFaulty(memory.New(memory.Options{}))
	cache := opened(t, Config{Zones: zones, Timeout: 20 * time.Second})
	defer cache.Close()
	const count = 50
	items, digests := make([]store.Item, count), make([]live.Digest, count)
	for i := range items {
		items[i], digests[i] = blob(fmt.Sprint("segment ", i))
		if err := cache.Put(t.Context(), st, segments, items[i], digests[i]); err != nil {
			t.Fatal(err)
		}
	}
	readAll := func(times int) {
		for range times {
			for i, item := range items {
				if _, err := cache.Get(t.Context(), st, segments, item.Key, digests[i], item.Size); err != nil {
					t.Fatal(err)
				}
			}
			until(t, func() bool { return len(cache.fills) == 0 })
		}
	}
	readAll(3)
	if n := st.Count(storetest.Get); n != 0 {
		t.Errorf("%d reads of what was just written", n)
	}
	for _, m := range servers {
		m.Empty()
	}
	readAll(3)
	// Fills go on beside reads, and too many at once are left for the next reader.
	if n := st.Count(storetest.Get); n < count || n > 2*count {
		t.Errorf("%d reads from cold zones of %d segments", n, count)
	}
}

// TestContractBehind: a store whose values are read through the cache keeps its
// contract.
func TestContractBehind(t *testing.T) {
	zones, _ := started(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		c := opened(t, Config{Zones: zones, Timeout: 20 * time.Second})
		t.Cleanup(c.Close)
		return behind{memory.New(memory.Options{}), c}
	})
}

// behind is a store whose values come from a cache.
type behind struct {
	store.Store
	c *Cache
}

func (b behind) Put(ctx context.Context, r store.Record, item store.Item) error {
	return b.c.Put(ctx, b.Store, r, item, live.DigestOf(item.Value))
}

func (b behind) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	for {
		item, err := b.Store.Get(ctx, r, key)
		if err != nil {
			return item, err
		}
		got, err := b.c.Get(ctx, b.Store, r, key, live.DigestOf(item.Value), item.Size)
		if errors.Is(err, ErrOther) {
			continue // replaced between the two
		}
		item.Value = got.Value
		return item, err
	}
}

// TestNothingIsLeftAfterClose: no goroutine, though a server hangs.
func TestNothingIsLeftAfterClose(t *testing.T) {
	zones, servers := started(t)
	before := runtime.NumGoroutine()
	cache := opened(t, Config{Zones: zones, Timeout: 20 * time.Millisecond})
	st := memory.New(memory.Options{})
	for i := range 10 {
		if i == 5 {
			servers[0].Hang()
			servers[1].Hang()
		}
		item, d := blob(fmt.Sprint(i))
		if err := cache.Put(t.Context(), st, segments, item, d); err != nil {
			t.Fatal(err)
		}
		if _, err := cache.Get(t.Context(), st, segments, item.Key, d, item.Size); err != nil {
			t.Fatal(err)
		}
	}
	cache.Close()
	until(t, func() bool { return runtime.NumGoroutine() <= before })
}
