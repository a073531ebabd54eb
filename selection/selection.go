// Package selection decides which candidate of a segment serves, or how long
// to wait for a better one. It is pure: what is known of a segment and of those
// before it and a time in, a decision with its reason out, the same for the same
// input whatever the order in which the candidates came.
//
// It judges in this order. A decision that was served stands ([Pin]). A clean
// candidate serves rather than a defective one, one with a picture rather than one
// that is said to be black, frozen or silent: that of the pipeline which
// served the segment before, for which another's waits a little ([Past] says
// how long is worth it). Where none is clean, the least bad serves once nobody
// can be expected to bring a better one in time.
package selection

import (
	"time"

	"headwater/live"
)

// An Action is what to do about a segment now.
type Action uint8

// The actions.
const (
	Wait   Action = iota // ask again when a candidate comes, at the latest at Until
	Serve                // serve Candidate
	Refuse               // there is nothing and no time left: 410
)

func (a Action) String() string { return [...]string{"wait", "serve", "refuse"}[a] }

// A Reason says why. Counters and logs use its name.
type Reason string

// The reasons. Serve has those up to TimeIsUp, Wait the next five, Refuse the
// next two. Filled and Slated are said by who has something for what is refused.
const (
	Pinned             Reason = "pinned"              // it served before
	Preferred          Reason = "preferred"           // clean, from the first pipeline that is not masked
	Incumbent          Reason = "incumbent"           // clean, from the pipeline that served the segment before
	NotYet             Reason = "preferred-missing"   // clean; the preferred pipeline has not published
	Defective          Reason = "preferred-defective" // clean; the preferred pipeline is defective
	IncumbentNotYet    Reason = "incumbent-missing"   // clean; the one that served the segment before has not published
	IncumbentDefective Reason = "incumbent-defective" // clean; the one that served the segment before is defective
	Poor               Reason = "poor-quality"        // clean; the one that was to serve shows no picture, or cannot be heard
	LeastBad           Reason = "least-bad"           // none is clean, none is owed
	TimeIsUp           Reason = "least-bad-time-up"   // none is clean by the decision time, one is owed
	AwaitIncumbent     Reason = "await-incumbent"     // a clean one is there; that of the pipeline that served before is owed
	AwaitPicture       Reason = "await-picture"       // what is there shows no picture; a pipeline is owed that did just before
	AwaitClean         Reason = "await-clean"         // a defective one is there, a pipeline is owed
	AwaitLate          Reason = "await-late"          // the same after the decision time; that pipeline is always late
	AwaitAny           Reason = "await-any"           // nothing that could serve is there
	NonePublished      Reason = "none-published"      // the deadline passed without a candidate
	NoneUsable         Reason = "none-usable"         // all candidates are masked or would break a player
	Filled             Reason = "filled"              // refused, and one that is made of a segment before stands in
	Slated             Reason = "slate"               // refused, and a piece of the operator's clip stands in
)

// Reasons lists every reason, for counters.
var Reasons = []Reason{Pinned, Preferred, Incumbent, NotYet, Defective, IncumbentNotYet, IncumbentDefective, Poor, LeastBad, TimeIsUp,
	AwaitIncumbent, AwaitPicture, AwaitClean, AwaitLate, AwaitAny, NonePublished, NoneUsable, Filled, Slated}

// Input is what a decision depends on.
type Input struct {
	// Order is the event's pipelines, most preferred first. Candidates of
	// pipelines that are not in it do not count.
	Order []live.Pipeline
	// Candidates holds at most one candidate of each pipeline, in any order.
	Candidates []live.Candidate
	// Masked tells whether the operator has taken a pipeline's candidate of
	// this segment out. May be nil.
	Masked func(live.Pipeline) bool
	// End is when the segment's last frame is filmed, Decide when to stop waiting
	// for a better candidate, Deadline when to stop waiting at all.
	End, Decide, Deadline time.Time
	// Segment is how long the segment lasts: half of it must be worse before a
	// picture counts as worse than another.
	Segment time.Duration

	// Pin is the decision that was served, nil where there is none or it was
	// revoked.
	Pin *Pin
	// Before are the segments before this one, the nearest first, without a hole:
	// up to Lookback, and then perhaps the nearest one that served.
	Before []Past
	// Patience bounds how long a clean candidate waits for that of the pipeline
	// which served before; 0: the first clean one in the order serves.
	Patience time.Duration
	// Settle is how many segments in a row a pipeline must have been clean and in
	// time for serving again in place of one that it precedes.
	Settle int
}

// A Decision is what to do and why.
type Decision struct {
	Action    Action
	Reason    Reason
	Candidate *live.Candidate // Serve: points into Input.Candidates
	Until     time.Time       // Wait
}

// A survey is what there is of a segment, without what is masked.
type survey struct {
	order         []string        // the pipelines that are not masked; behind the others those that are dark
	first         string          // of the event's order
	clean         *live.Candidate // the first clean one in the order that shows as much as any
	poor          bool            // there are clean ones that show less
	missing, flaw bool            // before it in the order
	best          *live.Candidate // the least bad that is not clean
	owed          []string        // pipelines that may still publish their first
	seen          bool            // any candidate at all
}

func (in *Input) survey() (s survey) {
	for _, p := range in.Order {
		s.seen = s.seen || find(in.Candidates, p.Name) != nil
		if in.Masked == nil || !in.Masked(p) {
			s.order = append(s.order, p.Name)
		}
	}
	if len(s.order) > 0 {
		s.first, s.order = s.order[0], in.darkLast(s.order)
	}
	least := in.leastCost(in.Candidates, s.order)
	for _, p := range s.order {
		c := find(in.Candidates, p)
		switch {
		case c == nil:
			s.owed = append(s.owed, p)
			s.missing = s.missing || s.clean == nil
		case c.Clean() && in.outdone(c, least):
			s.poor = true
		case c.Clean():
			if s.clean == nil {
				s.clean = c
			}
		default:
			s.flaw = s.flaw || s.clean == nil
			// Bytes that break a player are worse than a gap.
			if !c.Findings.Fatal() && (s.best == nil || in.lessBad(c, s.best)) {
				s.best = c
			}
		}
	}
	return s
}

// Choose decides at time now.
func Choose(in Input, now time.Time) Decision {
	s := in.survey()
	if c := in.pinned(&s); c != nil {
		return Decision{Action: Serve, Candidate: c, Reason: Pinned}
	}
	if s.clean != nil {
		if until := in.worthSeeing(&s, now); now.Before(until) {
			return Decision{Action: Wait, Until: until, Reason: AwaitPicture}
		}
		return in.chooseClean(&s, now)
	}
	switch {
	case s.best != nil && len(s.owed) == 0:
		return Decision{Action: Serve, Candidate: s.best, Reason: LeastBad}
	case s.best != nil && now.Before(in.Decide):
		return Decision{Action: Wait, Until: in.Decide, Reason: AwaitClean}
	case s.best != nil:
		if until := in.worthWaiting(s.owed, now); now.Before(until) {
			return Decision{Action: Wait, Until: until, Reason: AwaitLate}
		}
		return Decision{Action: Serve, Candidate: s.best, Reason: TimeIsUp}
	case now.Before(in.Deadline):
		// A pipeline whose candidate is unusable may still repair it.
		return Decision{Action: Wait, Until: in.Deadline, Reason: AwaitAny}
	case s.seen:
		return Decision{Action: Refuse, Reason: NoneUsable}
	}
	return Decision{Action: Refuse, Reason: NonePublished}
}

// chooseClean decides where a clean candidate is there: the pipeline that is to
// serve does at once, or is waited for, or another does in its place.
func (in *Input) chooseClean(s *survey, now time.Time) Decision {
	if in.Patience <= 0 {
		d := Decision{Action: Serve, Candidate: s.clean, Reason: Preferred}
		switch {
		case s.flaw:
			d.Reason = Defective
		case s.clean.Pipeline != s.first && (s.poor || s.order[0] != s.first):
			d.Reason = Poor
		case s.missing:
			d.Reason = NotYet
		}
		return d
	}
	patience := in.patience()
	target, fell := in.target(s, patience)
	preferred := target == s.first
	switch c := find(in.Candidates, target); {
	case c != nil && c.Clean() && in.outdone(c, in.leastCost(in.Candidates, s.order)):
		return Decision{Action: Serve, Candidate: s.clean, Reason: Poor}
	case c != nil && c.Clean() && fell:
		return Decision{Action: Serve, Candidate: c, Reason: Poor}
	case c != nil && c.Clean() && preferred:
		return Decision{Action: Serve, Candidate: c, Reason: Preferred}
	case c != nil && c.Clean():
		return Decision{Action: Serve, Candidate: c, Reason: Incumbent}
	case c != nil && preferred:
		return Decision{Action: Serve, Candidate: s.clean, Reason: Defective}
	case c != nil:
		return Decision{Action: Serve, Candidate: s.clean, Reason: IncumbentDefective}
	}
	until := firstClean(in.Candidates, s.order).Add(patience)
	if until.After(in.Deadline) {
		until = in.Deadline
	}
	switch {
	case now.Before(until):
		return Decision{Action: Wait, Until: until, Reason: AwaitIncumbent}
	case preferred:
		return Decision{Action: Serve, Candidate: s.clean, Reason: NotYet}
	}
	return Decision{Action: Serve, Candidate: s.clean, Reason: IncumbentNotYet}
}

func find(cs []live.Candidate, pipeline string) *live.Candidate {
	for i := range cs {
		if cs[i].Pipeline == pipeline {
			return &cs[i]
		}
	}
	return nil
}

// Better reports whether a repair with findings b should replace a stored
// candidate with findings a: only where it is strictly less bad.
func Better(b, a live.Findings) bool {
	if a.Clean() {
		return false
	}
	if b.Clean() {
		return true
	}
	if b.Fatal() != a.Fatal() {
		return a.Fatal()
	}
	return b.MissingMS() < a.MissingMS()
}
