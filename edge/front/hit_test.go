package front

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"headwater/edge/exchange"
	"headwater/live"
)

// A tirelessSocket asks for the same again and again, and takes all.
type tirelessSocket struct {
	request []byte
	left    int // requests
	took    int64
	last    []byte // what was written last, of the head
}

func (s *tirelessSocket) read(p []byte) (int, bool, error) {
	if s.left == 0 {
		return 0, false, errWait
	}
	s.left--
	return copy(p, s.request), false, nil
}

func (s *tirelessSocket) flush() (bool, error) { return true, nil }

func (s *tirelessSocket) write(a, b []byte) (int, error) {
	s.last = append(s.last[:0], a...)
	s.took += int64(len(a) + len(b))
	return len(a) + len(b), nil
}

func (s *tirelessSocket) closeWrite()                 {}
func (s *tirelessSocket) close()                      {}
func (s *tirelessSocket) watch(*loop, *conn) error    { return nil }
func (s *tirelessSocket) handOver() (net.Conn, error) { return nil, io.EOF }

// tireless makes a connection on a loop of its own that asks for a path of s. It
// returns what answers so many requests.
func (s *serving) tireless(path string) (*tirelessSocket, func(n int)) {
	s.Helper()
	sock, c := s.lone(path)
	l := c.loop
	return sock, func(n int) {
		sock.left = n
		l.now = time.Now()
		for sock.left > 0 {
			if c.happened(eventIn); c.state != idle {
				s.Fatalf("%s: state %d", path, c.state)
			}
		}
	}
}

// lone makes a connection on a loop of its own that asks for a path of s.
func (s *serving) lone(path string) (*tirelessSocket, *conn) {
	sock := &tirelessSocket{request: []byte("GET " + path + " HTTP/1.1\r\nHost: edge.example:8080\r\nUser-Agent: player/1.2 (a television)\r\nAccept: */*\r\nAccept-Encoding: identity\r\nOrigin: https://player.example\r\nReferer: https://player.example/\r\n\r\n")}
	s.srv.init()
	l := newLoop(s.srv, nil)
	c := &conn{loop: l, sock: sock}
	l.now = time.Now()
	l.count.Add(1)
	l.open(c)
	return sock, c
}

// Who asked and left before the loop looked does not wait for a segment.
func TestWhoHasLeftDoesNotWait(t *testing.T) {
	s := serveEdge(t)
	d := s.dial()
	d.send(get(s.path("s")))
	d.read() // the event is known
	sock, c := s.lone(s.path("v"))
	sock.left = 1
	c.happened(eventIn | eventGone)
	if c.state != ended || s.holding() != 0 {
		t.Errorf("state %d, %d held", c.state, s.holding())
	}
}

// What wakes a request that has gone on, or a connection that has ended, wakes nobody.
func TestLateWakesAreNothing(t *testing.T) {
	s := serveEdge(t)
	d := s.dial()
	d.send(get(s.path("s")))
	d.read()
	sock, c := s.lone(s.path("v"))
	sock.left = 1
	c.happened(eventIn)
	on := c.waitsFor
	if c.state != waiting || on == nil {
		t.Fatalf("state %d", c.state)
	}
	if c.awoken(); c.state != waiting || c.waitsFor != on {
		t.Errorf("awoken for nothing: state %d", c.state)
	}
	if c.happened(eventGone); c.state != ended {
		t.Fatalf("it left: state %d", c.state)
	}
	if c.awoken(); c.state != ended || sock.took != 0 || len(c.loop.free) != 1 {
		t.Errorf("awoken when it had left: state %d, %d bytes", c.state, sock.took)
	}
}

// hits are the ways that crowds go, by what is asked for.
func (s *serving) hits() map[string]string {
	return map[string]string{
		"hit": s.path("s"), "early": "/t/e/s/1000000.m4s", "never": "/t/e/s/9007199254740992.m4s",
		"no rendition": "/t/e/nothing/1.m4s", "no event": "/t/none/v/1.m4s", "no tenant": "/none/e/v/1.m4s",
		"encoded": "/t/e/s/%31.m4s", "no name": "/T/e/s/1.m4s", "not a number": "/t/e/s/0123456789012345678.m4s", "no file": "/favicon.ico",
	}
}

// warm has the edge fill the object of a hit, and be told which names there are.
func (s *serving) warm() {
	c := s.dial()
	for _, path := range []string{s.path("s"), "/t/another/v/1.m4s", "/another/e/v/1.m4s"} {
		c.send(get(path))
		c.read()
	}
}

// A hit takes no memory, nor does a refusal by the timeline or of a name.
func TestHitsDoNotAllocate(t *testing.T) {
	s := serveEdge(t)
	s.free()
	s.warm()
	for name, path := range s.hits() {
		sock, ask := s.tireless(path)
		ask(10)
		want := "404"
		if name == "hit" {
			want = "200"
		}
		if !strings.HasPrefix(string(sock.last), "HTTP/1.1 "+want) {
			t.Fatalf("%s: %.300s", name, sock.last)
		}
		if n := testing.AllocsPerRun(100, func() { ask(1) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// pressed has the edge be told that viewers wait long, and waits until it sheds. What
// it then refuses of the DVR window comes back.
func (s *serving) pressed() (refused string) {
	s.Helper()
	s.ed.Watch(func() exchange.Load { return exchange.Load{Late: time.Second} })
	s.until("something is shed", func() bool {
		resp, err := http.Get("http://" + s.addr + "/t/e/s/" + live.SegmentName(s.number-20))
		if err != nil {
			s.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp.StatusCode == 503
	})
	return "/t/e/s/" + live.SegmentName(s.number-20)
}

// Who makes room for others costs no memory, and who is live gets what there is.
func TestSheddingDoesNotAllocate(t *testing.T) {
	s := serveEdge(t)
	s.free()
	s.warm()
	for path, want := range map[string]string{s.pressed(): "503", s.path("s"): "200"} {
		sock, ask := s.tireless(path)
		ask(10)
		if !strings.HasPrefix(string(sock.last), "HTTP/1.1 "+want) {
			t.Fatalf("%s: %.300s", path, sock.last)
		}
		if n := testing.AllocsPerRun(100, func() { ask(1) }); n > 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

// BenchmarkWalk is all that an edge does for a hit but the system calls.
func BenchmarkWalk(outer *testing.B) {
	var s *serving
	for _, name := range []string{"hit", "early", "never", "no rendition", "no event", "encoded"} {
		outer.Run(name, func(b *testing.B) {
			if s == nil {
				s = serveEdge(outer)
				s.free()
				resp, err := http.Get("http://" + s.addr + s.path("s"))
				if err != nil {
					b.Fatal(err)
				}
				resp.Body.Close()
			}
			sock, ask := s.tireless(s.hits()[name])
			ask(1)
			b.ReportAllocs()
			b.ResetTimer()
			ask(b.N)
			b.ReportMetric(float64(len(sock.last)), "head-bytes")
			if testing.Verbose() {
				fmt.Printf("%s", sock.last)
			}
		})
	}
}
