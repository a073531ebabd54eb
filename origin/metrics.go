package origin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/admit"
	"headwater/live"
	"headwater/selection"
)

// metrics are the origin's counters. Each exists at zero from the start, and
// shares its label values with the names in the code.
type metrics struct {
	places              map[live.Place]prometheus.Counter
	events              *byEvent
	publishSeconds      prometheus.Histogram
	stepSeconds         [len(steps)]prometheus.Observer
	overGoal            prometheus.Counter
	fallbacks           map[fallbackOutcome]prometheus.Counter
	held                prometheus.Histogram
	holding             prometheus.Gauge
	memory, storeReads  prometheus.Counter
	condemned, left     prometheus.Counter
	missedAnnouncements prometheus.Counter
	lostAnnouncements   prometheus.Counter
	guardScans          prometheus.Counter
	gateLooksFailed     prometheus.Counter
	hearings            map[hearing]prometheus.Counter
}

func newMetrics(reg *prometheus.Registry, o *Origin) *metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "headwater", Subsystem: "origin", Name: name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	one := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "headwater", Subsystem: "origin", Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	seconds := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "headwater", Subsystem: "origin", Name: name, Help: help,
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 4}})
		reg.MustRegister(h)
		return h
	}
	gauge := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "headwater", Subsystem: "origin", Name: name, Help: help}, f))
	}
	m := &metrics{
		places:         make(map[live.Place]prometheus.Counter),
		events:         newByEvent(o.events.list),
		publishSeconds: seconds("publish_seconds", "From a PUT's headers to its acknowledgement."),
		overGoal:       one("publications_over_goal_total", "Publications that took longer than their goal, from the end of the body to the answer."),
		fallbacks:      make(map[fallbackOutcome]prometheus.Counter),
		held:           seconds("hold_seconds", "How long requests were held."),
		holding:        prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "headwater", Subsystem: "origin", Name: "holding", Help: "Requests held now."}),
		memory:         one("memory_hits_total", "Segments answered from memory."),
		storeReads:     one("store_reads_total", "Segments read from the store."),
		condemned:      one("condemned_total", "Candidates whose stored bytes were bad or gone."),
		left:           one("clients_left_total", "Clients that left before their answer."),

		missedAnnouncements: one("missed_announcements_total", "Candidates found in the store that no announcement had told of."),
		lostAnnouncements:   one("lost_announcements_total", "Announcements that the bus did not take."),
		guardScans:          one("guard_scans_total", "Looks into the store for segments that are waited for."),
		gateLooksFailed:     one("init_looks_failed_total", "PUTs before which the store did not say in time whether the pipeline's init segment was refused at another node."),
		hearings:            make(map[hearing]prometheus.Counter),
	}
	reg.MustRegister(m.holding, m.events)
	byStep := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "headwater", Subsystem: "origin", Name: "publish_step_seconds", Help: "Steps of publications.",
		Buckets: []float64{.0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2}}, []string{"step"})
	reg.MustRegister(byStep)
	for i, name := range steps {
		m.stepSeconds[i] = byStep.WithLabelValues(name)
	}
	gauge("write_goal_seconds", "What a publication should take from the end of its body to the answer.", WriteGoal.Seconds)
	fellBack := vec("fallbacks_total", "Segments asked of another region, by outcome.", "outcome")
	for _, f := range fallbackOutcomes {
		m.fallbacks[f] = fellBack.WithLabelValues(string(f))
	}
	gauge("store_slow_ratio", "Share of store reads for delivery that were slower than their target, in the last seconds.",
		func() float64 { return o.pace.Slow(time.Now()) })
	places := vec("places_total", "Segment requests by their place on the timeline.", "place")
	for _, p := range live.Places {
		m.places[p] = places.WithLabelValues(p.String())
	}
	heard := vec("packager_notifications_total", "Live-Notifications headers of publications by what became of them.", "outcome")
	for _, h := range hearings {
		m.hearings[h] = heard.WithLabelValues(string(h))
	}
	for _, c := range admit.Classes {
		opts := prometheus.CounterOpts{Name: originName("shed_total"), Help: "Requests shed by class.", ConstLabels: prometheus.Labels{"class": c.String()}}
		reg.MustRegister(prometheus.NewCounterFunc(opts, func() float64 {
			return float64(o.holds.Shed(c) + o.reads.Shed(c) + o.bodies.Shed(c) + o.egress.Shed(c) + o.pace.Shed(c))
		}))
	}
	gauge("memory_bytes", "Bytes of segments in memory.", func() float64 { _, b := o.window.size(); return float64(b) })
	gauge("events", "Events known.", func() float64 { return float64(len(o.events.list())) })
	return m
}

// published counts a publication that ended well.
func (m *metrics) published(e *event, p *publication) {
	c := m.events.of(e)
	// A dropped manifest's path may name anything.
	if p.outcome == dropped {
		c.publications.WithLabelValues("", string(dropped)).Inc()
		return
	}
	c.publications.WithLabelValues(p.path.Pipeline, string(p.outcome)).Inc()
	all := p.elapsed()
	m.publishSeconds.Observe(all.Seconds())
	if all-p.took[stepRead] > WriteGoal {
		m.overGoal.Inc()
	}
	for i, d := range p.took {
		if d > 0 {
			m.stepSeconds[i].Observe(d.Seconds())
		}
	}
	if p.path.File == live.FileSegment && p.outcome != identical {
		for _, f := range p.cand.Findings {
			c.defects.WithLabelValues(p.path.Pipeline, string(knownKind(f.Kind))).Inc()
		}
	}
}

// knownKind keeps strangers from inventing labels.
func knownKind(k live.Kind) live.Kind {
	for _, known := range live.Kinds {
		if k == known {
			return k
		}
	}
	return "other"
}

// refused counts a refusal; e is nil where the request names no event there is.
func (m *metrics) refused(e *event, side string, p *live.Problem) {
	m.events.of(e).refusals.WithLabelValues(side, p.Code).Inc()
}

func (m *metrics) decided(e *event, r selection.Reason) { m.events.of(e).decisions[r].Inc() }

func (m *metrics) served(d *delivery) {
	m.events.of(d.event).servings.WithLabelValues(d.decision.Candidate.Pipeline).Inc()
}
