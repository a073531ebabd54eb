package parents

import (
	"testing"
	"time"
)

func TestHealth(t *testing.T) {
	now := time.Unix(1e9, 0)
	var h health
	for i := range failuresToDown {
		if h.down {
			t.Fatalf("down after %d failures", i)
		}
		h.fail(now, false)
	}
	if !h.down || h.rank(now, 0) != 1 || h.rank(now.Add(distrustFor), 0) != 0 {
		t.Errorf("after %d failures: %+v", failuresToDown, h)
	}
	h = health{}
	h.fail(now, false)
	h.fail(now, false)
	h.succeed()
	if h.fail(now, false) {
		t.Error("failures that are not in a row count")
	}
	if !h.fail(now, true) || h.fail(now, true) {
		t.Error("one that cannot be reached is down at once, and once")
	}
}

// A parent that comes back gets twice as many requests each 100 ms, and is not
// held back for long.
func TestComebackIsNoRush(t *testing.T) {
	now := time.Unix(1e9, 0)
	h := health{down: true}
	h.recover(now)
	started, waits := 0, 0
	for started < 10_000 {
		wait := h.wait(now)
		if wait == 0 {
			h.start()
			started++
			if waits == 0 && started > rampFirst {
				t.Fatalf("%d at once", started)
			}
			continue
		}
		if waits++; started > rampFirst<<(waits-1) {
			t.Fatalf("%d in the first %d steps", started, waits)
		}
		now = now.Add(wait)
	}
	if d := now.Sub(h.back); d > rampStep*rampSteps {
		t.Errorf("10,000 requests took %v", d)
	}
}
