package admit

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// An Admission lets requests in or refuses them, by what its owner and the process
// itself say of how things are.
type Admission struct {
	signals func(now time.Time) Signals // what only the owner knows
	late    func() time.Duration        // nil: nobody knows
	turns   *Turns
	shed    [classes]atomic.Int64

	until   atomic.Int64           // when the next look is due, in Unix nanoseconds
	refused [classes]atomic.Uint64 // shares as of the last look, as float64 bits: who comes most often takes no lock

	mu      sync.Mutex // guards the following
	control Control
	last    Signals
}

// Targets of what the process itself says.
const (
	lookEvery  = 100 * time.Millisecond
	LateTarget = 5 * time.Millisecond  // that 99 of 100 goroutines wait for a processor
	patience   = time.Second           // for a turn
	turnTarget = 20 * time.Millisecond // that who may be shed waits for a turn
)

// NewAdmission returns an Admission to turns; nil where there are none. Late says how
// late the process runs, as Lateness.Read does; nil where nobody knows. Signals gives
// all else.
func NewAdmission(turns *Turns, late func() time.Duration, signals func(now time.Time) Signals) *Admission {
	return &Admission{signals: signals, turns: turns, late: late}
}

// Admit reports whether a request of class c may go on; key is that of what it asks
// for, the same for all who ask for it.
func (a *Admission) Admit(c Class, key uint64, now time.Time) bool {
	if !Refuses(a.Refused(c, now), key, now) {
		return true
	}
	a.shed[c].Add(1)
	return false
}

// Enter is Admit and a turn, which is not waited for for long by those who may be
// shed. Where it returns false the request is to be refused; where ctx ended there
// may be no turn.
func (a *Admission) Enter(ctx context.Context, c Class, key uint64, who Taker, now time.Time) (*Turn, bool) {
	if !a.Admit(c, key, now) {
		return nil, false
	}
	patient := ctx
	if c > Live {
		var cancel context.CancelFunc
		patient, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	turn := a.turns.Take(patient, c, who)
	if turn == nil && ctx.Err() == nil {
		a.shed[c].Add(1)
		return nil, false
	}
	return turn, true
}

// look looks at the signals, where that was too long ago.
func (a *Admission) look(now time.Time) Signals {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.due(now) {
		a.until.Store(now.Add(lookEvery).UnixNano())
		a.last = a.signals(now)
		if a.late != nil {
			a.last.Late = float64(a.late()) / float64(LateTarget)
		}
		if a.turns != nil {
			a.last.Turn = float64(a.turns.Waited(now)) / float64(turnTarget)
		}
		a.control = a.control.Next(now, a.last.Pressure())
		for _, c := range Classes {
			a.refused[c].Store(math.Float64bits(a.control.Refused(c)))
		}
	}
	return a.last
}

// due reports whether the last look was too long ago, or the clock was set back.
func (a *Admission) due(now time.Time) bool {
	left := a.until.Load() - now.UnixNano()
	return left <= 0 || left > int64(lookEvery)
}

// Refused is the share of a class that is refused now.
func (a *Admission) Refused(c Class, now time.Time) float64 {
	if a.due(now) {
		a.look(now)
	}
	return math.Float64frombits(a.refused[c].Load())
}

// Signals are those of the last look.
func (a *Admission) Signals(now time.Time) Signals { return a.look(now) }

// Shed is how many requests of class c were refused.
func (a *Admission) Shed(c Class) int64 { return a.shed[c].Load() }
