package edge

import (
	"net/http"
	"time"

	"headwater/edge/event"
	"headwater/edge/exchange"
	"headwater/edge/object"
	"headwater/edge/parents"
	"headwater/live"
)

// A request is one GET or HEAD on its way through the steps of the walk. Whoever
// drives it says what is asked; the rest is the walk's.
type request struct {
	exchange.Asked
	ed   *Edge
	step step

	paused bool // it has waited: when it arrived is no longer now
	event  *event.Event
	config *event.Configuration

	shown   *shown    // of who asks, where it has waited; nil: it is in what is asked
	trusted bool      // a node asks, and not a viewer
	origin  string    // of the page that may read the answer with its viewer's cookies
	ends    time.Time // the token; zero: there is none
	renewed [2]string // the field with the next token

	until     time.Time       // how long a parent is worth asking
	expected  time.Time       // when the segment should be there, where that is not long past
	live      bool            // the segment is one that a crowd asks for,
	liveUntil time.Time       // until then
	let       bool            // in: see enter
	since     time.Time       // a live segment is sent
	held      bool            // the segment is not published as far as we know
	holding   bool            // it is counted as held just now
	began     bool            // this request began the fill
	fromDisk  bool            // it waited for the disk, and not for a parent
	tries     int             // fills that failed it
	peer      *parents.Parent // the node of our site that asks
	outcome   Outcome
	object    *object.Object // in use until release

	problem *live.Problem // the answer, where it is a refusal,
	life    time.Duration // for so long
	names   string        // with it: Live-Names
	detail  []byte
	text    []byte      // the answer, where this node has it in memory,
	about   http.Header // and what is said of it
	from    int64       // of the object's body: what is next to be sent,
	to      int64       // and where that ends; -1: at its end
}

// Begin takes up what a viewer asks.
func (q *request) Begin(a exchange.Asked) {
	*q = request{Asked: a, ed: q.ed, detail: q.detail[:0]}
}

// Keep moves it to memory of its own.
func (q *request) Keep() exchange.Request {
	kept := *q
	kept.detail, kept.Said = nil, nil
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

// refuseEvent answers that there is no such event, a node below with which there are.
func (q *request) refuseEvent(no event.Refusal) step {
	q.detail = no.AppendDetail(q.detail[:0], q.Path.Event)
	if q.More != nil && q.More.Names && no.Problem.Status == http.StatusNotFound {
		q.names = q.ed.events.Names(no, q.Path.Event.Tenant, q.now())
	}
	return q.refuseWith(no.Problem, no.Life)
}

// refuseWith answers with a problem whose detail is written already.
func (q *request) refuseWith(p *live.Problem, life time.Duration) step {
	q.problem, q.life = p, life
	return stepDescribe
}

// went is what the request went through, as Server-Timing calls it.
func (q *request) went() string {
	if q.fromDisk {
		return "disk"
	}
	return string(q.outcome)
}

// An Outcome is how a request was met. Counters and Cache-Status share the names.
type Outcome string

// The outcomes.
const (
	Never Outcome = "never" // refused: the event never has it
	Early Outcome = "early" // refused: it cannot exist yet
	Gone  Outcome = "gone"  // refused: it has left the DVR window
	Hit   Outcome = "hit"   // answered from the cache
	Join  Outcome = "join"  // answered by a fill that another began
	Fill  Outcome = "fill"  // began a fill
	Hold  Outcome = "hold"  // began or joined one of a segment that is not published yet
)

// Outcomes lists every outcome, for counters.
var Outcomes = []Outcome{Never, Early, Gone, Hit, Join, Fill, Hold}
