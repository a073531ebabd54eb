package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/edge/front"
	"headwater/edge/parents"
	"headwater/internal/memnet"
	"headwater/internal/selfsigned"
	"headwater/live"
)

// Times that the parts of an edge keep to, as viewers come to feel them.
const (
	grace         = parents.Grace
	clockGrain    = time.Millisecond       // of /time
	diskPatience  = 250 * time.Millisecond // for a read
	diskRetry     = time.Second            // of a disk that fails
	diskWrite     = 5 * time.Second        // then a write has failed
	retryAfter    = time.Second            // a failed fill is remembered
	diskStrikes   = 3                      // reads in a row that fail
	talliedEvents = 100                    // have counters of their own
)

// A driver is what walks the requests of viewers.
type driver string

const (
	blocks driver = "block" // a goroutine for each, as under net/http
	parks  driver = "park"  // a loop for all, as viewers of HTTP/1.1 have,
	sealed driver = "tls"   // the same over TLS,
	muxes  driver = "h2"    // and of HTTP/2
)

// every runs a test with each of the drivers, by each protocol.
func every(t *testing.T, f func(*testing.T, driver)) {
	t.Helper()
	both(t, f)
	for _, d := range []driver{sealed, muxes} {
		t.Run(string(d), func(t *testing.T) { f(t, d) })
	}
}

// secure serves TLS where the driver wants it.
type secure struct{ *front.Server }

func (s secure) Serve(l net.Listener) error {
	return s.ServeTLS(l, &tls.Config{Certificates: []tls.Certificate{certificate()}})
}

var certificate = sync.OnceValue(func() tls.Certificate { c, _ := selfsigned.New(); return c })

// both runs a test with each of the drivers.
func both(t *testing.T, f func(*testing.T, driver)) {
	t.Helper()
	for _, d := range []driver{blocks, parks} {
		t.Run(string(d), func(t *testing.T) { f(t, d) })
	}
}

// listener is what an edge of a test listens with.
type listener interface {
	Serve(net.Listener) error
	Close() error
}

// front serves an edge by the driver.
func (d driver) front(ed *Edge) listener {
	switch s := (&front.Server{Edge: ed, Linger: time.Millisecond}); d {
	case parks:
		return s
	case blocks:
		return &http.Server{Handler: front.Handler(ed)}
	default:
		return secure{s}
	}
}

// viewing is a client by which viewers ask.
func viewing(dial func(context.Context, string, string) (net.Conn, error)) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DialContext: dial, DisableCompression: true, MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A parent plays an origin by a script.
type testParent struct {
	t    *testing.T
	net  *memnet.Network
	addr string
	srv  *http.Server

	mu       sync.Mutex // guards the following
	config   live.Config
	events   bool          // event.json is there
	refuses  time.Duration // events and tenants that there are not, for so long
	changed  chan struct{}
	asked    map[string]int
	header   http.Header // on every answer of the event
	segments http.HandlerFunc
	clock    func(http.ResponseWriter, *http.Request) // instead of /time
}

func newTestParent(t *testing.T, n *memnet.Network, addr string) *testParent {
	p := &testParent{t: t, net: n, addr: addr, events: true, refuses: 2 * time.Second, changed: make(chan struct{}), asked: map[string]int{}, header: http.Header{}}
	e := live.Default()
	e.Start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	e.DVRSeconds = 60
	e.Pipelines = []live.Pipeline{{Name: "a", Region: "east"}, {Name: "b", Region: "west"}}
	e.Renditions = []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1_000_000}, {Name: "s", Type: live.Audio, Bandwidth: 64_000}}
	p.config = live.Config{Event: e, Version: 1}
	p.segments = func(w http.ResponseWriter, r *http.Request) { serveBytes(w, r, segment(r)) }
	p.start()
	return p
}

func (p *testParent) start() {
	p.srv = &http.Server{Handler: p}
	l := p.net.Listen(p.addr)
	go p.srv.Serve(l)
}

// stop is what kill -9 does: connections break, new ones are refused.
func (p *testParent) stop() {
	p.srv.Close()
}

func (p *testParent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	clock := p.clock
	p.mu.Unlock()
	if r.URL.Path == live.TimePath {
		if clock != nil {
			clock(w, r)
			return
		}
		live.ServeTime(w, r, time.Now())
		return
	}
	p.mu.Lock()
	p.asked[r.URL.Path]++
	segments, there, changed, header := p.segments, p.events, p.changed, p.header.Clone()
	config, _ := json.Marshal(p.config)
	version, refuses := p.config.Version, p.refuses
	p.mu.Unlock()
	path, err := live.ParsePath(r.URL.Path)
	if err == nil && path.Event.Tenant != "t" {
		w.Header().Set(live.HeaderNames, live.NamesOf([]string{"t"}).Header())
		live.ErrNoTenant.For(refuses).With("no").Write(w, r)
		return
	}
	if err != nil || !there || path.Event.Name != "e" {
		list := []string{}
		if there {
			list = append(list, "e")
		}
		w.Header().Set(live.HeaderNames, live.NamesOf(list).Header())
		live.ErrNoEvent.For(refuses).With("no").Write(w, r)
		return
	}
	for k, v := range header {
		w.Header()[k] = v
	}
	w.Header().Set(live.HeaderVersion, strconv.FormatInt(version, 10))
	if path.File == live.FileConfig {
		etag := live.DigestOf(config).ETag()
		if r.URL.Query().Get("after") == etag {
			t := time.NewTimer(25 * time.Second)
			defer t.Stop()
			select {
			case <-changed:
				r.URL.RawQuery = ""
				p.ServeHTTP(w, r)
				return
			case <-t.C:
			case <-r.Context().Done():
				return
			}
		}
		w.Header().Set("ETag", etag)
		w.Header().Set("Cache-Control", "max-age=1")
		w.Write(config)
		return
	}
	segments(w, r)
}

// script sets what segments (and all but event.json) are answered with.
func (p *testParent) script(f http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.segments = f
}

// configure changes the configuration and wakes those who wait for that.
func (p *testParent) configure(f func(*live.Config)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.config)
	p.config.Version++
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *testParent) set(name, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.header.Set(name, value)
}

// asks is how often a path was asked for.
func (p *testParent) asks(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// segment is the body that the test parents serve for a path.
func segment(r *http.Request) []byte {
	return bytes.Repeat([]byte(r.URL.Path+"\n"), 4000)
}

func serveBytes(w http.ResponseWriter, r *http.Request, b []byte) {
	h := w.Header()
	h.Set("Content-Type", "video/mp4")
	h.Set(live.HeaderContentDigest, live.DigestOf(b).String())
	h.Set("ETag", live.DigestOf(b).ETag())
	h.Set(live.HeaderPipeline, "a;region=east")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", live.FormatLifetime(10*time.Minute))
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// A rig is an edge above scripted parents, inside a synctest bubble.
type rig struct {
	*testing.T
	net     *memnet.Network
	parents []*testParent
	parent  *testParent // the first
	ed      *Edge
	reg     *prometheus.Registry
	began   time.Time

	driver driver
	front  listener     // where the driver parks,
	client *http.Client // and how viewers ask it
}

// run runs a test in a bubble for each driver, with an edge above n parents.
func run(t *testing.T, n int, f func(*rig), tune ...func(*Config)) {
	t.Helper()
	every(t, func(t *testing.T, d driver) { runBy(t, d, n, f, tune...) })
}

// runBy runs it for one.
func runBy(t *testing.T, d driver, n int, f func(*rig), tune ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, driver: d, net: memnet.New(), reg: prometheus.NewRegistry(), began: time.Now()}
		cfg := Config{Dial: r.net.Dial, Metrics: r.reg}
		for i := range n {
			addr := fmt.Sprintf("p%d:80", i+1)
			r.parents = append(r.parents, newTestParent(t, r.net, addr))
			cfg.Parents = append(cfg.Parents, "http://"+addr)
		}
		r.parent = r.parents[0]
		for _, f := range tune {
			f(&cfg)
		}
		ed, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r.serve(ed)
		defer func() {
			r.close()
			for _, p := range r.parents {
				p.stop()
			}
		}()
		f(r)
	})
}

// serve has viewers ask an edge.
func (r *rig) serve(ed *Edge) {
	r.ed = ed
	if r.driver != blocks {
		r.front = r.driver.front(ed)
		l := r.net.Listen("edge:80")
		go r.front.Serve(l)
		r.client = viewing(r.net.Dial)
		tr := r.client.Transport.(*http.Transport)
		tr.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // the time is another
		tr.ForceAttemptHTTP2 = r.driver == muxes
	}
}

// close ends the edge.
func (r *rig) close() {
	if r.front != nil {
		r.client.CloseIdleConnections()
		r.front.Close()
	}
	r.ed.Close()
}

// crowd is n viewers, or fewer where each costs a handshake.
func (r *rig) crowd(n int) int {
	if r.driver == sealed || r.driver == muxes {
		return min(n, 90)
	}
	return n
}

// at sleeps until d after the beginning of the event.
func (r *rig) at(d time.Duration) {
	r.Helper()
	wait := time.Until(r.began.Add(d))
	if wait < 0 {
		r.Fatalf("it is already past %v", d)
	}
	time.Sleep(wait)
	synctest.Wait()
}

// know lets the edge learn of the event.
func (r *rig) know() {
	r.Helper()
	if a := r.get("/t/e/event.json"); a.status() != 200 {
		r.Fatalf("event.json: %d %s", a.status(), a.text())
	}
}

// metric is a counter's or gauge's value, by name without its prefix.
func (r *rig) metric(name string, labels ...string) float64 {
	r.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "headwater_edge_"+name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			for i := 0; i < len(labels); i += 2 {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
				}
				if !found {
					continue metrics
				}
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	r.Fatalf("there is no metric %s %v", name, labels)
	return 0
}

// A viewer is one request and what came of it so far.
type viewer struct {
	r      *rig
	leave  context.CancelFunc
	closed chan struct{} // when it is over
	stuck  chan struct{} // a write waits for it to close, where it is not nil

	mu      sync.Mutex // guards the following
	header  http.Header
	sent    http.Header
	code    int
	body    bytes.Buffer
	aborted bool
	ended   time.Time
}

func (v *viewer) Header() http.Header { return v.header }

func (v *viewer) WriteHeader(code int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.code == 0 {
		v.code, v.sent = code, v.header.Clone()
	}
}

func (v *viewer) Write(b []byte) (int, error) {
	v.WriteHeader(200)
	if v.stuck != nil {
		<-v.stuck
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.body.Write(b)
}

func (v *viewer) Flush() {}

func (v *viewer) status() int { v.mu.Lock(); defer v.mu.Unlock(); return v.code }
func (v *viewer) text() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.body.String()
}
func (v *viewer) got(name string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sent.Get(name)
}
func (v *viewer) cut() bool { v.mu.Lock(); defer v.mu.Unlock(); return v.aborted }
func (v *viewer) over() bool {
	select {
	case <-v.closed:
		return true
	default:
		return false
	}
}

// complete reports whether what came looks complete to an HTTP client.
func (v *viewer) complete() bool {
	if !v.over() || v.cut() || v.status() == 0 {
		return false
	}
	l := v.got("Content-Length")
	return l == "" || l == strconv.Itoa(len(v.text()))
}

type option func(*http.Request, *viewer)

func method(m string) option { return func(r *http.Request, _ *viewer) { r.Method = m } }
func with(name, val string) option {
	return func(r *http.Request, _ *viewer) { r.Header.Set(name, val) }
}
func stuck(c chan struct{}) option { return func(_ *http.Request, v *viewer) { v.stuck = c } }

// ask begins a request.
func (r *rig) ask(target string, opts ...option) *viewer {
	ctx, cancel := context.WithCancel(context.Background())
	v := &viewer{r: r, leave: cancel, closed: make(chan struct{}), header: http.Header{}}
	req := httptest.NewRequestWithContext(ctx, "GET", target, nil)
	for _, o := range opts {
		o(req, v)
	}
	go func() {
		defer func() {
			x := recover()
			if x != nil && x != http.ErrAbortHandler {
				panic(x)
			}
			v.mu.Lock()
			v.aborted, v.ended = v.aborted || x != nil, time.Now()
			v.mu.Unlock()
			cancel()
			close(v.closed)
		}()
		if r.driver != blocks {
			v.fetch(req)
			return
		}
		front.Handler(r.ed).ServeHTTP(v, req)
	}()
	return v
}

// fetch makes a request by a connection.
func (v *viewer) fetch(req *http.Request) {
	req.URL.Scheme, req.URL.Host, req.RequestURI = "http", "edge:80", ""
	if v.r.driver != parks {
		req.URL.Scheme = "https"
	}
	resp, err := v.r.client.Do(req)
	if err == nil {
		defer resp.Body.Close()
		v.mu.Lock()
		v.code, v.sent = resp.StatusCode, resp.Header
		v.mu.Unlock()
		if v.stuck != nil {
			<-v.stuck
		}
		_, err = io.Copy(v, resp.Body)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.aborted = err != nil
}

// get makes a request and waits for its end.
func (r *rig) get(target string, opts ...option) *viewer {
	v := r.ask(target, opts...)
	<-v.closed
	return v
}

// expect checks status and the exact lifetime of an answer.
func (v *viewer) expect(status int, lifetime time.Duration) {
	v.r.Helper()
	if v.status() != status {
		v.r.Errorf("status %d, want %d: %s", v.status(), status, firstLine(v.text()))
	}
	d, _ := live.ParseLifetime([]string{v.got("Cache-Control")})
	age, _ := strconv.Atoi(v.got("Age"))
	if d -= time.Duration(age) * time.Second; d != lifetime {
		v.r.Errorf("fresh for %v, want %v (Cache-Control %q, Age %q)", d, lifetime, v.got("Cache-Control"), v.got("Age"))
	}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// body is what the test parents serve for a path.
func bodyOf(path string) string {
	return string(segment(httptest.NewRequest("GET", path, nil)))
}

var _ io.Writer = (*viewer)(nil)
