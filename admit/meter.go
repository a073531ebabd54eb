package admit

import (
	"math"
	"sync"
	"time"
)

// A Meter knows how slow something was lately: what was observed counts the less, the
// longer ago it was, and the more there came since. So it forgets by itself, and soon:
// what is refused for it would swing if it told of what was before the last refusals.
type Meter struct {
	target time.Duration

	mu    sync.Mutex // guards the following
	at    time.Time
	total float64 // that count,
	slow  float64 // those of them that took longer than the target,
	times float64 // and how many times as long all took together
}

const (
	meterFades = time.Second // until a third of its weight is left of one observation
	meterLeast = 10          // fewer do not say all
	meterMost  = 20          // that count, however many come
	// timesMost is how many times its target one takes at most, or where it fails: a fifth
	// of failures is too much, whatever the others took.
	timesMost = 5
	// pressureMost is where it is so slow that it does not matter how much slower it is.
	pressureMost = 3
)

// NewMeter returns a Meter of what should take no longer than target.
func NewMeter(target time.Duration) *Meter { return &Meter{target: target} }

// Observe notes how long one took. A failure counts as slow, whenever it came.
func (m *Meter) Observe(now time.Time, d time.Duration, failed bool) {
	switch {
	case failed:
		m.add(now, 1, 1, timesMost)
	case d > m.target:
		m.add(now, 1, 1, min(float64(d)/float64(m.target), timesMost))
	default:
		m.add(now, 1, 0, float64(d)/float64(m.target))
	}
}

// Add notes so many, of which some were slow, where somebody else has counted them.
func (m *Meter) Add(now time.Time, total, slow int64) {
	m.add(now, float64(total), float64(slow), float64(slow)*timesMost)
}

func (m *Meter) add(now time.Time, total, slow, times float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fade(now)
	m.total, m.slow, m.times = m.total+total, m.slow+slow, m.times+times
	if m.total > meterMost {
		m.scale(meterMost / m.total)
	}
}

// fade needs mu. A clock that was set back changes nothing.
func (m *Meter) fade(now time.Time) {
	if d := now.Sub(m.at); !m.at.IsZero() && d > 0 {
		m.scale(math.Exp(-d.Seconds() / meterFades.Seconds()))
	}
	m.at = now
}

func (m *Meter) scale(by float64) { m.total, m.slow, m.times = m.total*by, m.slow*by, m.times*by }

// Slow is the share of slow ones just now, from 0 to 1; the less of it, the fewer there
// were: where nothing is observed any more it ends.
func (m *Meter) Slow(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fade(now)
	return m.slow / max(m.total, meterLeast)
}

// Pressure is how long one took in the mean, over the target. The share of slow ones would
// go from none to nearly all with little more load, and what is refused with it.
func (m *Meter) Pressure(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fade(now)
	return min(m.times/max(m.total, meterLeast), pressureMost)
}
