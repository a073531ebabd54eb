package cmaf

import (
	"strings"

	"headwater/live"
)

// Filler makes a segment that stands in for one that is lost, out of one of the
// same track from before it, or from behind it: from is the window of that one, to that of
// the lost one, seq its sequence number. The same input gives the same bytes, wherever.
//
// It begins where the segment before ends, as far as that can be known: on src's
// grid of frames. What it shows:
//
//   - Video: src again. Where that is too short its last sample lasts longer.
//   - Sound: AAC-LC that is in the clear is silent, all other is src again, of as
//     many frames as the lost one has.
//   - Text that is in the clear: nothing.
//   - Encrypted samples stay as they are, each with its own vector and key.
//
// What is beside the media goes: events of src would happen twice, and its
// producer's times and index are of another segment.
//
// Errors wrap ErrMalformed: src has no samples that could be shown again, or they
// lie where no segment can.
//
// It calls pause before each piece of its work of some tens of microseconds; nil is
// none.
func Filler(src []byte, t *Track, from, to Window, seq uint32, pause func()) ([]byte, error) {
	if pause == nil {
		pause = func() {}
	}
	pause()
	f := filler{t: t, from: from, to: to}
	if t.Type == live.Text && !t.Encrypted {
		return f.text(seq)
	}
	if err := f.read(src); err != nil {
		return nil, err
	}
	start, end, err := f.place()
	if err != nil {
		return nil, err
	}
	switch {
	case f.whole:
		return f.shifted(src, seq, start-f.first)
	case t.Type != live.Audio:
		f.again(start, end)
	case t.silenceable():
		if err := f.silence(start, end); err != nil {
			return nil, err
		}
	default:
		f.repeat(start, end)
	}
	return f.segment(seq, pause), nil
}

// Again has a piece of a clip (ParseClip) stand in for a segment that is lost, as Filler
// does: to is the window of the lost one. Sound stays as it is.
func Again(piece []byte, t *Track, to Window, seq uint32, pause func()) ([]byte, error) {
	if pause == nil {
		pause = func() {}
	}
	pause()
	f := filler{t: t, to: to}
	if err := f.read(piece); err != nil {
		return nil, err
	}
	f.from = Window{Start: f.first, End: f.first + to.End - to.Start}
	start, end := to.Start, to.End
	if t.Type == live.Audio {
		start, end = f.begins(start), f.begins(end) // on its own grid of frames, so that pieces join
	}
	if decode := f.samples[0].Decode + start - f.first; f.whole || end <= start || end-start > maxFillerTicks || decode < 0 || end > maxTime {
		return nil, malformed(0, "from %d to %d is no place for a piece of a clip", start, end)
	}
	if t.Type == live.Audio {
		f.repeat(start, end)
	} else {
		f.move(start)
		f.last = start
		for i := range f.samples {
			f.last += int64(f.samples[i].Duration)
		}
		last := &f.samples[len(f.samples)-1]
		last.Duration = uint32(min(max(int64(last.Duration)+end-f.last, 1), maxFillerTicks)) // to where the next one begins
	}
	return f.segment(seq, pause), nil
}

// segment writes the samples that it has.
func (f *filler) segment(seq uint32, pause func()) []byte {
	size, asked := fillerHead+len(f.samples)*maxTrunEntry, 0
	for _, d := range f.data {
		size += len(d)
	}
	return AppendSegment(make([]byte, 0, size), seq, f.t, f.samples, func(i int) []byte {
		if asked += len(f.data[i]); asked >= fillerPiece {
			asked = 0
			pause()
		}
		return f.data[i]
	})
}

const (
	// fillerHead and maxTrunEntry are about what stands before and for samples, in
	// bytes.
	fillerHead, maxTrunEntry = 512, 16
	// fillerPiece is copied at once, in bytes.
	fillerPiece = 256 << 10
)

// A filler is one that is being made.
type filler struct {
	t        *Track
	from, to Window

	parts       []Part // of src, a fragment each
	whole       bool   // that must stay as they are
	samples     []Sample
	data        [][]byte
	frame       int64 // the usual duration of a sample
	first, last int64 // from where to where they are shown
}

const (
	// maxFillerFrames is what a minute of 192 kHz and frames of 960 has.
	maxFillerFrames = 12_000
	// maxFillerGrowth bounds how much larger than its source a filler can get that
	// repeats the frames of a source that has lost some.
	maxFillerGrowth = 4
)

// read takes the samples of the track that have data, one after the other without
// holes.
func (f *filler) read(src []byte) error {
	in, left := &Init{Tracks: []Track{*f.t}}, maxPlainSamples
	for s := (scanner{rest: src}); s.more(); {
		x, err := s.next()
		if err != nil {
			return err
		}
		if x.Type != boxMoof {
			continue
		}
		moof, err := ParseFragment(x.Data, in, x.Offset, int64(len(src))-x.End())
		if err != nil {
			return err
		}
		for i := range moof.Tracks {
			left -= len(moof.Tracks[i].Samples)
		}
		if left < 0 {
			return malformed(x.Offset, "more than %d samples", maxPlainSamples)
		}
		f.parts = append(f.parts, Part{Fragment: moof, Raw: src[x.Offset:]})
	}
	room := len(src)
	for i := range f.parts {
		p := &f.parts[i]
		for k := range p.Fragment.Tracks {
			tf := &p.Fragment.Tracks[k]
			if tf.ID != f.t.ID {
				return malformed(0, "a fragment of track %d, not %d", tf.ID, f.t.ID)
			}
			f.whole = f.whole || tf.Whole
			for _, s := range tf.Samples {
				d := p.Data(s)
				if len(d) == 0 {
					continue
				}
				// Several may say that the same bytes are theirs: what is made would be far larger than the segment.
				if room -= len(d); room < 0 {
					return malformed(0, "samples of more bytes than the segment has")
				}
				f.samples, f.data = append(f.samples, s), append(f.data, d)
			}
		}
	}
	if len(f.samples) == 0 {
		return malformed(0, "no samples")
	}
	var durations histogram
	usual := min(max(f.nominal()/int64(len(f.samples)), 1), maxFillerTicks)
	for i := range f.samples {
		s := &f.samples[i]
		if s.Duration == 0 { // it lasts up to the next fragment: muxers of a frame each
			s.Duration = uint32(usual)
		}
		if i > 0 {
			s.Decode = f.samples[i-1].Decode + int64(f.samples[i-1].Duration)
		}
		durations.add(s.Duration, 1)
		shown := s.Decode + int64(s.Composition) - f.t.EditOffset
		if i == 0 {
			f.first, f.last = shown, shown
		}
		f.first, f.last = min(f.first, shown), max(f.last, shown+int64(s.Duration))
	}
	frame, _ := durations.typical()
	f.frame = int64(frame)
	return nil
}

// maxFillerTicks is the longest duration that a sample can have.
const maxFillerTicks = 1<<31 - 1

// place is from where to where the filler is shown.
func (f *filler) place() (start, end int64, err error) {
	start, end = f.begins(f.to.Start), f.begins(f.to.End)
	if f.to.Start == f.from.End && abs(f.last-start) <= max(f.nominal()/10, f.frame) {
		start = f.last // where the segment before really ends
	}
	decode := f.samples[0].Decode + start - f.first
	if end <= start || end-start > maxFillerTicks || decode < 0 || end > maxTime {
		return 0, 0, malformed(0, "from %d to %d is no place for a segment", start, end)
	}
	return start, end, nil
}

func (f *filler) nominal() int64 { return f.from.End - f.from.Start }

// begins is where a segment begins that has its boundary there, by where the source
// does. Sound mostly begins with its first frame behind the boundary. What lies
// elsewhere as a whole, lies as far from each boundary, to within half a frame;
// what lies there since it has lost something goes back to the boundary.
func (f *filler) begins(boundary int64) int64 {
	off := f.first - f.from.Start
	whole := abs(f.last-f.first-f.nominal()) <= f.frame
	ahead := boundary - f.first
	switch {
	case f.t.Type == live.Audio && (off >= 0 && off < f.frame || !whole):
		return f.first + floorDiv(ahead+f.frame-1, f.frame)*f.frame
	case whole:
		return f.first + rounded(ahead+off, f.frame)*f.frame
	}
	return f.first + rounded(ahead, f.frame)*f.frame
}

// move has the samples shown from start on.
func (f *filler) move(start int64) {
	by := start - f.first
	for i := range f.samples {
		f.samples[i].Decode += by
	}
	f.first, f.last = f.first+by, f.last+by
}

// again is the source once more, as long as the lost one to within a frame.
func (f *filler) again(start, end int64) {
	f.move(start)
	if lack := end - f.last; lack > f.frame {
		s := &f.samples[len(f.samples)-1]
		s.Duration = uint32(min(int64(s.Duration)+lack, maxFillerTicks))
	}
}

// repeat is the frames of the source, from the first again where there are too few.
func (f *filler) repeat(start, end int64) {
	f.move(start)
	samples, data, room := f.samples, f.data, 0
	for _, d := range data {
		room += maxFillerGrowth * len(d)
	}
	f.samples, f.data = nil, nil
	for i, at := 0, samples[0].Decode; len(f.samples) < maxFillerFrames; i++ {
		s, d := samples[i%len(samples)], data[i%len(samples)]
		if room -= len(d); room < 0 || 2*(end-start) < int64(s.Duration) && i > 0 {
			return
		}
		s.Decode = at
		at, start = at+int64(s.Duration), start+int64(s.Duration)
		f.samples, f.data = append(f.samples, s), append(f.data, d)
	}
}

// silence is frames without any sound.
func (f *filler) silence(start, end int64) error {
	n := rounded(end-start, f.frame)
	if n < 1 || n > maxFillerFrames {
		return malformed(0, "%d frames", n)
	}
	f.move(start)
	s, frame := f.samples[0], silentAAC(f.t.ChannelConfig)
	s.Duration = uint32(f.frame)
	f.samples, f.data = make([]Sample, n), make([][]byte, n)
	for i := range f.samples {
		f.samples[i], f.data[i] = s, frame
		s.Decode += f.frame
	}
	return nil
}

// text is a sample that says nothing.
func (f *filler) text(seq uint32) ([]byte, error) {
	ticks := f.to.End - f.to.Start
	if f.to.Start < 0 || f.to.End > maxTime || ticks < 1 || ticks > maxFillerTicks {
		return nil, malformed(0, "from %d to %d is no place for a segment", f.to.Start, f.to.End)
	}
	nothing := []byte(`<tt xmlns="http://www.w3.org/ns/ttml" xml:lang=""/>`)
	if !strings.HasPrefix(f.t.Codecs, "stpp") {
		nothing = []byte("\x00\x00\x00\x08vtte") // ISO/IEC 14496-30, 7.4
	}
	s := Sample{Decode: f.to.Start + f.t.EditOffset, Duration: uint32(ticks), Flags: flagIndependent, Sync: true}
	return AppendSegment(nil, seq, f.t, []Sample{s}, func(int) []byte { return nothing }), nil
}

// flagIndependent says that a sample depends on no other.
const flagIndependent = 0x02000000

// shifted is the source's fragments at another time.
func (f *filler) shifted(src []byte, seq uint32, by int64) ([]byte, error) {
	dst := AppendStyp(make([]byte, 0, len(src)+64))
	for i := range f.parts {
		p := &f.parts[i]
		for k := range p.Fragment.Tracks {
			tf := &p.Fragment.Tracks[k]
			if tf.Decode+by < 0 {
				return nil, malformed(tf.Box.Offset, "it would decode at %d", tf.Decode+by)
			}
			var err error
			if dst, err = appendFragment(dst, seq, f.t, p, tf, by); err != nil {
				return nil, err
			}
			seq++
		}
	}
	return dst, nil
}

// silenceable reports whether silentAAC is of the track's kind.
func (t *Track) silenceable() bool {
	return t.Codecs == "mp4a.40.2" && !t.Encrypted && t.Descriptions == 1 && t.ChannelConfig >= 1 && t.ChannelConfig <= 6
}

// Syntactic elements of AAC (ISO/IEC 14496-3, 4.5.2.1).
const (
	aacSingle, aacPair, aacBass, aacEnd = 0, 1, 3, 7
)

// aacElements are those of the channel configurations up to 5.1 (ISO/IEC 14496-3, table 1.19).
var aacElements = [...][]int{
	1: {aacSingle}, 2: {aacPair}, 3: {aacSingle, aacPair}, 4: {aacSingle, aacPair, aacSingle},
	5: {aacSingle, aacPair, aacPair}, 6: {aacSingle, aacPair, aacPair, aacBass},
}

// silentAAC is a raw_data_block of AAC-LC (ISO/IEC 14496-3, 4.4.2.1) in which no
// channel has a spectrum: not one band is coded.
func silentAAC(config int) []byte {
	const (
		gain   = 8                 // global_gain
		window = 1 + 2 + 1 + 6 + 1 // ics_info: a long window, max_sfb 0, no prediction
		tools  = 1 + 1 + 1         // no pulses, no TNS, no gain control
	)
	var w fieldWriter
	var tags [8]int
	for _, element := range aacElements[config] {
		w.put(element, 3)
		w.put(tags[element], 4)
		tags[element]++
		if element == aacPair {
			w.put(1, 1) // common_window
			w.put(0, window+2)
			w.put(0, gain+tools)
			w.put(0, gain+tools)
		} else {
			w.put(0, gain+window+tools)
		}
	}
	w.put(aacEnd, 3)
	return w.b
}

// A fieldWriter writes big endian bit fields.
type fieldWriter struct {
	b  []byte
	at int
}

func (w *fieldWriter) put(v, n int) {
	for n--; n >= 0; n-- {
		if w.at&7 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.at>>3] |= byte(v>>n&1) << (7 - w.at&7)
		w.at++
	}
}
