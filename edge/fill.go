package edge

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"headwater/live"
)

var (
	errDigest    = errors.New("edge: the body is not what its digest says")
	errTruncated = errors.New("edge: the body ended early")
	errTooLarge  = errors.New("edge: the body is too large")
)

// kept are the headers of a parent's answer that go on to viewers.
var kept = []string{
	"Content-Type", "Etag", "Last-Modified", "Retry-After",
	live.HeaderContentDigest, live.HeaderPipeline, live.HeaderDefects, live.HeaderPublished, "Cmsd-Static",
}

// fill gets an object from the parents. The cache owns it: it has a goroutine
// of its own, and goes on when the viewer who began it leaves. until is the
// time up to which a parent that does not answer is worth asking again.
func (ed *Edge) fill(e *event, o *object, until time.Time) {
	resp, err := ed.begin(o, until)
	if err != nil {
		ed.metrics.fillErrors.Inc()
		ed.log.Warn("fill", "path", o.key.path.String(), "err", err)
		// For a moment nobody asks again: a crowd must not become a storm.
		o.err, o.received, o.lifetime = err, time.Now(), live.ErrUpstream.Lifetime
		o.finish(nil, err)
		close(o.ready)
		return
	}
	defer resp.Body.Close()
	e.hear(resp.Header)
	o.head(resp)
	if o.size >= 0 {
		ed.cache.charge(o, o.size)
	}
	close(o.ready)
	if err := ed.copy(o, resp); err != nil {
		ed.metrics.fillErrors.Inc()
		ed.log.Error("fill", "path", o.key.path.String(), "err", err)
		ed.cache.forget(o)
	}
}

// begin asks the parents, again and again while there is time.
func (ed *Edge) begin(o *object, until time.Time) (*http.Response, error) {
	const least, most = 50 * time.Millisecond, 500 * time.Millisecond
	for pause := least; ; pause = min(2*pause, most) {
		ed.metrics.asked(o.key.path)
		// The context ends with the edge, not with a viewer. A hold at the
		// parent lasts to the deadline, and its answer takes a moment.
		ctx, cancel := context.WithDeadline(ed.ctx, maxTime(until, time.Now()).Add(10*time.Second))
		resp, err := ed.upstream.get(ctx, o.key.path.String())
		if err == nil {
			resp.Body = &cancelBody{resp.Body, cancel}
			return resp, nil
		}
		cancel()
		if ed.ctx.Err() != nil || time.Now().Add(pause).After(until) {
			return nil, err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ed.ctx.Done():
			t.Stop()
			return nil, err
		}
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// cancelBody ends the request's context with its body.
type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *cancelBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}

// head takes status and headers of an answer.
func (o *object) head(resp *http.Response) {
	o.status = resp.StatusCode
	o.size = resp.ContentLength
	o.received = time.Now()
	o.header = make(http.Header, len(kept))
	for _, name := range kept {
		if v, ok := resp.Header[name]; ok {
			o.header[name] = v
		}
	}
	o.lifetime, _ = live.ParseLifetime(resp.Header.Values(live.HeaderCacheControl))
	if age, err := strconv.ParseInt(resp.Header.Get("Age"), 10, 32); err == nil && age > 0 {
		o.age = time.Duration(age) * time.Second
	}
}

// copy reads the body. Readers see it as it comes, except for the last piece,
// which waits until the whole has been held against its digest: so a bad body
// never looks complete to anybody.
func (ed *Edge) copy(o *object, resp *http.Response) (err error) {
	var buf []byte
	defer func() { o.finish(buf, err) }()

	want, _ := live.ParseDigest(resp.Header.Values(live.HeaderContentDigest))
	hash := sha256.New()
	if o.size > ed.cfg.MaxObjectBytes {
		return fmt.Errorf("%w: %d bytes", errTooLarge, o.size)
	}
	buf = make([]byte, 0, max(o.size, 4096))
	for {
		if len(buf) == cap(buf) {
			if o.size >= 0 {
				// All has come that was announced; see that it ends.
				if n, err := resp.Body.Read(make([]byte, 1)); n != 0 {
					return errTooLarge
				} else if err == nil {
					continue
				} else if err != io.EOF {
					return err
				}
				break
			}
			if int64(len(buf)) >= ed.cfg.MaxObjectBytes {
				return fmt.Errorf("%w: more than %d bytes", errTooLarge, len(buf))
			}
			// What readers have of the old buffer stays as it is.
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
			ed.cache.charge(o, int64(cap(buf)))
		}
		n, err := resp.Body.Read(buf[len(buf):cap(buf)])
		if n > 0 {
			before := len(buf)
			buf = buf[:before+n]
			hash.Write(buf[before:])
			o.grow(buf, before)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%w after %d bytes: %w", errTruncated, len(buf), err)
		}
	}
	if o.size >= 0 && int64(len(buf)) != o.size {
		return fmt.Errorf("%w: %d of %d bytes", errTruncated, len(buf), o.size)
	}
	if !want.IsZero() && live.Digest(hash.Sum(nil)) != want {
		ed.metrics.digestMismatches.Inc()
		return errDigest
	}
	return nil
}
