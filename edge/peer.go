package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"headwater/live"
)

const (
	peerEvery   = 200 * time.Millisecond // between two probes of a peer
	peerTimeout = 250 * time.Millisecond // so one that hangs is down after at most 0.7 s
	// peerFresh is how long what a peer said of us holds. It is less than the
	// others take to find a node down: one that was stopped, and goes on, knows
	// before it does anything that they may have given up on it.
	peerFresh = 450 * time.Millisecond
)

var errNotPeer = errors.New("edge: it is not that node of this site")

// A peer is what a parent is besides, where it is a node of our own site.
type peer struct {
	kick chan struct{} // probe it now

	known // guarded by the parent's mu
}

// A known is what is known of a peer. It is a value: sees is replaced, not changed.
type known struct {
	member
	orphan   bool
	misses   int                  // probes in a row
	contact  time.Time            // when the last probe that was answered was sent
	answered time.Time            // when that was
	sees     map[string]time.Time // when it last had contact to others, by our clock
}

// watch probes a peer: for its life, for when it takes on what, and for which
// others it sees.
func (s *site) watch(ctx context.Context, p *parent) {
	t := time.NewTimer(0)
	defer t.Stop()
	for first := true; ; first = false {
		select {
		case <-t.C:
		case <-p.peer.kick:
		case <-ctx.Done():
			if first {
				s.probed()
			}
			return
		}
		t.Reset(peerEvery)
		asked := time.Now()
		told, err := s.probe(ctx, p)
		if ctx.Err() == nil {
			s.learn(p, told, err, asked, time.Now())
		}
		if first {
			s.probed()
		}
		if err != nil {
			t.Reset(max(peerEvery-time.Since(asked), 50*time.Millisecond))
		}
	}
}

// probed counts the peers that were probed for the first time.
func (s *site) probed() {
	if s.unprobed.Add(-1) == 0 {
		close(s.ready)
	}
}

// probe asks a peer for what it says of itself.
func (s *site) probe(ctx context.Context, p *parent) (live.SiteNode, error) {
	var told live.SiteNode
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+live.TimePath, nil)
	if err != nil {
		return told, err
	}
	req.Header.Set(live.HeaderSite, live.SiteNode{Name: s.name, ID: s.id}.Header())
	resp, err := s.u.client.Do(req)
	if err != nil {
		return told, err
	}
	resp.Body.Close()
	told, err = live.ParseSiteNode(resp.Header.Values(live.HeaderSite))
	if err != nil || told.Name != p.name {
		return told, fmt.Errorf("%w: it says %q", errNotPeer, told.Name)
	}
	return told, nil
}

// learn takes the outcome of a probe.
func (s *site) learn(p *parent, told live.SiteNode, err error, asked, answered time.Time) {
	if err != nil {
		p.mu.Lock()
		p.peer.misses++
		dead := p.peer.misses >= probeMisses || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, errNotPeer)
		p.mu.Unlock()
		if dead {
			s.u.failed(p, err, true)
		}
		return
	}
	p.mu.Lock()
	q, news := p.peer.known.hear(told, p.health, asked, answered)
	if news.stale {
		p.mu.Unlock()
		return
	}
	p.peer.known = q
	if news.back {
		p.health.recover(time.Time{})
	} else if news.renewed {
		// What waits there was meant for the one that was there before.
		p.die(errDown)
	}
	if news.back || news.renewed {
		p.alive, p.die = context.WithCancelCause(context.Background())
	}
	p.mu.Unlock()
	s.look(time.Now()) // we may be in the site from now on
	if news.back {
		s.u.log.Info("peer is up", "peer", p.name)
	}
	if news.changed || s.lost() {
		s.u.change()
	}
}

// A hearing is what the answer to a probe means.
type hearing struct {
	stale   bool // it is too old to count
	back    bool // the peer was lost, and is there
	renewed bool // what waits at it waits for nothing: it started anew, or has no parents any more
	changed bool // others may be asked, or in another order, from now on
}

// hear is what is known of a peer after it answered a probe, and what that means.
// It decides and nothing else.
func (k known) hear(told live.SiteNode, h health, asked, answered time.Time) (known, hearing) {
	if h.down && !asked.After(h.since) {
		// It answered, and then it was lost: the answer is too old to bring it back.
		return k, hearing{stale: true}
	}
	next := k
	next.from, next.orphan, next.misses, next.contact, next.answered = told.From, told.Orphan, 0, asked, answered
	next.sees = make(map[string]time.Time, len(told.Sees))
	for _, x := range told.Sees {
		next.sees[x.Name] = asked.Add(-x.Ago)
	}
	anew := k.id != told.ID
	if anew {
		next.id, next.start = told.ID, answered.Add(-told.Up)
	}
	n := hearing{back: h.down, renewed: anew || told.Orphan && !k.orphan}
	n.changed = n.back || n.renewed || k.orphan != told.Orphan || !k.from.Equal(told.From) || len(next.sees) != len(k.sees)
	for name := range next.sees {
		_, before := k.sees[name]
		n.changed = n.changed || !before
	}
	return next, n
}

// announce is what this node says of itself.
func (s *site) announce(now time.Time) live.SiteNode {
	st := s.look(now)
	n := live.SiteNode{Name: s.name, ID: s.id, Up: now.Sub(s.started), From: st.self.from, Orphan: st.orphan}
	for i := range st.peers {
		if p := &st.peers[i]; !p.down {
			n.Sees = append(n.Sees, live.Sight{Name: p.name, Ago: now.Sub(p.contact)})
		}
	}
	return n
}

// greet answers the part of a probe that is about the site. A node of which we
// had not heard is probed at once: what it says of itself counts, not what the
// request says.
func (s *site) greet(w http.ResponseWriter, r *http.Request) {
	values := r.Header[live.HeaderSite]
	if len(values) == 0 {
		return
	}
	w.Header().Set(live.HeaderSite, s.announce(time.Now()).Header())
	if who, err := live.ParseSiteNode(values); err == nil {
		s.named(who.Name, who.ID)
	}
}

// named returns the peer that runs under an ID, and probes one that seems to
// have started anew.
func (s *site) named(name, id string) *parent {
	for _, p := range s.peers {
		if p.name != name {
			continue
		}
		p.mu.Lock()
		same := p.peer.id == id
		p.mu.Unlock()
		if same {
			return p
		}
		select {
		case p.peer.kick <- struct{}{}:
		default:
		}
	}
	return nil
}
