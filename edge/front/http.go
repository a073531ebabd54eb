package front

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/edge/front/h2"
	"headwater/live"
)

// Why connections and requests are dropped: each has a counter.
const (
	dropConns     = "max-conns"
	dropAddress   = "max-conns-per-address"
	dropMemory    = "memory"         // there is none for one connection more
	dropAccept    = "accept"         // the system has no more connections to give
	dropHandshake = "handshake"      // TLS: failed, or not finished in time
	dropSilent    = "silent"         // nothing came on a new connection
	dropHeader    = "header-timeout" // a head came too slowly
	dropSize      = "header-size"
	dropBody      = "body" // larger or slower than it may be, malformed, or cut off
	dropIdle      = "idle"
	dropSlow      = "slow-reader"
	dropCut       = "drain-timeout" // still there when draining had to end
)

var drops = []string{
	dropConns, dropAddress, dropMemory, dropAccept, dropHandshake, dropSilent, dropHeader, dropSize, dropBody, dropIdle, dropSlow, dropCut,
}

func newDrops(reg *prometheus.Registry) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "headwater", Subsystem: "edge", Name: "drops_total", Help: "Connections and requests that were cut short, by reason.",
	}, []string{"reason"})
	reg.MustRegister(v)
	for _, reason := range drops {
		v.WithLabelValues(reason)
	}
	for _, reason := range h2.Reasons {
		v.WithLabelValues(string(reason))
	}
	return v
}

// drop counts by reason; no reason is none.
func (s *Server) drop(reason string) {
	if reason != "" {
		s.drops.WithLabelValues(reason).Inc()
	}
}

// writePiece is written at once, and Server.WriteTimeout is how long a viewer may
// take for it.
const writePiece = 256 << 10

// maxBody is what a request may carry. No request for an event's files needs a
// body; some clients send one all the same, and other handlers may want one.
const maxBody = 4 << 10 // bytes

// front is what all requests pass that do not take the short way.
func (s *Server) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fw := &frontWriter{ResponseWriter: w, s: s, r: r, last: oneAnswer(r)}
		if r.ContentLength == 0 || s.takeBody(fw, r) {
			next.ServeHTTP(fw, r)
		}
		fw.extend() // for what is still in buffers
	})
}

// oneAnswer reports whether a request is the last on its connection, by how it
// was framed. Where Content-Length stands beside Transfer-Encoding, net/http takes
// the latter and says nothing of the former; RFC 9112, 6.3 has such a connection
// closed, since another reader may have taken the former. HTTP/1.0 has no
// Transfer-Encoding, and net/http does not tell of one there (6.1).
func oneAnswer(r *http.Request) bool {
	return r.ProtoMajor == 1 && (r.ProtoMinor == 0 || len(r.TransferEncoding) > 0)
}

// takeBody reads what little a request may carry, so that nobody waits for it
// without end, and leaves it for the handler. It answers the rest.
func (s *Server) takeBody(w *frontWriter, r *http.Request) bool {
	problem := live.ErrTooLarge.With("requests may carry 4 KiB")
	rc := http.NewResponseController(w)
	w.extend() // for 100 Continue
	rc.SetReadDeadline(time.Now().Add(s.HeaderTimeout))
	if r.ContentLength <= maxBody {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			problem = live.ErrTimeout.With("the body took too long")
		case err != nil:
			// Also where nobody is there any more: who only stopped sending reads on.
			problem = live.ErrBadRequest.With("the body is malformed, or was cut off")
		case len(body) <= maxBody:
			rc.SetReadDeadline(time.Time{})
			r.Body = io.NopCloser(bytes.NewReader(body))
			return true
		}
	}
	s.drop(dropBody)
	w.last = true
	problem.Write(w, r)
	return false
}

// A frontWriter adds to an answer, when it begins, what is about the connection.
type frontWriter struct {
	http.ResponseWriter
	s     *Server
	r     *http.Request
	last  bool // the connection ends with this answer
	begun bool
}

// extend gives the viewer time for what is written next, and says how much.
// Without a deadline one who does not read would be waited for without end.
func (w *frontWriter) extend() (until time.Time) {
	until = time.Now().Add(w.s.WriteTimeout)
	http.NewResponseController(w.ResponseWriter).SetWriteDeadline(until)
	return until
}

func (w *frontWriter) WriteHeader(status int) {
	if !w.begun && status >= 200 {
		w.begun = true
		h := w.Header()
		// HTTP/2 turns it into GOAWAY. HTTP/3 has told its clients already.
		if w.r.ProtoMajor < 3 && (w.last || w.s.draining.Load()) {
			h.Set("Connection", "close")
		}
		if alt := w.s.altSvc.Load(); alt != nil && isSecure(w.r) && w.r.ProtoMajor < 3 {
			h.Set("Alt-Svc", *alt)
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *frontWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	until := w.extend()
	n, err := w.ResponseWriter.Write(p)
	if err != nil && !time.Now().Before(until) {
		w.s.drop(dropSlow)
	}
	return n, err
}

// FlushError is for http.ResponseController.
func (w *frontWriter) FlushError() error {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	w.extend()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (w *frontWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// refuse answers a connection that is one too many, without waiting for its
// request.
func (s *Server) refuse(nc net.Conn) {
	select {
	case s.refusing <- struct{}{}:
	default:
		nc.Close() // too many to be polite
		return
	}
	if !s.spawn(func() {
		defer func() { <-s.refusing }()
		nc.SetDeadline(time.Now().Add(time.Second))
		io.WriteString(nc, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nCache-Control: no-store\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		farewell(nc)
		nc.Close()
	}) {
		nc.Close()
	}
}

// farewell lets the other side read the last answer: to close while something
// unread has come resets the connection, and what was sent may be lost.
func farewell(nc net.Conn) {
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	nc.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	io.CopyN(io.Discard, nc, 256<<10)
}
