package store

import (
	"slices"
	"sync"
	"time"
)

// Signaller is what a store also is when it tells how it is doing, so that
// those who use it can hedge, wait or shed by it.
type Signaller interface {
	// Signals returns one signal for each kind of operation. It is cheap
	// enough to be called for every request.
	Signals() []Signal
}

// SignalsOf returns what the store tells about itself, which may be nothing.
func SignalsOf(s Store) []Signal {
	if s, ok := s.(Signaller); ok {
		return s.Signals()
	}
	return nil
}

// SignalWindow is the time that a signal's latencies and shares are about.
const SignalWindow = 10 * time.Second

// Signal is how one kind of operation is doing.
type Signal struct {
	Op   string        // such as "put" or "read chunk"
	Goal time.Duration // within which 99% of them should end

	// Of the last SignalWindow, or the last 1,024 operations if they were more.
	Samples       int
	P50, P95, P99 time.Duration // of those that succeeded
	Slow, Failed  float64       // shares: of those that succeeded later than Goal, of those that failed

	// Since the store was opened.
	Operations, Errors uint64
	Retries            uint64  // attempts after one that failed
	Hedges, HedgesWon  uint64  // attempts beside one that was late, and those that answered first
	HedgesHeld         uint64  // not made, because there were too many already
	SecondsSpent       float64 // in all of them, in sum
}

// leastSamples is how many operations it takes to tell a percentile.
const leastSamples = 20

// Meter measures one kind of operation. It is safe for concurrent use; the zero
// Meter is ready.
type Meter struct {
	mu      sync.Mutex
	ring    [1024]sample  // guarded by mu, like all below
	next    int           // where the next sample goes
	full    bool          // the ring has wrapped
	p95     time.Duration // as of the last refresh
	refresh int           // samples until p95 is worked out again
	count   uint64
	failed  uint64
	spent   time.Duration
}

type sample struct {
	at   time.Time
	took time.Duration // negative: failed
}

// refreshEvery is how many samples P95 may lag behind.
const refreshEvery = 32

// Record adds an operation that ended now.
func (m *Meter) Record(took time.Duration, failed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count++
	m.spent += took
	if failed {
		m.failed++
		took = -1
	}
	m.ring[m.next] = sample{time.Now(), took}
	if m.next++; m.next == len(m.ring) {
		m.next, m.full = 0, true
	}
	if m.refresh--; m.refresh <= 0 {
		m.refresh = refreshEvery
		if took := m.sorted(time.Time{}); len(took) >= leastSamples {
			m.p95 = quantile(took, 95)
		}
	}
}

// P95 is the 95th percentile of the last operations that succeeded; zero while
// too few have.
func (m *Meter) P95() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.p95
}

// sorted returns the latencies of what succeeded since then. m.mu is held.
func (m *Meter) sorted(since time.Time) []time.Duration {
	all := m.ring[:m.next]
	if m.full {
		all = m.ring[:]
	}
	took := make([]time.Duration, 0, len(all))
	for _, s := range all {
		if s.took >= 0 && s.at.After(since) {
			took = append(took, s.took)
		}
	}
	slices.Sort(took)
	return took
}

func quantile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)*percent/100]
}

// Signal returns what the meter knows.
func (m *Meter) Signal(op string, goal time.Duration) Signal {
	since := time.Now().Add(-SignalWindow)
	m.mu.Lock()
	took := m.sorted(since)
	failed := 0
	all := m.ring[:m.next]
	if m.full {
		all = m.ring[:]
	}
	for _, s := range all {
		if s.took < 0 && s.at.After(since) {
			failed++
		}
	}
	sig := Signal{Op: op, Goal: goal, Operations: m.count, Errors: m.failed, SecondsSpent: m.spent.Seconds()}
	m.mu.Unlock()
	sig.Samples = len(took) + failed
	sig.P50, sig.P95, sig.P99 = quantile(took, 50), quantile(took, 95), quantile(took, 99)
	if sig.Samples > 0 {
		late, _ := slices.BinarySearch(took, goal+1)
		sig.Slow = float64(len(took)-late) / float64(sig.Samples)
		sig.Failed = float64(failed) / float64(sig.Samples)
	}
	return sig
}
