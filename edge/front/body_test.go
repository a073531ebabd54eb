package front

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// echo answers with what the request carried, and lets the edge have the rest.
func echo(s *Server) {
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/echo" {
			Handler(s.Edge).ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %d %s %v", r.Method, r.ContentLength, body, err)
	})
}

// What a request carries reaches a handler beside the edge, by every protocol.
func TestBodiesReachTheHandler(t *testing.T) {
	s := serveEdge(t, echo)
	x := s.secure()
	s.until("UDP is served", func() bool { return s.srv.altSvc.Load() != nil })
	text := strings.Repeat("x", maxBody)
	for _, c := range x.speakers() {
		if a := c.ask(t, "POST", "/echo", strings.NewReader(text)); a.err != nil || a.text != fmt.Sprintf("POST %d %s <nil>", maxBody, text) {
			t.Errorf("%s: %v %.80s", c.name, a.err, a.text)
		}
		if a := c.ask(t, "PUT", "/echo", io.MultiReader(strings.NewReader(text))); a.err != nil || a.text != fmt.Sprintf("PUT -1 %s <nil>", text) {
			t.Errorf("%s: of unknown length: %v %.80s", c.name, a.err, a.text)
		}
		if a := c.ask(t, "POST", "/echo", strings.NewReader(text+"x")); a.err != nil || a.StatusCode != 413 {
			t.Errorf("%s: one byte more: %v %+v", c.name, a.err, a.Response)
		}
	}
}

// How bodies are framed decides whether their connection goes on (RFC 9112, 6.3).
func TestFramingOfBodies(t *testing.T) {
	s := serveEdge(t, echo)
	post := func(header, body string) string {
		return "POST /echo HTTP/1.1\r\nHost: edge\r\n" + header + "\r\n\r\n" + body
	}
	for name, c := range map[string]struct {
		request string
		half    bool // the client sends no more
		status  int
		body    string
		close   bool
	}{
		"a length":                   {post("Content-Length: 3", "abc"), false, 200, "POST 3 abc <nil>", false},
		"twice the same length":      {post("Content-Length: 3\r\nContent-Length: 3", "abc"), false, 200, "POST 3 abc <nil>", false},
		"two lengths":                {post("Content-Length: 3\r\nContent-Length: 4", "abcd"), false, 400, "", true},
		"a length that is none":      {post("Content-Length: +3", "abc"), false, 400, "", true},
		"chunks":                     {post("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"), false, 200, "POST -1 abc <nil>", true},
		"a length and chunks":        {post("Content-Length: 3\r\nTransfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"), false, 200, "POST -1 abc <nil>", true},
		"a bad length and chunks":    {post("Content-Length: x\r\nTransfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"), false, 400, "", true},
		"a size that is none":        {post("Transfer-Encoding: chunked", "zz\r\nabc\r\n0\r\n\r\n"), false, 400, "bad-request", true},
		"a chunk without its end":    {post("Transfer-Encoding: chunked", "3\r\nabcdef\r\n0\r\n\r\n"), false, 400, "bad-request", true},
		"less than its length":       {post("Content-Length: 3", "ab"), true, 400, "bad-request", true},
		"chunks that break off":      {post("Transfer-Encoding: chunked", "3\r\nab"), true, 400, "bad-request", true},
		"chunks that have no last":   {post("Transfer-Encoding: chunked", "3\r\nabc\r\n"), true, 400, "bad-request", true},
		"another encoding":           {post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), false, 501, "", true},
		"of HTTP/1.0, kept":          {"POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", false, 200, "POST 3 abc <nil>", true},
		"chunks of HTTP/1.0":         {"POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, 200, "POST 0  <nil>", true},
		"of a GET that is malformed": {get(s.path("s"), "Transfer-Encoding: chunked") + "nonsense\r\n", false, 400, "bad-request", true},
	} {
		t.Run(name, func(t *testing.T) {
			x := s.dial()
			x.send(c.request)
			if c.half {
				x.Conn.(interface{ CloseWrite() error }).CloseWrite()
			}
			resp, body := x.read()
			if resp.StatusCode != c.status || !strings.Contains(body, c.body) {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			if c.close {
				x.ended()
				return
			}
			x.send(get(s.path("s")))
			if resp, _ := x.read(); resp.StatusCode != 200 {
				t.Errorf("and then: %d", resp.StatusCode)
			}
		})
	}
}
