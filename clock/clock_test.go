package clock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"headwater/clock"
)

// A machine is a system's clock that can be set.
type machine struct{ off time.Duration }

func (m *machine) Now() time.Time { return time.Now().Add(m.off) }

// TestStepsAreNotSeen: what sets the system's clock does not set a Clock, and what is
// converted to an instant and back is the same.
func TestStepsAreNotSeen(t *testing.T) {
	for _, step := range []time.Duration{time.Second, -time.Second, 5 * time.Minute, -5 * time.Minute, 366 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			m := &machine{off: 7 * time.Second}
			c := clock.New(clock.Config{Wall: m.Now})
			before := c.Now()
			if want := time.Now().Add(7 * time.Second); !before.Equal(want) {
				t.Fatalf("it begins with %v, want %v", before, want)
			}
			m.off += step
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
