package book

import (
	"slices"
	"strings"
	"time"

	"headwater/live"
)

// What the media itself says of splices (SCTE-35 in event messages) becomes
// notifications. Each segment of each rendition of each pipeline says it, some of them again and
// again, so it is told by what it is and when: a splice of the same name within
// sameSplice is the same. Encoders use a name again for the next break, so the segment that
// it begins in is part of the notification's id.

// sameSplice is how far apart renditions of a pipeline may place the same splice. Two
// pipelines may by a segment's duration, and then it is where the first has said: else each
// would withdraw what the other says,
//
//	pipeline a                      pipeline b
//	1042 says: 7 at 61.0
//	                                1042 says: 7 at 61.6   moved? it was only rounded
//	1043 says: 7 at 61.0            and so on
const sameSplice = 500 * time.Millisecond

// A Signal is a splice, and what it is known by.
type Signal struct {
	live.Splice
	At      time.Time
	Section []byte
}

// Told is what has to be said of a signal for a set to tell of it: nothing where it does
// already, or where nobody can be told. others reports whether another pipeline than this
// one's said a notification; now is the origin's time.
func Told(set []live.Notification, tl *live.Timeline, s Signal, others func(id string) bool, now time.Time) (said []live.Notification) {
	at := s.At.Truncate(time.Millisecond)
	same := func(id string) time.Duration {
		if others(id) {
			return max(sameSplice, tl.Segment())
		}
		return sameSplice
	}
	named := func(n *live.Notification) bool {
		return n.IsSplice() && strings.HasPrefix(n.ID, s.Name+"-")
	}
	if s.Cancel {
		for i := range set {
			if n := &set[i]; named(n) {
				if from, to := n.Span(tl); from.After(now) || to.IsZero() || to.After(now) {
					said = append(said, live.Notification{Type: WithdrawType, ID: n.ID})
				}
			}
		}
		return said
	}
	n := live.Notification{Type: s.Type, From: tl.At(at), At: at, Length: s.Length.Truncate(time.Millisecond), Data: s.Section}
	end := at.Add(n.Length)
	n.To = n.From
	if n.Length > 0 {
		n.To = max(tl.At(end.Add(-1)), n.From)
	}
	if n.Type == live.TypeSCTE35Out && n.Length == 0 {
		n.To = 0
	}
	if n.From < tl.First() || !tl.Holds(n.From) || n.To != 0 && n.To < tl.Oldest(now) || n.To == 0 && n.From < tl.Oldest(now) || at.Sub(now) > mostAhead {
		return nil
	}
	var out *live.Notification // of a way back: the newest way out
	for i := range set {
		x := &set[i]
		if !named(x) {
			continue
		}
		from, _ := x.Span(tl)
		switch {
		case x.Type != n.Type:
			if n.Type == live.TypeSCTE35In && x.Type == live.TypeSCTE35Out && from.Before(at) && (out == nil || x.From > out.From) {
				out = x
			}
		case from.Sub(at).Abs() <= same(x.ID):
			return nil
		case from.After(now) && now.Before(at): // moved before it was there
			said = append(said, live.Notification{Type: WithdrawType, ID: x.ID})
		}
	}
	n.ID = s.Name + "-" + n.From.String()
	if n.Type == live.TypeSCTE35In {
		if out != nil {
			n.ID = out.ID
			if out.To == 0 { // now its end is known
				ended := *out
				from, _ := out.Span(tl)
				ended.To, ended.Length = max(tl.At(at.Add(-1)), out.From), at.Sub(from).Truncate(time.Millisecond)
				said = append(said, ended)
			}
		}
		n.ID += live.SpliceBack
	}
	return append(said, n)
}

// mostAhead is how long before it is a splice may be told.
const mostAhead = time.Hour

// Outdated are the splices that media told which make room for others in a set that is
// full: those that are over, the oldest first, at most so many.
func Outdated(set []live.Notification, tl *live.Timeline, now time.Time, most int) (said []live.Notification) {
	var over []live.Notification
	for _, n := range set {
		from, to := n.Span(tl)
		if n.IsSplice() && !n.At.IsZero() && (!to.IsZero() && to.Before(now) || now.Sub(from) > mostAhead) {
			over = append(over, n)
		}
	}
	slices.SortStableFunc(over, func(a, b live.Notification) int { return a.At.Compare(b.At) })
	for _, n := range over[:min(most, len(over))] {
		said = append(said, live.Notification{Type: WithdrawType, ID: n.ID})
	}
	return said
}
