package selection

import (
	"testing"
	"time"

	"headwater/live"
)

var (
	black   = live.Quality{Said: true, Score: 100, BlackMS: 2000}
	perfect = live.Quality{Said: true, Score: 100}
	flicker = live.Quality{Said: true, Score: 100, FrozenMS: 900}
	scored  = live.Quality{Said: true, Score: 40}
)

func shows(pipeline string, q live.Quality, f ...live.Finding) live.Candidate {
	c := cand(pipeline, f...)
	c.Quality, c.Published = q, t0.Add(-500*time.Millisecond)
	return c
}

// past is a segment before, of which nothing is missing, and who served it.
func past(i int, served string, cs ...live.Candidate) Past {
	end := t0.Add(-time.Second - 2*time.Second*time.Duration(i+1))
	for k := range cs {
		cs[k].Published = end.Add(500 * time.Millisecond)
		if cs[k].Pipeline == "b" {
			cs[k].Published = end.Add(900 * time.Millisecond)
		}
	}
	return Past{End: end, Candidates: cs, Served: served}
}

func TestPicture(t *testing.T) {
	two := order[:2]
	none := live.Quality{}
	both := func(i int, served string, a, b live.Quality) Past {
		return past(i, served, shows("a", a), shows("b", b))
	}
	for _, c := range []struct {
		name     string
		have     []live.Candidate
		before   []Past
		patience time.Duration
		at       time.Duration // from t0
		want     Action
		from     string
		reason   Reason
		until    time.Duration
	}{
		{name: "black loses", have: []live.Candidate{shows("a", black), shows("b", none)}, want: Serve, from: "b", reason: Poor},
		{name: "so does a low score", have: []live.Candidate{shows("a", scored), shows("b", perfect)}, want: Serve, from: "b", reason: Poor},
		{name: "less than half a segment is no reason to change", have: []live.Candidate{shows("a", flicker), shows("b", perfect)}, want: Serve, from: "a", reason: Preferred},
		{name: "a black programme", have: []live.Candidate{shows("a", black), shows("b", black)}, want: Serve, from: "a", reason: Preferred},
		{name: "media missing counts before", have: []live.Candidate{shows("a", black), shows("b", none, short(10))}, want: Serve, from: "a", reason: Preferred},
		{name: "of two that miss as much the one with a picture", have: []live.Candidate{shows("a", black, short(10)), shows("b", none, short(10))}, want: Serve, from: "b", reason: LeastBad},
		{name: "of a pipeline that never came nothing is hoped for", have: []live.Candidate{shows("a", black)}, want: Serve, from: "a", reason: Preferred},
		{name: "one that showed something just before is waited for", have: []live.Candidate{shows("a", black)},
			before: []Past{both(0, "a", none, none), both(1, "a", none, none)}, at: -450 * time.Millisecond, want: Wait, reason: AwaitPicture, until: 0},
		{name: "but only for as long as it usually takes", have: []live.Candidate{shows("a", black)},
			before: []Past{both(0, "a", none, none), both(1, "a", none, none)}, want: Serve, from: "a", reason: Preferred},
		{name: "in a black programme nobody is waited for", have: []live.Candidate{shows("a", black)},
			before: []Past{both(0, "a", black, black), both(1, "a", black, black)}, at: -450 * time.Millisecond, want: Serve, from: "a", reason: Preferred},
		{name: "patience: the incumbent is black", have: []live.Candidate{shows("a", black), shows("b", none)}, patience: 150 * time.Millisecond,
			before: []Past{both(0, "a", none, none)}, want: Serve, from: "b", reason: Poor},
		{name: "what was said of the segment before counts for this", have: []live.Candidate{shows("a", none), shows("b", none)}, patience: 150 * time.Millisecond,
			before: []Past{both(0, "a", none, none), both(1, "a", black, none)}, want: Serve, from: "b", reason: Poor},
		{name: "without patience too", have: []live.Candidate{shows("a", none), shows("b", none)},
			before: []Past{both(0, "a", none, none), both(1, "a", black, none)}, want: Serve, from: "b", reason: Poor},
		{name: "its picture is waited for", have: []live.Candidate{shows("a", none)}, patience: 150 * time.Millisecond,
			before: []Past{both(0, "a", black, none), both(1, "a", black, none)}, at: -450 * time.Millisecond, want: Wait, reason: AwaitPicture, until: 0},
		{name: "as long as that is the newest that was said", have: []live.Candidate{shows("a", none), shows("b", none)}, patience: 150 * time.Millisecond,
			before: []Past{both(0, "a", perfect, none), both(1, "a", black, none)}, want: Serve, from: "a", reason: Preferred},
		{name: "of both it is the programme", have: []live.Candidate{shows("a", none), shows("b", none)}, patience: 150 * time.Millisecond,
			before: []Past{both(0, "a", black, black)}, want: Serve, from: "a", reason: Preferred},
		{name: "the other goes on", have: []live.Candidate{shows("a", none), shows("b", none)}, patience: 150 * time.Millisecond,
			before: []Past{both(0, "b", none, none), both(1, "b", black, none), both(2, "a", black, none)}, want: Serve, from: "b", reason: Incumbent},
		{name: "up to when the preferred has settled", have: []live.Candidate{shows("a", none), shows("b", none)}, patience: 400 * time.Millisecond,
			before: []Past{both(0, "b", none, none), both(1, "b", perfect, none), both(2, "b", perfect, none), both(3, "b", black, none)}, want: Serve, from: "a", reason: Preferred},
		{name: "a dark one that is there is better than nothing", have: []live.Candidate{shows("a", none)}, patience: 150 * time.Millisecond,
			before: []Past{both(0, "a", black, none)}, at: time.Second, want: Serve, from: "a", reason: IncumbentNotYet},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := Input{Order: two, Candidates: c.have, Before: c.before, End: t0.Add(-time.Second), Decide: decide, Deadline: deadline,
				Segment: 2 * time.Second, Patience: c.patience, Settle: 3}
			got := Choose(in, t0.Add(c.at))
			if got.Action != c.want || got.Reason != c.reason {
				t.Fatalf("got %v %q until %v, want %v %q", got.Action, got.Reason, got.Until, c.want, c.reason)
			}
			if c.want == Serve && got.Candidate.Pipeline != c.from {
				t.Fatalf("serves %q, want %q", got.Candidate.Pipeline, c.from)
			}
			if c.want == Wait && !got.Until.Equal(t0.Add(c.until)) {
				t.Fatalf("waits until %v, want %v", got.Until.Sub(t0), c.until)
			}
		})
	}
}
