package origin

import (
	"context"
	"strings"
	"testing"
	"time"

	"headwater/clock"
	"headwater/store"
	"headwater/store/memory"
)

// A clockedStore is one whose nodes have clocks.
type clockedStore struct {
	store.Store
	nodes []string
	asked int
}

func (s *clockedStore) Time(context.Context) (string, time.Time, error) {
	s.asked++
	return s.nodes[s.asked%len(s.nodes)], time.Now(), nil
}

// TestStoreTellsTheTime: an origin that nobody but its store tells what time it is notices
// that its own clock is off, says so with who says it, and goes on by the right time. Also
// where the store of segments has no clock, and that of control has.
func TestStoreTellsTheTime(t *testing.T) {
	for name, of := range map[string]func(store.Store) store.Store{
		"the store":      func(s store.Store) store.Store { return s },
		"one of control": func(s store.Store) store.Store { return store.Split(memory.New(memory.Options{}), s) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				wall := func() time.Time { return time.Now().Add(5 * time.Second) }
				st := &clockedStore{Store: memory.New(memory.Options{}), nodes: []string{"1", "2", "3"}}
				r := openRig(t, Config{Store: of(st), Clock: clock.New(clock.Config{Wall: wall, Confirm: 2 * time.Second})})
				time.Sleep(3 * time.Second)
				if off := time.Until(r.o.clock.Now()); off.Abs() > 10*time.Millisecond {
					t.Errorf("off by %v", off)
				}
				if n := r.metric(`headwater_clock_sources{source="store"}`); n != 3 {
					t.Errorf("%v nodes of the store are heard", n)
				}
				if off := r.metric(`headwater_clock_offset_seconds{source="system"}`); off < 4.99 || off > 5.01 {
					t.Errorf("the system's clock is told to be off by %v s", off)
				}
				if why := r.o.clock.Health(); why == nil || !strings.Contains(why.Error(), "1.5 of 2.5 clocks") {
					t.Errorf("it says of its clock: %v", why)
				}
			})
		})
	}
}
