package front

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A trailing connection sends more behind what is written.
type trailing struct {
	net.Conn
	more []byte
}

func (c *trailing) Write(p []byte) (int, error) {
	_, err := c.Conn.Write(append(bytes.Clone(p), c.more...))
	return len(p), err
}

// What was asked before a record that cannot be opened is answered, and then the
// connection ends at once, whoever has it.
func TestBadRecordBehindARequest(t *testing.T) {
	s := serveEdge(t)
	s.free()
	x := s.secure()
	for name, c := range map[string]struct {
		request, end string
		status       int
	}{
		"ours":     {get(s.path("s")), "bad record MAC", 200},
		"net/http": {"DELETE " + s.path("s") + " HTTP/1.1\r\nHost: edge\r\n\r\n", "EOF", 405},
	} {
		t.Run(name, func(t *testing.T) {
			tcp, err := net.Dial("tcp", x.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer tcp.Close()
			tcp.SetDeadline(time.Now().Add(10 * time.Second))
			cfg := x.tls("http/1.1")
			cfg.ServerName = "127.0.0.1"
			raw := &trailing{Conn: tcp}
			viewer := tls.Client(raw, cfg)
			if err := viewer.Handshake(); err != nil {
				t.Fatal(err)
			}
			raw.more = append([]byte("\x17\x03\x03\x00\x20"), make([]byte, 32)...)
			io.WriteString(viewer, c.request)
			r := bufio.NewReader(viewer)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != c.status {
				t.Errorf("%d, %v", resp.StatusCode, err)
			}
			if _, err := r.ReadByte(); err == nil || !strings.Contains(err.Error(), c.end) {
				t.Errorf("behind the answer: %v", err)
			}
		})
	}
}

// Who comes with an old protocol is served by it, and one that nobody speaks here is
// refused in the handshake (RFC 7301, 3.2).
func TestProtocolsOfTLS(t *testing.T) {
	s := serveEdge(t)
	s.free()
	x := s.secure()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := x.tls("http/1.0")
		cfg.MaxVersion = version
		c, err := tls.Dial("tcp", x.addr, cfg)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "GET "+s.path("s")+" HTTP/1.0\r\n\r\n")
		if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/1.0 200 ") || !strings.HasSuffix(string(b), bodyOf(s.path("s"))) {
			t.Errorf("%s: %.50q, %v", tls.VersionName(version), b, err)
		}
		c.Close()
		cfg.NextProtos = []string{"gopher"}
		if c, err := tls.Dial("tcp", x.addr, cfg); err == nil {
			t.Errorf("%s: gopher is spoken", tls.VersionName(version))
			c.Close()
		}
	}
}
