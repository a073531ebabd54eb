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
	news     []announce.Message // to tell the other nodes
	arrived  store.Token        // of an init segment: its place in the order of arrivals
	looked   <-chan struct{}    // closed when the store was looked into for a refused init segment
	timing   live.Timing
	took     [len(steps)]time.Duration // by step, what the goal is about
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
		if o.healthy(publishRole, w, r) {
			return
		}
		p := &publication{r: r, w: w, received: time.Now()}
		if err := o.publish(p); err != nil {
			o.refusePublication(p, err)
			return
		}
		o.tell(p)
		o.acknowledge(p)
		o.finish(p)
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
	o.arrive(p)
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
		return live.ErrBadPath.With(live.PathReason(err))
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

func noEvent(id live.EventID) error { return live.ErrNoEvent.For(-1).With(noEventText(id)) }

func noEventText(id live.EventID) string {
	return fmt.Sprintf("event %v was deleted, or never created", id)
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

// elapsed is how long the publication has taken.
func (p *publication) elapsed() time.Duration { return time.Since(p.received) }

// acknowledge answers what ended well.
func (o *Origin) acknowledge(p *publication) {
	o.metrics.published(o.events.get(p.path.Event), p)
	h := p.w.Header()
	h.Set(live.HeaderCacheControl, "no-store")
	status := http.StatusOK
	if p.outcome != dropped {
		p.event.stamp(h, time.Now())
		// The tag of what was stored (RFC 9110, 9.3.4). Content-Digest would speak
		// of this answer's own content, which is empty.
		h.Set("ETag", p.cand.Digest.ETag())
		h.Set(live.HeaderPublished, live.FormatPublished(p.cand.Published))
		if len(p.cand.Findings) > 0 {
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

// tell announces what was published. It comes before the answer, since it never
// waits: who has the answer finds the segment at any node that is connected.
func (o *Origin) tell(p *publication) {
	if len(p.news) == 0 {
		return
	}
	began := time.Now()
	for _, m := range p.news {
		o.announce(m)
	}
	p.step(stepAnnounce, time.Since(began))
}

// finish does what the packager need not wait for, once it has its answer: a
// store that hangs must not turn a stored segment into a late one.
func (o *Origin) finish(p *publication) {
	if p.path.File == live.FileSegment && p.outcome == created && o.wantsFrameRate(p) {
		_ = http.NewResponseController(p.w).Flush() // or the answer goes when this returns
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
	o.metrics.refused(p.event, "publish", problem)
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
