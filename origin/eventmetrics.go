package origin

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/live"
	"headwater/selection"
)

// countedEvents is how many events have counters and gauges of their own at
// once. All others share the counters of the event "other".
const countedEvents = 100

// refusable are the problems that each side answers with, so that each has a
// counter at zero.
var refusable = map[string][]*live.Problem{
	"publish": {
		live.ErrBadPath, live.ErrMalformedMedia, live.ErrBadHeader, live.ErrDigest, live.ErrFuture, live.ErrIncomplete, live.ErrUnauthorized, live.ErrForbidden,
		live.ErrNoEvent, live.ErrNoPipeline, live.ErrNoRendition, live.ErrOutside, live.ErrMethod, live.ErrTimeout, live.ErrConflict,
		live.ErrInitMissing, live.ErrInitDiffers, live.ErrTooLarge, live.ErrNotCMAF, live.ErrNotStored,
	},
	"deliver": {
		live.ErrNotHere, live.ErrNoEvent, live.ErrNoTenant, live.ErrNoRendition, live.ErrNever, live.ErrEarly, live.ErrNoInit, live.ErrMethod,
		live.ErrLost, live.ErrGone, live.ErrShed, live.ErrStoreDown, live.ErrDraining, live.ErrInternal,
	},
}

// counts are the counters of one event. They are not registered: the collector
// of all events reads them through the event, so that those of one that is
// deleted end with it, whatever is still counted.
type counts struct {
	publications *prometheus.CounterVec // by pipeline and outcome
	defects      *prometheus.CounterVec // by pipeline and kind
	refusals     *prometheus.CounterVec // by side and problem
	servings     *prometheus.CounterVec // by pipeline
	decisions    map[selection.Reason]prometheus.Counter
	reasons      *prometheus.CounterVec // decisions
}

// newCounts makes the counters of an event. Each that does not depend on a
// pipeline exists at zero.
func newCounts(event string) *counts {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: originName(name), Help: help, ConstLabels: prometheus.Labels{"event": event}}, labels)
	}
	c := &counts{
		publications: vec("publications_total", "Publications that ended well, by event, pipeline and outcome.", "pipeline", "outcome"),
		defects:      vec("defects_total", "Findings in published segments, by event, pipeline and kind.", "pipeline", "kind"),
		refusals:     vec("refusals_total", "Refused requests, by event, side and problem.", "side", "problem"),
		servings:     vec("segments_served_total", "Segments delivered, by event and pipeline.", "pipeline"),
		reasons:      vec("decisions_total", "Selections, by event and reason.", "reason"),
		decisions:    make(map[selection.Reason]prometheus.Counter),
	}
	for _, r := range selection.Reasons {
		c.decisions[r] = c.reasons.WithLabelValues(string(r))
	}
	for side, problems := range refusable {
		for _, p := range problems {
			c.refusals.WithLabelValues(side, p.Code)
		}
	}
	return c
}

// know makes the counters of pipelines exist.
func (c *counts) know(pipelines []live.Pipeline) {
	for _, p := range pipelines {
		c.servings.WithLabelValues(p.Name)
		for _, o := range [...]publishOutcome{created, identical, repaired} {
			c.publications.WithLabelValues(p.Name, string(o))
		}
	}
}

func (c *counts) collect(ch chan<- prometheus.Metric) {
	for _, v := range [...]*prometheus.CounterVec{c.publications, c.defects, c.refusals, c.servings, c.reasons} {
		v.Collect(ch)
	}
}

// byEvent collects what is counted by event, and reads from the tables of each
// what it is worth at the time.
type byEvent struct {
	events func() []*event
	none   *counts // of requests that name no event there is
	other  *counts

	mu sync.Mutex // makes one event's counters after the other
}

func newByEvent(events func() []*event) *byEvent {
	return &byEvent{events: events, none: newCounts(""), other: newCounts("other")}
}

// of returns the counters of an event, of nil those of none.
func (b *byEvent) of(e *event) *counts {
	if e == nil {
		return b.none
	}
	if c := e.counts.Load(); c != nil {
		return c
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := e.counts.Load(); c != nil {
		return c
	}
	n := 0
	for _, x := range b.events() {
		if c := x.counts.Load(); c != nil && c != b.other {
			n++
		}
	}
	c := b.other
	if n < countedEvents {
		c = newCounts(e.id.String())
	}
	e.counts.Store(c)
	return c
}

var (
	byPipeline = []string{"event", "pipeline", "rendition"}

	liveEdgeDesc = prometheus.NewDesc(originName("live_edge"), "The newest published segment that may be asked for.", []string{"event"}, nil)
	lastDesc     = prometheus.NewDesc(originName("last_publication_timestamp_seconds"),
		"When a pipeline published its newest segment of a rendition, in Unix time; 0 before the first.", byPipeline, nil)
	lateDesc = prometheus.NewDesc(originName("lateness_seconds"),
		"How long after it was expected a pipeline published its newest segment of a rendition; before it is negative.", byPipeline, nil)
	refusedDesc = prometheus.NewDesc(originName("init_refused"),
		"1 where a pipeline's segments of a rendition are refused since its newest init segment was, else 0.", byPipeline, nil)
)

// Describe describes nothing: the names of events are not known beforehand.
func (b *byEvent) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (b *byEvent) Collect(ch chan<- prometheus.Metric) {
	b.none.collect(ch)
	b.other.collect(ch)
	for _, e := range b.events() {
		c := b.of(e)
		cfg := e.view.Load().config()
		if c == b.other {
			continue
		}
		c.know(cfg.Pipelines)
		c.collect(ch)
		e.collect(ch, time.Now())
	}
}

// A newest is a pipeline's newest segment of a rendition.
type newest struct {
	number    live.Number
	published time.Time
}

// collect reads the gauges of an event.
func (e *event) collect(ch chan<- prometheus.Metric, now time.Time) {
	id, v := e.id.String(), e.view.Load()
	gauge := func(d *prometheus.Desc, x float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x, append([]string{id}, labels...)...)
	}
	if edge, ok := e.liveEdge(v, now); ok {
		gauge(liveEdgeDesc, float64(edge))
	}
	tl := v.config().Event.Timeline()
	for _, r := range v.config().Renditions {
		for _, p := range v.config().Pipelines {
			last, published := e.newestOf(r.Name, p.Name)
			g := e.gateOf(r.Name, p.Name)
			at, refused := 0.0, 0.0
			if published {
				at = float64(last.published.UnixMilli()) / 1000
				gauge(lateDesc, last.published.Sub(tl.Expected(last.number)).Seconds(), p.Name, r.Name)
			}
			if g.shut() {
				refused = 1
			}
			gauge(lastDesc, at, p.Name, r.Name)
			gauge(refusedDesc, refused, p.Name, r.Name)
		}
	}
}

// newestOf is the newest segment that a pipeline published of a rendition.
func (e *event) newestOf(rendition, pipeline string) (newest, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tracks[rendition]
	if t == nil {
		return newest{}, false
	}
	n, ok := t.last[pipeline]
	return n, ok
}

// note needs the event's mu. It keeps the newest segment of each pipeline.
func (t *track) note(c live.Candidate) {
	if t.last == nil {
		t.last = make(map[string]newest)
	}
	if n, ok := t.last[c.Pipeline]; !ok || n.number < c.Number {
		t.last[c.Pipeline] = newest{c.Number, c.Published}
	}
}

// refused counts a refusal; e is nil where the request names no event there is.
func (g *registry) refused(e *event, side string, p *live.Problem) {
	g.counters.of(e).refusals.WithLabelValues(side, p.Code).Inc()
}

func (g *registry) decided(e *event, r selection.Reason) { g.counters.of(e).decisions[r].Inc() }
