package hedge

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

var errBad = errors.New("bad")

// A script is what an attempt does: it takes so long, whatever its context says
// where it is deaf, and has this result.
type script struct {
	takes time.Duration
	err   error
	deaf  bool
}

// A rig races scripts by a plan, and notes what becomes of their values, which
// are their numbers from 1.
type rig struct {
	Race[int, int]
	plan    Plan
	tasks   sync.WaitGroup
	begun   []time.Duration // when attempts began
	mu      sync.Mutex      // guards the following
	dropped []int
	causes  map[int]error // for which attempts were called off
}

func newRig(p Plan, scripts ...script) *rig {
	r := &rig{plan: p, causes: map[int]error{}}
	began := time.Now()
	r.Tasks = &r.tasks
	r.Next = func(now time.Time) Move[int] {
		step, at := r.plan.Decide(now, r.State())
		return Move[int]{Step: step, At: at, To: r.State().Begun + 1}
	}
	r.Begun = func(a *Attempt[int, int]) { r.begun = append(r.begun, time.Since(began)) }
	r.Ask = func(ctx context.Context, to int) (int, error) {
		s := scripts[min(to, len(scripts))-1]
		done := ctx.Done()
		if s.deaf {
			done = nil
		}
		select {
		case <-time.After(s.takes):
			return to, s.err
		case <-done:
			r.mu.Lock()
			defer r.mu.Unlock()
			r.causes[to] = context.Cause(ctx)
			return 0, context.Cause(ctx)
		}
	}
	return r
}

// drops has the race let go of values, as if they were bodies.
func (r *rig) drops() {
	r.Drop = func(v int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.dropped = append(r.dropped, v)
	}
}

// Which attempts begin when, and which is the outcome.
func TestRace(t *testing.T) {
	hedged := Plan{Late: 40 * ms, AtOnce: 2, Pause: 10 * ms}
	for name, c := range map[string]struct {
		plan    Plan
		scripts []script
		want    int // 0: none
		after   time.Duration
		begun   []time.Duration
		counts  Counts
	}{
		"the first is good":          {hedged, []script{{takes: 30 * ms}}, 1, 30 * ms, []time.Duration{0}, Counts{}},
		"the first is late":          {hedged, []script{{takes: 200 * ms}, {takes: 10 * ms}}, 2, 50 * ms, []time.Duration{0, 40 * ms}, Counts{Hedges: 1, Won: 1}},
		"late, but still faster":     {hedged, []script{{takes: 50 * ms}, {takes: 100 * ms}}, 1, 50 * ms, []time.Duration{0, 40 * ms}, Counts{Hedges: 1}},
		"both are late":              {hedged, []script{{takes: 300 * ms}, {takes: 300 * ms}}, 1, 300 * ms, []time.Duration{0, 40 * ms}, Counts{Hedges: 1}},
		"the first fails":            {Plan{AtOnce: 2, Late: 40 * ms}, []script{{20 * ms, errBad, false}, {takes: 10 * ms}}, 2, 30 * ms, []time.Duration{0, 20 * ms}, Counts{Retries: 1}},
		"the late one fails":         {hedged, []script{{50 * ms, errBad, false}, {takes: 30 * ms}}, 2, 70 * ms, []time.Duration{0, 40 * ms}, Counts{Hedges: 1, Won: 1}},
		"the hedge fails":            {hedged, []script{{takes: 100 * ms}, {10 * ms, errBad, false}, {takes: 80 * ms}}, 1, 100 * ms, []time.Duration{0, 40 * ms, 80 * ms}, Counts{Hedges: 2}},
		"all fail":                   {Plan{Late: 40 * ms, AtOnce: 2, Attempts: 2}, []script{{30 * ms, errBad, false}}, 0, 60 * ms, []time.Duration{0, 30 * ms}, Counts{Retries: 1}},
		"hedge and first fail alike": {Plan{Late: 40 * ms, AtOnce: 2, Attempts: 2}, []script{{60 * ms, errBad, false}}, 0, 100 * ms, []time.Duration{0, 40 * ms}, Counts{Hedges: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(c.plan, c.scripts...)
				r.Budget = NewBudget(0.1, 5)
				began := time.Now()
				best, err := r.Run(t.Context())
				if took := time.Since(began); took.Truncate(ms) != c.after {
					t.Errorf("took %v", took)
				}
				switch {
				case c.want == 0 && !errors.Is(err, ErrGaveUp):
					t.Errorf("%+v, %v", best, err)
				case c.want > 0 && (err != nil || best.Value != c.want || best.Number != c.want || best.Err != nil):
					t.Fatalf("%+v, %v, want %d", best, err, c.want)
				}
				r.tasks.Wait()
				if !slices.Equal(r.begun, c.begun) {
					t.Errorf("attempts at %v, want %v", r.begun, c.begun)
				}
				if got := r.Budget.Counts(); got != c.counts {
					t.Errorf("%+v, want %+v", got, c.counts)
				}
				for to, cause := range r.causes {
					if !errors.Is(cause, ErrLost) {
						t.Errorf("%d was called off for %v", to, cause)
					}
				}
			})
		})
	}
}

// A failure is one of all: where another still runs it is none, and where the last
// one that ran was called off neither.
func TestFailuresAreOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Plan{Late: 10 * ms, AtOnce: 2, Attempts: 3}, script{takes: 20 * ms, err: errBad}, script{takes: 30 * ms, err: errBad}, script{takes: 5 * ms, err: errBad})
		var failures []int
		next := r.Next
		r.Next = func(now time.Time) Move[int] {
			if s := r.State(); len(failures) == 0 || failures[len(failures)-1] != s.Failures {
				failures = append(failures, s.Failures)
			}
			return next(now)
		}
		if _, err := r.Run(t.Context()); !errors.Is(err, ErrGaveUp) || !slices.Equal(failures, []int{0, 1}) || !r.State().Failed.Equal(r.State().Since.Add(40*ms)) {
			t.Errorf("%v, failures %v, the last after %v", err, failures, r.State().Failed.Sub(r.State().Since))
		}
		r.tasks.Wait()
	})
}

// Who leaves is not kept, and what was under way is called off.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Plan{Late: 40 * ms, MostLate: 160 * ms, AtOnce: 3}, script{takes: time.Hour})
		gone := errors.New("the client left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(100*ms, func() { cancel(gone) })
		began := time.Now()
		if best, err := r.Run(ctx); !errors.Is(err, gone) || best != nil || time.Since(began) != 100*ms {
			t.Errorf("%+v, %v after %v", best, err, time.Since(began))
		}
		r.tasks.Wait()
		if took := time.Since(began); took != 100*ms || len(r.causes) != 2 {
			t.Errorf("%d attempts were called off, the last after %v", len(r.causes), took)
		}
	})
}

// What comes too late is let go of, each value once, and the outcome's context
// lives for as long as its body may be read.
func TestLateValuesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Plan{Late: 10 * ms, AtOnce: 3}, script{takes: 200 * ms, deaf: true}, script{takes: 300 * ms, err: errBad, deaf: true}, script{takes: 20 * ms})
		r.drops()
		var ctx context.Context
		ask := r.Ask
		r.Ask = func(c context.Context, to int) (int, error) {
			if to == 3 {
				ctx = c
			}
			return ask(c, to)
		}
		best, err := r.Run(t.Context())
		if err != nil || best.Value != 3 {
			t.Fatalf("%+v, %v", best, err)
		}
		r.tasks.Wait()
		if !slices.Equal(r.dropped, []int{1}) {
			t.Errorf("dropped: %v", r.dropped)
		}
		if ctx.Err() != nil {
			t.Error("the outcome's context has ended")
		}
		best.Cancel(nil)
		if ctx.Err() == nil {
			t.Error("the outcome's context lives on")
		}
	})
}

// Two results that come in the same instant: one is the outcome, the other is
// let go of.
func TestWinnersInOneInstant(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(Plan{Late: 10 * ms, AtOnce: 2}, script{takes: 50 * ms, deaf: true}, script{takes: 40 * ms, deaf: true})
			r.drops()
			best, err := r.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r.tasks.Wait()
			if len(r.dropped) != 1 || r.dropped[0]+best.Value != 3 {
				t.Errorf("%d is the outcome, dropped %v", best.Value, r.dropped)
			}
			best.Cancel(nil)
		})
	}
}

// No context outlives its attempt: only where values hold something that of the
// outcome does.
func TestContextsEnd(t *testing.T) {
	for _, drops := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(Plan{AtOnce: 1})
			r.Begun = nil
			if drops {
				r.drops()
			}
			var all []context.Context
			r.Ask = func(ctx context.Context, to int) (int, error) {
				all = append(all, ctx)
				if to < 3 {
					return 0, errBad
				}
				return to, nil
			}
			best, err := r.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r.tasks.Wait()
			for i, ctx := range all {
				if lives := ctx.Err() == nil; lives != (drops && i == 2) {
					t.Errorf("drops %v: the context of attempt %d lives on: %v", drops, i+1, lives)
				}
			}
			best.Cancel(nil)
		})
	}
}

// One that is called off runs no more: what begins then is no hedge. But if it
// has succeeded all the same, that counts.
func TestCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Plan{}, script{takes: 100 * ms, deaf: true}, script{takes: time.Hour})
		r.Budget = NewBudget(0, 0)
		off := errors.New("off")
		r.Next = func(now time.Time) Move[int] {
			switch run := r.Running(); {
			case r.State().Begun == 0:
				return Move[int]{Step: Begin, To: 1}
			case r.State().Begun == 1 && now.Sub(r.State().Since) < 20*ms:
				return Move[int]{At: r.State().Since.Add(20 * ms)}
			case r.State().Begun == 1:
				run[0].Cancel(off)
				return Move[int]{Step: Begin, To: 2}
			}
			return Move[int]{}
		}
		best, err := r.Run(t.Context())
		if err != nil || best.Value != 1 || time.Since(r.State().Since) != 100*ms {
			t.Errorf("%+v, %v", best, err)
		}
		if got := r.Budget.Counts(); got != (Counts{Retries: 1}) {
			t.Errorf("%+v", got)
		}
		r.tasks.Wait()
	})
}

// News and values of Wake have Next asked again.
func TestNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Plan{}, script{takes: time.Hour}, script{takes: time.Hour}, script{takes: ms})
		wake, news := make(chan struct{}, 1), make(chan struct{})
		r.Wake = wake
		time.AfterFunc(10*ms, func() { close(news) })
		time.AfterFunc(20*ms, func() { wake <- struct{}{} })
		r.Next = func(now time.Time) Move[int] {
			begun := r.State().Begun
			if begun < 3 && now.Sub(r.State().Since) >= time.Duration(begun)*10*ms {
				return Move[int]{Step: Begin, To: begun + 1}
			}
			if begun > 1 {
				return Move[int]{}
			}
			return Move[int]{News: news}
		}
		if best, err := r.Run(t.Context()); err != nil || best.Value != 3 || !slices.Equal(r.begun, []time.Duration{0, 10 * ms, 20 * ms}) {
			t.Errorf("%+v, %v, at %v", best, err, r.begun)
		}
		r.tasks.Wait()
	})
}

// Judge may keep what is not good, and may end the race with a failure.
func TestJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Plan{AtOnce: 1}, script{takes: ms}, script{takes: ms, err: errBad})
		r.drops()
		var kept []int
		r.Judge = func(a *Attempt[int, int]) bool {
			if a.Err == nil {
				kept = append(kept, a.Value)
			}
			return a.Err != nil
		}
		best, err := r.Run(t.Context())
		if err != nil || !errors.Is(best.Err, errBad) || !slices.Equal(kept, []int{1}) {
			t.Errorf("%+v, %v, kept %v", best, err, kept)
		}
		best.Cancel(nil)
		r.tasks.Wait()
		if len(r.dropped) != 0 {
			t.Errorf("dropped: %v", r.dropped)
		}
	})
}

// When everything is slow, few are asked twice: a share, over all that share the
// budget.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(0.1, 20)
		const n, at = 1000, 10
		for range n / at {
			var all sync.WaitGroup
			for range at {
				all.Go(func() {
					r := newRig(Plan{Late: 10 * ms, AtOnce: 3}, script{takes: time.Second})
					r.Budget = b
					if _, err := r.Run(t.Context()); err != nil {
						t.Error(err)
					}
					r.tasks.Wait()
				})
			}
			all.Wait()
		}
		if c := b.Counts(); c.Hedges < n/10 || c.Hedges > n/10+20 || c.Held == 0 || c.Won != 0 {
			t.Errorf("%+v of %d", c, n)
		}
		// When all is well again the reserve fills, and no further.
		for range n {
			b.earn()
		}
		took := 0
		for b.Take() {
			took++
		}
		if took != 20 {
			t.Errorf("%d at once", took)
		}
	})
}

// A hedge that was held back is made once there is room.
func TestHeldIsMadeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Plan{Late: 40 * ms, AtOnce: 2}, script{takes: time.Hour}, script{takes: ms})
		r.Budget = NewBudget(0, 1)
		r.Budget.Take()
		time.AfterFunc(100*ms, func() { r.Budget.left.Store(1000) })
		if _, err := r.Run(t.Context()); err != nil || !slices.Equal(r.begun, []time.Duration{0, 120 * ms}) {
			t.Errorf("%v, attempts at %v", err, r.begun)
		}
		r.tasks.Wait()
	})
}

// A race is no busier for a hedge that it may not make, even if it does not know
// when to look again.
func TestHeldDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Plan{}, script{takes: 50 * ms})
		r.Budget = NewBudget(0, 0)
		asked := 0
		r.Next = func(now time.Time) Move[int] {
			asked++
			return Move[int]{Step: Begin, To: 1, At: now}
		}
		if _, err := r.Run(t.Context()); err != nil || asked != 2 {
			t.Errorf("%v, asked %d times", err, asked)
		}
		r.tasks.Wait()
	})
}

// A panic of an attempt is one of who runs the race.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Plan{Late: 10 * ms, AtOnce: 2}, script{takes: time.Hour})
		ask := r.Ask
		r.Ask = func(ctx context.Context, to int) (int, error) {
			if to == 2 {
				panic(errBad)
			}
			return ask(ctx, to)
		}
		defer func() {
			p, ok := recover().(*Panic)
			if !ok || p.Value != errBad || !strings.Contains(p.Error(), "TestPanic") {
				t.Errorf("%v", p)
			}
			r.tasks.Wait() // the other was called off
		}()
		r.Run(t.Context())
		t.Error("it did not come")
	})
}

// A goroutine that ends by itself is an attempt that failed.
func TestGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Plan{AtOnce: 1, Attempts: 1})
		r.Ask = func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil }
		if _, err := r.Run(t.Context()); !errors.Is(err, ErrGaveUp) {
			t.Error(err)
		}
		r.tasks.Wait()
	})
}

// A panic that comes when nobody waits any more is not swallowed.
func TestLatePanic(t *testing.T) {
	const child = "HEADWATER_TEST_LATE_PANIC"
	if os.Getenv(child) != "" {
		r := newRig(Plan{Late: ms, AtOnce: 2})
		r.Ask = func(ctx context.Context, to int) (int, error) {
			if to == 1 {
				<-ctx.Done()
				panic("far too late")
			}
			return to, nil
		}
		r.Run(t.Context())
		r.tasks.Wait()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLatePanic$")
	cmd.Env = append(os.Environ(), child+"=1")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "far too late") {
		t.Errorf("%v\n%s", err, out)
	}
}
