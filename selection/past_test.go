package selection

import (
	"fmt"
	"testing"
	"time"

	"headwater/live"
)

const patience = 150 * time.Millisecond

// at is a clean candidate that was published so many milliseconds after t0.
func at(pipeline string, ms int, f ...live.Finding) live.Candidate {
	c := cand(pipeline, f...)
	c.Published = t0.Add(time.Duration(ms) * time.Millisecond)
	c.Digest = live.DigestOf([]byte(pipeline))
	return c
}

// pasts are segments of two seconds before one whose last frame was filmed a
// second before t0. each makes the candidates of the i-th before it: their
// times count from t0, for the segment that is chosen for.
func pasts(count int, served string, each func(i int) []live.Candidate) []Past {
	var out []Past
	for i := range count {
		back := -2 * time.Second * time.Duration(i+1)
		p := Past{End: t0.Add(-time.Second + back), Served: served}
		for _, c := range each(i) {
			c.Published = c.Published.Add(back)
			p.Candidates = append(p.Candidates, c)
		}
		out = append(out, p)
	}
	return out
}

func both(int) []live.Candidate { return []live.Candidate{at("a", 0), at("b", 10)} }
func only(p string) func(int) []live.Candidate {
	return func(int) []live.Candidate { return []live.Candidate{at(p, 0)} }
}

// TestSticky: who served before serves again, and is waited for.
func TestSticky(t *testing.T) {
	two := order[:2]
	ms := func(n int) time.Time { return t0.Add(time.Duration(n) * time.Millisecond) }
	// a was missing from one segment of the last five, i before.
	without := func(i int) func(int) []live.Candidate {
		return func(j int) []live.Candidate {
			if i == j {
				return []live.Candidate{at("b", 0)}
			}
			return both(j)
		}
	}
	late := func(lag int) func(int) []live.Candidate {
		return func(int) []live.Candidate { return []live.Candidate{at("a", lag), at("b", 0)} }
	}
	for _, c := range []struct {
		name   string
		order  []live.Pipeline
		before []Past
		have   []live.Candidate
		masked string
		now    int // ms after t0
		want   Action
		from   string
		reason Reason
		until  time.Time
	}{
		{name: "nobody served: the order", have: []live.Candidate{at("b", 0)}, now: 149, want: Wait, reason: AwaitIncumbent, until: ms(150)},
		{name: "nobody served, and time is up", have: []live.Candidate{at("b", 0)}, now: 150, want: Serve, from: "b", reason: NotYet},
		{name: "the incumbent serves at once", before: pasts(1, "b", only("b")), have: []live.Candidate{at("b", 0)}, want: Serve, from: "b", reason: Incumbent},
		{name: "also where the preferred is there", before: pasts(1, "b", only("b")), have: []live.Candidate{at("a", 0), at("b", 0)}, want: Serve, from: "b", reason: Incumbent},
		{name: "the incumbent is the nearest that served", before: append(pasts(2, "", only("b")), Past{Served: "b"}, Past{Served: "a"}),
			have: []live.Candidate{at("a", 0), at("b", 0)}, want: Serve, from: "b", reason: Incumbent},
		{name: "it is waited for", before: pasts(1, "b", only("b")), have: []live.Candidate{at("a", 100)}, now: 249, want: Wait, reason: AwaitIncumbent, until: ms(250)},
		{name: "up to the patience, from the other's publication", before: pasts(1, "b", only("b")), have: []live.Candidate{at("a", 100)}, now: 250, want: Serve, from: "a", reason: IncumbentNotYet},
		{name: "no longer than anything is waited for", before: pasts(1, "b", only("b")), have: []live.Candidate{at("a", 1990)}, now: 1990, want: Wait, reason: AwaitIncumbent, until: deadline},
		{name: "from the first of several", order: order, before: pasts(1, "c", only("c")), have: []live.Candidate{at("a", 100), at("b", 0)}, now: 150, want: Serve, from: "a", reason: IncumbentNotYet},
		{name: "from the first that may serve", order: order, before: pasts(1, "c", only("c")), masked: "b", have: []live.Candidate{at("a", 100), at("b", 0)}, now: 249, want: Wait, reason: AwaitIncumbent, until: ms(250)},
		{name: "defective: the other at once", before: pasts(1, "b", only("b")), have: []live.Candidate{at("a", 0), at("b", 0, short(500))}, want: Serve, from: "a", reason: IncumbentDefective},
		{name: "the preferred defective: the other at once", before: pasts(1, "a", both), have: []live.Candidate{at("a", 0, short(500)), at("b", 0)}, want: Serve, from: "b", reason: Defective},
		{name: "what is no defect is none", before: pasts(1, "a", both), have: []live.Candidate{at("a", 0, live.Finding{Kind: live.OffGrid, OffMS: 300}), at("b", 0)}, want: Serve, from: "a", reason: Preferred},
		{name: "the incumbent is masked", before: pasts(1, "b", both), masked: "b", have: []live.Candidate{at("a", 0), at("b", 0)}, want: Serve, from: "a", reason: Preferred},
		{name: "the incumbent is no more", before: pasts(1, "z", both), have: []live.Candidate{at("a", 0), at("b", 0)}, want: Serve, from: "a", reason: Preferred},
		{name: "with masked ones the first in the order is another", before: pasts(1, "b", both), masked: "a", have: []live.Candidate{at("a", 0), at("b", 0)}, want: Serve, from: "b", reason: Preferred},

		{name: "not back after four", before: pasts(4, "b", both), have: both(0), want: Serve, from: "b", reason: Incumbent},
		{name: "back after five", before: pasts(5, "b", both), have: both(0), want: Serve, from: "a", reason: Preferred},
		{name: "it is waited for when it comes back", before: pasts(5, "b", both), have: []live.Candidate{at("b", 0)}, want: Wait, reason: AwaitIncumbent, until: ms(130)},
		{name: "not back: it missed the first of five", before: pasts(6, "b", without(4)), have: both(0), want: Serve, from: "b", reason: Incumbent},
		{name: "back: it missed the one before", before: pasts(6, "b", without(5)), have: both(0), want: Serve, from: "a", reason: Preferred},
		{name: "not back: it was not clean", before: pasts(6, "b", func(i int) []live.Candidate {
			if i == 2 {
				return []live.Candidate{at("a", 0, short(40)), at("b", 0)}
			}
			return both(i)
		}), have: both(0), want: Serve, from: "b", reason: Incumbent},
		{name: "not back: it is late by more than the patience", before: pasts(6, "b", late(151)), have: both(0), want: Serve, from: "b", reason: Incumbent},
		{name: "back: it is late by the patience", before: pasts(6, "b", late(150)), have: both(0), want: Serve, from: "a", reason: Preferred},
		{name: "one that does not precede it does not come back", before: pasts(6, "a", both), have: both(0), want: Serve, from: "a", reason: Preferred},
		{name: "of two that settled the first", order: order, before: pasts(6, "c", func(i int) []live.Candidate { return append(both(i), at("c", 0)) }), have: append(both(0), at("c", 0)), want: Serve, from: "a", reason: Preferred},
		{name: "the second settled", order: order, before: pasts(6, "c", func(i int) []live.Candidate { return []live.Candidate{at("b", 0), at("c", 0)} }), have: append(both(0), at("c", 0)), want: Serve, from: "b", reason: Incumbent},

		{name: "the patience follows the lag", before: pasts(6, "a", late(10)), have: []live.Candidate{at("b", 0)}, now: 129, want: Wait, reason: AwaitIncumbent, until: ms(130)},
		{name: "no lag", before: pasts(6, "a", late(0)), have: []live.Candidate{at("b", 0)}, now: 99, want: Wait, reason: AwaitIncumbent, until: ms(100)},
		{name: "and no further than allowed", before: pasts(6, "a", late(30)), have: []live.Candidate{at("b", 0)}, now: 149, want: Wait, reason: AwaitIncumbent, until: ms(150)},
		{name: "where one alone came there is no lag", before: pasts(6, "a", only("a")), have: []live.Candidate{at("b", 0)}, now: 149, want: Wait, reason: AwaitIncumbent, until: ms(150)},
		{name: "a lag is known after four", before: pasts(4, "a", late(10)), have: []live.Candidate{at("b", 0)}, now: 129, want: Wait, reason: AwaitIncumbent, until: ms(130)},
		{name: "and not before", before: pasts(3, "a", late(10)), have: []live.Candidate{at("b", 0)}, now: 149, want: Wait, reason: AwaitIncumbent, until: ms(150)},
		{name: "one spell in ten does not count", before: pasts(10, "a", func(i int) []live.Candidate {
			if i == 8 {
				return late(1000)(i)
			}
			return late(10)(i)
		}), have: []live.Candidate{at("b", 0)}, want: Wait, reason: AwaitIncumbent, until: ms(130)},
		{name: "one in six does", before: pasts(6, "a", func(i int) []live.Candidate {
			if i == 3 {
				return late(15)(i)
			}
			return late(10)(i)
		}), have: []live.Candidate{at("b", 0)}, want: Wait, reason: AwaitIncumbent, until: ms(145)},
		{name: "a backfill is no lag", before: pasts(6, "a", func(int) []live.Candidate {
			return []live.Candidate{at("a", 0), at("b", 10), at("c", 60_000, live.Finding{Kind: live.Late})}
		}), have: []live.Candidate{at("b", 0)}, want: Wait, reason: AwaitIncumbent, until: ms(130)},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := Input{Order: two, Candidates: c.have, End: t0.Add(-time.Second), Decide: decide, Deadline: deadline, Before: c.before, Patience: patience, Settle: 5,
				Masked: func(p live.Pipeline) bool { return p.Name == c.masked }}
			if c.order != nil {
				in.Order = c.order
			}
			check(t, Choose(in, ms(c.now)), c.want, c.from, c.reason, c.until)
		})
	}
}

func check(t *testing.T, got Decision, want Action, from string, reason Reason, until time.Time) {
	t.Helper()
	if got.Action != want || got.Reason != reason || !got.Until.Equal(until) {
		t.Fatalf("got %v %q until %v, want %v %q until %v", got.Action, got.Reason, got.Until, want, reason, until)
	}
	if want == Serve && got.Candidate.Pipeline != from {
		t.Fatalf("serves %q, want %q", got.Candidate.Pipeline, from)
	}
}

// TestLateStandby: a pipeline that is always late, but never too late, is waited
// for in place of serving a defective segment.
func TestLateStandby(t *testing.T) {
	// b publishes so many ms after the last frame: that is 1 s before t0.
	b := func(after int, f ...live.Finding) func(int) []live.Candidate {
		return func(int) []live.Candidate { return []live.Candidate{at("a", 0), at("b", after-1000, f...)} }
	}
	dead := func(since int) func(int) []live.Candidate {
		return func(i int) []live.Candidate {
			if i < since {
				return []live.Candidate{at("a", 0)}
			}
			return b(2350)(i)
		}
	}
	for _, c := range []struct {
		name   string
		before []Past
		now    int
		until  int // 0: a serves
	}{
		{"until the decision time in any case", pasts(6, "a", b(200)), 999, 1000},
		{"before it only up to it", pasts(6, "a", b(2350)), 0, 1000},
		{"on for one that is late", pasts(6, "a", b(2350)), 1000, 1450},
		{"up to then", pasts(6, "a", b(2350)), 1449, 1450},
		{"and no longer", pasts(6, "a", b(2350)), 1450, 0},
		{"not for one that is in time", pasts(6, "a", b(1800)), 1000, 0},
		{"nor for one that has never come", pasts(6, "a", only("a")), 1000, 0},
		{"nor where nothing is known", nil, 1000, 0},
		{"up to a quarter before the deadline", pasts(6, "a", b(2650)), 1000, 1750},
		{"nor for one that comes later than that", pasts(6, "a", b(2651)), 1000, 0},
		{"nor for one that was defective", pasts(6, "a", b(2350, short(40))), 1000, 0},
		{"nor for one that owes the segment before", pasts(6, "a", dead(1)), 1000, 0},
		{"unless it need not have come yet", append([]Past{{End: t0.Add(-1449 * time.Millisecond)}}, pasts(6, "a", b(2350))...), 1000, 1450},
		{"but not if it need", append([]Past{{End: t0.Add(-1450 * time.Millisecond)}}, pasts(6, "a", b(2350))...), 1000, 0},
		{"one spell in ten does not count", pasts(10, "a", func(i int) []live.Candidate {
			if i == 8 {
				return b(2600)(i)
			}
			return b(2350)(i)
		}), 1000, 1450},
		{"the latest of those that are owed", pasts(6, "a", func(i int) []live.Candidate { return append(b(2350)(i), at("c", 0)) }), 1000, 1450},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := Input{Order: order, Candidates: []live.Candidate{at("a", 0, short(500))}, End: t0.Add(-time.Second), Decide: decide, Deadline: deadline, Before: c.before, Patience: patience, Settle: 5}
			got := Choose(in, t0.Add(time.Duration(c.now)*time.Millisecond))
			switch {
			case c.until == 0:
				check(t, got, Serve, "a", TimeIsUp, time.Time{})
			case c.now < 1000:
				check(t, got, Wait, "", AwaitClean, t0.Add(time.Duration(c.until)*time.Millisecond))
			default:
				check(t, got, Wait, "", AwaitLate, t0.Add(time.Duration(c.until)*time.Millisecond))
			}
		})
	}
}

// TestDeadPipelineCostsOnce: it is the patience for the segment that it first
// does not bring, and nothing for all others; when it is back it has to settle.
func TestDeadPipelineCostsOnce(t *testing.T) {
	var before []Past
	waited := ""
	for n := range 30 {
		end := t0.Add(2 * time.Second * time.Duration(n))
		cs := []live.Candidate{{Pipeline: "b", Published: end.Add(210 * time.Millisecond)}}
		if n < 10 || n >= 20 {
			cs = append(cs, live.Candidate{Pipeline: "a", Published: end.Add(200 * time.Millisecond)})
		}
		in := Input{Order: order[:2], Candidates: cs, End: end, Decide: end.Add(1500 * time.Millisecond), Deadline: end.Add(2500 * time.Millisecond), Before: before, Patience: patience, Settle: 5}
		now := end.Add(210 * time.Millisecond)
		d := Choose(in, now)
		if d.Action == Wait {
			waited += fmt.Sprintf(" %d:%v", n, d.Until.Sub(now))
			d = Choose(in, d.Until)
		}
		if want := map[bool]string{true: "b", false: "a"}[n >= 10 && n < 25]; d.Action != Serve || d.Candidate.Pipeline != want {
			t.Fatalf("segment %d: %v %v", n, d.Reason, d.Candidate)
		}
		before = append([]Past{{End: end, Candidates: cs, Served: d.Candidate.Pipeline}}, before...)
	}
	if waited != " 10:130ms" { // thrice the lag of 10 ms, and 100
		t.Errorf("waited for%s", waited)
	}
}
