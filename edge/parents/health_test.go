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
	if !h.down || h.rank(now, 0) != 1 || h.rank(now.Add(behindFor), 0) != 0 {
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
			h.start(now, true)
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

// Who read the clock, was put aside, and asks when the parent has come back meanwhile, is
// one of the first: on a busy machine that may be long.
func TestAskedBeforeItCameBack(t *testing.T) {
	now := time.Unix(1e9, 0)
	h := health{down: true}
	h.recover(now)
	for range rampFirst {
		if wait := h.wait(now.Add(-time.Second)); wait != 0 {
			t.Fatalf("wait for %v", wait)
		}
		h.start(now, true)
	}
	if wait := h.wait(now.Add(-time.Second)); wait <= 0 {
		t.Errorf("wait for %v", wait)
	}
}

// What has a parent asked after the others, for how long, and what clears it.
func TestBehind(t *testing.T) {
	s := func(seconds float64) time.Time { return time.Unix(1e9, int64(seconds*1e9)) }
	slow := func(at float64) func(*health) { return func(h *health) { h.fallBehind(s(at)) } }
	lied := func(at float64) func(*health) { return func(h *health) { h.lied = true; h.fallBehind(s(at)) } }
	asked := func(at float64) func(*health) { return func(h *health) { h.start(s(at), true) } }
	list := func(at float64) func(*health) { return func(h *health) { h.start(s(at), false) } }
	kept := func(at float64, size int64) func(*health) { return func(h *health) { h.keep(s(at), size) } }
	outrun := func(at float64) func(*health) { return func(h *health) { h.outrun(s(at)) } }
	good := func(h *health) { h.succeed() }
	for name, c := range map[string]struct {
		done []func(*health)
		at   float64
		rank int
	}{
		"nothing was":                             {nil, 0, 0},
		"a body was slow":                         {[]func(*health){slow(0)}, 9, 1},
		"it lied":                                 {[]func(*health){lied(0)}, 9, 2},
		"many bodies at once were slow":           {[]func(*health){slow(0), slow(0.1), slow(0.2)}, 10, 0},
		"it is tried":                             {[]func(*health){slow(0), asked(10)}, 10, 1},
		"it is tried, and does not answer":        {[]func(*health){slow(0), asked(10)}, 20, 0},
		"a list tries nothing":                    {[]func(*health){slow(0), list(10)}, 10, 0},
		"it is tried, and slow":                   {[]func(*health){slow(0), asked(10), slow(11)}, 30.9, 1},
		"twice as long":                           {[]func(*health){slow(0), asked(10), slow(11)}, 31, 0},
		"it is slow each time":                    {[]func(*health){slow(0), slow(10), slow(30), slow(70), slow(150), slow(310)}, 609, 1},
		"not for ever":                            {[]func(*health){slow(0), slow(10), slow(30), slow(70), slow(150), slow(310)}, 610, 0},
		"a small body proves little":              {[]func(*health){slow(0), asked(10), kept(11, 100), asked(12)}, 12, 1},
		"and may be followed by another":          {[]func(*health){slow(0), asked(10), kept(11, 100)}, 11, 0},
		"what it proved counts together":          {[]func(*health){slow(0), asked(10), kept(11, proof-1), asked(12), kept(13, 1), asked(14)}, 14, 0},
		"it has proved itself":                    {[]func(*health){lied(0), asked(10), kept(11, proof), asked(12)}, 12, 0},
		"and begins anew":                         {[]func(*health){slow(0), asked(10), kept(11, proof), slow(12)}, 22, 0},
		"what comes meanwhile proves nothing":     {[]func(*health){slow(0), kept(1, proof), asked(10)}, 10, 1},
		"it was outrun twice":                     {[]func(*health){outrun(0), outrun(0)}, 0, 0},
		"it was outrun three times":               {[]func(*health){outrun(0), outrun(0), outrun(0)}, 0, 1},
		"it was outrun three times, not in a row": {[]func(*health){outrun(0), outrun(0), good, outrun(0)}, 0, 0},
	} {
		var h health
		for _, f := range c.done {
			f(&h)
		}
		if got := h.rank(s(c.at), 0); got != c.rank {
			t.Errorf("%s: rank %d, want %d (%+v)", name, got, c.rank, h)
		}
	}
}
