// Package selection decides which candidate of a segment serves, or how long
// to wait for a better one. It is pure: candidates and a time in, a decision
// with its reason out, the same for the same input whatever the order in which
// the candidates came.
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

// The reasons. Serve has the first five, Wait the next two, Refuse the last two.
const (
	Preferred     Reason = "preferred"           // clean, from the first pipeline that is not masked
	NotYet        Reason = "preferred-missing"   // clean; a pipeline before it has not published
	Defective     Reason = "preferred-defective" // clean; a pipeline before it is defective
	LeastBad      Reason = "least-bad"           // none is clean, none is owed
	TimeIsUp      Reason = "least-bad-time-up"   // none is clean by the decision time, one is owed
	AwaitClean    Reason = "await-clean"         // a defective one is there, a pipeline is owed
	AwaitAny      Reason = "await-any"           // nothing that could serve is there
	NonePublished Reason = "none-published"      // the deadline passed without a candidate
	NoneUsable    Reason = "none-usable"         // all candidates are masked or would break a player
)

// Reasons lists every reason, for counters.
var Reasons = []Reason{Preferred, NotYet, Defective, LeastBad, TimeIsUp, AwaitClean, AwaitAny, NonePublished, NoneUsable}

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
	// Decide is when to stop waiting for a better candidate, Deadline when to
	// stop waiting at all.
	Decide, Deadline time.Time
}

// A Decision is what to do and why.
type Decision struct {
	Action    Action
	Reason    Reason
	Candidate *live.Candidate // Serve: points into Input.Candidates
	Until     time.Time       // Wait
}

// Choose decides at time now.
func Choose(in Input, now time.Time) Decision {
	var (
		best          *live.Candidate // the least bad so far
		seen          bool            // any candidate at all
		owed          bool            // a pipeline that may still publish its first
		missing, flaw bool            // before the current pipeline in the order
	)
	for _, p := range in.Order {
		if in.Masked != nil && in.Masked(p) {
			seen = seen || find(in.Candidates, p.Name) != nil
			continue
		}
		c := find(in.Candidates, p.Name)
		if c == nil {
			owed, missing = true, true
			continue
		}
		seen = true
		if c.Clean() {
			// The first clean one in the order serves at once.
			d := Decision{Action: Serve, Candidate: c, Reason: Preferred}
			if flaw {
				d.Reason = Defective
			} else if missing {
				d.Reason = NotYet
			}
			return d
		}
		flaw = true
		// Bytes that break a player are worse than a gap.
		if !c.Findings.Fatal() && (best == nil || c.Findings.MissingMS() < best.Findings.MissingMS()) {
			best = c
		}
	}
	switch {
	case best != nil && !owed:
		return Decision{Action: Serve, Candidate: best, Reason: LeastBad}
	case best != nil && !now.Before(in.Decide):
		return Decision{Action: Serve, Candidate: best, Reason: TimeIsUp}
	case best != nil:
		return Decision{Action: Wait, Until: in.Decide, Reason: AwaitClean}
	case now.Before(in.Deadline):
		// A pipeline whose candidate is unusable may still repair it.
		return Decision{Action: Wait, Until: in.Deadline, Reason: AwaitAny}
	case seen:
		return Decision{Action: Refuse, Reason: NoneUsable}
	}
	return Decision{Action: Refuse, Reason: NonePublished}
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
