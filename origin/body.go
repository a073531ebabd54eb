package origin

import (
	"errors"
	"fmt"
	"headwater/admit"
	"headwater/live"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// read takes the body, bounded in size, in time and together with all others.
func (o *Origin) read(p *publication) error {
	if p.r.ContentLength > o.cfg.MaxSegmentBytes {
		return live.ErrTooLarge.With(fmt.Sprintf("%d bytes, at most %d", p.r.ContentLength, o.cfg.MaxSegmentBytes))
	}
	began := time.Now()
	deadline := began.Add(o.cfg.BodyTimeout)
	// In-memory connections of tests may not have deadlines; real ones do.
	if err := http.NewResponseController(p.w).SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("publish: read deadline: %w", err)
	}
	// What a length claims is believed a piece at a time: memory follows what
	// has arrived, not what was announced.
	const piece = 256 << 10
	buf := make([]byte, 0, min(max(p.r.ContentLength, 4096), piece))
	for {
		if len(buf) == cap(buf) {
			next := min(int64(cap(buf))*2, o.cfg.MaxSegmentBytes+1)
			if l := p.r.ContentLength; l > int64(cap(buf)) {
				next = min(next, l+1)
			}
			buf = append(make([]byte, 0, next), buf...)
		}
		if grown := int64(cap(buf)) - p.held; grown > 0 {
			if !o.bodies.Enter(admit.Publish, grown) {
				return live.ErrNotStored.With("too many bodies are being read at once")
			}
			p.held += grown
		}
		n, err := p.r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > o.cfg.MaxSegmentBytes {
			return live.ErrTooLarge.With(fmt.Sprintf("the body is longer than %d bytes", o.cfg.MaxSegmentBytes))
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return bodyError(err, len(buf), deadline)
		}
	}
	if len(buf) == 0 {
		return live.ErrMalformedMedia.With("the body is empty")
	}
	p.body = buf
	p.timing.Add("read", time.Since(began))
	return nil
}

func bodyError(err error, n int, deadline time.Time) error {
	var ne net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout() || !time.Now().Before(deadline) {
		return live.ErrTimeout.With(fmt.Sprintf("%d bytes came before the time-out", n))
	}
	return live.ErrIncomplete.With(fmt.Sprintf("the body ended after %d bytes: %v", n, err))
}

// drain reads what is left of a body we do not want, up to a bound, so that
// the connection can serve the next segment.
func drain(body io.Reader) error {
	n, err := io.CopyN(io.Discard, body, 256<<10+1)
	if err == io.EOF {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("publish: more than %d bytes to drop", n-1)
	}
	return err
}
