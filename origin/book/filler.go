package book

import (
	"slices"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/selection"
)

// Where nobody published a segment, one that is made of the nearest before it stands
// in (cmaf.Filler), so that no player meets a hole. It is made when it is asked for
// and no candidate: nothing is stored or announced, and whatever comes later serves.
// Nodes make the same bytes where they agree on what it is made of, and that is a
// choice like each other: it is pinned, and goes to all.
//
//	this node             another
//	knows 6, not 7        knows 6, not 7
//	8 is lost: 6 serves   8 is lost: 6 is pinned already
//	pins 6, announces it
//	makes 8 of it         makes the same
//	                      hears of 7, late
//	hears of 7            8 is made of 7 from now on; caches drop the other soon

// fillsFrom is the first number that may stand in for segment n; n where none may:
// the policy is another, or operators have taken n away.
func (v *View) fillsFrom(rendition string, n live.Number) live.Number {
	cfg := v.Config()
	if cfg.OnLost != live.LostFill || !slices.ContainsFunc(cfg.Pipelines, func(p live.Pipeline) bool { return !v.Masked(p, rendition, n) }) {
		return n
	}
	tl := v.Timelines[rendition]
	_, from := cfg.InitAt(rendition, n) // what is before it is not played with the same init segment
	return max(from, n-live.Number(live.MaxFilled/tl.Segment()), tl.First())
}

// Filler makes of segment m, whose bytes are src, what stands in for segment n.
func (in *Init) Filler(tl live.Timeline, src []byte, m, n live.Number) ([]byte, error) {
	window := func(n live.Number) (w cmaf.Window) {
		w.Start, w.End = tl.Media(n, int64(in.Track.Timescale))
		return w
	}
	return cmaf.Filler(src, &in.Track, window(m), window(n), uint32(n))
}

// Fills reports whether segment m may stand in for n.
func (v *View) Fills(rendition string, m, n live.Number) bool {
	return m < n && m >= v.fillsFrom(rendition, n)
}

// StandIn is what stands in for a segment that is lost: what serves, or would, of
// the nearest before it. With ok false it is a gap. from is the first of those
// right before n of which none can serve, as is known here; n where there is no such.
func (e *Event) StandIn(v *View, rendition string, n live.Number, absent map[live.Digest]bool, now time.Time) (c Choice, from live.Number, ok bool) {
	from = v.fillsFrom(rendition, n)
	for m := n - 1; m >= from; m-- {
		if c = e.Choose(v, rendition, m, absent, now); c.Action == selection.Serve {
			return c, m + 1, true
		}
	}
	return Choice{}, from, false
}
