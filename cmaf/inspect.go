package cmaf

import (
	"fmt"

	"headwater/live"
)

// A Window is where the template wants a segment to lie.
type Window struct {
	// Start and End are the boundaries in the track's timescale: the exact
	// rational average, rounded down.
	Start, End int64
	SegmentMS  int64 // nominal duration, milliseconds
	// Previous is where the segment before lies, of the same pipeline; the zero
	// Span where that is not known. One in another timescale is not looked at.
	Previous live.Span
}

// A Report is what Inspect found.
type Report struct {
	Findings live.Findings // empty for a clean segment
	// Span is where the segment lies as it is shown: from the earliest sample to
	// the latest end of one. Not known where the bytes are unparsable, and of a
	// segment without samples.
	Span          live.Span
	Samples       int
	Keyframe      bool   // the first sample is a sync sample
	Fragments     int    // moof boxes
	FrameDuration uint32 // the most common sample duration, in the track's timescale
	// Events are its event messages, as far as they can be read. Data is of the segment.
	Events []Event
	// Foreign says what does not fit the init segment, where that is found.
	Foreign string
}

// Inspect reads a media segment of track t and says what is wrong with it. It
// reads boxes, sample tables and the heads of samples, in time linear in the
// bytes of the first two, whatever they claim, and in constant memory for up to
// 128 mdat boxes.
//
// An error means that the bytes are not a well-formed segment and must be
// refused: it wraps ErrNotCMAF for another format (415) and ErrMalformed for
// broken boxes (400), and names the box and its offset. The Report then holds
// the one finding Unparsable. All else is a finding. Costs add up to no more
// than SegmentMS; a fatal finding costs all of it and stands alone.
//
// All is judged as it is shown: by decode time, composition offset (of either
// sign, in both versions of trun) and edit list. F is the most common duration
// of the segment's samples:
//
//   - gap, short, overlap, off-grid: where the segment lies. See placing.
//   - missing-samples: samples without data, or with data outside of the mdat
//     boxes; holes in decode time of more than a millisecond (or a tick, if that
//     is longer); and, where more than half of the samples last F, give or take
//     an eighth, more than 1.5 F between two samples as they are shown, or for
//     one sample: there a muxer stretched one over frames that are missing.
//     Where no such majority exists the frame rate is variable, and durations
//     are not judged.
//   - overlap also where decode time runs backwards inside, or two samples are
//     shown at one time.
//   - no-keyframe: video that does not begin with a sync sample. It costs what
//     is shown before the first one: nobody can begin to decode before that. A
//     sample that says it is one and is none is none: AVC's are IDR pictures or
//     intra pictures, HEVC's and VVC's IDR, CRA or BLA, AV1's, VP9's and VP8's key
//     frames. Where only some samples say so, a later one that lies costs nothing.
//   - open-gop, a remark: it begins with an intra picture that is no IDR, a CRA or
//     a BLA, and pictures are shown before that.
//   - wrong-track: a fragment is of another track than t.
//   - init-mismatch: a fragment names a sample entry that t does not have, is
//     encrypted where t is not, or its samples are of another encode or codec:
//     NAL units (OBUs, frames) that do not fill a sample or that the codec does
//     not have, parameter sets that contradict those of the entry (size, profile,
//     depth) whether it allows any inside of samples or not, slices that name a
//     picture parameter set that is nowhere or lie outside of the picture, sound
//     without the codec's sync word (AC-3, E-AC-3, FLAC) or, of AAC, with that of
//     ADTS.
//
// Of the samples' bytes only the headers of NAL units are read, of at most 5,120,
// and the first of the first sample and of sync samples. Of encrypted samples
// what is in the clear, of the first sample of a fragment.
//
// A sample duration of 0 is not known: it is what is left up to the next
// fragment, of the last one the most common duration.
//
// Text (wvtt, stpp) may be sparse, and one sample may last as long as the
// segment: for it only overlap is judged, to within 100 ms, whether it lies
// wholly outside the window, and whether samples that have data have it inside
// of the mdat boxes.
//
// Event messages that are cut off, or more than MaxEvents of them, are malformed: not
// all players look where they read.
//
// Data that would lie past the end of the segment is malformed, like a box
// that runs past it: a player would wait for those bytes, and take them from
// the segment that comes next. So are more samples than the segment has bytes.
func Inspect(seg []byte, t *Track, w Window) (Report, error) {
	in := inspection{track: t, window: w, text: t.Type == live.Text, keyUnits: maxKeyUnits, otherUnits: maxOtherUnits}
	if err := in.read(seg); err != nil {
		return Report{Findings: live.Findings{{Kind: live.Unparsable, MissingMS: max(w.SegmentMS, 0)}}}, err
	}
	if err := in.presented(seg); err != nil {
		panic(err) // read has read the same boxes
	}
	r := in.report()
	r.Events = in.events
	return r, nil
}

// An inspection is the state of one Inspect.
type inspection struct {
	track  *Track
	window Window
	text   bool
	seg    []byte

	// Payloads of mdat boxes, in order: the first of them here, so that a
	// segment of usual make allocates nothing.
	mdats     [128]extent
	mdatCount int
	mdatsMore []extent

	events     []Event
	messages   int // emsg boxes
	fragments  int
	wrongTrack bool
	mismatch   bool
	foreign    string // what does not fit the init segment
	sets       setIDs // picture parameter sets inside of samples
	keyUnits   int    // how many NAL units may still be looked at: of the first
	otherUnits int    // and of sync samples, and of others

	rest scanner // what follows the moof that is being read

	samples    int64
	claims     int64 // bytes that samples say are theirs
	start, end int64 // decode: earliest begin, latest end
	durations  histogram

	// As it is shown: the first sample, the earliest begin, the latest end.
	key, first, last int64
	latest           int64 // most that a sample is shown after it decodes
	shifted          bool  // not all samples have one composition offset
	order            order
	moved            int64 // when the first sample is shown, rightly
	arranged         bool  // it is in order

	keyframe  bool   // the very first sample is sync,
	access    access // by its bytes it is this
	synced    bool   // a sync sample was seen,
	syncAt    int64  // the first one shown at this time
	flagged   int64  // samples that are sync by their flags,
	falseSync int64  // though nobody could begin to decode there

	holes       int64 // between trafs
	holeTicks   int64
	outside     int64 // what lacks before and behind, by presentation time
	lostSamples int64 // without data
	lostTicks   int64
	backwards   bool
}

// An extent is a range of bytes of the segment.
type extent struct{ begin, end int64 }

func (in *inspection) read(seg []byte) error {
	if err := Sniff(seg); err != nil {
		return err
	}
	in.seg = seg
	for s := (scanner{rest: seg}); s.more(); {
		x, err := s.next()
		if err != nil {
			return err
		}
		switch x.Type {
		case boxMoov:
			return notCMAF(x.Offset, "a media segment holds no movie box").in(boxMoov)
		case boxMdat:
			in.media(extent{x.Offset + int64(x.Header), x.End()})
		case boxMoof:
			in.fragments++
		case boxEmsg:
			if err := in.message(x); err != nil {
				return err
			}
		}
	}
	if in.fragments == 0 {
		return malformed(0, "no moof: not a media segment")
	}
	for s := (scanner{rest: seg}); s.more(); {
		x, err := s.next()
		if err != nil {
			return err
		}
		if x.Type == boxMoof {
			in.rest = s
			if err := in.moof(x); err != nil {
				return within(boxMoof, err)
			}
		}
	}
	return nil
}

func (in *inspection) moof(x Box) error {
	header, fragment := false, false
	follow := x.Offset
	for s := x.children(0); s.more(); {
		c, err := s.next()
		if err != nil {
			return err
		}
		switch c.Type {
		case boxMfhd:
			if _, _, _, err := c.full(4); err != nil {
				return err
			}
			header = true
		case boxTraf:
			fragment = true
			if follow, err = in.traf(c, x.Offset, follow); err != nil {
				return within(boxTraf, err)
			}
		}
	}
	switch {
	case !header:
		return malformed(x.Offset, "no mfhd")
	case !fragment:
		return malformed(x.Offset, "no traf")
	}
	return nil
}

func (in *inspection) traf(x Box, moof, follow int64) (int64, error) {
	f, err := parseTraf(x, moof, follow)
	if err != nil {
		return 0, err
	}
	ours := f.id == in.track.ID
	if !ours {
		in.wrongTrack = true
	} else {
		f.inherit(in.track)
	}
	if n := in.track.Descriptions; ours && n > 0 && (f.description < 1 || int64(f.description) > int64(n)) {
		in.mismatch = true
		in.refuse(fmt.Sprintf("sample entry %d of %d", f.description, n))
	}
	if ours && f.senc.Data != nil && !in.track.Encrypted {
		in.mismatch = true
		in.refuse("encrypted, which the init segment does not say")
	}
	decode, end := f.decode, f.base
	for s := f.runs; s.more(); {
		c, err := s.next()
		if err != nil {
			return 0, err
		}
		if c.Type != boxTrun {
			continue
		}
		r, err := f.parseRun(c, end)
		if err != nil {
			return 0, err
		}
		next, dataEnd := in.run(&f, &r, decode, ours)
		in.claims += max(dataEnd-r.data, 0)
		switch {
		case next > maxTime || next < 0:
			return 0, malformed(c.Offset, "impossible decode time after %d samples", r.count).in(boxTrun)
		case dataEnd > r.data && (r.data < 0 || dataEnd > int64(len(in.seg))):
			return 0, malformed(c.Offset, "data from %d to %d, in a segment of %d bytes", r.data, dataEnd, len(in.seg)).in(boxTrun)
		case in.claims > int64(len(in.seg)):
			return 0, malformed(c.Offset, "samples of more bytes than the segment has: they lie over each other").in(boxTrun)
		case int64(r.count) > int64(len(in.seg)): // without entries and without data: a mere claim
			return 0, malformed(c.Offset, "%d samples, in a segment of %d bytes", r.count, len(in.seg)).in(boxTrun)
		}
		decode, end = next, dataEnd
	}
	if ours && in.samples == 0 {
		in.start, in.end, in.first, in.last = f.decode, f.decode, f.decode, f.decode
	}
	return end, nil
}

// message reads an emsg box. One that does not hold what it says, or so many that
// each player would have to go through them, is no part of a segment.
func (in *inspection) message(x Box) error {
	if in.messages++; in.messages > MaxEvents {
		return malformed(x.Offset, "more than %d event messages", MaxEvents).in(x.Type)
	}
	e, ok, err := parseEvent(x)
	if ok {
		in.events = append(in.events, e)
	}
	return err
}

// media notes the payload of an mdat.
func (in *inspection) media(e extent) {
	if in.mdatCount < len(in.mdats) {
		in.mdats[in.mdatCount] = e
		in.mdatCount++
		return
	}
	in.mdatsMore = append(in.mdatsMore, e)
}

// holder is the mdat payload that byte at lies in, or nothing.
func (in *inspection) holder(at int64) extent {
	all := in.mdats[:in.mdatCount]
	if len(in.mdatsMore) > 0 && at >= in.mdatsMore[0].begin {
		all = in.mdatsMore
	}
	lo, hi := 0, len(all)
	for lo < hi {
		if mid := (lo + hi) / 2; all[mid].end <= at {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(all) && all[lo].begin <= at {
		return all[lo]
	}
	return extent{}
}
