package edge

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"headwater/access/token"
	"headwater/edge/exchange"
	"headwater/edge/object"
	"headwater/live"
	"headwater/manifest"
)

// The walk of a request. It reads from top to bottom, whatever the viewer speaks
// and whether he waits: each step says which is next, or what it waits for. Who
// drives it, and what he has to know of it, is in packages front and exchange.
type step uint8

const (
	stepParse       step = iota // what is asked for
	stepLocate                  // the event
	stepAuthorise               // who may watch, and learn what the event has
	stepSelect                  // the rendition, and the segment of a time
	stepAwaitConfig             // event.json, held until it is another
	stepPlace                   // on the timeline: what cannot exist is refused
	stepEnter                   // or make room for others
	stepSteer                   // steering.json, by how this node is
	stepLookUp                  // the object, or the one fill of it
	stepAwaitHead               // of the object
	stepDescribe                // the head of the answer
	stepSend                    // the body, as far as it is there and the viewer takes it
	stepAwaitMore               // of the body
	stepDone
)

// A pause is what a step that does not go on waits for.
type pause = exchange.Pause

// Walk goes on with a request until it is answered or must wait.
func (q *request) Walk(a exchange.Answer) pause {
	for {
		var p pause
		switch q.step {
		case stepParse:
			q.step = q.parse()
		case stepLocate:
			q.step, p = q.locate()
		case stepAuthorise:
			q.step = q.authorise()
		case stepSelect:
			q.step = q.selectRendition()
		case stepAwaitConfig:
			q.step, p = q.awaitConfig()
		case stepPlace:
			q.step = q.place()
		case stepEnter:
			q.step = q.enter()
		case stepSteer:
			q.step = q.steer()
		case stepLookUp:
			q.step = q.lookUp()
		case stepAwaitHead:
			q.step, p = q.awaitHead()
		case stepDescribe:
			q.step, p = q.describe(a)
		case stepSend:
			q.step, p = q.send(a)
		case stepAwaitMore:
			q.step, p = q.awaitMore()
		case stepDone:
			q.conclude()
			return pause{}
		}
		if p.Why != exchange.Finished {
			q.paused = true
			return p
		}
	}
}

// parse reads method and path, and where the request has been.
func (q *request) parse() step {
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		return q.refuse(live.ErrMethod.With(q.Method + " is not for delivery"))
	}
	if q.Path.Event.Tenant == "" {
		var fault live.PathFault
		if q.Path, fault = live.ReadPath(q.Target); fault.Is() {
			q.detail = fault.Append(q.detail[:0])
			return q.refuseWith(live.ErrNotHere, live.ErrNotHere.Lifetime)
		}
	}
	// RFC 8586: what has been here before goes no further.
	if q.More != nil && q.More.Loop != "" && q.More.Loop.Has(q.ed.id) {
		return q.refuse(live.ErrLoop.With("the request has been here before"))
	}
	return stepLocate
}

var errLoops = live.ErrLoop.With("every parent of this edge asks it for that")

// loops reports whether a request that says where it has been comes from all whom it
// would be asked of. Any viewer can say so: it is he who is refused then, and he alone.
func (q *request) loops() bool { return q.More != nil && q.ed.parents.HaveAsked(q.More.Loop) }

// locate finds the event, in memory once it is known.
func (q *request) locate() (step, pause) {
	if q.event == nil {
		e, no := q.ed.events.Event(q.Path.Event, q.now())
		if no.Problem != nil {
			return q.refuseEvent(no), pause{}
		}
		// What was parsed may lie in a buffer that is used again.
		q.event, q.Path.Event = e, e.ID
	}
	if !q.event.Known() {
		_, news := q.event.Heard()
		if !q.event.Known() {
			if q.loops() {
				return q.refuse(errLoops), pause{}
			}
			q.own()
			q.keepShown()
			return stepLocate, waitFor(q.event, news)
		}
	}
	if no := q.event.Refusal(q.now()); no.Problem != nil {
		q.event = nil // it is not one
		return q.refuseEvent(no), pause{}
	}
	q.config = q.event.Config()
	return stepAuthorise, pause{}
}

// selectRendition finds what the path names of the event.
func (q *request) selectRendition() step {
	switch q.Path.File {
	case live.FileConfig, live.FileSteering:
		return stepEnter
	case live.FileMPD, live.FileListed, live.FileHLS:
		return stepPlace
	}
	r := q.config.Renditions[q.Path.Rendition]
	if r == nil {
		q.outcome = Never
		q.detail = append(q.detail[:0], "event "...)
		q.detail = append(append(append(q.detail, q.Path.Event.Tenant...), '/'), q.Path.Event.Name...)
		q.detail = append(append(append(q.detail, ` has no rendition "`...), q.Path.Rendition...), '"')
		return q.refuseWith(live.ErrNoRendition, live.ErrNoRendition.Lifetime)
	}
	q.Path.Rendition = r.Name
	if q.Path.Key && !q.config.Config.HasKeyFrames(r.Name) {
		q.outcome = Never
		q.detail = live.AppendNoKeyFrames(q.detail[:0], r.Name)
		return q.refuseWith(live.ErrNoKeyFrame, live.ErrNoKeyFrame.Lifetime)
	}
	if q.Path.File == live.FileInit && !q.mayHaveInit() {
		q.outcome = Never
		return q.refuse(live.ErrNoInit.With("no such generation is known"))
	}
	if q.Path.File == live.FileTimed {
		// From here on it is the segment, so that the cache has it once.
		n, ok := manifest.NumberAt(&q.config.Config, q.Path.Time)
		if !ok {
			return q.refuse(live.ErrNotHere.With("no segment begins at that time"))
		}
		q.Path.File, q.Path.Number, q.Path.Time = live.FileSegment, n, 0
	}
	return stepPlace
}

// mayHaveInit reports whether there may be the init segment that is asked for: one of a
// generation that is known, or of the next, of which another node may have told. A storm
// of names that there are not costs no parent anything.
func (q *request) mayHaveInit() bool {
	c := &q.config.Config
	next := 1
	if n := len(c.Generations); n > 0 {
		next = c.Generations[n-1].Index + 1
	}
	return q.Path.Generation == next || c.HasInit(q.Path.Rendition, q.Path.Generation)
}

// waitFor pauses until there is more than was seen.
func waitFor(on exchange.Awaited, seen int) pause {
	return pause{Why: exchange.Waits, On: on, Seen: seen}
}

// configHold is how long event.json?after= is held when nothing changes.
const configHold = 25 * time.Second

// awaitConfig answers with event.json; with ?after=ETAG, once it is another, and with
// &notifications=SEQUENCE also once the set of them is another. It is for the
// followers of edges below, and no crowd.
func (q *request) awaitConfig() (step, pause) {
	if q.over() {
		return q.refuseToken(token.Expired), pause{}
	}
	m, v := q.More, q.config
	q.until = q.Arrived.Add(configHold)
	sequence, news := q.event.Heard()
	same := m.After != "" && (v.ETag == m.After || v.ETag == `"`+m.After+`"`) && (m.Sequence == "" || m.Sequence == strconv.FormatInt(sequence, 10))
	if same && time.Now().Before(q.until) && !q.ed.draining.Load() {
		if q.ed.ctx.Err() != nil {
			return q.refuse(live.ErrDraining.With("ask another edge")), pause{}
		}
		if q.event.Over() || q.event.Config() != v {
			q.event = nil
			return stepLocate, pause{}
		}
		p := waitFor(q.event, news)
		if p.Until = q.until; !q.ends.IsZero() && q.ends.Before(q.until) {
			p.Until = q.ends
		}
		return stepAwaitConfig, p
	}
	q.text, q.about = v.JSON, http.Header{
		"Content-Type": {"application/json"}, "Etag": {v.ETag}, live.HeaderCacheControl: {live.FormatLifetime(time.Second)}, "Accept-Ranges": {"bytes"},
	}
	return stepDescribe, pause{}
}

// othersLive is how long what is no segment counts as of the live window, from
// when it was last asked for: every viewer needs it.
const othersLive = time.Minute

// place refuses a segment by the timeline alone: what cannot exist never
// reaches a parent.
func (q *request) place() step {
	q.until, q.live = q.Arrived.Add(retryBudget), true
	q.liveUntil = q.Arrived.Add(othersLive)
	if q.Path.File != live.FileSegment {
		if q.Path.File.Manifest() && q.ed.parents.Orphaned() {
			q.ed.orphaned.Store(q.Arrived.UnixNano())
			q.until = q.Arrived // players need not wait for what this node can write itself
		}
		return stepEnter
	}
	n, tl, now := q.Path.Number, &q.config.Renditions[q.Path.Rendition].Timeline, q.ed.parents.Theirs(q.Arrived)
	r, life, refused := tl.Refuse(n, now)
	if refused {
		q.outcome = outcomeOf[r.Place]
		q.detail = r.AppendDetail(q.detail[:0])
		return q.refuseWith(r.Problem, life)
	}
	if r.Place == live.Due {
		q.held = int64(n) > q.event.Newest()
		q.until = q.ed.parents.Ours(tl.Deadline(n))
		q.expected = q.ed.parents.Ours(tl.Expected(n))
	}
	q.live = tl.Live(n, now) && !q.Path.Key
	q.liveUntil = q.ed.parents.Ours(tl.End(n).Add(time.Duration(q.config.LiveWindowSeconds) * time.Second))
	return stepEnter
}

var outcomeOf = map[live.Place]Outcome{live.Never: Never, live.Early: Early, live.Gone: Gone}

// lookUp finds the object, or begins the one fill for all who wait.
func (q *request) lookUp() step {
	now, loops := q.now(), q.loops()
	key := object.Key{Path: q.Path, Flush: q.config.FlushVersion}
	if q.Path.File.Manifest() {
		key.Told, _ = q.event.Heard() // viewers learn of it from the next they ask for
		key.Generations = len(q.config.Generations)
	}
	o, begin, ok := q.ed.cache.LookUp(object.Wanted{
		Key: key, Config: &q.config.Config, Now: now, LiveUntil: q.liveUntil, Keep: q.live, There: loops, Ctx: q.ed.ctx,
	})
	if !ok {
		q.object, q.outcome = nil, ""
		if loops {
			return q.refuse(errLoops)
		}
		return q.refuse(live.ErrShed.With("memory is taken by what is being filled and read"))
	}
	q.object, q.began = o, begin
	if s := q.ed.site; s != nil && q.More != nil && !o.Ready() {
		if q.peer = s.Asker(q.cameBy()); q.peer != nil {
			s.Wait(q.Path, q.peer)
		}
	}
	outcome := Join
	switch {
	case begin:
		outcome = Fill
		ed, e, r := q.ed, q.event, q.fillFrom(now)
		if !ed.spawn(func() { ed.fill(e, o, r) }) {
			o.Fail(errClosed)
			q.ed.cache.Filled(o)
			return q.refuse(live.ErrDraining.With("ask another edge"))
		}
	case o.Ended():
		outcome = Hit
	}
	// Whoever began the fill of a segment not known to be there held for it,
	// even where the answer was as fast as this line.
	if q.held && outcome != Hit && (begin || !o.Ready()) {
		outcome = Hold
	}
	if q.tries == 0 { // else it is what it was met with first
		q.outcome = outcome
	}
	return stepAwaitHead
}

// awaitHead waits for the object's head, as long as the viewer does.
func (q *request) awaitHead() (step, pause) {
	o := q.object
	if !o.Ready() {
		if q.over() {
			q.heldNoMore()
			q.release()
			return q.refuseToken(token.Expired), pause{}
		}
		if q.outcome == Hold && !q.holding {
			q.holding = true
			q.ed.metrics.holding.Add(1)
		}
		if q.More == nil && q.Method == http.MethodGet {
			return stepAwaitHead, pause{Why: exchange.Waits, On: o, Until: q.ends} // nothing is sent before the first byte
		}
		return stepAwaitHead, pause{Why: exchange.Waits, On: o, Seen: object.HeadOnly, Until: q.ends}
	}
	q.heldNoMore()
	if o.Err != nil {
		return q.refuse(o.Refusal(time.Now())), pause{}
	}
	if o.OnDisk && q.outcome != Hit {
		// It makes a hit of a request whose object turned out to be on the disk.
		q.outcome, q.fromDisk = Hit, true
		q.ed.metrics.diskHits.Inc()
	}
	return stepDescribe, pause{}
}

// heldNoMore takes a request out of the number of those that are held.
func (q *request) heldNoMore() {
	if q.holding {
		q.holding = false
		q.ed.metrics.holding.Add(-1)
	}
}

// describe begins the answer: with a problem, with what this node has in memory,
// or with the object. Where a fill fails before its first byte has gone to this
// viewer there is time for another.
func (q *request) describe(a exchange.Answer) (step, pause) {
	switch {
	case q.problem != nil && q.problem.Code == live.ErrUpstream.Code && q.standIn():
		fallthrough
	case q.text != nil:
		q.describeText(a)
		return stepSend, pause{}
	case q.problem != nil:
		q.describeProblem(a)
		return stepSend, pause{}
	}
	o := q.object
	came, done, err := o.Progress()
	if err != nil {
		return q.again(), pause{}
	}
	if as, change := q.form(); o.Status == http.StatusOK && q.Path.File.Manifest() && (q.Coding != exchange.Identity || as != object.Whole) {
		if !done {
			return stepDescribe, waitFor(o, came)
		}
		q.describeForm(a, as, change)
		return stepSend, pause{}
	}
	size, conditional := o.Size, o.Status == http.StatusOK && q.conditional()
	if size < 0 && !done && (conditional || q.Method == http.MethodHead || q.Old) {
		// Without a length HTTP/1.0 ends a body with the connection, and what is
		// cut off would look complete.
		return stepDescribe, waitFor(o, came)
	}
	if size < 0 && done {
		size = int64(came)
	}
	p := exchange.Part{Status: o.Status, To: size}
	if conditional {
		p = q.More.Decide(exchange.Represented{ETag: o.Header.Get("Etag"), Modified: lastModified(o.Header), Size: size})
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
	q.describeObject(a, p, size)
	return stepSend, pause{}
}

// again looks the object up anew, where nothing of it has gone to the viewer.
func (q *request) again() step {
	if q.tries++; q.tries == object.TriesInRow || !time.Now().Before(q.until) {
		return q.refuse(live.ErrUpstream.With("what the parents sent was cut off or wrong"))
	}
	q.release()
	return stepLookUp
}

// send sends what is there of the body. One that turns out to be cut off or
// wrong ends the connection.
func (q *request) send(a exchange.Answer) (step, pause) {
	for q.to < 0 || q.from < q.to {
		data, done, err := q.object.Body()
		if err != nil {
			q.conclude()
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
		n, err := a.Write(data[q.from:end])
		q.from += int64(n)
		q.ed.metrics.bytes.Add(float64(n))
		q.ed.admission.spent(q, int64(n))
		if err != nil {
			q.Leave() // gone, or too slow
			return stepDone, pause{Why: exchange.Cut}
		}
		if q.from < end {
			return stepSend, pause{Why: exchange.Full}
		}
	}
	all, err := a.End()
	switch {
	case err != nil:
		q.Leave()
		return stepDone, pause{Why: exchange.Cut}
	case !all:
		return stepSend, pause{Why: exchange.Full}
	}
	return stepDone, pause{}
}

// awaitMore waits for more of the body.
func (q *request) awaitMore() (step, pause) {
	if came, done, _ := q.object.Progress(); int64(came) > q.from || done {
		return stepSend, pause{}
	}
	return stepAwaitMore, waitFor(q.object, int(q.from))
}

// conclude ends a request: it gives back what it had, and counts it.
func (q *request) conclude() {
	q.heldNoMore()
	q.ed.admission.sentAll(q)
	q.release()
	if c := q.ed.metrics.requests[q.outcome]; c != nil {
		c.Inc()
	}
}

// Leave ends a request whose viewer has left, or is let go.
func (q *request) Leave() {
	q.conclude()
	q.ed.metrics.left.Inc()
}

// release says that a request has done with its object.
func (q *request) release() {
	if q.peer != nil {
		q.ed.site.Unwait(q.Path, q.peer)
		q.peer = nil
	}
	if q.object != nil {
		q.ed.cache.Release(q.object)
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
