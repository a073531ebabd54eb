package edge

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"headwater/live"
)

// A site is several nodes that fill each object from the parents once: for each
// rendition one of them owns what is due, and the others fill from it.
//
// Each node ranks all of them by itself (rank), so views may differ for a
// while. What holds nevertheless:
//
//   - A node asks those that rank before it, and fills by itself when there are
//     none. So requests go up the ranks, and end.
//   - What has been at a node (CDN-Loop), or waits for it at this node, is not
//     asked for there.
//   - A node fills in the place of one that it lost only when the others lost it
//     too; where another still has contact it is asked through that one. So a
//     link that is cut between two nodes costs no second fill. The others say so
//     with each probe; doubtFor bounds how long their word is waited for.
//   - A node owns only what becomes due a margin after it started, after the
//     others last took it for lost, or after its parents did not answer. It says
//     so itself, and all have heard it long before. What was due earlier stays with those who filled it meanwhile.
//   - A peer that is late is asked for elsewhere: at the next in rank soon, from
//     the parents only when whoever asked them first cannot be still waiting for
//     a segment that is late for everybody.
//
// Lock order: none is held while another is taken.
type site struct {
	name, id string
	started  time.Time
	u        *upstream
	peers    []*parent     // by name
	ready    chan struct{} // closed when each peer was probed once
	unprobed atomic.Int32

	mu      sync.Mutex // guards the following
	from    time.Time  // since when this node takes on what is due; zero while the others do not see it
	races   map[live.Path]map[*race]struct{}
	waiting map[live.Path]map[*parent]int // requests of peers that are being answered
}

const (
	// margin is how long before it takes on segments a node says so.
	margin = 3 * time.Second
	// doubtFor is how long a node waits to hear whether the others lost a node too.
	doubtFor = 600 * time.Millisecond
	// doubtAgo is how long before we lost it another's last contact may be, and
	// does not count as having it still.
	doubtAgo = 350 * time.Millisecond
	// stepHeld is between the ranks of a site, where one after the other stops
	// waiting for what is held.
	stepHeld = 500 * time.Millisecond
)

func newSite(cfg *Config, u *upstream, id string) *site {
	s := &site{
		name: cfg.Name, id: id, started: time.Now(), u: u, ready: make(chan struct{}),
		races: make(map[live.Path]map[*race]struct{}), waiting: make(map[live.Path]map[*parent]int),
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Site)) {
		if name == cfg.Name {
			continue
		}
		p := newParent(cfg.Site[name])
		p.name, p.peer = name, &peer{known: known{member: member{name: name}}, kick: make(chan struct{}, 1)}
		p.health.down = true // until it has answered
		s.peers = append(s.peers, p)
	}
	s.unprobed.Store(int32(len(s.peers)))
	if len(s.peers) == 0 {
		close(s.ready)
	}
	return s
}

// A standpoint is what this node knows of its site at some time.
type standpoint struct {
	self   member
	orphan bool // no parent answers
	peers  []sight
}

// A sight is what is known of one peer.
type sight struct {
	member
	parent            *parent
	down, orphan      bool
	barred            bool      // it is not to be asked: it is asking
	since             time.Time // with down
	contact, answered time.Time
	sees              map[string]time.Time
}

// stand takes stock.
func (s *site) stand() standpoint {
	st := standpoint{self: member{name: s.name, id: s.id, start: s.started}, peers: make([]sight, len(s.peers))}
	st.orphan = s.u.orphaned()
	for i, p := range s.peers {
		p.mu.Lock()
		q := p.peer
		st.peers[i] = sight{
			member: q.member, parent: p, down: p.health.down, orphan: q.orphan, since: p.health.since,
			contact: q.contact, answered: q.answered, sees: q.sees,
		}
		p.mu.Unlock()
	}
	return st
}

// look takes stock, and notes where this node finds out that the others may have
// given it up: it must know before it does anything.
func (s *site) look(now time.Time) standpoint {
	st := s.stand()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from = st.takesOn(s.from, now, s.u.theirs(now))
	st.self.from = s.from
	return st
}

// takesOn is from when on this node takes on what is due, where it was was until
// now: not while the others have not said for too long that they see it, and not
// without parents. It decides and nothing else.
func (st *standpoint) takesOn(was, now, theirs time.Time) time.Time {
	seen := false
	for i := range st.peers {
		if x := &st.peers[i]; !x.down && now.Sub(x.answered) <= peerFresh {
			_, sees := x.sees[st.self.name]
			seen = seen || sees
		}
	}
	switch {
	case !seen || st.orphan:
		return time.Time{}
	case was.IsZero():
		return theirs.Add(margin).Truncate(time.Millisecond) // as exact as it is told
	}
	return was
}

// A route is where to ask, in order, as things are now.
type route struct {
	parents []*parent
	ahead   []*parent // peers that rank before this node, there or not
	sure    bool      // parents of our own are among them, or need not be
	again   time.Time // things may look different then; zero: only after a change
	own     time.Time // own parents are asked beside a peer from then on
}

// A quest is what a route is for.
type quest struct {
	key  string
	due  time.Time // by the parents' clock
	own  time.Time // as in asking
	step time.Duration
}

// route says where to get what a wants.
func (s *site) route(now time.Time, a *asking) route {
	st := s.look(now)
	for i := range st.peers {
		st.peers[i].barred = s.barred(&st.peers[i], a)
	}
	q := quest{a.key, a.due, a.own, a.step}
	if q.due.IsZero() {
		q.due = s.u.theirs(now)
	}
	return st.route(now, q, s.u.parents)
}

// route says where to ask: those who rank before this node, then its own
// parents. It decides and nothing else.
func (st *standpoint) route(now time.Time, q quest, own []*parent) route {
	members := make([]member, 0, len(st.peers)+1)
	for i := range st.peers {
		members = append(members, st.peers[i].member)
	}
	self := len(members)
	members = append(members, st.self)
	order := rank(q.key, q.due, members)
	at := slices.Index(order, self)
	before, after := order[:at], order[at+1:]

	r := route{own: q.own.Add(time.Duration(max(at-1, 0)) * q.step)}
	add := func(p *parent) {
		if !slices.Contains(r.parents, p) {
			r.parents = append(r.parents, p)
		}
	}
	for _, i := range before {
		p := &st.peers[i]
		r.ahead = append(r.ahead, p.parent)
		switch {
		case p.barred:
		case !p.down:
			add(p.parent)
		case p.id != "":
			relay, sure := st.find(p, order)
			if relay != nil {
				add(relay)
			} else if until := p.since.Add(doubtFor); !sure && now.Before(until) && r.again.Before(until) {
				r.again = until
			}
		}
	}
	if r.sure = r.again.IsZero(); r.sure {
		r.parents = append(r.parents, own...)
	}
	// Whoever cannot fill goes to the next; and once, where the parents are so
	// late that others may have gone round us.
	spare := q.own.Add(hedgeAfter)
	if late := !q.own.IsZero() && !now.Before(spare); st.orphan || late {
		for _, i := range after {
			if p := &st.peers[i]; !p.down && !p.orphan && !p.barred {
				if add(p.parent); !st.orphan {
					break
				}
			}
		}
	} else if !q.own.IsZero() && r.again.IsZero() {
		r.again = spare
	}
	return r
}

// find says what became of a peer that does not answer us: a relay still has
// contact to it, or it is sure that all the others lost it too.
//
// Both count only where the other's word is from after we lost it: when a node
// dies, one finds out before the other, and the other's word from before says
// that it is there.
func (st *standpoint) find(lost *sight, order []int) (relay *parent, sure bool) {
	sure = true
	for _, i := range order {
		if i == len(st.peers) || st.peers[i].name == lost.name || st.peers[i].down {
			continue
		}
		p := &st.peers[i]
		seen, sees := p.sees[lost.name]
		switch {
		case sees && seen.After(lost.since):
			if !p.barred {
				return p.parent, false
			}
			// It waits for us, and would ask the lost one itself.
		case !p.contact.After(lost.since), sees && seen.After(lost.since.Add(-doubtAgo)):
			sure = false
		}
	}
	return nil, sure
}

// barred reports whether a peer is not to be asked because it is asking.
func (s *site) barred(p *sight, a *asking) bool {
	return p.id != "" && a.loop.Has(p.id) || s.waits(a.path, p.parent)
}

// lost reports whether a peer was there and is not.
func (s *site) lost() bool {
	for _, p := range s.peers {
		p.mu.Lock()
		lost := p.health.down && p.peer.id != ""
		p.mu.Unlock()
		if lost {
			return true
		}
	}
	return false
}

// asker returns the peer that sent a request, nil where it is a viewer's.
func (s *site) asker(l live.Loop) *parent {
	name, id, ok := l.Last()
	if !ok {
		return nil
	}
	return s.named(name, id)
}

// Requests of peers may cross: we ask a peer for what it asks us for, and since
// each joins what is under way both would wait for ever. So whoever of the two
// ranks first stops asking the other (race.uncross), and the other waits.

// wait says that a peer waits for a path here.
func (s *site) wait(path live.Path, p *parent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[path] == nil {
		s.waiting[path] = make(map[*parent]int)
	}
	s.waiting[path][p]++
	s.wake(path)
}

// unwait takes back wait.
func (s *site) unwait(path live.Path, p *parent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[path][p]--; s.waiting[path][p] <= 0 {
		delete(s.waiting[path], p)
	}
	if len(s.waiting[path]) == 0 {
		delete(s.waiting, path)
	}
	s.wake(path)
}

// wake needs mu. It lets those who ask for a path look again.
func (s *site) wake(path live.Path) {
	for r := range s.races[path] {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

func (s *site) waits(path live.Path, p *parent) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting[path][p] > 0
}

// enter and leave say that a race for a path is on.
func (s *site) enter(r *race) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.races[r.a.path] == nil {
		s.races[r.a.path] = make(map[*race]struct{})
	}
	s.races[r.a.path][r] = struct{}{}
}

func (s *site) leave(r *race) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.races[r.a.path], r)
	if len(s.races[r.a.path]) == 0 {
		delete(s.races, r.a.path)
	}
}

// keyOf is what of a path decides who owns it.
func keyOf(p live.Path) string {
	if p.Rendition == "" {
		return p.Event.String()
	}
	return p.Event.String() + "/" + p.Rendition
}
