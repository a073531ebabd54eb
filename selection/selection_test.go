package selection

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"headwater/live"
)

var (
	t0       = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	decide   = t0.Add(time.Second)
	deadline = t0.Add(2 * time.Second)
	order    = []live.Pipeline{{Name: "a"}, {Name: "b"}, {Name: "c"}}
)

func cand(pipeline string, f ...live.Finding) live.Candidate {
	return live.Candidate{Pipeline: pipeline, Findings: f}
}

func short(ms int64) live.Finding { return live.Finding{Kind: live.Short, MissingMS: ms} }

var broken = live.Finding{Kind: live.WrongTrack, MissingMS: 2000}

func TestChoose(t *testing.T) {
	late := live.Finding{Kind: live.Late}
	for _, c := range []struct {
		name   string
		have   []live.Candidate
		masked string
		at     time.Duration
		want   Action
		from   string
		reason Reason
		until  time.Time
	}{
		{name: "nothing yet", want: Wait, reason: AwaitAny, until: deadline},
		{name: "nothing at the deadline", at: 2 * time.Second, want: Refuse, reason: NonePublished},
		{name: "first is clean", have: []live.Candidate{cand("a")}, want: Serve, from: "a", reason: Preferred},
		{name: "what comes after the first does not matter", have: []live.Candidate{cand("a"), cand("b", short(10))}, want: Serve, from: "a", reason: Preferred},
		{name: "second came first", have: []live.Candidate{cand("b")}, want: Serve, from: "b", reason: NotYet},
		{name: "both clean, second came first", have: []live.Candidate{cand("b"), cand("a")}, want: Serve, from: "a", reason: Preferred},
		{name: "first is defective", have: []live.Candidate{cand("a", short(10)), cand("b")}, want: Serve, from: "b", reason: Defective},
		{name: "one defective, others owed", have: []live.Candidate{cand("a", short(10))}, want: Wait, reason: AwaitClean, until: decide},
		{name: "two defective, one owed", have: []live.Candidate{cand("a", short(10)), cand("b", short(10))}, want: Wait, reason: AwaitClean, until: decide},
		{name: "the same at the decision time", have: []live.Candidate{cand("a", short(10))}, at: time.Second, want: Serve, from: "a", reason: TimeIsUp},
		{name: "all defective", have: []live.Candidate{cand("a", short(10)), cand("b", short(9)), cand("c", short(11))}, want: Serve, from: "b", reason: LeastBad},
		{name: "equally bad: the order decides", have: []live.Candidate{cand("c", short(9)), cand("b", short(9)), cand("a", short(9))}, want: Serve, from: "a", reason: LeastBad},
		{name: "late costs nothing", have: []live.Candidate{cand("a", short(9)), cand("b", late), cand("c", short(1))}, want: Serve, from: "b", reason: LeastBad},
		{name: "clean beats late", have: []live.Candidate{cand("a", late), cand("b")}, want: Serve, from: "b", reason: Defective},
		{name: "broken is never served", have: []live.Candidate{cand("a", broken), cand("b", broken), cand("c", broken)}, want: Wait, reason: AwaitAny, until: deadline},
		{name: "not at the deadline either", have: []live.Candidate{cand("a", broken)}, at: 3 * time.Second, want: Refuse, reason: NoneUsable},
		{name: "broken and defective", have: []live.Candidate{cand("a", broken), cand("b", short(1999)), cand("c", broken)}, want: Serve, from: "b", reason: LeastBad},
		{name: "masked", have: []live.Candidate{cand("a"), cand("b")}, masked: "a", want: Serve, from: "b", reason: Preferred},
		{name: "a masked pipeline is not owed", have: []live.Candidate{cand("b", short(1)), cand("c", short(2))}, masked: "a", want: Serve, from: "b", reason: LeastBad},
		{name: "only masked, in the end", have: []live.Candidate{cand("a")}, masked: "a", at: 2 * time.Second, want: Refuse, reason: NoneUsable},
		{name: "a pipeline not of the event", have: []live.Candidate{cand("z")}, want: Wait, reason: AwaitAny, until: deadline},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := Input{Order: order, Candidates: c.have, Decide: decide, Deadline: deadline,
				Masked: func(p live.Pipeline) bool { return p.Name == c.masked }}
			got := Choose(in, t0.Add(c.at))
			if got.Action != c.want || got.Reason != c.reason || !got.Until.Equal(c.until) {
				t.Fatalf("got %v %q until %v, want %v %q until %v", got.Action, got.Reason, got.Until, c.want, c.reason, c.until)
			}
			if c.want == Serve && got.Candidate.Pipeline != c.from {
				t.Fatalf("serves %q, want %q", got.Candidate.Pipeline, c.from)
			}
		})
	}
}

func genFindings(t *rapid.T, label string) live.Findings {
	kinds := rapid.SliceOfNDistinct(rapid.SampledFrom(live.Kinds), 0, 3, rapid.ID).Draw(t, label)
	var f live.Findings
	for _, k := range kinds {
		f = append(f, live.Finding{Kind: k, MissingMS: rapid.Int64Range(0, 2000).Draw(t, "ms")})
	}
	return f
}

func genInput(t *rapid.T) Input {
	in := Input{Order: order, End: t0.Add(-time.Second), Decide: decide, Deadline: deadline, Segment: 2 * time.Second}
	in.Patience = time.Duration(rapid.SampledFrom([]int{0, 150}).Draw(t, "patience")) * time.Millisecond
	in.Settle = rapid.IntRange(0, 3).Draw(t, "settle")
	some := func(label string, end time.Time) (cs []live.Candidate) {
		for _, p := range order {
			if rapid.Bool().Draw(t, label+p.Name) {
				quality := rapid.SampledFrom([]live.Quality{{}, perfect, black, flicker, scored}).Draw(t, "quality")
				cs = append(cs, live.Candidate{Pipeline: p.Name, Findings: genFindings(t, p.Name), Quality: quality, Digest: live.DigestOf([]byte(label + p.Name)),
					Published: end.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "published")) * time.Millisecond)})
			}
		}
		return cs
	}
	in.Candidates = some("now ", in.End)
	for i := range rapid.IntRange(0, 5).Draw(t, "before") {
		end := in.End.Add(-2 * time.Second * time.Duration(i+1))
		in.Before = append(in.Before, Past{End: end, Candidates: some("before ", end), Served: rapid.SampledFrom([]string{"", "a", "b", "c", "z"}).Draw(t, "served")})
	}
	if len(in.Candidates) > 0 && rapid.Bool().Draw(t, "pin") {
		c := rapid.SampledFrom(in.Candidates).Draw(t, "pinned")
		in.Pin = &Pin{Pipeline: c.Pipeline, Digest: c.Digest}
		if rapid.Bool().Draw(t, "repaired") {
			in.Pin.Digest = live.DigestOf([]byte("before"))
		}
	}
	if rapid.Bool().Draw(t, "mask") {
		m := rapid.SampledFrom(order).Draw(t, "masked")
		in.Masked = func(p live.Pipeline) bool { return p.Name == m.Name }
	}
	return in
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := genInput(t)
		now := t0.Add(time.Duration(rapid.Int64Range(-3000, 3000).Draw(t, "now")) * time.Millisecond)
		d := Choose(in, now)

		// Arrival order says nothing.
		shuffled := in
		shuffled.Candidates = rapid.Permutation(in.Candidates).Draw(t, "order")
		e := Choose(shuffled, now)
		if e.Action != d.Action || e.Reason != d.Reason || (e.Candidate == nil) != (d.Candidate == nil) ||
			e.Candidate != nil && e.Candidate.Pipeline != d.Candidate.Pipeline {
			t.Fatalf("depends on arrival order: %+v, %+v", d, e)
		}

		usable := func(c live.Candidate) bool {
			i := slices.IndexFunc(order, func(p live.Pipeline) bool { return p.Name == c.Pipeline })
			return !c.Findings.Fatal() && (in.Masked == nil || !in.Masked(order[i]))
		}
		anyClean, anyUsable := false, false
		for _, c := range in.Candidates {
			anyUsable = anyUsable || usable(c)
			anyClean = anyClean || usable(c) && c.Clean()
		}
		switch d.Action {
		case Serve:
			if !usable(*d.Candidate) {
				t.Fatalf("serves what is masked or broken: %+v", d.Candidate)
			}
			if anyClean && !d.Candidate.Clean() {
				t.Fatalf("a defective one beats a clean one: %+v", d.Candidate)
			}
			for _, c := range in.Candidates {
				if usable(c) && !anyClean && c.Findings.MissingMS() < d.Candidate.Findings.MissingMS() {
					t.Fatalf("%+v is less bad than %+v", c, d.Candidate)
				}
			}
			// What was served stays, unless something better came.
			if p := in.Pin; p != nil {
				if c := find(in.Candidates, p.Pipeline); c.Digest == p.Digest && usable(*c) && d.Candidate != c && !Better(d.Candidate.Findings, c.Findings) {
					t.Fatalf("%+v was served, and now %+v is", c, d.Candidate)
				}
			}
		case Wait:
			picture := d.Reason == AwaitPicture // as for media that is missing, up to the decision time
			if picture && d.Until.After(decide) {
				t.Fatal("a picture is waited for longer than media")
			}
			if anyClean && in.Patience == 0 && !picture {
				t.Fatal("waits although a clean one is there")
			}
			for _, c := range in.Candidates {
				if usable(c) && c.Clean() && !picture && d.Until.Sub(c.Published) > in.Patience {
					t.Fatalf("%s's clean segment waits for %v", c.Pipeline, d.Until.Sub(c.Published))
				}
			}
			if d.Until.After(deadline) {
				t.Fatal("waits longer than anything is waited for")
			}
			if !d.Until.After(now) {
				t.Fatalf("waits until %v at %v: would spin", d.Until, now)
			}
		case Refuse:
			if anyUsable || now.Before(deadline) {
				t.Fatal("refuses too soon")
			}
		}
	})
}

// TestRepair: a better late repair replaces a worse one, never the other way.
func TestRepair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genFindings(t, "a"), genFindings(t, "b")
		if Better(a, b) && Better(b, a) {
			t.Fatalf("%v and %v each replace the other", a, b)
		}
		if Better(b, a) {
			in := Input{Order: order[:1], Candidates: []live.Candidate{{Pipeline: "a", Findings: b}}, Decide: decide, Deadline: deadline}
			was := Input{Order: order[:1], Candidates: []live.Candidate{{Pipeline: "a", Findings: a}}, Decide: decide, Deadline: deadline}
			if Choose(was, deadline).Action == Serve && Choose(in, deadline).Action != Serve {
				t.Fatalf("repairing %v by %v loses the segment", a, b)
			}
		}
		if a.Clean() && Better(b, a) {
			t.Fatal("a clean candidate was replaced")
		}
	})
}
