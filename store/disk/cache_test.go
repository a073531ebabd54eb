package disk

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/store"
	"headwater/store/storetest"
)

func TestContractOfACache(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openMem(t, newMemFS(), Options{Cache: true}) })
}

// TestCacheMakesRoom: what is new always finds room, and what goes is oldest.
func TestCacheMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 4 << 20
		m := newMemFS()
		s := openMem(t, m, Options{Cache: true, MaxBytes: most, FileBytes: most / 16})
		last := 0
		for n := range 2000 {
			if err := s.Put(t.Context(), media, newItem(fmt.Sprintf("%06d", n), 50_000)); err == nil {
				last = n
			} else if !isFull(err) {
				t.Fatal(err)
			}
			if b := s.Stats().Media.Bytes; b > most+blockSize {
				t.Fatalf("%d bytes after %d puts", b, n)
			}
			time.Sleep(500 * time.Millisecond)
		}
		st := s.Stats().Media
		if st.Refusals > 20 || st.EvictedFiles < 100 || st.CompactedBytes > 0 {
			t.Errorf("%d refusals, %d files evicted, %d bytes compacted", st.Refusals, st.EvictedFiles, st.CompactedBytes)
		}
		// Three quarters of the bound hold the newest, without a hole.
		for n := last - most*3/4/57_344; n <= last; n++ {
			if !s.Has(media, fmt.Sprintf("%06d", n)) {
				t.Errorf("%06d of %06d is gone", n, last)
			}
		}
		if s.Has(media, "000000") || s.Has(control, "000000") {
			t.Error("what has gone is said to be there")
		}
		if n := m.count("sync"); n > m.logs(store.Media)+int(st.EvictedFiles) {
			t.Errorf("%d syncs", n)
		}
	})
}

// TestCacheGivesWay: where others take the disk, old files go; where nothing
// of its own is left to give it is full, until there is space again.
func TestCacheGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		s := openMem(t, m, Options{Cache: true, FileBytes: 256 << 10, ReserveBytes: 1 << 20})
		for n := range 40 {
			mustPut(t, s, media, newItem(fmt.Sprintf("%06d", n), 50_000))
		}
		m.setFault(func(op, _ string) error {
			if op == "remove" {
				m.mu.Lock()
				m.space += 256 << 10
				m.mu.Unlock()
			}
			return nil
		})
		m.mu.Lock()
		m.space = 1 << 20
		m.mu.Unlock()
		if err := s.Put(t.Context(), media, newItem("new", 50_000)); !isFull(err) {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		mustPut(t, s, media, newItem("new", 50_000))
		if s.Has(media, "000000") {
			t.Error("nothing made room")
		}
		m.mu.Lock()
		m.space = -1 << 30
		m.mu.Unlock()
		for range 60 {
			if err := s.Put(t.Context(), media, newItem("newer", 50_000)); !isFull(err) {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		m.mu.Lock()
		m.space = 1 << 30
		m.mu.Unlock()
		mustPut(t, s, media, newItem("newest", 50_000))
	})
}

// TestCacheAfterAPowerFailure: what was not synced may be gone. What is there
// has its bytes, and nothing is called damage.
func TestCacheAfterAPowerFailure(t *testing.T) {
	seeds := uint64(8)
	if storetest.Long() {
		seeds = 40
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			m := newMemFS()
			there := 0
			for life := range 4 {
				s, err := Open("d", Options{FS: m, Cache: true, FileBytes: 512 << 10, Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil))})
				if err != nil {
					t.Fatal(err)
				}
				if st := s.Stats().Media; st.CorruptRecords > 0 {
					t.Errorf("life %d: damage where there is none: %+v", life, st)
				}
				for _, item := range everything(t, s) {
					if there++; string(item.Value) != string(valueFor(item.Key, item.Token, int(item.Size))) {
						t.Errorf("life %d: %s has other bytes", life, item.Key)
					}
				}
				var wg sync.WaitGroup
				for i := range 30 {
					size := r.IntN(100_000)
					wg.Go(func() { mustPut(t, s, media, newItem(fmt.Sprint(life, "-", i), size)) })
				}
				wg.Wait()
				m.off()
				s.Close()
				m = m.after(r)
			}
			if there == 0 && seed == 0 {
				t.Error("nothing survived: the test tests nothing")
			}
		})
	}
}

func everything(t *testing.T, s *Store) (items []store.Item) {
	for item, err := range store.All(t.Context(), s, media, store.ScanOptions{Values: true}) {
		if err != nil {
			t.Error(err)
		}
		items = append(items, item)
	}
	return items
}

// BenchmarkPut writes segments one after the other, as a cache's writer does.
func BenchmarkPut(b *testing.B) {
	for _, cache := range []bool{false, true} {
		for _, size := range []int{32_000, 1_500_000} {
			b.Run(fmt.Sprintf("cache=%v/%d", cache, size), func(b *testing.B) {
				s := mustOpen(b, osFS{}, b.TempDir(), Options{Cache: cache, MaxBytes: 4 << 30, SweepInterval: time.Second})
				value := newItem("", size).Value
				b.SetBytes(int64(size))
				for i := 0; b.Loop(); i++ {
					item := store.Item{Key: fmt.Sprint(i), Token: nextToken(), Value: value, Expires: time.Now().Add(5 * time.Second)}
					if err := s.Put(b.Context(), media, item); err != nil && !isFull(err) {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
