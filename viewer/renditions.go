package viewer

import (
	"math"
	"strings"
	"time"

	"headwater/live"
)

// A RenditionReport is what all viewers together saw of one rendition.
type RenditionReport struct {
	Segments int64            `json:"segments"`  // complete bodies
	ServedBy map[string]int64 `json:"served_by"` // of them, by pipeline
	// Switches counts how often segment n+1 came from another pipeline than
	// segment n, once for all viewers: what the origin or the edge decided.
	Switches  int64 `json:"switches"`
	Defective int64 `json:"defective"` // bodies with a defect in Live-Defects
	Refusals  int64 `json:"refusals"`  // answers, as Report.Refusals
	Lost      int64 `json:"lost"`      // how often a viewer went on without a segment
	// Versions counts the segments of which viewers were sent different bytes:
	// a repair, or edges that chose differently.
	Versions int64 `json:"versions"`
}

// A rendition is what is known of one.
type rendition struct {
	RenditionReport
	numbers map[live.Number]*number
	gets    int64 // the edge's, between the first reading and the last
	// The readings: when the first and the last were, and the first number
	// that was not yet due at the first. Zero: none yet.
	first, last time.Time
	notDue      live.Number
	lastNotDue  live.Number // at the last
}

// A number is one segment of a rendition, as all viewers saw it.
type number struct {
	asked    time.Time // when a viewer first asked for it, by our clock; zero: never
	filled   bool      // the edge went to its origin for a viewer of ours
	shared   bool      // the edge had it, or was getting it, when a viewer of ours asked
	pipeline string    // of the first body
	digest   live.Digest
}

func (x *rendition) number(n live.Number) *number {
	k := x.numbers[n]
	if k == nil {
		k = &number{}
		x.numbers[n] = k
	}
	return k
}

// of is the rendition of that name. The caller holds mu.
func (s *stats) of(name string) *rendition {
	x := s.renditions[name]
	if x == nil {
		x = &rendition{numbers: map[live.Number]*number{}}
		x.ServedBy = map[string]int64{}
		s.renditions[name] = x
	}
	return x
}

// body notes the bytes of a segment, and whether pipelines changed around it.
func (x *rendition) body(n live.Number, r *reply, pipeline string) {
	x.Segments++
	x.ServedBy[pipeline]++
	if flawed(r.findings) {
		x.Defective++
	}
	k := x.number(n)
	switch {
	case k.digest.IsZero():
		k.digest = r.digest
	case !r.digest.IsZero() && k.digest != r.digest:
		x.Versions++
	}
	if k.pipeline != "" || pipeline == "" {
		return
	}
	k.pipeline = pipeline
	for _, next := range []live.Number{n - 1, n + 1} {
		if o := x.numbers[next]; o != nil && o.pipeline != "" && o.pipeline != pipeline {
			x.Switches++
		}
	}
}

// asking notes that a viewer asks now for a segment that the edge cannot refuse
// out of hand.
func (s *stats) asking(rendition string, n live.Number) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.of(rendition).number(n); k.asked.IsZero() {
		k.asked = time.Now()
	}
}

// asked notes the answer, nil where the viewer did not wait for it.
func (s *stats) asked(rendition string, n live.Number, r *reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.of(rendition).number(n)
	if r != nil && cached(r.cacheStatus) {
		k.shared = true
	} else {
		k.filled = true
	}
}

// cached says whether the nearest cache had the answer, or was getting it
// already for somebody else (RFC 9211: its member comes last).
func cached(status string) bool {
	params := strings.Split(status[strings.LastIndexByte(status, ',')+1:], ";")
	for _, p := range params[1:] {
		if p = strings.TrimSpace(p); p == "hit" || p == "collapsed" {
			return true
		}
	}
	return false
}

// reading notes the edge's requests to its origin since the reading before, at a
// time at which notDue was the first number of each rendition that nobody could
// have asked for.
func (s *stats) reading(at time.Time, more map[string]int64, notDue map[string]live.Number) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, first := range notDue {
		x := s.of(name)
		if x.first.IsZero() {
			x.first, x.notDue = at, first
		} else {
			x.gets += more[name]
		}
		x.last, x.lastNotDue = at, first
	}
}

// getsPerSegment is the edge's requests to its origin over the segments for
// which it had to make some, of the time between two readings: those that could
// first be asked for then, and older ones that viewers made the edge fetch then.
// What is first asked for after the last reading counts on neither side, nor what
// the edge had, or was getting, at the first.
func (x *rendition) getsPerSegment() (float64, bool) {
	n := 0
	for at, k := range x.numbers {
		switch {
		case k.asked.IsZero() || k.asked.Before(x.first):
		case k.asked.After(x.last):
			// Too late for the last reading, unless somebody else was first.
			if at >= x.notDue && at < x.lastNotDue && k.shared && !k.filled {
				n++
			}
		case at >= x.notDue || k.filled:
			n++
		}
	}
	if n == 0 || x.first.IsZero() {
		return 0, false
	}
	return math.Round(float64(x.gets)/float64(n)*1000) / 1000, true
}
