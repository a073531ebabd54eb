package packager

import (
	"headwater/cmaf"
	"headwater/live"
)

// A grid says where the segments of one track begin and end. It is a value: all
// its answers follow from it and from what they are asked about.
//
// Segment n+1 begins at the first sample that is presented at or after its
// template boundary. For video it is the key frame nearest to the boundary,
// within one frame; a boundary without a key frame is cut anyway, at the first
// sample that decodes at or after it, and inspection will say no-keyframe.
type grid struct {
	tl    live.Timeline
	track *cmaf.Track
	typ   live.MediaType
}

// A position is where a cutter is in its track.
type position struct {
	begun  bool
	anew   bool // the encoder began anew, and this is its first sample
	number live.Number
	empty  bool  // nothing is gathered for number
	next   int64 // decode time that follows on the last sample
	sync   bool  // the sample before was a key frame
}

// A fate is what becomes of a sample.
type fate struct {
	what     what
	number   live.Number // begins: of this segment
	drop     string      // begins: which is dropped for this reason
	needSync bool        // begins: up to the next key frame nothing can be shown
}

type what uint8

const (
	joins  what = iota // the segment that is being gathered
	waits              // a key frame before the boundary: does a nearer one follow?
	begins             // a segment
)

// fate decides about a sample that comes after those of a position.
func (g grid) fate(p position, s *sample) fate {
	n, first := g.place(s)
	if p.anew && (n != p.number || p.empty) {
		p.begun = false // a first segment like that of any stream
	}
	if !p.begun {
		f := g.begins(n)
		if f.drop == "" && !first {
			f.drop = DropPartial
		}
		return f
	}
	if t := g.tolerance(); s.Decode < p.next-t || s.Decode > p.next+t {
		if n == p.number {
			return fate{what: joins} // a hole, or an overlap, that stays inside
		}
		f := g.begins(n)
		f.needSync = g.video()
		return f
	}
	b, at := g.boundary(p.number+1), s.Decode
	if !g.video() {
		at = presentation(s.Sample, g.track)
	}
	switch {
	case g.video() && g.near(s, b):
		if d := g.from(s, b); d < 0 && -2*d > int64(s.Duration) {
			return fate{what: waits}
		}
	case at < b:
		return fate{what: joins}
	}
	return g.after(p, s)
}

// settle decides about a key frame that waited, when it is known what follows:
// nil is that nothing does. Then, where every frame is a key frame, one more
// would have been nearer, and this one is no segment of its own.
func (g grid) settle(p position, held, next *sample) fate {
	b := g.boundary(p.number + 1)
	switch {
	case next == nil && p.sync,
		next != nil && next.Decode == p.next && next.Sync && abs(g.from(next, b)) < abs(g.from(held, b)):
		return fate{what: joins}
	}
	return g.after(p, held)
}

// after is for a sample that ends the segment before it.
func (g grid) after(p position, s *sample) fate {
	n, _ := g.place(s)
	return g.begins(max(n, p.number+1))
}

// begins is for the first sample of a segment.
func (g grid) begins(n live.Number) fate {
	f := fate{what: begins, number: n}
	if !g.tl.Holds(n) {
		f.drop = DropOutside
	}
	return f
}

func (g grid) video() bool { return g.typ == live.Video }

// boundary is where segment n begins, in media time.
func (g grid) boundary(n live.Number) int64 {
	// The end of the one before: so it is right for First-1 too.
	_, end := g.tl.Media(n-1, int64(g.track.Timescale))
	return end
}

// from reports how far a sample is from a boundary: by presentation or decode
// time, whichever is nearer. Encoders that reorder frames differ in which of
// the two they align. Of other than video it is presentation time.
func (g grid) from(s *sample, boundary int64) int64 {
	p := presentation(s.Sample, g.track) - boundary
	if d := s.Decode - boundary; g.video() && abs(d) < abs(p) {
		return d
	}
	return p
}

// near reports whether a sample is a key frame within a frame of a boundary.
// The tick is for boundaries that were rounded down.
func (g grid) near(s *sample, boundary int64) bool {
	return s.Sync && abs(g.from(s, boundary)) <= int64(s.Duration)+1
}

// place is the number of the segment that a sample is in when nothing is known
// of those before it, and whether it is the first sample of it.
func (g grid) place(s *sample) (n live.Number, first bool) {
	scale := int64(g.track.Timescale)
	shown := presentation(s.Sample, g.track)
	if !g.video() {
		n = g.tl.NumberHolding(shown, scale)
		start := g.boundary(n)
		return n, n >= g.tl.First() && shown >= start && shown-int64(s.Duration) < start
	}
	for _, at := range [...]int64{shown, s.Decode} {
		if n = g.tl.NumberNear(at, scale); n >= g.tl.First() && g.near(s, g.boundary(n)) {
			return n, true
		}
	}
	return g.tl.NumberHolding(s.Decode, scale), false
}

// tolerance is what decode times may be off without being a jump: muxers round
// to a millisecond.
func (g grid) tolerance() int64 { return int64(g.track.Timescale)/1000 + 1 }

func abs(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}
