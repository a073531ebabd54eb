package origin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"headwater/announce"
	"headwater/cmaf"
	"headwater/live"
	"headwater/selection"
	"headwater/store"
)

// A publication is one PUT on its way through the steps.
type publication struct {
	r      *http.Request
	w      http.ResponseWriter
	path   live.PublishPath
	event  *event
	view   *view
	source live.Source

	claimed  live.Findings // what the packager says is wrong
	sent     live.Digest   // what the packager says it sent; zero: nothing
	said     *saying       // what the packager says in Live-Notifications
	body     []byte
	consumed bool  // the body has been read to its end
	held     int64 // of the bodies gate
	init     *initSegment
	found    cmaf.Report
	cand     live.Candidate
	outcome  publishOutcome
	news     []announce.Message // to tell once the packager has its answer
	timing   live.Timing
	received time.Time
}

// A publishOutcome is how a PUT ended well. Counters share the names.
type publishOutcome string

const (
	created   publishOutcome = "created"   // 201
	identical publishOutcome = "identical" // 200: the same bytes again
	repaired  publishOutcome = "repaired"  // 200: better than what was there
	dropped   publishOutcome = "dropped"   // 200: a manifest of the packager's own, or a DELETE
)

// PublishHandler serves the publish listener.
func (o *Origin) PublishHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &publication{r: r, w: w, received: time.Now()}
		if err := o.publish(p); err != nil {
			o.refusePublication(p, err)
			return
		}
		o.acknowledge(p)
		o.tell(p)
	})
}

// publish is the walk of one PUT. Each step returns a *live.Problem or an
// error that refusePublication maps.
func (o *Origin) publish(p *publication) error {
	defer o.release(p)
	if err := o.limit(p); err != nil {
		return err
	}
	if err := p.parse(); err != nil {
		return err
	}
	if err := o.authorise(p); err != nil {
		return err
	}
	if p.outcome == dropped {
		return o.drop(p)
	}
	if err := p.parseHeaders(); err != nil {
		return err
	}
	if err := o.locate(p); err != nil {
		return err
	}
	if err := o.place(p); err != nil {
		return err
	}
	if err := o.read(p); err != nil {
		return err
	}
	if err := p.verify(); err != nil {
		return err
	}
	if p.path.File == live.FileInit {
		if err := o.publishInit(p); err != nil {
			return err
		}
		return o.hearNotifications(p)
	}
	if err := o.inspect(p); err != nil {
		return err
	}
	if err := o.publishSegment(p); err != nil {
		return err
	}
	return o.hearNotifications(p)
}

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

// parse reads method and path.
func (p *publication) parse() error {
	switch p.r.Method {
	case http.MethodPut, http.MethodPost, http.MethodDelete:
	default:
		p.w.Header().Set("Allow", "PUT, POST, DELETE")
		return live.ErrMethod.With(p.r.Method + " is not for publishing: PUT or POST a segment")
	}
	var err error
	if p.path, err = live.ParsePublishPath(p.r.URL.Path); err != nil {
		return live.ErrBadPath.With(err.Error())
	}
	// Retention is the event's business, and so are manifests.
	if p.r.Method == http.MethodDelete || p.path.File == live.FileForeign {
		p.outcome = dropped
	}
	return nil
}

// Limits of what a packager claims in Live-Defects.
const (
	maxClaims    = 16
	maxClaimName = 64
)

// parseHeaders reads what the packager says of its body.
func (p *publication) parseHeaders() error {
	h := p.r.Header
	if ct := h.Get("Content-Type"); !plausibleType(ct) {
		return live.ErrNotCMAF.With(fmt.Sprintf("Content-Type is %q: segments are video/mp4, audio/mp4 or application/mp4", ct))
	}
	if ce := h.Get("Content-Encoding"); ce != "" && !strings.EqualFold(ce, "identity") {
		return live.ErrNotCMAF.With(fmt.Sprintf("Content-Encoding is %q: send the bytes as they are", ce))
	}
	if cr := h.Get("Content-Range"); cr != "" {
		return live.ErrBadHeader.With("Content-Range: a segment is PUT whole") // RFC 9110, 14.5
	}
	claimed, err := live.ParseFindings(h.Values(live.HeaderDefects))
	if err != nil {
		return live.ErrBadHeader.With(err.Error())
	}
	if len(claimed) > maxClaims {
		return live.ErrBadHeader.With(fmt.Sprintf("%s: %d members, at most %d", live.HeaderDefects, len(claimed), maxClaims))
	}
	for _, f := range claimed {
		if len(f.Kind) > maxClaimName {
			return live.ErrBadHeader.With(fmt.Sprintf("%s: a defect's name is longer than %d characters", live.HeaderDefects, maxClaimName))
		}
	}
	p.claimed = live.Findings(nil).Merge(claimed) // each kind once
	if p.sent, err = live.ParseDigest(h.Values(live.HeaderContentDigest)); err != nil {
		return live.ErrBadHeader.With(err.Error())
	}
	if p.said, err = parseSaying(h.Values(live.HeaderNotifications)); err != nil {
		return live.ErrBadHeader.With(err.Error())
	}
	return nil
}

// plausibleType reports whether a Content-Type may be fragmented MP4. Many
// packagers send none or a general one.
func plausibleType(ct string) bool {
	ct, _, _ = strings.Cut(strings.ToLower(ct), ";")
	switch strings.TrimSpace(ct) {
	case "", "application/octet-stream", "application/mp4", "video/mp4", "audio/mp4", "text/mp4", "video/iso.segment",
		"application/x-www-form-urlencoded": // what curl --data-binary says of anything
		return true
	}
	return false
}

// locate finds event, pipeline and rendition, in memory.
func (o *Origin) locate(p *publication) error {
	if p.event = o.events.get(p.path.Event); p.event == nil {
		return noEvent(p.path.Event)
	}
	p.view = p.event.view.Load()
	pipeline, _, ok := p.view.config().Pipeline(p.path.Pipeline)
	if !ok {
		return live.ErrNoPipeline.With(fmt.Sprintf("event %v has no pipeline %q", p.path.Event, p.path.Pipeline))
	}
	p.source = live.Source{Pipeline: pipeline.Name, Region: pipeline.Region}
	if _, ok := p.view.config().Rendition(p.path.Rendition); !ok {
		return live.ErrNoRendition.For(-1).With(fmt.Sprintf("event %v has no rendition %q", p.path.Event, p.path.Rendition))
	}
	return nil
}

func noEvent(id live.EventID) error {
	return live.ErrNoEvent.For(-1).With(fmt.Sprintf("event %v has not been created", id))
}

// place refuses what cannot exist: numbers outside the event, segments of
// which not a frame can have been filmed, and what has left the DVR window.
func (o *Origin) place(p *publication) error {
	if p.path.File != live.FileSegment {
		return nil
	}
	n, tl := p.path.Number, p.view.timelines[p.path.Rendition]
	if !tl.Holds(n) {
		last := "no last"
		if l, ok := tl.Last(); ok {
			last = "last " + l.String()
		}
		return live.ErrOutside.With(fmt.Sprintf("segment %d is outside the event: first %d, %s", n, tl.First(), last))
	}
	if ahead := tl.Start(n).Sub(p.received); ahead > o.cfg.FutureTolerance {
		return live.ErrFuture.With(fmt.Sprintf("segment %d begins at %s, %v ahead of this origin's clock: check the packager's clock and the event's start, first_number and media_time",
			n, tl.Start(n).Format(live.TimeLayout), ahead.Truncate(time.Second)))
	}
	if tl.Place(n, p.received) == live.Gone {
		return live.ErrOutside.With(fmt.Sprintf("segment %d left the DVR window at %s", n, tl.GoneAt(n).Format(live.TimeLayout)))
	}
	return nil
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
	var err error
	p.found, err = cmaf.Inspect(p.body, &p.init.track, cmaf.Window{Start: start, End: end, SegmentMS: ms})
	p.timing.Add("inspect", time.Since(began))
	if err != nil {
		return mediaProblem(err)
	}
	if p.found.Findings.Has(live.WrongTrack) || p.found.Findings.Has(live.InitMismatch) {
		return live.ErrInitDiffers.With(fmt.Sprintf("segment %d does not belong to the rendition's init segment (%v): its track is %d, %s at %d ticks per second",
			p.path.Number, p.found.Findings, p.init.track.ID, p.init.track.Codecs, p.init.track.Timescale))
	}
	for i := range p.claimed {
		p.claimed[i].MissingMS = min(p.claimed[i].MissingMS, ms) // more than all cannot be missing
	}
	p.cand = live.Candidate{
		Pipeline: p.source.Pipeline, Region: p.source.Region, Number: p.path.Number, Digest: p.cand.Digest, Size: int64(len(p.body)),
		Findings: p.claimed.Merge(p.found.Findings),
	}
	if p.received.After(tl.Deadline(p.path.Number)) {
		p.cand.Findings = p.cand.Findings.Merge(live.Findings{{Kind: live.Late}})
	}
	return nil
}

func mediaProblem(err error) error {
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
	p.cand.Published = after(began, before)
	meta, err := encodeMeta(p.cand, p.event.life)
	if err != nil {
		return fmt.Errorf("publish: metadata: %w", err)
	}
	// The packager may be gone; what it sent whole is worth keeping all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.r.Context()), o.cfg.StoreTimeout)
	defer cancel()
	record := mediaRecord(p.path.Event, p.path.Rendition)
	item := store.Item{
		Key: segmentKey(p.path.Number, p.path.Pipeline), Token: o.tokens.Next(), Meta: meta, Value: p.body,
		Expires: tl.GoneAt(p.path.Number).Add(time.Minute),
	}
	if err := o.store.Put(ctx, record, item); err != nil {
		return fmt.Errorf("publish: storing segment %d: %w", p.path.Number, err)
	}
	if o.events.get(p.path.Event) != p.event {
		// The event was deleted meanwhile, perhaps before this was stored: then
		// its deletion did not cover this.
		if err := o.store.DeleteItem(ctx, record, item.Key, o.tokens.Next()); err != nil {
			o.log.Warn("segment of a deleted event is left", "path", p.path.String(), "err", err)
		}
		return noEvent(p.path.Event)
	}
	p.cand.Published = after(time.Now(), before)
	p.timing.Add("store", time.Since(began))
	o.window.put(windowKey{p.path.Event, p.path.Rendition, p.path.Number, p.path.Pipeline, p.cand.Digest}, p.body)
	o.learn(p.event, p.path.Rendition, p.cand)
	p.news = append(p.news, announce.Message{Kind: announce.Published, Event: p.path.Event, Life: p.event.life, Rendition: p.path.Rendition, Candidate: p.cand})
	return nil
}

// after is t, or the moment after before where t is not later.
func after(t, before time.Time) time.Time {
	t = t.UTC().Round(0) // as it comes back from the store
	if !t.After(before) {
		return before.Add(1)
	}
	return t
}

// elapsed is how long the publication has taken.
func (p *publication) elapsed() time.Duration { return time.Since(p.received) }

// acknowledge answers what ended well.
func (o *Origin) acknowledge(p *publication) {
	o.metrics.published(p)
	h := p.w.Header()
	h.Set(live.HeaderCacheControl, "no-store")
	status := http.StatusOK
	if p.outcome != dropped {
		p.event.stamp(h, time.Now())
		h.Set(live.HeaderContentDigest, p.cand.Digest.String())
		h.Set(live.HeaderPublished, live.FormatPublished(p.cand.Published))
		if !p.cand.Findings.Clean() {
			h.Set(live.HeaderDefects, p.cand.Findings.String())
		}
		if s := p.timing.String(); s != "" {
			h.Set(live.HeaderServerTiming, s)
		}
		if p.outcome == created {
			status = http.StatusCreated
		}
	}
	h.Set("Content-Length", "0")
	p.w.WriteHeader(status)
	if p.path.File == live.FileSegment && p.outcome != dropped && !p.cand.Clean() {
		o.log.Warn("defective segment", "event", p.path.Event.String(), "pipeline", p.path.Pipeline, "rendition", p.path.Rendition,
			"number", int64(p.path.Number), "defects", p.cand.Findings.String(), "outcome", string(p.outcome))
	}
}

// tell does what the packager need not wait for, once it has its answer: a bus
// or a store that hangs must not turn a stored segment into a late one.
func (o *Origin) tell(p *publication) {
	first := p.path.File == live.FileSegment && p.outcome == created && o.wantsFrameRate(p)
	if len(p.news) == 0 && !first {
		return
	}
	_ = http.NewResponseController(p.w).Flush() // or the answer goes when this returns
	for _, m := range p.news {
		o.announce(m)
	}
	if first {
		o.learnFrameRate(p)
	}
}

// refusePublication maps an error to its status: the one place that does.
func (o *Origin) refusePublication(p *publication, err error) {
	var problem *live.Problem
	switch {
	case errors.As(err, &problem):
	case errors.Is(err, store.ErrFull):
		problem = live.ErrNotStored.With("the store is full")
	case errors.Is(err, context.Canceled):
		problem = live.ErrIncomplete.With("the packager left")
	default:
		problem = live.ErrNotStored.With(err.Error())
	}
	o.metrics.refused("publish", problem)
	level := o.log.Warn
	if problem.Status >= 500 {
		level = o.log.Error
	}
	level("refused a publication", "path", p.r.URL.Path, "status", problem.Status, "problem", problem.Code, "detail", problem.Detail)
	if p.event != nil {
		p.event.stamp(p.w.Header(), time.Now())
	}
	p.finishBody()
	problem.Write(p.w, p.r)
}
