package selection

import (
	"slices"
	"time"

	"headwater/live"
)

// Lookback is how many segments before one are looked at.
const Lookback = 32

// A Past is an earlier segment, as it is known now.
type Past struct {
	End        time.Time        // when its last frame was filmed
	Candidates []live.Candidate // without those that are masked
	Served     string           // the pipeline that serves it; "" where that is not decided
}

// target is the pipeline that is to serve, of those that are not masked: the one
// that served before, unless one that precedes it in the order has settled.
// Where none served before, or it is gone, that is the first in the order. fell: the
// one that would be is dark, and another is to serve in its place.
func (in *Input) target(s *survey, patience time.Duration) (target string, fell bool) {
	order := s.order
	served := slices.IndexFunc(in.Before, func(p Past) bool { return p.Served != "" })
	if served < 0 {
		return order[0], order[0] != s.first
	}
	i := slices.Index(order, in.Before[served].Served)
	if i > 0 && in.dark(order[i]) && !in.dark(order[0]) {
		return order[0], true
	}
	for _, p := range order[:max(i, 0)] {
		if in.settled(p, patience) {
			return p, false
		}
	}
	return order[max(i, 0)], false
}

// settled reports whether a pipeline was clean and in time, segment by segment,
// for long enough to come back.
func (in *Input) settled(pipeline string, patience time.Duration) bool {
	if len(in.Before) < in.Settle {
		return false
	}
	for _, past := range in.Before[:in.Settle] {
		c := find(past.Candidates, pipeline)
		if c == nil || !c.Clean() || in.outdone(c, in.leastCost(past.Candidates, nil)) || c.Published.After(firstClean(past.Candidates, nil).Add(patience)) {
			return false
		}
	}
	return true
}

// firstClean is when the first clean candidate was published, of the pipelines
// in order where that is not nil. There must be one.
func firstClean(cs []live.Candidate, order []string) (first time.Time) {
	for _, c := range cs {
		if c.Clean() && (order == nil || slices.Contains(order, c.Pipeline)) && (first.IsZero() || c.Published.Before(first)) {
			first = c.Published
		}
	}
	return first
}

// How the patience follows the lag between pipelines.
const (
	lagsKnown   = 4 // fewer say nothing: then it is as long as it may be
	lagTimes    = 3
	lagPlus     = 100 * time.Millisecond // a busy machine alone makes up as much
	lagQuantile = 90                     // percent: what is rarer is no habit
)

// patience is how long it is worth waiting for the pipeline that is to serve
// once another's segment is there: well over what usually lies between the first
// and the last of a segment, and no longer than allowed.
func (in *Input) patience() time.Duration {
	var lags []time.Duration
	for _, past := range in.Before {
		var first, last time.Time
		n := 0
		for _, c := range past.Candidates {
			if c.Findings.Has(live.Late) {
				continue // a backfill is no lag
			}
			if n++; n == 1 || c.Published.Before(first) {
				first = c.Published
			}
			if c.Published.After(last) {
				last = c.Published
			}
		}
		if n > 1 {
			lags = append(lags, last.Sub(first))
		}
	}
	if len(lags) < lagsKnown {
		return in.Patience
	}
	return min(lagTimes*quantile(lags)+lagPlus, in.Patience)
}

func quantile(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[(len(ds)*lagQuantile+99)/100-1]
}

// lateSlack is how much longer than usual a pipeline that is always late is
// waited for.
const lateSlack = 100 * time.Millisecond

// worthWaiting is up to when a pipeline that has not published can be expected
// to bring a clean segment: the latest such time of all that are owed, and the
// decision time where there is none. What would come in the last quarter of the
// time from decision to deadline could not be brought to viewers any more.
func (in *Input) worthWaiting(owed []string, now time.Time) time.Time {
	until := in.Decide
	last := in.Deadline.Add(-in.Deadline.Sub(in.Decide) / 4)
	for _, p := range owed {
		if t, ok := in.comes(p, now); ok && !t.After(last) && t.After(until) {
			until = t
		}
	}
	return until
}

// comes is by when a pipeline will have published, if it goes on as it did. It
// does not where it owes an earlier segment that should have come by now, or
// where the newest one that came was not clean or showed nothing.
func (in *Input) comes(pipeline string, now time.Time) (time.Time, bool) {
	var late []time.Duration // after the last frame
	newest := -1
	for i, past := range in.Before {
		c := find(past.Candidates, pipeline)
		if c == nil {
			continue
		}
		if newest < 0 {
			newest = i
			if !c.Clean() || in.poor(c) {
				return time.Time{}, false
			}
		}
		late = append(late, c.Published.Sub(past.End))
	}
	if newest < 0 {
		return time.Time{}, false
	}
	usual := quantile(late) + lateSlack
	for _, past := range in.Before[:newest] {
		if !past.End.Add(usual).After(now) {
			return time.Time{}, false
		}
	}
	return in.End.Add(usual), true
}
