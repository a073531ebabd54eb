package packager

import (
	"headwater/cmaf"
	"headwater/live"
)

// A sample is one sample of a track with its bytes. Decode is in the event's
// media time.
type sample struct {
	cmaf.Sample
	data   []byte
	events []cmaf.Event   // messages that came before it
	whole  *wholeFragment // set where it must stay with the others of its fragment
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
	dropped   func(reason string, n live.Number)
	misfit    func(gop int64) // key frames come so often, which is not when segments begin

	begun     bool
	anew      bool // the encoder began anew
	number    live.Number
	why       string // the segment being gathered is dropped for this reason, "" for none
	needSync  bool   // after a jump: drop up to the next key frame
	lost      int    // samples of number that were not gathered
	lostTicks int64  // how long they last
	warned    bool   // that they are dropped has been said
	sync      bool   // the last sample was one, before what is held
	gathered  []sample
	held      *sample      // a key frame before the boundary: does a nearer one follow?
	next      int64        // decode time that follows on the last sample
	shown     int64        // latest end of presentation gathered
	bytes     int64        // held in memory
	told      []cmaf.Event // for the next sample that is gathered
	keys      keyFrames
}

func (c *cutter) video() bool { return c.rendition.Type == live.Video }

func (c *cutter) grid() grid { return grid{c.timeline(), c.track, c.rendition.Type} }

func (c *cutter) position() position {
	return position{begun: c.begun, anew: c.anew, number: c.number, empty: len(c.gathered) == 0, next: c.next, sync: c.sync}
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
		c.apply(h, c.grid().after(c.position(), h))
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
		g := c.grid()
		n, _ := g.place(&s)
		b := g.boundary(n+1) + c.track.EditOffset - int64(s.Composition)
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

// one takes one sample: the grid decides, apply does it.
func (c *cutter) one(s *sample) {
	if h := c.held; h != nil {
		c.held = nil
		c.apply(h, c.grid().settle(c.position(), h, s))
	}
	f := c.grid().fate(c.position(), s)
	c.anew = false
	c.apply(s, f)
}

func (c *cutter) apply(s *sample, f fate) {
	switch f.what {
	case waits:
		c.held = s
		c.advance(s)
		return
	case begins:
		c.finish()
		c.begin(f)
	}
	c.gather(s)
}

// A keyFrames says how far apart those of a track are, and how many segments in a row
// began without one.
type keyFrames struct {
	seen        bool
	last, apart int64 // decode time of the newest; 0: not known
	without     int
	told        bool
}

// toldAfter is how many segments in a row are no accident.
const toldAfter = 3

// pass takes note of a sample of video, which may begin a segment. It reports whether that
// they do not begin with key frames is to be said: it is once.
func (k *keyFrames) pass(s *sample, begins bool) (tell bool) {
	if s.Sync {
		if k.seen {
			k.apart = s.Decode - k.last
		}
		k.seen, k.last = true, s.Decode
	}
	switch {
	case begins && s.Sync:
		k.without = 0
	case begins:
		k.without++
	}
	tell = k.without >= toldAfter && k.apart > 0 && !k.told
	k.told = k.told || tell
	return tell
}

func (c *cutter) begin(f fate) {
	c.begun, c.number, c.why, c.needSync, c.shown = true, f.number, f.drop, f.needSync, 0
}

func (c *cutter) gather(s *sample) {
	c.advance(s)
	c.sync = s.Sync
	switch {
	case c.why != "":
		c.lose(s)
		return
	case c.needSync && !s.Sync:
		c.lost++
		return
	}
	c.needSync = false
	if c.video() && c.keys.pass(s, len(c.gathered) == 0) && c.misfit != nil {
		c.misfit(c.keys.apart)
	}
	if end := presentation(s.Sample, c.track) + int64(s.Duration); len(c.gathered) == 0 || end > c.shown {
		c.shown = end
	}
	s.events, c.told = c.told, nil
	for i := range s.events {
		c.bytes += int64(len(s.events[i].Data)) + sampleOverhead
	}
	c.gathered = append(c.gathered, *s)
	c.bytes += int64(len(s.data)) + sampleOverhead
}

// A decoder's first frames come before what they are needed for: an encoder that
// begins with the event may give so many, or so many milliseconds, before it.
const (
	primingFrames = 2
	primingMS     = 100
)

// lose leaves a sample out, and says so once for each segment.
func (c *cutter) lose(s *sample) {
	c.lost++
	c.lostTicks += int64(s.Duration)
	if !c.warned && (c.lost > primingFrames || c.lostTicks*1000 > primingMS*int64(c.track.Timescale)) {
		c.warned = true
		c.dropped(c.why, c.number)
	}
}

func (c *cutter) advance(s *sample) { c.next = s.Decode + int64(s.Duration) }

// sampleOverhead is about what a gathered sample costs besides its bytes.
const sampleOverhead = 96

// finish emits what was gathered.
func (c *cutter) finish() {
	switch {
	case len(c.gathered) > 0:
		c.emit(c, c.number, c.gathered)
	case c.lost > 0 && c.why == "":
		c.dropped(DropNoKeyframe, c.number)
	}
	c.gathered, c.bytes = nil, 0
	c.lost, c.lostTicks, c.warned = 0, 0, false
}

// flush emits all that is left: the input has ended, or another begins.
func (c *cutter) flush() {
	if h := c.held; h != nil {
		c.held = nil
		c.apply(h, c.grid().settle(c.position(), h, nil))
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
	g := c.grid()
	b := g.boundary(c.number + 1)
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
	c.begin(g.begins(c.number + 1))
}

// past reports whether all further samples are after the event's end.
func (c *cutter) past() bool {
	tl := c.timeline()
	last, ok := tl.Last()
	return ok && c.begun && c.number > last
}
