package edge

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/edge/event"
	"headwater/edge/object"
	"headwater/edge/parents"
	"headwater/edge/site"
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

// maxLoop bounds the way of a request that is passed on.
const maxLoop = 4 << 10

// cameBy is where a request has been, as far as that is believed: a viewer could
// say anything, and what a fill is asked for with decides for all who join it.
func (q *request) cameBy() live.Loop {
	switch ed := q.ed; {
	case q.More == nil || q.More.Loop == "":
	case ed.cfg.Peers != nil:
		if len(q.More.Loop) <= maxLoop && ed.cfg.Peers(q.More.Authorization) {
			return q.More.Loop
		}
	case ed.site != nil:
		return ed.site.Members(q.More.Loop)
	}
	return ""
}

// fillFrom says how a fill goes to the parents. Others join it, who ask in another
// way, or leave later. So it is made from what all of them have in common: the path
// in its one form, the event's configuration and timeline, and the clock. Of the one
// request that begins it there is, besides,
//
//	where it has been     if it is of another node, which says so with a credential (cameBy)
//	when it came          where the timeline says nothing: for how long it is worth asking
//
// and nothing of its method, protocol, query, other fields, ranges and conditions,
// nor of how and how fast its viewer reads.
func (q *request) fillFrom(now time.Time) parents.Request {
	r := parents.Request{Path: q.Path, Until: q.until, Late: now.Add(parents.HedgeAfter), Step: parents.HedgeAfter}
	r.Own = r.Late
	r.Loop = q.cameBy().Add(string(q.ed.member))
	if q.Path.File == live.FileSegment {
		// Observed lateness is left out: it changes without a version, and all
		// nodes of a site must come to the same.
		tl := q.config.Event.Timeline()
		r.Due = tl.Due(q.Path.Number)
	}
	if q.held {
		tl := &q.config.Renditions[q.Path.Rendition].Timeline
		// The parent holds it too. It is late when the segment is.
		if late := q.expected.Add(parents.HedgeAfter); late.After(r.Late) {
			r.Late = late
		}
		// Up to its decision time the origin may wait for a better one.
		if r.Own = q.ed.parents.Ours(tl.Decide(q.Path.Number)).Add(parents.HedgeAfter); r.Own.Before(r.Late) {
			r.Own = r.Late
		}
		r.Step = site.StepHeld
	} else {
		r.Share = max(q.until.Sub(now)/2, parents.HedgeAfter)
	}
	path := q.Path
	ed := q.ed
	r.Sent = func(p *parents.Parent) { ed.metrics.asked(path, p) }
	if e := q.event; path.File == live.FileSegment || path.File == live.FileInit {
		r.Check = func(resp *http.Response) error { return e.CheckDigest(resp, time.Now()) }
	}
	return r
}

// fill gets an object from the disk or the parents. The cache owns it: it has a
// goroutine of its own, and goes on when the viewer who began it leaves.
func (ed *Edge) fill(e *event.Event, o *object.Object, r parents.Request) {
	defer o.Done()
	defer ed.cache.Filled(o)
	if h, body, ok := ed.disk.Read(o, &e.Config().Config); ok {
		if !ed.cache.Charge(o, h.Bytes()+h.Size) {
			ed.cache.Refuse(o)
			return
		}
		o.Finish(body, nil)
		o.Open(h, ed.sending(e, o, &h)...)
		return
	}
	rep, err := ed.parents.Get(o.Ctx, r)
	if err != nil {
		if o.Ctx.Err() == nil {
			ed.metrics.fillErrors.Inc()
			ed.log.Warn("fill", "path", o.Key.Path.String(), "err", err)
		}
		o.Fail(err)
		return
	}
	now := time.Now()
	e.Hear(rep.Header, now, ed.parents.Theirs(now))
	h := object.HeadOf(rep.Response, o.Begun, now)
	b := body{o: o, h: &h, limit: ed.cfg.MaxObjectBytes, hash: sha256.New(), charge: func(n int64) { ed.cache.Charge(o, h.Bytes()+n) }}
	if h.Size <= b.limit && !ed.cache.Charge(o, h.Bytes()+max(h.Size, 0)) {
		rep.Close()
		ed.cache.Refuse(o)
		return
	}
	// A refusal is short, and what it says is counted: it is read before it is told.
	refusal := h.Status >= 400 && h.Size >= 0 && h.Size <= maxProblem
	if h.Status >= 400 {
		h.Problem = otherLabel
	}
	sending := ed.sending(e, o, &h)
	if !refusal {
		o.Open(h, sending...)
	}
	err = ed.copy(&b, rep, r)
	if err != nil {
		if o.Ctx.Err() == nil { // else nobody wanted it any more
			ed.metrics.fillErrors.Inc()
			ed.log.Error("fill", "path", o.Key.Path.String(), "err", err)
		}
		b.charge(0)
	}
	o.Finish(b.buf, err)
	if refusal {
		h.Problem = problemOf(b.buf)
		o.Open(h, sending...)
	}
	if err == nil {
		ed.disk.Offer(o)
	}
}

// sending are the counters of each time that an object is sent.
func (ed *Edge) sending(e *event.Event, o *object.Object, h *object.Head) []prometheus.Counter {
	if o.Key.Path.File != live.FileSegment || h.Status != http.StatusOK {
		return nil
	}
	return ed.metrics.Sending(e, h.Source.Pipeline, h.Header[live.HeaderDefects])
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

// copy reads the body, and goes on with another request for the rest where it
// breaks off.
func (ed *Edge) copy(b *body, rep *parents.Reply, a parents.Request) error {
	o, h := b.o, b.h
	want, _ := live.ParseDigest(h.Header[live.HeaderContentDigest])
	for {
		err := b.read(rep)
		from := rep.Parent
		rep.Close()
		switch {
		case err == nil && !want.IsZero() && live.Digest(b.hash.Sum(nil)) != want:
			ed.metrics.digestMismatches.Inc()
			ed.parents.Distrust(from)
			return errDigest
		case err == nil:
			return nil
		case o.Ctx.Err() != nil, errors.Is(err, errTooLarge), h.Status != http.StatusOK:
			return err
		}
		ed.parents.Failed(from, err, false)
		a.From, a.ETag, a.Avoid = int64(len(b.buf)), h.Header.Get("Etag"), from
		if strong := strings.HasPrefix(a.ETag, `"`); want.IsZero() && !strong {
			return err // nothing says that the rest is of the same bytes
		}
		// Where the body breaks off again and again, so many times must do.
		if b.resumed++; b.resumed > object.TriesInRow {
			return err
		}
		a.Until = time.Now().Add(retryBudget)
		a.Late, a.Share = time.Now().Add(parents.HedgeAfter), retryBudget/2
		a.Own, a.Step = a.Late, parents.HedgeAfter
		ed.metrics.resumed.Inc()
		next, rerr := ed.parents.Get(o.Ctx, a)
		if rerr != nil {
			return errors.Join(err, rerr)
		}
		if rerr := b.join(next, a, want); rerr != nil {
			next.Close()
			return errors.Join(err, rerr)
		}
		rep = next
	}
}

// A body is what a fill has read.
type body struct {
	o       *object.Object
	h       *object.Head
	limit   int64
	buf     []byte
	hash    hash.Hash
	charge  func(int64)
	resumed int
}

// read reads up to the end. Readers see all of it as it comes, except for the
// piece that completes it, which waits until the whole has been held against
// its digest: so a bad body never looks complete to anybody.
func (b *body) read(rep *parents.Reply) error {
	o, size := b.o, b.h.Size
	if size > b.limit {
		return fmt.Errorf("%w: %d bytes", errTooLarge, size)
	}
	if b.buf == nil && size >= 0 {
		b.buf = make([]byte, 0, size)
	} else if b.buf == nil {
		b.buf = make([]byte, 0, 4096)
	}
	stall := time.AfterFunc(stallTimeout, func() { rep.Cancel(parents.ErrStall) })
	defer stall.Stop()
	for {
		if size >= 0 && int64(len(b.buf)) == size {
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
			case size < 0:
				// Any byte may be the last.
				o.Grow(b.buf, len(b.buf)-1)
			case int64(len(b.buf)) < size:
				o.Grow(b.buf, len(b.buf))
			}
		}
		switch {
		case err == nil:
		case err == io.EOF && (size < 0 || int64(len(b.buf)) == size):
			return nil
		default:
			return fmt.Errorf("%w after %d bytes: %w", errTruncated, len(b.buf), err)
		}
	}
}

// join makes an answer to a request for the rest continue the body.
func (b *body) join(rep *parents.Reply, a parents.Request, want live.Digest) error {
	etag := rep.Header.Get("Etag")
	digest, _ := live.ParseDigest(rep.Header[live.HeaderContentDigest])
	same := a.ETag != "" && etag == a.ETag || !want.IsZero() && digest == want
	if rep.StatusCode == http.StatusPartialContent {
		var from, to, size int64
		if _, err := fmt.Sscanf(rep.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); err != nil || from != a.From || b.h.Size >= 0 && size != b.h.Size {
			return fmt.Errorf("%w: Content-Range %q", errOther, rep.Header.Get("Content-Range"))
		}
		// If-Range made sure that it is the same, except of a parent that ignores it.
		if etag != "" && !same {
			return fmt.Errorf("%w: it has another ETag", errOther)
		}
		return nil
	}
	if rep.StatusCode != http.StatusOK || !same || b.h.Size >= 0 && rep.ContentLength >= 0 && rep.ContentLength != b.h.Size {
		return fmt.Errorf("%w: %s", errOther, rep.Status)
	}
	// All of it again: pass over what is there.
	stall := time.AfterFunc(stallTimeout, func() { rep.Cancel(parents.ErrStall) })
	defer stall.Stop()
	if _, err := io.CopyN(io.Discard, rep.Body, a.From); err != nil {
		return fmt.Errorf("%w: %w", errOther, err)
	}
	return nil
}
