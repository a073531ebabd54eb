package cassandra

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

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

	firstBackoff = 20 * time.Millisecond
	mostBackoff  = 320 * time.Millisecond
)

// request is one kind of request to the cluster, with what was observed of it.
type request struct {
	name  string
	goal  time.Duration // for the slowest percent
	meter store.Meter   // of operations, with all their attempts

	// single is of the attempts that answered first, by which hedges are timed:
	// by whole operations, each hedge would make the next one later.
	single store.Meter

	allowance atomic.Int64 // hedges it may make now, in thousandths

	retries, hedges, won, held atomic.Uint64
}

func newRequest(name string, goal time.Duration) *request {
	r := &request{name: name, goal: goal}
	r.allowance.Store(hedgeReserve * 1000)
	return r
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

// mayHedge takes one hedge from the allowance. When everything is slow there is
// nothing to gain by asking twice, and more to lose.
func (r *request) mayHedge() bool {
	for {
		a := r.allowance.Load()
		if a < 1000 {
			r.held.Add(1)
			return false
		}
		if r.allowance.CompareAndSwap(a, a-1000) {
			r.hedges.Add(1)
			return true
		}
	}
}

func (r *request) earn() {
	if a := r.allowance.Load(); a < hedgeReserve*1000 {
		r.allowance.CompareAndSwap(a, a+hedgeShare*1000) // a lost race loses a tenth of a hedge
	}
}

func (r *request) signal() store.Signal {
	s := r.meter.Signal(r.name, r.goal)
	s.Retries, s.Hedges, s.HedgesWon, s.HedgesHeld = r.retries.Load(), r.hedges.Load(), r.won.Load(), r.held.Load()
	return s
}

type outcome struct {
	a   *attempt
	err error
}

// do makes attempts of one request until one succeeds: another beside the first
// when that is late, another after it when that failed. run may be called
// several times at once, and still run after do has returned.
func (s *Store) do(ctx context.Context, r *request, run func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.earn()
	began := time.Now()
	// What is under way when do returns is called off.
	attempts, cancel := context.WithCancel(ctx)
	defer cancel()
	route := &route{hosts: make(map[*attempt]string)}
	outcomes := make(chan outcome, inFlight)
	var pending []*attempt
	launch := func() {
		a, actx := route.newAttempt(attempts)
		pending = append(pending, a)
		s.attempts.Add(1)
		go func() {
			defer s.attempts.Done()
			outcomes <- outcome{a, run(actx)}
		}()
	}
	launch()
	delay := r.delay()
	late := time.NewTimer(delay)
	defer late.Stop()
	if s.opt.NoHedging {
		late.Stop()
	}
	again := time.NewTimer(0)
	again.Stop()
	defer again.Stop()
	backoff := firstBackoff
	var last error
	for {
		select {
		case o := <-outcomes:
			if o.err == nil {
				took := time.Since(began)
				if o.a != pending[0] {
					r.won.Add(1)
				}
				for _, p := range pending {
					if p != o.a && time.Since(p.began) >= delay {
						s.policy.suspect(p.host(), p.began)
					}
				}
				s.policy.trust(o.a.host())
				r.single.Record(time.Since(o.a.began), false)
				r.meter.Record(took, false)
				return nil
			}
			pending = without(pending, o.a)
			if ctx.Err() != nil {
				continue // and end by ctx.Done
			}
			if last = o.err; permanent(o.err) {
				r.meter.Record(time.Since(began), true)
				return fmt.Errorf("%w: %s: %w", store.ErrUnavailable, r.name, o.err)
			}
			s.policy.suspect(o.a.host(), o.a.began)
			if len(pending) > 0 {
				continue // another may succeed
			}
			if time.Since(began) >= s.opt.RetryFor {
				r.meter.Record(time.Since(began), true)
				return fmt.Errorf("%w: %s, tried for %v: %w", store.ErrUnavailable, r.name, time.Since(began).Round(time.Millisecond), last)
			}
			// Apart from others that failed at the same time.
			again.Reset(backoff/2 + rand.N(backoff))
			backoff = min(2*backoff, mostBackoff)
		case <-again.C:
			r.retries.Add(1)
			launch()
			if !s.opt.NoHedging {
				late.Reset(delay)
			}
		case <-late.C:
			if len(pending) == 0 || len(pending) >= inFlight {
				continue
			}
			if r.mayHedge() {
				launch()
				delay = min(4*delay, mostDelay) // the next only if this does not help either
			}
			late.Reset(delay)
		case <-ctx.Done():
			r.meter.Record(time.Since(began), true)
			if last != nil {
				return fmt.Errorf("%w: %w: %s: %w", ctx.Err(), store.ErrUnavailable, r.name, last)
			}
			return ctx.Err()
		}
	}
}

func without(list []*attempt, a *attempt) []*attempt {
	var rest []*attempt
	for _, x := range list {
		if x != a {
			rest = append(rest, x)
		}
	}
	return rest
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
