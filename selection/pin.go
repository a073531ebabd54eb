package selection

import (
	"cmp"
	"time"

	"headwater/live"
)

// A Pin is a decision that was served. It stands for all who ask later, at every
// node, so that a number is the same bytes everywhere.
type Pin struct {
	Pipeline string
	Region   string
	Digest   live.Digest
	// Turn counts the decisions of the segment that this one replaced.
	Turn int64
	// At is when it was made, and Node who made it.
	At   time.Time
	Node string
	// Version is that of the event's configuration under which it was made.
	Version int64
}

// Over reports whether of two pins of a segment p is the one that stands, at
// every node that knows both: the one that replaced more decisions, since it was
// made in the knowledge of those; of two nodes that decided at once the one that
// was earlier, or has the lesser name.
//
//	node 1                  node 2
//	chooses a at t1         chooses b at t2 > t1
//	serves a, tells         serves b, tells
//	hears b: t2, a stays    hears a: t1, a from now on
func (p *Pin) Over(q *Pin) bool {
	if c := cmp.Compare(p.Turn, q.Turn); c != 0 {
		return c > 0
	}
	if c := p.At.Compare(q.At); c != 0 {
		return c < 0
	}
	return p.Node < q.Node
}

// Revoked reports whether an operator took the decision back since: by a flush,
// or by an invalidation of what was chosen. Masks come with an invalidation.
func (p *Pin) Revoked(c *live.Config, rendition string, n live.Number) bool {
	if p.Version < c.FlushVersion {
		return true
	}
	for _, in := range c.Invalidations {
		if p.Version < in.Version && in.Holds(p.Pipeline, p.Region, rendition, n) {
			return true
		}
	}
	return false
}

// pinned is the candidate that was served, if it still may: its bytes are to be
// had, it is not masked, and where it is defective nothing better came.
func (in *Input) pinned(s *survey) *live.Candidate {
	if in.Pin == nil {
		return nil
	}
	var served *live.Candidate
	for _, name := range s.order {
		if name == in.Pin.Pipeline {
			served = find(in.Candidates, name)
		}
	}
	if served == nil || served.Digest != in.Pin.Digest || served.Findings.Fatal() {
		return nil
	}
	for _, other := range []*live.Candidate{s.clean, s.best} {
		if other != nil && Better(other.Findings, served.Findings) {
			return nil
		}
	}
	return served
}
