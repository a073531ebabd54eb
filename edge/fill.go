package edge

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/edge/event"
	"headwater/edge/object"
	"headwater/edge/parents"
	"headwater/edge/site"
	"headwater/live"
	"headwater/manifest"
)

var errClosed = errors.New("edge: closed")

const retryBudget = 2 * time.Second // for what has no deadline of its own

// maxLoop bounds the way of a request that is passed on.
const maxLoop = 4 << 10

// cameBy is where a request has been, as far as that is believed: a viewer could
// say anything, and what a fill is asked for with decides for all who join it.
func (q *request) cameBy() live.Loop {
	switch ed := q.ed; {
	case q.More == nil || q.More.Loop == "":
	case ed.cfg.Peers != nil:
		if len(q.More.Loop) <= maxLoop && ed.cfg.Peers(q.More.Authorization) {
			return q.More.Loop
		}
	case ed.site != nil:
		return ed.site.Members(q.More.Loop)
	}
	return ""
}

// fillFrom says how a fill goes to the parents. Others join it, who ask in another
// way, or leave later. So it is made from what all of them have in common: the path
// in its one form, the event's configuration and timeline, and the clock. Of the one
// request that begins it there is, besides,
//
//	where it has been     if it is of another node, which says so with a credential (cameBy)
//	when it came          where the timeline says nothing: for how long it is worth asking
//
// and nothing of its method, protocol, query, other fields, ranges and conditions,
// nor of how and how fast its viewer reads.
func (q *request) fillFrom(now time.Time) parents.Request {
	r := parents.Request{Path: q.Path, Until: q.until, Late: now.Add(parents.HedgeAfter), Step: parents.HedgeAfter}
	r.Own = r.Late
	r.Loop = q.cameBy().Add(string(q.ed.member))
	if q.Path.File == live.FileSegment {
		// Observed lateness is left out: it changes without a version, and all
		// nodes of a site must come to the same.
		tl := q.config.Event.Timeline()
		r.Due = tl.Due(q.Path.Number)
		// Whoever plays takes one in each segment's duration: half of it is to fetch it in.
		r.Body = tl.Segment() / 2
		if !q.expected.IsZero() {
			r.Need = q.until // the segment is due: its deadline
		}
	}
	if q.held {
		tl := &q.config.Renditions[q.Path.Rendition].Timeline
		// The parent holds it too. It is late when the segment is.
		if late := q.expected.Add(parents.HedgeAfter); late.After(r.Late) {
			r.Late = late
		}
		// Up to its decision time the origin may wait for a better one.
		if r.Own = q.ed.parents.Ours(tl.Decide(q.Path.Number)).Add(parents.HedgeAfter); r.Own.Before(r.Late) {
			r.Own = r.Late
		}
		r.Step = site.StepHeld
	} else {
		r.Share = max(q.until.Sub(now)/2, parents.HedgeAfter)
	}
	path := q.Path
	ed := q.ed
	r.Sent = func(p *parents.Parent) { ed.metrics.asked(path, p) }
	if e := q.event; path.File == live.FileSegment || path.File == live.FileInit {
		r.Check = func(resp *http.Response) error { return e.CheckDigest(resp, time.Now()) }
	}
	return r
}

// fill gets an object from the disk or the parents. The cache owns it: it has a
// goroutine of its own, and goes on when the viewer who began it leaves.
func (ed *Edge) fill(e *event.Event, o *object.Object, r parents.Request) {
	defer o.Done()
	defer ed.cache.Filled(o)
	if h, body, ok := ed.disk.Read(o, &e.Config().Config); ok {
		if !ed.cache.Charge(o, h.Bytes()+h.Size) {
			ed.cache.Refuse(o)
			return
		}
		o.Finish(body, nil)
		o.Open(h, ed.sending(e, o, &h)...)
		return
	}
	for tries := 1; ; tries++ {
		rep, err := ed.parents.Get(o.Ctx, r)
		if err != nil {
			if o.Ctx.Err() == nil {
				ed.metrics.fillErrors.Inc()
				ed.log.Warn("fill", "path", o.Key.Path.String(), "err", err)
			}
			o.Fail(err)
			return
		}
		err = ed.take(e, o, rep, r)
		switch {
		case err == nil:
			return
		case tries == object.TriesInRow, !errors.Is(err, errDigest), !time.Now().Before(r.Until):
			o.Fail(err)
			return
		}
		r.Not = rep.Parent
	}
}

// take makes an object of an answer. It returns why that was wrong where nobody has been
// told of it: of a parent that lied before all is read before anything is told.
func (ed *Edge) take(e *event.Event, o *object.Object, rep *parents.Reply, r parents.Request) error {
	now := time.Now()
	e.Hear(rep.Header, now, ed.parents.Theirs(now))
	h := object.HeadOf(rep.Response, o.Begun, now)
	b := body{o: o, h: &h, limit: ed.cfg.MaxObjectBytes, charge: func(n int64) { ed.cache.Charge(o, h.Bytes()+n) }}
	if h.Size <= b.limit && !ed.cache.Charge(o, h.Bytes()+max(h.Size, 0)) {
		rep.Close()
		ed.cache.Refuse(o)
		return nil
	}
	// A refusal is short, and what it says is counted: it is read before it is told.
	refusal := h.Status >= 400 && h.Size >= 0 && h.Size <= maxProblem
	if h.Status >= 400 {
		h.Problem = otherLabel
	}
	b.untold = rep.Parent.Doubted() && h.Status == http.StatusOK
	sending := ed.sending(e, o, &h)
	if !refusal && !b.untold {
		o.Open(h, sending...)
	}
	err := ed.copy(&b, rep, r)
	if err != nil {
		if o.Ctx.Err() == nil { // else nobody wanted it any more
			ed.metrics.fillErrors.Inc()
			ed.log.Error("fill", "path", o.Key.Path.String(), "parent", rep.Parent.Base, "err", err)
		}
		b.charge(0)
		if b.untold {
			return err
		}
	}
	o.Finish(b.buf, err)
	if refusal {
		h.Problem = problemOf(b.buf)
	}
	if refusal || b.untold {
		o.Open(h, sending...)
	}
	if err == nil {
		noteLost(e, o.Key.Path, &h, b.buf)
		ed.disk.Offer(o)
	}
	return nil
}

// noteLost has the event remember which segments are lost, as far as an answer says so.
func noteLost(e *event.Event, p live.Path, h *object.Head, body []byte) {
	switch {
	case p.File == live.FileSegment && (h.Status == http.StatusOK || h.Problem == live.ErrLost.Code):
		e.Answered(p.Rendition, p.Number, h.Status != http.StatusOK)
	case p.File == live.FilePlaylist && h.Status == http.StatusOK:
		if gaps, last, ok := manifest.Gaps(body); ok {
			e.Listed(p.Rendition, gaps, last)
		}
	}
}

// sending are the counters of each time that an object is sent.
func (ed *Edge) sending(e *event.Event, o *object.Object, h *object.Head) []prometheus.Counter {
	if o.Key.Path.File != live.FileSegment || h.Status != http.StatusOK {
		return nil
	}
	return ed.metrics.Sending(e, h.Source.Pipeline, h.Header[live.HeaderDefects])
}

// maxProblem is how long a refusal may be that is read before it is told.
const maxProblem = 4 << 10 // bytes

// problemOf is the code of the problem that a parent answered with.
func problemOf(body []byte) string {
	var p live.Problem
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		return otherLabel
	}
	return p.Code
}
