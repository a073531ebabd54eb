package book

import (
	"sync"
	"time"

	"headwater/origin/metric"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/clock"
	"headwater/live"
	"headwater/selection"
)

// CountedEvents is how many events have counters and gauges of their own at
// once. All others share the counters of the event "other".
const CountedEvents = 100

// refusable are the problems that each side answers with, so that each has a
// counter at zero.
var refusable = map[string][]*live.Problem{
	"publish": {
		live.ErrBadPath, live.ErrMalformedMedia, live.ErrBadHeader, live.ErrDigest, live.ErrFuture, live.ErrIncomplete, live.ErrUnauthorized, live.ErrForbidden,
		live.ErrNoEvent, live.ErrNoPipeline, live.ErrNoRendition, live.ErrOutside, live.ErrMethod, live.ErrTimeout, live.ErrConflict,
		live.ErrInitMissing, live.ErrInitDiffers, live.ErrNotHere, live.ErrTooLarge, live.ErrNotCMAF, live.ErrNotStored,
	},
	"deliver": {
		live.ErrNotHere, live.ErrNoEvent, live.ErrNoTenant, live.ErrNoRendition, live.ErrNoKeyFrame, live.ErrNever, live.ErrEarly, live.ErrNoInit, live.ErrMethod,
		live.ErrLost, live.ErrGone, live.ErrShed, live.ErrStoreDown, live.ErrDraining, live.ErrInternal,
	},
}

// An Outcome is how a PUT ended well. Counters share the names.
type Outcome string

const (
	Created   Outcome = "created"   // 201
	Identical Outcome = "identical" // 200: the same bytes again
	Repaired  Outcome = "repaired"  // 200: better than what was there
	Judged    Outcome = "judged"    // 200: a verdict on what was published
	Dropped   Outcome = "dropped"   // 200: a manifest of the packager's own, or a DELETE
)

// Counts are the counters of one event. They are not registered: the collector
// of all events reads them through the event, so that those of one that is
// deleted end with it, whatever is still counted.
type Counts struct {
	Publications *prometheus.CounterVec         // by pipeline and outcome
	Defects      *prometheus.CounterVec         // by pipeline and kind
	Qualities    *prometheus.CounterVec         // by pipeline and what is wanting
	refusals     *prometheus.CounterVec         // by side and problem
	refused      map[refused]prometheus.Counter // those of them that there are from the start
	Servings     *prometheus.CounterVec         // by pipeline
	decisions    map[selection.Reason]prometheus.Counter
	reasons      *prometheus.CounterVec // decisions
}

// refused is who refuses, and by which problem.
type refused struct{ side, code string }

// newCounts makes the counters of an event. Each that does not depend on a
// pipeline exists at zero.
func newCounts(event string) *Counts {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: metric.Name(name), Help: help, ConstLabels: prometheus.Labels{"event": event}}, labels)
	}
	c := &Counts{
		Publications: vec("publications_total", "Publications that ended well, by event, pipeline and outcome.", "pipeline", "outcome"),
		Defects:      vec("defects_total", "Findings in published segments, by event, pipeline and kind.", "pipeline", "kind"),
		Qualities:    vec("quality_total", "Published segments that show less than they should, by event, pipeline and what is wanting.", "pipeline", "kind"),
		refusals:     vec("refusals_total", "Refused requests, by event, side and problem.", "side", "problem"),
		Servings:     vec("segments_served_total", "Segments delivered, by event and pipeline.", "pipeline"),
		reasons:      vec("decisions_total", "Selections, by event and reason.", "reason"),
		decisions:    make(map[selection.Reason]prometheus.Counter),
		refused:      make(map[refused]prometheus.Counter),
	}
	for _, r := range selection.Reasons {
		c.decisions[r] = c.reasons.WithLabelValues(string(r))
	}
	for side, problems := range refusable {
		for _, p := range problems {
			c.refused[refused{side, p.Code}] = c.refusals.WithLabelValues(side, p.Code)
		}
	}
	return c
}

// know makes the counters of pipelines exist.
func (c *Counts) know(pipelines []live.Pipeline) {
	for _, p := range pipelines {
		c.Servings.WithLabelValues(p.Name)
		for _, o := range [...]Outcome{Created, Identical, Repaired, Judged} {
			c.Publications.WithLabelValues(p.Name, string(o))
		}
		for _, k := range live.QualityKinds {
			c.Qualities.WithLabelValues(p.Name, k)
		}
	}
}

func (c *Counts) collect(ch chan<- prometheus.Metric) {
	for _, v := range [...]*prometheus.CounterVec{c.Publications, c.Defects, c.Qualities, c.refusals, c.Servings, c.reasons} {
		v.Collect(ch)
	}
}

// Counters collects what is counted by event, and reads from the tables of each
// what it is worth at the time.
type Counters struct {
	clock  *clock.Clock
	events func() []*Event
	none   *Counts // of requests that name no event there is
	other  *Counts

	mu sync.Mutex // makes one event's counters after the other
}

func newByEvent(events func() []*Event, clk *clock.Clock) *Counters {
	return &Counters{clock: clk, events: events, none: newCounts(""), other: newCounts("other")}
}

// Of returns the counters of an event, of nil those of none.
func (b *Counters) Of(e *Event) *Counts {
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
	if n < CountedEvents {
		c = newCounts(e.ID.String())
	}
	e.counts.Store(c)
	return c
}

var (
	byPipeline = []string{"event", "pipeline", "rendition"}

	liveEdgeDesc = prometheus.NewDesc(metric.Name("live_edge"), "The newest published segment that may be asked for.", []string{"event"}, nil)
	lastDesc     = prometheus.NewDesc(metric.Name("last_publication_timestamp_seconds"),
		"When a pipeline published its newest segment of a rendition, in Unix time; 0 before the first.", byPipeline, nil)
	lateDesc = prometheus.NewDesc(metric.Name("lateness_seconds"),
		"How long after it was expected a pipeline published its newest segment of a rendition; before it is negative.", byPipeline, nil)
	refusedDesc = prometheus.NewDesc(metric.Name("init_refused"),
		"1 where a pipeline's segments of a rendition are refused since its newest init segment was, else 0.", byPipeline, nil)
)

// Describe describes nothing: the names of events are not known beforehand.
func (b *Counters) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (b *Counters) Collect(ch chan<- prometheus.Metric) {
	b.none.collect(ch)
	b.other.collect(ch)
	for _, e := range b.events() {
		c := b.Of(e)
		cfg := e.View().Config()
		if c == b.other {
			continue
		}
		c.know(cfg.Pipelines)
		c.collect(ch)
		e.collect(ch, b.clock.Now())
	}
}

// A newest is a pipeline's newest segment of a rendition.
type newest struct {
	number    live.Number
	published time.Time
}

// collect reads the gauges of an event.
func (e *Event) collect(ch chan<- prometheus.Metric, now time.Time) {
	id, v := e.ID.String(), e.View()
	gauge := func(d *prometheus.Desc, x float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x, append([]string{id}, labels...)...)
	}
	if edge, ok := e.LiveEdge(v, now); ok {
		gauge(liveEdgeDesc, float64(edge))
	}
	tl := v.Config().Event.Timeline()
	for _, r := range v.Config().Renditions {
		for _, p := range v.Config().Pipelines {
			last, published := e.newestOf(r.Name, p.Name)
			g := e.GateOf(r.Name, p.Name)
			at, refused := 0.0, 0.0
			if published {
				at = float64(last.published.UnixMilli()) / 1000
				gauge(lateDesc, last.published.Sub(tl.Expected(last.number)).Seconds(), p.Name, r.Name)
			}
			if g.Shut() {
				refused = 1
			}
			gauge(lastDesc, at, p.Name, r.Name)
			gauge(refusedDesc, refused, p.Name, r.Name)
		}
	}
}

// newestOf is the newest segment that a pipeline published of a rendition.
func (e *Event) newestOf(rendition, pipeline string) (newest, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, ok := e.peek(rendition).last[pipeline]
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

// Refused counts a refusal; e is nil where the request names no event there is.
func (g *Book) Refused(e *Event, side string, p *live.Problem) {
	c := g.Counters.Of(e)
	n, ok := c.refused[refused{side, p.Code}]
	if !ok {
		n = c.refusals.WithLabelValues(side, p.Code)
	}
	n.Inc()
}

// Decided counts a selection.
func (g *Book) Decided(e *Event, r selection.Reason) { g.Counters.Of(e).decisions[r].Inc() }
