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

// pieceBytes is how much of a body is made room for at a time, firstPieces how much
// at first: memory follows what has arrived, not what a length announces, nor that a
// body was begun.
const pieceBytes = 256 << 10

var firstPieces = [...]int64{4 << 10, 60 << 10}

var pieces = sync.Pool{New: func() any { return new([pieceBytes]byte) }}

// An arrival is a body on its way: pieces, all of them full but the last.
type arrival struct {
	pieces [][]byte
	pooled []*[pieceBytes]byte
	size   int64 // of what has come
	room   int64 // of all pieces
}

// grow makes room for more. Its length is what has to be held for it before.
func (a *arrival) grow(most int64) {
	n := a.next(most)
	if len(a.pieces) < len(firstPieces) {
		a.pieces = append(a.pieces, make([]byte, n))
	} else {
		p := pieces.Get().(*[pieceBytes]byte)
		a.pooled, a.pieces = append(a.pooled, p), append(a.pieces, p[:n])
	}
	a.room += n
}

// next is how long the next piece is, where a body has most bytes.
func (a *arrival) next(most int64) int64 {
	n := int64(pieceBytes)
	if k := len(a.pieces); k < len(firstPieces) {
		n = firstPieces[k]
	}
	return min(n, most-a.room)
}

// free is where what comes next goes.
func (a *arrival) free() []byte {
	last := a.pieces[len(a.pieces)-1]
	return last[int64(len(last))-(a.room-a.size):]
}

// whole is what has come, in one piece of just its length: it may stay in memory for
// long.
func (a *arrival) whole() []byte {
	b := make([]byte, 0, a.size)
	for _, p := range a.pieces {
		b = append(b, p[:min(int64(len(p)), a.size-int64(len(b)))]...)
	}
	return b
}

func (a *arrival) release() {
	for _, p := range a.pooled {
		pieces.Put(p)
	}
	a.pieces, a.pooled = nil, nil
}

// hold counts n bytes more of the body as being read.
func (s *Server) hold(p *publication, n int64) error {
	if !s.Budget.RoomFirst(n) {
		s.noRoom.Inc()
		return live.ErrNotStored.With("there is no memory for more bodies just now")
	}
	if !s.Bodies.Enter(p.path.Event.Tenant, admit.Publish, n) {
		return live.ErrNotStored.With("too many bodies are being read at once")
	}
	if !s.PipelineBodies.Enter(p.publisher(), admit.Publish, n) {
		s.Bodies.Leave(p.path.Event.Tenant, n)
		return live.ErrNotStored.With("too many bodies of this pipeline are being read at once")
	}
	p.held += n
	return nil
}

// letGo gives back n bytes of what hold counted.
func (s *Server) letGo(p *publication, n int64) {
	p.held -= n
	s.Bodies.Leave(p.path.Event.Tenant, n)
	s.PipelineBodies.Leave(p.publisher(), n)
}

// A Publisher is a tenant's pipeline, as credentials name it.
type Publisher struct{ Tenant, Pipeline string }

func (p *publication) publisher() Publisher {
	return Publisher{p.path.Event.Tenant, p.path.Pipeline}
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
	var came arrival
	defer came.release()
	defer func() { s.Rates.Charge(p.path.Event.Tenant, came.size, time.Now()) }()
	filmed := time.Duration(0)
	if p.path.File == live.FileSegment {
		tl := p.view.Timelines[p.path.Rendition]
		filmed = tl.End(p.path.Number).Sub(tl.Start(p.path.Number))
	}
	sum := sha256.New()
	for {
		until, altogether := bodyUntil(p.received, time.Now(), s.BodyTimeout, filmed, came.size)
		if err := p.setReadDeadline(until); err != nil {
			return err
		}
		var room []byte
		switch {
		case came.size == most:
			room = make([]byte, 1) // only to see that it ends
		case came.size == came.room:
			if len(came.pieces) == len(firstPieces) {
				// Before it costs much: what is missing has had the time to come.
				if err := s.expect(p); err != nil {
					return err
				}
			}
			if err := s.hold(p, came.next(most)); err != nil {
				return err
			}
			came.grow(most)
			fallthrough
		default:
			room = came.free()
		}
		n, err := p.r.Body.Read(room)
		s.Turns.Urgent()
		if n > 0 && came.size == most {
			return live.ErrTooLarge.With(fmt.Sprintf("the body is longer than %d bytes", most))
		}
		sum.Write(room[:n])
		came.size += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			late := "then none for " + s.BodyTimeout.String()
			if altogether {
				late = "that is too slow"
			}
			return s.bodyError(p, err, came.size, late)
		}
	}
	// For a moment it is there twice.
	if err := s.hold(p, came.size); err != nil {
		return err
	}
	p.body = came.whole()
	came.release()
	s.letGo(p, came.room)
	p.cand.Digest = live.Digest(sum.Sum(nil))
	return nil
}
