package edge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"headwater/edge/object"
	"headwater/edge/parents"
	"headwater/live"
)

var (
	errDigest    = errors.New("edge: the body is not what its digest says")
	errTruncated = errors.New("edge: the body ended early")
	errTooLarge  = errors.New("edge: the body is too large")
	errDiffers   = fmt.Errorf("%w: what came before differs", parents.ErrOther)
	errRelieved  = errors.New("edge: another parent goes on with the body")
)

const stallTimeout = 2 * time.Second // of a body

// A body is what a fill has read.
type body struct {
	o      *object.Object
	h      *object.Head
	want   live.Digest // zero: not known
	limit  int64
	buf    []byte
	came   atomic.Int64 // its length, for who watches over it
	hash   hash.Hash
	charge func(int64)
	hold   bool // nothing more is shown before all of it is right
	untold bool // nobody has been told of it

	from    []*parents.Parent // whose bytes it is
	resumed int
}

// copy reads the body. Where it breaks off, or falls behind the rate that it has to
// keep, it goes on with another request for the rest.
//
//	reads        the body of one parent, until all of it is there            done, or wrong
//	             it breaks off: asks another one for the rest, joins it       reads
//	             it falls behind: asks another one for the rest meanwhile,
//	             and leaves the first where that one has it, joins it         reads
func (ed *Edge) copy(b *body, rep *parents.Reply, a parents.Request) error {
	o, h := b.o, b.h
	b.hash = sha256.New()
	b.want, _ = live.ParseDigest(h.Header[live.HeaderContentDigest])
	for {
		from, began, had := rep.Parent, time.Now(), len(b.buf)
		b.from = append(b.from, from)
		b.hold = b.hold || from.Doubted()
		watch := ed.keepPace(b, rep, a)
		err := b.read(rep)
		next := watch.stop()
		rep.Close()
		switch {
		case err == nil:
			if next != nil {
				next.Close()
			}
			if !b.right() {
				ed.metrics.digestMismatches.Inc()
				ed.distrust(b.from)
				return errDigest
			}
			if h.Status == http.StatusOK && !watch.behind {
				ed.parents.Kept(from, int64(len(b.buf)-had))
			}
			return nil
		case o.Ctx.Err() != nil, errors.Is(err, errTooLarge), h.Status != http.StatusOK, !b.resumable():
			if next != nil {
				next.Close()
			}
			return err
		case next != nil:
			ed.metrics.relieved.Inc()
			ed.log.Warn("the rest of a body is had from another parent", "path", o.Key.Path.String(), "slow", from.Base, "rest", next.Parent.Base,
				"came", len(b.buf), "size", h.Size, "after", time.Since(began).Round(time.Millisecond))
		default:
			ed.parents.Failed(from, err, false)
			// Where the body breaks off again and again, so many times must do. Where a
			// fill failed just before this one, it is no time to insist.
			if b.resumed++; b.resumed > object.TriesInRow || o.Again() {
				return err
			}
			ed.metrics.resumed.Inc()
			var none error
			if next, none = ed.parents.Get(o.Ctx, b.rest(a, from)); none != nil {
				return errors.Join(err, none)
			}
		}
		if other := b.join(next); other != nil {
			next.Close()
			if errors.Is(other, errDiffers) {
				ed.distrust(append(b.from, next.Parent))
			}
			return errors.Join(err, other)
		}
		rep = next
	}
}

// distrust is for those of whom one lied, and nobody knows which: see Doubted.
func (ed *Edge) distrust(all []*parents.Parent) {
	for _, p := range all {
		ed.parents.Distrust(p, true)
	}
}

// right reports whether all that came is what its digest says.
func (b *body) right() bool {
	return b.want.IsZero() || live.Digest(b.hash.Sum(nil)) == b.want
}

// resumable reports whether it can be known that the rest is of the same bytes.
func (b *body) resumable() bool {
	return !b.want.IsZero() || strings.HasPrefix(b.h.Header.Get("Etag"), `"`)
}

// rest is the request for what has not come yet, of others than from.
func (b *body) rest(a parents.Request, from *parents.Parent) parents.Request {
	now := time.Now()
	a.From, a.ETag, a.Avoid = b.came.Load(), b.h.Header.Get("Etag"), from
	a.Until = now.Add(retryBudget)
	a.Late, a.Share = now.Add(parents.HedgeAfter), retryBudget/2
	a.Own, a.Step = a.Late, parents.HedgeAfter
	a.Check = func(resp *http.Response) error { return b.continues(resp, a.From) }
	return a
}

// continues says of an answer to a request for the rest why it is not of the same bytes.
func (b *body) continues(resp *http.Response, at int64) error {
	size, etag := b.h.Size, b.h.Header.Get("Etag")
	digest, _ := live.ParseDigest(resp.Header[live.HeaderContentDigest])
	same := etag != "" && resp.Header.Get("Etag") == etag || !b.want.IsZero() && digest == b.want
	switch resp.StatusCode {
	case http.StatusPartialContent:
		from, whole, ok := contentRange(resp)
		// If-Range made sure that it is the same, except of a parent that ignores it.
		same = ok && from == at && (size < 0 || whole == size) && (same || resp.Header.Get("Etag") == "")
	case http.StatusOK:
		same = same && (size < 0 || resp.ContentLength < 0 || resp.ContentLength == size)
	default:
		same = false
	}
	if !same {
		return parents.ErrOther
	}
	return nil
}

func contentRange(resp *http.Response) (from, size int64, ok bool) {
	var to int64
	_, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size)
	return from, size, err == nil
}

// join passes over what is there of an answer to a request for the rest: nothing where it
// broke off, what came meanwhile where it was slow, and everything of a parent that
// answered with the whole. What differs there is wrong at once.
func (b *body) join(rep *parents.Reply) error {
	at := int64(0) // of the whole, whatever it says of a range
	if rep.StatusCode == http.StatusPartialContent {
		at, _, _ = contentRange(rep.Response) // see continues
	}
	stall := time.AfterFunc(stallTimeout, func() { rep.Cancel(parents.ErrStall) })
	defer stall.Stop()
	var piece [16 << 10]byte
	for have := b.buf[at:]; len(have) > 0; {
		n, err := rep.Body.Read(piece[:min(len(piece), len(have))])
		if !bytes.Equal(piece[:n], have[:n]) {
			return errDiffers
		}
		if have = have[n:]; err != nil && len(have) > 0 {
			return fmt.Errorf("%w: %w", parents.ErrOther, err)
		}
		stall.Reset(stallTimeout)
	}
	return nil
}

// A relief watches over a body that is being read. Where it falls behind, it asks
// another parent for the rest beside it, and ends the body where that one has it.
//
//	who reads                        relief
//	reads                            finds the body behind, asks another
//	has read all, or it broke off
//	stops the relief                 is called off
//
//	reads                            has an answer, gives it out, ends the body
//	stops the relief, takes the answer
type relief struct {
	timer  *time.Timer
	cancel context.CancelFunc

	turn   chan struct{}  // who has its one value has the following
	over   bool           // nobody reads any more
	behind bool           // the body fell behind
	next   *parents.Reply // who has the rest
}

// keepPace begins to watch over a body.
func (ed *Edge) keepPace(b *body, rep *parents.Reply, a parents.Request) *relief {
	r := &relief{turn: make(chan struct{}, 1)}
	had, left := b.came.Load(), int64(-1)
	if b.h.Size >= 0 {
		left = b.h.Size - had
	}
	pace := a.Pace(time.Now(), left, rep.Parent)
	if pace == (parents.Pace{}) || b.h.Status != http.StatusOK || !b.resumable() {
		return r
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(b.o.Ctx) // which ends with the fill
	r.timer = time.AfterFunc(time.Until(pace.Until(0)), func() {
		<-r.turn
		end := rep.Cancel
		if r.over || !ed.relieve(ctx, r, b, rep.Parent, a, func() time.Time { return pace.Until(b.came.Load() - had) }) {
			end = func(error) {}
		}
		r.turn <- struct{}{}
		end(errRelieved)
	})
	r.turn <- struct{}{}
	return r
}

// relieve looks after a body at the time until which it was in time, and reports whether
// there is somebody who has the rest.
func (ed *Edge) relieve(ctx context.Context, r *relief, b *body, from *parents.Parent, a parents.Request, until func() time.Time) bool {
	if in := time.Until(until()); in > 0 {
		r.timer.Reset(in)
		return false
	}
	if !r.behind {
		r.behind = true
		ed.metrics.tooSlow.WithLabelValues(from.Base).Inc()
		ed.parents.Slow(from)
	}
	rest := b.rest(a, from)
	rest.Not = from
	if !ed.parents.Relieve(&rest, from) {
		r.timer.Reset(parents.HedgeAfter) // another may come back
		return false
	}
	var err error
	r.next, err = ed.parents.Get(ctx, rest)
	return err == nil
}

// stop ends the watching, and returns the rest where somebody has it.
func (r *relief) stop() *parents.Reply {
	if r.timer == nil {
		return nil
	}
	r.timer.Stop()
	select {
	case <-r.turn:
	default:
		r.cancel() // it asks
		<-r.turn
	}
	r.over = true
	r.turn <- struct{}{}
	return r.next
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
			b.came.Store(int64(len(b.buf)))
			b.hash.Write(b.buf[before:])
			switch {
			case b.hold:
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
