package cassandra

import (
	"context"
	"sync"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// suspectFor is how long a node that was too late comes last.
const suspectFor = time.Second

// policy chooses the node that coordinates a request: a replica of what it is
// about, but none that another attempt of the same operation is waiting for, and
// none that is suspect, unless there is no other.
type policy struct {
	gocql.HostSelectionPolicy

	followed sync.Map // *attempt by *gocql.Query: the driver hands a policy no context

	mu       sync.Mutex
	suspects map[string]time.Time // guarded by mu: until when, by host id
}

func newPolicy(dc string) *policy {
	return &policy{
		HostSelectionPolicy: gocql.TokenAwareHostPolicy(gocql.DCAwareRoundRobinPolicy(dc), gocql.ShuffleReplicas()),
		suspects:            make(map[string]time.Time),
	}
}

func (p *policy) suspect(host string) {
	if host == "" {
		return
	}
	p.mu.Lock()
	p.suspects[host] = time.Now().Add(suspectFor)
	p.mu.Unlock()
}

func (p *policy) suspected(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.suspects[host]
	if ok && time.Now().After(until) {
		delete(p.suspects, host)
		ok = false
	}
	return ok
}

// Pick implements gocql.HostSelectionPolicy.
func (p *policy) Pick(st gocql.ExecutableStatement) gocql.NextHost {
	next := p.HostSelectionPolicy.Pick(st)
	v, ok := p.followed.Load(st.Statement())
	if !ok {
		return next
	}
	a := v.(*attempt)
	var later []gocql.SelectedHost
	return func() gocql.SelectedHost {
		for {
			h := next()
			if h == nil {
				break
			}
			if id := h.Info().HostID(); p.suspected(id) || a.route.waitsFor(id) {
				later = append(later, h)
				continue
			}
			a.goes(h.Info().HostID())
			return h
		}
		if len(later) == 0 {
			return nil
		}
		h := later[0]
		later = later[1:]
		a.goes(h.Info().HostID())
		return h
	}
}

// route is where the attempts of one operation went.
type route struct {
	mu    sync.Mutex
	hosts map[*attempt]string // guarded by mu
}

func (r *route) waitsFor(host string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.hosts {
		if h == host {
			return true
		}
	}
	return false
}

// attempt is one attempt of an operation.
type attempt struct {
	route *route
	began time.Time
}

type attemptKey struct{}

func (r *route) newAttempt(ctx context.Context) (*attempt, context.Context) {
	a := &attempt{r, time.Now()}
	return a, context.WithValue(ctx, attemptKey{}, a)
}

func (a *attempt) goes(host string) {
	a.route.mu.Lock()
	a.route.hosts[a] = host
	a.route.mu.Unlock()
}

// host is where the attempt went, "" if nowhere yet.
func (a *attempt) host() string {
	a.route.mu.Lock()
	defer a.route.mu.Unlock()
	return a.route.hosts[a]
}

// query makes a query of the attempt that ctx belongs to, for until done.
func (s *Store) query(ctx context.Context, statement string, args []any) (q *gocql.Query, done func()) {
	q = s.session.Query(statement, args...)
	a, ok := ctx.Value(attemptKey{}).(*attempt)
	if !ok {
		return q, func() {}
	}
	s.policy.followed.Store(gocql.Statement(q), a)
	return q, func() { s.policy.followed.Delete(gocql.Statement(q)) }
}

func (s *Store) exec(ctx context.Context, statement string, args ...any) error {
	q, done := s.query(ctx, statement, args)
	defer done()
	return q.ExecContext(ctx)
}

func (s *Store) one(ctx context.Context, dest []any, statement string, args ...any) error {
	q, done := s.query(ctx, statement, args)
	defer done()
	return q.ScanContext(ctx, dest...)
}

func (s *Store) rows(ctx context.Context, statement string, args ...any) (it *gocql.Iter, done func()) {
	q, done := s.query(ctx, statement, args)
	return q.IterContext(ctx), done
}
