// Package edge is the cache between an origin and its viewers. It knows the
// timeline of an event, so it refuses what cannot exist without asking anyone,
// holds requests at the live edge, and fills each object once for all who wait.
// Its parents are HTTP and nothing else.
package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"headwater/live"
)

// An Edge is one cache node. New makes it, Close ends it.
type Edge struct {
	cfg      Config
	log      *slog.Logger
	upstream *upstream
	cache    *cache
	metrics  *metrics
	exporter http.Handler

	ctx    context.Context // of everything the edge does by itself
	cancel context.CancelFunc
	tasks  sync.WaitGroup // fills, followers, the sweeper

	mu     sync.Mutex // guards the following
	events map[live.EventID]*event
}

// New starts an edge.
func New(cfg Config) (*Edge, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	ed := &Edge{cfg: cfg, log: cfg.Log, upstream: newUpstream(&cfg), cache: newCache(cfg.MemoryBytes), events: make(map[live.EventID]*event)}
	ed.metrics = newMetrics(cfg.Metrics, ed)
	ed.exporter = promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{})
	ed.ctx, ed.cancel = context.WithCancel(context.Background())
	ed.tasks.Go(ed.sweep)
	return ed, nil
}

// Close ends fills and followers and waits for them. Requests still being
// served get an error; shut the listener down before.
func (ed *Edge) Close() error {
	ed.cancel()
	ed.tasks.Wait()
	ed.upstream.close()
	return nil
}

func (ed *Edge) sweep() {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			ed.cache.sweep(time.Now())
		case <-ed.ctx.Done():
			return
		}
	}
}

// A request is one GET on its way through the steps.
type request struct {
	w     http.ResponseWriter
	r     *http.Request
	path  live.Path
	event *event
	view  *view

	arrived time.Time
	until   time.Time // how long a parent is worth asking
	held    bool      // the segment is not published as far as we know
	outcome Outcome
	object  *object
}

// ServeHTTP serves viewers, and whoever measures this node.
func (ed *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case live.TimePath:
		live.AllowCORS(w.Header())
		live.ServeTime(w, r)
		return
	case "/metrics":
		ed.exporter.ServeHTTP(w, r)
		return
	case "/healthz", "/readyz":
		w.Write([]byte("ok\n"))
		return
	}
	q := &request{w: w, r: r, arrived: time.Now()}
	if err := ed.serve(q); err != nil {
		ed.refuse(q, err)
	}
}

// serve is the walk of one request.
func (ed *Edge) serve(q *request) error {
	if done, err := q.parse(); done || err != nil {
		return err
	}
	if err := ed.locate(q); err != nil {
		return err
	}
	if q.path.File == live.FileConfig {
		return ed.answerConfig(q)
	}
	if err := ed.place(q); err != nil {
		return err
	}
	ed.lookUp(q)
	if err := ed.await(q); err != nil {
		return err
	}
	return ed.answer(q)
}

// parse reads method and path.
func (q *request) parse() (done bool, err error) {
	live.AllowCORS(q.w.Header())
	switch q.r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		live.ServePreflight(q.w)
		return true, nil
	default:
		q.w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		return false, live.ErrMethod.With(q.r.Method + " is not for delivery")
	}
	if q.path, err = live.ParsePath(q.r.URL.Path); err != nil {
		return false, live.ErrNotHere.With(err.Error())
	}
	return false, nil
}

// locate finds the event and its rendition, in memory once the event is known.
func (ed *Edge) locate(q *request) (err error) {
	if q.event, err = ed.event(q.r.Context(), q.path.Event); err != nil {
		return err
	}
	q.view = q.event.view.Load()
	if q.path.Rendition != "" {
		if _, ok := q.view.timelines[q.path.Rendition]; !ok {
			return live.ErrNoRendition.With(fmt.Sprintf("event %v has no rendition %q", q.path.Event, q.path.Rendition))
		}
	}
	return nil
}

// place refuses a segment by the timeline alone: what cannot exist never
// reaches a parent.
func (ed *Edge) place(q *request) error {
	q.until = q.arrived.Add(2 * time.Second)
	if q.path.File != live.FileSegment {
		return nil
	}
	n, tl, now := q.path.Number, q.view.timelines[q.path.Rendition], q.arrived
	switch tl.Place(n, now) {
	case live.Never:
		q.outcome = Never
		if n > tl.First() {
			return live.ErrNever.For(time.Minute).With(fmt.Sprintf("segment %d is after the end of the event", n))
		}
		return live.ErrNever.With(fmt.Sprintf("the event begins with segment %d", tl.First()))
	case live.Early:
		q.outcome = Early
		due := tl.Due(n)
		return live.ErrEarly.For(due.Sub(now)).With(fmt.Sprintf("segment %d may be asked for from %s on", n, due.Format(live.TimeLayout)))
	case live.Gone:
		q.outcome = Gone
		return live.ErrGone.With(fmt.Sprintf("segment %d left the DVR window at %s", n, tl.GoneAt(n).Format(live.TimeLayout)))
	case live.Due:
		q.held = int64(n) > q.event.edge.Load()
		q.until = tl.Deadline(n)
	}
	return nil
}

// lookUp finds the object, or begins the one fill for all who wait.
func (ed *Edge) lookUp(q *request) {
	o, begin := ed.cache.lookUp(key{q.path, q.view.config.FlushVersion}, q.arrived)
	q.object = o
	switch {
	case begin:
		q.outcome = Fill
		e, until := q.event, q.until
		ed.tasks.Go(func() { ed.fill(e, o, until) })
	case o.complete():
		q.outcome = Hit
	default:
		q.outcome = Join
	}
	if q.held && q.outcome != Hit && !o.isReady() {
		q.outcome = Hold
	}
}

// await waits for the object's head, as long as the viewer does.
func (ed *Edge) await(q *request) error {
	if q.outcome == Hold {
		ed.metrics.holding.Inc()
		defer ed.metrics.holding.Dec()
	}
	select {
	case <-q.object.ready:
	case <-q.r.Context().Done():
		return context.Cause(q.r.Context())
	}
	if err := q.object.err; err != nil {
		return live.ErrUpstream.With(err.Error())
	}
	return nil
}
