package listen

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/internal/selfsigned"
)

// TestLengthsAreSeen: whatever pieces a head comes in.
func TestLengthsAreSeen(t *testing.T) {
	for text, want := range map[string]bool{
		"PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\n":                      true,
		"PUT / HTTP/1.1\ncontent-LENGTH:3\n\n":                             true,
		"PUT / HTTP/1.1\r\nA: b\r\n\nContent-Length: 3\r\n\r\n":            true,
		"PUT / HTTP/1.1\r\nCont\nContent-Length: 3\r\n\r\n":                true,
		"PUT / HTTP/1.1\r\nX-Content-Length: 3\r\n\r\n":                    false,
		"PUT / HTTP/1.1\r\nContent_Length: 3\r\nContent-Type: x\r\n\r\n":   false,
		"PUT /?\rcontent-length HTTP/1.1\r\nA: Content-Length: 3\r\n\r\n":  false,
		"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n": false,
	} {
		for cut := range len(text) {
			var l lengthSeen
			l.scan([]byte(text[:cut]))
			l.scan([]byte(text[cut:]))
			if l.seen.Load() != want {
				t.Errorf("%q, cut at %d: %v", text, cut, !want)
			}
		}
	}
}

// TestChunksOverTLS: what stands below TLS cannot be read, so chunks are the last on their connection.
func TestChunksOverTLS(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cert, pool := selfsigned.New()
	srv := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %v", body, err)
	}), slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() {
		done <- srv.Serve(tls.NewListener(Limit(tcp, Limits{}), &tls.Config{Certificates: []tls.Certificate{cert}}))
	}()
	t.Cleanup(func() { srv.Close(); <-done })
	for head, closes := range map[string]bool{
		"Content-Length: 3\r\n\r\nabc":                                                 false,
		"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":                      true,
		"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n": true,
	} {
		c, err := tls.Dial("tcp", tcp.Addr().String(), &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		io.WriteString(c, "PUT / HTTP/1.1\r\nHost: x\r\n"+head)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.Close != closes || !strings.HasPrefix(string(body), "abc <nil>") {
			t.Errorf("%q: %s %s, closes %v", head, resp.Status, body, resp.Close)
		}
	}
}

// FuzzFraming: where net/http takes Transfer-Encoding though Content-Length stands beside it,
// the connection ends.
func FuzzFraming(f *testing.F) {
	f.Add([]byte("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
	f.Add([]byte("PUT / HTTP/1.1\nHost: x\ntransfer-encoding:chunked\ncontent-length:3\n\n0\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\nPUT / HTTP/1.1\r\nContent-Length : 3\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := &Conn{Conn: &readOnce{Reader: bytes.NewReader(in)}}
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil || len(r.TransferEncoding) == 0 {
			return
		}
		// The same without Transfer-Encoding has a length where there was one.
		lines := bytes.SplitAfter(in, []byte("\n"))
		head := slices.DeleteFunc(lines, func(l []byte) bool { return len(l) > 17 && strings.EqualFold(string(l[:17]), "transfer-encoding") })
		plain, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.Join(head, nil))))
		if err != nil || len(plain.Header["Content-Length"]) == 0 {
			return
		}
		if !lastOne(r.WithContext(WithConn(t.Context(), c))) {
			t.Errorf("%q: the connection goes on", in)
		}
	})
}

type readOnce struct {
	net.Conn
	io.Reader
}

func (r *readOnce) Read(p []byte) (int, error) { return r.Reader.Read(p) }

// FuzzOwner: any packet of UDP is of some process, or of none, and of one that it names.
func FuzzOwner(f *testing.F) {
	f.Add([]byte("\x40\x00\x07234567890ab"))
	f.Add([]byte("\xc0\x00\x00\x00\x01\x0c\x00\x07234567890ab"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, known := owner(b)
		if known && !bytes.Contains(b, []byte{byte(n >> 8), byte(n)}) {
			t.Errorf("%x is of %d", b, n)
		}
	})
}

// A halfConn notices when one half of it is closed, and the other.
type halfConn struct {
	net.Conn
	half, whole chan time.Time
}

func (c halfConn) CloseWrite() error { c.half <- time.Now(); return nil }
func (c halfConn) Close() error      { c.whole <- time.Now(); return c.Conn.Close() }

// TestAnswerToALateBody: who still sends when his body is given up can read why before
// the connection is gone.
func TestAnswerToALateBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		conn := halfConn{server, make(chan time.Time, 1), make(chan time.Time, 9)}
		l := &oneConn{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
		l.conns <- conn
		srv := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second))
			if _, err := io.ReadAll(r.Body); err != nil {
				w.Header().Set("Connection", "close")
				http.Error(w, "late", http.StatusRequestTimeout)
			}
		}), slog.New(slog.DiscardHandler))
		go srv.Serve(l)
		io.WriteString(client, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
		answer, err := io.ReadAll(client)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
			t.Fatalf("%q %v", answer, err)
		}
		end := <-conn.whole
		select {
		case half := <-conn.half:
			if left := end.Sub(half); left < 100*time.Millisecond {
				t.Errorf("closed %v after the answer", left)
			}
		default:
			t.Error("closed at once")
		}
		srv.Close()
	})
}

type oneConn struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *oneConn) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
