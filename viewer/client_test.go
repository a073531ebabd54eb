package viewer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
)

// talk answers each connection with the next of a list of scripts. A script is
// what is sent for each request in turn, and the connection is closed after the
// last; "..." is a pause of a second.
func talk(t *testing.T, conns [][]string, do func(ctx context.Context, cl *client, requests *[]string)) {
	synctest.Test(t, func(t *testing.T) {
		var requests []string
		var servers sync.WaitGroup
		at := 0
		cfg := Config{Edges: []string{"http://edge.test/base/"}, Event: live.EventID{Tenant: "t", Name: "e"}}
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
			if at == len(conns) {
				return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
			}
			script := conns[at]
			at++
			a, b := net.Pipe()
			servers.Go(func() {
				defer b.Close()
				br := bufio.NewReader(b)
				for _, answer := range script {
					req, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					requests = append(requests, req.Method+" "+req.Host+req.RequestURI)
					for _, part := range strings.SplitAfter(answer, "...") {
						text, pause := strings.CutSuffix(part, "...")
						if _, err := io.WriteString(b, text); text != "" && err != nil {
							return
						}
						if pause {
							time.Sleep(time.Second)
						}
					}
				}
			})
			return a, nil
		}
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		cl := newClient(c.net, c.edges, 0, c.stats.wait)
		ctx, cancel := context.WithCancel(t.Context())
		do(ctx, cl, &requests)
		cancel()
		cl.close()
		servers.Wait()
		c.net.crew.stop()
		if n := c.stats.waiting.Load(); n != 0 || len(c.net.open) != 0 {
			t.Errorf("%d waiting, %d connections open", n, len(c.net.open))
		}
	})
}

func get(ctx context.Context, cl *client) (*reply, error) {
	return cl.get(ctx, &request{path: "/x", answerBy: time.Now().Add(5 * time.Second), keep: ok200, verify: true})
}

func TestAnswers(t *testing.T) {
	digest := live.DigestOf([]byte("hello"))
	head := "HTTP/1.1 200 OK\r\nContent-Digest: " + digest.String() + "\r\nLive-Pipeline: b;region=us-west-2\r\n" +
		"Live-Published: 1795405280.123\r\nLive-Version: 7\r\nLive-Defects: short;ms=400\r\nCache-Control: max-age=1, max-age-ms=1834\r\n"
	for _, c := range []struct {
		name, answer string
		body         string
		again        bool // the connection serves another request
	}{
		{"length", head + "Content-Length: 5\r\n\r\nhello", "hello", true},
		{"slowly", "HTTP/1...." + strings.TrimPrefix(head, "HTTP/1.") + "Content-Length: 5\r\n\r...\nhe...llo", "hello", true},
		{"chunked", head + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello", true},
		{"to the end", head + "\r\nhello", "hello", false},
		{"close", head + "Connection: close\r\nContent-Length: 5\r\n\r\nhello", "hello", false},
		{"after a hint", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n..." + head + "Content-Length: 5\r\n\r\nhello", "hello", true},
		{"more than was asked", head + "Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n", "hello", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			second := "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
			first := []string{c.answer}
			conns := [][]string{first, {second}}
			if c.again {
				conns = [][]string{append(first, second)}
			}
			talk(t, conns, func(ctx context.Context, cl *client, requests *[]string) {
				r, err := get(ctx, cl)
				if err != nil {
					t.Fatal(err)
				}
				if r.status != 200 || string(r.body) != c.body || r.bytes != 5 || r.sum != digest || r.digest != digest || r.malformed != nil {
					t.Errorf("%+v", r)
				}
				if r.source != (live.Source{Pipeline: "b", Region: "us-west-2"}) || r.version != 7 || len(r.findings) != 1 ||
					r.published.UnixMilli() != 1795405280123 || r.lifetime != 1834*time.Millisecond {
					t.Errorf("%+v", r)
				}
				if r, err := get(ctx, cl); err != nil || r.status != 410 {
					t.Errorf("second: %+v, %v", r, err)
				}
				for _, q := range *requests {
					if q != "GET edge.test/base/x" {
						t.Errorf("asked %q", q)
					}
				}
			})
		})
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name  string
		conns [][]string
		want  func(error) bool
	}{
		{"refused", nil, func(err error) bool { var e dialError; return errors.As(err, &e) }},
		{"silent", [][]string{{strings.Repeat("...", 12)}}, func(err error) bool { return errors.Is(err, errSilent) }},
		{"closed without a word", [][]string{{""}}, func(err error) bool { return errors.Is(err, io.EOF) }},
		{"short", [][]string{{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"}}, cut},
		{"no last chunk", [][]string{{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"}}, cut},
		{"body that stops", [][]string{{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello" + strings.Repeat("...", 12)}}, cut},
		{"head that has no end", [][]string{{"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)}}, cut},
		{"another protocol", [][]string{{"SSH-2.0-OpenSSH_9.2p1\r\n\r\n"}}, cut},
	} {
		t.Run(c.name, func(t *testing.T) {
			talk(t, c.conns, func(ctx context.Context, cl *client, _ *[]string) {
				r, err := get(ctx, cl)
				if err == nil || !c.want(err) {
					t.Errorf("%+v, %v (%T)", r, err, err)
				}
				if cl.conn != nil {
					t.Error("the connection is still open")
				}
			})
		})
	}
}

func cut(err error) bool { var e cutError; return errors.As(err, &e) }

// An edge may close an idle connection just as it is used again: the request
// goes over a new one, and nobody notices.
func TestIdleConnectionThatWasClosed(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	talk(t, [][]string{{ok}, {ok}}, func(ctx context.Context, cl *client, _ *[]string) {
		for range 2 {
			if r, err := get(ctx, cl); err != nil || r.status != 200 {
				t.Errorf("%+v, %v", r, err)
			}
			synctest.Wait()
		}
	})
}

// One that is cut off after it was held is a failure.
func TestHeldRequestThatIsCutOff(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	talk(t, [][]string{{ok, "..."}, {ok}}, func(ctx context.Context, cl *client, _ *[]string) {
		get(ctx, cl)
		if r, err := get(ctx, cl); err == nil {
			t.Errorf("%+v, want an error", r)
		}
	})
}

func TestViewerThatGoesAway(t *testing.T) {
	talk(t, [][]string{{"............"}}, func(ctx context.Context, cl *client, _ *[]string) {
		now := time.Now()
		_, err := cl.get(ctx, &request{path: "/x", answerBy: now.Add(5 * time.Second), until: now.Add(1500 * time.Millisecond)})
		if !errors.Is(err, errLeft) || time.Since(now) != 1500*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(now))
		}
	})
}

func TestCauseNamesNoAddresses(t *testing.T) {
	err := &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: 4711}, Err: io.ErrClosedPipe}
	if got := cause(dialError{err}); got != "read: io: read/write on closed pipe" {
		t.Errorf("%q", got)
	}
}

func TestEdgeURLs(t *testing.T) {
	for _, c := range []struct {
		url, address, prefix string
		loopback, tls        bool
	}{
		{"http://127.0.0.1:8080", "127.0.0.1:8080", "", true, false},
		{"http://localhost/", "localhost:80", "", true, false},
		{"https://[::1]/a/b/", "[::1]:443", "/a/b", true, true},
		{"https://edge.example:8443", "edge.example:8443", "", false, true},
	} {
		e, err := newEdge(c.url, nil)
		if err != nil || e.address != c.address || e.prefix != c.prefix || e.loopback != c.loopback || (e.tls != nil) != c.tls {
			t.Errorf("%s: %+v, %v", c.url, e, err)
		}
	}
}
