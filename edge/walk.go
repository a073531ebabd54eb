package edge

import (
	"net/http"
	"strings"
	"time"

	"headwater/live"
)

// The walk of a request. It reads from top to bottom, whatever the viewer speaks
// and whether he waits: each step says which is next, or what it waits for. Two
// drivers walk: one gives a request that waits to what it waits for, and goes on
// with others (conn.go), the other has a goroutine per request (block.go).
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

// A pause says why a walk does not go on.
type pause struct {
	why  cause
	on   awaited // with waits
	seen int     // of it
}

type cause uint8

const (
	finished cause = iota // the answer is sent
	waits                 // for more than seen of what it is on
	full                  // for the viewer, who does not take what there is
	cut                   // the answer cannot go on, and must not look complete
)

// An awaited is what requests wait for: a head, more of a body, word of an event.
type awaited interface {
	// park has p told, once, when there is more than was seen. It reports false
	// where there is already.
	park(p parked, seen int) bool
	unpark(p parked)
	// changed returns a channel that closes then, nil where there is already.
	changed(seen int) <-chan struct{}
}

// A parked request waits without a goroutine of its own.
type parked interface{ wake() }

// A line is the way of an answer to its viewer.
type line interface {
	// fields is where the head is put.
	fields(status int, now time.Time) *fields
	// begin says that the head is whole, with all of the body where that is
	// short and in memory. size is that of what write will be given, -1 while
	// it is not known.
	begin(text []byte, size int64)
	// write takes a piece of the body, or as much of it as can be taken without
	// waiting for the viewer.
	write(piece []byte) (n int, err error)
	// end reports whether all of the answer was taken.
	end() (all bool, err error)
}

// walk goes on with a request until it is answered or must wait. Whoever waits
// calls it again; whoever gives up calls leave.
func (ed *Edge) walk(q *request, l line) pause {
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
		if p.why != finished {
			q.paused = true
			return p
		}
	}
}

// parse reads method and path, and where the request has been.
func (ed *Edge) parse(q *request) step {
	if q.method != http.MethodGet && q.method != http.MethodHead {
		return q.refuse(live.ErrMethod.With(q.method + " is not for delivery"))
	}
	if q.path.Event.Tenant == "" {
		var err error
		if q.path, err = live.ParsePath(q.more.target); err != nil {
			return q.refuse(live.ErrNotHere.With(live.PathReason(err)))
		}
	}
	// RFC 8586: what has been here before goes no further.
	if q.more != nil && q.more.loop != "" && q.more.loop.Has(ed.id) {
		return q.refuse(live.ErrLoop.With("the request has been here before"))
	}
	return stepLocate
}

// locate finds the event and its rendition, in memory once the event is known.
func (ed *Edge) locate(q *request) (step, pause) {
	if q.event == nil {
		e, problem := ed.event(q.path.Event, q.now())
		if problem != nil {
			return q.refuse(problem), pause{}
		}
		// What was parsed may lie in a buffer that is used again.
		q.event, q.path.Event = e, e.id
	}
	if !q.event.isKnown() {
		q.own()
		return stepLocate, pause{waits, q.event, 0}
	}
	if q.event.refusal != nil {
		p := q.event.refusal.For(max(q.event.until.Sub(q.now()), 0))
		q.event = nil // it is not one
		return q.refuse(p), pause{}
	}
	q.view = q.event.view.Load()
	switch q.path.File {
	case live.FileConfig:
		return stepConfig, pause{}
	case live.FileMPD, live.FileHLS:
		return stepPlace, pause{}
	}
	r := q.view.renditions[q.path.Rendition]
	if r == nil {
		q.outcome = Never
		q.detail = append(q.detail[:0], "event "...)
		q.detail = append(append(append(q.detail, q.path.Event.Tenant...), '/'), q.path.Event.Name...)
		q.detail = append(append(append(q.detail, ` has no rendition "`...), q.path.Rendition...), '"')
		return q.refuseWith(live.ErrNoRendition, live.ErrNoRendition.Lifetime), pause{}
	}
	q.path.Rendition = r.name
	return stepPlace, pause{}
}

// othersLive is how long what is no segment counts as of the live window, from
// when it was last asked for: every viewer needs it.
const othersLive = time.Minute

// place refuses a segment by the timeline alone: what cannot exist never
// reaches a parent.
func (ed *Edge) place(q *request) step {
	q.until, q.live = q.arrived.Add(retryBudget), true
	q.liveUntil = q.arrived.Add(othersLive)
	switch q.path.File {
	case live.FileSegment:
	case live.FileMPD, live.FileHLS, live.FilePlaylist:
		if ed.upstream.orphaned() {
			q.until = q.arrived // players need not wait for what this node can write itself
		}
		return stepLookUp
	default:
		return stepLookUp
	}
	n, tl, now := q.path.Number, &q.view.renditions[q.path.Rendition].timeline, ed.theirs(q.arrived)
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
		key: key{q.path, q.view.config.FlushVersion}, view: q.view, now: now, liveUntil: q.liveUntil, keep: q.live, ctx: ed.ctx,
	})
	if problem != nil {
		q.object, q.outcome = nil, ""
		return q.refuse(problem)
	}
	q.object, q.began = o, begin
	if s := ed.upstream.site; s != nil && q.more != nil && !o.isReady() {
		if q.peer = s.asker(q.more.loop); q.peer != nil {
			s.wait(q.path, q.peer)
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
		if q.more == nil && q.method == http.MethodGet {
			return stepAwaitHead, pause{waits, o, 0} // nothing is sent before the first byte
		}
		return stepAwaitHead, pause{waits, o, headOnly}
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
func (ed *Edge) describe(q *request, l line) (step, pause) {
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
	if size < 0 && !done && (conditional || q.method == http.MethodHead || q.old) {
		// Without a length HTTP/1.0 ends a body with the connection, and what is
		// cut off would look complete.
		return stepDescribe, pause{waits, o, came}
	}
	if size < 0 && done {
		size = int64(came)
	}
	p := part{o.status, 0, size}
	if conditional {
		p = q.more.decide(represented{o.header.Get("Etag"), lastModified(o.header), size})
	}
	switch {
	case q.method == http.MethodHead:
		q.from, q.to = 0, 0
	case came == 0 && !done && p.to != p.from:
		// Until the first byte is written another answer is possible.
		return stepDescribe, pause{waits, o, 0}
	default:
		q.from, q.to = p.from, p.to
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
func (ed *Edge) send(q *request, l line) (step, pause) {
	for q.to < 0 || q.from < q.to {
		data, done, _, err := q.object.view()
		if err != nil {
			ed.conclude(q)
			return stepDone, pause{why: cut}
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
		n, err := l.write(data[q.from:end])
		q.from += int64(n)
		ed.metrics.bytes.Add(float64(n))
		if err != nil {
			ed.leave(q) // gone, or too slow
			return stepDone, pause{why: cut}
		}
		if q.from < end {
			return stepSend, pause{why: full}
		}
	}
	all, err := l.end()
	switch {
	case err != nil:
		ed.leave(q)
		return stepDone, pause{why: cut}
	case !all:
		return stepSend, pause{why: full}
	}
	return stepDone, pause{}
}

// awaitMore waits for more of the body.
func (ed *Edge) awaitMore(q *request) (step, pause) {
	if came, done, _ := q.object.progress(); int64(came) > q.from || done {
		return stepSend, pause{}
	}
	return stepAwaitMore, pause{waits, q.object, int(q.from)}
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
		ed.upstream.site.unwait(q.path, q.peer)
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
	q.path.Rendition = strings.Clone(q.path.Rendition)
}
