package selection

import (
	"testing"
	"time"

	"headwater/live"
)

// TestPinned: what was served stays, for as long as it is to be had and nothing
// better came in place of a defective one.
func TestPinned(t *testing.T) {
	clean, bad, worse := at("b", 5), at("b", 5, short(100)), at("a", 0, short(200))
	other := clean
	other.Digest = live.DigestOf([]byte("a repair"))
	fatal := at("b", 5, broken)
	for _, c := range []struct {
		name   string
		have   []live.Candidate
		masked string
		order  []live.Pipeline
		from   string
		reason Reason
	}{
		{"a preferred one came", []live.Candidate{at("a", 0), clean}, "", nil, "b", Pinned},
		{"a defective one came", []live.Candidate{worse, clean}, "", nil, "b", Pinned},
		{"a defective one stays where the others are worse", []live.Candidate{worse, bad}, "", nil, "b", Pinned},
		{"or as bad", []live.Candidate{at("a", 0, short(100)), bad}, "", nil, "b", Pinned},
		{"a less bad one repairs it", []live.Candidate{at("a", 0, short(99)), bad}, "", nil, "a", LeastBad},
		{"a clean one repairs it", []live.Candidate{at("a", 0), bad}, "", nil, "a", Preferred},
		{"a clean one that is masked does not", []live.Candidate{at("a", 0), bad}, "a", nil, "b", Pinned},
		{"its own pipeline repaired it", []live.Candidate{other, worse}, "", nil, "b", Defective},
		{"it is masked", []live.Candidate{at("a", 0), clean}, "b", nil, "a", Preferred},
		{"its bytes are gone", []live.Candidate{at("a", 0), fatal}, "", nil, "a", Preferred},
		{"it is not known here", []live.Candidate{at("a", 0)}, "", nil, "a", Preferred},
		{"its pipeline is no more", []live.Candidate{at("a", 0), clean}, "", order[:1], "a", Preferred},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := Input{Order: order[:2], Candidates: c.have, Decide: decide, Deadline: deadline, Patience: patience, Settle: 5,
				Pin: &Pin{Pipeline: "b", Digest: clean.Digest}, Masked: func(p live.Pipeline) bool { return p.Name == c.masked }}
			if c.order != nil {
				in.Order = c.order
			}
			check(t, Choose(in, t0.Add(10*time.Millisecond)), Serve, c.from, c.reason, time.Time{})
		})
	}
}

// TestPinsAreOrdered: of two, every node keeps the same one.
func TestPinsAreOrdered(t *testing.T) {
	least := []Pin{ // each is over those after it
		{Turn: 1, At: t0.Add(time.Hour), Node: "b"},
		{At: t0, Node: "b"},
		{At: t0, Node: "c"},
		{At: t0.Add(1), Node: "a"},
	}
	for i := range least {
		for j := range least {
			if got := least[i].Over(&least[j]); got != (i < j) {
				t.Errorf("%d over %d: %v", i, j, got)
			}
		}
	}
}

func TestRevoked(t *testing.T) {
	in := func(version int64, s live.Scope) live.Config {
		return live.Config{Invalidations: []live.Invalidation{{Version: version, Scope: s}}}
	}
	for name, c := range map[string]struct {
		cfg  live.Config
		want bool
	}{
		"nothing happened":     {live.Config{Version: 9}, false},
		"flushed":              {live.Config{FlushVersion: 6}, true},
		"flushed before":       {live.Config{FlushVersion: 5}, false},
		"invalidated":          {in(6, live.Scope{From: 7, To: 7}), true},
		"invalidated before":   {in(5, live.Scope{From: 7, To: 7}), false},
		"its pipeline":         {in(6, live.Scope{Pipeline: "a"}), true},
		"another pipeline":     {in(6, live.Scope{Pipeline: "b"}), false},
		"another region":       {in(6, live.Scope{Region: "west"}), false},
		"its region":           {in(6, live.Scope{Region: "east"}), true},
		"another rendition":    {in(6, live.Scope{Rendition: "w"}), false},
		"other numbers":        {in(6, live.Scope{From: 8}), false},
		"by the second of two": {live.Config{Invalidations: append(in(6, live.Scope{From: 8}).Invalidations, in(7, live.Scope{}).Invalidations...)}, true},
	} {
		p := Pin{Pipeline: "a", Region: "east", Version: 5}
		if got := p.Revoked(&c.cfg, "v", 7); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
