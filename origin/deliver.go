package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"headwater/admit"
	"headwater/live"
	"headwater/selection"
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

	decision selection.Decision
	held     time.Duration
	timing   live.Timing
}

// DeliverHandler serves the delivery listener.
func (o *Origin) DeliverHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
		return live.ErrNotHere.With(err.Error())
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
		return live.ErrNoEvent.With(fmt.Sprintf("event %v has not been created", d.path.Event))
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
	for {
		if err := o.placeRequest(d, time.Now()); err != nil {
			return err
		}
		if err := o.selectOrHold(d); err != nil {
			return err
		}
		data, err := o.fetch(d)
		if errors.Is(err, errCondemned) {
			continue // what was chosen is no longer there: choose again
		}
		if err != nil {
			return err
		}
		o.answerSegment(d, data)
		return nil
	}
}

// placeRequest refuses by the timeline alone and finds the request's class.
func (o *Origin) placeRequest(d *delivery, now time.Time) error {
	n, tl := d.path.Number, d.view.timelines[d.path.Rendition]
	place := tl.Place(n, now)
	o.metrics.places[place].Inc()
	switch place {
	case live.Never:
		if n > tl.First() {
			// An event's end may still be moved.
			return live.ErrNever.For(time.Minute).With(fmt.Sprintf("segment %d is after the end of the event", n))
		}
		return live.ErrNever.With(fmt.Sprintf("the event begins with segment %d", tl.First()))
	case live.Early:
		due := tl.Due(n)
		return live.ErrEarly.For(due.Sub(now)).With(fmt.Sprintf("segment %d may be asked for from %s on", n, due.Format(live.TimeLayout)))
	case live.Gone:
		return live.ErrGone.With(fmt.Sprintf("segment %d left the DVR window at %s", n, tl.GoneAt(n).Format(live.TimeLayout)))
	}
	d.class = admit.DVR
	if tl.Live(n, now) {
		d.class = admit.Live
	}
	return nil
}

// errCondemned is what fetch returns when the chosen candidate's bytes are not
// to be had and selection must do without it.
var errCondemned = errors.New("origin: candidate condemned")

// fetch gets the chosen bytes: from memory, or from the store, once for all
// who ask. The bytes are shared and immutable.
func (o *Origin) fetch(d *delivery) ([]byte, error) {
	c := *d.decision.Candidate
	key := windowKey{d.path.Event, d.path.Rendition, c.Number, c.Pipeline, c.Digest}
	if data, ok := o.window.get(key); ok {
		o.metrics.memory.Inc()
		return data, nil
	}
	if !o.reads.Enter(d.class, 1) {
		return nil, live.ErrShed.With("too many reads of the " + d.class.String() + " class are under way")
	}
	defer o.reads.Leave(1)
	began := time.Now()
	ch := o.gets.DoChan(key.event.String()+"/"+key.rendition+"/"+segmentKey(key.number, key.pipeline)+c.Digest.ETag(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), o.cfg.StoreTimeout)
		defer cancel()
		o.metrics.storeReads.Inc()
		item, err := o.store.Get(ctx, mediaRecord(key.event, key.rendition), segmentKey(key.number, key.pipeline))
		if err != nil {
			return nil, err
		}
		if live.DigestOf(item.Value) != key.digest {
			return nil, fmt.Errorf("%w: the digest of %v is another", store.ErrCorrupt, segmentKey(key.number, key.pipeline))
		}
		return item.Value, nil
	})
	select {
	case res := <-ch:
		d.timing.Add("store", time.Since(began))
		if errors.Is(res.Err, store.ErrCorrupt) || errors.Is(res.Err, store.ErrNotFound) {
			tl := d.view.timelines[d.path.Rendition]
			o.log.Error("candidate condemned", "path", d.path.String(), "pipeline", c.Pipeline, "err", res.Err)
			o.metrics.condemned.Inc()
			d.event.condemn(d.path.Rendition, c, tl.Segment().Milliseconds())
			return nil, errCondemned
		}
		if res.Err != nil {
			return nil, res.Err
		}
		return res.Val.([]byte), nil
	case <-d.r.Context().Done():
		return nil, context.Cause(d.r.Context())
	}
}

// answerSegment writes the chosen bytes.
func (o *Origin) answerSegment(d *delivery, data []byte) {
	c := d.decision.Candidate
	h := d.w.Header()
	o.stamp(d)
	rendition, _ := d.view.config().Rendition(d.path.Rendition)
	h.Set("Content-Type", rendition.Type.ContentType())
	h.Set(live.HeaderPipeline, o.answering(live.Source{Pipeline: c.Pipeline, Region: c.Region}).String())
	if !c.Clean() {
		h.Set(live.HeaderDefects, c.Findings.String())
	}
	h.Set(live.HeaderPublished, live.FormatPublished(c.Published))
	h.Set(live.HeaderContentDigest, c.Digest.String())
	h.Set("ETag", c.Digest.ETag())
	h.Set(live.HeaderCacheControl, live.FormatLifetime(d.lifetime(time.Now())))
	h.Set(live.HeaderCMSDStatic, cmsd(rendition, d.view.timelines[d.path.Rendition], d.held))
	if d.held > 0 {
		d.timing.Add("hold", d.held)
	}
	if s := d.timing.String(); s != "" {
		h.Set(live.HeaderServerTiming, s)
	}
	o.metrics.served(d)
	http.ServeContent(d.w, d.r, "", c.Published, bytes.NewReader(data))
}

// freshness bounds how long a cache may keep a clean segment before it asks
// whether it is still the same.
const freshness = 10 * time.Minute

// lifetime is how long the answer may be repeated: a segment with missing
// media only until the next one, so that a repair still reaches viewers.
func (d *delivery) lifetime(now time.Time) time.Duration {
	tl := d.view.timelines[d.path.Rendition]
	left := tl.GoneAt(d.path.Number).Sub(now)
	if d.decision.Candidate.Findings.MissingMS() > 0 {
		return min(tl.Segment(), left)
	}
	return min(freshness, left)
}

// cmsd is CTA-5006's CMSD-Static: bitrate in kbps, duration and time held in
// ms, object type, live.
func cmsd(r live.Rendition, tl live.Timeline, held time.Duration) string {
	s := "br=" + strconv.FormatInt(r.Bandwidth/1000, 10) + ",d=" + strconv.FormatInt(tl.Segment().Milliseconds(), 10)
	if held > 0 {
		s += ",ht=" + strconv.FormatInt(held.Milliseconds(), 10)
	}
	ot := map[live.MediaType]string{live.Video: "v", live.Audio: "a", live.Text: "c"}[r.Type]
	return s + ",ot=" + ot + ",st=l"
}

// answering says which region answers: this node's, where it knows it.
func (o *Origin) answering(s live.Source) live.Source {
	if o.cfg.Region != "" {
		s.Region = o.cfg.Region
	}
	return s
}

// stamp puts on an answer what every answer of the event carries.
func (o *Origin) stamp(d *delivery) {
	if d.event == nil {
		return
	}
	h := d.w.Header()
	v := d.event.view.Load()
	h.Set(live.HeaderVersion, v.version)
	if edge := d.event.edge.Load(); edge >= 0 {
		h.Set(live.HeaderEdge, strconv.FormatInt(edge, 10))
	}
	if v.notifications != "" {
		h.Set(live.HeaderNotifications, v.notifications)
	}
}

// refuseDelivery maps an error to its status: the one place that does.
func (o *Origin) refuseDelivery(d *delivery, err error) {
	var problem *live.Problem
	switch {
	case errors.As(err, &problem):
	case d.r.Context().Err() != nil:
		o.metrics.left.Inc()
		return // nobody is there to read an answer
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed), errors.Is(err, context.DeadlineExceeded):
		problem = live.ErrStoreDown.With(err.Error())
	default:
		problem = live.ErrInternal.With(err.Error())
		o.log.Error("delivery", "path", d.r.URL.Path, "err", err)
	}
	o.metrics.refused("deliver", problem)
	o.stamp(d)
	problem.Write(d.w, d.r)
}
