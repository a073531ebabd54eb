package event

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"headwater/live"
)

// talliedEvents is how many events have counters of their own at once; all
// others share those of the event "other". Each has some ninety.
const talliedEvents = 100

// otherLabel stands for what is not one of the known values of a label.
const otherLabel = "other"

// refused are the problems that viewers of an event can be answered with, by
// this node or by a parent.
var refused = []*live.Problem{
	live.ErrNotHere, live.ErrNoEvent, live.ErrNoTenant, live.ErrNoRendition, live.ErrNoKeyFrame, live.ErrNever, live.ErrEarly, live.ErrNoInit,
	live.ErrMethod, live.ErrLost, live.ErrGone, live.ErrShed, live.ErrStoreDown, live.ErrDraining, live.ErrUpstream,
	live.ErrInternal, live.ErrLoop, live.ErrToken,
}

// An answered is what answers are counted by beside their event.
type answered struct {
	status  int
	problem string // its code; empty where the answer is none
}

// A tally has the counters of one event's answers. It is made when the event
// becomes known, so that to count takes neither a look-up by labels nor memory.
type tally struct {
	label   string // the event's, or "other"
	ok      prometheus.Counter
	answers map[answered]prometheus.Counter // never changed
	edge    prometheus.Gauge
}

// answer is the counter of an answer.
func (t *tally) answer(a answered) prometheus.Counter {
	if a == (answered{status: http.StatusOK}) {
		return t.ok
	}
	for _, a := range [...]answered{a, {a.status, otherLabel}, {0, otherLabel}} {
		if c := t.answers[a]; c != nil {
			return c
		}
	}
	return nil // not reached: the last is there
}

// Tallies are the counters by event.
type Tallies struct {
	answers  *prometheus.CounterVec // by event, status, problem
	segments *prometheus.CounterVec // by event, pipeline
	defects  *prometheus.CounterVec // by event, pipeline, defect
	origin   *prometheus.CounterVec // by event, rendition
	edges    *prometheus.GaugeVec   // by event
	rest     *tally

	mu     sync.Mutex // guards the following
	events map[live.EventID]*tally
}

// NewTallies makes the counters.
func NewTallies(reg prometheus.Registerer) *Tallies {
	auto := promauto.With(reg)
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "headwater", Subsystem: "edge", Name: name, Help: help}
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels)
	}
	ts := &Tallies{
		answers:  vec("answers_total", "Answers to viewers by event, status and problem, whoever refused.", "event", "status", "problem"),
		segments: vec("sent_segments_total", "Segments sent to viewers by event and pipeline.", "event", "pipeline"),
		defects:  vec("sent_defects_total", "Findings of segments sent to viewers by event, pipeline and kind.", "event", "pipeline", "defect"),
		origin:   vec("origin_requests_total", "Requests to parents for segments.", "event", "rendition"),
		edges:    auto.NewGaugeVec(prometheus.GaugeOpts(opts("live_edge", "Newest segment of the event that parents told of; -1 before any.")), []string{"event"}),
		events:   make(map[live.EventID]*tally),
	}
	ts.rest = ts.make(otherLabel)
	ts.pipeline(otherLabel, otherLabel)
	return ts
}

// make makes the counters of an event's answers.
func (ts *Tallies) make(label string) *tally {
	t := &tally{label: label, answers: make(map[answered]prometheus.Counter), edge: ts.edges.WithLabelValues(label)}
	t.edge.Set(-1)
	enter := func(status int, problem string) {
		s := otherLabel
		if status > 0 {
			s = strconv.Itoa(status)
		}
		t.answers[answered{status, problem}] = ts.answers.WithLabelValues(label, s, problem)
	}
	for _, status := range []int{http.StatusOK, http.StatusPartialContent, http.StatusNotModified, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable} {
		enter(status, "")
	}
	for _, p := range refused {
		enter(p.Status, p.Code)
		enter(p.Status, otherLabel)
	}
	enter(0, otherLabel)
	t.ok = t.answers[answered{status: http.StatusOK}]
	return t
}

// pipeline makes the counters of what is sent of a pipeline.
func (ts *Tallies) pipeline(event, pipeline string) {
	ts.segments.WithLabelValues(event, pipeline)
	for _, k := range live.Kinds {
		ts.defects.WithLabelValues(event, pipeline, string(k))
	}
	ts.defects.WithLabelValues(event, pipeline, otherLabel)
}

// know makes the counters of an event, and those of its pipelines and
// renditions, as its configuration is now.
func (ts *Tallies) know(id live.EventID, v *Configuration) *tally {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.events[id]
	if t == nil {
		if len(ts.events) >= talliedEvents {
			return ts.rest
		}
		t = ts.make(id.String())
		ts.events[id] = t
	}
	for name := range v.Renditions {
		ts.origin.WithLabelValues(t.label, name)
	}
	for _, p := range v.Pipelines {
		ts.pipeline(t.label, p.Name)
	}
	ts.pipeline(t.label, otherLabel)
	return t
}

// forget ends the counters of an event: a node that runs for months sees many.
func (ts *Tallies) forget(id live.EventID) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.events[id]
	if t == nil {
		return
	}
	delete(ts.events, id)
	of := prometheus.Labels{"event": t.label}
	for _, v := range []*prometheus.CounterVec{ts.answers, ts.segments, ts.defects, ts.origin} {
		v.DeletePartialMatch(of)
	}
	ts.edges.DeletePartialMatch(of)
}

// of is the tally of an event; e may be nil, or not known.
func (ts *Tallies) of(e *Event) *tally {
	if e != nil {
		if t := e.tally.Load(); t != nil {
			return t
		}
	}
	return ts.rest
}

// Asked counts a request to a parent for a segment.
func (ts *Tallies) Asked(p live.Path) {
	ts.mu.Lock()
	t := ts.events[p.Event]
	ts.mu.Unlock()
	if t == nil {
		ts.origin.WithLabelValues(otherLabel, otherLabel).Inc()
		return
	}
	ts.origin.WithLabelValues(t.label, p.Rendition).Inc()
}

// Answered counts an answer. Its problem is empty where it is none.
func (ts *Tallies) Answered(e *Event, status int, problem string) {
	ts.of(e).answer(answered{status, problem}).Inc()
}

// Sending returns the counters of each time that a segment is sent: of the
// pipeline it is from, and of each of its findings, as they came.
func (ts *Tallies) Sending(e *Event, from string, defects []string) []prometheus.Counter {
	t, pipeline := ts.of(e), otherLabel
	if t != ts.rest {
		for _, p := range e.Config().Pipelines {
			if p.Name == from {
				pipeline = from
			}
		}
	}
	list := []prometheus.Counter{ts.segments.WithLabelValues(t.label, pipeline)}
	findings, err := live.ParseFindings(defects)
	if err != nil {
		return append(list, ts.defects.WithLabelValues(t.label, pipeline, otherLabel))
	}
	for _, f := range findings {
		kind := otherLabel
		for _, k := range live.Kinds {
			if k == f.Kind {
				kind = string(k)
			}
		}
		list = append(list, ts.defects.WithLabelValues(t.label, pipeline, kind))
	}
	return list
}
