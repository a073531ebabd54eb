package parents

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever the ways there and back take, the offset is off by no more than half
// of the shortest round trip and what rounding takes.
func TestClockOffset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offset := time.Duration(rapid.Int64Range(-5e9, 5e9).Draw(t, "offset"))
		var c parentClock
		now, shortest := time.Unix(1e9, 0), time.Hour
		for range rapid.IntRange(1, 8).Draw(t, "samples") {
			there := time.Duration(rapid.Int64Range(0, 3e8).Draw(t, "there"))
			back := time.Duration(rapid.Int64Range(0, 3e8).Draw(t, "back"))
			told := now.Add(there + offset).Truncate(time.Millisecond)
			c.sample(now, now.Add(there+back), told)
			shortest = min(shortest, there+back)
			now = now.Add(time.Duration(rapid.Int64Range(1e6, 2e9).Draw(t, "pause")))
		}
		if d := (c.offset - offset).Abs(); d > shortest+clockGrain {
			t.Fatalf("off by %v, the shortest round trip was %v", d, shortest)
		}
	})
}

func TestClocksThatAgreeAreLeftAlone(t *testing.T) {
	var c parentClock
	for i := range 100 {
		asked := time.Unix(1e9, int64(i)*77_777_777)
		c.sample(asked, asked.Add(time.Duration(i)*time.Microsecond), asked.Add(time.Duration(i)*300*time.Nanosecond).Truncate(time.Millisecond))
	}
	if c.offset != 0 {
		t.Errorf("the offset is %v", c.offset)
	}
}
