package publish

import (
	"errors"
	"slices"
	"strconv"

	"headwater/origin/book"

	"headwater/live"
)

// wantsFrameRate reports whether a segment tells the frame rate of a rendition
// of which it is not known yet: an init segment does not say it.
func (s *Server) wantsFrameRate(p *publication) bool {
	r, _ := p.event.View().Config().RenditionAt(p.path.Rendition, p.path.Number)
	return r.Type == live.Video && r.FrameRate == "" && p.found.FrameDuration > 0
}

func (s *Server) learnFrameRate(p *publication) {
	ts, d := int64(p.init.Track.Timescale), int64(p.found.FrameDuration)
	g := gcd(ts, d)
	rate := strconv.FormatInt(ts/g, 10)
	if d != g {
		rate += "/" + strconv.FormatInt(d/g, 10)
	}
	s.learnRendition(p, &live.Rendition{Name: p.path.Rendition, FrameRate: rate}, p.of)
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// learnRendition fills in what the operator left out, or what is not known of a
// generation. What was published is stored whatever becomes of this.
func (s *Server) learnRendition(p *publication, told *live.Rendition, of int) {
	learnt := false
	_, err := s.Book.Edit(p.r.Context(), p.path.Event, func(rec *book.Record, exists bool) (book.Edit, error) {
		r, ok := rec.Config.Rendition(told.Name)
		if !exists || !ok {
			return book.Edit{}, book.ErrUnchanged
		}
		if of > 0 {
			g := rec.Config.Generation(of)
			if g == nil || g.Renewed(told.Name) == nil {
				return book.Edit{}, book.ErrUnchanged
			}
			r = g.Renewed(told.Name).Rendition
			was := r
			if book.LearnFrom(&r, told); r == was {
				return book.Edit{}, book.ErrUnchanged
			}
			learnt = true
			return book.Edit{Learn: told, Of: of}, nil
		}
		was := r
		book.LearnFrom(&r, told)
		if r == was {
			return book.Edit{}, book.ErrUnchanged
		}
		ev := rec.Config.Event
		ev.Renditions = slices.Clone(ev.Renditions)
		ev.Renditions[slices.Index(ev.Renditions, was)] = r
		learnt = true
		return book.Edit{Learn: told}, ev.Validate()
	})
	switch {
	case errors.Is(err, book.ErrNoEvent):
	case err != nil:
		s.Log.Error("learning from media", "event", p.path.Event.String(), "rendition", p.path.Rendition, "err", err)
	case learnt:
		s.Book.Changed(p.path.Event)
	}
}
