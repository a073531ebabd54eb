package edge

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
)

// A scriptedPeer is the other node of a site, by a script. It ranks first for
// rendition v, holds what it is asked for, and sees us.
type scriptedPeer struct {
	name string

	mu    sync.Mutex // guards the following
	node  live.SiteNode
	asked map[string]int
}

func (p *scriptedPeer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	node := p.node
	p.asked[r.URL.Path]++
	p.mu.Unlock()
	if r.URL.Path == live.TimePath {
		w.Header().Set(live.HeaderSite, node.Header())
		live.ServeTime(w, r, time.Now())
		return
	}
	<-r.Context().Done()
}

func (p *scriptedPeer) asks(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

func (p *scriptedPeer) says(f func(*live.SiteNode)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.node)
}

// runPeer runs a test of node a in a site with a scripted peer.
func runPeer(t *testing.T, f func(*rig, *scriptedPeer)) {
	t.Helper()
	const name = "g" // ranks before a
	run(t, 1, func(r *rig) {
		p := &scriptedPeer{name: name, asked: make(map[string]int)}
		p.node = live.SiteNode{Name: name, ID: "nb1", Up: time.Second, From: r.began.Add(time.Second), Sees: []live.Sight{{Name: "a"}}}
		srv := &http.Server{Handler: p}
		go srv.Serve(r.net.Listen("peer:80"))
		defer srv.Close()
		r.at(3500 * time.Millisecond) // a is in the site from 3 s or so on
		p.says(func(n *live.SiteNode) { n.Orphan = true })
		r.at(4 * time.Second)
		r.know()
		p.says(func(n *live.SiteNode) { n.Orphan = false })
		r.at(4500 * time.Millisecond)
		f(r, p)
	}, func(c *Config) {
		c.Name, c.Site = "a", map[string]string{"a": "http://self:80", name: "http://peer:80"}
	})
}

// Two nodes ask each other for the same while each takes the other for the
// first. Each joins what is under way, so both would wait for ever:
//
//	a: v/3 is asked of b             b: v/3 is asked of a
//	a: b's request joins             b: a's request joins
//
// As soon as one of them knows that it ranks first it stops asking.
func TestSiteRequestsCross(t *testing.T) {
	runPeer(t, func(r *rig, p *scriptedPeer) {
		const path = "/t/e/v/3.m4s"
		r.at(5 * time.Second)
		ours := r.ask(path)
		synctest.Wait()
		theirs := r.ask(path, with("CDN-Loop", "x, "+p.name+";node=nb1"))
		r.at(5500 * time.Millisecond)
		if n := r.parent.asks(path); n != 0 || p.asks(path) != 1 || ours.over() || theirs.over() {
			t.Fatalf("the parent was asked %d times, the peer %d", n, p.asks(path))
		}
		p.says(func(n *live.SiteNode) { n.From = time.Time{} })
		r.at(5800 * time.Millisecond)
		if !ours.over() || !theirs.over() || r.parent.asks(path) != 1 {
			t.Fatalf("the parent was asked %d times; our viewer has %d, the peer %d", r.parent.asks(path), ours.status(), theirs.status())
		}
		if n := r.metric("peer_requests_total", "peer", p.name); n != 1 {
			t.Errorf("%v requests to the peer are counted", n)
		}
		if n := r.metric("origin_requests_total", "event", "t/e", "rendition", "v"); n != 1 {
			t.Errorf("%v requests to the parent are counted", n)
		}
	})
}

// What comes from a peer is not asked of it, although it ranks first.
func TestSiteDoesNotAskBack(t *testing.T) {
	runPeer(t, func(r *rig, p *scriptedPeer) {
		const path = "/t/e/v/2.m4s"
		r.get(path, with("CDN-Loop", p.name+";node=nb1")).expect(200, 10*time.Minute)
		if n := p.asks(path); n != 0 {
			t.Errorf("the peer was asked %d times", n)
		}
		if n := r.metric("parent_up", "parent", "http://peer:80"); n != 1 {
			t.Errorf("parent_up of the peer is %v", n)
		}
	})
}

// A peer that has started anew is not waited for by those who asked the one before.
func TestSitePeerStartsAnew(t *testing.T) {
	runPeer(t, func(r *rig, p *scriptedPeer) {
		const path = "/t/e/v/3.m4s"
		r.at(5 * time.Second)
		v := r.ask(path)
		synctest.Wait()
		p.says(func(n *live.SiteNode) { n.ID, n.Up, n.From = "nb2", 10*time.Millisecond, time.Time{} })
		r.at(5300 * time.Millisecond)
		if !v.over() || v.status() != 200 || r.parent.asks(path) != 1 {
			t.Errorf("%d, the parent was asked %d times", v.status(), r.parent.asks(path))
		}
	})
}

// At another address than the site says there is another node, or none.
func TestSitePeerOfAnotherName(t *testing.T) {
	runPeer(t, func(r *rig, p *scriptedPeer) {
		p.says(func(n *live.SiteNode) { n.Name = "z" })
		r.at(5500 * time.Millisecond)
		if n := r.metric("parent_up", "parent", "http://peer:80"); n != 0 {
			t.Errorf("it is taken to be up")
		}
		r.get("/t/e/v/2.m4s").expect(200, 10*time.Minute)
	})
}

// A process that was stopped, and goes on, knows at once that the others may
// have given it up, before it is asked for anything: for too long nobody has said
// that it is there.
func TestSiteNodeWasStopped(t *testing.T) {
	runPeer(t, func(r *rig, p *scriptedPeer) {
		s, now := r.ed.site, time.Now()
		was := s.Announce(now).From
		if was.IsZero() || was.After(now) {
			t.Fatalf("it takes on what is due from %v", was)
		}
		if from := s.Announce(now.Add(time.Second)).From; !from.IsZero() {
			t.Errorf("after it was stopped it takes on what is due from %v", from)
		}
		r.at(5 * time.Second)
		if from := s.Announce(time.Now()).From; from.Before(now.Add(3*time.Second)) || from.After(time.Now().Add(3*time.Second)) {
			t.Errorf("seen again it takes on what is due from %v", from)
		}
	})
}

// A node whose parents do not answer says so, and takes on nothing until they do.
func TestSiteOrphan(t *testing.T) {
	runPeer(t, func(r *rig, p *scriptedPeer) {
		s := r.ed.site
		r.parent.stop()
		r.at(6 * time.Second)
		if n := s.Announce(time.Now()); !n.Orphan || !n.From.IsZero() {
			t.Errorf("without a parent: %s", n.Header())
		}
		r.parent.start()
		r.at(7 * time.Second)
		if n := s.Announce(time.Now()); n.Orphan || n.From.Before(time.Now()) {
			t.Errorf("with a parent: %s", n.Header())
		}
	})
}
