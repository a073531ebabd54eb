package admit

import (
	"testing"
	"time"
)

func TestRatesHoldEachNameToItsOwn(t *testing.T) {
	r, now := NewRates[string](100), time.Unix(1000, 0)
	over := func(name string, want time.Duration) {
		t.Helper()
		if got := r.Over(name, now); got != want {
			t.Errorf("%s is to wait %v, want %v", name, got, want)
		}
	}
	over("a", 0)
	r.Charge("a", 99, now)
	over("a", 0) // what one takes in a second may come at once
	r.Charge("a", 151, now)
	over("a", 1500*time.Millisecond)
	over("b", 0)
	now = now.Add(-time.Minute) // a clock that was set back
	over("a", 1500*time.Millisecond)
	now = now.Add(1400 * time.Millisecond)
	over("a", 100*time.Millisecond)
	now = now.Add(101 * time.Millisecond)
	over("a", 0)
	now = now.Add(time.Second)
	over("a", 0)
	if len(r.by) != 0 {
		t.Errorf("%d names are remembered for nothing", len(r.by))
	}
	free := NewRates[string](0)
	free.Charge("a", 1<<40, now)
	if free.Over("a", now) != 0 || len(free.by) != 0 {
		t.Error("held to no rate, and refused")
	}
}

// In the long run a name gets its rate, however much it wants.
func TestRateInTheLongRun(t *testing.T) {
	r, now, took := NewRates[string](1000), time.Unix(1000, 0), int64(0)
	for range 60_000 {
		if r.Over("a", now) == 0 {
			r.Charge("a", 70, now)
			took += 70
		}
		now = now.Add(time.Millisecond)
	}
	if took < 60_000 || took > 62_000 {
		t.Errorf("%d in 60 s at 1000 a second", took)
	}
}
