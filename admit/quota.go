package admit

import "sync"

// A Quota is a gate of which nobody may take more than a share, so that one
// tenant's storm is its own.
type Quota struct {
	*Gate
	each int64

	mu   sync.Mutex // guards used
	used map[string]int64
}

// NewQuota returns a gate for that much work at once, of which one name may
// take up to percent; 0 is all of it.
func NewQuota(capacity int64, percent int) *Quota {
	q := &Quota{Gate: NewGate(capacity), used: make(map[string]int64)}
	if percent > 0 && percent < 100 {
		q.each = max(capacity*int64(percent)/100, 1)
	}
	return q
}

// EnterFor takes n units for a request of class c of that name, or refuses at
// once. Each true must be followed by one LeaveFor with the same name and n.
func (q *Quota) EnterFor(name string, c Class, n int64) bool {
	if q.each == 0 {
		return q.Enter(c, n)
	}
	limit := (q.each*share[c] + 99) / 100
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.used[name]+n > limit {
		q.shed[c].Add(1)
		return false
	}
	if !q.Enter(c, n) {
		return false
	}
	q.used[name] += n
	return true
}

// LeaveFor gives n units back.
func (q *Quota) LeaveFor(name string, n int64) {
	q.Leave(n)
	if q.each == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.used[name] -= n; q.used[name] <= 0 {
		delete(q.used, name)
	}
}
