package packager

import (
	"headwater/cmaf"
	"headwater/live"
)

// A sample is one sample of a track with its bytes. Decode is in the event's
// media time.
type sample struct {
	cmaf.Sample
	data  []byte
	whole *wholeFragment // set where it must stay with the others of its fragment
}

// A wholeFragment is a fragment that is written as it came.
type wholeFragment struct {
	part  *cmaf.Part
	track *cmaf.TrackFragment
}

// A cutter cuts one track into the segments of its rendition. It reads no
// clock: the same samples give the same segments, wherever their fragments
// begin and end.
//
// Segment n+1 begins at the first sample that is presented at or after its
// template boundary. For video it is the key frame nearest to the boundary,
// within one frame; a boundary without a key frame is cut anyway, at the first
// sample that decodes at or after it, and inspection will say no-keyframe.
type cutter struct {
	rendition live.Rendition
	track     *cmaf.Track // rewritten to be the only one
	timeline  func() live.Timeline
	emit      func(c *cutter, n live.Number, samples []sample)
	dropped   func(reason string)

	begun    bool
	anew     bool // the encoder began anew
	number   live.Number
	discard  bool // of the segment being gathered: it is not whole, or not of the event
	needSync bool // after a jump: drop up to the next key frame
	gathered []sample
	held     *sample // a key frame before the boundary: does a nearer one follow?
	next     int64   // decode time that follows on the last sample
	shown    int64   // latest end of presentation gathered
	bytes    int64   // held in memory
}

func (c *cutter) video() bool { return c.rendition.Type == live.Video }

func (c *cutter) boundary(n live.Number) int64 {
	tl := c.timeline()
	// The end of the one before: so it is right for First-1 too.
	_, end := tl.Media(n-1, int64(c.track.Timescale))
	return end
}

// from reports how far a sample is from a boundary: by presentation or decode
// time, whichever is nearer. Encoders that reorder frames differ in which of
// the two they align. Of other than video it is presentation time.
func (c *cutter) from(s *sample, boundary int64) int64 {
	p := presentation(s.Sample, c.track) - boundary
	if d := s.Decode - boundary; c.video() && abs(d) < abs(p) {
		return d
	}
	return p
}

// near reports whether a sample is a key frame within a frame of a boundary.
// The tick is for boundaries that were rounded down.
func (c *cutter) near(s *sample, boundary int64) bool {
	return s.Sync && abs(c.from(s, boundary)) <= int64(s.Duration)+1
}

// place is the number of the segment that a sample is in when nothing is known
// of those before it, and whether it is the first sample of it.
func (c *cutter) place(s *sample) (n live.Number, first bool) {
	tl, scale := c.timeline(), int64(c.track.Timescale)
	shown := presentation(s.Sample, c.track)
	if !c.video() {
		n = tl.NumberHolding(shown, scale)
		start := c.boundary(n)
		return n, n >= tl.First() && shown >= start && shown-int64(s.Duration) < start
	}
	for _, at := range [...]int64{shown, s.Decode} {
		if n = tl.NumberNear(at, scale); n >= tl.First() && c.near(s, c.boundary(n)) {
			return n, true
		}
	}
	return tl.NumberHolding(s.Decode, scale), false
}

// add takes the samples of one fragment, in decode order, and emits what they
// complete.
func (c *cutter) add(samples []sample) {
	for i := range samples {
		if c.rendition.Type == live.Text {
			c.text(samples[i])
		} else {
			c.one(&samples[i])
		}
	}
	c.early(samples)
}

// addWhole is add for a fragment whose samples must stay together: its first
// sample decides.
func (c *cutter) addWhole(samples []sample) {
	c.one(&samples[0])
	if h := c.held; h != nil {
		c.held = nil
		c.cut(h)
	}
	for i := range samples[1:] {
		c.gather(&samples[1+i])
	}
	c.early(samples)
}

// text takes a sample of text. One that lasts beyond the boundary is repeated
// in the next segment, so that each can be shown by itself (ISO/IEC 14496-30).
func (c *cutter) text(s sample) {
	for range maxRepeats {
		n, _ := c.place(&s)
		b := c.boundary(n+1) + c.track.EditOffset - int64(s.Composition)
		if s.Decode+int64(s.Duration) <= b || b <= s.Decode {
			break
		}
		piece := s
		piece.Duration = uint32(b - s.Decode)
		c.one(&piece)
		s.Decode, s.Duration = b, s.Duration-piece.Duration
	}
	c.one(&s)
}

// maxRepeats bounds in how many segments one sample of text is repeated.
const maxRepeats = 1000

func (c *cutter) one(s *sample) {
	if h := c.held; h != nil {
		c.held = nil
		b := c.boundary(c.number + 1)
		if s.Decode == c.next && s.Sync && abs(c.from(s, b)) < abs(c.from(h, b)) {
			c.gather(h)
		} else {
			c.cut(h)
		}
	}
	if c.anew {
		c.anew = false
		// What it gives belongs to what is gathered, or is a first segment like
		// that of any stream.
		if n, _ := c.place(s); c.begun && (n != c.number || len(c.gathered) == 0) {
			c.finish()
			c.begun = false
		}
	}
	switch {
	case !c.begun:
		n, first := c.place(s)
		c.begin(n)
		c.begun = true
		if !first {
			c.discard = true
			if tl := c.timeline(); tl.Holds(n) {
				c.dropped(DropPartial)
			}
		}
	case s.Decode < c.next-c.tolerance() || s.Decode > c.next+c.tolerance():
		c.jump(s)
	default:
		b := c.boundary(c.number + 1)
		if c.video() && c.near(s, b) {
			if d := c.from(s, b); d < 0 && -2*d > int64(s.Duration) {
				c.held = s
				c.advance(s)
				return
			}
			c.cut(s)
			return
		}
		at := s.Decode
		if !c.video() {
			at = presentation(s.Sample, c.track)
		}
		if at >= b {
			c.cut(s)
			return
		}
	}
	c.gather(s)
}

// tolerance is what decode times may be off without being a jump: muxers round
// to a millisecond.
func (c *cutter) tolerance() int64 { return int64(c.track.Timescale)/1000 + 1 }

// jump takes a sample that does not follow on the last: samples were lost, or
// the encoder began anew.
func (c *cutter) jump(s *sample) {
	n, _ := c.place(s)
	if n == c.number {
		return // a hole, or an overlap, that stays inside
	}
	c.finish()
	c.begin(n)
	c.needSync = c.video()
}

// cut ends the segment before s, which begins the next.
func (c *cutter) cut(s *sample) {
	n, _ := c.place(s)
	c.finish()
	c.begin(max(n, c.number+1))
	c.gather(s)
}

func (c *cutter) begin(n live.Number) {
	c.number, c.discard, c.needSync, c.shown = n, false, false, 0
	tl := c.timeline()
	if !tl.Holds(n) {
		c.discard = true
	}
}

func (c *cutter) gather(s *sample) {
	c.advance(s)
	if c.discard {
		return
	}
	if c.needSync && !s.Sync {
		return
	}
	c.needSync = false
	if end := presentation(s.Sample, c.track) + int64(s.Duration); len(c.gathered) == 0 || end > c.shown {
		c.shown = end
	}
	c.gathered = append(c.gathered, *s)
	c.bytes += int64(len(s.data)) + sampleOverhead
}

func (c *cutter) advance(s *sample) { c.next = s.Decode + int64(s.Duration) }

// sampleOverhead is about what a gathered sample costs besides its bytes.
const sampleOverhead = 96

// finish emits what was gathered.
func (c *cutter) finish() {
	if len(c.gathered) > 0 {
		c.emit(c, c.number, c.gathered)
	}
	c.gathered, c.bytes = nil, 0
}

// flush emits all that is left: the input has ended, or another begins.
func (c *cutter) flush() {
	if c.held != nil {
		c.cut(c.held)
		c.held = nil
	}
	c.finish()
	c.begun = false
}

// early emits the segment whose last sample has just been added, without
// waiting for the first of the next one, which can be a GOP away: encoders that
// write a fragment per GOP do so when the next key frame is there. fragment is
// what was added last. That one which begins with a key frame and ends within
// half a frame before the boundary holds a whole GOP is a guess; where it is
// wrong the next sample still is the nearest to the boundary.
func (c *cutter) early(fragment []sample) {
	if !c.begun || c.held != nil || len(c.gathered) == 0 {
		return
	}
	b := c.boundary(c.number + 1)
	last := c.gathered[len(c.gathered)-1]
	f := int64(last.Duration)
	switch {
	case !c.video():
		if c.next-c.track.EditOffset < b {
			return
		}
	case c.next >= b:
	case len(fragment) < 2 || !fragment[0].Sync || fragment[len(fragment)-1].Sync:
		return
	case 2*(b-c.next) > f+2 && 2*abs(b-c.shown) > f+2:
		return
	}
	c.finish()
	c.begin(c.number + 1)
}

// past reports whether all further samples are after the event's end.
func (c *cutter) past() bool {
	tl := c.timeline()
	last, ok := tl.Last()
	return ok && c.begun && c.number > last
}

func abs(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}
