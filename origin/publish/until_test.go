package publish

import (
	"testing"
	"time"
)

func TestBodyUntil(t *testing.T) {
	const timeout, filmed = 10 * time.Second, 12 * time.Second
	for _, c := range []struct {
		name       string
		now        time.Duration // since the request came
		filmed     time.Duration
		size       int64
		until      time.Duration
		altogether bool
	}{
		{"at first", 0, filmed, 0, 10 * time.Second, false},
		{"it moves", 11 * time.Second, filmed, 1000, 21 * time.Second, false},
		{"the last that a body without a byte has", 12 * time.Second, filmed, 0, 22 * time.Second, false},
		{"too slow altogether", 13 * time.Second, filmed, 64<<10 - 1, 22*time.Second + 999984741, true},
		{"as slow as can be", 13 * time.Second, filmed, 64 << 10, 23 * time.Second, false},
		{"a large one", 100 * time.Second, filmed, 32 << 20, 110 * time.Second, false},
		{"an init segment", time.Second, 0, 100, 10*time.Second + 1525878, true},
	} {
		var began time.Time
		until, altogether := bodyUntil(began, began.Add(c.now), timeout, c.filmed, c.size)
		if until.Sub(began) != c.until || altogether != c.altogether {
			t.Errorf("%s: until %v, altogether %v, want %v, %v", c.name, until.Sub(began), altogether, c.until, c.altogether)
		}
	}
}
