package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/edge/front"
	"headwater/internal/memnet"
	"headwater/live"
)

// Links are the ways between nodes, by who dialled whom. Each may be cut (what
// is dialled is refused, what was open breaks) or frozen (nothing comes through).
type links struct {
	net *memnet.Network

	mu     sync.Mutex // guards the following
	cut    map[[2]string]bool
	frozen map[[2]string]chan struct{} // closed when it thaws
	conns  map[[2]string][]*linkConn
}

func (l *links) dialer(from string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		to, _, _ := net.SplitHostPort(addr)
		way := [2]string{from, to}
		if err := l.pass(way, ctx.Done()); err != nil {
			return nil, err
		}
		l.mu.Lock()
		cut := l.cut[way]
		l.mu.Unlock()
		if cut {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
		}
		c, err := l.net.Dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		lc := &linkConn{Conn: c, links: l, way: way, closed: make(chan struct{})}
		l.mu.Lock()
		l.conns[way] = append(l.conns[way], lc)
		l.mu.Unlock()
		return lc, nil
	}
}

// pass waits while a way is frozen.
func (l *links) pass(way [2]string, end <-chan struct{}) error {
	for {
		l.mu.Lock()
		thaw := l.frozen[way]
		l.mu.Unlock()
		if thaw == nil {
			return nil
		}
		select {
		case <-thaw:
		case <-end:
			return net.ErrClosed
		}
	}
}

func (l *links) setCut(from, to string, cut bool) {
	way := [2]string{from, to}
	l.mu.Lock()
	l.cut[way] = cut
	conns := l.conns[way]
	l.mu.Unlock()
	if cut {
		for _, c := range conns {
			c.Close()
		}
	}
}

func (l *links) freeze(from, to string, frozen bool) {
	way := [2]string{from, to}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case frozen && l.frozen[way] == nil:
		l.frozen[way] = make(chan struct{})
	case !frozen && l.frozen[way] != nil:
		close(l.frozen[way])
		delete(l.frozen, way)
	}
}

type linkConn struct {
	net.Conn
	links  *links
	way    [2]string
	closed chan struct{}
	once   sync.Once
}

func (c *linkConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if perr := c.links.pass(c.way, c.closed); perr != nil {
		return 0, perr
	}
	return n, err
}

func (c *linkConn) Write(p []byte) (int, error) {
	if err := c.links.pass(c.way, c.closed); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *linkConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// A siteNode is one node of a site under test.
type siteNode struct {
	name string
	ed   *Edge
	srv  listener
}

// A siteRig is a site of nodes a, b, ... above one origin, in a bubble.
type siteRig struct {
	*testing.T
	driver driver
	client *http.Client
	links  *links
	origin *testParent
	names  []string
	began  time.Time
	// more is how often the origin may be asked besides, and how often of that it
	// may answer, for a segment for which that cannot be avoided.
	more    map[live.Number][2]int
	late    time.Duration // the origin has segments so much later
	within  time.Duration // of when it can come, each viewer is to have it
	viewers sync.WaitGroup

	mu       sync.Mutex // guards the following
	nodes    map[string]*siteNode
	away     map[string]bool // its viewers have gone elsewhere
	answered map[string]int
}

// siteRenditions are owned by one each of a, b, c and d.
var siteRenditions = []string{"r2", "r0", "r5", "r3"}

// siteBody is what the origin serves for a path.
func siteBody(path string) string { return strings.Repeat(path+"\n", 200) }

// published is when the origin has a segment: 0.2 s before it is expected.
func published(n live.Number) time.Duration {
	return time.Duration(n)*2*time.Second + 300*time.Millisecond
}
func dueAt(n live.Number) time.Duration {
	return time.Duration(n)*2*time.Second - 1500*time.Millisecond
}

func runSite(t *testing.T, nodes int, f func(*siteRig)) {
	t.Helper()
	if testing.Short() {
		runSiteBy(t, parks, nodes, f)
		return
	}
	both(t, func(t *testing.T, d driver) { runSiteBy(t, d, nodes, f) })
}

// runRow runs a row of a table in which one node fails like another, with four of
// them. Where it is not whole the crowd's driver has to do: they differ in how viewers
// wait, and not in whom a node asks.
func runRow(t *testing.T, whole bool, f func(*siteRig)) {
	t.Helper()
	if whole {
		runSite(t, 4, f)
		return
	}
	runSiteBy(t, parks, 4, f)
}

func runSiteBy(t *testing.T, d driver, nodes int, f func(*siteRig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		s := &siteRig{
			T: t, driver: d, client: viewing(n.Dial), within: time.Second, began: time.Now(), nodes: make(map[string]*siteNode), answered: make(map[string]int), more: make(map[live.Number][2]int), away: make(map[string]bool),
			links: &links{net: n, cut: make(map[[2]string]bool), frozen: make(map[[2]string]chan struct{}), conns: make(map[[2]string][]*linkConn)},
		}
		s.origin = newTestParent(t, n, "origin:80")
		s.origin.config.Renditions = nil
		for _, r := range siteRenditions {
			s.origin.config.Renditions = append(s.origin.config.Renditions, live.Rendition{Name: r, Type: live.Video, Bandwidth: 1_000_000})
		}
		s.origin.script(s.serve)
		for i := range nodes {
			s.names = append(s.names, string(rune('a'+i)))
		}
		for _, name := range s.names {
			s.start(name)
		}
		defer func() {
			s.viewers.Wait()
			s.client.CloseIdleConnections()
			for _, name := range s.names {
				if s.nodes[name] != nil {
					s.kill(name)
				}
			}
			s.origin.stop()
		}()
		f(s)
	})
}

// serve is the origin's delivery of all but event.json.
func (s *siteRig) serve(w http.ResponseWriter, r *http.Request) {
	path, _ := live.ParsePath(r.URL.Path)
	if path.File == live.FileSegment {
		t := time.NewTimer(time.Until(s.began.Add(published(path.Number) + s.late)))
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		}
	}
	serveBytes(w, r, []byte(siteBody(r.URL.Path)))
	if r.Context().Err() == nil {
		s.mu.Lock()
		s.answered[r.URL.Path]++
		s.mu.Unlock()
	}
}

func (s *siteRig) start(name string) {
	s.Helper()
	s.all(name, func(from, to string) { s.links.setCut(from, to, false) })
	site := make(map[string]string)
	for _, n := range s.names {
		site[n] = "http://" + n + ":80"
	}
	node := &siteNode{name: name}
	var err error
	node.ed, err = New(Config{
		Parents: []string{"http://origin:80"}, Name: name, Site: site, Dial: s.links.dialer(name),
	})
	if err != nil {
		s.Fatal(err)
	}
	node.srv = s.driver.front(node.ed)
	l := s.links.net.Listen(name + ":80")
	go node.srv.Serve(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[name] = node
}

// kill is kill -9: what was open breaks, what is dialled is refused.
func (s *siteRig) kill(name string) {
	s.mu.Lock()
	node := s.nodes[name]
	delete(s.nodes, name)
	s.mu.Unlock()
	s.all(name, func(from, to string) { s.links.setCut(from, to, from == name) })
	node.srv.Close()
	node.ed.Close()
}

// all does something to all ways to and from a node.
func (s *siteRig) all(name string, f func(from, to string)) {
	for _, other := range append(slices.Clone(s.names), "origin") {
		if other != name {
			f(name, other)
			f(other, name)
		}
	}
}

func (s *siteRig) at(d time.Duration) {
	s.Helper()
	wait := time.Until(s.began.Add(d))
	if wait < 0 {
		s.Fatalf("it is already past %v", d)
	}
	time.Sleep(wait)
}

// watch has viewers at each node for each rendition of segments from to to:
// some as soon as it is due, some later. Those of a node that is not there ask
// none. Whoever does not get what is wanted fails the test.
func (s *siteRig) watch(from, to live.Number) {
	for n := from; n <= to; n++ {
		for i, name := range s.names {
			for _, late := range []time.Duration{time.Duration(i*37) * time.Millisecond, time.Duration(700+i*211) * time.Millisecond, 2500 * time.Millisecond} {
				s.viewers.Go(func() {
					time.Sleep(time.Until(s.began.Add(dueAt(n) + late)))
					for _, r := range siteRenditions {
						s.viewers.Go(func() { s.view(name, fmt.Sprintf("/t/e/%s/%d.m4s", r, n), published(n)) })
					}
				})
			}
		}
	}
}

// view gets a path from a node, and checks that it comes in time.
func (s *siteRig) view(name, path string, due time.Duration) {
	s.mu.Lock()
	node, away := s.nodes[name], s.away[name]
	s.mu.Unlock()
	if node == nil || away {
		return
	}
	due = max(due+s.late, time.Since(s.began))
	code, text := s.fetch(node, path)
	s.mu.Lock()
	left := s.nodes[name] != node || s.away[name]
	s.mu.Unlock()
	if left {
		return
	}
	now := time.Since(s.began)
	if code != 200 || text != siteBody(path) {
		s.Errorf("%s of %s at %v: %d %s", path, name, now, code, firstLine(text))
	} else if now > due+s.within {
		s.Errorf("%s of %s at %v, %v late", path, name, now, now-due)
	}
}

// fetch gets a path from a node as its viewers do. The status is -1 where the
// answer breaks off, or none comes.
func (s *siteRig) fetch(node *siteNode, path string) (code int, text string) {
	if s.driver == blocks {
		w := httptest.NewRecorder()
		defer func() {
			switch x := recover(); x {
			case nil:
			case http.ErrAbortHandler:
				code = -1
			default:
				panic(x)
			}
		}()
		front.Handler(node.ed).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	resp, err := s.client.Get("http://" + node.name + ":80" + path)
	if err != nil {
		return -1, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return -1, err.Error()
	}
	return resp.StatusCode, string(b)
}

// leave has the viewers of a node go elsewhere, or come back.
func (s *siteRig) leave(name string, away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away[name] = away
}

// allow sets more for some segments.
func (s *siteRig) allow(asked, answered int, from, to live.Number) {
	for n := from; n <= to; n++ {
		s.more[n] = [2]int{asked, answered}
	}
}

// expect checks that the origin was asked for each segment once, and answered.
func (s *siteRig) expect(from, to live.Number) {
	s.Helper()
	s.viewers.Wait()
	for n := from; n <= to; n++ {
		for _, r := range siteRenditions {
			path := fmt.Sprintf("/t/e/%s/%d.m4s", r, n)
			s.mu.Lock()
			answered := s.answered[path]
			s.mu.Unlock()
			if asked, more := s.origin.asks(path), s.more[n]; asked < 1 || asked > 1+more[0] || answered < 1 || answered > 1+more[1] {
				s.Errorf("%s: the origin was asked %d times and answered %d", path, asked, answered)
			}
		}
	}
}

// get gets a path from a node.
func (s *siteRig) get(name, path string) *httptest.ResponseRecorder {
	s.mu.Lock()
	node := s.nodes[name]
	s.mu.Unlock()
	w := httptest.NewRecorder()
	front.Handler(node.ed).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w
}
