package cassandra

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"headwater/internal/hedge"
	"headwater/store"
)

func offline() *Store {
	return &Store{opt: Options{}.withDefaults(), policy: newPolicy("dc1")}
}

// in runs a test with a store that has no cluster, in a bubble.
func in(t *testing.T, f func(t *testing.T, s *Store, r *request)) {
	synctest.Test(t, func(t *testing.T) {
		s := offline()
		f(t, s, newRequest("test", time.Second))
		s.attempts.Wait()
	})
}

var errDown = &gocql.RequestErrUnavailable{}

// refusal is an answer of the cluster, by its code.
type refusal int

func (r refusal) Code() int       { return int(r) }
func (r refusal) Message() string { return "refused" }
func (r refusal) Error() string   { return "refused" }

// warm makes a request kind that is known to take so long.
func warm(r *request, took time.Duration) {
	for range 64 {
		r.single.Record(took, false)
	}
}

func TestHedgeAfterTheP95(t *testing.T) {
	in(t, func(t *testing.T, s *Store, r *request) {
		warm(r, 40*time.Millisecond)
		var n atomic.Int32
		began := time.Now()
		err := s.do(t.Context(), r, func(ctx context.Context) error {
			if n.Add(1) == 1 {
				<-ctx.Done() // a node that has stopped; let go when the other has answered
				return ctx.Err()
			}
			time.Sleep(10 * time.Millisecond)
			return nil
		})
		if took := time.Since(began); err != nil || took != 50*time.Millisecond {
			t.Errorf("%v after %v", err, took)
		}
		if s := r.signal(); s.Hedges != 1 || s.HedgesWon != 1 || s.Retries != 0 || s.P50 != 50*time.Millisecond {
			t.Errorf("%+v", s)
		}
	})
}

// TestHedgesComeNoLater: a node that has stopped does not make hedges later and
// later, because they are timed by attempts.
func TestHedgesComeNoLater(t *testing.T) {
	in(t, func(t *testing.T, s *Store, r *request) {
		warm(r, 40*time.Millisecond)
		for range 300 {
			var n atomic.Int32
			err := s.do(t.Context(), r, func(ctx context.Context) error {
				if n.Add(1) == 1 {
					<-ctx.Done()
					return ctx.Err()
				}
				time.Sleep(20 * time.Millisecond)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			r.budget = hedge.NewBudget(hedgeShare, 1)
		}
		if d := r.delay(); d > 40*time.Millisecond {
			t.Errorf("hedges after %v", d)
		}
	})
}

// TestHedgesAreFew: when everything is slow, asking twice makes it worse.
func TestHedgesAreFew(t *testing.T) {
	in(t, func(t *testing.T, s *Store, r *request) {
		warm(r, 10*time.Millisecond)
		const n = 600
		for range n {
			if err := s.do(t.Context(), r, func(ctx context.Context) error { time.Sleep(time.Second); return nil }); err != nil {
				t.Fatal(err)
			}
			warm(r, 10*time.Millisecond) // and never learns
		}
		if s := r.signal(); float64(s.Hedges) < n*hedgeShare || float64(s.Hedges) > n*hedgeShare+hedgeReserve || s.HedgesHeld == 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestRetriesUntilItSucceeds(t *testing.T) {
	in(t, func(t *testing.T, s *Store, r *request) {
		n := 0
		err := s.do(t.Context(), r, func(context.Context) error {
			if n++; n < 4 {
				return errDown
			}
			return nil
		})
		if err != nil || n != 4 || r.signal().Retries != 3 {
			t.Errorf("%v after %d attempts, %d retries", err, n, r.signal().Retries)
		}
	})
}

func TestGivesUpHonestly(t *testing.T) {
	in(t, func(t *testing.T, s *Store, r *request) {
		began := time.Now()
		err := s.do(t.Context(), r, func(context.Context) error { return errDown })
		if took := time.Since(began); !errors.Is(err, store.ErrUnavailable) || took < retryFor || took > retryFor+2*mostBackoff {
			t.Errorf("%v after %v", err, took)
		}
		// Within the caller's time.
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began = time.Now()
		err = s.do(ctx, r, func(context.Context) error { return errDown })
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, store.ErrUnavailable) || took != 100*time.Millisecond {
			t.Errorf("%v after %v", err, took)
		}
		// What can never succeed is not tried again.
		n := 0
		err = s.do(t.Context(), r, func(context.Context) error { n++; return refusal(gocql.ErrCodeInvalid) })
		if n != 1 || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%v after %d attempts", err, n)
		}
		if sig := r.signal(); sig.Errors != 3 {
			t.Errorf("%+v", sig)
		}
	})
}

// TestOneFailsOneIsLate: the failure of one attempt does not end the other.
func TestOneFailsOneIsLate(t *testing.T) {
	in(t, func(t *testing.T, s *Store, r *request) {
		warm(r, 10*time.Millisecond)
		var n atomic.Int32
		err := s.do(t.Context(), r, func(context.Context) error {
			if n.Add(1) == 1 {
				time.Sleep(20 * time.Millisecond)
				return nil
			}
			return errDown // the hedge, at once
		})
		if err != nil || n.Load() != 2 || r.signal().Retries != 0 {
			t.Errorf("%v after %d attempts", err, n.Load())
		}
	})
}

// TestStandingNodeNeedsNoHedge: who waits for a node that stands still goes elsewhere soon
// after it is late, also where there is no room for hedges any more; who waits for one that
// is slow does not, nor where all stand still.
func TestStandingNodeNeedsNoHedge(t *testing.T) {
	for _, c := range []struct {
		name             string
		answers, another bool          // the node when it is asked aside; another one meanwhile
		took             time.Duration // by the attempt at another, or else by the first
		next             bool          // the node is suspected by who comes next
	}{
		{"stands still", false, true, 40*time.Millisecond + standsAfter + 10*time.Millisecond, true},
		{"is slow", true, true, 700 * time.Millisecond, false},
		{"all stand still", false, false, 700 * time.Millisecond, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			in(t, func(t *testing.T, s *Store, r *request) {
				warm(r, 40*time.Millisecond)
				r.budget = hedge.NewBudget(0, 0)
				time.AfterFunc(100*time.Millisecond, func() {
					if c.answers {
						s.policy.answered("a", time.Now())
					}
					if c.another {
						s.policy.trust("c")
					}
				})
				var n atomic.Int32
				began := time.Now()
				err := s.do(t.Context(), r, func(ctx context.Context) error {
					a := ctx.Value(attemptKey{}).(*attempt)
					if n.Add(1) == 1 {
						a.goes("a")
						select {
						case <-ctx.Done():
							return ctx.Err()
						case <-time.After(700 * time.Millisecond):
							return nil
						}
					}
					a.goes("b")
					time.Sleep(10 * time.Millisecond)
					return nil
				})
				if took := time.Since(began); err != nil || took != c.took || r.budget.Counts().Hedges != 0 {
					t.Errorf("%v after %v, %+v", err, took, r.budget.Counts())
				}
				if got := s.policy.suspected("a"); got != c.next {
					t.Errorf("suspected: %v", got)
				}
			})
		})
	}
}

// TestWhoIsSuspected: the node that a hedge overtook, and the one that failed; not
// the one that has answered, even if it was suspected before.
func TestWhoIsSuspected(t *testing.T) {
	in(t, func(t *testing.T, s *Store, r *request) {
		warm(r, 10*time.Millisecond)
		s.policy.suspect("fast", time.Now())
		var n atomic.Int32
		err := s.do(t.Context(), r, func(ctx context.Context) error {
			a := ctx.Value(attemptKey{}).(*attempt)
			switch n.Add(1) {
			case 1:
				a.goes("down")
				return errDown
			case 2:
				a.goes("slow")
				<-ctx.Done()
				return ctx.Err()
			}
			a.goes("fast")
			time.Sleep(30 * time.Millisecond)
			return nil
		})
		if err != nil || n.Load() != 3 {
			t.Fatalf("%v after %d attempts", err, n.Load())
		}
		for host, want := range map[string]bool{"slow": true, "fast": false, "down": true} {
			if got := s.policy.suspected(host); got != want {
				t.Errorf("%s suspected: %v", host, got)
			}
		}
	})
}

// TestChunkIsWrittenOnce: of two answers only one writes, and whoever comes
// second waits for it.
func TestChunkIsWrittenOnce(t *testing.T) {
	good := []byte("chunk")
	target := &chunkTarget{dst: make([]byte, len(good)), sum: checksum(good)}
	for _, c := range []struct {
		data string
		bad  bool
	}{{"chuNk", true}, {"chunk!", true}, {"", true}, {"chunk", false}, {"chunk", false}} {
		a := &chunkAnswer{target: target}
		if err := a.UnmarshalCQL(nil, []byte(c.data)); err != nil || a.bad != c.bad {
			t.Errorf("%q: bad %v, %v", c.data, a.bad, err)
		}
	}
	if string(target.dst) != string(good) {
		t.Errorf("%q", target.dst)
	}
}
