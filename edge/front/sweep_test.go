package front

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"headwater/edge/exchange"
)

// pass lets time pass for a viewer, and has his loop look for what has been still.
func (v *viewer2) pass(d time.Duration) {
	v.c.loop.now = v.c.loop.now.Add(d)
	v.c.loop.sweep()
}

// sendTo sends so many bytes of what was written.
func (v *viewer2) sendTo(n int) {
	v.sock.in = v.rec.Seal(v.sock.in, v.sent.Next(n), nil)
	v.c.happened(eventIn)
}

// One whose frames always come in pieces is not slow, as long as they come whole in time;
// a header block in frames is one, however they come.
func TestFramesInPieces(t *testing.T) {
	s := serveEdge(t)
	v := s.viewer2()
	v.send()
	for i := range 20 {
		v.ask(uint32(2*i+1), "HEAD", "/t/e/s/1000000.m4s")
		v.sendTo(v.sent.Len() - 3)
		v.pass(s.srv.HeaderTimeout / 2)
	}
	if v.c.state != muxed || s.drops(dropHeader) != 0 {
		t.Errorf("state %d, %d dropped", v.c.state, s.drops(dropHeader))
	}
	v.pass(s.srv.HeaderTimeout)
	if v.c.state != ended || s.drops(dropHeader) != 1 {
		t.Errorf("a frame that does not come whole: state %d, %d dropped", v.c.state, s.drops(dropHeader))
	}
	v = s.viewer2()
	v.send()
	v.ask(1, "HEAD", "/t/e/s/1000000.m4s")
	v.sent.Reset()
	v.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: v.blk.Bytes()[:1], EndStream: true})
	for i := 1; i < 4; i++ {
		v.send()
		v.pass(s.srv.HeaderTimeout / 2)
		v.fr.WriteContinuation(1, false, v.blk.Bytes()[i:i+1])
	}
	if v.c.state != ended || s.drops(dropHeader) != 2 {
		t.Errorf("a head that does not come whole: state %d, %d dropped", v.c.state, s.drops(dropHeader))
	}
}

// Who does not read the end of his last answer is as slow as one who does not read more
// of it.
func TestTheEndOfTheLastAnswerIsReadInTime(t *testing.T) {
	s := serveEdge(t)
	s.free()
	d := s.dial()
	d.send(get(s.path("s")))
	d.read()
	v := s.viewer2()
	v.send()
	v.sock.room = len(bodyOf(s.path("s"))) // not the head
	v.ask(1, "GET", s.path("s"))
	v.send()
	if n := len(v.c.two.h.Streams()); n != 0 || !v.c.two.sock.full() {
		t.Fatalf("%d streams, full %v", n, v.c.two.sock.full())
	}
	v.pass(s.srv.WriteTimeout - time.Second)
	if v.c.state != muxed {
		t.Error("let go too early")
	}
	v.pass(time.Second)
	if v.c.state != ended || s.drops(dropSlow) != 1 {
		t.Errorf("state %d, %d dropped", v.c.state, s.drops(dropSlow))
	}
}

// A viewer by HTTP/2 who waits for more room, in an answer that a handler makes, has not
// been slow since the beginning of time.
func TestHandlersAnswersMayWaitForTheirViewers(t *testing.T) {
	text := strings.Repeat("x", 100_000)
	s := serveEdge(t, func(s *Server) {
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
	})
	x := s.secure()
	_, fr, block := x.frames("/healthz")
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true})
	s.until("it waits for its viewer", func() bool {
		_, in := s.state(func(c *conn) bool {
			if c.two == nil || len(c.two.h.Streams()) == 0 {
				return false
			}
			st, ok := c.two.h.Streams()[0].Answer.(*stream)
			return ok && st.state == blocked
		})
		return in == 1
	})
	for _, l := range s.srv.all() {
		l.call(func() { l.now = time.Now(); l.sweep() })
	}
	fr.WriteWindowUpdate(0, 1<<20)
	fr.WriteWindowUpdate(1, 1<<20)
	var got bytes.Buffer
	for got.Len() < len(text) {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			got.Write(f.Data())
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			t.Fatalf("after %d bytes: %v", got.Len(), f)
		}
	}
	if n := s.drops(dropSlow); n != 0 {
		t.Errorf("%d dropped", n)
	}
}

// A hopeless request waits until a time that is over, and panics when it is to go on.
type hopeless struct{ faulty }

func (f hopeless) Keep() exchange.Request { return f }
func (f hopeless) Leave()                 { panic("a fault") }
func (f hopeless) Unpark(exchange.Parked) { panic("a fault") }
func (f hopeless) Walk(exchange.Answer) exchange.Pause {
	return exchange.Pause{Why: exchange.Waits, On: f, Until: time.Unix(1, 0)}
}

type failingEdge struct{ faultyEdge }

func (e failingEdge) Request() exchange.Request { return hopeless{e.faulty} }

// What fails when a loop looks for what has been still ends its connection, and no other.
func TestAPanicInASweepEndsOneConnection(t *testing.T) {
	srv := &Server{Edge: failingEdge{faultyEdge{faulty{walks: new(int), left: new(int), parked: new(int)}}}}
	srv.init()
	defer srv.Close()
	for name, look := range map[string]func(*loop){"sweep": (*loop).sweep, "kill": func(l *loop) { l.each((*conn).kill) }} {
		l := newLoop(srv, nil)
		l.now = time.Now()
		request := []byte("GET /t/e/s/1.m4s HTTP/1.1\r\nHost: e\r\n\r\n")
		one := &conn{loop: l, sock: &narrowSocket{in: request, room: 1000}}
		two := &conn{loop: l, sock: &narrowSocket{in: request, room: 1000}}
		for _, c := range []*conn{one, two} {
			l.open(c)
			if c.happened(eventIn); c.state != waiting {
				t.Fatalf("state %d", c.state)
			}
		}
		if look(l); one.state != ended || two.state != ended {
			t.Errorf("%s: states %d and %d", name, one.state, two.state)
		}
	}
}
