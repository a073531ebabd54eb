package publish

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"headwater/admit"
	"headwater/live"
)

// How much of a body that is not wanted is read, so that its connection can
// serve the next segment, in bytes.
const (
	maxDropped = 1 << 20   // of a manifest
	maxSkipped = 256 << 10 // of what is refused
)

// maxInit bounds an init segment, which stays in memory for as long as its
// event, in bytes.
const maxInit = 1 << 20

// leastRate is how fast a body must come in the long run, in bytes per second:
// what a poor uplink has, and more than a packager that only holds on sends.
const leastRate = 64 << 10

// bodyUntil is when a body of which size bytes have come is given up unless
// more comes: after the time-out without any. Altogether it may take the time
// in which its media is filmed, for packagers that send while they encode, and
// the time-out, and what size bytes take at leastRate.
func bodyUntil(received, now time.Time, timeout, filmed time.Duration, size int64) (until time.Time, altogether bool) {
	stalled := now.Add(timeout)
	end := received.Add(filmed + timeout + time.Duration(size)*time.Second/leastRate)
	if end.Before(stalled) {
		return end, true
	}
	return stalled, false
}

func (p *publication) setReadDeadline(t time.Time) error {
	// In-memory connections of tests may not have deadlines; real ones do.
	if err := http.NewResponseController(p.w).SetReadDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("publish: read deadline: %w", err)
	}
	return nil
}

// end notes that the body has been read to its end. From then on the
// connection is only watched for the packager's leaving.
func (p *publication) end() error {
	p.consumed = true
	return p.setReadDeadline(time.Time{})
}

// pieceBytes is how much of a body is made room for at a time: memory follows
// what has arrived, not what a length announces.
const pieceBytes = 256 << 10

var pieces = sync.Pool{New: func() any { return new([pieceBytes]byte) }}

// hold counts n bytes more of the body as being read.
func (s *Server) hold(p *publication, n int64) error {
	if !s.Bodies.Enter(p.path.Event.Tenant, admit.Publish, n) {
		return live.ErrNotStored.With("too many bodies are being read at once")
	}
	p.held += n
	return nil
}

// bodyError is why a body ended after n bytes; late says what was too long.
func (s *Server) bodyError(p *publication, err error, n int64, late string) error {
	var ne net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout() {
		return live.ErrTimeout.With(fmt.Sprintf("%d bytes came within %v: %s", n, p.elapsed().Round(time.Millisecond), late))
	}
	return live.ErrIncomplete.With(fmt.Sprintf("the body ended after %d bytes: %v", n, err))
}

// finishBody reads what is left of a body that was refused, up to a bound, so
// that the packager reads the answer and the connection can serve the next
// segment; or else gives the connection up.
func (p *publication) finishBody() {
	if p.consumed || p.r.ContentLength == 0 {
		return
	}
	if strings.EqualFold(p.r.Header.Get("Expect"), "100-continue") {
		return // nothing was sent yet, and nothing shall be
	}
	if _, err := io.CopyN(io.Discard, p.r.Body, maxSkipped); err != io.EOF {
		p.w.Header().Set("Connection", "close")
	}
}

// collect reads a body of at most so many bytes, and digests it as it comes.
func (s *Server) collect(p *publication, most int64) error {
	var came []*[pieceBytes]byte
	defer func() {
		for _, x := range came {
			pieces.Put(x)
		}
	}()
	filmed := time.Duration(0)
	if p.path.File == live.FileSegment {
		tl := p.view.Timelines[p.path.Rendition]
		filmed = tl.End(p.path.Number).Sub(tl.Start(p.path.Number))
	}
	size, sum := int64(0), sha256.New()
	for {
		until, altogether := bodyUntil(p.received, time.Now(), s.BodyTimeout, filmed, size)
		if err := p.setReadDeadline(until); err != nil {
			return err
		}
		var room []byte
		at := size % pieceBytes
		switch {
		case size == most:
			room = make([]byte, 1) // only to see that it ends
		case at == 0 && size == int64(len(came))*pieceBytes:
			if err := s.hold(p, min(pieceBytes, most-size)); err != nil {
				return err
			}
			came = append(came, pieces.Get().(*[pieceBytes]byte))
			fallthrough
		default:
			room = came[len(came)-1][at:min(pieceBytes, at+most-size)]
		}
		n, err := p.r.Body.Read(room)
		if n > 0 && size == most {
			return live.ErrTooLarge.With(fmt.Sprintf("the body is longer than %d bytes", most))
		}
		sum.Write(room[:n])
		size += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			late := "then none for " + s.BodyTimeout.String()
			if altogether {
				late = "that is too slow"
			}
			return s.bodyError(p, err, size, late)
		}
	}
	p.body = make([]byte, 0, size) // to the byte: it may stay in memory for long
	for _, x := range came {
		p.body = append(p.body, x[:min(pieceBytes, size-int64(len(p.body)))]...)
	}
	p.cand.Digest = live.Digest(sum.Sum(nil))
	return nil
}
