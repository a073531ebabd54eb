package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"headwater/live"
)

// A request is one GET on its way through the steps.
type request struct {
	w      http.ResponseWriter
	r      *http.Request
	method string
	path   live.Path
	event  *event
	view   *view

	arrived   time.Time
	until     time.Time // how long a parent is worth asking
	expected  time.Time // when the segment should be there, where that is not long past
	live      bool      // the segment is one that a crowd asks for,
	liveUntil time.Time // until then
	fromDisk  bool      // it waited for the disk, and not for a parent
	held      bool      // the segment is not published as far as we know
	began     bool      // this request began the fill
	peer      *parent   // the node of our site that asks
	outcome   Outcome
	object    *object
}

// errAgain says that a fill failed before this request got anything of it.
var errAgain = errors.New("edge: look up again")

// serve is the walk of one request: to the object, and from there to the answer.
func (ed *Edge) serve(q *request) error {
	if done, err := ed.find(q); done || err != nil {
		return err
	}
	return ed.deliver(q)
}

// find is the first half: the steps that need nothing but memory once the
// event is known.
func (ed *Edge) find(q *request) (done bool, err error) {
	if done, err := ed.parse(q); done || err != nil {
		return done, err
	}
	if err := ed.locate(q); err != nil {
		return false, err
	}
	if q.path.File == live.FileConfig {
		return true, ed.answerConfig(q)
	}
	if err := ed.place(q); err != nil {
		return false, err
	}
	return false, ed.lookUp(q)
}

// deliver is the second half. Where a fill fails before its first byte has gone
// to this viewer there is time for another.
func (ed *Edge) deliver(q *request) error {
	for tries := 1; ; tries++ {
		err := ed.obtain(q)
		if !errors.Is(err, errAgain) {
			return err
		}
		if tries == triesInRow || !time.Now().Before(q.until) {
			return live.ErrUpstream.With("what the parents sent was cut off or wrong")
		}
		outcome := q.outcome
		if err := ed.lookUp(q); err != nil {
			return err
		}
		q.outcome = outcome // what it was met with first
	}
}

// obtain waits for the object and answers with it.
func (ed *Edge) obtain(q *request) error {
	defer ed.release(q)
	if err := ed.await(q); err != nil {
		return err
	}
	return ed.answer(q)
}

// parse reads method and path.
func (ed *Edge) parse(q *request) (done bool, err error) {
	live.AllowCORS(q.w.Header())
	q.method = q.r.Method
	switch q.r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		live.ServePreflight(q.w)
		return true, nil
	default:
		q.w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		return false, live.ErrMethod.With(q.r.Method + " is not for delivery")
	}
	if q.path, err = live.ParsePath(q.r.URL.Path); err != nil {
		return false, live.ErrNotHere.With(err.Error())
	}
	// RFC 8586: what has been here before goes no further.
	if loop := q.r.Header[loopKey]; len(loop) > 0 && strings.Contains(strings.Join(loop, ","), ed.loop) {
		return false, live.ErrLoop.With("the request has been here before")
	}
	return false, nil
}

// loopKey is CDN-Loop as net/http spells it.
var loopKey = http.CanonicalHeaderKey(live.HeaderCDNLoop)

// locate finds the event and its rendition, in memory once the event is known.
func (ed *Edge) locate(q *request) (err error) {
	if q.event, err = ed.event(q.r.Context(), q.path.Event); err != nil {
		return err
	}
	q.view = q.event.view.Load()
	if q.path.Rendition != "" {
		if _, ok := q.view.timelines[q.path.Rendition]; !ok {
			q.outcome = Never
			return live.ErrNoRendition.With(fmt.Sprintf("event %v has no rendition %q", q.path.Event, q.path.Rendition))
		}
	}
	return nil
}

// othersLive is how long what is no segment counts as of the live window, from
// when it was last asked for: every viewer needs it.
const othersLive = time.Minute

// place refuses a segment by the timeline alone: what cannot exist never
// reaches a parent.
func (ed *Edge) place(q *request) error {
	q.until, q.live = q.arrived.Add(retryBudget), true
	q.liveUntil = q.arrived.Add(othersLive)
	switch q.path.File {
	case live.FileSegment:
	case live.FileMPD, live.FileHLS, live.FilePlaylist:
		if ed.upstream.allDown() {
			q.until = q.arrived // players need not wait for what this node can write itself
		}
		return nil
	default:
		return nil
	}
	n, tl, now := q.path.Number, q.view.timelines[q.path.Rendition], ed.theirs(q.arrived)
	switch tl.Place(n, now) {
	case live.Never:
		q.outcome = Never
		if n > tl.First() {
			return live.ErrNever.For(time.Minute).With(fmt.Sprintf("segment %d is after the end of the event", n))
		}
		return live.ErrNever.With(fmt.Sprintf("the event begins with segment %d", tl.First()))
	case live.Early:
		q.outcome = Early
		due := tl.Due(n)
		return live.ErrEarly.For(due.Sub(now)).With(fmt.Sprintf("segment %d may be asked for from %s on", n, due.Format(live.TimeLayout)))
	case live.Gone:
		q.outcome = Gone
		return live.ErrGone.With(fmt.Sprintf("segment %d left the DVR window at %s", n, tl.GoneAt(n).Format(live.TimeLayout)))
	case live.Due:
		q.held = int64(n) > q.event.edge.Load()
		q.until = ed.ours(tl.Deadline(n))
		q.expected = ed.ours(tl.Expected(n))
	}
	q.live = tl.Live(n, now)
	q.liveUntil = ed.ours(tl.End(n).Add(time.Duration(q.view.config.LiveWindowSeconds) * time.Second))
	return nil
}

// lookUp finds the object, or begins the one fill for all who wait.
func (ed *Edge) lookUp(q *request) error {
	now := time.Now()
	o, begin, err := ed.cache.lookUp(wanted{
		key: key{q.path, q.view.config.FlushVersion}, view: q.view, now: now, liveUntil: q.liveUntil, keep: q.live, ctx: ed.ctx,
	})
	if err != nil {
		q.object, q.outcome = nil, ""
		return err
	}
	q.object, q.began = o, begin
	if s := ed.upstream.site; s != nil && !o.isReady() {
		if q.peer = s.asker(q.r.Header); q.peer != nil {
			s.wait(q.path, q.peer)
		}
	}
	switch {
	case begin:
		q.outcome = Fill
		e, a := q.event, ed.asking(q, now)
		if !ed.spawn(func() { ed.fill(e, o, a) }) {
			o.fail(errClosed)
			ed.cache.filled(o)
			ed.release(q)
			return live.ErrDraining.With("ask another edge")
		}
	case o.ended():
		q.outcome = Hit
	default:
		q.outcome = Join
	}
	// Whoever began the fill of a segment not known to be there held for it,
	// even where the answer was as fast as this line.
	if q.held && q.outcome != Hit && (begin || !o.isReady()) {
		q.outcome = Hold
	}
	return nil
}

// release says that a request has done with its object.
func (ed *Edge) release(q *request) {
	if q.peer != nil {
		ed.upstream.site.unwait(q.path, q.peer)
		q.peer = nil
	}
	ed.cache.release(q.object)
}

// asking says how a fill goes to the parents.
func (ed *Edge) asking(q *request, now time.Time) asking {
	a := asking{path: q.path, key: keyOf(q.path), until: q.until, late: now.Add(hedgeAfter), loop: ed.loop}
	a.own, a.step = a.late, hedgeAfter
	if l := q.r.Header[loopKey]; len(l) > 0 {
		a.loop = strings.Join(l, ", ") + ", " + ed.loop
	}
	if q.path.File == live.FileSegment {
		// Observed lateness is left out: it changes without a version, and all
		// nodes of a site must come to the same.
		tl := q.view.config.Event.Timeline()
		a.due = tl.Due(q.path.Number)
	}
	if q.held {
		tl := q.view.timelines[q.path.Rendition]
		// The parent holds it too. It is late when the segment is.
		if late := q.expected.Add(hedgeAfter); late.After(a.late) {
			a.late = late
		}
		// Up to its decision time the origin may wait for a better one.
		if a.own = ed.ours(tl.Decide(q.path.Number)).Add(hedgeAfter); a.own.Before(a.late) {
			a.own = a.late
		}
		a.step = stepHeld
	} else {
		a.share = max(q.until.Sub(now)/2, hedgeAfter)
	}
	path := q.path
	a.sent = func(p *parent) { ed.metrics.asked(path, p) }
	return a
}

// await waits for the object's head, as long as the viewer does.
func (ed *Edge) await(q *request) error {
	if !q.object.isReady() {
		if q.outcome == Hold {
			ed.metrics.holding.Inc()
			defer ed.metrics.holding.Dec()
		}
		select {
		case <-q.object.ready:
		case <-q.r.Context().Done():
			return context.Cause(q.r.Context())
		}
	}
	o := q.object
	if o.err != nil {
		left := max(o.lifetime-time.Since(o.received), 0)
		if p := (*live.Problem)(nil); errors.As(o.err, &p) {
			return p.For(left)
		}
		return live.ErrUpstream.For(left).With("no parent answered in time")
	}
	ed.met(q)
	return nil
}

// met makes a hit of a request whose object turned out to be on the disk.
func (ed *Edge) met(q *request) {
	if q.object.onDisk && q.outcome != Hit {
		q.outcome, q.fromDisk = Hit, true
		ed.metrics.disk.hits.Inc()
	}
}

// step is what the request went through, as Server-Timing calls it.
func (q *request) step() string {
	if q.fromDisk {
		return "disk"
	}
	return string(q.outcome)
}

// conclude ends a request: counts it, and answers where there was an error.
func (ed *Edge) conclude(q *request, err error) {
	if c := ed.metrics.requests[q.outcome]; c != nil {
		c.Inc()
	}
	if err != nil {
		ed.refuse(q, err)
	}
}

// leave ends a request whose viewer left while it was parked.
func (ed *Edge) leave(q *request) {
	ed.release(q)
	ed.metrics.requests[q.outcome].Inc()
	ed.metrics.left.Inc()
}
