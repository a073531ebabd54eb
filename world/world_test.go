package world

import (
	"reflect"
	"testing"
	"time"
)

// TestWorlds plays a few worlds in this process, one after the other.
func TestWorlds(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		r := Play(NewPlan(seed, 4*time.Minute), nil)
		for _, v := range r.Violations {
			t.Errorf("seed %d: %v", seed, v)
		}
		if r.Counts["get 200 "] == 0 || r.Counts["acknowledged segments looked for"] == 0 {
			t.Errorf("seed %d: nothing was seen: %v", seed, r.Counts)
		}
		if t.Failed() {
			for _, l := range r.Story {
				t.Log(l)
			}
			t.FailNow()
		}
	}
}

// TestPlans: the same seed is the same plan, and nothing is done after its length.
func TestPlans(t *testing.T) {
	for seed := range uint64(200) {
		p := NewPlan(seed, 15*time.Minute)
		if !reflect.DeepEqual(p, NewPlan(seed, 15*time.Minute)) {
			t.Fatalf("seed %d makes different plans", seed)
		}
		for _, a := range p.Acts {
			if a.At+a.For > p.Length {
				t.Errorf("seed %d: %v is not over at %v", seed, a, p.Length)
			}
		}
	}
}

// TestBytesOfEachSegment: what viewers get can be held against what was made.
func TestBytesOfEachSegment(t *testing.T) {
	m := newMedium()
	w := &world{medium: m}
	w.event.Segment.Ticks, w.event.Segment.Timescale = 2, 1
	w.tl = w.event.Timeline()
	if a, b := m.segment(&w.tl, 7, "a"), m.segment(&w.tl, 7, "b"); string(a) == string(b) {
		t.Error("two encoders make the same bytes")
	}
}
