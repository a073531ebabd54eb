package origin

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"headwater/admit"
	"headwater/live"
	"headwater/manifest"
	"headwater/selection"
)

// initLifetime is short: it costs little to ask again whether an init segment
// is still the same, and an event of the same name may have another tomorrow:
// under another flush version, so that who heeds that keeps it for longer.
const initLifetime = time.Minute

func (o *Origin) deliverInit(d *delivery) error {
	in, err := o.findInit(d)
	if err != nil {
		return err
	}
	h := d.w.Header()
	rendition, _ := d.view.config().Rendition(d.path.Rendition)
	h.Set("Content-Type", rendition.Type.ContentType())
	h.Set(live.HeaderPipeline, o.answering(in.source).String())
	h.Set(live.HeaderContentDigest, in.digest.String())
	h.Set(live.HeaderPublished, live.FormatPublished(in.published))
	h.Set("ETag", in.digest.ETag())
	tl := d.view.timelines[d.path.Rendition]
	h.Set(live.HeaderCacheControl, live.FormatLifetimes(initLifetime, max(initLifetime, tl.DVR())))
	o.send(d, in.data, in.published)
	return nil
}

func (o *Origin) findInit(d *delivery) (*initSegment, error) {
	in, _ := d.event.initOf(d.path.Rendition, "")
	if in == nil {
		if err := o.lookForInits(d.r.Context(), d.event, d.path.Rendition); err != nil {
			return nil, err
		}
		in, _ = d.event.initOf(d.path.Rendition, "")
	}
	if in == nil {
		return nil, live.ErrNoInit.With(fmt.Sprintf("no pipeline has published rendition %q yet", d.path.Rendition))
	}
	return in, nil
}

// lookForInits reads a rendition's init segments from the store, in case an
// announcement was lost; not twice within half a guard interval.
func (o *Origin) lookForInits(ctx context.Context, e *event, rendition string) error {
	now := time.Now()
	recent := func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return now.Sub(e.track(rendition).looked) < o.cfg.GuardInterval/2
	}
	if recent() {
		return nil
	}
	return o.share(ctx, "init "+initRecord(e.id, rendition).ID, func(ctx context.Context) error {
		if recent() {
			return nil // by one that ended just before this began
		}
		if err := o.events.fillInits(ctx, e, rendition); err != nil {
			return err
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.track(rendition).looked = now
		return nil
	})
}

// configHold is how long event.json?after= is held when nothing changes.
const configHold = 25 * time.Second

// deliverConfig answers with event.json; with ?after=ETAG, once it is another.
func (o *Origin) deliverConfig(d *delivery) error {
	if after := d.r.URL.Query().Get("after"); after != "" {
		hold := holding{o: o, tenant: d.path.Event.Tenant}
		err := o.holdConfig(d, &hold, after, d.r.URL.Query().Get("notifications"))
		hold.end()
		if err != nil {
			return err
		}
	}
	o.answerText(d, "application/json", d.view.json, d.view.etag, time.Second)
	return nil
}

// holdConfig holds while the configuration has the tag and, where it was told,
// the set of notifications the sequence number that the client has.
func (o *Origin) holdConfig(d *delivery, hold *holding, after, sequence string) error {
	timer := time.NewTimer(configHold)
	defer timer.Stop()
	for d.view.etag == after || d.view.etag == `"`+after+`"` {
		if sequence != "" && sequence != strconv.FormatInt(d.view.record.Notifications.Sequence, 10) {
			return nil
		}
		// Whoever waits here has a configuration to go on with: it gives way to
		// those who wait for a segment.
		if err := hold.begin(admit.Rest, time.Now()); err != nil {
			return err
		}
		select {
		case <-d.view.changed:
			if err := o.find(d); err != nil {
				return err
			}
		case <-timer.C:
			return nil
		case <-d.r.Context().Done():
			return context.Cause(d.r.Context())
		case <-o.draining:
			return live.ErrDraining.With("ask another origin")
		}
	}
	return nil
}

func (o *Origin) deliverManifest(d *delivery) error {
	now := time.Now()
	in := manifest.Input{Config: d.view.config(), Now: now}
	in.Lost = func(rendition string, n live.Number) bool {
		in := d.view.input(rendition, n, d.event.candidates(rendition, n)) // what came before decides between those that are there
		return selection.Choose(in, now).Action == selection.Refuse
	}
	in.Published = func(rendition string) (live.Number, bool) { return d.decided(rendition, now) }
	var body []byte
	var err error
	ct := manifest.HLSType
	switch d.path.File {
	case live.FileMPD:
		ct = manifest.MPDType
		body, err = manifest.MPD(in)
	case live.FileHLS:
		body, err = manifest.Multivariant(in)
	default:
		body, err = manifest.Media(in, d.path.Rendition)
	}
	if err != nil {
		return fmt.Errorf("deliver: %v: %w", d.path, err)
	}
	o.answerText(d, ct, body, live.DigestOf(body).ETag(), manifest.Lifetime(in, d.path.File, d.path.Rendition))
	return nil
}

func (o *Origin) answerText(d *delivery, ct string, body []byte, etag string, lifetime time.Duration) {
	h := d.w.Header()
	h.Set("Content-Type", ct)
	h.Set("ETag", etag)
	h.Set(live.HeaderCacheControl, live.FormatLifetime(lifetime))
	o.send(d, body, time.Time{})
}

// decided is the newest number of a rendition up to which playlists may list:
// nothing up to it is still being waited for, or published before its time. A
// player asks at once for what it is given and takes a refusal for an error, so
// a segment that is missing is listed when it is known to be a gap, and the
// next one only then.
func (d *delivery) decided(rendition string, now time.Time) (live.Number, bool) {
	newest, ok := d.event.newest(rendition)
	if !ok {
		return 0, false
	}
	tl := d.view.timelines[rendition]
	n := min(newest, tl.Edge(now.Add(tl.Hold())))
	// What is past its deadline has been decided by time.
	for m := n; m >= tl.First() && tl.Place(m, now) == live.Due; m-- {
		if d.event.choose(d.view, rendition, m, nil, now).Action == selection.Wait {
			n = m - 1
		}
	}
	return n, n >= tl.First()
}
