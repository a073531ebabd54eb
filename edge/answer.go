package edge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"headwater/live"
)

// writePiece is written at once, and Config.WriteTimeout is how long a viewer
// may take for it. Slower ones are let go.
const writePiece = 256 << 10

// answer writes the object: what is there, and the rest as it comes.
func (ed *Edge) answer(q *request) error {
	o := q.object
	if _, _, _, err := o.view(); err != nil {
		return errAgain
	}
	now := time.Now()
	ed.describe(q, now)
	if o.status == http.StatusOK && q.partial() {
		return ed.part(q)
	}
	return ed.stream(q)
}

// describe puts on an answer what the parent said of the object, what time has
// made of it, and what this cache did.
func (ed *Edge) describe(q *request, now time.Time) {
	o, h := q.object, q.w.Header()
	for name, v := range o.header {
		h[name] = v
	}
	ed.stamp(q, now)
	elapsed := now.Sub(o.received)
	age, control := freshness(o.lifetime-elapsed, o.plain, o.age+elapsed)
	h.Set(live.HeaderCacheControl, control)
	h.Set("Age", age)
	if s := h.Get("Retry-After"); s != "" {
		h.Set("Retry-After", waited(s, elapsed))
	}
	if o.status == http.StatusOK {
		h.Set("Accept-Ranges", "bytes")
	}
}

// freshness is Age and Cache-Control of an answer that has left of its life, and
// plain at most for those who do not heed invalidations.
// As everywhere (RFC 9111, 4.2) Age is to be taken off both directives, so what
// remains comes out exact in milliseconds, and rounded down in seconds.
func freshness(left, plain, age time.Duration) (string, string) {
	seconds := max(age, 0) / time.Second
	left = max(left, 0).Truncate(time.Millisecond)
	taken := seconds * time.Second
	return strconv.FormatInt(int64(seconds), 10), live.FormatLifetimes(min(left, plain)+taken, left+taken)
}

// waited is what is left of a Retry-After in seconds, at least one.
func waited(s string, elapsed time.Duration) string {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return s
	}
	return strconv.FormatInt(max(n-int64(elapsed/time.Second), 1), 10)
}

// partial reports whether the request is for a part, or for a comparison.
// Several ranges in one request are more often an attack than a need; they may
// be ignored (RFC 9110, 14.2).
func (q *request) partial() bool {
	h := q.r.Header
	if r := h["Range"]; len(r) > 0 && !strings.Contains(r[0], ",") {
		return true
	}
	return len(h["If-None-Match"]) > 0 || len(h["If-Modified-Since"]) > 0 || len(h["If-Match"]) > 0 || len(h["If-Unmodified-Since"]) > 0
}

// part answers a range or a comparison. Of something that is still coming the
// range is sent as it comes.
func (ed *Edge) part(q *request) error {
	o := q.object
	r := q.r
	if len(r.Header["Range"]) > 0 && strings.Contains(r.Header["Range"][0], ",") {
		r = r.Clone(r.Context())
		r.Header.Del("Range")
	}
	rd := &reader{o: o, ctx: r.Context(), size: o.size, w: q.w, timeout: ed.cfg.WriteTimeout}
	if rd.size < 0 {
		data, err := q.whole()
		if err != nil {
			return err
		}
		rd.size = int64(len(data))
	}
	http.ServeContent(partWriter{q.w, ed, q}, r, "", lastModified(o.header), rd)
	if rd.err != nil {
		// It must not look complete.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// partWriter says of which bytes the digest is: Content-Digest is that of what
// is sent, Repr-Digest that of the whole (RFC 9530, 2 and 3).
//
// It counts the answer too.
type partWriter struct {
	http.ResponseWriter
	ed *Edge
	q  *request
}

func (w partWriter) WriteHeader(status int) {
	w.ed.metrics.answered(w.q, status, "")
	h := w.Header()
	if d := h[live.HeaderContentDigest]; len(d) > 0 && status != http.StatusOK {
		delete(h, live.HeaderContentDigest)
		if status == http.StatusPartialContent {
			h["Repr-Digest"] = d
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w partWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// A reader reads an object's body, waiting for what has not come.
type reader struct {
	o    *object
	ctx  context.Context
	w    http.ResponseWriter // is flushed before waiting
	size int64
	off  int64
	err  error

	timeout time.Duration // for the viewer to take what is read
}

func (r *reader) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += r.off
	case io.SeekEnd:
		off += r.size
	}
	r.off = off
	return off, nil
}

func (r *reader) Read(p []byte) (int, error) {
	rc := http.NewResponseController(r.w)
	for {
		data, done, more, err := r.o.view()
		switch {
		case err != nil:
			r.err = err
			return 0, err
		case r.off < int64(len(data)):
			n := copy(p[:min(len(p), writePiece)], data[r.off:])
			r.off += int64(n)
			rc.SetWriteDeadline(time.Now().Add(r.timeout))
			return n, nil
		case done:
			return 0, io.EOF
		}
		rc.Flush()
		select {
		case <-more:
		case <-r.ctx.Done():
			r.err = context.Cause(r.ctx)
			return 0, r.err
		}
	}
}

func lastModified(h http.Header) time.Time {
	t, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// whole waits for the complete body.
func (q *request) whole() ([]byte, error) {
	for {
		data, done, more, err := q.object.view()
		switch {
		case err != nil:
			return nil, errAgain
		case done:
			return data, nil
		}
		select {
		case <-more:
		case <-q.r.Context().Done():
			return nil, context.Cause(q.r.Context())
		}
	}
}

// stream writes the body as it comes. A body that turns out to be cut off or
// wrong ends the connection: it must not look complete.
func (ed *Edge) stream(q *request) error {
	o := q.object
	h := q.w.Header()
	size := o.size
	if size < 0 && (q.r.Method == http.MethodHead || !q.r.ProtoAtLeast(1, 1)) {
		// Without a length HTTP/1.0 ends a body with the connection, and what
		// is cut off would look complete.
		data, err := q.whole()
		if err != nil {
			return err
		}
		size = int64(len(data))
	}
	// Until the first byte is written another answer is possible.
	data, done, more, err := o.view()
	for err == nil && len(data) == 0 && !done && q.r.Method != http.MethodHead {
		select {
		case <-more:
		case <-q.r.Context().Done():
			return context.Cause(q.r.Context())
		}
		data, done, more, err = o.view()
	}
	if err != nil {
		return errAgain
	}
	if size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(size, 10))
	}
	ed.metrics.answered(q, o.status, o.problem)
	q.w.WriteHeader(o.status)
	if q.r.Method == http.MethodHead {
		return nil
	}
	rc := http.NewResponseController(q.w)
	defer rc.SetWriteDeadline(time.Time{})
	for written := 0; ; {
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		for written < len(data) {
			deadline := time.Now().Add(ed.cfg.WriteTimeout)
			rc.SetWriteDeadline(deadline)
			n, werr := q.w.Write(data[written:min(written+writePiece, len(data))])
			written += n
			ed.metrics.bytes.Add(float64(n))
			if werr != nil {
				ed.metrics.left.Inc()
				if !time.Now().Before(deadline) {
					ed.metrics.drops.WithLabelValues(dropSlow).Inc()
				}
				return nil // gone, or too slow
			}
		}
		if done {
			return nil
		}
		if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			ed.metrics.left.Inc()
			return nil
		}
		select {
		case <-more:
		case <-q.r.Context().Done():
			ed.metrics.left.Inc()
			panic(http.ErrAbortHandler) // to return would end a chunked body
		}
		data, done, more, err = o.view()
	}
}

// stamp puts on an answer what every answer of the event carries, what this
// cache did, and how long that took.
func (ed *Edge) stamp(q *request, now time.Time) {
	h := q.w.Header()
	if q.event != nil && q.view != nil {
		q.event.stamp(h, q.view)
	}
	h[live.HeaderCacheStatus] = append(q.passed(), ed.cacheStatus(q, now))
	if q.outcome != "" {
		var t live.Timing
		t.Add(q.step(), now.Sub(q.arrived))
		h.Set(live.HeaderServerTiming, t.String())
	}
}

// passed is what the caches before this one did for this request.
func (q *request) passed() []string {
	if q.object == nil || q.outcome == Hit || !q.object.isReady() {
		return nil
	}
	return q.object.passed[:len(q.object.passed):len(q.object.passed)]
}

// cacheStatus is our member of RFC 9211's Cache-Status.
func (ed *Edge) cacheStatus(q *request, now time.Time) string {
	s := ed.name
	switch o := q.object; q.outcome {
	case Hit:
		s += ";hit"
		if o.err == nil {
			s += ";ttl=" + strconv.FormatInt(int64((o.lifetime-now.Sub(o.received))/time.Second), 10)
		}
	case Fill, Join, Hold:
		s += ";fwd=uri-miss"
		if o.isReady() && o.err == nil {
			s += ";fwd-status=" + strconv.Itoa(o.status)
			if q.began && o.lifetime > 0 {
				s += ";stored"
			}
		}
		if !q.began {
			s += ";collapsed"
		}
	}
	if q.outcome != "" {
		s += ";detail=" + string(q.outcome)
	}
	if q.fromDisk {
		s += ";disk"
	}
	return s
}

// configHold is how long event.json?after= is held when nothing changes.
const configHold = 25 * time.Second

// answerConfig answers with event.json; with ?after=ETAG, once it is another,
// and with &notifications=SEQUENCE also once the set of them is another.
func (ed *Edge) answerConfig(q *request) error {
	after, known := q.r.URL.Query().Get("after"), q.r.URL.Query().Get("notifications")
	timer := time.NewTimer(configHold)
	defer timer.Stop()
hold:
	for after != "" && (q.view.etag == after || q.view.etag == `"`+after+`"`) {
		sequence, news := q.event.heard()
		if known != "" && known != strconv.FormatInt(sequence, 10) {
			break
		}
		select {
		case <-news:
		case <-q.view.changed:
			if err := ed.locate(q); err != nil {
				return err
			}
		case <-timer.C:
			break hold
		case <-ed.draining:
			break hold
		case <-q.r.Context().Done():
			return context.Cause(q.r.Context())
		case <-ed.ctx.Done():
			return live.ErrDraining.With("ask another edge")
		}
	}
	h := q.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Etag", q.view.etag)
	h.Set(live.HeaderCacheControl, live.FormatLifetime(time.Second))
	q.event.stamp(h, q.view)
	http.ServeContent(partWriter{q.w, ed, q}, q.r, "", time.Time{}, bytes.NewReader(q.view.json))
	return nil
}
