package admit

import (
	"sync"
	"time"
)

// A Meter knows the share of something that was slower than it should be, of what
// was observed within the last few seconds only: so it forgets by itself.
type Meter struct {
	mu      sync.Mutex // guards the following
	buckets [meterSeconds]meterBucket
}

type meterBucket struct {
	second      int64 // Unix time
	total, slow int64
}

const (
	meterSeconds = 5  // that are remembered
	meterLeast   = 20 // fewer say nothing
)

// Add notes so many, of which some were slow.
func (m *Meter) Add(now time.Time, total, slow int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := &m.buckets[now.Unix()%meterSeconds]
	if b.second != now.Unix() {
		*b = meterBucket{second: now.Unix()}
	}
	b.total += total
	b.slow += slow
}

// Slow is the share of slow ones just now, from 0 to 1; 0 where too few say so.
func (m *Meter) Slow(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var total, slow int64
	for _, b := range m.buckets {
		if b.second > now.Unix()-meterSeconds && b.second <= now.Unix() {
			total, slow = total+b.total, slow+b.slow
		}
	}
	if total < meterLeast {
		return 0
	}
	return float64(slow) / float64(total)
}
