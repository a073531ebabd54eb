package edge

import (
	"net/http"
	"time"

	"headwater/edge/exchange"
	"headwater/live"
)

// A request is one GET or HEAD on its way through the steps of the walk. Whoever
// drives it says what is asked; the rest is the walk's.
type request struct {
	exchange.Asked
	edge *Edge
	step step

	paused bool // it has waited: when it arrived is no longer now
	event  *event
	view   *view

	until     time.Time // how long a parent is worth asking
	expected  time.Time // when the segment should be there, where that is not long past
	live      bool      // the segment is one that a crowd asks for,
	liveUntil time.Time // until then
	held      bool      // the segment is not published as far as we know
	holding   bool      // it is counted as held just now
	began     bool      // this request began the fill
	fromDisk  bool      // it waited for the disk, and not for a parent
	tries     int       // fills that failed it
	peer      *parent   // the node of our site that asks
	outcome   Outcome
	object    *object // in use until release

	problem *live.Problem // the answer, where it is a refusal,
	life    time.Duration // for so long
	detail  []byte
	text    []byte      // the answer, where this node has it in memory,
	about   http.Header // and what is said of it
	from    int64       // of the object's body: what is next to be sent,
	to      int64       // and where that ends; -1: at its end
}

// Request makes a request: see package exchange.
func (ed *Edge) Request() exchange.Request { return &request{edge: ed} }

// Begin takes up what a viewer asks.
func (q *request) Begin(a exchange.Asked) {
	*q = request{Asked: a, edge: q.edge, detail: q.detail[:0]}
}

// Walk goes on with it.
func (q *request) Walk(a exchange.Answer) exchange.Pause { return q.edge.walk(q, a) }

// Leave ends it before its time.
func (q *request) Leave() { q.edge.leave(q) }

// Keep moves it to memory of its own.
func (q *request) Keep() exchange.Request {
	kept := *q
	kept.detail = nil
	return &kept
}

// now is the time, as good as a walk needs it.
func (q *request) now() time.Time {
	if !q.paused && q.tries == 0 {
		return q.Arrived
	}
	return time.Now()
}

// conditional reports whether the request is for a part, or for a comparison.
func (q *request) conditional() bool { return q.More != nil && !q.More.None() }

// refuse answers with a problem.
func (q *request) refuse(p *live.Problem) step {
	q.detail = append(q.detail[:0], p.Detail...)
	return q.refuseWith(p, p.Lifetime)
}

// refuseWith answers with a problem whose detail is written already.
func (q *request) refuseWith(p *live.Problem, life time.Duration) step {
	q.problem, q.life = p, life
	return stepDescribe
}

// step is what the request went through, as Server-Timing calls it.
func (q *request) went() string {
	if q.fromDisk {
		return "disk"
	}
	return string(q.outcome)
}

// asking says how a fill goes to the parents.
func (ed *Edge) asking(q *request, now time.Time) asking {
	a := asking{path: q.Path, key: keyOf(q.Path), until: q.until, late: now.Add(hedgeAfter), loop: live.Loop(ed.member)}
	a.own, a.step = a.late, hedgeAfter
	if q.More != nil {
		a.loop = q.More.Loop.Add(ed.member)
	}
	if q.Path.File == live.FileSegment {
		// Observed lateness is left out: it changes without a version, and all
		// nodes of a site must come to the same.
		tl := q.view.config.Event.Timeline()
		a.due = tl.Due(q.Path.Number)
	}
	if q.held {
		tl := &q.view.renditions[q.Path.Rendition].timeline
		// The parent holds it too. It is late when the segment is.
		if late := q.expected.Add(hedgeAfter); late.After(a.late) {
			a.late = late
		}
		// Up to its decision time the origin may wait for a better one.
		if a.own = ed.ours(tl.Decide(q.Path.Number)).Add(hedgeAfter); a.own.Before(a.late) {
			a.own = a.late
		}
		a.step = stepHeld
	} else {
		a.share = max(q.until.Sub(now)/2, hedgeAfter)
	}
	path := q.Path
	a.sent = func(p *parent) { ed.metrics.asked(path, p) }
	return a
}
