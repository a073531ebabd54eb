package origin

import (
	"errors"
	"slices"
	"strconv"

	"headwater/live"
)

// wantsFrameRate reports whether a segment tells the frame rate of a rendition
// of which it is not known yet: an init segment does not say it.
func (s *publishServer) wantsFrameRate(p *publication) bool {
	r, _ := p.event.view.Load().config().Rendition(p.path.Rendition)
	return r.Type == live.Video && r.FrameRate == "" && p.found.FrameDuration > 0
}

func (s *publishServer) learnFrameRate(p *publication) {
	ts, d := int64(p.init.track.Timescale), int64(p.found.FrameDuration)
	g := gcd(ts, d)
	rate := strconv.FormatInt(ts/g, 10)
	if d != g {
		rate += "/" + strconv.FormatInt(d/g, 10)
	}
	s.learnRendition(p, &live.Rendition{Name: p.path.Rendition, FrameRate: rate})
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// learnRendition fills in what the operator left out. What was published is
// stored whatever becomes of this.
func (s *publishServer) learnRendition(p *publication, told *live.Rendition) {
	learnt := false
	_, err := s.book.edit(p.r.Context(), p.path.Event, func(rec *eventRecord, exists bool) (edit, error) {
		r, ok := rec.Config.Rendition(told.Name)
		if !exists || !ok {
			return edit{}, errUnchanged
		}
		was := r
		learnFrom(&r, told)
		if r == was {
			return edit{}, errUnchanged
		}
		ev := rec.Config.Event
		ev.Renditions = slices.Clone(ev.Renditions)
		ev.Renditions[slices.Index(ev.Renditions, was)] = r
		learnt = true
		return edit{Learn: told}, ev.Validate()
	})
	switch {
	case errors.Is(err, errNoEvent):
	case err != nil:
		s.log.Error("learning from media", "event", p.path.Event.String(), "rendition", p.path.Rendition, "err", err)
	case learnt:
		s.book.changed(p.path.Event)
	}
}
