package site

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"headwater/edge/parents"
	"headwater/live"
)

const (
	peerEvery   = 200 * time.Millisecond // between two probes of a peer
	peerTimeout = 250 * time.Millisecond // so one that hangs is down after at most 0.7 s
	probeMisses = 2                      // in a row, and it is
	// peerFresh is how long what a peer said of us holds. It is less than the
	// others take to find a node down: one that was stopped, and goes on, knows
	// before it does anything that they may have given up on it.
	peerFresh = 450 * time.Millisecond
)

var errNotPeer = errors.New("edge: it is not that node of this site")

// A peer is another node of the site.
type peer struct {
	*parents.Parent
	kick chan struct{} // probe it now

	mu    sync.Mutex // guards the following
	known            // and with it whether the parent is down, where a probe says so
}

// A known is what is known of a peer. It is a value: sees is replaced, not changed.
type known struct {
	member
	orphan   bool
	misses   int                  // probes in a row
	contact  time.Time            // when the last probe that was answered was sent
	answered time.Time            // when that was
	sees     map[string]time.Time // when it last had contact to others, by our clock
	said     string               // why it has not come up yet, as it was logged last
}

// Watch probes the peers, until ctx ends: for their lives, for when they take on
// what, and for which others they see.
func (s *Site) Watch(ctx context.Context) {
	var tasks sync.WaitGroup
	for _, p := range s.peers {
		tasks.Go(func() { s.watch(ctx, p) })
	}
	tasks.Wait()
}

func (s *Site) watch(ctx context.Context, p *peer) {
	t := time.NewTimer(0)
	defer t.Stop()
	for first := true; ; first = false {
		select {
		case <-t.C:
		case <-p.kick:
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
func (s *Site) probed() {
	if s.unprobed.Add(-1) == 0 {
		close(s.ready)
	}
}

// probe asks a peer for what it says of itself.
func (s *Site) probe(ctx context.Context, p *peer) (live.SiteNode, error) {
	var told live.SiteNode
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	req, err := s.u.NewRequest(ctx, p.Parent, live.TimePath)
	if err != nil {
		return told, err
	}
	req.Header.Set(live.HeaderSite, live.SiteNode{Name: s.name, ID: s.id}.Header())
	resp, err := s.u.Client().Do(req)
	if err != nil {
		return told, err
	}
	resp.Body.Close()
	told, err = live.ParseSiteNode(resp.Header.Values(live.HeaderSite))
	switch {
	case err != nil || told.Name == "":
		return told, fmt.Errorf("%w, or does not take this one for a node, by secret or certificate: it answers %d, and does not say who it is", errNotPeer, resp.StatusCode)
	case told.Name != p.Name:
		return told, fmt.Errorf("%w: it says %q", errNotPeer, told.Name)
	}
	return told, nil
}

// learn takes the outcome of a probe.
func (s *Site) learn(p *peer, told live.SiteNode, err error, asked, answered time.Time) {
	if err != nil {
		p.mu.Lock()
		p.misses++
		dead := p.misses >= probeMisses || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, errNotPeer)
		unheard := p.unheard(err)
		p.mu.Unlock()
		if unheard {
			s.log.Warn("peer has not come up", "peer", p.Name, "err", err)
		}
		if dead {
			s.u.Failed(p.Parent, err, true)
		}
		return
	}
	p.mu.Lock()
	down, since := p.Down()
	next, news := p.known.hear(told, down, since, asked, answered)
	p.known = next
	p.Recover(news.back, news.renewed)
	p.mu.Unlock()
	if news.stale {
		return
	}
	s.look(time.Now()) // we may be in the site from now on
	if news.back {
		s.log.Info("peer is up", "peer", p.Name)
	}
	if news.changed || s.lost() {
		s.u.Change()
	}
}

// unheard reports whether to say why a peer does not come up that never was: one that
// goes down is told of as any parent is. Each reason is told once.
func (k *known) unheard(err error) bool {
	if k.id != "" || k.misses < probeMisses || k.said == err.Error() {
		return false
	}
	k.said = err.Error()
	return true
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
func (k known) hear(told live.SiteNode, down bool, since, asked, answered time.Time) (known, hearing) {
	if down && !asked.After(since) {
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
	n := hearing{back: down, renewed: anew || told.Orphan && !k.orphan}
	n.changed = n.back || n.renewed || k.orphan != told.Orphan || !k.from.Equal(told.From) || len(next.sees) != len(k.sees)
	for name := range next.sees {
		_, before := k.sees[name]
		n.changed = n.changed || !before
	}
	return next, n
}

// Announce is what this node says of itself.
func (s *Site) Announce(now time.Time) live.SiteNode {
	st := s.look(now)
	n := live.SiteNode{Name: s.name, ID: s.id, Up: now.Sub(s.started), From: st.self.from, Orphan: st.orphan}
	for i := range st.peers {
		if p := &st.peers[i]; !p.down {
			n.Sees = append(n.Sees, live.Sight{Name: p.name, Ago: now.Sub(p.contact)})
		}
	}
	return n
}

// Greet answers the part of a probe that is about the site. A node of which we
// had not heard is probed at once: what it says of itself counts, not what the
// request says.
func (s *Site) Greet(w http.ResponseWriter, r *http.Request) {
	values := r.Header[live.HeaderSite]
	if len(values) == 0 {
		return
	}
	w.Header().Set(live.HeaderSite, s.Announce(time.Now()).Header())
	if who, err := live.ParseSiteNode(values); err == nil {
		s.named(who.Name, who.ID)
	}
}

// named returns the peer that runs under an ID, and probes one that seems to
// have started anew.
func (s *Site) named(name, id string) *peer {
	for _, p := range s.peers {
		if p.Name != name {
			continue
		}
		p.mu.Lock()
		same := p.id == id
		p.mu.Unlock()
		if same {
			return p
		}
		select {
		case p.kick <- struct{}{}:
		default:
		}
	}
	return nil
}
