package cassandra

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// A node that was too late or failed comes last for a while, longer each time, and until
// it has answered a question that nobody waits for (askSuspects). Then one attempt finds out
// how it is, while the others still go elsewhere. Where all are suspect the one goes first
// that is the least.
//
// Where an attempt is late there may be no room for a hedge, and so none that overtakes it.
// Its node is asked then, too: one that says nothing for a moment, while another has answered
// something, stands still; it is suspect, and who waits for it goes elsewhere.
const (
	suspectFor     = 500 * time.Millisecond
	suspectForMost = 8 * time.Second
	probeFor       = time.Second // before another attempt finds out

	askSuspectsEvery = 100 * time.Millisecond
	askSuspectsFor   = time.Second
	standsAfter      = 300 * time.Millisecond
)

type suspicion struct {
	since, until time.Time     // zero: something there is late, and no more than that
	next         time.Duration // how long the next one lasts
	answers      bool          // it has answered since
	silent       time.Time     // since when it has said nothing; of those that do not answer
	asked        bool          // a question is on its way
}

// policy chooses the node that coordinates a request: a replica of what it is
// about, but none that another attempt of the same operation is waiting for, and
// none that is suspect, unless there is no other.
type policy struct {
	gocql.HostSelectionPolicy

	followed sync.Map // *attempt by *gocql.Query: the driver hands a policy no context

	mu       sync.Mutex
	suspects map[string]*suspicion // guarded by mu, by host id
	heard    time.Time             // guarded by mu; when a node last answered anything
}

func newPolicy(dc string) *policy {
	return &policy{
		HostSelectionPolicy: gocql.TokenAwareHostPolicy(gocql.DCAwareRoundRobinPolicy(dc), gocql.ShuffleReplicas()),
		suspects:            make(map[string]*suspicion),
	}
}

// suspect marks the host of an attempt that began then.
func (p *policy) suspect(host string, began time.Time) {
	if host == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	x := p.suspects[host]
	switch {
	case x == nil:
		x = &suspicion{next: suspectFor, silent: now}
		p.suspects[host] = x
	case began.Before(x.since):
		return // late for the same reason
	case x.answers:
		x.silent = now
	}
	x.since, x.until, x.answers = now, now.Add(x.next), false
	x.next = min(2*x.next, suspectForMost)
}

// late notes that an attempt at a host is late.
func (p *policy) late(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.suspects[host]; host != "" && x == nil {
		p.suspects[host] = &suspicion{next: suspectFor, silent: time.Now()}
	} else if host != "" && x.answers {
		x.silent, x.answers = time.Now(), false
	}
}

func (p *policy) trust(host string) {
	p.mu.Lock()
	delete(p.suspects, host)
	p.heard = time.Now()
	p.mu.Unlock()
}

// suspected reports whether an attempt should go elsewhere. If not, and it is
// the first after a suspicion, the next should until this one has ended.
func (p *policy) suspected(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.suspects[host]
	if x == nil {
		return false
	}
	now := time.Now()
	switch {
	case x.until.IsZero():
		return p.standing(x)
	case now.Before(x.until) || !x.answers:
		return true
	}
	x.until = now.Add(probeFor)
	return false
}

// toAsk takes the hosts that are to be asked.
func (p *policy) toAsk() (hosts []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for host, x := range p.suspects {
		if !x.answers && !x.asked {
			x.asked = true
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// unanswered notes that a host was asked in vain.
func (p *policy) unanswered(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.suspects[host]; x != nil {
		x.asked = false
	}
}

// answered notes that a host has answered a question that was asked then.
func (p *policy) answered(host string, asked time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = time.Now()
	switch x := p.suspects[host]; {
	case x == nil:
	case x.until.IsZero():
		delete(p.suspects, host)
	default:
		x.asked, x.answers = false, !asked.Before(x.since)
	}
}

// stands reports whether a host stands still: it is not only late.
func (p *policy) stands(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.suspects[host]
	return x != nil && p.standing(x)
}

// standing needs mu. Where nobody has answered meanwhile it is not that host.
func (p *policy) standing(x *suspicion) bool {
	return !x.answers && time.Since(x.silent) >= standsAfter && p.heard.After(x.silent)
}

// doubt is how little there is to expect of a host: how long it is suspected for next.
func (p *policy) doubt(host string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch x := p.suspects[host]; {
	case x == nil:
		return 0
	case p.standing(x):
		return 2 * suspectForMost
	case x.until.IsZero():
		return 0
	default:
		return x.next
	}
}

// RemoveHost implements gocql.HostSelectionPolicy.
func (p *policy) RemoveHost(host *gocql.HostInfo) {
	p.trust(host.HostID())
	p.HostSelectionPolicy.RemoveHost(host)
}

// askSuspects asks nodes that are suspect, or late, and have said nothing since, what time
// it is, until ctx ends.
func (s *Store) askSuspects(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	tick := time.NewTicker(askSuspectsEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, host := range s.policy.toAsk() {
			asking.Go(func() {
				one, cancel := context.WithTimeout(ctx, askSuspectsFor)
				defer cancel()
				asked := time.Now()
				if _, _, err := s.timeOf(one, host); err == nil {
					s.policy.answered(host, asked)
				} else {
					s.policy.unanswered(host)
				}
			})
		}
	}
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
	var names []string // of later
	return func() gocql.SelectedHost {
		for {
			h := next()
			if h == nil {
				break
			}
			if id := h.Info().HostID(); p.suspected(id) || a.route.waitsFor(id) {
				later, names = append(later, h), append(names, id)
				continue
			}
			a.goes(h.Info().HostID())
			return h
		}
		if len(later) == 0 {
			return nil
		}
		i := p.least(names, a.route)
		h := later[i]
		later, names = slices.Delete(later, i, i+1), slices.Delete(names, i, i+1)
		a.goes(h.Info().HostID())
		return h
	}
}

// least is which of several hosts goes first, where none is well and free: one that no
// attempt waits for, and of those the one with the least doubt.
func (p *policy) least(hosts []string, r *route) (best int) {
	waits := func(host string) int {
		if r.waitsFor(host) {
			return 1
		}
		return 0
	}
	for i, host := range hosts {
		if cmp.Or(cmp.Compare(waits(host), waits(hosts[best])), cmp.Compare(p.doubt(host), p.doubt(hosts[best]))) < 0 {
			best = i
		}
	}
	return best
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
type attempt struct{ route *route }

type attemptKey struct{}

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
