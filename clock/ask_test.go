package clock_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/clock"
)

// TestAsk: a node that hears nobody but its store finds out by it that it is off, to
// within what an answer takes; who does not answer, or too late, says nothing.
func TestAsk(t *testing.T) {
	type node struct {
		name        string
		off         time.Duration
		there, back time.Duration
		err         error
	}
	const s = time.Second
	for _, x := range []struct {
		name   string
		nodes  []node // asked in turn
		begins time.Duration
		set    time.Duration // 10 s later
		off    time.Duration // in the end
		within time.Duration
	}{
		{"right", []node{{name: "1"}, {name: "2"}, {name: "3"}}, 0, 0, 0, 0},
		{"it began 5 s ahead", []node{{name: "1"}, {name: "2"}, {name: "3"}}, 5 * s, 0, 0, 0},
		{"it began 300 s behind", []node{{name: "1"}, {name: "2"}, {name: "3"}}, -300 * s, 0, 0, 0},
		{"it is set for good", []node{{name: "1"}, {name: "2"}, {name: "3"}}, 0, 5 * s, 0, 0},
		{"answers take long to come back", []node{{name: "1", back: 400 * time.Millisecond}, {name: "2", back: 400 * time.Millisecond}}, 5 * s, 0, 0, 400 * time.Millisecond},
		{"requests take long to get there", []node{{name: "1", there: 400 * time.Millisecond}, {name: "2", there: 400 * time.Millisecond}}, -5 * s, 0, 0, 400 * time.Millisecond},
		{"one of three is off", []node{{name: "1"}, {name: "2", off: 5 * s}, {name: "3"}}, 0, 0, 0, 0},
		{"one of three is off, and it too", []node{{name: "1"}, {name: "2", off: 9 * s}, {name: "3"}}, 5 * s, 0, 5 * s, 0},
		{"one of three stands still", []node{{name: "1"}, {name: "2", there: time.Hour}, {name: "3"}}, 5 * s, 0, 0, 0},
		{"one of three refuses", []node{{name: "1"}, {name: "2", err: errors.New("no")}, {name: "3"}}, 5 * s, 0, 0, 0},
		{"there is one, whose word is as good as its own", []node{{name: "1"}}, 5 * s, 0, 5 * s, 0},
		{"nobody answers", []node{{there: time.Hour}}, 5 * s, 0, 5 * s, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := machineOff(x.begins)
				c := clock.New(clock.Config{Wall: m.Now, Confirm: 3 * time.Second})
				ctx, stop := context.WithCancel(t.Context())
				var tasks sync.WaitGroup
				turn := 0
				tasks.Go(func() { c.Run(ctx) })
				tasks.Go(func() {
					c.Ask(ctx, clock.Store, func(ctx context.Context) (string, time.Time, error) {
						n := x.nodes[turn%len(x.nodes)]
						turn++
						if sleep(ctx, n.there) != nil {
							return "", time.Time{}, ctx.Err()
						}
						told := time.Now().Add(n.off).Truncate(time.Millisecond)
						return n.name, told, errors.Join(n.err, sleep(ctx, n.back))
					})
				})
				time.Sleep(10 * time.Second)
				m.set(x.set)
				time.Sleep(time.Minute)
				if off := time.Until(c.Now()) - x.off; off.Abs() > x.within+2*time.Millisecond {
					t.Errorf("it is off by %v more than by %v", off, x.off)
				}
				stop()
				tasks.Wait()
				if turn < 20 || turn > 50 {
					t.Errorf("asked %d times in 70 s", turn)
				}
			})
		})
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
