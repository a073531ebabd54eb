package edge

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"headwater/edge/exchange"
	"headwater/live"
)

// The walk of a request. It reads from top to bottom, whatever the viewer speaks
// and whether he waits: each step says which is next, or what it waits for. Who
// drives it, and what he has to know of it, is in packages front and exchange.
type step uint8

const (
	stepParse     step = iota // what is asked for
	stepLocate                // the event and the rendition
	stepConfig                // event.json, held until it is another
	stepPlace                 // on the timeline: what cannot exist is refused
	stepLookUp                // the object, or the one fill of it
	stepAwaitHead             // of the object
	stepDescribe              // the head of the answer
	stepSend                  // the body, as far as it is there and the viewer takes it
	stepAwaitMore             // of the body
	stepDone
)

// A pause is what a step that does not go on waits for.
type pause = exchange.Pause

// walk goes on with a request until it is answered or must wait.
func (ed *Edge) walk(q *request, l exchange.Answer) pause {
	for {
		var p pause
		switch q.step {
		case stepParse:
			q.step = ed.parse(q)
		case stepLocate:
			q.step, p = ed.locate(q)
		case stepConfig:
			q.step, p = ed.config(q)
		case stepPlace:
			q.step = ed.place(q)
		case stepLookUp:
			q.step = ed.lookUp(q)
		case stepAwaitHead:
			q.step, p = ed.awaitHead(q)
		case stepDescribe:
			q.step, p = ed.describe(q, l)
		case stepSend:
			q.step, p = ed.send(q, l)
		case stepAwaitMore:
			q.step, p = ed.awaitMore(q)
		case stepDone:
			ed.conclude(q)
			return pause{}
		}
		if p.Why != exchange.Finished {
			q.paused = true
			return p
		}
	}
}

// parse reads method and path, and where the request has been.
func (ed *Edge) parse(q *request) step {
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		return q.refuse(live.ErrMethod.With(q.Method + " is not for delivery"))
	}
	if q.Path.Event.Tenant == "" {
		var err error
		if q.Path, err = live.ParsePath(q.More.Target); err != nil {
			return q.refuse(live.ErrNotHere.With(live.PathReason(err)))
		}
	}
	// RFC 8586: what has been here before goes no further.
	if q.More != nil && q.More.Loop != "" && q.More.Loop.Has(ed.id) {
		return q.refuse(live.ErrLoop.With("the request has been here before"))
	}
	return stepLocate
}

// locate finds the event and its rendition, in memory once the event is known.
func (ed *Edge) locate(q *request) (step, pause) {
	if q.event == nil {
		e, problem := ed.event(q.Path.Event, q.now())
		if problem != nil {
			return q.refuse(problem), pause{}
		}
		// What was parsed may lie in a buffer that is used again.
		q.event, q.Path.Event = e, e.id
	}
	if !q.event.known.Load() {
		_, news := q.event.heard()
		if !q.event.known.Load() {
			q.own()
			return stepLocate, waitFor(q.event, news)
		}
	}
	if q.event.refusal != nil {
		p := q.event.refusal.For(max(q.event.until.Sub(q.now()), 0))
		q.event = nil // it is not one
		return q.refuse(p), pause{}
	}
	q.view = q.event.view.Load()
	switch q.Path.File {
	case live.FileConfig:
		return stepConfig, pause{}
	case live.FileMPD, live.FileHLS:
		return stepPlace, pause{}
	}
	r := q.view.renditions[q.Path.Rendition]
	if r == nil {
		q.outcome = Never
		q.detail = append(q.detail[:0], "event "...)
		q.detail = append(append(append(q.detail, q.Path.Event.Tenant...), '/'), q.Path.Event.Name...)
		q.detail = append(append(append(q.detail, ` has no rendition "`...), q.Path.Rendition...), '"')
		return q.refuseWith(live.ErrNoRendition, live.ErrNoRendition.Lifetime), pause{}
	}
	q.Path.Rendition = r.name
	return stepPlace, pause{}
}

// waitFor pauses until there is more than was seen.
func waitFor(on exchange.Awaited, seen int) pause {
	return pause{Why: exchange.Waits, On: on, Seen: seen}
}

// configHold is how long event.json?after= is held when nothing changes.
const configHold = 25 * time.Second

// config answers with event.json; with ?after=ETAG, once it is another, and with
// &notifications=SEQUENCE also once the set of them is another. It is for the
// followers of edges below, and no crowd.
func (ed *Edge) config(q *request) (step, pause) {
	m, v := q.More, q.view
	q.until = q.Arrived.Add(configHold)
	sequence, news := q.event.heard()
	same := m.After != "" && (v.etag == m.After || v.etag == `"`+m.After+`"`) && (m.Sequence == "" || m.Sequence == strconv.FormatInt(sequence, 10))
	if same && time.Now().Before(q.until) && !ed.draining.Load() {
		if ed.ctx.Err() != nil {
			return q.refuse(live.ErrDraining.With("ask another edge")), pause{}
		}
		if q.event.over.Load() || q.event.view.Load() != v {
			q.event = nil
			return stepLocate, pause{}
		}
		p := waitFor(q.event, news)
		p.Until = q.until
		return stepConfig, p
	}
	q.text, q.about = v.json, http.Header{
		"Content-Type": {"application/json"}, "Etag": {v.etag}, live.HeaderCacheControl: {live.FormatLifetime(time.Second)}, "Accept-Ranges": {"bytes"},
	}
	return stepDescribe, pause{}
}

// othersLive is how long what is no segment counts as of the live window, from
// when it was last asked for: every viewer needs it.
const othersLive = time.Minute

// place refuses a segment by the timeline alone: what cannot exist never
// reaches a parent.
func (ed *Edge) place(q *request) step {
	q.until, q.live = q.Arrived.Add(retryBudget), true
	q.liveUntil = q.Arrived.Add(othersLive)
	switch q.Path.File {
	case live.FileSegment:
	case live.FileMPD, live.FileHLS, live.FilePlaylist:
		if ed.upstream.orphaned() {
			q.until = q.Arrived // players need not wait for what this node can write itself
		}
		return stepLookUp
	default:
		return stepLookUp
	}
	n, tl, now := q.Path.Number, &q.view.renditions[q.Path.Rendition].timeline, ed.theirs(q.Arrived)
	r, life, refused := tl.Refuse(n, now)
	if refused {
		q.outcome = outcomeOf[r.Place]
		q.detail = r.AppendDetail(q.detail[:0])
		return q.refuseWith(r.Problem, life)
	}
	if r.Place == live.Due {
		q.held = int64(n) > q.event.edge.Load()
		q.until = ed.ours(tl.Deadline(n))
		q.expected = ed.ours(tl.Expected(n))
	}
	q.live = tl.Live(n, now)
	q.liveUntil = ed.ours(tl.End(n).Add(time.Duration(q.view.config.LiveWindowSeconds) * time.Second))
	return stepLookUp
}

var outcomeOf = map[live.Place]Outcome{live.Never: Never, live.Early: Early, live.Gone: Gone}

// lookUp finds the object, or begins the one fill for all who wait.
func (ed *Edge) lookUp(q *request) step {
	now := q.now()
	o, begin, problem := ed.cache.lookUp(wanted{
		key: key{q.Path, q.view.config.FlushVersion}, view: q.view, now: now, liveUntil: q.liveUntil, keep: q.live, ctx: ed.ctx,
	})
	if problem != nil {
		q.object, q.outcome = nil, ""
		return q.refuse(problem)
	}
	q.object, q.began = o, begin
	if s := ed.upstream.site; s != nil && q.More != nil && !o.isReady() {
		if q.peer = s.asker(q.More.Loop); q.peer != nil {
			s.wait(q.Path, q.peer)
		}
	}
	outcome := Join
	switch {
	case begin:
		outcome = Fill
		e, a := q.event, ed.asking(q, now)
		if !ed.spawn(func() { ed.fill(e, o, a) }) {
			o.fail(errClosed)
			ed.cache.filled(o)
			return q.refuse(live.ErrDraining.With("ask another edge"))
		}
	case o.ended():
		outcome = Hit
	}
	// Whoever began the fill of a segment not known to be there held for it,
	// even where the answer was as fast as this line.
	if q.held && outcome != Hit && (begin || !o.isReady()) {
		outcome = Hold
	}
	if q.tries == 0 { // else it is what it was met with first
		q.outcome = outcome
	}
	return stepAwaitHead
}

// awaitHead waits for the object's head, as long as the viewer does.
func (ed *Edge) awaitHead(q *request) (step, pause) {
	o := q.object
	if !o.isReady() {
		if q.outcome == Hold && !q.holding {
			q.holding = true
			ed.metrics.holding.Inc()
		}
		if q.More == nil && q.Method == http.MethodGet {
			return stepAwaitHead, waitFor(o, 0) // nothing is sent before the first byte
		}
		return stepAwaitHead, waitFor(o, headOnly)
	}
	ed.heldNoMore(q)
	if o.err != nil {
		return q.refuse(o.refusal(time.Now())), pause{}
	}
	if o.onDisk && q.outcome != Hit {
		// It makes a hit of a request whose object turned out to be on the disk.
		q.outcome, q.fromDisk = Hit, true
		ed.metrics.disk.hits.Inc()
	}
	return stepDescribe, pause{}
}

// heldNoMore takes a request out of the number of those that are held.
func (ed *Edge) heldNoMore(q *request) {
	if q.holding {
		q.holding = false
		ed.metrics.holding.Dec()
	}
}

// describe begins the answer: with a problem, with what this node has in memory,
// or with the object. Where a fill fails before its first byte has gone to this
// viewer there is time for another.
func (ed *Edge) describe(q *request, l exchange.Answer) (step, pause) {
	switch {
	case q.problem != nil && q.problem.Code == live.ErrUpstream.Code && ed.standIn(q):
		fallthrough
	case q.text != nil:
		ed.describeText(q, l)
		return stepSend, pause{}
	case q.problem != nil:
		ed.describeProblem(q, l)
		return stepSend, pause{}
	}
	o := q.object
	came, done, err := o.progress()
	if err != nil {
		return ed.again(q), pause{}
	}
	size, conditional := o.size, o.status == http.StatusOK && q.conditional()
	if size < 0 && !done && (conditional || q.Method == http.MethodHead || q.Old) {
		// Without a length HTTP/1.0 ends a body with the connection, and what is
		// cut off would look complete.
		return stepDescribe, waitFor(o, came)
	}
	if size < 0 && done {
		size = int64(came)
	}
	p := exchange.Part{Status: o.status, To: size}
	if conditional {
		p = q.More.Decide(exchange.Represented{ETag: o.header.Get("Etag"), Modified: lastModified(o.header), Size: size})
	}
	switch {
	case q.Method == http.MethodHead:
		q.from, q.to = 0, 0
	case came == 0 && !done && p.To != p.From:
		// Until the first byte is written another answer is possible.
		return stepDescribe, waitFor(o, 0)
	default:
		q.from, q.to = p.From, p.To
	}
	ed.describeObject(q, l, p, size)
	return stepSend, pause{}
}

// again looks the object up anew, where nothing of it has gone to the viewer.
func (ed *Edge) again(q *request) step {
	if q.tries++; q.tries == triesInRow || !time.Now().Before(q.until) {
		return q.refuse(live.ErrUpstream.With("what the parents sent was cut off or wrong"))
	}
	ed.release(q)
	return stepLookUp
}

// send sends what is there of the body. One that turns out to be cut off or
// wrong ends the connection.
func (ed *Edge) send(q *request, l exchange.Answer) (step, pause) {
	for q.to < 0 || q.from < q.to {
		data, done, _, err := q.object.view()
		if err != nil {
			ed.conclude(q)
			return stepDone, pause{Why: exchange.Cut}
		}
		end := int64(len(data))
		if q.to >= 0 {
			end = min(end, q.to)
		}
		if q.from >= end {
			if !done {
				return stepAwaitMore, pause{}
			}
			break
		}
		n, err := l.Write(data[q.from:end])
		q.from += int64(n)
		ed.metrics.bytes.Add(float64(n))
		if err != nil {
			ed.leave(q) // gone, or too slow
			return stepDone, pause{Why: exchange.Cut}
		}
		if q.from < end {
			return stepSend, pause{Why: exchange.Full}
		}
	}
	all, err := l.End()
	switch {
	case err != nil:
		ed.leave(q)
		return stepDone, pause{Why: exchange.Cut}
	case !all:
		return stepSend, pause{Why: exchange.Full}
	}
	return stepDone, pause{}
}

// awaitMore waits for more of the body.
func (ed *Edge) awaitMore(q *request) (step, pause) {
	if came, done, _ := q.object.progress(); int64(came) > q.from || done {
		return stepSend, pause{}
	}
	return stepAwaitMore, waitFor(q.object, int(q.from))
}

// conclude ends a request: it gives back what it had, and counts it.
func (ed *Edge) conclude(q *request) {
	ed.heldNoMore(q)
	ed.release(q)
	if c := ed.metrics.requests[q.outcome]; c != nil {
		c.Inc()
	}
}

// leave ends a request whose viewer has left, or is let go.
func (ed *Edge) leave(q *request) {
	ed.conclude(q)
	ed.metrics.left.Inc()
}

// release says that a request has done with its object.
func (ed *Edge) release(q *request) {
	if q.peer != nil {
		ed.upstream.site.unwait(q.Path, q.peer)
		q.peer = nil
	}
	if q.object != nil {
		ed.cache.release(q.object)
		q.object = nil
	}
}

func lastModified(h http.Header) time.Time {
	if v := h["Last-Modified"]; len(v) > 0 {
		if t, err := http.ParseTime(v[0]); err == nil {
			return t
		}
	}
	return time.Time{}
}

// own makes what a request keeps its own: until then it may lie in a buffer that
// is used again.
func (q *request) own() {
	q.Path.Rendition = strings.Clone(q.Path.Rendition)
}
