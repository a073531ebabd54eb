package listen

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"headwater/live"
)

// Limits of what a stranger may send before a handler sees it.
const (
	HeaderTimeout = 5 * time.Second
	IdleTimeout   = 2 * time.Minute
	MaxHeader     = 32 << 10 // bytes
)

// maxBody is what a request may carry that needs no body, in bytes.
const maxBody = 4 << 10

// NewServer returns a server of HTTP/1.1 for connections of a Limited, or of TLS above
// them, that takes nothing which two readers could understand in two ways (RFC 9112,
// 11.2): what is malformed ends its connection, and so does what is framed twice.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: framed(h), ReadHeaderTimeout: HeaderTimeout, IdleTimeout: IdleTimeout, MaxHeaderBytes: MaxHeader,
		ConnContext: WithConn, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// framed is what requests pass before their handler.
func framed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lastOne(r) {
			w.Header().Set("Connection", "close")
		}
		switch r.Method {
		case http.MethodPut, http.MethodPost: // their handlers read it
			if r.ContentLength == 0 {
				break
			}
			body := &timedBody{ReadCloser: r.Body}
			own := *r // net/http goes on with its own body
			own.Body = body
			h.ServeHTTP(w, &own)
			if body.late {
				letHear(w)
			}
			return
		default:
			if r.ContentLength != 0 && !takeBody(w, r) {
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// lastOne reports whether a request is the last on its connection, by how it was
// framed. Where Content-Length stands beside Transfer-Encoding, net/http takes the
// latter and says nothing of the former; another reader before this server may have
// taken the former, and what follows for another request (RFC 9112, 6.3). HTTP/1.0 has
// no Transfer-Encoding, and net/http does not tell of one there (6.1).
func lastOne(r *http.Request) bool {
	if r.ProtoMajor != 1 || r.ProtoMinor == 0 {
		return true
	}
	return len(r.TransferEncoding) > 0 && ConnOf(r.Context()).mayHaveLength(r.TLS)
}

// takeBody reads the body of a request that needs none: one that is malformed is
// answered so before anything is served, and ends its connection.
func takeBody(w http.ResponseWriter, r *http.Request) bool {
	problem := live.ErrTooLarge.With("a request of this method may carry 4 KiB")
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(HeaderTimeout)) // also for what net/http reads of it after the answer
	if r.ContentLength <= maxBody {
		n, err := io.CopyN(io.Discard, r.Body, maxBody+1)
		switch {
		case errors.Is(err, io.EOF):
			rc.SetReadDeadline(time.Time{})
			return true
		case errors.Is(err, os.ErrDeadlineExceeded):
			problem = live.ErrTimeout.With("the body took too long")
		case err != nil && n <= maxBody:
			problem = live.ErrBadRequest.With("the body is malformed, or was cut off")
		}
	}
	w.Header().Set("Connection", "close")
	problem.Write(w, r)
	return false
}

// mayHaveLength reports whether a request that came by this connection may have had a
// Content-Length. Below TLS nothing can be read, so there it may.
func (c *Conn) mayHaveLength(over *tls.ConnectionState) bool {
	return c == nil || over != nil || c.length.seen.Load()
}

// Read notices lines of heads that handlers are not told of, and takes a turn for what
// it has read.
func (c *Conn) Read(p []byte) (int, error) {
	if c.early != nil && !c.early.ended() {
		return c.early.read(p)
	}
	if len(p) == 1 {
		// net/http watches for the end of a connection while its handler works, which
		// has the turn.
		n, err := c.Conn.Read(p)
		c.length.scan(p[:n])
		return n, err
	}
	c.TakeTurn().Give() // before it waits
	n, err := c.Conn.Read(p)
	c.length.scan(p[:n])
	if n > 0 {
		c.work()
	}
	return n, err
}

// lengthLine is how a line begins that says Content-Length, the end of the line before
// it included.
const lengthLine = "\ncontent-length"

// A lengthSeen says whether a connection has ever brought a lengthLine. Only whoever
// reads the connection scans.
type lengthSeen struct {
	at   int // how much of a lengthLine was seen last
	seen atomic.Bool
}

// scan looks for a lengthLine in what follows what it was given before. One that was
// seen stays seen: so a request whose head came together with the one before is not
// missed, and connections that say Content-Length cost nothing. What only looks like
// one, in a body, costs a connection.
func (l *lengthSeen) scan(p []byte) {
	if l.seen.Load() {
		return
	}
	for len(p) > 0 {
		if l.at == 0 {
			i := bytes.IndexByte(p, '\n')
			if i < 0 {
				return
			}
			p, l.at = p[i+1:], 1
			continue
		}
		c := p[0]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		switch {
		case c == lengthLine[l.at]:
			if l.at++; l.at == len(lengthLine) {
				l.seen.Store(true)
				return
			}
		case c == '\n':
			l.at = 1
		default:
			l.at = 0
		}
		p = p[1:]
	}
}
