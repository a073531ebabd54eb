package front

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"headwater/edge/exchange"
	"headwater/edge/front/record"
	"headwater/internal/memnet"
)

// A narrowSocket has what a viewer sent, and takes as much as there is room for.
type narrowSocket struct {
	in     []byte
	room   int
	out    []byte
	closed bool // for writing
	reads  int
}

func (s *narrowSocket) read(p []byte) (int, bool, error) {
	if len(s.in) == 0 {
		return 0, false, errWait
	}
	s.reads++
	n := copy(p, s.in)
	s.in = s.in[n:]
	return n, n == len(p), nil
}

func (s *narrowSocket) write(a, b []byte) (int, error) {
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	p := append(bytes.Clone(a), b...)
	n := min(len(p), s.room)
	s.out, s.room = append(s.out, p[:n]...), s.room-n
	return n, nil
}

func (s *narrowSocket) flush() (bool, error)        { return true, nil }
func (s *narrowSocket) closeWrite()                 { s.closed = true }
func (s *narrowSocket) close()                      { s.closed = true }
func (s *narrowSocket) watch(*loop, *conn) error    { return nil }
func (s *narrowSocket) handOver() (net.Conn, error) { return nil, io.EOF }

// A viewer2 is a viewer by HTTP/2 over TLS, on a loop of its own.
type viewer2 struct {
	testing.TB
	sock *narrowSocket
	c    *conn
	rec  *record.Conn
	fr   *http2.Framer // writes to sent
	sent bytes.Buffer
	blk  bytes.Buffer
	enc  *hpack.Encoder
}

func (s *serving) viewer2() *viewer2 {
	s.srv.init()
	return newViewer2(s.TB, s.srv)
}

func newViewer2(t testing.TB, srv *Server) *viewer2 {
	t.Helper()
	client, server := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	mine, err := record.New(tls.TLS_AES_128_GCM_SHA256, client, server)
	if err != nil {
		t.Fatal(err)
	}
	v := &viewer2{TB: t, sock: &narrowSocket{room: 1 << 20}}
	if v.rec, err = record.New(tls.TLS_AES_128_GCM_SHA256, server, client); err != nil {
		t.Fatal(err)
	}
	l := newLoop(srv, nil)
	seal := &sealed{socket: v.sock, rec: mine, burst: burstLeast}
	v.c = &conn{loop: l, sock: seal, secure: true, fresh: true}
	v.c.two = &mux{c: v.c, sock: seal}
	l.now = time.Now()
	l.count.Add(1)
	l.open(v.c)
	v.fr = http2.NewFramer(&v.sent, nil)
	v.enc = hpack.NewEncoder(&v.blk)
	v.sent.WriteString(http2.ClientPreface)
	v.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 24})
	v.fr.WriteWindowUpdate(0, 1<<24)
	return v
}

func (v *viewer2) ask(id uint32, method, path string, header ...string) {
	v.blk.Reset()
	list := append([]string{":method", method, ":scheme", "https", ":authority", "edge", ":path", path}, header...)
	for i := 0; i < len(list); i += 2 {
		v.enc.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1]})
	}
	v.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: v.blk.Bytes(), EndStream: true, EndHeaders: true})
}

// send has the loop see what was written.
func (v *viewer2) send() {
	v.sock.in = v.rec.Seal(v.sock.in, v.sent.Bytes(), nil)
	v.sent.Reset()
	v.c.happened(eventIn)
}

// body is what came of a stream, and whether that is all.
func (v *viewer2) body(id uint32) (body []byte, whole bool) {
	v.Helper()
	var plain bytes.Buffer
	for b := v.sock.out; ; {
		p, n, err := v.rec.Open(b)
		if err != nil {
			break
		}
		plain.Write(p)
		b = b[n:]
	}
	fr := http2.NewFramer(nil, &plain)
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return body, whole
		}
		if f, ok := f.(*http2.DataFrame); ok && f.StreamID == id {
			body, whole = append(body, f.Data()...), f.StreamEnded()
		}
	}
}

// Who reads slowly has all of his last answer before a connection of HTTP/2 ends.
func TestDrainingWaitsForWhatIsNotTaken(t *testing.T) {
	s := serveEdge(t)
	s.free()
	d := s.dial()
	d.send(get(s.path("s")))
	d.read()
	v := s.viewer2()
	v.send()
	s.srv.draining.Store(true)
	defer s.srv.draining.Store(false)
	v.sock.room = 1000
	v.ask(1, "GET", s.path("s"))
	v.send()
	for range 1000 {
		if v.c.state == muxed {
			v.sock.room = 5000
			v.c.happened(eventOut)
		}
	}
	if v.c.state == muxed {
		t.Error("it does not end")
	}
	if body, whole := v.body(1); !whole || string(body) != bodyOf(s.path("s")) {
		t.Errorf("%d bytes of %d, whole: %v", len(body), len(bodyOf(s.path("s"))), whole)
	}
}

// A handler whose stream was reset before it writes is told so, and ends.
func TestHandlersOfStreamsThatAreOverEnd(t *testing.T) {
	began, ended := make(chan struct{}), make(chan error, 1)
	s := serveEdge(t, func(s *Server) {
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(began)
			<-r.Context().Done()
			_, err := w.Write([]byte("nobody reads this"))
			ended <- err
		})
	})
	x := s.secure()
	_, fr, block := x.frames("/healthz")
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true})
	<-began
	fr.WriteRSTStream(1, http2.ErrCodeCancel)
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it was told that all is well")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the handler waits for ever")
	}
}

// Close does not wait for who writes to a viewer that does not read.
func TestSealedCloseDoesNotWaitForAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := memnet.Pipe()
		rec, err := record.New(tls.TLS_AES_128_GCM_SHA256, make([]byte, 32), make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		c := &sealedConn{Conn: a, rec: rec}
		wrote := make(chan error, 1)
		go func() { _, err := c.Write(make([]byte, 1<<20)); wrote <- err }()
		synctest.Wait()
		c.Close()
		if err := <-wrote; err == nil {
			t.Error("written to nobody")
		}
	})
}

// One who asks without end waits for the others of his loop.
func TestFloodsOfRequestsTakeTurns(t *testing.T) {
	s := serveEdge(t)
	d := s.dial()
	d.send(get(s.path("s")))
	d.read()
	const most = 1 << 20 // bytes that may be read in one turn
	sock, one := s.lone("/t/e/s/1000000.m4s")
	flood := &narrowSocket{in: bytes.Repeat(sock.request, 16<<20/len(sock.request)), room: 1 << 40}
	one.sock = flood
	all := len(flood.in)
	one.happened(eventIn)
	if n := all - len(flood.in); n > most {
		t.Errorf("HTTP/1.1: %d bytes of requests in one turn", n)
	}
	v := s.viewer2()
	v.send()
	for i := range 100_000 {
		v.ask(uint32(2*i+1), "HEAD", "/t/e/s/1000000.m4s")
	}
	v.sock.room = 1 << 40
	all = v.sent.Len()
	v.sock.in = v.rec.Seal(v.sock.in, v.sent.Bytes(), nil)
	v.c.happened(eventIn)
	if n := all - len(v.sock.in); n > most {
		t.Errorf("HTTP/2: %d bytes of requests in one turn", n)
	}
	// In the end all are answered.
	for range 1000 {
		one.happened(eventOut)
		v.c.happened(eventOut)
	}
	if len(flood.in)+len(v.sock.in) > 0 {
		t.Errorf("%d and %d bytes are not read", len(flood.in), len(v.sock.in))
	}
}

// A turn is one turn, however often the system tells of a socket meanwhile.
func TestOneTurnAtATime(t *testing.T) {
	s := serveEdge(t)
	body, rest := s.large()
	close(rest)
	d := s.dial()
	d.send(get(s.path("s")))
	d.read()
	sock, c := s.lone(s.path("s"))
	c.sock = &narrowSocket{in: sock.request, room: len(body) * 2}
	c.happened(eventIn)
	for range 3 {
		c.happened(eventOut) // beside the turn that it waits for
	}
	if n := len(c.loop.again); c.state != blocked || n != 1 {
		t.Errorf("state %d, %d turns", c.state, n)
	}
}

// A faulty request panics at its nth step.
type faulty struct {
	exchange.Request
	walks, at, left, parked *int
}

func (f faulty) Begin(exchange.Asked)           {}
func (f faulty) Keep() exchange.Request         { return f }
func (f faulty) Leave()                         { *f.left++ }
func (f faulty) Park(exchange.Parked, int) bool { *f.parked++; return true }
func (f faulty) Unpark(exchange.Parked)         {}
func (f faulty) Changed(int) <-chan struct{}    { return nil }
func (f faulty) Walk(exchange.Answer) exchange.Pause {
	if *f.walks++; *f.walks == *f.at {
		panic("a fault")
	}
	return exchange.Pause{Why: exchange.Waits, On: f}
}

type faultyEdge struct{ faulty }

func (e faultyEdge) Request() exchange.Request                         { return e.faulty }
func (e faultyEdge) ServeNode(http.ResponseWriter, *http.Request) bool { return false }
func (e faultyEdge) OfNode(string) bool                                { return false }
func (e faultyEdge) Watch(func() exchange.Load)                        {}

// A request that panics gives back what it had, at once or when it has waited.
func TestAPanicFreesItsRequest(t *testing.T) {
	for at := 1; at <= 2; at++ {
		for _, two := range []bool{false, true} {
			f := faulty{walks: new(int), at: &at, left: new(int), parked: new(int)}
			srv := &Server{Edge: faultyEdge{f}}
			srv.init()
			var c *conn
			wake := func() { c.awoken() }
			if two {
				v := newViewer2(t, srv)
				c = v.c
				v.ask(1, "GET", "/t/e/s/1.m4s")
				v.send()
				wake = func() {
					for _, s := range v.c.two.h.Streams() {
						s.Answer.(*stream).awoken()
						break
					}
				}
			} else {
				l := newLoop(srv, nil)
				c = &conn{loop: l, sock: &narrowSocket{in: []byte("GET /t/e/s/1.m4s HTTP/1.1\r\nHost: e\r\n\r\n"), room: 1000}}
				l.open(c)
				c.happened(eventIn)
			}
			if at == 2 {
				wake()
			}
			if c.state != ended || *f.left != 1 {
				t.Errorf("step %d, HTTP/2 %v: state %d, left %d times", at, two, c.state, *f.left)
			}
			srv.Close()
		}
	}
}
