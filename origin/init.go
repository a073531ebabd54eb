package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"headwater/access"
	"headwater/announce"
	"headwater/live"
	"headwater/store"
)

// The steps of the PUT of an init segment. The first of a rendition is the one
// that viewers get; every other must be able to stand in for it, since a viewer
// sees segments of all pipelines with one init segment. Which is the newest, and
// so whether the pipeline's segments are taken, is at gate.

// inspectInit refuses what is not an init segment of the rendition.
func (s *publishServer) inspectInit(p *publication) (err error) {
	if p.init, err = newInit(p.body, p.source, time.Now().UTC().Round(0)); err != nil {
		return s.refuseInit(p, mediaProblem(err))
	}
	want, _ := p.view.config().Rendition(p.path.Rendition)
	if t := p.init.track; t.Type != want.Type {
		return s.refuseInit(p, live.ErrInitDiffers.With(fmt.Sprintf("rendition %q is %s, the init segment's track is %s (%s)", want.Name, want.Type, orOther(t.Type), t.Codecs)))
	}
	return nil
}

// reconcileInit compares with the init segment that viewers have, and with what
// this pipeline last published.
func (s *publishServer) reconcileInit(p *publication) error {
	if first, _ := p.event.initOf(p.path.Rendition, ""); first == nil {
		// Another node may have taken the first.
		if err := s.look.inits(p.r.Context(), p.event, p.path.Rendition); err != nil {
			return err
		}
	}
	in := p.init
	first, own := p.event.initOf(p.path.Rendition, p.path.Pipeline)
	p.outcome, p.before = created, own.published
	if first == nil {
		// A key that is stolen from one pipeline must not decide what all others
		// have to fit.
		want := access.Want{Right: access.Init, Tenant: p.path.Event.Tenant, Pipeline: p.path.Pipeline}
		if v := access.Decide(p.by, want); v != access.Allowed {
			return v.Problem(want)
		}
	}
	switch {
	case own.digest == in.digest:
		p.outcome, in.published = identical, own.published
	case first != nil:
		if err := first.track.Compatible(&in.track); err != nil {
			return s.refuseInit(p, live.ErrInitDiffers.With(fmt.Sprintf("viewers have the init segment of pipeline %q, and this one cannot stand in for it: %v", first.source.Pipeline, err)))
		}
		if !own.digest.IsZero() {
			p.outcome = repaired
		}
		// The oldest is the one that viewers get, whatever the clock does.
		in.published = after(in.published, first.published.Add(1))
	}
	// The one that viewers have stays in the store as it is, so that after a
	// restart it still is: of a restarted encoder's it is enough to know here
	// that it fits.
	p.known = first != nil && first.source.Pipeline == p.path.Pipeline
	p.cand = live.Candidate{Pipeline: p.source.Pipeline, Region: p.source.Region, Digest: in.digest, Size: int64(len(p.body)), Published: in.published}
	return nil
}

// keepInit stores durably, and lets the pipeline's segments in.
func (s *publishServer) keepInit(p *publication) error {
	if p.outcome != identical {
		if err := s.storeInit(p); err != nil {
			return err
		}
		p.event.learnInit(p.path.Rendition, p.init)
		t := p.init.track
		s.learnRendition(p, &live.Rendition{Name: p.path.Rendition, Codecs: t.Codecs, Width: t.Width, Height: t.Height,
			Timescale: int64(t.Timescale), SampleRate: t.SampleRate, Channels: t.Channels,
			ChannelConfig: t.ChannelConfig, JOC: t.JOC, SAR: t.SAR, Color: t.Color})
	}
	return s.openGate(p)
}

func (s *publishServer) storeInit(p *publication) error {
	if p.known {
		return nil
	}
	meta, err := encodeMeta(p.cand, p.event.life)
	if err != nil {
		return fmt.Errorf("publish: metadata: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.r.Context()), s.storeTimeout)
	defer cancel()
	item := store.Item{Key: p.path.Pipeline, Token: tokenAfter(s.book.tokens, p.before), Meta: meta, Value: p.body}
	if err := s.book.store.Put(ctx, initRecord(p.path.Event, p.path.Rendition), item); err != nil {
		return fmt.Errorf("publish: storing the init segment: %w", err)
	}
	// One that an event leaves when it is deleted just now is of its life, and
	// so of no other event's.
	if s.book.get(p.path.Event) != p.event {
		return noEvent(p.path.Event)
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
func (s *publishServer) passGate(p *publication) error {
	g := p.event.gateOf(p.path.Rendition, p.path.Pipeline)
	if !g.shut() {
		return nil
	}
	if !g.stored {
		if err := s.keepGate(p, g); err != nil {
			s.log.Error("a refused init segment is known to this node alone: the store does not take it", "path", p.path.String(), "err", err)
		}
	}
	return g.problem(p.path.Pipeline, p.path.Rendition)
}

// refuseInit shuts the gate, and returns why: the problem, or an error where
// it is shut at this node and not durable.
func (s *publishServer) refuseInit(p *publication, why *live.Problem) error {
	old := p.event.gateOf(p.path.Rendition, p.path.Pipeline)
	g := gate{token: p.arrived, since: time.Now().UTC().Round(0), why: why.Detail}
	if old.shut() {
		g.since = old.since
	}
	s.book.learnGate(p.r.Context(), p.event, p.path.Rendition, p.path.Pipeline, g)
	if err := s.keepGate(p, g); err != nil {
		return err
	}
	return why
}

// openGate lets the pipeline publish whose init segment fits.
func (s *publishServer) openGate(p *publication) error {
	old := p.event.gateOf(p.path.Rendition, p.path.Pipeline)
	g := gate{token: p.arrived, since: old.since, until: old.until}
	if old.shut() {
		g.until = time.Unix(0, p.arrived.Time).UTC()
	}
	if err := s.keepGate(p, g); err != nil {
		return err
	}
	if now := p.event.gateOf(p.path.Rendition, p.path.Pipeline); now.shut() {
		return live.ErrInitDiffers.With(fmt.Sprintf("this init segment fits, but another of pipeline %q came after it and was refused (%s): PUT it again", p.path.Pipeline, now.why))
	}
	return nil
}

// keepGate stores a gate, enters it and announces it. A fitting init segment's
// is not known here before it is durable, a refused one's is already.
func (s *publishServer) keepGate(p *publication, g gate) error {
	meta, err := json.Marshal(gateJSON{Life: p.event.life, Since: unixNano(g.since), Until: unixNano(g.until), Why: g.why})
	if err != nil {
		return fmt.Errorf("publish: gate: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.r.Context()), s.storeTimeout)
	defer cancel()
	item := store.Item{Key: p.path.Pipeline + gateSuffix, Token: g.token, Meta: meta}
	if err := s.book.store.Put(ctx, initRecord(p.path.Event, p.path.Rendition), item); err != nil {
		return fmt.Errorf("publish: storing what became of the init segment: %w", err)
	}
	g.stored = true
	s.book.learnGate(ctx, p.event, p.path.Rendition, p.path.Pipeline, g)
	if !s.book.alone {
		s.look.gate(ctx, p.event, p.path.Rendition, p.path.Pipeline) // where a newer one was there already, Put has changed nothing
	}
	s.book.announce(announce.Message{Kind: announce.Init, Event: p.path.Event, Life: p.event.life, Rendition: p.path.Rendition,
		Candidate: live.Candidate{Pipeline: p.path.Pipeline, Region: p.source.Region, Digest: p.cand.Digest, Size: int64(len(p.body)), Published: time.Unix(0, g.token.Time).UTC()}})
	return nil
}
