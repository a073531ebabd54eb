package admit

import (
	"sync"
	"time"
)

// A bucket fills with what is taken, and empties at a rate.
type bucket struct {
	at    time.Time
	level float64
}

// drained is the bucket at now, where so much runs out in a second.
func (b bucket) drained(now time.Time, rate int64) bucket {
	if d := now.Sub(b.at); d > 0 {
		b.level = max(b.level-d.Seconds()*float64(rate), 0)
	}
	b.at = now
	return b
}

// Rates hold each name to a rate, of what has come: who is over it is refused what he
// wants next. What one takes in a second may come at once.
type Rates[K comparable] struct {
	rate int64 // a second; 0: as much as comes

	mu sync.Mutex // guards the following
	by map[K]bucket
}

// NewRates returns Rates of so much a second.
func NewRates[K comparable](rate int64) *Rates[K] {
	return &Rates[K]{rate: rate, by: make(map[K]bucket)}
}

// Over is how long a name is to wait; 0: not at all.
func (r *Rates[K]) Over(name K, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.by[name]
	if !ok {
		return 0
	}
	if b = b.drained(now, r.rate); b.level == 0 {
		delete(r.by, name)
		return 0
	}
	r.by[name] = b
	if over := b.level - float64(r.rate); over >= 0 {
		return max(time.Duration(over/float64(r.rate)*float64(time.Second)), time.Millisecond)
	}
	return 0
}

// Charge notes that a name has taken n.
func (r *Rates[K]) Charge(name K, n int64, now time.Time) {
	if r.rate == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.by[name].drained(now, r.rate)
	b.level += float64(n)
	r.by[name] = b
}
