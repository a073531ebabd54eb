package publish

import (
	"time"

	"headwater/origin/book"
)

// An ahead delivers a segment whose storing takes longer than a publication should: see
// book.LearnAhead for what becomes of it.
type ahead struct {
	timer *time.Timer // nil: it is not delivered ahead
	ended chan struct{}
	done  bool // with ended closed: it was
}

// deliverAhead begins to wait for the goal, as storing begins. A repair is not worth it:
// viewers have what it repairs.
func (s *Server) deliverAhead(p *publication) *ahead {
	a := &ahead{ended: make(chan struct{})}
	if p.outcome != book.Created {
		return a
	}
	e, id, rendition, key, body, c := p.event, p.path.Event, p.path.Rendition, p.key(), p.body, p.cand
	a.timer = time.AfterFunc(writeGoal, func() {
		defer close(a.ended)
		if g := e.GateOf(rendition, c.Pipeline); g.Shut() || s.Book.Get(id) != e {
			return
		}
		c.Published = after(s.Clock.Now(), c.Published)
		s.Window.Put(key, body)
		if !s.Book.LearnAhead(e, rendition, c) {
			return
		}
		a.done = true
		s.aheads.Inc()
		s.Log.Warn("a segment is delivered before it is stored: the store is slow", "event", id.String(), "rendition", rendition,
			"number", int64(c.Number), "pipeline", c.Pipeline, "after", writeGoal)
	})
	return a
}

// stop ends the waiting, and reports whether the segment was delivered ahead.
func (a *ahead) stop() bool {
	if a.timer == nil || a.timer.Stop() {
		return false
	}
	<-a.ended
	return a.done
}
