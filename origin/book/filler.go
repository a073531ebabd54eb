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

// mayFill reports whether anything may stand in for a segment: else the policy is another,
// or operators have taken it away. What has no slate is filled.
func (v *View) mayFill(rendition string, n live.Number) bool {
	on := v.Config().OnLost
	return (on == live.LostFill || on == live.LostSlate) && v.anyUnmasked(rendition, n)
}

// anyUnmasked reports whether operators have left any pipeline's segment there.
func (v *View) anyUnmasked(rendition string, n live.Number) bool {
	return slices.ContainsFunc(v.Config().Pipelines, func(p live.Pipeline) bool { return !v.Masked(p, rendition, n) })
}

// fillsFrom is the first number that may stand in for segment n; n where none may.
func (v *View) fillsFrom(rendition string, n live.Number) live.Number {
	cfg := v.Config()
	if !v.mayFill(rendition, n) {
		return n
	}
	tl := v.Timelines[rendition]
	_, from := cfg.InitAt(rendition, n) // what is before it is not played with the same init segment
	return max(from, n-live.Number(live.MaxFilled/tl.Segment()), tl.First())
}

// Filler makes of segment m, whose bytes are src, what stands in for segment n, with
// pauses as cmaf.Filler has them.
func (in *Init) Filler(tl live.Timeline, src []byte, m, n live.Number, pause func()) ([]byte, error) {
	return cmaf.Filler(src, &in.Track, in.window(tl, m), in.window(tl, n), uint32(n), pause)
}

// KeyFrame makes of segment n, whose bytes are src, one of its first key frame alone
// (cmaf.KeyFrame).
func (in *Init) KeyFrame(tl live.Timeline, src []byte, n live.Number) ([]byte, error) {
	return cmaf.KeyFrame(src, &in.Track, in.window(tl, n), uint32(n))
}

// window is where segment n lies on the track's timeline.
func (in *Init) window(tl live.Timeline, n live.Number) (w cmaf.Window) {
	w.Start, w.End = tl.Media(n, int64(in.Track.Timescale))
	return w
}

// fillsTo is the last number that may stand in for segment n where none before it may:
// n is one of the first of a generation. Of the event's first there is nothing yet.
func (v *View) fillsTo(rendition string, n live.Number) live.Number {
	cfg, tl := v.Config(), v.Timelines[rendition]
	most := live.Number(live.MaxFilled / tl.Segment())
	index, from := cfg.InitAt(rendition, n)
	if index == 0 || n-most > from || !v.mayFill(rendition, n) {
		return n
	}
	to := n + most
	for i := range cfg.Generations {
		if g := &cfg.Generations[i]; g.From > n && g.Renewed(rendition) != nil {
			to = min(to, g.From-1)
		}
	}
	return to
}

// FillsFromBehind reports whether a segment after it may stand in for one.
func (v *View) FillsFromBehind(rendition string, n live.Number) bool {
	return v.fillsTo(rendition, n) > n
}

// Fills reports whether segment m may stand in for n.
func (v *View) Fills(rendition string, m, n live.Number) bool {
	return m < n && m >= v.fillsFrom(rendition, n) || m > n && m <= v.fillsTo(rendition, n)
}

// StandIn is what stands in for a segment that is lost: what serves, or would, of
// the nearest before it, and at the beginning of a generation, where none is, of the
// nearest behind it. With ok false it is a gap. from is the first of those right before
// n of which none can serve, as is known here; n where there is no such.
func (e *Event) StandIn(v *View, rendition string, n live.Number, absent map[live.Digest]bool, now time.Time) (c Choice, from live.Number, ok bool) {
	from = v.fillsFrom(rendition, n)
	for m := n - 1; m >= from; m-- {
		if c = e.Choose(v, rendition, m, absent, now); c.Action == selection.Serve {
			return c, m + 1, true
		}
	}
	newest, _ := e.Newest(rendition)
	for m := n + 1; m <= min(newest, v.fillsTo(rendition, n)); m++ {
		if c = e.Choose(v, rendition, m, absent, now); c.Action == selection.Serve {
			return c, from, true
		}
	}
	return Choice{}, from, false
}
