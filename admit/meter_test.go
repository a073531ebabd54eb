package admit

import (
	"math"
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	now, m := time.Unix(1000, 0), &Meter{}
	for _, c := range []struct {
		what        string
		total, slow int64
		later       time.Duration
		want        float64
	}{
		{"too little known", 10, 10, 0, 0},
		{"some", 190, 0, 0, 0.05},
		{"slow", 100, 100, 0, 110. / 300},
		{"more", 100, 100, time.Second, 210. / 400},
		{"the older are forgotten", 0, 0, meterSeconds * time.Second, 0},
	} {
		m.Add(now, c.total, c.slow)
		now = now.Add(c.later)
		if got := m.Slow(now); got != c.want {
			t.Errorf("%s: %v slow, want %v", c.what, got, c.want)
		}
	}
}

func TestSlowness(t *testing.T) {
	now := time.Unix(1000, 0)
	m := NewSlowness(100 * time.Millisecond)
	for _, c := range []struct {
		what           string
		n              int
		took           time.Duration
		failed         bool
		later          time.Duration
		slow, pressure float64
	}{
		{"few do not say all", 5, 200 * time.Millisecond, false, 0, 0.5, 1},
		{"in time", 15, 50 * time.Millisecond, false, 0, 0.25, 17.5 / 20},
		{"many", 1000, 100 * time.Millisecond, false, 0, 0, 1},
		{"a fifth fails", 5, time.Millisecond, true, 0, 0.216, 1.866},
		{"the clock is set back", 0, 0, false, -time.Hour, 0.216, 1.866},
		{"nothing is worse than so slow", 1000, time.Hour, false, 0, 1, 3},
		{"nothing comes any more", 0, 0, false, 5 * time.Second, 0.01, 0.07},
	} {
		for range c.n {
			m.Observe(now, c.took, c.failed)
		}
		now = now.Add(c.later)
		if slow, pressure := m.Slow(now), m.Pressure(now); math.Abs(slow-c.slow) > 0.01 || math.Abs(pressure-c.pressure) > 0.02 {
			t.Errorf("%s: %v slow, want %v; pressure %v, want %v", c.what, slow, c.slow, pressure, c.pressure)
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
