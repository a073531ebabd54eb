package origin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"headwater/announce"
	"headwater/cmaf"
	"headwater/live"
	"headwater/selection"
	"headwater/store"
)

// publishSegment compares and stores, one publication of a slot by a pipeline
// at a time.
func (o *Origin) publishSegment(p *publication) error {
	done, err := o.busy.enter(p.r.Context(), busyKey{p.path.Event, p.path.Pipeline, p.path.Rendition, p.path.Number})
	if err != nil {
		return err
	}
	defer done()
	old, err := o.reconcile(p)
	if err != nil || p.outcome == identical {
		return err
	}
	return o.keep(p, old)
}

// verify holds the body against the packager's digest.
func (p *publication) verify() error {
	if got := p.cand.Digest; !p.sent.IsZero() && p.sent != got {
		return live.ErrDigest.With(fmt.Sprintf("Content-Digest says %v, the %d bytes that arrived have %v", p.sent, len(p.body), got))
	}
	return nil
}

// inspect finds what is wrong. Nobody's word is taken: what the packager says
// and what is found here are merged.
func (o *Origin) inspect(p *publication) error {
	<-p.looked
	if err := o.pass(p); err != nil {
		return err
	}
	var own pipelineInit
	if p.init, own = p.event.initOf(p.path.Rendition, p.path.Pipeline); own.digest.IsZero() {
		// Another node may have taken it.
		if err := o.lookForInits(p.r.Context(), p.event, p.path.Rendition); err != nil {
			return err
		}
		if p.init, own = p.event.initOf(p.path.Rendition, p.path.Pipeline); own.digest.IsZero() {
			return live.ErrInitMissing.With(fmt.Sprintf("pipeline %q has not published %s of rendition %q: PUT it first", p.path.Pipeline, live.InitName, p.path.Rendition))
		}
	}
	began := time.Now()
	tl := p.view.timelines[p.path.Rendition]
	ms := tl.Segment().Milliseconds()
	start, end := tl.Media(p.path.Number, int64(p.init.track.Timescale))
	// Where the segment before ends, of the same pipeline, this one may begin.
	before, _ := p.event.candidate(p.path.Rendition, p.path.Number-1, p.path.Pipeline)
	var err error
	p.found, err = cmaf.Inspect(p.body, &p.init.track, cmaf.Window{Start: start, End: end, SegmentMS: ms, Previous: before.Span})
	p.step(stepInspect, time.Since(began))
	if err != nil {
		return mediaProblem(err)
	}
	if p.found.Findings.Has(live.WrongTrack) || p.found.Findings.Has(live.InitMismatch) {
		return live.ErrInitDiffers.With(fmt.Sprintf("segment %d does not belong to the rendition's init segment (%v): %s. Its track is %d, %s at %d ticks per second",
			p.path.Number, p.found.Findings, cmp.Or(p.found.Foreign, "another track"), p.init.track.ID, p.init.track.Codecs, p.init.track.Timescale))
	}
	for i := range p.claimed {
		p.claimed[i].MissingMS = min(p.claimed[i].MissingMS, ms) // more than all cannot be missing
	}
	p.cand = live.Candidate{
		Pipeline: p.source.Pipeline, Region: p.source.Region, Number: p.path.Number, Digest: p.cand.Digest, Size: int64(len(p.body)),
		Span: p.found.Span, Findings: p.claimed.Merge(p.found.Findings),
	}
	if p.received.After(tl.Deadline(p.path.Number)) {
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

// reconcile compares with what this pipeline has already published of the slot,
// and returns when that was.
func (o *Origin) reconcile(p *publication) (before time.Time, err error) {
	p.outcome = created
	old, ok := p.event.candidate(p.path.Rendition, p.path.Number, p.path.Pipeline)
	switch {
	case !ok:
	case old.Digest == p.cand.Digest && old.Findings.Has(live.DigestMismatch) && !p.cand.Findings.Has(live.DigestMismatch):
		p.outcome = repaired // what was stored of these very bytes is bad or gone
	case old.Digest == p.cand.Digest:
		p.outcome, p.cand = identical, old
	case selection.Better(p.cand.Findings, old.Findings):
		p.outcome = repaired
	case old.Clean():
		return before, live.ErrConflict.With(fmt.Sprintf("pipeline %q has published other bytes of segment %d, without a defect", p.path.Pipeline, p.path.Number))
	default:
		return before, live.ErrConflict.With(fmt.Sprintf("pipeline %q has published segment %d with %v, and these bytes (%v) are no better", p.path.Pipeline, p.path.Number, old.Findings, p.cand.Findings))
	}
	return old.Published, nil
}

// keep stores durably and writes through to memory. What it stores is newer
// than before, whatever the clock did.
func (o *Origin) keep(p *publication, before time.Time) error {
	tl := p.view.timelines[p.path.Rendition]
	// What is stored says when storing began, since it cannot say when it ended;
	// what is announced says when it was durable. They differ by one group commit.
	began := time.Now()
	token := tokenAfter(o.tokens, before)
	p.cand.Published = time.Unix(0, token.Time).UTC()
	meta, err := encodeMeta(p.cand, p.event.life)
	if err != nil {
		return fmt.Errorf("publish: metadata: %w", err)
	}
	// The packager may be gone; what it sent whole is worth keeping all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.r.Context()), o.cfg.StoreTimeout)
	defer cancel()
	var inside []timed // what the store says of its own steps
	ctx = store.WithTrace(ctx, func(step string, d time.Duration) { inside = append(inside, timed{step, d}) })
	record := mediaRecord(p.path.Event, p.path.Rendition)
	item := store.Item{
		Key: segmentKey(p.path.Number, p.path.Pipeline), Token: token, Meta: meta, Value: p.body,
		Expires: tl.GoneAt(p.path.Number).Add(time.Minute),
	}
	err = o.cfg.Cache.Put(ctx, o.store, record, item, p.cand.Digest)
	o.writes.note(time.Now(), err)
	if err != nil {
		return fmt.Errorf("publish: storing segment %d: %w", p.path.Number, err)
	}
	if o.events.get(p.path.Event) != p.event {
		// The event was deleted meanwhile. Where its deletion did not cover this,
		// it is of that event's life, and so of no other event's, and expires.
		return noEvent(p.path.Event)
	}
	p.cand.Published = after(time.Now(), p.cand.Published)
	if err := o.pass(p); err != nil {
		// Its pipeline's init segment was refused while this was stored.
		o.takeBack(ctx, p, record, item)
		return err
	}
	p.step(stepStore, time.Since(began))
	for _, x := range inside {
		p.timing.Add(x.step, x.d)
	}
	began = time.Now()
	o.window.put(windowKey{p.path.Event, p.path.Rendition, p.path.Number, p.path.Pipeline, p.cand.Digest}, p.body)
	o.learn(p.event, p.path.Rendition, p.cand)
	p.step(stepCache, time.Since(began))
	p.news = append(p.news, announce.Message{Kind: announce.Published, Event: p.path.Event, Life: p.event.life, Rendition: p.path.Rendition, Candidate: p.cand})
	return nil
}

// takeBack deletes what was stored and is not to be published after all.
func (o *Origin) takeBack(ctx context.Context, p *publication, record store.Record, item store.Item) {
	if err := o.store.Put(ctx, record, store.Gone(item.Key, tokenAfter(o.tokens, time.Unix(0, item.Token.Time)))); err != nil {
		o.log.Warn("a segment that was refused is left in the store", "path", p.path.String(), "err", err)
	}
}

// after is t, or before where t is not later.
func after(t, before time.Time) time.Time {
	if t = t.UTC().Round(0); t.Before(before) { // as it comes back from the store
		return before
	}
	return t
}
