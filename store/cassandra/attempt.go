package cassandra

import (
	"context"
	"errors"
	"fmt"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"headwater/internal/hedge"
	"headwater/store"
)

// Hedging and retrying. Every request here is idempotent: a mutation carries
// its token wherever and however often it goes.
const (
	firstDelay = 100 * time.Millisecond // before a hedge, until enough was observed
	leastDelay = 5 * time.Millisecond
	mostDelay  = 500 * time.Millisecond

	inFlight     = 3    // attempts of one operation at once
	hedgeShare   = 0.1  // hedges per operation, in the long run
	hedgeReserve = 50.0 // hedges at once when all was well before

	// retryFor is how long an operation that fails is tried again, within its
	// caller's deadline: longer than a node takes to be noticed as gone, shorter than
	// the budget of a segment.
	retryFor     = 1500 * time.Millisecond
	firstBackoff = 20 * time.Millisecond
	mostBackoff  = 320 * time.Millisecond
)

// request is one kind of request to the cluster, with what was observed of it.
type request struct {
	name   string
	goal   time.Duration // for the slowest percent
	meter  store.Meter   // of operations, with all their attempts
	budget *hedge.Budget // of this kind

	// single is of the attempts that answered first, by which hedges are timed:
	// by whole operations, each hedge would make the next one later.
	single store.Meter
}

func newRequest(name string, goal time.Duration) *request {
	return &request{name: name, goal: goal, budget: hedge.NewBudget(hedgeShare, hedgeReserve)}
}

// delay is how long to wait for an attempt before another is made beside it:
// as long as 95% take.
func (r *request) delay() time.Duration {
	p95 := r.single.P95()
	if p95 == 0 {
		return firstDelay
	}
	return min(max(p95, leastDelay), mostDelay)
}

func (r *request) signal() store.Signal {
	s := r.meter.Signal(r.name, r.goal)
	c := r.budget.Counts()
	s.Retries, s.Hedges, s.HedgesWon, s.HedgesHeld = c.Retries, c.Hedges, c.Won, c.Held
	return s
}

// errStands is why an attempt is called off.
var errStands = errors.New("cassandra store: the node stands still")

// do is ask for what has no answer.
func (s *Store) do(ctx context.Context, r *request, run func(ctx context.Context) error) error {
	_, err := ask(ctx, s, r, func(ctx context.Context) (struct{}, error) { return struct{}{}, run(ctx) })
	return err
}

// ask makes attempts of one request until one succeeds, and has that one's answer.
// run may be called several times at once, and still run after ask has returned.
func ask[T any](ctx context.Context, s *Store, r *request, run func(ctx context.Context) (T, error)) (answer T, err error) {
	if err := ctx.Err(); err != nil {
		return answer, err
	}
	plan := hedge.Plan{
		Late: r.delay(), MostLate: mostDelay, AtOnce: inFlight,
		Pause: firstBackoff, MostPause: mostBackoff, For: retryFor,
	}
	way := &route{hosts: make(map[*attempt]string)}
	var last error
	calledOff := false
	race := hedge.Race[*attempt, T]{Tasks: &s.attempts, Budget: r.budget}
	race.Next = func(now time.Time) hedge.Move[*attempt] {
		step, at := plan.Decide(now, race.State())
		if running := race.Running(); step == hedge.Begin && len(running) > 0 {
			for _, a := range running {
				s.policy.late(a.To.host())
			}
			if len(running) == 1 && !calledOff {
				// From a node that stands still nothing is to be had: what comes is no hedge,
				// for which there may be no room.
				if at = now.Add(standsAfter); s.policy.stands(running[0].To.host()) {
					calledOff = true
					running[0].Cancel(errStands)
				}
			}
		}
		return hedge.Move[*attempt]{Step: step, At: at, To: &attempt{route: way}}
	}
	race.Ask = func(ctx context.Context, a *attempt) (T, error) {
		return run(context.WithValue(ctx, attemptKey{}, a))
	}
	race.Judge = func(a *hedge.Attempt[*attempt, T]) (over bool) {
		if a.Err == nil || permanent(a.Err) {
			return true
		}
		if ctx.Err() == nil {
			last = a.Err
			s.policy.suspect(a.To.host(), a.Began)
		}
		return false
	}
	began := time.Now()
	best, err := race.Run(ctx)
	took := time.Since(began)
	r.meter.Record(took, err != nil || best.Err != nil)
	switch {
	case errors.Is(err, hedge.ErrGaveUp):
		return answer, fmt.Errorf("%w: %s, tried for %v: %w", store.ErrUnavailable, r.name, took.Round(time.Millisecond), last)
	case err != nil && last != nil:
		return answer, fmt.Errorf("%w: %w: %s: %w", ctx.Err(), store.ErrUnavailable, r.name, last)
	case err != nil:
		return answer, fmt.Errorf("%w: %s", ctx.Err(), r.name)
	case best.Err != nil:
		return answer, fmt.Errorf("%w: %s: %w", store.ErrUnavailable, r.name, best.Err)
	}
	for _, a := range race.Running() {
		if time.Since(a.Began) >= plan.Patience(race.State()) {
			s.policy.suspect(a.To.host(), a.Began)
		}
	}
	s.policy.trust(best.To.host())
	r.single.Record(time.Since(best.Began), false)
	return best.Value, nil
}

// permanent reports whether the cluster understood the request and will never
// do it.
func permanent(err error) bool {
	var r gocql.RequestError
	if !errors.As(err, &r) {
		return errors.Is(err, gocql.ErrSessionClosed)
	}
	switch r.Code() {
	case gocql.ErrCodeSyntax, gocql.ErrCodeUnauthorized, gocql.ErrCodeInvalid, gocql.ErrCodeConfig, gocql.ErrCodeCredentials, gocql.ErrCodeProtocol:
		return true
	}
	return false
}
