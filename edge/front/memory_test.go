package front

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What a viewer costs whose request is held, as the heap says it. His own side keeps
// a descriptor and nothing else.
func TestHeldViewersAreSmall(t *testing.T) {
	s := serveEdge(t)
	x := s.secure()
	d := s.dial()
	d.send(get(s.path("s")))
	d.read() // the event is known
	const n = 200
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	heap := func() int {
		runtime.GC()
		runtime.GC() // what finalizers let go of
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc + m.StackInuse)
	}
	hold := func(ask func(nc net.Conn)) int {
		held := s.holding()
		one := func() {
			addr := x.addr
			if ask == nil {
				addr = s.addr
			}
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			if ask == nil {
				io.WriteString(nc, get(s.path("v")))
			} else {
				ask(nc)
			}
			f, err := nc.(*net.TCPConn).File()
			if err != nil {
				t.Fatal(err)
			}
			nc.Close()
			files = append(files, f)
		}
		for range 20 {
			one()
		}
		s.until("they are held", func() bool { return s.holding() == held+20 })
		before := heap()
		for range n {
			one()
		}
		s.until("they are held", func() bool { return s.holding() == held+20+n })
		return (heap() - before) / n
	}
	secure := func(proto string, ask func(c *tls.Conn)) func(net.Conn) {
		return func(nc net.Conn) {
			c := tls.Client(nc, &tls.Config{RootCAs: x.pool, ServerName: "127.0.0.1", NextProtos: []string{proto}})
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			ask(c)
		}
	}
	for _, c := range []struct {
		name string
		ask  func(net.Conn)
		most int
	}{
		{"plain", nil, 2500},
		{"TLS", secure("http/1.1", func(c *tls.Conn) { io.WriteString(c, get(s.path("v"))) }), 12_000},
		{"HTTP/2", secure("h2", func(c *tls.Conn) {
			io.WriteString(c, http2.ClientPreface)
			fr := http2.NewFramer(c, c)
			fr.WriteSettings()
			var b headerBlock
			enc := hpack.NewEncoder(&b)
			for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "edge"}, {":path", s.path("v")}, {"user-agent", "a television of some kind/1.2.3"}, {"origin", "https://player.example"}} {
				enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
			}
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b, EndStream: true, EndHeaders: true})
		}), 12_000},
	} {
		each := hold(c.ask)
		if t.Logf("%s: %d bytes each", c.name, each); each > c.most {
			t.Errorf("%s: %d bytes each, want at most %d", c.name, each, c.most)
		}
	}
}

type headerBlock []byte

func (b *headerBlock) Write(p []byte) (int, error) { *b = append(*b, p...); return len(p), nil }

// Heads that do not come whole are counted for as long as they are kept, and refused
// where there is no memory for them: short ones never.
func TestHeadsThatDoNotComeAreCounted(t *testing.T) {
	var room atomic.Bool
	room.Store(true)
	s := serveEdge(t, func(s *Server) { s.Room = func(int64) bool { return room.Load() } })
	s.free()
	one := s.dial()
	one.send(get(s.path("s")))
	one.read() // the event is known
	begun := strings.TrimSuffix(get(s.path("s"), "A: "+strings.Repeat("a", 3000)), "\r\n")
	one.send(begun)
	s.until("it is counted", func() bool { return s.srv.Heads() == int64(len(begun)) })
	one.send("\r\n")
	if a, _ := one.read(); a.StatusCode != 200 || s.srv.Heads() != 0 {
		t.Errorf("%d, and %d bytes are counted", a.StatusCode, s.srv.Heads())
	}
	room.Store(false)
	one.send("GET /t/e")
	s.until("a short one is kept", func() bool { return s.srv.Heads() == int64(len("GET /t/e")) })
	one.Close()
	two := s.dial()
	two.send(begun)
	if a, _ := two.read(); a.StatusCode != 503 {
		t.Errorf("%d", a.StatusCode)
	}
	s.until("nothing is counted", func() bool { return s.srv.Heads() == 0 })
	s.dropped("memory", 1)
}
