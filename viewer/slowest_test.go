package viewer

import (
	"testing"
	"time"

	"headwater/live"
)

// TestSlowestSegments: the ten slowest stand out, whenever they were, and memory
// does not grow with the number of segments.
func TestSlowestSegments(t *testing.T) {
	var s slowest
	const segments = 1000
	for n := range live.Number(segments) {
		for viewer := range 10 {
			d := time.Duration(viewer+1) * time.Millisecond
			if n%100 == 7 {
				d += time.Duration(n) * time.Millisecond
			}
			s.add("v", n, d)
		}
		s.add("a", n, time.Millisecond)
		// One is far behind.
		if n > 500 {
			s.add("v", n-500, time.Hour)
		}
	}
	got := s.report()
	if len(got) != maxSlowest || len(s.open) > maxOpen || len(s.worst) > maxSlowest {
		t.Fatalf("%d reported, %d open, %d kept", len(got), len(s.open), len(s.worst))
	}
	for i, x := range got {
		want := live.Number(907 - 100*i)
		if x.Rendition != "v" || x.Number != want || x.Count != 10 || x.Max != float64(want)+10 {
			t.Errorf("%d: %+v, want v/%d", i, x, want)
		}
	}
}
