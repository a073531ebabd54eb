package admit

import (
	"context"
	"net/netip"
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

	mu      sync.Mutex // guards the following
	at      time.Time  // of the last look
	control Control
	last    Signals
}

// Targets of what the process itself says.
const (
	lookEvery  = 100 * time.Millisecond
	lateTarget = 5 * time.Millisecond  // that 99 of 100 goroutines wait for a processor
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
	control, _ := a.look(now)
	if !Refuses(control.Refused(c), key, now) {
		return true
	}
	a.shed[c].Add(1)
	return false
}

// Enter is Admit and a turn, which is not waited for for long by those who may be
// shed. Where it returns false the request is to be refused; where ctx ended there
// may be no turn.
func (a *Admission) Enter(ctx context.Context, c Class, key uint64, who netip.Addr, now time.Time) (*Turn, bool) {
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
func (a *Admission) look(now time.Time) (Control, Signals) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d := now.Sub(a.at); d < 0 || d >= lookEvery {
		a.at = now
		a.last = a.signals(now)
		if a.late != nil {
			a.last.Late = float64(a.late()) / float64(lateTarget)
		}
		if a.turns != nil {
			a.last.Turn = float64(a.turns.Waited(now)) / float64(turnTarget)
		}
		a.control = a.control.Next(now, a.last.Pressure())
	}
	return a.control, a.last
}

// Refused is the share of a class that is refused now.
func (a *Admission) Refused(c Class, now time.Time) float64 {
	control, _ := a.look(now)
	return control.Refused(c)
}

// Signals are those of the last look.
func (a *Admission) Signals(now time.Time) Signals {
	_, s := a.look(now)
	return s
}

// Shed is how many requests of class c were refused.
func (a *Admission) Shed(c Class) int64 { return a.shed[c].Load() }
