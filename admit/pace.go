package admit

import (
	"sync"
	"time"
)

// A Pace watches how fast something really is, and sheds by it: as the share of
// what was slower than its target grows, the lowest class goes first. Publish
// and Live are never shed by it. It is decided by what was observed within the
// last few seconds only, so it opens by itself once the load is gone.
type Pace struct {
	target time.Duration

	mu      sync.Mutex // guards the following
	buckets [paceBuckets]paceBucket
	shed    [classes]int64
}

type paceBucket struct {
	second      int64 // Unix time
	total, slow int64
}

const (
	paceBuckets = 5  // seconds that are remembered
	paceSamples = 20 // fewer say nothing
)

// slowShare is the share of slow ones, in percent, from which on a class is shed.
var slowShare = [classes]int64{Publish: 101, Live: 101, DVR: 30, Rest: 10}

// NewPace returns a Pace for something that should take no longer than target.
func NewPace(target time.Duration) *Pace { return &Pace{target: target} }

// Observe notes how long one took. A failure counts as slow, whenever it came.
func (p *Pace) Observe(now time.Time, d time.Duration, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := &p.buckets[now.Unix()%paceBuckets]
	if b.second != now.Unix() {
		*b = paceBucket{second: now.Unix()}
	}
	b.total++
	if failed || d > p.target {
		b.slow++
	}
}

// Enter reports whether a request of class c may go on.
func (p *Pace) Enter(c Class, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	total, slow := p.sum(now)
	if total < paceSamples || slow*100 < slowShare[c]*total {
		return true
	}
	p.shed[c]++
	return false
}

// sum needs mu.
func (p *Pace) sum(now time.Time) (total, slow int64) {
	for _, b := range p.buckets {
		if b.second > now.Unix()-paceBuckets && b.second <= now.Unix() {
			total, slow = total+b.total, slow+b.slow
		}
	}
	return total, slow
}

// Slow is the share of slow ones just now, from 0 to 1.
func (p *Pace) Slow(now time.Time) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	total, slow := p.sum(now)
	if total == 0 {
		return 0
	}
	return float64(slow) / float64(total)
}

// Shed is how many requests of class c were refused.
func (p *Pace) Shed(c Class) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shed[c]
}
