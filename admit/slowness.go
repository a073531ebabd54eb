package admit

import (
	"math"
	"sync"
	"time"
)

// A Slowness knows how slow something was just now: what was observed counts the less, the
// longer ago it was, and the more there came since. So it forgets by itself, and soon:
// what is refused for it would swing if it told of what was before the last refusals.
type Slowness struct {
	target time.Duration

	mu    sync.Mutex // guards the following
	at    time.Time
	total float64 // that count,
	slow  float64 // those of them that took longer than the target,
	times float64 // and how many times as long all took together
}

const (
	slownessFades = time.Second // until a third of its weight is left of one observation
	slownessLeast = 10          // fewer do not say all
	slownessMost  = 20          // that count, however many come
	// timesMost is how many times its target one takes at most, or where it fails: a fifth
	// of failures is too much, whatever the others took.
	timesMost = 5
	// pressureMost is where it is so slow that it does not matter how much slower it is.
	pressureMost = 3
)

// NewSlowness returns a Slowness of what should take no longer than target.
func NewSlowness(target time.Duration) *Slowness { return &Slowness{target: target} }

// Observe notes how long one took. A failure counts as slow, whenever it came.
func (m *Slowness) Observe(now time.Time, d time.Duration, failed bool) {
	switch {
	case failed:
		m.add(now, 1, timesMost)
	case d > m.target:
		m.add(now, 1, min(float64(d)/float64(m.target), timesMost))
	default:
		m.add(now, 0, float64(d)/float64(m.target))
	}
}

// add is Observe: of how many targets it took, and whether that is slow.
func (m *Slowness) add(now time.Time, slow, times float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fade(now)
	m.total, m.slow, m.times = m.total+1, m.slow+slow, m.times+times
	if m.total > slownessMost {
		m.scale(slownessMost / m.total)
	}
}

// fade needs mu. A clock that was set back changes nothing.
func (m *Slowness) fade(now time.Time) {
	if d := now.Sub(m.at); !m.at.IsZero() && d > 0 {
		m.scale(math.Exp(-d.Seconds() / slownessFades.Seconds()))
	}
	m.at = now
}

func (m *Slowness) scale(by float64) { m.total, m.slow, m.times = m.total*by, m.slow*by, m.times*by }

// Slow is the share of slow ones just now, from 0 to 1; the less of it, the fewer there
// were: where nothing is observed any more it ends.
func (m *Slowness) Slow(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fade(now)
	return m.slow / max(m.total, slownessLeast)
}

// Pressure is how long one took in the mean, over the target. The share of slow ones would
// go from none to nearly all with little more load, and what is refused with it.
func (m *Slowness) Pressure(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fade(now)
	return min(m.times/max(m.total, slownessLeast), pressureMost)
}
