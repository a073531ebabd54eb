package origin

import (
	"context"
	"fmt"
	"time"

	"headwater/live"
	"headwater/store"
)

// publishInit takes an init segment. The first of a rendition is the one that
// viewers get; every other must be able to stand in for it, since a viewer
// sees segments of all pipelines with one init segment.
func (o *Origin) publishInit(p *publication) error {
	in, err := newInit(p.body, p.source, time.Now().UTC().Round(0))
	// One at a time for the whole rendition: the first must be one.
	done, turnErr := o.busy.enter(p.r.Context(), busyKey{p.path.Event, "", p.path.Rendition, -1})
	if turnErr != nil {
		return turnErr
	}
	defer done()
	if err != nil {
		return o.refuseInit(p, mediaProblem(err))
	}
	want, _ := p.view.config().Rendition(p.path.Rendition)
	if in.track.Type != want.Type {
		return o.refuseInit(p, live.ErrInitDiffers.With(fmt.Sprintf("rendition %q is %s, the init segment's track is %s (%s)", want.Name, want.Type, orOther(in.track.Type), in.track.Codecs)))
	}
	if first, _ := p.event.initOf(p.path.Rendition, ""); first == nil {
		// Another node may have taken the first.
		if err := o.lookForInits(p.r.Context(), p.event, p.path.Rendition); err != nil {
			return err
		}
	}
	first, own := p.event.initOf(p.path.Rendition, p.path.Pipeline)
	p.outcome = created
	switch {
	case own.digest == in.digest:
		p.outcome, in.published = identical, own.published
	case first != nil:
		if err := first.track.Compatible(&in.track); err != nil {
			return o.refuseInit(p, live.ErrInitDiffers.With(fmt.Sprintf("viewers have the init segment of pipeline %q, and this one cannot stand in for it: %v", first.source.Pipeline, err)))
		}
		if !own.digest.IsZero() {
			p.outcome = repaired
		}
		// The oldest is the one that viewers get, whatever the clock does.
		in.published = after(in.published, first.published.Add(1))
	}
	p.cand = live.Candidate{Pipeline: p.source.Pipeline, Region: p.source.Region, Digest: in.digest, Size: int64(len(p.body)), Published: in.published}
	if p.outcome != identical {
		if err := o.keepInit(p, in, first, own); err != nil {
			return err
		}
	}
	return o.openGate(p)
}

func orOther(t live.MediaType) string {
	if t == "" {
		return "of another kind"
	}
	return string(t)
}

func (o *Origin) keepInit(p *publication, in, first *initSegment, own pipelineInit) error {
	// The one that viewers have stays in the store as it is, so that after a
	// restart it still is: of a restarted encoder's it is enough to know here
	// that it fits.
	if first == nil || first.source.Pipeline != p.path.Pipeline {
		meta, err := encodeMeta(p.cand, p.event.life)
		if err != nil {
			return fmt.Errorf("publish: metadata: %w", err)
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.r.Context()), o.cfg.StoreTimeout)
		defer cancel()
		item := store.Item{Key: p.path.Pipeline, Token: tokenAfter(o.tokens, own.published), Meta: meta, Value: p.body}
		if err := o.store.Put(ctx, initRecord(p.path.Event, p.path.Rendition), item); err != nil {
			return fmt.Errorf("publish: storing the init segment: %w", err)
		}
		// One that an event leaves when it is deleted just now is of its life, and
		// so of no other event's.
		if o.events.get(p.path.Event) != p.event {
			return noEvent(p.path.Event)
		}
	}
	p.event.learnInit(p.path.Rendition, in)
	t := in.track
	o.learnRendition(p, &live.Rendition{Name: p.path.Rendition, Codecs: t.Codecs, Width: t.Width, Height: t.Height,
		Timescale: int64(t.Timescale), SampleRate: t.SampleRate, Channels: t.Channels})
	return nil
}
