package edge

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"headwater/live"
)

var (
	errDigest    = errors.New("edge: the body is not what its digest says")
	errTruncated = errors.New("edge: the body ended early")
	errTooLarge  = errors.New("edge: the body is too large")
	errClosed    = errors.New("edge: closed")
	errOther     = errors.New("edge: the rest of the body is not to be had")
)

const (
	retryBudget  = 2 * time.Second // for what has no deadline of its own
	stallTimeout = 2 * time.Second // of a body
)

// kept are the headers of a parent's answer that go on to viewers.
var kept = []string{
	"Content-Type", "Etag", "Last-Modified", "Retry-After",
	live.HeaderContentDigest, live.HeaderPipeline, live.HeaderDefects, live.HeaderPublished, "Cmsd-Static",
}

// fill gets an object from the parents. The cache owns it: it has a goroutine
// of its own, and goes on when the viewer who began it leaves.
func (ed *Edge) fill(e *event, o *object, a asking) {
	defer o.cancel()
	defer ed.cache.filled(o)
	if ed.fillFromDisk(e, o) {
		return
	}
	rep, err := ed.upstream.ask(o.ctx, a)
	if err != nil {
		if o.ctx.Err() == nil {
			ed.metrics.fillErrors.Inc()
			ed.log.Warn("fill", "path", o.key.path.String(), "err", err)
		}
		o.fail(err)
		return
	}
	e.hear(rep.Header)
	o.head(rep.Response)
	o.sending = ed.metrics.sending(e, o)
	b := body{o: o, limit: ed.cfg.MaxObjectBytes, hash: sha256.New(), charge: func(n int64) { ed.cache.charge(o, n) }}
	if o.size <= b.limit && !ed.cache.charge(o, max(o.size, 0)) {
		rep.close()
		ed.shed(o)
		return
	}
	// A refusal is short, and what it says is counted: it is read before it is told.
	refusal := o.status >= 400 && o.size >= 0 && o.size <= maxProblem
	switch {
	case refusal:
	case o.status >= 400:
		o.problem = otherLabel
		fallthrough
	default:
		o.open()
	}
	err = ed.copy(&b, rep, a)
	if err != nil {
		ed.metrics.fillErrors.Inc()
		ed.log.Error("fill", "path", o.key.path.String(), "err", err)
		b.charge(0)
	}
	if refusal {
		o.problem = problemOf(b.buf)
	}
	o.finish(b.buf, err)
	if refusal {
		o.open()
	}
	if err == nil {
		ed.disk.offer(o)
	}
}

// maxProblem is how long a refusal may be that is read before it is told.
const maxProblem = 4 << 10 // bytes

// problemOf is the code of the problem that a parent answered with.
func problemOf(body []byte) string {
	var p live.Problem
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		return otherLabel
	}
	return p.Code
}

// shed ends a fill for which there is no room.
func (ed *Edge) shed(o *object) {
	ed.cache.refused(o)
	o.fail(live.ErrShed.With("memory is taken by what is being filled and read"))
}

// copy reads the body, and goes on with another request for the rest where it
// breaks off.
func (ed *Edge) copy(b *body, rep *reply, a asking) error {
	o := b.o
	want, _ := live.ParseDigest(o.header[live.HeaderContentDigest])
	for {
		err := b.read(rep)
		from := rep.parent
		rep.close()
		switch {
		case err == nil && !want.IsZero() && live.Digest(b.hash.Sum(nil)) != want:
			ed.metrics.digestMismatches.Inc()
			ed.upstream.distrust(from)
			return errDigest
		case err == nil:
			return nil
		case o.ctx.Err() != nil, errors.Is(err, errTooLarge), o.status != http.StatusOK:
			return err
		}
		ed.upstream.failed(from, err, false)
		a.from, a.etag, a.avoid = int64(len(b.buf)), o.header.Get("Etag"), from
		if strong := strings.HasPrefix(a.etag, `"`); want.IsZero() && !strong {
			return err // nothing says that the rest is of the same bytes
		}
		// Where the body breaks off again and again, so many times must do.
		if b.resumed++; b.resumed > triesInRow {
			return err
		}
		a.until = time.Now().Add(retryBudget)
		a.late, a.share = time.Now().Add(hedgeAfter), retryBudget/2
		a.own, a.step = a.late, hedgeAfter
		ed.metrics.resumed.Inc()
		next, rerr := ed.upstream.ask(o.ctx, a)
		if rerr != nil {
			return errors.Join(err, rerr)
		}
		if rerr := b.join(next, a, want); rerr != nil {
			next.close()
			return errors.Join(err, rerr)
		}
		rep = next
	}
}

// A body is what a fill has read.
type body struct {
	o       *object
	limit   int64
	buf     []byte
	hash    hash.Hash
	charge  func(int64)
	resumed int
}

// read reads up to the end. Readers see all of it as it comes, except for the
// piece that completes it, which waits until the whole has been held against
// its digest: so a bad body never looks complete to anybody.
func (b *body) read(rep *reply) error {
	o := b.o
	if o.size > b.limit {
		return fmt.Errorf("%w: %d bytes", errTooLarge, o.size)
	}
	if b.buf == nil {
		b.buf = make([]byte, 0, max(o.size, 4096))
	}
	stall := time.AfterFunc(stallTimeout, func() { rep.cancel(errStall) })
	defer stall.Stop()
	for {
		if o.size >= 0 && int64(len(b.buf)) == o.size {
			return nil
		}
		if len(b.buf) == cap(b.buf) {
			if int64(len(b.buf)) >= b.limit {
				return fmt.Errorf("%w: more than %d bytes", errTooLarge, len(b.buf))
			}
			// What readers have of the old buffer stays as it is.
			b.buf = append(make([]byte, 0, 2*cap(b.buf)), b.buf...)
			b.charge(int64(cap(b.buf)))
		}
		n, err := rep.Body.Read(b.buf[len(b.buf):cap(b.buf)])
		if n > 0 {
			stall.Reset(stallTimeout)
			before := len(b.buf)
			b.buf = b.buf[:before+n]
			b.hash.Write(b.buf[before:])
			switch {
			case o.size < 0:
				// Any byte may be the last.
				o.grow(b.buf, len(b.buf)-1)
			case int64(len(b.buf)) < o.size:
				o.grow(b.buf, len(b.buf))
			}
		}
		switch {
		case err == nil:
		case err == io.EOF && (o.size < 0 || int64(len(b.buf)) == o.size):
			return nil
		default:
			return fmt.Errorf("%w after %d bytes: %w", errTruncated, len(b.buf), err)
		}
	}
}

// join makes an answer to a request for the rest continue the body.
func (b *body) join(rep *reply, a asking, want live.Digest) error {
	etag := rep.Header.Get("Etag")
	digest, _ := live.ParseDigest(rep.Header[live.HeaderContentDigest])
	same := a.etag != "" && etag == a.etag || !want.IsZero() && digest == want
	if rep.StatusCode == http.StatusPartialContent {
		var from, to, size int64
		if _, err := fmt.Sscanf(rep.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); err != nil || from != a.from || b.o.size >= 0 && size != b.o.size {
			return fmt.Errorf("%w: Content-Range %q", errOther, rep.Header.Get("Content-Range"))
		}
		// If-Range made sure that it is the same, except of a parent that ignores it.
		if etag != "" && !same {
			return fmt.Errorf("%w: it has another ETag", errOther)
		}
		return nil
	}
	if rep.StatusCode != http.StatusOK || !same || b.o.size >= 0 && rep.ContentLength >= 0 && rep.ContentLength != b.o.size {
		return fmt.Errorf("%w: %s", errOther, rep.Status)
	}
	// All of it again: pass over what is there.
	stall := time.AfterFunc(stallTimeout, func() { rep.cancel(errStall) })
	defer stall.Stop()
	if _, err := io.CopyN(io.Discard, rep.Body, a.from); err != nil {
		return fmt.Errorf("%w: %w", errOther, err)
	}
	return nil
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
	o.passed = resp.Header[live.HeaderCacheStatus]
	o.source, _ = live.ParseSource(resp.Header.Get(live.HeaderPipeline))
	o.made = o.begun
	if v, err := live.ParseVersion(resp.Header.Get(live.HeaderVersion)); err == nil {
		o.made = v
	}
	plain, lifetime, _ := live.ParseLifetimes(resp.Header[live.HeaderCacheControl])
	if age, err := strconv.ParseInt(resp.Header.Get("Age"), 10, 32); err == nil && age > 0 {
		o.age = time.Duration(age) * time.Second
	}
	// What is left of it (RFC 9111, 4.2).
	o.lifetime, o.plain = max(lifetime-o.age, 0), max(plain-o.age, 0)
}
