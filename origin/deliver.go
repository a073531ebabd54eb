package origin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"headwater/admit"
	"headwater/blobs"
	"headwater/live"
	"headwater/store"
)

// A delivery is one GET on its way through the steps.
type delivery struct {
	r     *http.Request
	w     http.ResponseWriter
	path  live.Path
	event *event
	view  *view
	class admit.Class

	decision choice
	absent   map[live.Digest]bool // candidates that were announced and could not be had
	held     time.Duration
	timing   live.Timing
}

// DeliverHandler serves the delivery listener.
func (o *Origin) DeliverHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.healthy(deliverRole, w, r) {
			return
		}
		d := &delivery{r: r, w: w}
		if err := o.deliver(d); err != nil {
			o.refuseDelivery(d, err)
		}
	})
}

// deliver is the walk of one GET.
func (o *Origin) deliver(d *delivery) error {
	live.AllowCORS(d.w.Header())
	switch d.r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		live.ServePreflight(d.w)
		return nil
	default:
		d.w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		return live.ErrMethod.With(d.r.Method + " is not for delivery")
	}
	if d.r.URL.Path == live.TimePath {
		live.ServeTime(d.w, d.r)
		return nil
	}
	var err error
	if d.path, err = live.ParsePath(d.r.URL.Path); err != nil {
		return live.ErrNotHere.With(live.PathReason(err))
	}
	if err := o.find(d); err != nil {
		return err
	}
	switch d.path.File {
	case live.FileSegment:
		return o.deliverSegment(d)
	case live.FileInit:
		return o.deliverInit(d)
	case live.FileConfig:
		return o.deliverConfig(d)
	}
	return o.deliverManifest(d)
}

// find looks up event and rendition, in memory.
func (o *Origin) find(d *delivery) error {
	if d.event = o.events.get(d.path.Event); d.event == nil {
		if !o.events.hasTenant(d.path.Event.Tenant) {
			return live.ErrNoTenant.With(fmt.Sprintf("no event of tenant %q has been created", d.path.Event.Tenant))
		}
		return live.ErrNoEvent.With(noEventText(d.path.Event))
	}
	d.view = d.event.view.Load()
	if d.path.Rendition != "" {
		if _, ok := d.view.timelines[d.path.Rendition]; !ok {
			return live.ErrNoRendition.With(fmt.Sprintf("event %v has no rendition %q", d.path.Event, d.path.Rendition))
		}
	}
	return nil
}

// deliverSegment places, selects, waits, fetches and answers.
func (o *Origin) deliverSegment(d *delivery) error {
	tl := d.view.timelines[d.path.Rendition]
	o.metrics.places[tl.Place(d.path.Number, time.Now())].Inc()
	for {
		if err := o.selectOrHold(d); err != nil {
			return err
		}
		data, err := o.fetch(d)
		if errors.Is(err, errAbsent) {
			if d.absent == nil {
				d.absent = make(map[live.Digest]bool)
			}
			d.absent[d.decision.Candidate.Digest] = true
			continue
		}
		if errors.Is(err, errReselect) {
			continue
		}
		if err != nil {
			return err
		}
		// What is being sent to those who read slowly is bounded, too.
		if !o.egress.EnterFor(d.path.Event.Tenant, d.class, int64(len(data))) {
			return live.ErrShed.With("too many bytes of the " + d.class.String() + " class are being sent")
		}
		defer o.egress.LeaveFor(d.path.Event.Tenant, int64(len(data)))
		o.answerSegment(d, data)
		return nil
	}
}

// place refuses by the timeline alone and finds the request's class.
func (d *delivery) place(now time.Time) error {
	n, tl := d.path.Number, d.view.timelines[d.path.Rendition]
	if r, life, refused := tl.Refuse(n, now); refused {
		return r.Err(life)
	}
	d.class = admit.DVR
	if tl.Live(n, now) {
		d.class = admit.Live
	}
	return nil
}

// errReselect is what fetch returns when what is known of the segment is no
// longer what it was when its candidate was chosen.
var errReselect = errors.New("origin: choose again")

// fetch gets the chosen bytes: from memory, or from the store, once for all
// who ask. The bytes are shared and immutable.
func (o *Origin) fetch(d *delivery) ([]byte, error) {
	c := *d.decision.Candidate
	key := windowKey{d.path.Event, d.path.Rendition, c.Number, c.Pipeline, c.Digest}
	if data, ok := o.window.get(key); ok {
		o.metrics.memory.Inc()
		return data, nil
	}
	began := time.Now()
	if !o.pace.Enter(d.class, began) {
		return nil, live.ErrShed.With("the store is slow, and those of the " + d.class.String() + " class wait for it to recover")
	}
	e, class, fallBack := d.event, d.class, o.mayFallBack(d.r.Header)
	res, err := o.readOnce(d.r.Context(), key, fallBack, func(ctx context.Context) ([]byte, error) {
		if !o.reads.EnterFor(e.id.Tenant, class, 1) {
			return nil, live.ErrShed.With("too many reads of the " + class.String() + " class are under way")
		}
		defer o.reads.LeaveFor(e.id.Tenant, 1)
		o.metrics.storeReads.Inc()
		return o.obtain(ctx, e, key, c, fallBack)
	})
	d.timing.Add("store", time.Since(began))
	if errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrNotFound) {
		tl := d.view.timelines[d.path.Rendition]
		o.log.Error("candidate condemned", "path", d.path.String(), "pipeline", c.Pipeline, "err", err)
		o.metrics.condemned.Inc()
		e.condemn(d.path.Rendition, c, tl.Segment().Milliseconds())
		return nil, errReselect
	}
	if err == nil && class == admit.Live {
		// After a restart the live window comes back to memory as it is asked for.
		o.window.put(key, res)
	}
	return res, err
}

// readOnce is share for bytes. Those who may not go on to another region wait
// for none who do: it might be waiting for them.
func (o *Origin) readOnce(ctx context.Context, k windowKey, fallBack bool, f func(ctx context.Context) ([]byte, error)) ([]byte, error) {
	ch := o.shared.DoChan("get "+strconv.FormatBool(fallBack)+" "+k.event.String()+"/"+k.rendition+"/"+segmentKey(k.number, k.pipeline)+k.digest.ETag(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), o.cfg.StoreTimeout)
		defer cancel()
		return f(ctx)
	})
	select {
	case res := <-ch:
		data, _ := res.Val.([]byte)
		return data, res.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// retrieve reads a candidate's bytes: from the cache, or from the store. Where
// that has a newer candidate in its place, that is learnt.
func (o *Origin) retrieve(ctx context.Context, e *event, k windowKey, size int64) ([]byte, error) {
	began := time.Now()
	item, err := o.cfg.DeliverCache.Get(ctx, o.reader, mediaRecord(k.event, k.rendition), segmentKey(k.number, k.pipeline), k.digest, size)
	other := errors.Is(err, blobs.ErrOther)
	if other {
		o.observe(began, nil)
	} else {
		o.observe(began, err)
	}
	if !other {
		return item.Value, err
	}
	got := live.DigestOf(item.Value)
	if c, life, err := decodeCandidate(item); err == nil && life == e.life && c.Digest == got {
		if o.learn(e, k.rendition, c) {
			o.metrics.missedAnnouncements.Inc()
			return nil, errReselect
		}
		if now, ok := e.candidate(k.rendition, k.number, k.pipeline); ok && now.Digest == got {
			return nil, errReselect // repaired between the choice and the reading
		}
	}
	return nil, fmt.Errorf("%w: the digest of %v is another", store.ErrCorrupt, segmentKey(k.number, k.pipeline))
}

// observe notes how a store read for delivery went.
func (o *Origin) observe(began time.Time, err error) {
	if errors.Is(err, context.Canceled) {
		return // nobody wanted it any more
	}
	now := time.Now()
	o.readings.note(now, err)
	o.pace.Observe(now, now.Sub(began), err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrCorrupt))
}

// present is what is left of a segment's candidates without those that could
// not be had. It changes nothing.
func present(cs []live.Candidate, absent map[live.Digest]bool) []live.Candidate {
	if len(absent) == 0 {
		return cs
	}
	return slices.DeleteFunc(slices.Clone(cs), func(c live.Candidate) bool { return absent[c.Digest] })
}

// refuseDelivery maps an error to its status: the one place that does.
func (o *Origin) refuseDelivery(d *delivery, err error) {
	var problem *live.Problem
	switch {
	case errors.As(err, &problem):
	case d.r.Context().Err() != nil:
		o.metrics.left.Inc()
		return // nobody is there to read an answer
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrFull), errors.Is(err, context.DeadlineExceeded):
		problem = live.ErrStoreDown.With(err.Error())
	default:
		problem = live.ErrInternal.With(err.Error())
		o.log.Error("delivery", "path", d.r.URL.Path, "err", err)
	}
	o.metrics.refused(d.event, "deliver", problem)
	o.journal.refused(d, problem)
	o.watchman.refused(d, problem)
	if d.event != nil {
		d.event.stamp(d.w.Header(), time.Now())
	}
	problem.Write(d.w, d.r)
}
