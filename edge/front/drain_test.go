package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"headwater/internal/selfsigned"
	"headwater/listen"
)

// However one came, what is held is answered, and then it is over.
func TestShutdownByEveryProtocol(t *testing.T) {
	s := serveEdge(t)
	x := s.secure()
	s.until("UDP is served", func() bool { return s.srv.altSvc.Load() != nil })
	speakers := x.speakers()
	answers := make([]outcome, len(speakers))
	var all sync.WaitGroup
	for i, c := range speakers {
		all.Go(func() { answers[i] = c.get(t, s.path("v")) })
	}
	s.until("all are held", func() bool { return s.holding() == len(speakers) })
	done := make(chan error, 1)
	go func() { done <- s.srv.Shutdown(context.Background()) }()
	s.until("it does not listen", func() bool {
		nc, err := net.Dial("tcp", s.addr)
		if err == nil {
			nc.Close()
		}
		return err != nil
	})
	s.until("idle connections end", func() bool { return s.srv.closing.Load() })
	select {
	case err := <-done:
		t.Fatalf("it did not wait for what is held: %v", err)
	default:
	}
	s.free()
	all.Wait()
	for i, c := range speakers {
		a := answers[i]
		if a.err != nil || a.StatusCode != 200 || a.text != bodyOf(s.path("v")) {
			t.Fatalf("%s: %v %+v", c.name, a.err, a.Response)
		}
		if c.major == 1 && !a.Close {
			t.Errorf("%s: the connection is said to go on", c.name)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := s.drops(dropCut); n != 0 {
		t.Errorf("%d cut off", n)
	}
}

// A request that is on its way on a connection that is kept alive, or was just
// opened, when draining begins, is answered.
func TestShutdownLosesNoRequest(t *testing.T) {
	s := serveEdge(t, func(s *Server) { s.Linger = time.Minute })
	x := s.secure()
	used, fresh := s.dial(), s.dial()
	used.send(get(s.path("s")))
	used.read()
	one := x.dialTLS("http/1.1")
	secret := &client{Conn: one, s: s, r: bufio.NewReader(one)}
	secret.send(get(s.path("s")))
	if resp, _ := secret.read(); resp.Close {
		t.Error("closed too early")
	}
	two := x.speakers()[2]
	two.get(t, s.path("s"))
	s.until("all are there", func() bool { s.srv.mu.Lock(); defer s.srv.mu.Unlock(); return s.srv.total == 4 })
	done := make(chan error, 1)
	go func() { done <- s.srv.Shutdown(context.Background()) }()
	s.until("it drains", func() bool { return s.srv.draining.Load() })
	for _, c := range []*client{used, fresh, secret} {
		c.send(get(s.path("s")))
		if resp, body := c.read(); resp.StatusCode != 200 || body != bodyOf(s.path("s")) || !resp.Close {
			t.Errorf("%d, %d bytes, close %v", resp.StatusCode, len(body), resp.Close)
		}
		c.ended()
	}
	if a := two.get(t, s.path("s")); a.err != nil || a.StatusCode != 200 {
		t.Errorf("HTTP/2: %v", a.err)
	}
	two.RoundTripper.(*http.Transport).CloseIdleConnections()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What does not end in time is cut off, and counted.
func TestShutdownCutsOff(t *testing.T) {
	s := serveEdge(t)
	x := s.secure()
	s.until("UDP is served", func() bool { return s.srv.altSvc.Load() != nil })
	var all sync.WaitGroup
	speakers := x.speakers()
	for _, c := range speakers {
		all.Go(func() {
			if a := c.get(t, s.path("v")); a.err == nil {
				t.Errorf("%s: %d", c.name, a.StatusCode)
			}
		})
	}
	s.until("all are held", func() bool { return s.holding() == len(speakers) })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.srv.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	all.Wait()
	if n := s.drops(dropCut); n < 1 {
		t.Errorf("%d cut off", n)
	}
}

// Two servers one after the other share a UDP socket: what is held by the old
// one it answers, on the connections it has, and new ones are the new one's.
func TestHTTP3HandOver(t *testing.T) {
	s := serveEdge(t)
	cert, pool := selfsigned.New()
	x := &secure{serving: s, pool: pool}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}}
	path := filepath.Join(t.TempDir(), "s")
	quiet := slog.New(slog.DiscardHandler)
	open := func() *listen.Sockets {
		socks, err := listen.Open(t.Context(), path, quiet, func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { socks.Close() })
		return socks
	}
	var serving sync.WaitGroup
	serve := func(srv *Server, socks *listen.Sockets, addr string) string {
		udp, err := socks.ListenPacket(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := socks.Ready(); err != nil {
			t.Fatal(err)
		}
		serving.Go(func() {
			if err := srv.ServeHTTP3(udp, cfg); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
		return udp.LocalAddr().String()
	}
	mark := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Server", name)
			w.WriteHeader(http.StatusOK)
			if strings.HasPrefix(r.URL.Path, "/held") {
				http.NewResponseController(w).Flush()
				select {
				case <-s.release:
				case <-r.Context().Done():
				}
			}
			io.WriteString(w, strings.Repeat(name, 100_000))
		})
	}
	one, two := &Server{Edge: s.ed, Handler: mark("1")}, &Server{Edge: s.ed, Handler: mark("2")}
	first := open()
	x.addr = serve(one, first, "127.0.0.1:0")
	speak := func() speaker {
		tr := &http3.Transport{TLSClientConfig: x.tls()}
		t.Cleanup(func() { tr.Close() })
		return speaker{"HTTP/3", "https://" + x.addr, 3, tr}
	}
	old := speak()
	var held outcome
	var all sync.WaitGroup
	all.Go(func() { held = old.get(t, "/held") })
	s.until("one is held", func() bool { one.mu.Lock(); defer one.mu.Unlock(); return one.total == 1 })
	if a := old.get(t, "/"); a.err != nil || a.Header.Get("X-Server") != "1" {
		t.Fatalf("%v", a.err)
	}
	second := open()
	serve(two, second, x.addr)
	<-first.Taken()
	if a := speak().get(t, "/"); a.err != nil || a.Header.Get("X-Server") != "2" || a.text != strings.Repeat("2", 100_000) {
		t.Errorf("a new connection: %v", a.err)
	}
	if a := old.get(t, "/"); a.err != nil || a.Header.Get("X-Server") != "1" || a.text != strings.Repeat("1", 100_000) {
		t.Errorf("an old connection: %v", a.err)
	}
	down := make(chan error, 1)
	go func() { down <- one.Shutdown(context.Background()) }()
	s.until("it drains", func() bool { return one.draining.Load() })
	s.free()
	all.Wait()
	if held.err != nil || held.text != strings.Repeat("1", 100_000) {
		t.Errorf("what was held: %v", held.err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	if a := old.get(t, "/"); a.err != nil || a.Header.Get("X-Server") != "2" {
		t.Errorf("the old viewer, afterwards: %v", a.err)
	}
	two.Close()
	serving.Wait()
}
