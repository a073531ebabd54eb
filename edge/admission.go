package edge

import (
	"hash/maphash"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/admit"
	"headwater/edge/exchange"
	"headwater/live"
)

// Targets of an edge's signals.
const (
	// loopTarget is how long a viewer waits in the mean until his loop looks at him.
	loopTarget = 10 * time.Millisecond
	// slowTarget is the share of live segments that take longer to be sent than they play.
	slowTarget = 0.25
	// held requests may take this part of memory, each so much.
	heldPart, heldBytes = 4, 1 << 10
	// quick is shorter than any segment.
	quick = 100 * time.Millisecond
	// perAnswer is what an answer takes of a loop beside its bytes, in bytes.
	perAnswer = 16 << 10
)

// An admission decides who makes room for whom. What is live at an edge is never
// refused for its slowness: it is what the others are refused for.
//
// Lateness and slow sending count by how much of what this node sends is not live:
// where a crowd at the live edge makes a node late, or its viewers are slow, to refuse
// the few who watch something else would change nothing.
type admission struct {
	*admit.Admission
	ed   *Edge
	late func() time.Duration                 // of the process; nil: nobody knows
	load atomic.Pointer[func() exchange.Load] // nil: nobody serves viewers yet
	shed map[admit.Class]prometheus.Counter

	sent      [2]atomic.Int64 // bytes since the last look: what is live, and all else
	sends     atomic.Int64    // of live segments, since the last look,
	slow      atomic.Int64    // and of them those that took too long
	slowSends *admit.Meter
	busy      atomic.Uint64 // lateness and slow sending of all, as float64 bits: the worse
	seed      maphash.Seed
}

func newAdmission(ed *Edge) *admission {
	a := &admission{ed: ed, late: ed.cfg.Late, slowSends: &admit.Meter{}, seed: maphash.MakeSeed(), shed: make(map[admit.Class]prometheus.Counter)}
	a.Admission = admit.NewAdmission(nil, nil, a.signals)
	name := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "headwater", Subsystem: "edge", Name: name, Help: help}
	}
	shed := prometheus.NewCounterVec(prometheus.CounterOpts(name("shed_total", "Requests that this node shed, by class.")), []string{"class"})
	ed.cfg.Metrics.MustRegister(shed)
	for _, c := range admit.Classes[admit.Live:] {
		a.shed[c] = shed.WithLabelValues(c.String())
		opts := name("shed_ratio", "Share of what is asked for that is refused now, by class.")
		opts.ConstLabels = prometheus.Labels{"class": c.String()}
		ed.cfg.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts), func() float64 { return a.Refused(c, time.Now()) }))
	}
	for signal, of := range map[string]func(s admit.Signals) float64{
		"late":   func(s admit.Signals) float64 { return s.Late },
		"egress": func(s admit.Signals) float64 { return s.Egress },
		"bytes":  func(s admit.Signals) float64 { return s.Bytes },
		"held":   func(s admit.Signals) float64 { return s.Held },
		"files":  func(s admit.Signals) float64 { return s.Files },
	} {
		opts := name("pressure", "How far a signal is from its target: from 1 on, lower classes are shed.")
		opts.ConstLabels = prometheus.Labels{"signal": signal}
		ed.cfg.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts), func() float64 { return of(a.Signals(time.Now())) }))
	}
	return a
}

// signals says how things are since it was last asked.
func (a *admission) signals(now time.Time) admit.Signals {
	var load exchange.Load
	if f := a.load.Load(); f != nil {
		load = (*f)()
	}
	late := float64(load.Late) / float64(loopTarget)
	if a.late != nil {
		late = max(late, float64(a.late())/float64(admit.LateTarget))
	}
	a.slowSends.Add(now, a.sends.Swap(0), a.slow.Swap(0))
	egress := a.slowSends.Slow(now) / slowTarget
	a.busy.Store(math.Float64bits(max(late, egress)))
	others := share(a.sent[1].Swap(0), a.sent[0].Swap(0))
	return admit.Signals{
		Late:   late * others,
		Egress: egress * others,
		Bytes:  a.ed.cache.Pressure(),
		Held:   float64(a.ed.metrics.holding.Load()*heldBytes*heldPart) / float64(a.ed.cfg.MemoryBytes),
		Files:  load.Connections / 0.8,
	}
}

// share is the part that some have of what they and others have.
func share(some, others int64) float64 {
	if some <= 0 {
		return 0
	}
	return float64(some) / float64(some+others)
}

// Watch has an edge ask how its viewers' connections are served.
func (ed *Edge) Watch(load func() exchange.Load) { ed.admission.load.Store(&load) }

// enter lets a request in, once, or refuses it to make room for others: by what it
// asks for, so that caches that know the refusal need not ask again.
func (q *request) enter() step {
	a, now := q.ed.admission, q.now()
	if !q.let && a.Refused(q.class(), now) > 0 && !a.Admit(q.class(), maphash.Comparable(a.seed, q.Path), now) {
		q.detail = append(append(append(q.detail[:0], "those of the "...), q.class().String()...), " class make room for others"...)
		return q.refuseWith(live.ErrShed, live.ErrShed.Lifetime)
	}
	q.let = true
	switch q.Path.File {
	case live.FileConfig:
		return stepAwaitConfig
	case live.FileSteering:
		return stepSteer
	}
	return stepLookUp
}

// class is that of a request which has its place.
func (q *request) class() admit.Class {
	switch {
	case q.Path.File == live.FileConfig && q.More != nil && q.More.After != "":
		return admit.Rest // it has one, and waits for another
	case q.live || q.Path.File != live.FileSegment:
		return admit.Live // nobody watches without it
	}
	return admit.DVR
}

// spent notes what of the node an answer took.
func (a *admission) spent(q *request, bytes int64) {
	of := &a.sent[0]
	if q.class() > admit.Live {
		of = &a.sent[1]
	}
	of.Add(bytes)
}

// sending notes that an object begins to be sent.
func (a *admission) sending(q *request, now time.Time) {
	a.spent(q, perAnswer)
	if q.live && q.Path.File == live.FileSegment && q.Method == http.MethodGet {
		q.since = now
	}
}

// sentAll notes how long a live segment took to be sent, or until its viewer left.
func (a *admission) sentAll(q *request) {
	if q.since.IsZero() {
		return
	}
	a.sends.Add(1)
	if d := time.Since(q.since); d > quick && d > q.config.Renditions[q.Path.Rendition].Timeline.Segment() {
		a.slow.Add(1)
	}
	q.since = time.Time{}
}
