package through

import (
	"testing"
	"time"

	"headwater/store"
	"headwater/store/disk"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// opened returns s behind the zones. Unless it is told otherwise it waits
// longer than a loaded machine takes, so that what a test counts is what the
// cache decides; and it takes writes at once.
func opened(t testing.TB, s store.Store, cfg Config) *Store {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Settle == 0 {
		cfg.Settle = -1
	}
	c, err := New(s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func diskStore(t *testing.T) store.Store {
	s, err := disk.Open(t.TempDir(), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	zones, _ := twoZones(t)
	for name, below := range map[string]func(t *testing.T) store.Store{
		"memory": func(*testing.T) store.Store { return memory.New(memory.Options{}) },
		"disk":   diskStore,
		"decorated": func(*testing.T) store.Store {
			s := storetest.NewFaulty(memory.New(memory.Options{}))
			return storetest.NewSlow(s, func(storetest.Op, store.Record) (before, after time.Duration) {
				return 0, time.Microsecond
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var made []*Store
			storetest.Run(t, func(t *testing.T) store.Store {
				s := opened(t, below(t), Config{Zones: zones})
				made = append(made, s)
				return s
			})
			// A cache that is never used keeps any contract.
			var hits, puts int64
			for _, s := range made {
				for _, z := range s.Stats().Zones {
					hits, puts = hits+z.Hits, puts+z.Puts
				}
			}
			t.Logf("%d hits, %d writes taken", hits, puts)
			if hits < 100 || puts < 100 {
				t.Errorf("%d hits, %d writes taken: the cache was hardly used", hits, puts)
			}
		})
	}
}
