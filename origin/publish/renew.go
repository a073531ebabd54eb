package publish

import (
	"encoding/json"

	"headwater/access"
	"headwater/live"
	"headwater/origin/audit"
	"headwater/origin/book"
)

// lately is how many segments back a pipeline counts as one that publishes.
const lately = 3

// renew begins a generation with an init segment that fits none, where the event is to
// do so by itself. It reports whether there is one now that it fits.
//
// It does not while another pipeline publishes with the init segment that viewers have:
// of two encoders that are set up differently one would put the other out, in turns.
// So when they are exchanged one after the other the generation begins with the second.
func (s *Server) renew(p *publication, in *book.Init) (of int, ok bool) {
	v := p.event.View()
	// A key that is stolen from one pipeline must not decide what all others have to fit.
	may := access.Decide(p.by, access.Want{Right: access.Init, Tenant: p.path.Event.Tenant, Pipeline: p.path.Pipeline}) == access.Allowed
	if v.Config().OnNewInit != live.NewInitGeneration || !may || s.publishes(p, v) {
		return 0, false
	}
	tl := v.Config().Event.Timeline()
	if len(live.NeededGenerations(v.Config().Generations, tl.Oldest(s.Clock.Now()))) >= live.MaxGenerations {
		return 0, false // nothing of it is stored: there is no end to what may come
	}
	rendition := p.path.Rendition
	inits := map[string]*book.Init{rendition: in}
	if err := s.Book.KeepGenerations(p.r.Context(), p.event, inits); err != nil {
		s.Log.Error("no generation begins: its init segment is not stored", "path", p.path.String(), "err", err)
		return 0, false
	}
	var begun live.Generation
	v, err := s.Book.Edit(p.r.Context(), p.path.Event, func(rec *book.Record, exists bool) (book.Edit, error) {
		if !exists {
			return book.Edit{}, book.NoEvent(p.path.Event)
		}
		now := s.Clock.Now()
		if rec.Renews(rendition, in.Digest, now) { // somebody else was first
			return book.Edit{}, book.ErrUnchanged
		}
		x, err := p.event.Begin(rec, book.Beginning{From: p.event.NextGeneration(rec, now, s.Book.Lead(rec), rendition), Inits: inits}, now)
		begun = *x.Generation
		return x, err
	})
	if err != nil {
		s.Log.Error("no generation begins", "path", p.path.String(), "err", err)
		return 0, false
	}
	if begun.Index > 0 {
		s.Book.Changed(p.path.Event)
		s.Audit.Changed(p.r.Context(), s.entryOfGeneration(p, begun))
		s.Log.Warn("a new generation begins: the encoders come with another init segment", "event", p.path.Event.String(), "rendition", rendition,
			"pipeline", p.path.Pipeline, "generation", begun.Index, "from", int64(begun.From))
	}
	if err := s.Book.OpenFor(p.r.Context(), p.event, []string{rendition}); err != nil {
		s.Log.Error("a pipeline of the new generation is still refused", "path", p.path.String(), "err", err)
	}
	of, ok, _ = p.event.Fits(v, rendition, in, tl.At(s.Clock.Now()))
	return of, ok
}

// publishes reports whether another pipeline publishes segments of the generation that
// is now, or will have to show yet whether it does.
func (s *Server) publishes(p *publication, v *book.View) bool {
	rendition, now := p.path.Rendition, s.Clock.Now()
	tl := v.Timelines[rendition]
	if !now.After(tl.Deadline(tl.First())) {
		return true // it is too early to say
	}
	index, _ := v.Config().InitAt(rendition, tl.At(now))
	for n := tl.Edge(now) - lately + 1; n <= tl.At(now); n++ {
		for _, c := range p.event.Usable(v, rendition, n) {
			if g := p.event.GateOf(rendition, c.Pipeline); c.Pipeline != p.path.Pipeline && c.Generation == index && !g.Shut() {
				return true
			}
		}
	}
	return false
}

// entryOfGeneration is one that began by itself, for the audit log.
func (s *Server) entryOfGeneration(p *publication, begun live.Generation) audit.Entry {
	e := audit.EntryOf(p.r, p.by, s.Clock.Now())
	e.Event, e.Did = p.path.Event.String(), "generation"
	if b, err := json.Marshal(begun); err == nil {
		e.After = string(b)
	}
	return e
}
