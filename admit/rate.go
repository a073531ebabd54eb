package admit

import (
	"sync"
	"time"
)

// A Bucket holds somebody to a rate. It fills with what is taken and empties at the
// rate; what is taken while it is full is refused. It is a value: each method gives the
// next one.
type Bucket struct {
	at    time.Time
	level float64
}

// Drained is the bucket at now, where so much runs out in a second.
func (b Bucket) Drained(now time.Time, rate int64) Bucket {
	if d := now.Sub(b.at); d > 0 {
		b.level = max(b.level-d.Seconds()*float64(rate), 0)
	}
	b.at = now
	return b
}

// Over is how long it takes until there is room again, where it holds so much; 0: there
// is.
func (b Bucket) Over(rate, holds int64) time.Duration {
	if over := b.level - float64(holds); over >= 0 && rate > 0 {
		return max(time.Duration(over/float64(rate)*float64(time.Second)), time.Millisecond)
	}
	return 0
}

// Rates hold each name to a rate, of what has come: who is over it is refused what he
// wants next. What one takes in a second may come at once.
type Rates[K comparable] struct {
	rate int64 // a second; 0: as much as comes

	mu sync.Mutex // guards the following
	by map[K]Bucket
}

// NewRates returns Rates of so much a second.
func NewRates[K comparable](rate int64) *Rates[K] {
	return &Rates[K]{rate: rate, by: make(map[K]Bucket)}
}

// Over is how long a name is to wait; 0: not at all.
func (r *Rates[K]) Over(name K, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.by[name]
	if !ok {
		return 0
	}
	if b = b.Drained(now, r.rate); b.level == 0 {
		delete(r.by, name)
		return 0
	}
	r.by[name] = b
	return b.Over(r.rate, r.rate)
}

// Charge notes that a name has taken n.
func (r *Rates[K]) Charge(name K, n int64, now time.Time) {
	if r.rate == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.by[name].Drained(now, r.rate)
	b.level += float64(n)
	r.by[name] = b
}
