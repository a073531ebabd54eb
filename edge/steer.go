package edge

import (
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/live"
	"headwater/manifest"
)

// Content steering: of an event with pathways this node answers where players are to go
// on, by how it is itself. A player asks again within the lifetime of an answer, and one
// that is sent elsewhere asks there from then on.

const (
	// unsteadier is how much sooner players ask again where some of them are to go.
	unsteadier = 3
	// rests is how long who was moved stays, unless this node is about to stop: where
	// all edges have lost their parents viewers go no rounds.
	rests = 2 * time.Minute
)

// A verdict is what a viewer is told, and why. Counters share the names.
type verdict string

const (
	verdictStay     verdict = "stay"
	verdictAway     verdict = "away"     // the operator wants them elsewhere
	verdictDraining verdict = "draining" // this node is about to stop
	verdictOrphaned verdict = "orphaned" // no parent answers
	verdictLoaded   verdict = "loaded"   // it has too much to do for all
	verdictOther    verdict = "other"    // this node is none of the event's pathways
)

var verdicts = []verdict{verdictStay, verdictAway, verdictDraining, verdictOrphaned, verdictLoaded, verdictOther}

// steering is how this node is doing, as far as it matters to where viewers go.
type steering struct {
	answers map[verdict]prometheus.Counter

	mu     sync.Mutex // guards the following
	exodus exodus
}

func newSteering(reg prometheus.Registerer) *steering {
	s := &steering{answers: make(map[verdict]prometheus.Counter)}
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "headwater", Subsystem: "edge", Name: "steered_total",
		Help: "Steering manifests, by what they tell a viewer: to stay, or why he is to go elsewhere."}, []string{"verdict"})
	reg.MustRegister(vec, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "headwater", Subsystem: "edge", Name: "steered_away_ratio",
		Help: "Share of viewers that are sent to other pathways for this node's load."}, func() float64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.exodus.share
	}))
	for _, v := range verdicts {
		s.answers[v] = vec.WithLabelValues(string(v))
	}
	return s
}

// loaded notes how far this node is over its target, and returns the share of viewers
// that are to go elsewhere for it.
func (s *steering) loaded(now time.Time, load float64) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exodus = s.exodus.next(now, load)
	return s.exodus.share
}

// An exodus is the share of viewers that are to go elsewhere for a node's load, as a value.
// Each belongs to a part of them for good, so those of a share go, and not others each
// time that they ask. Who has gone does not come back: so it grows slowly enough to see
// what the last ones' leaving did, and falls as slowly.
type exodus struct {
	at    time.Time
	share float64
}

// exodusRate is the growth of the share in a second, for each 1 of load above 1: at twice
// the target half of the viewers are asked to go within one and a half lifetimes of an
// answer.
const exodusRate = 0.5 / 45

func (r exodus) next(now time.Time, load float64) exodus {
	passed := now.Sub(r.at)
	if r.at.IsZero() || passed < 0 {
		passed = 0
	}
	excess := min(max(load-1, -1), 1)
	return exodus{now, min(max(r.share+exodusRate*excess*min(passed, time.Minute).Seconds(), 0), 1)}
}

// Leave is what a node does that is about to stop for good, before Drain: players that
// ask where to go on are sent elsewhere. Where it has peers those take its viewers over.
func (ed *Edge) Leave() { ed.leaving.Store(ed.site == nil) }

// judge says whether a viewer stays.
func (ed *Edge) judge(e *live.Event, q manifest.SteeringQuery, now time.Time) verdict {
	share := ed.steering.loaded(now, ed.admission.ofAll(now))
	known := false
	for _, p := range e.Pathways {
		known = known || p.ID == ed.cfg.Pathway
	}
	switch {
	case !known:
		return verdictOther
	case ed.leaving.Load():
		return verdictDraining
	case ed.cfg.Away != nil && ed.cfg.Away():
		return verdictAway
	case now.Sub(q.Moved) < rests && !now.Before(q.Moved):
		return verdictStay
	case ed.parents.Orphaned():
		return verdictOrphaned
	case float64(q.Part) < share*manifest.Parts:
		return verdictLoaded
	}
	return verdictStay
}

// at is where this node serves what is asked for.
func (q *request) at() manifest.Place {
	c := &q.config.Config
	return manifest.Place{Event: q.Path.Event, File: q.Path.File, Pathways: c.Pathways, Self: q.ed.cfg.Pathway, Guarded: c.NeedsToken()}
}

// steers reports whether this node adds steering to a list.
func (q *request) steers() (manifest.Place, bool) {
	if len(q.config.Pathways) == 0 || q.ed.cfg.Pathway == "" {
		return manifest.Place{}, false
	}
	switch q.Path.File {
	case live.FileMPD, live.FileListed, live.FileHLS:
		return q.at(), true
	}
	return manifest.Place{}, false
}

// steer answers with a steering manifest. It is made for one viewer, so no cache keeps
// it; nothing of what he says of himself goes any further.
func (q *request) steer() step {
	if len(q.config.Pathways) == 0 {
		return q.refuse(live.ErrNotHere.With("the event has no pathways"))
	}
	query := ""
	if q.shown != nil {
		query = q.shown.query
	} else if q.Said != nil {
		query = q.Said.Query()
	}
	asked, now := manifest.ParseSteering(query), q.now()
	if asked.Part < 0 {
		asked.Part = rand.IntN(manifest.Parts)
	}
	v := q.ed.judge(&q.config.Event, asked, now)
	q.ed.steering.answers[v].Inc()
	s := manifest.Steering{Place: q.at(), Asked: asked, TTL: q.ed.cfg.SteerEvery, Now: now}
	s.Away = v != verdictStay && v != verdictOther
	if s.Away || q.ed.steering.unsteady() {
		s.TTL /= unsteadier
	}
	// Who began together asks at times of his own.
	s.TTL += live.Spread(s.TTL/4, rand.Uint64()) - s.TTL/8
	q.text, q.about = s.Manifest(), http.Header{"Content-Type": {manifest.SteeringType}, live.HeaderCacheControl: {"no-store"}}
	return stepDescribe
}

// unsteady reports whether some are to go.
func (s *steering) unsteady() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exodus.share > 0
}

// ofAll is how far this node is from its target with all that it sends: unlike who is
// refused, who goes elsewhere takes the live edge's crowd with him.
func (a *admission) ofAll(now time.Time) float64 {
	s := a.Signals(now)
	return max(s.Bytes, s.Held, s.Files, math.Float64frombits(a.busy.Load()))
}
