package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/edge"
	"headwater/live"
)

// A serving is a Server on the loopback, above a parent whose segments of
// rendition v wait for release.
type serving struct {
	testing.TB
	ed      *edge.Edge
	reg     *prometheus.Registry
	srv     *Server
	addr    string
	number  live.Number // one that is due, for minutes
	release chan struct{}
	once    sync.Once
	served  chan error

	mu      sync.Mutex // guards the following
	asked   map[string]int
	segment http.HandlerFunc
}

func serveEdge(t testing.TB, tune ...func(*Server)) *serving {
	s := &serving{TB: t, release: make(chan struct{}), asked: map[string]int{}, served: make(chan error, 1)}
	e := live.Default()
	e.Start = time.Now().Add(-300 * time.Second).UTC()
	e.HoldMS, e.BudgetMS = 100_000, 100_000
	e.Pipelines = []live.Pipeline{{Name: "a"}}
	e.Renditions = []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1}, {Name: "s", Type: live.Audio, Bandwidth: 1}}
	s.number = 160
	config, err := json.Marshal(live.Config{Event: e, Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	parent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked[r.URL.Path]++
		segment := s.segment
		s.mu.Unlock()
		switch {
		case r.URL.Path == live.TimePath:
			live.ServeTime(w, r, time.Now())
		case !strings.HasPrefix(r.URL.Path, "/t/"):
			w.Header().Set(live.HeaderNames, live.NamesOf([]string{"t"}).Header())
			live.ErrNoTenant.For(5*time.Second).With("no").Write(w, r)
		case !strings.HasPrefix(r.URL.Path, "/t/e/"):
			w.Header().Set(live.HeaderNames, live.NamesOf([]string{"e"}).Header())
			live.ErrNoEvent.For(5*time.Second).With("no").Write(w, r)
		case strings.HasSuffix(r.URL.Path, "/event.json"):
			if r.URL.RawQuery != "" {
				select {
				case <-r.Context().Done():
				case <-done:
				}
				return
			}
			w.Header().Set("ETag", `"1"`)
			w.Write(config)
		case strings.Contains(r.URL.Path, "/v/"):
			select {
			case <-s.release:
			case <-r.Context().Done():
				return
			}
			fallthrough
		default:
			segment(w, r)
		}
	}))
	s.segment = serveBody
	s.reg = prometheus.NewRegistry()
	if s.ed, err = edge.New(edge.Config{Parents: []string{parent.URL}, Metrics: s.reg}); err != nil {
		t.Fatal(err)
	}
	s.srv = &Server{Edge: s.ed, Metrics: s.reg, Linger: 10 * time.Millisecond}
	for _, f := range tune {
		f(s.srv)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	go func() { s.served <- s.srv.Serve(l) }()
	t.Cleanup(func() {
		s.free()
		s.srv.Close()
		if err := <-s.served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		s.ed.Close()
		close(done)
		parent.Close()
	})
	return s
}

// bodyOf is what the parent serves for a path.
func bodyOf(path string) string { return strings.Repeat(path+"\n", 4000) }

func serveBody(w http.ResponseWriter, r *http.Request) {
	body := bodyOf(r.URL.Path)
	digest := live.DigestOf([]byte(body))
	for name, v := range map[string]string{
		"Content-Type": "video/mp4", live.HeaderContentDigest: digest.String(), "ETag": digest.ETag(),
		live.HeaderPipeline: "a;region=east", live.HeaderCacheControl: live.FormatLifetime(10 * time.Minute),
	} {
		w.Header().Set(name, v)
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
}

// free lets the parent answer.
func (s *serving) free() { s.once.Do(func() { close(s.release) }) }

func (s *serving) path(rendition string) string {
	return "/t/e/" + rendition + "/" + live.SegmentName(s.number)
}

func (s *serving) asks(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path]
}

// A client is one connection.
type client struct {
	net.Conn
	s *serving
	r *bufio.Reader
}

func (s *serving) dial() *client {
	s.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	return &client{nc, s, bufio.NewReaderSize(nc, 512)}
}

func (c *client) send(text string) {
	c.s.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.s.Fatal(err)
	}
}

func get(path string, header ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: edge\r\n" + strings.Join(append(header, ""), "\r\n") + "\r\n"
}

// read reads one answer to a GET.
func (c *client) read() (*http.Response, string) {
	c.s.Helper()
	return c.readTo("GET")
}

func (c *client) readTo(method string) (*http.Response, string) {
	c.s.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.s.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.s.Fatal(err)
	}
	return resp, string(body)
}

// ended waits for the end of the connection.
func (c *client) ended() {
	c.s.Helper()
	if b, err := io.ReadAll(c.r); len(b) > 0 || err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		c.s.Errorf("the connection goes on: %q, %v", b, err)
	}
}

// until yields until the condition holds.
func (s *serving) until(what string, f func() bool) {
	s.Helper()
	for end := time.Now().Add(time.Minute); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			s.Fatalf("not in a minute: %s", what)
		}
	}
}

// What connections may wait for.
func waits(c *conn) bool   { return c.state == waiting }
func stuckAt(c *conn) bool { return c.state == blocked && c.left > 0 } // not only for its next turn
func isIdle(c *conn) bool  { return c.state == idle }

// state counts the connections of all kinds, and those of loops of which is holds.
func (s *serving) state(is func(*conn) bool) (all, in int) {
	s.srv.init()
	for _, l := range s.srv.all() {
		l.call(func() {
			l.each(func(c *conn) {
				if is(c) {
					in++
				}
			})
		})
	}
	s.srv.mu.Lock()
	defer s.srv.mu.Unlock()
	return s.srv.total, in
}

func TestServerHoldsWithoutGoroutines(t *testing.T) {
	s := serveEdge(t)
	const n = 200
	first := s.dial()
	first.send(get(s.path("s")))
	first.read()
	before := runtime.NumGoroutine()
	clients := make([]*client, n)
	for i := range clients {
		clients[i] = s.dial()
		clients[i].send(get(s.path("v"), "Accept: */*", "User-Agent: test"))
	}
	s.until("all are held", func() bool { _, in := s.state(waits); return in == n })
	s.until("no goroutine is left to them", func() bool { return runtime.NumGoroutine() < before+20 })
	s.free()
	for _, c := range clients {
		resp, body := c.read()
		if resp.StatusCode != 200 || body != bodyOf(s.path("v")) || !strings.Contains(resp.Header.Get("Cache-Status"), "detail=hold") ||
			resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Date") == "" {
			t.Fatalf("%d, %d bytes, %v", resp.StatusCode, len(body), resp.Header)
		}
	}
	if n := s.asks(s.path("v")); n != 1 {
		t.Errorf("the parent was asked %d times", n)
	}
	// The same connections go on.
	for _, c := range clients {
		c.send(get(s.path("v")))
		if resp, body := c.read(); resp.StatusCode != 200 || len(body) != len(bodyOf(s.path("v"))) || !strings.Contains(resp.Header.Get("Cache-Status"), "hit") {
			t.Fatalf("%d, %d bytes, %v", resp.StatusCode, len(body), resp.Header)
		}
	}
	s.until("all are idle", func() bool { _, in := s.state(isIdle); return in == n+1 })
}

func TestServerSeesWhoLeaves(t *testing.T) {
	s := serveEdge(t)
	clients := make([]*client, 100)
	for i := range clients {
		clients[i] = s.dial()
		clients[i].send(get(s.path("v")))
	}
	s.until("all are held", func() bool { _, in := s.state(waits); return in == len(clients) })
	for _, c := range clients[1:] {
		c.Close()
	}
	s.until("one is left", func() bool { all, _ := s.state(waits); return all == 1 })
	s.until("nothing of them is kept", func() bool {
		return s.metric("clients_left_total") == len(clients)-1 && s.holding() == 1
	})
	s.free()
	if _, body := clients[0].read(); body != bodyOf(s.path("v")) {
		t.Errorf("%d bytes", len(body))
	}
}

func TestServerPipelines(t *testing.T) {
	s := serveEdge(t)
	c := s.dial()
	// Behind one that is held, others wait their turn; the last is net/http's.
	c.send(get(s.path("s")) + get(s.path("v")) + get(s.path("s"), "Range: bytes=0-3") + get("/healthz"))
	if _, body := c.read(); body != bodyOf(s.path("s")) {
		t.Errorf("the first: %d bytes", len(body))
	}
	s.until("the second is held", func() bool { _, in := s.state(waits); return in == 1 })
	s.free()
	if _, body := c.read(); body != bodyOf(s.path("v")) {
		t.Errorf("the second: %d bytes", len(body))
	}
	if resp, body := c.read(); resp.StatusCode != 206 || body != bodyOf(s.path("s"))[:4] {
		t.Errorf("the third: %d %q", resp.StatusCode, body)
	}
	if _, body := c.read(); body != "ok\n" {
		t.Errorf("the fourth: %q", body)
	}
	c.send(get(s.path("s")))
	if _, body := c.read(); body != bodyOf(s.path("s")) {
		t.Errorf("the fifth: %d bytes", len(body))
	}
}

func TestServerTakesBytesAsTheyCome(t *testing.T) {
	s := serveEdge(t)
	c := s.dial()
	for range 2 {
		for _, b := range []byte("\r\n" + get(s.path("s"), "X: "+strings.Repeat("y", 6000))) {
			c.send(string(b))
		}
		if _, body := c.read(); body != bodyOf(s.path("s")) {
			t.Errorf("%d bytes", len(body))
		}
	}
}

func TestServerLeavesTheRestToNetHTTP(t *testing.T) {
	s := serveEdge(t)
	for _, c := range []struct {
		request string
		status  int
		close   bool
	}{
		{get("/healthz"), 200, false},
		{"\r\n" + get("/healthz"), 200, false},
		{"\r\n\r\n" + get(s.path("s")), 400, true},
		{get("/t/e/event.json"), 200, false},
		{get("/nothing"), 404, false},
		{"POST " + s.path("s") + " HTTP/1.1\r\nHost: edge\r\nContent-Length: 3\r\n\r\nabc", 405, false},
		{"GET " + s.path("s") + " HTTP/1.0\r\n\r\n", 200, true},
		{"GET " + s.path("s") + " HTTP/1.1\r\n\r\n", 400, true},
		{"nonsense\r\n\r\n", 400, true},
		{get(s.path("s"), "Transfer-Encoding: chunked, identity") + "0\r\n\r\n", 501, true},
		{get(s.path("s"), "Content-Length: 3", "Transfer-Encoding: chunked") + "0\r\n\r\n", 200, true},
		{get(s.path("s"), "A: b", " folded"), 200, false},
		{get(s.path("s"), "A: b", " Transfer-Encoding: chunked"), 200, false},
		{get(s.path("s"), "Transfer-Encoding: x, chunked") + "0\r\n\r\n", 501, true},
		{get(s.path("s"), "Transfer-Encoding : chunked") + "0\r\n\r\n", 400, true},
		{get(s.path("s"), "Transfer-Encoding: \x0bchunked") + "0\r\n\r\n", 400, true},
		{get(s.path("s"), "Transfer_Encoding: chunked", "Content_Length: 3"), 200, false},
		{get(s.path("s"), "Content-Length: 3", "Content-Length: 4") + "abc", 400, true},
		{get(s.path("s"), "Content-Length: 0", "Content-Length: 0"), 200, false},
		{get(s.path("s"), "Host: other"), 400, true},
		{get(s.path("s"), "A\x00: b"), 400, true},
		{get(s.path("s"), "A: b\rTransfer-Encoding: chunked"), 400, true},
		{"GET " + s.path("s") + " HTTP/1.1\nHost: edge\nA: b\n\n", 200, false},
		{get("http://other" + s.path("s")), 200, false},
		{get("http://other"+s.path("s"), "Host: third"), 400, true},
		{"CONNECT edge:443 HTTP/1.1\r\nHost: edge\r\n\r\n", 405, false},
	} {
		x := s.dial()
		x.send(c.request)
		resp, _ := x.read()
		if resp.StatusCode != c.status {
			t.Errorf("%q: %d, want %d", c.request, resp.StatusCode, c.status)
		}
		if c.close {
			x.ended()
		} else {
			x.send(get(s.path("s")))
			if resp, _ := x.read(); resp.StatusCode != 200 {
				t.Errorf("%q, and then: %d", c.request, resp.StatusCode)
			}
		}
	}
	all, _ := s.state(isIdle)
	s.until("those that ended are forgotten", func() bool { n, _ := s.state(isIdle); return n <= all })
}

func TestServerMethodsAndParts(t *testing.T) {
	s := serveEdge(t)
	body := bodyOf(s.path("s"))
	etag := live.DigestOf([]byte(body)).ETag()
	c := s.dial()
	c.send("HEAD " + s.path("s") + " HTTP/1.1\r\nHost: edge\r\n\r\n")
	if resp, _ := c.readTo("HEAD"); resp.StatusCode != 200 || resp.ContentLength != int64(len(body)) {
		t.Errorf("HEAD: %d %v", resp.StatusCode, resp.Header)
	}
	c.send(get(s.path("s"), "If-None-Match: "+etag))
	if resp, text := c.read(); resp.StatusCode != 304 || text != "" {
		t.Errorf("the same: %d %q", resp.StatusCode, text)
	}
	c.send(get("/t/e/s/1000000.m4s"))
	if resp, text := c.read(); resp.StatusCode != 404 || !strings.Contains(text, "early") {
		t.Errorf("early: %d %q", resp.StatusCode, text)
	}
	c.send(get(s.path("s")+"?CMCD=x", "Connection: close"))
	if resp, text := c.read(); text != body || !resp.Close {
		t.Errorf("the last: %d bytes, close %v", len(text), resp.Close)
	}
	c.ended()
}

func TestServerBodiesWithoutLength(t *testing.T) {
	s := serveEdge(t)
	half, rest := strings.Repeat("a", 3000), strings.Repeat("b", 70000)
	broken := false
	s.mu.Lock()
	s.segment = func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, half)
		w.(http.Flusher).Flush()
		if broken {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, rest)
	}
	s.mu.Unlock()
	s.free()
	c := s.dial()
	c.send(get(s.path("s")))
	if _, body := c.read(); body != half+rest {
		t.Errorf("%d bytes", len(body))
	}
	s.mu.Lock()
	broken = true
	s.mu.Unlock()
	c.send(get(s.path("v")))
	resp, err := http.ReadResponse(c.r, nil)
	if err == nil && resp.StatusCode == 200 {
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil && resp.StatusCode != 503 {
		t.Errorf("a broken body looks complete")
	}
}

func TestServerLimits(t *testing.T) {
	s := serveEdge(t, func(s *Server) {
		s.HeaderTimeout, s.IdleTimeout = time.Hour, time.Hour // whatever the machine does meanwhile
		s.MaxHeaderBytes, s.MaxConnsPerAddress = 8<<10, 3
	})
	large := s.dial()
	io.WriteString(large, get(s.path("s"), "X: "+strings.Repeat("y", 20000)))
	if resp, err := http.ReadResponse(large.r, nil); err == nil && resp.StatusCode != 431 {
		t.Errorf("a huge header: %d", resp.StatusCode)
	}
	large.Close()
	s.until("it is gone", func() bool { n, _ := s.state(isIdle); return n == 0 })
	var open []*client
	for range 3 {
		c := s.dial()
		c.send(get(s.path("v")))
		open = append(open, c)
	}
	s.until("all are held", func() bool { _, n := s.state(waits); return n == 3 })
	many := s.dial()
	if resp, _ := many.read(); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one connection too many: %d", resp.StatusCode)
	}
	many.ended()
	s.free()
	for _, c := range open {
		if resp, _ := c.read(); resp.StatusCode != 200 {
			t.Errorf("%d", resp.StatusCode)
		}
	}
}

// TestServerTimeouts: who is slow with a head, says nothing, or says nothing more is cut
// off, and who is held is not, though it takes longer. On a busy machine what is asked in
// time may come too late: that is tried again.
func TestServerTimeouts(t *testing.T) {
	s := serveEdge(t, func(s *Server) { s.HeaderTimeout, s.IdleTimeout = 200*time.Millisecond, 200*time.Millisecond })
	s.dial().ended() // it never said anything
	again := func(what string, try func(c *client) bool) {
		t.Helper()
		s.until(what, func() bool {
			c := s.dial()
			defer c.Close()
			return try(c)
		})
	}
	status := func(c *client) int {
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil {
			return 0
		}
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	again("a slow head is 408", func(c *client) bool {
		io.WriteString(c, "GET /t/e/v/1.m4s HTTP/1.1\r\nHost: ")
		if status(c) != 408 {
			return false
		}
		c.ended()
		return true
	})
	again("who is silent after an answer is cut off", func(c *client) bool {
		io.WriteString(c, get(s.path("s")))
		if status(c) != 200 {
			return false
		}
		c.ended()
		return true
	})
	held := s.dial()
	again("one is held", func(c *client) bool {
		c.Close()
		held.Close()
		s.until("nobody else is there", func() bool { n, _ := s.state(waits); return n == 0 })
		held = s.dial()
		io.WriteString(held, get(s.path("v")))
		all, in := 1, 0
		s.until("it is held or cut off", func() bool { all, in = s.state(waits); return in == 1 || all == 0 })
		return in == 1
	})
	s.dial().ended() // who came after it has been cut off
	s.free()
	if n := status(held); n != 200 {
		t.Errorf("who was held: %d", n)
	}
}

func TestServerShutsDown(t *testing.T) {
	s := serveEdge(t)
	waiting, done := s.dial(), make(chan error, 1)
	waiting.send(get(s.path("v")) + get(s.path("s")))
	quiet := s.dial()
	quiet.send(get(s.path("s")))
	quiet.read()
	plain := s.dial()
	plain.send(get("/healthz"))
	plain.read()
	s.until("one is held", func() bool { _, n := s.state(waits); return n == 1 })
	s.until("one is idle", func() bool { _, n := s.state(isIdle); return n == 1 })
	go func() { done <- s.srv.Shutdown(context.Background()) }()
	quiet.ended()
	plain.ended()
	if _, err := net.Dial("tcp", s.addr); err == nil {
		s.until("no more are taken", func() bool { _, err := net.Dial("tcp", s.addr); return err != nil })
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait for what is held: %v", err)
	default:
	}
	s.free()
	if resp, body := waiting.read(); body != bodyOf(s.path("v")) || !resp.Close {
		t.Errorf("what was held: %d, %d bytes, close %v", resp.StatusCode, len(body), resp.Close)
	}
	waiting.ended()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := s.srv.Serve(nil); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve afterwards: %v", err)
	}
}

func TestServerCutsOffWhatDoesNotEnd(t *testing.T) {
	s := serveEdge(t)
	c := s.dial()
	c.send(get(s.path("v")))
	s.until("one is held", func() bool { _, n := s.state(waits); return n == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.srv.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	c.ended()
}

func TestServerOnTLSSpeaksHTTP2(t *testing.T) {
	s := serveEdge(t)
	fake := httptest.NewUnstartedServer(nil)
	fake.EnableHTTP2 = true
	fake.StartTLS()
	defer fake.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: fake.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.srv.Serve(l) }()
	client := fake.Client()
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://" + l.Addr().String() + s.path("s"))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.ProtoMajor != 2 || string(body) != bodyOf(s.path("s")) {
		t.Errorf("%s, %d bytes", resp.Proto, len(body))
	}
	client.CloseIdleConnections()
	s.srv.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// A viewer that does not read is let go, and everything it held is free.
func TestServerSlowReader(t *testing.T) {
	s := serveEdge(t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	s.mu.Lock()
	s.segment = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(big)))
		w.Header().Set("Cache-Control", "max-age=60")
		w.Write(big)
	}
	s.mu.Unlock()
	s.free()
	slow, fast := s.dial(), s.dial()
	slow.send(get(s.path("v")))
	fast.send(get(s.path("v")))
	if _, body := fast.read(); body != string(big) {
		t.Errorf("%d bytes", len(body))
	}
	slow.Close()
	s.until("it is forgotten", func() bool { all, _ := s.state(isIdle); return all == 1 })
}
