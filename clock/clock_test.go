package clock_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"headwater/clock"
)

// A machine is a system's clock that can be set.
type machine struct{ off atomic.Int64 }

func machineOff(by time.Duration) *machine {
	m := &machine{}
	m.set(by)
	return m
}

// set sets it by that much.
func (m *machine) set(by time.Duration) { m.off.Add(int64(by)) }

func (m *machine) Now() time.Time { return time.Now().Add(time.Duration(m.off.Load())) }

// TestStepsAreNotSeen: what sets the system's clock does not set a Clock, and what is
// converted to an instant and back is the same.
func TestStepsAreNotSeen(t *testing.T) {
	for _, step := range []time.Duration{time.Second, -time.Second, 5 * time.Minute, -5 * time.Minute, 366 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			m := machineOff(7 * time.Second)
			c := clock.New(clock.Config{Wall: m.Now})
			before := c.Now()
			if want := time.Now().Add(7 * time.Second); !before.Equal(want) {
				t.Fatalf("it begins with %v, want %v", before, want)
			}
			m.set(step)
			time.Sleep(3 * time.Second)
			if got := c.Now().Sub(before); got != 3*time.Second {
				t.Errorf("after a step of %v, 3 s later it has gone on by %v", step, got)
			}
			deadline := c.Now().Add(time.Minute)
			if got := time.Until(c.Instant(deadline)); got != time.Minute {
				t.Errorf("a minute is %v", got)
			}
			if got := c.At(c.Instant(deadline)); !got.Equal(deadline) {
				t.Errorf("there and back %v is %v", deadline, got)
			}
		})
	}
}

// TestOneLooksForAll: of those that run a clock one looks, and when it leaves another does.
func TestOneLooksForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		c := clock.New(clock.Config{Wall: func() time.Time { looks.Add(1); return time.Now() }})
		var tasks sync.WaitGroup
		var leave [3]context.CancelFunc
		for i := range leave {
			ctx, cancel := context.WithCancel(t.Context())
			leave[i] = cancel
			tasks.Go(func() { c.Run(ctx) })
		}
		for _, cancel := range leave {
			before := looks.Load()
			time.Sleep(10*time.Second - time.Millisecond)
			if n := looks.Load() - before; n < 39 || n > 41 {
				t.Errorf("%d looks in ten seconds", n)
			}
			cancel()
		}
		tasks.Wait()
	})
}

// TestEdgeFollowsItsParents: whatever the ways there and back take, the time of the
// parents is known to within half of a round trip, whatever the own clock says, and the
// median of three parents is not moved by one that is wrong.
func TestEdgeFollowsItsParents(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(*testing.T) {
			m := machineOff(time.Duration(rapid.Int64Range(-5e9, 5e9).Draw(rt, "own")))
			c := clock.New(func() clock.Config { cfg := clock.OfEdge(nil); cfg.Wall = m.Now; return cfg }())
			parents := rapid.SampledFrom([]int{1, 3}).Draw(rt, "parents")
			longest := time.Duration(0)
			for range rapid.IntRange(1, 8).Draw(rt, "rounds") {
				for i := range parents {
					off := time.Duration(0)
					if i == 2 {
						off = 7 * time.Second
					}
					asked := time.Now()
					time.Sleep(time.Duration(rapid.Int64Range(0, 2e8).Draw(rt, "there")))
					told := time.Now().Add(off).Truncate(time.Millisecond)
					time.Sleep(time.Duration(rapid.Int64Range(0, 2e8).Draw(rt, "back")))
					c.Exchange(clock.Parent, string(rune('p'+i)), told, asked, time.Now(), 1)
					longest = max(longest, time.Since(asked))
				}
				c.Look()
				time.Sleep(time.Second)
			}
			time.Sleep(5 * time.Second) // for what is slewed
			// They tell milliseconds, one may be between what two say, and one is not worth a move.
			if got := time.Until(c.Now()); got.Abs() > longest+3*time.Millisecond {
				rt.Fatalf("off by %v, with round trips of up to %v", got, longest)
			}
		})
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestALogThatHangs: who writes to the log holds up nobody who enters what others said, or
// asks.
func TestALogThatHangs(t *testing.T) {
	var c *clock.Clock
	m, lines := machineOff(0), 0
	c = clock.New(clock.Config{Wall: m.Now, Log: slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		lines++
		c.Message(clock.Packager, "a", time.Now(), time.Now())
		_ = c.Health()
		return len(b), nil
	}), nil))})
	c.Look()
	m.set(5 * time.Minute)
	c.Look()
	if lines == 0 {
		t.Error("nothing is said of a step")
	}
}

// TestDiscipline: what a node that is off does about it, second by second: packagers, an
// edge and another origin say the right time every second, and nobody is believed alone.
func TestDiscipline(t *testing.T) {
	const year = 366 * 24 * time.Hour
	for _, x := range []struct {
		name    string
		begins  time.Duration // how far off the system's clock is at the start
		set     time.Duration // by how much it is set 10 s later,
		back    time.Duration // and back after that; 0: never
		alone   bool
		off     time.Duration // how far off the clock may be in the end
		settled bool
	}{
		{name: "right", settled: true},
		{name: "set by 5 s for 3 s", set: 5 * time.Second, back: 3 * time.Second},
		{name: "set by 300 s for 3 s", set: 300 * time.Second, back: 3 * time.Second},
		{name: "set by 300 s for 3 s, alone", set: 300 * time.Second, back: 3 * time.Second, alone: true},
		{name: "set by 300 s for good", set: 300 * time.Second},
		{name: "set by 300 s for good, alone", set: 300 * time.Second, alone: true, off: 300 * time.Second},
		{name: "begins 5 s ahead", begins: 5 * time.Second},
		{name: "begins a second behind", begins: -time.Second},
		{name: "begins a year ahead", begins: year},
		{name: "begins a year behind", begins: -year},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := machineOff(x.begins)
				c := clock.New(clock.Config{Wall: m.Now, Confirm: 3 * time.Second})
				ctx, stop := context.WithCancel(t.Context())
				go c.Run(ctx)
				worst := time.Duration(0)
				for i := range 120 {
					switch {
					case i == 10:
						m.set(x.set)
					case x.back != 0 && i == 10+int(x.back/time.Second):
						m.set(-x.set)
					}
					if !x.alone {
						for _, from := range []string{"a", "b"} {
							c.Message(clock.Packager, from, time.Now().Add(-20*time.Millisecond), time.Now())
						}
						c.Message(clock.Edge, "e", time.Now().Add(-time.Millisecond), time.Now())
					}
					time.Sleep(time.Second)
					if off := time.Until(c.Now()); i > 2 && off.Abs() > worst.Abs() {
						worst = off
					}
				}
				if d := worst - x.off; d.Abs() > 200*time.Millisecond {
					t.Errorf("it was off by up to %v, want %v", worst, x.off)
				}
				select {
				case <-c.Settled():
				default:
					t.Error("it is not settled")
				}
				if why := c.Health(); (why != nil) != (m.off.Load() != 0 && !x.alone) {
					t.Errorf("with the system's clock off by %v it says: %v", time.Duration(m.off.Load()), why)
				}
				stop()
				synctest.Wait()
			})
		})
	}
}

// TestWordOfTheGone: who followed others to a wrong time, and hears nothing more of them,
// goes by the system's clock again, after a while: a packager that is minutes ahead finds
// every segment too late to be sent, and so would never hear from an origin again.
func TestWordOfTheGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := machineOff(0)
		c := clock.New(clock.Config{Wall: m.Now, Far: 2})
		ctx, cancel := context.WithCancel(t.Context())
		var tasks sync.WaitGroup
		tasks.Go(func() { c.Run(ctx) })
		for range 20 { // its origin is 300 s ahead, and says that others agree
			now := time.Now()
			c.Exchange(clock.Origin, "origin", now.Add(300*time.Second), now, now, 2)
			time.Sleep(time.Second)
		}
		off := func() time.Duration { return time.Until(c.Now()).Round(time.Second) }
		if off() != 300*time.Second {
			t.Fatalf("off by %v: it does not follow its origin", off())
		}
		time.Sleep(50 * time.Second)
		if off() != 300*time.Second {
			t.Errorf("off by %v: what the origin said last counts for a while", off())
		}
		time.Sleep(time.Minute)
		if off() != 0 {
			t.Errorf("off by %v: it is never right again", off())
		}
		cancel()
		tasks.Wait()
	})
}
