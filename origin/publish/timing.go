package publish

import (
	"time"

	"headwater/live"
	"headwater/origin/book"
)

// writeGoal is how long a publication should take from the end of its body to
// its answer: a quarter of the two seconds in which a packager can still try
// again. The steps of a PUT share it.
const writeGoal = 500 * time.Millisecond

// A step is a part of a publication that takes time. Server-Timing and the
// histograms share the names.
type step int

const (
	stepRead     step = iota // the body: the packager's time, and not part of the goal
	stepInspect              // finding what is wrong with it
	stepStore                // until it is durable; the store may add steps of its own
	stepCache                // into the window and the tables of this node
	stepAnnounce             // to the other nodes
)

var steps = [...]string{"read", "inspect", "store", "cache", "announce"}

func (s step) String() string { return steps[s] }

// timed is a step that the store tells of.
type timed struct {
	step string
	d    time.Duration
}

func (p *publication) step(s step, d time.Duration) {
	p.took[s] += d
	p.timing.Add(s.String(), d)
}

// elapsed is how long the publication has taken.
func (p *publication) elapsed() time.Duration { return time.Since(p.received) }

// count counts a publication that ended well.
func (s *Server) count(p *publication) {
	c := s.Book.Counters.Of(s.Book.Get(p.path.Event))
	// A dropped manifest's path may name anything.
	if p.outcome == book.Dropped {
		c.Publications.WithLabelValues("", string(book.Dropped)).Inc()
		return
	}
	c.Publications.WithLabelValues(p.path.Pipeline, string(p.outcome)).Inc()
	for _, kind := range p.wants {
		c.Qualities.WithLabelValues(p.path.Pipeline, kind).Inc()
	}
	if p.outcome == book.Judged {
		return
	}
	all := p.elapsed()
	s.seconds.Observe(all.Seconds())
	if all-p.took[stepRead] > writeGoal {
		s.overGoal.Inc()
	}
	for i, d := range p.took {
		if d > 0 {
			s.stepSeconds[i].Observe(d.Seconds())
		}
	}
	if p.path.File == live.FileSegment && p.outcome != book.Identical {
		for _, f := range p.cand.Findings {
			c.Defects.WithLabelValues(p.path.Pipeline, string(knownKind(f.Kind))).Inc()
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
