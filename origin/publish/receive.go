package publish

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"headwater/origin/book"

	"headwater/admit"
	"headwater/cmaf"
	"headwater/live"
)

// arrive gives the PUT of an init segment its place in the order of arrivals,
// and begins to look for a refusal that no announcement told of.
func (s *Server) arrive(p *publication) error {
	looked := make(chan struct{})
	p.looked = looked
	if s.Book.Alone {
		close(looked)
	} else {
		go func() {
			defer close(looked)
			s.Look.Gate(p.r.Context(), p.event, p.path.Rendition, p.path.Pipeline)
		}()
	}
	if p.path.File == live.FileInit {
		<-looked
		known := p.event.GateOf(p.path.Rendition, p.path.Pipeline)
		p.arrived = book.TokenAfter(s.Book.Tokens, time.Unix(0, known.Token.Time))
	}
	return nil
}

// expect refuses a segment whose pipeline has not published the init segment.
func (s *Server) expect(p *publication) error {
	if p.path.File != live.FileSegment {
		return nil
	}
	p.view = p.event.View() // a generation may have begun while the body came
	rendition, n := p.path.Rendition, p.path.Number
	_, own := p.event.InitOf(rendition, p.path.Pipeline)
	if p.init, p.of = p.event.InitAt(p.view, rendition, n); own.Digest.IsZero() || p.init == nil {
		// Another node may have taken it.
		if err := s.Look.Inits(p.r.Context(), p.event, rendition); err != nil {
			return err
		}
		_, own = p.event.InitOf(rendition, p.path.Pipeline)
		p.init, p.of = p.event.InitAt(p.view, rendition, n)
	}
	switch {
	case own.Digest.IsZero():
		return live.ErrInitMissing.With(fmt.Sprintf("pipeline %q has not published %s of rendition %q: PUT it first", p.path.Pipeline, live.InitName, rendition))
	case p.init == nil:
		return live.ErrNotStored.With(fmt.Sprintf("the init segment of generation %d of rendition %q is not here yet", p.of, rendition))
	}
	return p.event.MayPublish(p.view, rendition, p.path.Pipeline, n)
}

// read takes the body, bounded in size, in time and together with all others,
// and digests it as it comes.
func (s *Server) read(p *publication) error {
	most := s.MaxSegmentBytes
	if p.path.File == live.FileInit {
		most = min(most, maxInit)
	}
	if p.r.ContentLength > most {
		return live.ErrTooLarge.With(fmt.Sprintf("%d bytes, at most %d", p.r.ContentLength, most))
	}
	if !s.Publications.Enter(p.path.Event.Tenant, admit.Publish, 1) {
		return live.ErrNotStored.With("too many segments are being published at once")
	}
	p.counted = true
	if err := s.collect(p, most); err != nil {
		return err
	}
	if len(p.body) == 0 {
		return live.ErrMalformedMedia.With("the body is empty")
	}
	p.step(stepRead, p.elapsed())
	if err := p.end(); err != nil {
		return err
	}
	tl := p.view.Timelines[p.path.Rendition]
	s.hearArrival(p, tl.End(p.path.Number), time.Now())
	return nil
}

// verify holds the body against the packager's digest.
func (s *Server) verify(p *publication) error {
	if got := p.cand.Digest; !p.sent.IsZero() && p.sent != got {
		return live.ErrDigest.With(fmt.Sprintf("Content-Digest says %v, the %d bytes that arrived have %v", p.sent, len(p.body), got))
	}
	return nil
}

// inspect finds what is wrong. Nobody's word is taken: what the packager says
// and what is found here are merged.
func (s *Server) inspect(p *publication) error {
	<-p.looked
	if err := s.passGate(p); err != nil {
		return err
	}
	if err := s.expect(p); err != nil {
		return err
	}
	began := time.Now()
	tl := p.view.Timelines[p.path.Rendition]
	ms := tl.Segment().Milliseconds()
	start, end := tl.Media(p.path.Number, int64(p.init.Track.Timescale))
	// Where the segment before ends, of the same pipeline, this one may begin.
	before, _ := p.event.Candidate(p.path.Rendition, p.path.Number-1, p.path.Pipeline)
	var err error
	p.found, err = cmaf.Inspect(p.body, &p.init.Track, cmaf.Window{Start: start, End: end, SegmentMS: ms, Previous: before.Span})
	p.step(stepInspect, time.Since(began))
	if err != nil {
		return mediaProblem(err)
	}
	if p.found.Findings.Has(live.WrongTrack) || p.found.Findings.Has(live.InitMismatch) {
		return live.ErrInitDiffers.With(fmt.Sprintf("segment %d does not belong to the rendition's init segment (%v): %s. Its track is %d, %s at %d ticks per second",
			p.path.Number, p.found.Findings, cmp.Or(p.found.Foreign, "another track"), p.init.Track.ID, p.init.Track.Codecs, p.init.Track.Timescale))
	}
	for i := range p.claimed {
		p.claimed[i].MissingMS = min(p.claimed[i].MissingMS, ms) // more than all cannot be missing
	}
	p.cand = live.Candidate{
		Pipeline: p.source.Pipeline, Region: p.source.Region, Number: p.path.Number, Digest: p.cand.Digest, Size: int64(len(p.body)),
		Generation: p.of, Key: cmaf.KeyOf(p.body, &p.init.Track), Span: p.found.Span, Findings: p.claimed.Merge(p.found.Findings), Quality: p.quality.Within(tl.Segment()),
	}
	if s.Clock.At(p.received).After(tl.Deadline(p.path.Number)) {
		p.cand.Findings = p.cand.Findings.Merge(live.Findings{{Kind: live.Late}})
	}
	return nil
}

func mediaProblem(err error) *live.Problem {
	if errors.Is(err, cmaf.ErrNotCMAF) {
		return live.ErrNotCMAF.With(err.Error())
	}
	return live.ErrMalformedMedia.With(err.Error())
}
