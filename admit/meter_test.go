package admit

import (
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	now := time.Unix(1000, 0)
	m := NewMeter(100 * time.Millisecond)
	for _, c := range []struct {
		what   string
		n      int
		took   time.Duration
		failed bool
		later  time.Duration
		want   float64
	}{
		{"too little known", 10, time.Second, false, 0, 0},
		{"in time", 190, 100 * time.Millisecond, false, 0, 0.05},
		{"slow", 100, 101 * time.Millisecond, false, 0, 110. / 300},
		{"failed", 100, time.Millisecond, true, time.Second, 210. / 400},
		{"the older are forgotten", 0, 0, false, meterSeconds * time.Second, 0},
	} {
		for range c.n {
			m.Observe(now, c.took, c.failed)
		}
		now = now.Add(c.later)
		if got := m.Slow(now); got != c.want {
			t.Errorf("%s: %v slow, want %v", c.what, got, c.want)
		}
	}
}

func TestLatenessIsOfWhatIsNew(t *testing.T) {
	bounds := []float64{0, 0.001, 0.002, 0.005, 0.010, 0.020}
	before := []uint64{1000, 0, 0, 0, 500}
	for _, c := range []struct {
		counts []uint64
		want   time.Duration
	}{
		{[]uint64{1050, 0, 0, 0, 549}, 0}, // too few
		{[]uint64{2000, 0, 0, 0, 505}, 0},
		{[]uint64{2000, 0, 0, 50, 500}, 5 * time.Millisecond},
		{[]uint64{2000, 0, 0, 0, 550}, 10 * time.Millisecond},
	} {
		if got := quantile(c.counts, before, bounds); got != c.want {
			t.Errorf("%v: %v, want %v", c.counts, got, c.want)
		}
	}
	NewLateness().Read() // this Go has the metric, and reading it works
}
