package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"headwater/internal/selfsigned"
	"headwater/live"
)

// A secure is a serving's TLS and UDP side.
type secure struct {
	*serving
	addr string // of TCP and UDP
	cfg  *tls.Config
	pool *x509.CertPool
}

// secure serves TLS and HTTP/3 on one port.
func (s *serving) secure() *secure {
	s.Helper()
	cert, pool := selfsigned.New()
	x := &secure{serving: s, pool: pool, cfg: &tls.Config{Certificates: []tls.Certificate{cert}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	x.addr = l.Addr().String()
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(x.addr)))
	if err != nil {
		s.Fatal(err)
	}
	var served sync.WaitGroup
	for _, serve := range []func() error{
		func() error { return s.srv.ServeTLS(l, x.cfg) },
		func() error { return s.srv.ServeHTTP3(udp, x.cfg) },
	} {
		served.Go(func() {
			if err := serve(); !errors.Is(err, http.ErrServerClosed) {
				s.Errorf("serving ended: %v", err)
			}
		})
	}
	s.Cleanup(func() {
		s.free()
		s.srv.Close()
		served.Wait()
	})
	return x
}

func (x *secure) tls(protos ...string) *tls.Config {
	return &tls.Config{RootCAs: x.pool, NextProtos: protos}
}

// dialTLS opens one connection of TLS.
func (x *secure) dialTLS(protos ...string) *tls.Conn {
	x.Helper()
	c, err := tls.Dial("tcp", x.addr, x.tls(protos...))
	if err != nil {
		x.Fatal(err)
	}
	x.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// A speaker is a client of one protocol.
type speaker struct {
	name  string
	base  string
	major int
	http.RoundTripper
}

// speakers are clients of every protocol; each has its own connections.
func (x *secure) speakers() []speaker {
	plain := &http.Transport{DisableCompression: true}
	one := &http.Transport{DisableCompression: true, TLSClientConfig: x.tls("http/1.1"), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	two := &http.Transport{DisableCompression: true, TLSClientConfig: x.tls(), ForceAttemptHTTP2: true}
	three := &http3.Transport{TLSClientConfig: x.tls()}
	x.Cleanup(func() {
		plain.CloseIdleConnections()
		one.CloseIdleConnections()
		two.CloseIdleConnections()
		three.Close()
	})
	return []speaker{
		{"HTTP/1.1", "http://" + x.serving.addr, 1, plain}, {"HTTP/1.1 over TLS", "https://" + x.addr, 1, one},
		{"HTTP/2", "https://" + x.addr, 2, two}, {"HTTP/3", "https://" + x.addr, 3, three},
	}
}

// An outcome is one answer, or why there is none.
type outcome struct {
	*http.Response
	text string
	err  error
}

func (c speaker) ask(t *testing.T, method, path string, body io.Reader, header ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.RoundTrip(req)
	if err != nil {
		return outcome{err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return outcome{resp, string(text), err}
}

func (c speaker) get(t *testing.T, path string, header ...string) outcome {
	t.Helper()
	return c.ask(t, http.MethodGet, path, nil, header...)
}

// drops is how often something was dropped for a reason.
func (s *serving) drops(reason string) int {
	s.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		s.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "headwater_edge_drops_total" && m.GetLabel()[0].GetValue() == reason {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	s.Fatalf("there is no counter of %s", reason)
	return 0
}

// dropped waits until so many were.
func (s *serving) dropped(reason string, n int) {
	s.Helper()
	s.until(strconv.Itoa(n)+" dropped for "+reason, func() bool { return s.drops(reason) >= n })
	if got := s.drops(reason); got != n {
		s.Errorf("%d dropped for %s, want %d", got, reason, n)
	}
}

func TestDropsAreThereAtZero(t *testing.T) {
	s := serveEdge(t)
	s.srv.init()
	for _, reason := range drops {
		if n := s.drops(reason); n != 0 {
			t.Errorf("%s: %d", reason, n)
		}
	}
}

// Every protocol says the same: holds, ranges, refusals, notifications.
func TestEveryProtocolAnswersAlike(t *testing.T) {
	s := serveEdge(t)
	said := `5, ad-break;id="b1";from=1042`
	s.mu.Lock()
	segment := s.segment
	s.segment = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(live.HeaderNotifications, said)
		segment(w, r)
	}
	s.mu.Unlock()
	x := s.secure()
	s.until("UDP is served", func() bool { return s.srv.altSvc.Load() != nil })
	speakers := x.speakers()
	answers := make([]outcome, len(speakers))
	var all sync.WaitGroup
	for i, c := range speakers {
		all.Go(func() { answers[i] = c.get(t, s.path("v")) })
	}
	s.until("all are held", func() bool { return s.holding() == len(speakers) })
	s.free()
	all.Wait()
	body := bodyOf(s.path("v"))
	for i, c := range speakers {
		a := answers[i]
		if a.err != nil || a.StatusCode != 200 || a.text != body || a.ProtoMajor != c.major || !strings.Contains(a.Header.Get("Cache-Status"), "detail=hold") {
			t.Fatalf("%s: %v %+v", c.name, a.err, a.Response)
		}
		if got := a.Header.Get(live.HeaderNotifications); got != said {
			t.Errorf("%s: notifications %q", c.name, got)
		}
		alt := a.Header.Get("Alt-Svc")
		if _, port, _ := net.SplitHostPort(x.addr); (c.name == "HTTP/1.1 over TLS" || c.name == "HTTP/2") != strings.Contains(alt, `h3=":`+port+`"`) {
			t.Errorf("%s: Alt-Svc %q", c.name, alt)
		}
		if a := c.get(t, s.path("v"), "Range", "bytes=5-9"); a.err != nil || a.StatusCode != 206 || a.text != body[5:10] {
			t.Errorf("%s: a range: %v %q", c.name, a.err, a.text)
		}
		if a := c.get(t, "/t/e/v/1000000.m4s"); a.err != nil || a.StatusCode != 404 || !strings.Contains(a.text, "early") || a.Header.Get(live.HeaderNotifications) != said {
			t.Errorf("%s: too early: %v %q", c.name, a.err, a.text)
		}
		if a := c.ask(t, http.MethodHead, s.path("v"), nil); a.err != nil || a.StatusCode != 200 || a.ContentLength != int64(len(body)) || a.text != "" {
			t.Errorf("%s: HEAD: %v %+v", c.name, a.err, a.Response)
		}
	}
	if n := s.asks(s.path("v")); n != 1 {
		t.Errorf("the parent was asked %d times", n)
	}
}

// What a path names has one name, by every protocol: caches in front would keep each.
func TestPathsHaveOneForm(t *testing.T) {
	s := serveEdge(t)
	x := s.secure()
	s.until("UDP is served", func() bool { return s.srv.altSvc.Load() != nil })
	good := s.path("s")
	for _, c := range x.speakers() {
		if a := c.get(t, good); a.err != nil || a.StatusCode != 200 {
			t.Fatalf("%s: %v %+v", c.name, a.err, a.Response)
		}
		for _, path := range []string{
			strings.Replace(good, "/s/", "/%73/", 1), strings.Replace(good, "/e/", "%2fe/", 1), strings.Replace(good, "/e/", "/e%2F", 1), strings.Replace(good, ".", "%2e", 1),
			good + "%00", strings.Replace(good, "/s", "/%00s", 1), strings.Replace(good, "/s/", "/%2573/", 1), strings.Replace(good, "/s/", "/x/../s/", 1), strings.Replace(good, "/s/", "/x/%2e%2e/s/", 1),
			"/" + good, strings.Replace(good, "/s/", "//s/", 1), good + "/", good + ";a=b", strings.Replace(good, "/s/", "/s%5c", 1), strings.Replace(good, "/s/", "/S/", 1), strings.Replace(good, "/1", "/01", 1),
		} {
			if a := c.get(t, path); a.err != nil || a.StatusCode != 404 {
				t.Errorf("%s: %s: %v %+v", c.name, path, a.err, a.Response)
			}
		}
	}
	if n := s.asks(good); n != 1 {
		t.Errorf("the parent was asked %d times", n)
	}
}

// holding is how many requests are held, whatever they came by.
func (s *serving) holding() int { return s.metric("holding") }

// metric is a counter or gauge without labels.
func (s *serving) metric(name string) int {
	families, err := s.reg.Gather()
	if err != nil {
		s.Fatal(err)
	}
	for _, f := range families {
		if m := f.GetMetric(); f.GetName() == "headwater_edge_"+name {
			return int(m[0].GetCounter().GetValue() + m[0].GetGauge().GetValue())
		}
	}
	return -1
}

func TestLimitsOfRequests(t *testing.T) {
	s := serveEdge(t, func(s *Server) { s.MaxHeaderBytes = 8 << 10 })
	x := s.secure()
	s.until("UDP is served", func() bool { return s.srv.altSvc.Load() != nil })
	bodies := 0
	for _, c := range x.speakers() {
		var fields []string
		for i := range 20 {
			fields = append(fields, "X"+strconv.Itoa(i), strings.Repeat("y", 1000))
		}
		if c.major == 2 {
			// Its client keeps to the limit by itself: one that does not is told.
			if status := x.statusByFrames(s.path("s"), fields[:20]...); status != "431" {
				t.Errorf("%s: a huge head: %q", c.name, status)
			}
		} else if a := c.get(t, s.path("s"), fields...); a.err != nil || a.StatusCode != 431 {
			t.Errorf("%s: a huge head: %v %+v", c.name, a.err, a.Response)
		}
		// A little body is read past, a large one refused.
		for range 2 {
			if a := c.ask(t, "GET", s.path("s"), strings.NewReader("a little")); a.err != nil || a.StatusCode != 200 {
				t.Errorf("%s: a little body: %v %+v", c.name, a.err, a.Response)
			}
		}
		if a := c.ask(t, "GET", s.path("s"), bytes.NewReader(make([]byte, 1<<20))); a.err != nil || a.StatusCode != 413 || !strings.Contains(a.text, "too-large") {
			t.Errorf("%s: a large body: %v %+v", c.name, a.err, a.Response)
		}
		if a := c.ask(t, "GET", s.path("s"), io.MultiReader(bytes.NewReader(make([]byte, 8<<10)))); a.err != nil || a.StatusCode != 413 {
			t.Errorf("%s: a body without length: %v %+v", c.name, a.err, a.Response)
		}
		bodies += 2
		if a := c.get(t, s.path("s")); a.err != nil || a.StatusCode != 200 {
			t.Errorf("%s: afterwards: %v %+v", c.name, a.err, a.Response)
		}
	}
	s.dropped(dropBody, bodies)
}

// Nobody is waited for without end, whatever he is slow with.
func TestSlowSenders(t *testing.T) {
	s := serveEdge(t, func(s *Server) { s.HeaderTimeout = 2 * time.Second })
	x := s.secure()
	s.until("UDP is served", func() bool { return s.srv.altSvc.Load() != nil })
	// Bodies.
	var all sync.WaitGroup
	for _, c := range x.speakers() {
		all.Go(func() {
			r, w := io.Pipe()
			defer w.Close()
			// The client sends nothing before the first byte.
			a := c.ask(t, "GET", s.path("s"), struct {
				io.Reader
				io.Closer
			}{io.MultiReader(strings.NewReader("x"), r), r})
			if a.err != nil || a.StatusCode != 408 {
				t.Errorf("%s: a slow body: %v %+v", c.name, a.err, a.Response)
			}
			if a := c.get(t, s.path("s")); a.err != nil || a.StatusCode != 200 {
				t.Errorf("%s: afterwards: %v %+v", c.name, a.err, a.Response)
			}
		})
	}
	// Heads.
	plain, silent := s.dial(), s.dial()
	plain.send("GET /t/e/v/1.m4s HTTP/1.1\r\nHost: ")
	secret := x.dialTLS("http/1.1")
	io.WriteString(secret, "GET /t/e/v/1.m4s HTTP/1.1\r\nHost: ")
	nc, err := net.Dial("tcp", x.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if resp, _ := plain.read(); resp.StatusCode != 408 {
		t.Errorf("a slow head: %d", resp.StatusCode)
	}
	plain.ended()
	if b, err := io.ReadAll(secret); !strings.HasPrefix(string(b), "HTTP/1.1 408 ") || err != nil {
		t.Errorf("a slow head over TLS: %q %v", b, err)
	}
	// And those who say nothing at all, to TCP or in TLS.
	silent.ended()
	if b, err := io.ReadAll(nc); len(b) > 0 || err != nil {
		t.Errorf("no handshake: %q %v", b, err)
	}
	all.Wait()
	s.dropped(dropBody, 4)
	s.dropped(dropHeader, 2)
	s.dropped(dropSilent, 1)
	s.dropped(dropHandshake, 1)
}

func TestLimitsOfConnections(t *testing.T) {
	for _, c := range []struct {
		reason string
		tune   func(*Server)
	}{
		{dropConns, func(s *Server) { s.MaxConns = 2 }},
		{dropAddress, func(s *Server) { s.MaxConnsPerAddress = 2 }},
	} {
		t.Run(c.reason, func(t *testing.T) {
			s := serveEdge(t, c.tune)
			x := s.secure()
			s.until("UDP is served", func() bool { return s.srv.altSvc.Load() != nil })
			held := s.dial()
			held.send(get(s.path("v")))
			s.until("one is held", func() bool { return s.holding() == 1 })
			other := x.dialTLS("http/1.1")
			// There is no room, whatever one speaks.
			for range 3 {
				// Also for one that sends before it listens.
				many := s.dial()
				many.send(get(s.path("s")))
				if resp, _ := many.read(); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !resp.Close {
					t.Errorf("one too many: %d %v", resp.StatusCode, resp.Header)
				}
				many.ended()
			}
			nc, err := net.Dial("tcp", x.addr)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(nc); len(b) > 0 {
				t.Errorf("one too many over TLS: %q, %v", b, err)
			}
			nc.Close()
			three := x.speakers()[3]
			var refused *quic.ApplicationError
			a := three.get(t, s.path("s"))
			if !errors.As(a.err, &refused) && !strings.Contains(errorText(a.err), "H3_EXCESSIVE_LOAD") {
				t.Errorf("one too many by HTTP/3: %v", a.err)
			}
			// (Clients of HTTP/3 may try twice.)
			if n := s.drops(c.reason); n < 5 || n > 6 {
				t.Errorf("%d dropped", n)
			}
			// Those inside go on, and leave room.
			s.free()
			if resp, _ := held.read(); resp.StatusCode != 200 {
				t.Errorf("the one that was held: %d", resp.StatusCode)
			}
			other.Close()
			s.until("there is room", func() bool { s.srv.mu.Lock(); defer s.srv.mu.Unlock(); return s.srv.total == 1 })
			if a := three.get(t, s.path("s")); a.err != nil || a.StatusCode != 200 {
				t.Errorf("with room: %v", a.err)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// One subscriber has a whole /64, and one IPv4 address however it is written.
func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"[2001:db8::1]:1", "[2001:db8::2:3:4:5]:2", true},
		{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
		{"[fe80::1%eth0]:1", "[fe80::2%eth1]:1", true},
		{"[::ffff:10.0.0.1]:1", "10.0.0.1:2", true},
		{"10.0.0.1:1", "10.0.0.2:1", false},
	} {
		a, b := addressOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.a))), addressOf(net.UDPAddrFromAddrPort(netip.MustParseAddrPort(c.b)))
		if (a == b) != c.same {
			t.Errorf("%s and %s: %v, %v", c.a, c.b, a, b)
		}
	}
}

// A hungryListener has no descriptors for a while.
type hungryListener struct {
	net.Listener
	mu   sync.Mutex // guards fail
	fail int
}

func (l *hungryListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	fail := l.fail > 0
	l.fail--
	l.mu.Unlock()
	if fail {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// Where the system has no more descriptors the loop waits, and goes on.
func TestOutOfDescriptors(t *testing.T) {
	s := serveEdge(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.srv.Serve(&hungryListener{Listener: l, fail: 4}) }()
	inside := s.dial()
	s.addr = l.Addr().String()
	outside := s.dial()
	outside.send(get(s.path("s")))
	inside.send(get(s.path("s")))
	for _, c := range []*client{inside, outside} {
		if resp, _ := c.read(); resp.StatusCode != 200 {
			t.Errorf("%d", resp.StatusCode)
		}
	}
	s.dropped(dropAccept, 4)
	s.srv.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// frames is a connection of HTTP/2 without a client, and the head of a request.
func (x *secure) frames(path string, header ...string) (net.Conn, *http2.Framer, []byte) {
	x.Helper()
	nc := x.dialTLS("h2")
	io.WriteString(nc, http2.ClientPreface)
	fr := http2.NewFramer(nc, nc)
	fr.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	list := append([]string{":method", "GET", ":scheme", "https", ":authority", "edge", ":path", path}, header...)
	for i := 0; i < len(list); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: strings.ToLower(list[i]), Value: list[i+1], Sensitive: true})
	}
	return nc, fr, block.Bytes()
}

// statusByFrames makes one request, and returns the status of its answer.
func (x *secure) statusByFrames(path string, header ...string) (status string) {
	x.Helper()
	nc, fr, block := x.frames(path, header...)
	defer nc.Close()
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true})
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *http2.GoAwayFrame:
			return f.ErrCode.String()
		}
	}
}

// A client that opens and resets requests as fast as it can (CVE-2023-44487)
// gets no more of them served at once than it may have open.
func TestRapidReset(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	s := serveEdge(t, func(s *Server) {
		s.MaxStreams = 10
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			defer func() { mu.Lock(); defer mu.Unlock(); now-- }()
			Handler(s.Edge).ServeHTTP(w, r)
		})
	})
	x := s.secure()
	nc, fr, block := x.frames(s.path("v"))
	done := make(chan error, 1)
	go func() {
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				done <- err
				return
			}
			if g, ok := f.(*http2.GoAwayFrame); ok && g.ErrCode == http2.ErrCodeEnhanceYourCalm {
				done <- nil
				return
			}
		}
	}()
	for i := range 5000 {
		id := uint32(2*i + 1)
		if fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: true, EndHeaders: true}) != nil ||
			fr.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			break // it has been shown the door
		}
	}
	if a := x.speakers()[2].get(t, s.path("s")); a.err != nil || a.StatusCode != 200 {
		t.Errorf("another viewer: %v", a.err)
	}
	nc.Close()
	t.Logf("how it ended for the client: %v", <-done)
	s.until("its requests end", func() bool { mu.Lock(); defer mu.Unlock(); return now == 0 })
	mu.Lock()
	defer mu.Unlock()
	if most > 11 { // and the other viewer
		t.Errorf("%d at once", most)
	}
	if n := s.asks(s.path("v")); n > 1 {
		t.Errorf("the parent was asked %d times", n)
	}
}

// A viewer who does not read is let go, whatever he came by.
func TestSlowReaders(t *testing.T) {
	s := serveEdge(t, func(s *Server) { s.WriteTimeout = 200 * time.Millisecond })
	big := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	s.mu.Lock()
	s.segment = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(big)))
		w.Header().Set("Cache-Control", "max-age=60")
		w.Write(big)
	}
	s.mu.Unlock()
	s.free()
	x := s.secure()
	s.until("UDP is served", func() bool { return s.srv.altSvc.Load() != nil })
	for i, c := range x.speakers() {
		req, err := http.NewRequest(http.MethodGet, c.base+s.path("s"), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		s.dropped(dropSlow, i+1)
		if n, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Errorf("%s: all %d bytes came", c.name, n)
		}
		resp.Body.Close()
	}
}
