package publish

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"headwater/origin/book"

	"headwater/access"
	"headwater/announce"
	"headwater/live"
)

// notify takes what the packager said, once its segment is stored,
// and before it is acknowledged: a 2xx says that both are durable. What would
// make the set too large is left out, for a segment is worth more.
func (s *Server) notify(p *publication) error {
	if p.said == nil {
		return nil
	}
	pipeline, mark := p.path.Pipeline, p.said.mark
	if !p.event.Hears(pipeline, mark) {
		s.hearings[heardStale].Inc()
		return nil
	}
	outcome := heardUnchanged
	var before live.Notifications
	v, err := s.Book.Edit(p.r.Context(), p.path.Event, func(rec *book.Record, exists bool) (book.Edit, error) {
		switch {
		case !exists:
			return book.Edit{}, book.NoEvent(p.path.Event)
		case !mark.Newer(rec.Heard[pipeline]):
			outcome = heardStale
			return book.Edit{}, book.ErrUnchanged
		}
		x := book.Edit{Notify: p.said.Set, Heard: map[string]book.Heard{pipeline: mark}, Bound: access.Decide(p.by, access.Want{Right: access.Init, Tenant: p.path.Event.Tenant}) != access.Allowed, Free: p.by == access.Anyone}
		may := rec.May(&x)
		if len(may) < len(x.Notify) {
			outcome = heardForbidden
		}
		if slices.EqualFunc(book.Notified(rec.Notifications.Set, may), rec.Notifications.Set, book.SameNotification) {
			return book.Edit{}, book.ErrUnchanged
		}
		if err := rec.MayNotify(may, s.Clock.At(p.received)); err != nil {
			return x, err
		}
		outcome, before = heardChanged, rec.Notifications
		return x, nil
	})
	switch {
	case errors.Is(err, live.ErrBadRequest):
		outcome = heardRefused
		s.Log.Warn("notifications left out", "event", p.path.Event.String(), "pipeline", pipeline, "err", err)
	case errors.Is(err, live.ErrNoEvent):
		return err
	case err != nil:
		return live.ErrNotStored.With(fmt.Sprintf("the segment is stored, its notifications are not: PUT it again: %v", err))
	}
	p.event.Hear(pipeline, mark)
	s.hearings[outcome].Inc()
	if outcome == heardForbidden {
		s.Log.Warn("notifications left out: others said them", "event", p.path.Event.String(), "pipeline", pipeline, "by", p.by.Name, "from", p.r.RemoteAddr, "said", p.said.brief())
	}
	if outcome == heardChanged {
		s.Log.Info("notifications by a packager", "event", p.path.Event.String(), "pipeline", pipeline, "by", p.by.Name, "from", p.r.RemoteAddr, "said", p.said.brief())
		s.Audit.Changed(p.r.Context(), s.entryOf(p, before, v.Record.Notifications))
		p.news = append(p.news, announce.Message{Kind: announce.Changed, Event: p.path.Event, Stamp: s.Book.Stamp(p.path.Event)})
	}
	return nil
}

// tell announces what was published. It comes before the answer, since it never
// waits: who has the answer finds the segment at any node that is connected.
func (s *Server) tell(p *publication) {
	if len(p.news) == 0 {
		return
	}
	began := time.Now()
	for _, m := range p.news {
		s.Book.Announce(m)
	}
	p.step(stepAnnounce, time.Since(began))
}

// acknowledge answers what ended well.
func (s *Server) acknowledge(p *publication) {
	s.count(p)
	s.tellTime(p)
	h := p.w.Header()
	h.Set(live.HeaderCacheControl, "no-store")
	status := http.StatusOK
	if p.outcome != book.Dropped {
		p.event.Stamp(h, s.Clock.Now())
		// The tag of what was stored (RFC 9110, 9.3.4). Content-Digest would speak
		// of this answer's own content, which is empty.
		h.Set("ETag", p.cand.Digest.ETag())
		h.Set(live.HeaderPublished, live.FormatPublished(p.cand.Published))
		if len(p.cand.Findings) > 0 {
			h.Set(live.HeaderDefects, p.cand.Findings.String())
		}
		if len(p.cand.Quality.Wants()) > 0 {
			h.Set(live.HeaderQuality, p.cand.Quality.String())
		}
		if s := p.timing.String(); s != "" {
			h.Set(live.HeaderServerTiming, s)
		}
		if p.outcome == book.Created {
			status = http.StatusCreated
		}
	}
	h.Set("Content-Length", "0")
	p.w.WriteHeader(status)
	if len(p.wants) > 0 {
		s.Log.Warn("a segment shows less than it should", "event", p.path.Event.String(), "pipeline", p.path.Pipeline, "rendition", p.path.Rendition,
			"number", int64(p.path.Number), "quality", p.cand.Quality.String(), "outcome", string(p.outcome))
	}
	if p.path.File == live.FileSegment && p.outcome != book.Dropped && p.outcome != book.Judged && !p.cand.Clean() {
		s.Log.Warn("defective segment", "event", p.path.Event.String(), "pipeline", p.path.Pipeline, "rendition", p.path.Rendition,
			"number", int64(p.path.Number), "defects", p.cand.Findings.String(), "outcome", string(p.outcome))
	}
}

// learn does what the packager need not wait for, once it has its answer: a
// store that hangs must not turn a stored segment into a late one.
func (s *Server) learn(p *publication) {
	if p.path.File != live.FileSegment || p.outcome != book.Created {
		return
	}
	if s.wantsFrameRate(p) {
		_ = http.NewResponseController(p.w).Flush() // or the answer goes when this returns
		s.learnFrameRate(p)
	}
	if s.wantsEvents(p) {
		_ = http.NewResponseController(p.w).Flush()
		s.learnRendition(p, &live.Rendition{Name: p.path.Rendition, InbandEvents: live.NewEventSchemes(schemes(p)...)}, 0)
	}
}

// release gives back what the publication holds: its turn, and what its body had
// of the bodies gate.
func (s *Server) release(p *publication) {
	if p.leave != nil {
		p.leave()
	}
	if p.counted {
		s.Publications.Leave(p.path.Event.Tenant, 1)
	}
	if p.held > 0 {
		s.letGo(p, p.held)
	}
}
