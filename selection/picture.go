package selection

import (
	"slices"
	"time"

	"headwater/live"
)

// Media that is whole can show nothing: a black picture, one that stands still, no
// sound. Somebody who watches says so (live.Quality), with the segment or a little
// later, when perhaps it was served already. So what is said of segments before
// counts for those to come: a pipeline is dark as long as the newest segment of it of
// which anything was said is worse than another's, and comes behind the others.
//
// Where all show the same it is the programme that is black, and nobody is better.

// darkFor is for how many segments what was said of one counts.
const darkFor = 8

// half is how much worse a segment has to be, in milliseconds, to be worse.
func (in *Input) half() int64 { return max(in.Segment.Milliseconds()/2, 1) }

func (in *Input) cost(c *live.Candidate) int64 { return c.Quality.CostMS(in.Segment) }

// poor reports whether there is not much to see of a candidate, or to hear.
func (in *Input) poor(c *live.Candidate) bool { return in.cost(c) >= in.half() }

// leastCost is that of the clean candidate that shows the most, of the pipelines in
// order where that is not nil.
func (in *Input) leastCost(cs []live.Candidate, order []string) int64 {
	least, any := int64(0), false
	for i := range cs {
		if c := &cs[i]; c.Clean() && (order == nil || slices.Contains(order, c.Pipeline)) && (!any || in.cost(c) < least) {
			least, any = in.cost(c), true
		}
	}
	return least
}

// outdone reports whether a candidate shows less than the one with the least cost.
func (in *Input) outdone(c *live.Candidate, least int64) bool { return in.cost(c)-least >= in.half() }

// lessBad reports whether of two that are not clean c is rather to serve: media that
// is missing first.
func (in *Input) lessBad(c, than *live.Candidate) bool {
	a, b := c.Findings.MissingMS(), than.Findings.MissingMS()
	return a < b || a == b && in.cost(c) < in.cost(than)
}

// dark reports whether the newest segment of a pipeline of which anything was said
// shows less than another's.
func (in *Input) dark(pipeline string) bool {
	for _, past := range in.Before[:min(len(in.Before), darkFor)] {
		if c := find(past.Candidates, pipeline); c != nil && c.Quality.Said {
			return in.outdone(c, in.leastCost(past.Candidates, nil))
		}
	}
	return false
}

// darkLast is the order with dark pipelines behind the others.
func (in *Input) darkLast(order []string) []string {
	var light, dark []string
	for _, p := range order {
		if in.dark(p) {
			dark = append(dark, p)
		} else {
			light = append(light, p)
		}
	}
	return append(light, dark...)
}

// worthSeeing is up to when a pipeline that is owed can be expected to show more than
// what is there, and the zero time where that shows enough: at the latest the decision
// time, so that nobody waits longer than for media that is missing.
func (in *Input) worthSeeing(s *survey, now time.Time) (until time.Time) {
	if !in.poor(s.clean) && !in.dark(s.clean.Pipeline) {
		return until
	}
	for _, p := range s.owed {
		if t, ok := in.comes(p, now); ok && !in.dark(p) && t.After(until) {
			until = t
		}
	}
	if until.After(in.Decide) {
		return in.Decide
	}
	return until
}
