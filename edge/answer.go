package edge

import (
	"bytes"
	"context"
	"headwater/live"
	"math"
	"net/http"
	"strconv"
	"time"
)

// answer writes the object: what is there, and the rest as it comes.
func (ed *Edge) answer(q *request) error {
	o := q.object
	h := q.w.Header()
	for name, v := range o.header {
		h[name] = v
	}
	ed.stamp(q)
	now := time.Now()
	age := o.age + now.Sub(o.received)
	h.Set(live.HeaderCacheControl, remaining(o.lifetime, now.Sub(o.received)))
	// Rounded up: whoever subtracts it never keeps the answer too long.
	h.Set("Age", strconv.FormatInt(int64(math.Ceil(age.Seconds()-0.001)), 10))
	if q.outcome != Hit {
		var t live.Timing
		t.Add(string(q.outcome), now.Sub(q.arrived))
		h.Set(live.HeaderServerTiming, t.String())
	}
	ed.metrics.answered(q)

	if o.status != http.StatusOK {
		return ed.stream(q, false)
	}
	plain := q.r.Method == http.MethodGet && q.r.Header.Get("Range") == "" && q.r.Header.Get("If-None-Match") == "" && q.r.Header.Get("If-Modified-Since") == ""
	if plain && !o.complete() {
		return ed.stream(q, true)
	}
	// A part or a comparison of something that is still coming waits for all of it.
	data, err := q.whole()
	if err != nil {
		return err
	}
	http.ServeContent(q.w, q.r, "", lastModified(o.header), bytes.NewReader(data))
	return nil
}

func lastModified(h http.Header) time.Time {
	t, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// remaining is the Cache-Control of an answer that has been here for a while.
// max-age is the parent's, for caches that subtract Age from it; max-age-ms is
// what is left, exactly.
func remaining(lifetime, elapsed time.Duration) string {
	left := max(lifetime-elapsed, 0)
	return "max-age=" + strconv.FormatInt(int64(lifetime/time.Second), 10) + ", max-age-ms=" + strconv.FormatInt(left.Milliseconds(), 10)
}

// whole waits for the complete body.
func (q *request) whole() ([]byte, error) {
	for {
		data, done, more, err := q.object.view()
		if done {
			if err != nil {
				return nil, live.ErrUpstream.With(err.Error())
			}
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
func (ed *Edge) stream(q *request, ok bool) error {
	o := q.object
	h := q.w.Header()
	if ok {
		h.Set("Accept-Ranges", "bytes")
	}
	// Until the first byte is written another answer is possible.
	data, done, more, err := o.view()
	for len(data) == 0 && !done {
		select {
		case <-more:
		case <-q.r.Context().Done():
			return context.Cause(q.r.Context())
		}
		data, done, more, err = o.view()
	}
	if err != nil && len(data) == 0 {
		return live.ErrUpstream.With(err.Error())
	}
	if o.size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(o.size, 10))
	}
	q.w.WriteHeader(o.status)
	if q.r.Method == http.MethodHead {
		return nil
	}
	flush := http.NewResponseController(q.w)
	written := 0
	for {
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		n, werr := q.w.Write(data[written:])
		written += n
		ed.metrics.bytes.Add(float64(n))
		if werr != nil || done {
			return nil // gone, or all of it
		}
		if err := flush.Flush(); err != nil {
			return nil
		}
		select {
		case <-more:
		case <-q.r.Context().Done():
			return nil
		}
		data, done, more, err = o.view()
	}
}

// stamp puts on an answer what every answer of the event carries, and what
// this cache did.
func (ed *Edge) stamp(q *request) {
	h := q.w.Header()
	if q.event != nil && q.view != nil {
		q.event.stamp(h)
	}
	h.Set(live.HeaderCacheStatus, ed.cacheStatus(q))
}

// cacheStatus is RFC 9211's Cache-Status.
func (ed *Edge) cacheStatus(q *request) string {
	s := ed.cfg.Name
	switch q.outcome {
	case Hit:
		s += ";hit;ttl=" + strconv.FormatInt(int64((q.object.lifetime-time.Since(q.object.received))/time.Second), 10)
	case Fill:
		s += ";fwd=uri-miss;stored"
	case Join, Hold:
		s += ";fwd=uri-miss;collapsed"
	}
	if q.outcome != "" {
		s += ";detail=" + string(q.outcome)
	}
	return s
}

// configHold is how long event.json?after= is held when nothing changes.
const configHold = 25 * time.Second

// answerConfig answers with event.json; with ?after=ETAG, once it is another.
func (ed *Edge) answerConfig(q *request) error {
	after := q.r.URL.Query().Get("after")
	timer := time.NewTimer(configHold)
	defer timer.Stop()
hold:
	for after != "" && (q.view.etag == after || q.view.etag == `"`+after+`"`) {
		select {
		case <-q.view.changed:
			if err := ed.locate(q); err != nil {
				return err
			}
		case <-timer.C:
			break hold
		case <-q.r.Context().Done():
			return context.Cause(q.r.Context())
		case <-ed.ctx.Done():
			return live.ErrDraining.With("ask another edge")
		}
	}
	q.outcome = ""
	h := q.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Etag", q.view.etag)
	h.Set(live.HeaderCacheControl, live.FormatLifetime(time.Second))
	q.event.stamp(h)
	http.ServeContent(q.w, q.r, "", time.Time{}, bytes.NewReader(q.view.json))
	return nil
}
