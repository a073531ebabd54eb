package clock

import (
	"slices"
	"time"
)

// A Vote is what one clock, or several that count as one, says: by how much this clock
// is to be corrected for the two to agree, within bounds.
type Vote struct {
	Source Source
	Lo, Hi time.Duration
	Weight float64
}

// A Verdict is what follows from votes.
type Verdict struct {
	State  State
	Offset time.Duration // the correction there should be
	Error  time.Duration // how far off that may be
	// Agree is the weight of those who agree on it, Total that of all.
	Agree, Total float64
	// Off are those who do not.
	Off []Source
}

// A State says how sure a clock is.
type State uint8

// The states.
const (
	// Alone: there is only the system's own clock.
	Alone State = iota
	// Agreed: more than half of all clocks agree with the correction there is.
	Agreed
	// Wrong: more than half agree on another one, which is the verdict's.
	Wrong
	// Disputed: no half agrees on anything. What passes is counted on.
	Disputed
)

// States lists every state, for metrics.
var States = []State{Alone, Agreed, Wrong, Disputed}

func (s State) String() string { return [...]string{"alone", "agreed", "wrong", "disputed"}[s] }

// Tolerance is how far clocks may usually be from each other and still agree: that of
// healthy machines, and what one-way messages cannot know.
const Tolerance = 50 * time.Millisecond

// stepAbove is the correction above which a clock is stepped and not slewed.
const stepAbove = 250 * time.Millisecond

// Decide holds the correction that a clock has against what others say. It finds the
// times on which the most agree (the intersection of RFC 5905, 11.2.1, by weight), and
// believes them where they are more than half of all.
//
//	who agrees                            then
//	more than half, with the correction   it stays, or follows the system's clock where
//	                                      that is among them
//	more than half, with another          it is wrong by the difference
//	fewer                                 it stays: what passed was counted, and of two
//	                                      that differ nobody knows which is right
//
// Nobody but the system's own clock: its word counts once it has kept to it (votes are
// of clocks that are steady).
func Decide(votes []Vote, current, tolerance time.Duration) Verdict {
	v := Verdict{Offset: current, State: Alone}
	var own *Vote
	for i := range votes {
		v.Total += votes[i].Weight
		if votes[i].Source.Kind == System {
			own = &votes[i]
		}
	}
	if own != nil && len(votes) == 1 {
		v.Agree, v.Offset = v.Total, clamp(current, own.Lo, own.Hi)
		return v
	}
	if len(votes) == 0 {
		return v
	}
	lo, hi, most := intersect(votes, current, tolerance)
	v.Agree, v.Error = most, (hi-lo)/2
	for _, x := range votes {
		if x.Lo-tolerance > hi || x.Hi+tolerance < lo {
			v.Off = append(v.Off, x.Source)
		}
	}
	within := current >= lo && current <= hi
	switch {
	case 2*most <= v.Total:
		v.State = Disputed
	case within:
		v.State = Agreed
	default:
		v.State = Wrong
	}
	switch {
	case v.State == Disputed:
	case own != nil && !slices.Contains(v.Off, own.Source):
		v.Offset = clamp(current, own.Lo, own.Hi)
	case v.State == Wrong:
		if v.Offset = clamp(current, lo, hi); (v.Offset - current).Abs() > stepAbove {
			v.Offset = lo + (hi-lo)/2 // as far as it must is not where it is most likely
		}
	}
	return v
}

// intersect is the span of corrections on which the most weight agrees, each within its
// bounds and the tolerance; of several the one with the current correction, or nearest.
func intersect(votes []Vote, current, tolerance time.Duration) (lo, hi time.Duration, most float64) {
	type end struct {
		at     time.Duration
		weight float64 // negative where a vote ends
	}
	ends := make([]end, 0, 2*len(votes))
	for _, x := range votes {
		ends = append(ends, end{x.Lo - tolerance, x.Weight}, end{x.Hi + tolerance, -x.Weight})
	}
	slices.SortFunc(ends, func(a, b end) int {
		switch {
		case a.at != b.at:
			return int(min(max(a.at-b.at, -1), 1))
		case a.weight > b.weight:
			return -1 // spans that touch meet
		}
		return 1
	})
	far := func(lo, hi time.Duration) time.Duration { return (clamp(current, lo, hi) - current).Abs() }
	const grain = 1e-9 // of sums of weights
	sum := 0.0
	for i, e := range ends[:len(ends)-1] {
		sum += e.weight
		from, to := e.at, ends[i+1].at
		if e.weight < 0 || sum < most-grain || sum < most+grain && most > 0 && far(from, to) >= far(lo, hi) {
			continue
		}
		lo, hi, most = from, to, sum
	}
	return lo, hi, most
}

func clamp(x, lo, hi time.Duration) time.Duration { return min(max(x, lo), hi) }
