package edge

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/live"
)

// metrics are the edge's counters. They share their names with the outcomes.
type metrics struct {
	*tallies
	requests         map[Outcome]prometheus.Counter
	refusals         map[string]prometheus.Counter // by problem
	otherRequests    prometheus.Counter
	peerRequests     *prometheus.CounterVec // by node
	bytes            prometheus.Counter
	holding          prometheus.Gauge
	fillErrors       prometheus.Counter
	digestMismatches prometheus.Counter
	left             prometheus.Counter
	resumed          prometheus.Counter
	disk             *diskMetrics
}

// memory makes the gauges of the cache.
func (m *metrics) memory(reg *prometheus.Registry, c *cache) {
	for _, g := range []struct {
		name, help string
		f          func(usage) int64
	}{
		{"objects", "Objects in memory.", func(u usage) int64 { return int64(u.objects) }},
		{"memory_bytes", "Bytes of objects in memory, those that are only being read included.", func(u usage) int64 { return u.bytes }},
		{"memory_live_bytes", "Of them, bytes of the live window.", func(u usage) int64 { return u.liveBytes }},
		{"memory_busy_bytes", "Of them, bytes of other objects that are being filled or read.", func(u usage) int64 { return u.busy }},
	} {
		opts := prometheus.GaugeOpts{Namespace: "headwater", Subsystem: "edge", Name: g.name, Help: g.help}
		reg.MustRegister(prometheus.NewGaugeFunc(opts, func() float64 { return float64(g.f(c.usage())) }))
	}
	for _, g := range []struct {
		name, help string
		f          func(usage) int64
	}{
		{"memory_evictions_total", "Objects that left memory to make room.", func(u usage) int64 { return u.evicted }},
		{"memory_live_evictions_total", "Of them, objects of the live window: memory is too small for it.", func(u usage) int64 { return u.evictedLive }},
		{"memory_refused_fills_total", "Fills for the DVR window refused for want of memory.", func(u usage) int64 { return u.shed }},
	} {
		opts := prometheus.CounterOpts{Namespace: "headwater", Subsystem: "edge", Name: g.name, Help: g.help}
		reg.MustRegister(prometheus.NewCounterFunc(opts, func() float64 { return float64(g.f(c.usage())) }))
	}
}

func newMetrics(reg *prometheus.Registry, ed *Edge) *metrics {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "headwater", Subsystem: "edge", Name: name, Help: help}
	}
	one := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(opts(name, help))
		reg.MustRegister(c)
		return c
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(opts(name, help), labels)
		reg.MustRegister(v)
		return v
	}
	gauge := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts(name, help)), f))
	}
	m := &metrics{
		requests:         make(map[Outcome]prometheus.Counter),
		refusals:         make(map[string]prometheus.Counter),
		otherRequests:    one("origin_other_requests_total", "Requests to parents for init segments and manifests."),
		peerRequests:     vec("peer_requests_total", "Requests to other nodes of the site.", "peer"),
		bytes:            one("sent_bytes_total", "Bytes of whole bodies sent to viewers."),
		holding:          prometheus.NewGauge(prometheus.GaugeOpts(opts("holding", "Requests held now."))),
		fillErrors:       one("fill_errors_total", "Fills that failed."),
		digestMismatches: one("digest_mismatches_total", "Fills whose bytes were not what their digest says."),
		resumed:          one("fills_resumed_total", "Bodies that broke off and went on with another request."),
		left:             one("clients_left_total", "Clients that left before the end of their answer, or were too slow to take it."),
	}
	edges := prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("live_edge", "Newest segment of the event that parents told of; -1 before any.")), []string{"event"})
	reg.MustRegister(m.holding, edges)
	m.tallies = newTallies(vec, edges)
	outcomes := vec("requests_total", "Requests by outcome.", "outcome")
	for _, o := range Outcomes {
		m.requests[o] = outcomes.WithLabelValues(string(o))
	}
	refusals := vec("refusals_total", "Refused requests by problem, whoever refused.", "problem")
	for _, p := range live.Problems {
		m.refusals[p.Code] = refusals.WithLabelValues(p.Code)
	}
	m.refusals[otherLabel] = refusals.WithLabelValues(otherLabel)
	for _, p := range ed.upstream.all() {
		if p.peer != nil {
			m.peerRequests.WithLabelValues(p.name)
		}
		up := prometheus.GaugeOpts(opts("parent_up", "Whether the parent answers."))
		up.ConstLabels = prometheus.Labels{"parent": p.base}
		reg.MustRegister(prometheus.NewGaugeFunc(up, func() float64 {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.health.down {
				return 0
			}
			return 1
		}))
	}
	gauge("clock_offset_seconds", "The parents' clock minus this node's.", func() float64 {
		return time.Duration(ed.upstream.offset.Load()).Seconds()
	})
	m.memory(reg, ed.cache)
	m.disk = newDiskMetrics(ed.disk, one, vec, gauge)
	return m
}

// asked counts a request to a parent.
func (m *metrics) asked(p live.Path, whom *parent) {
	if whom.peer != nil {
		m.peerRequests.WithLabelValues(whom.name).Inc()
		return
	}
	if p.File == live.FileSegment {
		m.tallies.asked(p)
		return
	}
	m.otherRequests.Inc()
}

// answered counts an answer whose head is about to be sent.
func (m *metrics) answered(q *request, status int, problem string) {
	m.of(q.event).answer(answered{status, problem}).Inc()
	switch {
	case problem != "":
		m.refuse(problem)
	case status == http.StatusOK && q.object != nil && q.Method == http.MethodGet:
		for _, c := range q.object.sending {
			c.Inc()
		}
	}
}

// refuse counts a refusal by its problem.
func (m *metrics) refuse(problem string) {
	c := m.refusals[problem]
	if c == nil {
		c = m.refusals[otherLabel]
	}
	c.Inc()
}
