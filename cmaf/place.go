package cmaf

import "headwater/live"

// textTolerance is for text what one frame is for video, in milliseconds.
const textTolerance = 100

// maxLeading bounds how many pictures may be shown before the key frame that
// they follow in decode order.
const maxLeading = 16

// presented walks the samples once more, in the order in which they are shown,
// where that is not the order in which they decode.
func (in *inspection) presented(seg []byte) error {
	in.moved = in.key
	if in.text || in.samples == 0 || in.wrongTrack || in.mismatch || in.foreign != "" || !in.shifted && !in.backwards {
		return nil
	}
	frame, constant := in.durations.typical()
	if constant {
		in.order.frame = int64(frame)
	}
	// What is shown after the end of the segment, or where that would be if it
	// is late as a whole, leaves holes that nobody waits for.
	w := in.window
	in.order.from, in.order.to = in.first, max(w.End, in.first+w.End-w.Start)
	fresh := in.order
	if err := in.arrange(seg); err != nil {
		return err
	}
	if o := &in.order; !o.doubled || o.holes != 1 || in.access == accessClosed {
		return nil
	}
	// ffmpeg's dash and hls muxers (5.1) say of a key frame behind which leading
	// pictures come that it is shown when the first of those is. It plays, and
	// where it belongs is free.
	before := in.order
	in.moved, in.order = before.holeAt, fresh
	if err := in.arrange(seg); err != nil {
		return err
	}
	if in.order.doubled || in.order.holes > 0 {
		in.moved, in.order = in.key, before
	}
	return nil
}

// arrange fills order, the first sample being shown at moved.
func (in *inspection) arrange(seg []byte) error {
	in.arranged = false
	for s := (scanner{rest: seg}); s.more(); {
		x, err := s.next()
		if err != nil {
			return err
		}
		if x.Type != boxMoof {
			continue
		}
		in.rest = s
		if err := in.presentedMoof(x); err != nil {
			return err
		}
	}
	in.order.end()
	return nil
}

func (in *inspection) presentedMoof(x Box) error {
	for s := x.children(0); s.more(); {
		c, err := s.next()
		if err != nil {
			return err
		}
		if c.Type != boxTraf {
			continue
		}
		f, err := parseTraf(c, x.Offset, x.Offset)
		if err != nil {
			return err
		}
		f.inherit(in.track)
		decode := f.decode
		for s := f.runs; s.more(); {
			c, err := s.next()
			if err != nil {
				return err
			}
			if c.Type != boxTrun {
				continue
			}
			r, err := f.parseRun(c, 0)
			if err != nil {
				return err
			}
			decode = in.presentedRun(&f, &r, decode)
		}
	}
	return nil
}

func (in *inspection) presentedRun(f *trackFragment, r *sampleRun, decode int64) (next int64) {
	if r.stride == 0 && r.count > 0 {
		in.arranged = true
		duration := int64(r.duration)
		if duration == 0 {
			duration = in.duration(f)
		}
		at := decode + in.shift(0)
		next = decode + int64(r.count)*duration
		in.order.add(shown{at, at + int64(r.count-1)*duration})
		return next
	}
	for i := range int(r.count) {
		ticks, _, _, composition := r.sample(i)
		duration := int64(ticks)
		if duration == 0 {
			duration = in.duration(f)
		}
		at := decode + in.shift(composition)
		if !in.arranged {
			at, in.arranged = in.moved, true
		}
		in.order.add(shown{at, at})
		decode += duration
	}
	return decode
}

// A placing says where a segment lies beside the grid and the segment before.
// All is in ticks of presentation time.
type placing struct {
	start, end   int64 // of the window
	first, last  int64 // of the segment
	frame        int64 // what a sample lasts
	key          int64 // when the first sample is shown
	lead         int64 // how long pictures may be shown before the next key frame
	slack        int64 // what may lack at the end of audio that is not cut on the grid
	rounding     int64
	before       int64 // where the segment before ends,
	known, whole bool  // that is known, and it is about as long as it should be
	expected     int64 // where it ends if it is made as long
}

// place judges where the segment lies, and returns remarks.
//
// The grid is where segments are meant to lie, to within a frame. What really
// is missing or doubled is seen beside the segment before, and in the duration:
//
//   - A segment of about the nominal duration (to within a frame and rounding)
//     lacks nothing, wherever it lies, up to half a segment off. It is off-grid
//     where it is off by a tenth of a segment or more. That costs nothing.
//   - Where the end of the segment before is known, a segment that begins there
//     has lost nothing at its start, whatever its duration. One that begins
//     later than that by more than half a frame, and later than the grid, has a
//     gap; one that begins earlier than both overlaps.
//   - Where it is not known, what begins and ends off the grid is a gap as far as
//     the segment is too short for it, or an overlap where it is too long.
//   - What lacks in duration besides is short. Not, however, where that may be
//     pictures that are shown before the next key frame and come behind it
//     (leading pictures), nor up to a tenth of a segment of audio where the
//     segment before is not known, or does not end on the grid either: encoders
//     cut their first so, and muxers all that lies beside video that they cut.
//   - A segment that begins half a segment off the grid or more is judged by the
//     grid alone: gap and short cost the difference. One that lies wholly
//     outside its window costs all of it, as gap or overlap.
func (in *inspection) place(b *bill, frame int64) live.Findings {
	w := in.window
	p := placing{start: w.Start, end: w.End, first: in.first, last: in.last, key: in.moved, frame: frame, rounding: in.tick()}
	if in.track.EditOffset > 0 && p.first < 0 {
		p.first = min(0, p.last) // what an edit list cuts off is not shown
	}
	tolerance := frame
	if in.text {
		tolerance = int64(in.track.Timescale) * textTolerance / 1000
	}
	switch {
	case in.samples == 0 && !in.text:
		b.all(live.Short)
		return nil
	case p.first >= w.End && p.first-w.Start > tolerance:
		b.all(live.Gap)
		return nil
	case p.last <= w.Start && p.first < w.Start && w.Start < w.End && w.End-p.last > tolerance:
		b.all(live.Overlap)
		return nil
	case in.text:
		if w.Start-p.first > tolerance || p.last-w.End > tolerance || in.backwards {
			b.add(live.Overlap, 0, 0)
		}
		return nil
	}
	p.neighbour(w.Previous, int64(in.track.Timescale))
	// Behind a picture that leaves none before it, neither will the next one.
	closed := in.access == accessClosed && p.known && abs(p.first-p.before)*2 <= frame
	if in.track.Type == live.Video && in.order.holes == 0 && in.holes == 0 && !closed {
		p.lead = max(0, min(in.latest-(in.first-in.start), maxLeading*frame, (w.End-w.Start)/2))
	}
	if in.track.Type == live.Audio && (!p.known || abs(p.before-p.start) > p.tolerance()) {
		p.slack = (w.End - w.Start) / 10
	}
	gap, short, overlap, off := p.judge()
	in.outside = gap + short
	if gap > 0 {
		b.add(live.Gap, gap, 0)
	}
	if short > 0 {
		b.add(live.Short, short, 0)
	}
	if overlap || in.backwards || in.order.doubled {
		b.add(live.Overlap, 0, 0)
	}
	if off > 0 {
		return live.Findings{{Kind: live.OffGrid, OffMS: milliseconds(off, in.track.Timescale)}}
	}
	return nil
}

// neighbour takes in what is known of the segment before.
func (p *placing) neighbour(s live.Span, timescale int64) {
	if s.Timescale != timescale || s.End < s.Start || s.Start < -maxTime || s.End > maxTime {
		return
	}
	p.known, p.before, p.expected = true, s.End, s.Start+p.nominal()
	lack := p.nominal() - (s.End - s.Start)
	p.whole = abs(lack) <= p.tolerance()
}

func (p *placing) nominal() int64 { return p.end - p.start }

// tolerance is what the duration of a whole segment may be off.
func (p *placing) tolerance() int64 { return p.frame + p.rounding }

// judge says how much is missing before and behind, whether something is
// doubled, and how far off the grid the segment lies where it is whole.
func (p *placing) judge() (gap, short int64, overlap bool, off int64) {
	late, over := p.first-p.start, p.last-p.end
	if abs(late)*2 >= p.nominal() {
		return above(late, p.frame), above(-over, p.frame), -late > p.frame || over > p.frame, 0
	}
	lack, excess := late-over, over-late // of the nominal duration
	if p.known {
		switch from := p.from(late); {
		case late*2 > p.frame && (p.first-from)*2 > p.frame:
			gap = p.first - from
			overlap = p.last-from-p.nominal() > p.tolerance() // late as a whole
			lack -= gap
		case -late*2 > p.frame && (p.before-p.first)*2 > p.frame:
			overlap = true
			lack = max(lack, from+p.nominal()-p.last) // early as a whole
		}
		if !p.whole {
			lack = min(lack, -over) // the other was longer
		}
	} else {
		if late > p.frame && lack > p.tolerance() {
			gap = min(late, lack)
			lack -= gap
		}
		overlap = -late > p.frame+p.lead && excess > p.tolerance()
	}
	displaced := gap > 0 || p.known && overlap
	overlap = overlap || over > p.tolerance() && excess > p.tolerance()
	short = above(lack, max(p.tolerance()+p.lead, p.slack))
	if displaced {
		return gap, short, overlap, 0
	}
	off = min(abs(late), abs(p.key-p.start))
	if short == 0 && !overlap {
		off = max(off, over, -over-p.lead)
	}
	return 0, short, overlap, above(off, p.nominal()/10-1)
}

// from is where the segment should begin, by what is known of the one before.
func (p *placing) from(late int64) int64 {
	switch {
	case abs(p.first-p.before)*2 <= p.frame:
		return p.first
	case p.whole:
		return p.before
	case abs(p.first-p.expected)*2 <= p.frame && late < p.nominal()/10:
		return p.first // what lacks before is the other's: this one keeps its place
	}
	return max(p.before, p.start)
}

// above is v where it is more than limit, else 0.
func above(v, limit int64) int64 {
	if v > limit {
		return v
	}
	return 0
}

func abs(v int64) int64 { return max(v, -v) }
