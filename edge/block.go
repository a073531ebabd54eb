package edge

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"headwater/live"
)

// writePiece is written at once, and Config.WriteTimeout is how long a viewer
// may take for it. Slower ones are let go.
const writePiece = 256 << 10

// block drives the walk of a request that net/http or HTTP/3 has a goroutine for.
func (ed *Edge) block(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions {
		live.AllowCORS(w.Header())
		live.ServePreflight(w)
		return
	}
	q := &request{method: r.Method, arrived: time.Now(), old: !r.ProtoAtLeast(1, 1)}
	q.more = &asked{target: r.URL.Path, conditions: conditionsOf(r.Header), loop: live.LoopOf(r.Header[loopKey])}
	if r.URL.RawQuery != "" {
		query := r.URL.Query()
		q.more.after, q.more.sequence = query.Get("after"), query.Get("notifications")
	}
	l := &blockingLine{ed: ed, w: w, head: r.Method == http.MethodHead}
	for {
		p := ed.walk(q, l)
		switch p.why {
		case finished:
			if l.timed {
				l.deadline(time.Time{})
			}
			return
		case waits:
			if l.await(r.Context(), p) {
				continue
			}
			ed.leave(q)
		}
		// To return would be an answer, 200 and empty, or the end of a chunked
		// body; who only stopped sending would get it.
		panic(http.ErrAbortHandler)
	}
}

// loopKey is CDN-Loop as net/http spells it.
var loopKey = http.CanonicalHeaderKey(live.HeaderCDNLoop)

// A blockingLine is an answer by a ResponseWriter.
type blockingLine struct {
	ed     *Edge
	w      http.ResponseWriter
	head   bool // nothing follows it
	f      fields
	status int
	begun  bool
	timed  bool // a write deadline is set
}

func (l *blockingLine) fields(status int, _ time.Time) *fields {
	l.status, l.f.header = status, l.w.Header()
	return &l.f
}

func (l *blockingLine) begin(text []byte, _ int64) {
	l.begun = true
	l.w.WriteHeader(l.status)
	if len(text) > 0 {
		l.w.Write(text) // who is gone has no other answer either
	}
}

func (l *blockingLine) deadline(t time.Time) {
	l.timed = !t.IsZero()
	http.NewResponseController(l.w).SetWriteDeadline(t)
}

func (l *blockingLine) write(piece []byte) (n int, err error) {
	for n < len(piece) && err == nil {
		until := time.Now().Add(l.ed.cfg.WriteTimeout)
		l.deadline(until)
		var m int
		m, err = l.w.Write(piece[n:min(n+writePiece, len(piece))])
		n += m
		if err != nil && !time.Now().Before(until) {
			l.ed.metrics.drops.WithLabelValues(dropSlow).Inc()
		}
	}
	return n, err
}

func (l *blockingLine) end() (all bool, err error) { return true, nil }

// await waits for what a walk waits for, as long as the viewer does.
func (l *blockingLine) await(ctx context.Context, p pause) bool {
	if l.begun {
		if err := http.NewResponseController(l.w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return false
		}
	}
	if c, ok := p.on.(configWait); ok {
		return c.await(ctx, l.ed)
	}
	changed := p.on.changed(p.seen)
	if changed == nil {
		return true
	}
	select {
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	}
}

// configHold is how long event.json?after= is held when nothing changes.
const configHold = 25 * time.Second

// config answers with event.json; with ?after=ETAG, once it is another, and with
// &notifications=SEQUENCE also once the set of them is another. Only drivers that
// block get here: the followers of edges below ask for it, and no crowd.
func (ed *Edge) config(q *request) (step, pause) {
	m, v := q.more, q.view
	if m.holdUntil.IsZero() {
		m.holdUntil = q.arrived.Add(configHold)
	}
	sequence, news := q.event.heard()
	same := m.after != "" && (v.etag == m.after || v.etag == `"`+m.after+`"`) && (m.sequence == "" || m.sequence == strconv.FormatInt(sequence, 10))
	if left := time.Until(m.holdUntil); same && left > 0 && !ed.isDraining() {
		if ed.ctx.Err() != nil {
			return q.refuse(live.ErrDraining.With("ask another edge")), pause{}
		}
		select {
		case <-v.changed:
			// Another, or none any more: the event is looked up anew.
			q.event = nil
			return stepLocate, pause{}
		default:
		}
		return stepConfig, pause{waits, configWait{news, v.changed, left}, 0}
	}
	q.text, q.about = v.json, http.Header{
		"Content-Type": {"application/json"}, "Etag": {v.etag}, live.HeaderCacheControl: {live.FormatLifetime(time.Second)}, "Accept-Ranges": {"bytes"},
	}
	return stepDescribe, pause{}
}

// A configWait waits for the first of several changes of an event.
type configWait struct {
	news, view <-chan struct{}
	left       time.Duration
}

func (configWait) park(parked, int) bool         { return false }
func (configWait) unpark(parked)                 {}
func (c configWait) changed(int) <-chan struct{} { return c.news }

func (c configWait) await(ctx context.Context, ed *Edge) bool {
	timer := time.NewTimer(c.left)
	defer timer.Stop()
	select {
	case <-c.news:
	case <-c.view:
	case <-timer.C:
	case <-ed.draining:
	case <-ed.ctx.Done():
	case <-ctx.Done():
		return false
	}
	return true
}
