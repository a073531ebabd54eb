package selection

import (
	"testing"
	"time"

	"headwater/live"
)

// TestSeam: what is missing between two segments that were served is said once:
// by the one before, by this one, or as the seam.
func TestSeam(t *testing.T) {
	const scale = 90_000
	span := func(startMS, endMS int64) live.Span {
		return live.Span{Start: startMS * scale / 1000, End: endMS * scale / 1000, Timescale: scale}
	}
	gap := func(ms int64) live.Finding { return live.Finding{Kind: live.Gap, MissingMS: ms} }
	overlap := live.Finding{Kind: live.Overlap}
	for _, c := range []struct {
		name       string
		prev, next live.Span
		said       live.Findings // by the one before
		own        live.Findings
		frame      time.Duration
		want       string
	}{
		{name: "they meet", prev: span(0, 2000), next: span(2000, 4000)},
		{name: "they meet off the grid", prev: span(300, 2300), next: span(2300, 4300)},
		{name: "missing", prev: span(0, 2000), next: span(2300, 4300), want: "gap;ms=300"},
		{name: "doubled costs nothing", prev: span(300, 2300), next: span(2000, 4000), want: "overlap"},
		{name: "less than a frame is missing", prev: span(0, 2000), next: span(2021, 4000), frame: 21334 * time.Microsecond},
		{name: "more than a frame", prev: span(0, 2000), next: span(2022, 4000), frame: 21334 * time.Microsecond, want: "gap;ms=22"},
		{name: "less than a frame is doubled", prev: span(0, 2021), next: span(2000, 4000), frame: 21334 * time.Microsecond},
		{name: "more than a frame is", prev: span(0, 2022), next: span(2000, 4000), frame: 21334 * time.Microsecond, want: "overlap"},
		{name: "rounding", prev: span(0, 2000), next: span(2005, 4000)},
		{name: "no rounding", prev: span(0, 2000), next: span(2006, 4000), want: "gap;ms=6"},
		{name: "the one before said it", prev: span(0, 1600), next: span(2000, 4000), said: live.Findings{short(400)}},
		{name: "this one says it", prev: span(0, 2000), next: span(2500, 4000), own: live.Findings{gap(500)}, want: "gap;ms=500"},
		{name: "both say it", prev: span(0, 1600), next: span(2500, 4000), said: live.Findings{short(400)}, own: live.Findings{gap(500)}, want: "gap;ms=500"},
		{name: "this one says half of it", prev: span(-300, 1700), next: span(2500, 4000), own: live.Findings{gap(500)}, want: "gap;ms=800"},
		{name: "a hole elsewhere is another", prev: span(0, 2000), next: span(2300, 4300), said: live.Findings{{Kind: live.MissingSamples, MissingMS: 300}},
			own: live.Findings{{Kind: live.MissingSamples, MissingMS: 40}}, want: "missing-samples;ms=40, gap;ms=300"},
		{name: "doubled, and the one before says so", prev: span(0, 2300), next: span(2000, 4000), said: live.Findings{overlap}},
		{name: "doubled, and this one says so", prev: span(0, 2000), next: span(1700, 4000), own: live.Findings{overlap}, want: "overlap"},
		{name: "no more than a segment is missing", prev: span(0, 2000), next: span(9_000_000, 9_002_000), want: "gap;ms=2000"},
		{name: "nor is it doubled more than once", prev: span(9_000_000, 9_002_000), next: span(2000, 4000), want: "overlap"},
		{name: "nor for ever", prev: live.Span{End: 1, Timescale: 1}, next: live.Span{Start: 1 << 62, Timescale: 1}, want: "gap;ms=2000"},
		{name: "before time", prev: span(-4000, -2000), next: span(-1700, 0), want: "gap;ms=300"},
		{name: "across it", prev: span(-2000, -100), next: span(200, 2000), want: "gap;ms=300"},
		{name: "other timescales", prev: live.Span{End: 96_000, Timescale: 48_000}, next: live.Span{Start: 90_000 * 23 / 10, Timescale: 90_000}, want: "gap;ms=300"},
		{name: "not known", next: span(2300, 4300)},
		{name: "not known either", prev: span(0, 2000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			prev, next := live.Candidate{Span: c.prev, Findings: c.said}, live.Candidate{Span: c.next, Findings: c.own}
			own := c.own.String()
			seam := Seam(&prev, &next, c.frame, 2*time.Second)
			if got := WithSeam(c.own, seam).String(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if next.Findings.String() != own {
				t.Error("the candidate's own findings were changed")
			}
			if seam.Has(live.Overlap) && seam.MissingMS() != 0 {
				t.Error("what is doubled costs")
			}
		})
	}
}
