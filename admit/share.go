package admit

import (
	"sync"
	"sync/atomic"
)

// A Share bounds how much of something is taken at once, in whatever unit its owner
// counts, by all and by each name: so one tenant's storm is its own. As it fills, the
// lowest class is refused first.
type Share[K comparable] struct {
	capacity, each int64
	shed           [classes]atomic.Int64

	mu   sync.Mutex // guards the following
	used int64
	by   map[K]int64 // nil where nobody is bounded alone
}

// full is the part, in percent, that may be taken for a request of a class still to
// enter: of all, and of what is one name's.
var full = [classes]int64{Publish: 100, Live: 100, DVR: 75, Rest: 50}

// NewShare returns a Share of which one name may take percent; 0 and 100 are all.
func NewShare[K comparable](capacity int64, percent int) *Share[K] {
	if percent > 0 && percent < 100 {
		return NewShareOf[K](capacity, max(capacity*int64(percent)/100, 1))
	}
	return &Share[K]{capacity: capacity, each: capacity}
}

// NewShareOf returns a Share of which one name may take each.
func NewShareOf[K comparable](capacity, each int64) *Share[K] {
	return &Share[K]{capacity: capacity, each: each, by: make(map[K]int64)}
}

// Enter takes n for a request of class c of that name, or refuses at once. Each true
// must be followed by one Leave with the same name and n.
func (s *Share[K]) Enter(name K, c Class, n int64) bool {
	limit := func(of int64) int64 { return (of*full[c] + 99) / 100 } // rounded up: of the smallest, too, each class may enter
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used+n > limit(s.capacity) || s.by[name]+n > limit(s.each) {
		s.shed[c].Add(1)
		return false
	}
	s.used += n
	if s.by != nil {
		s.by[name] += n
	}
	return true
}

// Leave gives n back.
func (s *Share[K]) Leave(name K, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
	if s.by == nil {
		return
	}
	if s.by[name] -= n; s.by[name] <= 0 {
		delete(s.by, name)
	}
}

// Used is how much is taken.
func (s *Share[K]) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Pressure is how near it is to where the lowest class is refused, 1 being there.
func (s *Share[K]) Pressure() float64 {
	return float64(s.Used()) * 100 / float64(max(s.capacity, 1)*full[Rest])
}

// Shed is how many requests of class c were refused.
func (s *Share[K]) Shed(c Class) int64 { return s.shed[c].Load() }
