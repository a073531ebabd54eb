package publish

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"headwater/access"
	"headwater/origin/book"
	"headwater/origin/layout"

	"headwater/announce"
	"headwater/live"
	"headwater/store"
)

// The steps of the PUT of an init segment. The first of a rendition is the one
// that viewers get, until a generation begins; every other must be able to stand in for
// it, since a viewer sees segments of all pipelines with one init segment. Which is the newest, and
// so whether the pipeline's segments are taken, is at gate.

// inspectInit refuses what is not an init segment of the rendition.
func (s *Server) inspectInit(p *publication) (err error) {
	if p.init, err = book.NewInit(p.body, p.source, s.Clock.Now().UTC()); err != nil {
		return s.refuseInit(p, mediaProblem(err))
	}
	want, _ := p.view.Config().Rendition(p.path.Rendition)
	if t := p.init.Track; t.Type != want.Type {
		return s.refuseInit(p, live.ErrInitDiffers.With(fmt.Sprintf("rendition %q is %s, the init segment's track is %s (%s)", want.Name, want.Type, orOther(t.Type), t.Codecs)))
	}
	return nil
}

// reconcileInit compares with the init segment that viewers have, and with what
// this pipeline last published.
func (s *Server) reconcileInit(p *publication) error {
	if first, _ := p.event.InitOf(p.path.Rendition, ""); first == nil {
		// Another node may have taken the first.
		if err := s.Look.Inits(p.r.Context(), p.event, p.path.Rendition); err != nil {
			return err
		}
	}
	in := p.init
	first, own := p.event.InitOf(p.path.Rendition, p.path.Pipeline)
	p.outcome, p.before, p.first = book.Created, own.Published, own.Digest.IsZero()
	if first == nil {
		// A key that is stolen from one pipeline must not decide what all others
		// have to fit.
		want := access.Want{Right: access.Init, Tenant: p.path.Event.Tenant, Pipeline: p.path.Pipeline}
		if v := access.Decide(p.by, want); v != access.Allowed {
			return v.Problem(want)
		}
	}
	if first != nil {
		if err := s.fit(p); err != nil {
			return err
		}
	}
	switch {
	case own.Digest == in.Digest:
		p.outcome, in.Published = book.Identical, own.Published
	case first != nil:
		if !own.Digest.IsZero() {
			p.outcome = book.Repaired
		}
		// The oldest is the one that viewers get, whatever the clock does.
		in.Published = after(in.Published, first.Published.Add(1))
	}
	// The one that viewers have stays in the store as it is, so that after a
	// restart it still is: of a restarted encoder's it is enough to know here
	// that it fits.
	p.known = first != nil && (first.Source.Pipeline == p.path.Pipeline || p.of > 0 && !p.first)
	p.cand = live.Candidate{Pipeline: p.source.Pipeline, Region: p.source.Region, Digest: in.Digest, Size: int64(len(p.body)), Generation: p.of, Published: in.Published}
	return nil
}

// fit finds the generation that the init segment fits, and refuses what fits none that
// viewers have or will have. Such a one is kept: a generation may begin with it.
func (s *Server) fit(p *publication) error {
	rendition := p.path.Rendition
	v := p.event.View()
	tl := v.Config().Event.Timeline()
	n := tl.At(s.Clock.Now())
	current, index := p.event.InitAt(v, rendition, n)
	if current == nil {
		if err := s.Look.Inits(p.r.Context(), p.event, rendition); err != nil {
			return err
		}
		if current, _ = p.event.InitAt(v, rendition, n); current == nil {
			return live.ErrNotStored.With(fmt.Sprintf("the init segment of generation %d of rendition %q is not here yet", index, rendition))
		}
	}
	of, ok, why := p.event.Fits(v, rendition, p.init, n)
	if !ok {
		whose := fmt.Sprintf("that of generation %d", index)
		if index == 0 {
			whose = fmt.Sprintf("the init segment of pipeline %q", current.Source.Pipeline)
		}
		problem := live.ErrInitDiffers.With(fmt.Sprintf("viewers have %s, and this one cannot stand in for it: %v", whose, why))
		if of, ok = s.renew(p, p.init); !ok {
			return cmp.Or(s.keepRefused(p), s.refuseInit(p, problem))
		}
	}
	p.of = of
	return nil
}

// keepRefused stores what is about to be refused, for a generation to begin with.
func (s *Server) keepRefused(p *publication) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.r.Context()), s.StoreTimeout)
	defer cancel()
	return s.Book.KeepRefused(ctx, p.event, p.path.Rendition, p.init)
}

// keepInit stores durably, and lets the pipeline's segments in.
func (s *Server) keepInit(p *publication) error {
	if p.outcome != book.Identical {
		if err := s.storeInit(p); err != nil {
			return err
		}
		if p.of > 0 {
			p.event.Accept(p.path.Rendition, p.path.Pipeline, p.init)
		} else {
			p.event.LearnInit(p.path.Rendition, p.init)
			s.learnRendition(p, p.init.Tells(p.path.Rendition), 0)
		}
	}
	return s.openGate(p)
}

func (s *Server) storeInit(p *publication) error {
	if p.known {
		return nil
	}
	meta, err := layout.EncodeMeta(p.cand, p.event.Life)
	if err != nil {
		return fmt.Errorf("publish: metadata: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.r.Context()), s.StoreTimeout)
	defer cancel()
	item := store.Item{Key: p.path.Pipeline, Token: book.TokenAfter(s.Book.Tokens, p.before), Meta: meta, Value: p.body}
	if err := s.Book.Store.Put(ctx, layout.Inits(p.path.Event, p.path.Rendition), item); err != nil {
		return fmt.Errorf("publish: storing the init segment: %w", err)
	}
	// One that an event leaves when it is deleted just now is of its life, and
	// so of no other event's.
	if s.Book.Get(p.path.Event) != p.event {
		return book.NoEvent(p.path.Event)
	}
	return nil
}

func orOther(t live.MediaType) string {
	if t == "" {
		return "of another kind"
	}
	return string(t)
}

// passGate refuses a segment whose pipeline's gate is shut.
func (s *Server) passGate(p *publication) error {
	g := p.event.GateOf(p.path.Rendition, p.path.Pipeline)
	if !g.Shut() {
		return nil
	}
	if in := p.event.Refused(p.path.Rendition)[p.path.Pipeline]; in != nil {
		// Whoever published with the one that viewers have may have ended since.
		if _, ok := s.renew(p, in); ok {
			return nil
		}
	}
	if !g.Stored {
		if err := s.keepGate(p, g); err != nil {
			s.Log.Error("a refused init segment is known to this node alone: the store does not take it", "path", p.path.String(), "err", err)
		}
	}
	return g.Problem(p.path.Pipeline, p.path.Rendition)
}

// refuseInit shuts the gate, and returns why: the problem, or an error where
// it is shut at this node and not durable.
func (s *Server) refuseInit(p *publication, why *live.Problem) error {
	old := p.event.GateOf(p.path.Rendition, p.path.Pipeline)
	g := book.Gate{Token: p.arrived, Since: s.Clock.Now().UTC(), Why: why.Detail}
	if old.Shut() {
		g.Since = old.Since
	}
	s.Book.LearnGate(p.r.Context(), p.event, p.path.Rendition, p.path.Pipeline, g)
	if err := s.keepGate(p, g); err != nil {
		return err
	}
	return why
}

// openGate lets the pipeline publish whose init segment fits.
func (s *Server) openGate(p *publication) error {
	old := p.event.GateOf(p.path.Rendition, p.path.Pipeline)
	g := book.Gate{Token: p.arrived, Since: old.Since, Until: old.Until, Of: p.of}
	if old.Shut() {
		g.Until = time.Unix(0, p.arrived.Time).UTC()
	}
	if err := s.keepGate(p, g); err != nil {
		return err
	}
	if now := p.event.GateOf(p.path.Rendition, p.path.Pipeline); now.Shut() {
		return live.ErrInitDiffers.With(fmt.Sprintf("this init segment fits, but another of pipeline %q came after it and was refused (%s): PUT it again", p.path.Pipeline, now.Why))
	}
	return nil
}

// keepGate stores a gate, enters it and announces it. A fitting init segment's
// is not known here before it is durable, a refused one's is already.
func (s *Server) keepGate(p *publication, g book.Gate) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.r.Context()), s.StoreTimeout)
	defer cancel()
	if err := s.Book.KeepGate(ctx, p.event, p.path.Rendition, p.path.Pipeline, g); err != nil {
		return err
	}
	if !s.Book.Alone {
		s.Look.Gate(ctx, p.event, p.path.Rendition, p.path.Pipeline) // where a newer one was there already, Put has changed nothing
	}
	s.Book.Announce(announce.Message{Kind: announce.Init, Event: p.path.Event, Life: p.event.Life, Rendition: p.path.Rendition,
		Candidate: live.Candidate{Pipeline: p.path.Pipeline, Region: p.source.Region, Digest: p.cand.Digest, Size: int64(len(p.body)), Published: time.Unix(0, g.Token.Time).UTC()}})
	return nil
}
