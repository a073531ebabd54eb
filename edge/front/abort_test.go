package front

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// all reads what still comes, to the end of the connection.
func (c *client) all() string {
	b, _ := io.ReadAll(c.r)
	return string(b)
}

// Who stops sending has left. What he asked for must not seem to be there.
func TestHalfClosedIsNotAnsweredWithNothing(t *testing.T) {
	s := serveEdge(t)
	for _, request := range []string{
		get(s.path("v")),
		"GET " + s.path("v") + " HTTP/1.0\r\n\r\n", // by net/http
		get("/t/e/event.json?after=1"),
	} {
		c := s.dial()
		c.send(request)
		if strings.Contains(request, "/v/") {
			s.until("it is held", func() bool { return s.holding() == 1 })
		}
		c.Conn.(*net.TCPConn).CloseWrite()
		if got := c.all(); got != "" {
			t.Errorf("%q is answered %q", request, got)
		}
		s.until("it is over", func() bool { return s.holding() == 0 })
	}
}

// TestCutOffNeverLooksComplete: of a body without a length the end is said
// only where it is one.
func TestCutOffNeverLooksComplete(t *testing.T) {
	for _, version := range []string{"ours", "net/http"} {
		t.Run(version, func(t *testing.T) {
			s := serveEdge(t)
			rest := make(chan struct{})
			s.mu.Lock()
			s.segment = func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "half of it")
				w.(http.Flusher).Flush()
				<-rest
			}
			s.mu.Unlock()
			defer close(rest)
			s.free()
			c := s.dial()
			request := get(s.path("s"))
			if version == "net/http" {
				request = get(s.path("s"), "Content-Length: 0")
			}
			c.send(request)
			resp, err := http.ReadResponse(c.r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			if version == "net/http" {
				c.Conn.(*net.TCPConn).CloseWrite()
			} else {
				s.srv.cancel() // as Close does, and then it closes the connection
			}
			if b, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("it ends with %q as if it were whole", b)
			}
		})
	}
}

// Whoever asks and never reads is let go, whatever the answers are made by.
func TestUnreadAnswersAreNotWaitedForWithoutEnd(t *testing.T) {
	for _, path := range []string{"/t/e/s/1000000.m4s", "/healthz"} {
		t.Run(path, func(t *testing.T) {
			s := serveEdge(t, func(s *Server) { s.WriteTimeout = 200 * time.Millisecond })
			c := s.dial()
			many := bytes.Repeat([]byte(get(path)), 200)
			c.SetWriteDeadline(time.Now().Add(20 * time.Second))
			var err error
			for err == nil {
				_, err = c.Write(many)
			}
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Fatal("it is still there")
			}
			s.until("it is forgotten", func() bool { all, _ := s.state(isIdle); return all == 0 })
			if path != "/healthz" { // net/http does not tell
				s.dropped(dropSlow, 1)
			}
		})
	}
}
