// Package hedge makes attempts of one operation until one is good: another
// beside the first when that is late, another after it when that has failed.
// The first good one is the outcome, the others are called off, and what they
// still bring is let go of.
//
// A Race runs the attempts, and decides nothing. Next says what comes: begin an
// attempt, wait, or give up. It is asked whenever something has changed, in one
// goroutine with Begun and Judge, so what these three share needs no lock. A
// Plan is Next for operations whose attempts hang on nothing but time:
//
//	plan := hedge.Plan{Late: 200 * time.Millisecond, AtOnce: 2, Attempts: 2}
//	race := &hedge.Race[region, []byte]{Tasks: &o.tasks, Budget: o.hedges, Ask: o.read}
//	race.Next = func(now time.Time) hedge.Move[region] {
//		step, at := plan.Decide(now, race.State())
//		return hedge.Move[region]{Step: step, At: at, To: regions[min(race.State().Begun, 1)]}
//	}
//	best, err := race.Run(ctx)
//
// Where more counts, as who is up, Next is a decision of its own that names in To
// whom the attempt asks, and in News what else to wait for; Begun has the effects of
// beginning, since a hedge that the budget has no room for does not begin:
//
//	race := &hedge.Race[*parent, *http.Response]{
//		Tasks: &u.tasks, Budget: u.hedges, Wake: a.wake,
//		Next:  a.next,  // who, by health and route; Move.News: a parent has come back
//		Begun: a.begun, // a.tried[to]++
//		Ask:   a.get,
//		Judge: a.judge, // health; a refusal is kept for when nobody has anything better
//		Drop:  func(resp *http.Response) { resp.Body.Close() },
//	}
//	best, err := race.Run(ctx) // and best.Cancel(nil) once the body has been read
//
// A Budget bounds the hedges of all races that share it to a share of the races:
// when everything is slow there is nothing to gain by asking twice, and more to
// lose. Attempts after a failure are not hedges.
package hedge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

var (
	// ErrGaveUp is what Run returns when Next gives up.
	ErrGaveUp = errors.New("hedge: no attempt was good")
	// ErrLost is the cause for which an attempt that was not needed is called off.
	ErrLost = errors.New("hedge: another attempt was faster")

	errExit = errors.New("hedge: the attempt ended its goroutine")
)

// A Race is one operation. Next, Ask and Tasks are needed. It is run once.
type Race[To, T any] struct {
	// Next says what comes at now. It may be asked at any time.
	Next func(now time.Time) Move[To]
	// Begun is told of each attempt that begins, before Ask is called.
	Begun func(*Attempt[To, T])
	// Ask makes an attempt, in a goroutine of its own, until ctx ends; it may
	// still do so when Run has returned.
	Ask func(ctx context.Context, to To) (T, error)
	// Judge says whether an attempt that has ended is the outcome. What it says
	// no to, it lets go of itself. By default the first without an error is.
	Judge func(*Attempt[To, T]) bool
	// Drop lets go of a value that came too late to be judged. Where it is set, the
	// context of the outcome lives until its Cancel is called, as a body may hang on it.
	Drop func(T)
	// Tasks has the goroutines of the attempts: its owner waits for them.
	Tasks *sync.WaitGroup
	// Budget bounds hedges; nil bounds and counts none.
	Budget *Budget
	// Wake, where it is not nil, has Next asked again for each value.
	Wake <-chan struct{}

	state   State
	running []*Attempt[To, T]
	results chan *Attempt[To, T]
	over    chan struct{} // closed when nobody takes results any more
}

// A Step is what a race does next.
type Step uint8

const (
	Wait Step = iota
	Begin
	GiveUp
)

// A Move is a step with what it needs.
type Move[To any] struct {
	Step Step
	// At is when to ask again: of Wait, and of Begin where the budget has no
	// room for a hedge. Zero: only after news.
	At   time.Time
	To   To              // of Begin: whom the attempt asks
	News <-chan struct{} // of Wait: ask again when it closes, or has a value
}

// State is how a race is doing.
type State struct {
	Since    time.Time // when it began
	Begun    int       // attempts
	Running  int       // of those, not ended and not called off
	Hedges   int       // of those begun, the ones beside another
	Newest   time.Time // when the newest attempt began
	Failures int       // how often none was running any more, since the last had failed
	Failed   time.Time // when that was last
	Chance   float64   // 0 to 1, another after each failure, for pauses that differ
}

// An Attempt is one of a race.
type Attempt[To, T any] struct {
	To     To
	Number int // from 1
	Began  time.Time
	Hedge  bool // it was begun beside another

	// Once it has ended:
	Value T
	Err   error

	cancel context.CancelCauseFunc
	off    bool   // called off
	panic  *Panic // of Ask
}

// Cancel calls an attempt off. One that is called off does not count as running; its
// result is judged all the same. Of the outcome it ends the context. Not to be
// called from Ask.
func (a *Attempt[To, T]) Cancel(cause error) {
	a.off = true
	a.cancel(cause)
}

// CalledOff reports whether Cancel was called.
func (a *Attempt[To, T]) CalledOff() bool { return a.off }

// A Panic is one of Ask, thrown again where Run was called.
type Panic struct {
	Value any
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("%v\n\n%s", p.Value, p.Stack) }

// State returns how the race is doing. It is for Next, Begun and Judge.
func (r *Race[To, T]) State() State {
	r.state.Running = len(r.Running())
	return r.state
}

// Running returns the attempts under way that were not called off, oldest first.
// It is for Next, Begun and Judge, and for after Run: those that lost.
func (r *Race[To, T]) Running() []*Attempt[To, T] {
	r.running = slices.DeleteFunc(r.running, func(a *Attempt[To, T]) bool { return a.off })
	return r.running
}

// Run makes attempts until one is the outcome, Next gives up (ErrGaveUp), or ctx
// ends (its cause).
func (r *Race[To, T]) Run(ctx context.Context) (*Attempt[To, T], error) {
	r.state.Since = time.Now()
	r.results, r.over = make(chan *Attempt[To, T]), make(chan struct{})
	defer r.end()
	r.Budget.earn()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		m := r.Next(now)
		switch {
		case m.Step == GiveUp:
			return nil, ErrGaveUp
		case m.Step == Begin && (len(r.Running()) == 0 || r.Budget.Take()):
			r.begin(ctx, m.To, now)
			continue
		}
		timer.Stop()
		if wait := m.At.Sub(now); wait > 0 || m.Step == Wait && !m.At.IsZero() {
			timer.Reset(wait)
		}
		select {
		case <-timer.C:
		case <-m.News:
		case <-r.Wake:
		case a := <-r.results:
			if r.judge(a) {
				return a, nil
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (r *Race[To, T]) begin(ctx context.Context, to To, now time.Time) {
	hedge := len(r.Running()) > 0
	r.state.Begun++
	r.state.Newest = now
	if hedge {
		r.state.Hedges++
	} else if r.state.Begun > 1 {
		r.Budget.retried()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	a := &Attempt[To, T]{To: to, Number: r.state.Begun, Began: now, Hedge: hedge, cancel: cancel}
	r.running = append(r.running, a)
	if r.Begun != nil {
		r.Begun(a)
	}
	r.Tasks.Go(func() { r.attempt(ctx, a) })
}

// attempt is the goroutine of a. Either Run takes its result, or it is let go of
// here: over closes when Run returns.
func (r *Race[To, T]) attempt(ctx context.Context, a *Attempt[To, T]) {
	a.Err = errExit
	defer func() {
		if v := recover(); v != nil {
			a.panic = &Panic{v, debug.Stack()}
		}
		if r.Drop == nil {
			defer a.cancel(nil)
		}
		select {
		case r.results <- a:
		case <-r.over:
			defer a.cancel(nil)
			if a.panic != nil {
				panic(a.panic) // nobody is left to whom it could be thrown
			}
			if a.Err == nil && r.Drop != nil {
				r.Drop(a.Value)
			}
		}
	}()
	a.Value, a.Err = r.Ask(ctx, a.To)
}

// judge takes the result of an attempt.
func (r *Race[To, T]) judge(a *Attempt[To, T]) (over bool) {
	if a.panic != nil {
		panic(a.panic)
	}
	off := a.off
	r.running = slices.DeleteFunc(r.running, func(b *Attempt[To, T]) bool { return a == b })
	over = a.Err == nil
	if r.Judge != nil {
		over = r.Judge(a)
	}
	if over {
		if a.Hedge {
			r.Budget.hedgeWon()
		}
		return true
	}
	a.Cancel(nil)
	if !off && len(r.Running()) == 0 {
		r.state.Failures++
		r.state.Failed, r.state.Chance = time.Now(), rand.Float64()
	}
	return false
}

// end calls off what is still running.
func (r *Race[To, T]) end() {
	close(r.over)
	for _, a := range r.running {
		a.cancel(ErrLost)
	}
}
