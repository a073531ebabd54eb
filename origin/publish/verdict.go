package publish

import (
	"fmt"
	"slices"

	"headwater/origin/book"
	"headwater/origin/journal"

	"headwater/admit"
	"headwater/announce"
	"headwater/live"
)

// judge takes a verdict: a PUT of a segment that has no body and says what there is to
// see and hear of the one that was published. It comes late, since who watches does so
// beside the sending: it counts for what is not served yet, and changes nothing of what
// was. It ends the walk.
func (s *Server) judge(p *publication) error {
	if !p.verdict {
		return nil
	}
	tl, n := p.view.Timelines[p.path.Rendition], p.path.Number
	if _, ok := p.event.Candidate(p.path.Rendition, n, p.path.Pipeline); !ok {
		// Another node may have taken it.
		if err := s.Look.Segment(p.r.Context(), p.event, &tl, p.path.Rendition, n, n, admit.Live, 0); err != nil {
			return err
		}
	}
	before, after, ok := p.event.Judge(p.path.Rendition, n, p.path.Pipeline, live.Digest{}, p.quality.Within(tl.Segment()))
	if !ok {
		return live.ErrNotHere.For(-1).With(fmt.Sprintf("pipeline %q has published no segment %d of which anything could be said", p.path.Pipeline, n))
	}
	p.consumed, p.outcome, p.cand = true, book.Judged, after
	s.judged(p, before.Quality)
	return nil
}

// judged tells of a verdict on what was published before, where it is news.
func (s *Server) judged(p *publication, before live.Quality) {
	c := p.cand
	if c.Quality == before {
		return
	}
	known := before.Wants()
	p.wants = slices.DeleteFunc(c.Quality.Wants(), func(k string) bool { return slices.Contains(known, k) })
	p.news = append(p.news, announce.Message{Kind: announce.Published, Event: p.path.Event, Life: p.event.Life, Rendition: p.path.Rendition, Candidate: c})
	if len(c.Quality.Wants()) > 0 { // what was worse than it was said to be, too
		s.Journal.Enter(p.event.Named(), journal.Entry{Rendition: p.path.Rendition, Number: c.Number, Pipeline: c.Pipeline, Region: c.Region,
			Digest: c.Digest.String(), Quality: c.Quality.String(), Turn: journal.Verdict, First: s.Clock.Now().UnixNano(), By: s.Book.Node})
	}
}
