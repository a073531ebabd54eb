package edge

import (
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"headwater/access/token"
	"headwater/edge/event"
	"headwater/edge/parents"
	"headwater/live"
)

// metrics are the edge's counters. They share their names with the outcomes.
type metrics struct {
	*event.Tallies
	requests         map[Outcome]prometheus.Counter
	refusals         map[string]prometheus.Counter // by problem
	otherRequests    prometheus.Counter
	peerRequests     *prometheus.CounterVec // by node
	bytes            prometheus.Counter
	holding          atomic.Int64 // requests held now
	fillErrors       prometheus.Counter
	digestMismatches prometheus.Counter
	left             prometheus.Counter
	resumed          prometheus.Counter
	relieved         prometheus.Counter
	tooSlow          *prometheus.CounterVec // by parent
	diskHits         prometheus.Counter
	tokensRefused    map[token.Reason]prometheus.Counter
	tokensRenewed    prometheus.Counter
}

// otherLabel stands for what is not one of the known values of a label.
const otherLabel = "other"

func newMetrics(reg prometheus.Registerer, tallies *event.Tallies, up *parents.Upstream) *metrics {
	auto := promauto.With(reg)
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "headwater", Subsystem: "edge", Name: name, Help: help}
	}
	one := func(name, help string) prometheus.Counter {
		return auto.NewCounter(prometheus.CounterOpts(opts(name, help)))
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels)
	}
	m := &metrics{
		Tallies:          tallies,
		requests:         make(map[Outcome]prometheus.Counter),
		refusals:         make(map[string]prometheus.Counter),
		otherRequests:    one("origin_other_requests_total", "Requests to parents for init segments and manifests."),
		peerRequests:     vec("peer_requests_total", "Requests to other nodes of the site.", "peer"),
		bytes:            one("sent_bytes_total", "Bytes of whole bodies sent to viewers."),
		fillErrors:       one("fill_errors_total", "Fills that failed."),
		digestMismatches: one("digest_mismatches_total", "Fills whose bytes were not what their digest says."),
		resumed:          one("fills_resumed_total", "Bodies that broke off and went on with another request."),
		relieved:         one("fills_relieved_total", "Bodies that were too slow, and of which another parent sent the rest."),
		tooSlow:          vec("parent_slow_bodies_total", "Bodies of a parent that came slower than viewers need them.", "parent"),
		left:             one("clients_left_total", "Clients that left before the end of their answer, or were too slow to take it."),
		diskHits:         one("disk_hits_total", "Requests answered from the disk."),
	}
	m.tokensRenewed = one("tokens_renewed_total", "Tokens of viewers that were made anew.")
	m.tokensRefused = make(map[token.Reason]prometheus.Counter)
	refused := vec("tokens_refused_total", "Requests without a token that opens what they ask for.", "reason")
	for _, r := range token.Reasons {
		m.tokensRefused[r] = refused.WithLabelValues(string(r))
	}
	outcomes := vec("requests_total", "Requests by outcome.", "outcome")
	for _, o := range Outcomes {
		m.requests[o] = outcomes.WithLabelValues(string(o))
	}
	refusals := vec("refusals_total", "Refused requests by problem, whoever refused.", "problem")
	for _, p := range live.Problems {
		m.refusals[p.Code] = refusals.WithLabelValues(p.Code)
	}
	m.refusals[otherLabel] = refusals.WithLabelValues(otherLabel)
	for _, p := range up.All() {
		if p.Peer() {
			m.peerRequests.WithLabelValues(p.Name)
		}
		m.tooSlow.WithLabelValues(p.Base)
		behind := prometheus.GaugeOpts(opts("parent_behind", "Whether the parent is asked after the others, for being slow or wrong."))
		behind.ConstLabels = prometheus.Labels{"parent": p.Base}
		auto.NewGaugeFunc(behind, func() float64 {
			if p.Behind() {
				return 1
			}
			return 0
		})
		isUp := prometheus.GaugeOpts(opts("parent_up", "Whether the parent answers."))
		isUp.ConstLabels = prometheus.Labels{"parent": p.Base}
		auto.NewGaugeFunc(isUp, func() float64 {
			if down, _ := p.Down(); down {
				return 0
			}
			return 1
		})
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts(opts("holding", "Requests held now.")), func() float64 { return float64(m.holding.Load()) })
	for _, c := range []struct {
		name, help string
		count      func(parents.Hedges) uint64
	}{
		{"parent_hedges_total", "Requests to parents beside another that was late or slow.", func(c parents.Hedges) uint64 { return c.Hedges }},
		{"parent_hedges_won_total", "Of those, the ones that answered first.", func(c parents.Hedges) uint64 { return c.Won }},
		{"parent_hedges_held_total", "Such requests that were not made, since there were too many.", func(c parents.Hedges) uint64 { return c.Held }},
		{"parent_retries_total", "Requests to parents after all before had failed.", func(c parents.Hedges) uint64 { return c.Retries }},
	} {
		auto.NewCounterFunc(prometheus.CounterOpts(opts(c.name, c.help)), func() float64 { return float64(c.count(up.Hedges())) })
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts(opts("clock_offset_seconds", "The parents' clock minus this node's.")), func() float64 { return up.Offset().Seconds() })
	return m
}

// remembered makes the gauge of the events.
func (m *metrics) remembered(reg prometheus.Registerer, events *event.Registry) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "headwater", Subsystem: "edge", Name: "events", Help: "Events that are remembered, those that there are not among them.",
	}, func() float64 { return float64(events.Len()) }))
}

// asked counts a request to a parent.
func (m *metrics) asked(p live.Path, whom *parents.Parent) {
	switch {
	case whom.Peer():
		m.peerRequests.WithLabelValues(whom.Name).Inc()
	case p.File == live.FileSegment:
		m.Asked(p)
	default:
		m.otherRequests.Inc()
	}
}

// answered counts an answer whose head is about to be sent.
func (m *metrics) answered(q *request, status int, problem string) {
	m.Answered(q.event, status, problem)
	switch {
	case problem != "":
		m.refuse(problem)
	case status == http.StatusOK && q.object != nil && q.Method == http.MethodGet:
		for _, c := range q.object.Sending {
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
