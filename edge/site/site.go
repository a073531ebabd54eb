// Package site is several nodes that fill each object once for all of them.
package site

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"headwater/edge/parents"
	"headwater/live"
)

// A Site is several nodes that fill each object from the parents once: for each
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
// Lock order: a peer's, then that of the parent that it is.
type Site struct {
	name, id string
	started  time.Time
	u        *parents.Upstream
	log      *slog.Logger
	peers    []*peer       // by name
	ready    chan struct{} // closed when each peer was probed once
	unprobed atomic.Int32

	mu      sync.Mutex                                 // guards the following
	from    time.Time                                  // since when this node takes on what is due; zero while the others do not see it
	races   map[live.Path]map[chan<- struct{}]struct{} // which are told where one of their peers begins or ceases to wait
	waiting map[live.Path]map[*parents.Parent]int      // requests of peers that are being answered
}

const (
	// margin is how long before it takes on segments a node says so.
	margin = 3 * time.Second
	// doubtFor is how long a node waits to hear whether the others lost a node too.
	doubtFor = 600 * time.Millisecond
	// doubtAgo is how long before we lost it another's last contact may be, and
	// does not count as having it still.
	doubtAgo = 350 * time.Millisecond
	// StepHeld is between the ranks of a site, where one after the other stops
	// waiting for what is held.
	StepHeld = 500 * time.Millisecond
)

// New makes the site of the node that is called name and runs under an id, of nodes
// by name with their base URLs. Watch is for each of its peers.
func New(name, id string, nodes map[string]string, u *parents.Upstream, log *slog.Logger) *Site {
	s := &Site{
		name: name, id: id, started: time.Now(), u: u, log: log, ready: make(chan struct{}),
		races: make(map[live.Path]map[chan<- struct{}]struct{}), waiting: make(map[live.Path]map[*parents.Parent]int),
	}
	for _, other := range slices.Sorted(maps.Keys(nodes)) {
		if other != name {
			s.peers = append(s.peers, &peer{
				Parent: parents.NewPeer(other, nodes[other]), kick: make(chan struct{}, 1), known: known{member: member{name: other}},
			})
		}
	}
	s.unprobed.Store(int32(len(s.peers)))
	if len(s.peers) == 0 {
		close(s.ready)
	}
	return s
}

// Ready is closed once each peer was probed.
func (s *Site) Ready() <-chan struct{} { return s.ready }

// Peers are the other nodes.
func (s *Site) Peers() []*parents.Parent {
	list := make([]*parents.Parent, len(s.peers))
	for i, p := range s.peers {
		list[i] = p.Parent
	}
	return list
}

// stand takes stock of what this node knows.
func (s *Site) stand() standpoint {
	st := standpoint{self: member{name: s.name, id: s.id, start: s.started}, orphan: s.u.Orphaned(), peers: make([]sight, len(s.peers))}
	for i, p := range s.peers {
		p.mu.Lock()
		down, since := p.Down()
		st.peers[i] = sight{known: p.known, parent: p.Parent, down: down, since: since}
		p.mu.Unlock()
	}
	return st
}

// look takes stock, and notes where this node finds out that the others may have
// given it up: it must know before it does anything.
func (s *Site) look(now time.Time) standpoint {
	st := s.stand()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from = st.takesOn(s.from, now, s.u.Theirs(now))
	st.self.from = s.from
	return st
}

// Route says where to get what r wants.
func (s *Site) Route(now time.Time, r *parents.Request) parents.Route {
	st := s.look(now)
	for i := range st.peers {
		p := &st.peers[i]
		p.barred = p.id != "" && r.Loop.Has(p.id) || s.Waits(r.Path, p.parent)
	}
	q := quest{keyOf(r.Path), r.Due, r.Own, r.Step}
	if q.due.IsZero() {
		q.due = s.u.Theirs(now)
	}
	return st.route(now, q, s.u.Own())
}

// lost reports whether a peer was there and is not.
func (s *Site) lost() bool {
	return slices.ContainsFunc(s.peers, func(p *peer) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		down, _ := p.Down()
		return down && p.id != ""
	})
}

// Members is as much of a request's way as are nodes of the site, by the ids under
// which they run: nothing else of what it says is passed on.
func (s *Site) Members(l live.Loop) (members live.Loop) {
	for _, p := range s.peers {
		p.mu.Lock()
		id := p.id
		p.mu.Unlock()
		if id != "" && l.Has(id) {
			members = members.Add(live.LoopMember(p.Name, id))
		}
	}
	return members
}

// Asker returns the peer that sent a request, nil where it is a viewer's.
func (s *Site) Asker(l live.Loop) *parents.Parent {
	name, id, ok := l.Last()
	if !ok {
		return nil
	}
	if p := s.named(name, id); p != nil {
		return p.Parent
	}
	return nil
}

// Requests of peers may cross: we ask a peer for what it asks us for, and since
// each joins what is under way both would wait for ever. So whoever of the two
// ranks first stops asking the other, and the other waits.

// Wait says that a peer waits for a path here.
func (s *Site) Wait(path live.Path, p *parents.Parent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[path] == nil {
		s.waiting[path] = make(map[*parents.Parent]int)
	}
	s.waiting[path][p]++
	s.wake(path)
}

// Unwait takes back Wait.
func (s *Site) Unwait(path live.Path, p *parents.Parent) {
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
func (s *Site) wake(path live.Path) {
	for c := range s.races[path] {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Waits reports whether a peer waits here for a path.
func (s *Site) Waits(path live.Path, p *parents.Parent) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting[path][p] > 0
}

// Enter has wake told when a peer begins or ceases to wait for a path, until
// leave is called.
func (s *Site) Enter(path live.Path, wake chan<- struct{}) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.races[path] == nil {
		s.races[path] = make(map[chan<- struct{}]struct{})
	}
	s.races[path][wake] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if delete(s.races[path], wake); len(s.races[path]) == 0 {
			delete(s.races, path)
		}
	}
}
