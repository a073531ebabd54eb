package front

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// large has the parent of s answer with a body that no socket takes at once,
// the second half of it when rest closes. Until then a byte comes now and then: of
// whom nothing comes an edge takes for a parent that stalls.
func (s *serving) large() (body []byte, rest chan struct{}) {
	body, rest = bytes.Repeat([]byte("0123456789abcdef"), 1<<20), make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segment = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Header().Set("Cache-Control", "max-age=60")
		w.Write(body[:len(body)/2])
		sent, held := len(body)/2, true
		for held {
			w.(http.Flusher).Flush()
			select {
			case <-rest:
				held = false
			case <-time.After(100 * time.Millisecond):
				w.Write(body[sent : sent+1])
				sent++
			}
		}
		w.Write(body[sent:])
	}
	s.free()
	return body, rest
}

// TestTransferWaitsWithoutAGoroutine: for a viewer who does not read, and for
// a body that is still coming.
func TestTransferWaitsWithoutAGoroutine(t *testing.T) {
	s := serveEdge(t, func(s *Server) { s.WriteTimeout = time.Hour }) // viewers read one after the other, however long that takes
	body, rest := s.large()
	more := sync.OnceFunc(func() { close(rest) })
	t.Cleanup(more) // also where the test ends early: the parent waits for it
	const n = 40
	before := runtime.NumGoroutine()
	clients := make([]*client, n)
	for i := range clients {
		clients[i] = s.dial()
		clients[i].send(get(s.path("v")) + get("/t/e/s/1000000.m4s"))
	}
	s.until("all wait for their viewers", func() bool { _, in := s.state(stuckAt); return in == n })
	s.until("no goroutine is left to them", func() bool { return runtime.NumGoroutine() < before+20 })
	answers := make([]*http.Response, n)
	for i, c := range clients[1:] {
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, resp.Body, int64(len(body)/2)); err != nil {
			t.Fatal(err)
		}
		answers[i] = resp
	}
	s.until("those who read wait for more", func() bool { _, in := s.state(waits); return in == n-1 })
	s.until("again no goroutine", func() bool { return runtime.NumGoroutine() < before+20 })
	more()
	for i := range clients[1:] {
		if left, err := io.ReadAll(answers[i].Body); err != nil || !bytes.Equal(left, body[len(body)/2:]) {
			t.Errorf("viewer %d: %d bytes, %v", i, len(left), err)
		}
	}
	// The first reads all of it only now, and then the next answer.
	if _, got := clients[0].read(); got != string(body) {
		t.Errorf("%d bytes", len(got))
	}
	if resp, _ := clients[0].read(); resp.StatusCode != 404 {
		t.Errorf("the next request: %d", resp.StatusCode)
	}
}

// TestTransferLetsGoOfWhoDoesNotRead, and gives back what they held.
func TestTransferLetsGoOfWhoDoesNotRead(t *testing.T) {
	s := serveEdge(t)
	_, rest := s.large()
	close(rest)
	c := s.dial()
	c.send(get(s.path("v")))
	s.until("it waits for its viewer", func() bool { _, in := s.state(stuckAt); return in == 1 })
	sweep := func(at time.Time) {
		for _, l := range s.srv.all() {
			l.call(func() {
				l.now = at
				l.sweep()
			})
		}
	}
	sweep(time.Now().Add(s.srv.WriteTimeout - time.Minute/10)) // it has begun just now
	if all, _ := s.state(stuckAt); all != 1 {
		t.Fatal("let go too early")
	}
	sweep(time.Now().Add(s.srv.WriteTimeout + time.Second))
	if all, _ := s.state(stuckAt); all != 0 {
		t.Error("it is still there")
	}
	if left := s.metric("clients_left_total"); left != 1 {
		t.Errorf("%d have left", left)
	}
}

// TestTransferOfABodyThatBreaksOff: the connection breaks, nothing looks complete.
func TestTransferOfABodyThatBreaksOff(t *testing.T) {
	s := serveEdge(t)
	body, _ := s.large()
	asked := 0
	s.mu.Lock()
	s.segment = func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked > 1 {
			w.WriteHeader(http.StatusNotFound) // no more of it is to be had
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Header().Set("ETag", `"x"`)
		w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler)
	}
	s.mu.Unlock()
	c := s.dial()
	c.send(get(s.path("v")))
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err == nil || n >= int64(len(body)) {
		t.Errorf("%d bytes of %d, %v", n, len(body), err)
	}
}

// TestTransferHeads: the head that a crowd shares is that of every viewer, with
// what is news since.
func TestTransferHeads(t *testing.T) {
	s := serveEdge(t)
	var edge atomic.Int64
	s.mu.Lock()
	s.segment = func(w http.ResponseWriter, r *http.Request) {
		if n := edge.Load(); n > 0 {
			w.Header().Set("Live-Edge", strconv.FormatInt(n, 10))
		}
		serveBody(w, r)
	}
	s.mu.Unlock()
	s.free()
	c := s.dial()
	for i := range 50 {
		c.send(get(s.path("s")))
		resp, body := c.read()
		if body != bodyOf(s.path("s")) || resp.Header.Get("Age") != "0" || len(resp.Header["Server-Timing"]) != 1 || len(resp.Header["Cache-Status"]) != 1 {
			t.Fatalf("answer %d: %v", i, resp.Header)
		}
		if i > 0 && !strings.HasPrefix(resp.Header.Get("Server-Timing"), "hit;dur=") {
			t.Fatalf("answer %d: %v", i, resp.Header)
		}
		want := strconv.Itoa(100 + i)
		edge.Store(int64(100 + i))
		c.send(get("/t/e/s/" + want + ".m4s"))
		c.read()
		c.send(get(s.path("s")))
		if resp, _ := c.read(); resp.Header.Get("Live-Edge") != want {
			t.Fatalf("Live-Edge %v, want %v", resp.Header["Live-Edge"], want)
		}
	}
}

// TestTransferEndsWithALastAnswerWhole: a viewer that goes on sending has the
// whole of the answer after which the connection ends.
func TestTransferEndsWithALastAnswerWhole(t *testing.T) {
	s := serveEdge(t)
	body, rest := s.large()
	close(rest)
	c := s.dial()
	c.send(get(s.path("v"), "Connection: close"))
	s.until("it waits for its viewer", func() bool { _, in := s.state(stuckAt); return in == 1 })
	c.send(strings.Repeat(get(s.path("s")), 100)) // nobody will read that
	if resp, got := c.read(); got != string(body) || !resp.Close {
		t.Errorf("%d bytes of %d, close %v", len(got), len(body), resp.Close)
	}
	s.until("it is gone", func() bool { all, _ := s.state(isIdle); return all == 0 })
}

// The last answer on a connection comes whole although the viewer has sent what
// nobody reads: to close at once would be a reset, which takes back what is on
// its way.
func TestLastAnswerIsNotTakenBack(t *testing.T) {
	s := serveEdge(t)
	body, rest := s.large()
	close(rest)
	c := s.dial()
	c.Conn.(*net.TCPConn).SetReadBuffer(1 << 20) // some of it is always on its way
	c.send(get(s.path("v"), "Connection: close"))
	s.until("it waits for its viewer", func() bool { _, in := s.state(stuckAt); return in == 1 })
	c.send(strings.Repeat("x", 1000)) // nobody will read that
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	parted := func(c *conn) bool { return c.state == parting }
	const piece = 16 << 10
	for ; read < len(body); read += piece {
		if all, in := s.state(parted); all == 0 || in == 1 {
			break // all of it has been written
		}
		if _, err := io.CopyN(io.Discard, resp.Body, piece); err != nil {
			t.Fatal(err)
		}
	}
	if read == len(body) {
		t.Fatal("all of it was read before all of it was written")
	}
	s.until("it is gone", func() bool { all, _ := s.state(isIdle); return all == 0 })
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || read+int(n) != len(body) {
		t.Errorf("%d bytes of %d, then %v", read+int(n), len(body), err)
	}
}
