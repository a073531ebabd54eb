package origin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
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

// limit gives the body until the body time-out to arrive, whatever it is.
func (o *Origin) limit(p *publication) error {
	return p.setReadDeadline(p.received.Add(o.cfg.BodyTimeout))
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

// drop reads a body that nobody wants.
func (o *Origin) drop(p *publication) error {
	n, err := io.CopyN(io.Discard, p.r.Body, maxDropped+1)
	switch {
	case n > maxDropped:
		return live.ErrTooLarge.With(fmt.Sprintf("the body is longer than %d bytes", maxDropped))
	case err != io.EOF:
		return o.bodyError(p, err, int(n))
	}
	return p.end()
}

// read takes the body, bounded in size, in time and together with all others,
// and digests it as it comes.
func (o *Origin) read(p *publication) error {
	most := o.cfg.MaxSegmentBytes
	if p.path.File == live.FileInit {
		most = min(most, maxInit)
	}
	if p.r.ContentLength > most {
		return live.ErrTooLarge.With(fmt.Sprintf("%d bytes, at most %d", p.r.ContentLength, most))
	}
	var buf []byte
	sum := sha256.New()
	for {
		if len(buf) == cap(buf) {
			// Whether there is more is asked before there is room for it.
			var one [1]byte
			n, err := p.r.Body.Read(one[:])
			if n == 0 && err == nil {
				continue
			}
			if n == 0 && err == io.EOF {
				break
			}
			if n == 0 {
				return o.bodyError(p, err, len(buf))
			}
			if int64(len(buf)) == most {
				return live.ErrTooLarge.With(fmt.Sprintf("the body is longer than %d bytes", most))
			}
			if buf, err = o.grow(p, buf, most); err != nil {
				return err
			}
			sum.Write(one[:])
			buf = append(buf, one[0])
			continue
		}
		n, err := p.r.Body.Read(buf[len(buf):cap(buf)])
		sum.Write(buf[len(buf) : len(buf)+n])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return o.bodyError(p, err, len(buf))
		}
	}
	if len(buf) == 0 {
		return live.ErrMalformedMedia.With("the body is empty")
	}
	if cap(buf)-len(buf) > len(buf)/8 {
		buf = append(make([]byte, 0, len(buf)), buf...) // it may stay in memory for long
	}
	p.body, p.cand.Digest = buf, live.Digest(sum.Sum(nil))
	p.timing.Add("read", p.elapsed())
	return p.end()
}

// grow makes room for more. What a length claims is believed a piece at a
// time: memory follows what has arrived, not what was announced.
func (o *Origin) grow(p *publication, buf []byte, most int64) ([]byte, error) {
	const piece = 256 << 10
	next := min(max(8*int64(cap(buf)), piece), most)
	if p.r.ContentLength > int64(cap(buf)) {
		next = min(next, p.r.ContentLength)
	} else {
		next = min(next, max(2*int64(cap(buf)), piece)) // nobody knows how much is to come
	}
	if grown := next - p.held; grown > 0 {
		if !o.bodies.Enter(admit.Publish, grown) {
			return nil, live.ErrNotStored.With("too many bodies are being read at once")
		}
		p.held += grown
	}
	return append(make([]byte, 0, next), buf...), nil
}

// release gives back what the body held of the bodies gate.
func (o *Origin) release(p *publication) {
	if p.held > 0 {
		o.bodies.Leave(p.held)
	}
}

func (o *Origin) bodyError(p *publication, err error, n int) error {
	var ne net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout() {
		return live.ErrTimeout.With(fmt.Sprintf("%d bytes came within %v", n, o.cfg.BodyTimeout))
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
