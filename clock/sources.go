package clock

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// A Kind is what a clock is of.
type Kind string

// The kinds.
const (
	System   Kind = "system"   // this machine's own
	Packager Kind = "packager" // by what their PUTs say
	Origin   Kind = "origin"   // by what they announce
	Edge     Kind = "edge"     // by what their probes say
	Parent   Kind = "parent"   // by what it answers
	Store    Kind = "store"    // of its nodes, by what they answer
	Pipeline Kind = "pipeline" // by when its segments come, where its packager says nothing
)

// Kinds lists every kind, for metrics.
var Kinds = []Kind{System, Packager, Origin, Edge, Parent, Store, Pipeline}

// most is how much weight a kind has together, however many there are: nobody wins over
// all others by being many. Edges need no credential to ask for the time: all of them are
// one clock. A store's nodes may all be set by one clock, and are one and a half however many
// they are: what an origin that hears nobody else follows, but not against its pipelines.
// Pipelines are less than one however many there are: alone against the system's
// clock they are never followed, for all of them may only be slow.
var most = map[Kind]float64{System: 1, Packager: 2, Origin: 3, Edge: 1, Parent: 5, Store: 1.5, Pipeline: 0.9}

// ofPipeline is the weight of one pipeline.
const ofPipeline = 0.45

// A Source is one clock.
type Source struct {
	Kind Kind
	Name string
}

func (s Source) String() string { return strings.TrimSpace(string(s.Kind) + " " + s.Name) }

const (
	samplesKept = 8
	// freshFor is how long a sample speaks, in what has passed.
	freshFor = 15 * time.Second
	// steadyFor is how long a clock that was stepped says nothing, and how many samples
	// it has to bring meanwhile: one that is set to and fro is heard again when it rests.
	steadyFor   = 3 * time.Second
	steadyAfter = 3
	// sourcesKept bounds the clocks of one kind that are known.
	sourcesKept = 64
	// wander is how much of what passes healthy and unhealthy clocks go apart, without
	// being stepped: 2%, in parts.
	wander = 50
	// wayHere is how long a message may take one way for it to say what time it is.
	wayHere = 200 * time.Millisecond
	// wayOfSegments bounds how long a segment may be on its way from its last frame.
	wayOfSegments = 10 * time.Second
)

// A sample is one reading of another clock: the correction with which this one would
// have said the same, within bounds.
type sample struct {
	at     time.Duration // what had passed when it was had
	lo, hi time.Duration
}

// A track is what is known of one clock. It decides by its arguments alone.
type track struct {
	oneWay  bool
	weight  float64
	samples []sample
	stepped time.Duration // when it last was; 0: never
	behind  int           // one-way samples in a row that came late, or of a clock that was set back
}

// add enters a sample. One that contradicts those before is of a clock that was stepped:
// they go.
func (t *track) add(s sample, tolerance time.Duration) {
	best, known := t.best(s.at)
	apart := tolerance + (s.at-best.at)/wander
	contradicts := known && (s.lo > best.hi+apart || s.hi < best.lo-apart)
	switch {
	case !contradicts:
		t.behind = 0
	case t.oneWay && s.hi < best.lo:
		// It may only have been long on its way.
		if t.behind++; t.behind < steadyAfter {
			return
		}
		fallthrough
	default:
		t.samples, t.stepped, t.behind = nil, max(s.at, 1), 0
	}
	if t.samples = append(t.samples, s); len(t.samples) > samplesKept {
		t.samples = t.samples[1:]
	}
}

// best is the sample that leaves the least doubt: the one with the narrowest bounds, and
// of those that came one way the one that came fastest.
func (t *track) best(now time.Duration) (best sample, ok bool) {
	for _, s := range t.samples {
		newer := (s.at - best.at) / wander
		switch {
		case now-s.at > freshFor:
		case !ok, !t.oneWay && s.hi-s.lo <= best.hi-best.lo+2*newer, t.oneWay && s.lo+newer >= best.lo:
			best, ok = s, true
		}
	}
	return best, ok
}

// steady reports whether the clock may be heard. What a parent or an origin tells is a
// corrected time: where it is stepped there was a reason.
func (t *track) steady(kind Kind, now time.Duration) bool {
	return kind == Parent || kind == Origin || t.stepped == 0 || now-t.stepped >= steadyFor && len(t.samples) >= steadyAfter
}

// votesOf is what the clocks say that are steady. Those of a kind together have no more
// than the weight of their kind.
func votesOf(tracks map[Source]*track, now time.Duration) []Vote {
	out := make([]Vote, 0, len(tracks))
	for source, t := range tracks {
		if s, ok := t.best(now); ok && t.steady(source.Kind, now) {
			out = append(out, Vote{source, s.lo, s.hi, t.weight})
		}
	}
	slices.SortFunc(out, func(a, b Vote) int {
		return cmp.Or(cmp.Compare(a.Source.Kind, b.Source.Kind), cmp.Compare(a.Source.Name, b.Source.Name))
	})
	for from := 0; from < len(out); {
		to, count := from, 0.0
		for ; to < len(out) && out[to].Source.Kind == out[from].Source.Kind; to++ {
			count += out[to].Weight
		}
		share := min(1, most[out[from].Source.Kind]/count)
		for ; from < to; from++ {
			out[from].Weight *= share
		}
	}
	return out
}
