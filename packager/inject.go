package packager

import (
	"slices"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/packager/clip"
)

// inject applies the faults that select a media segment. It returns the
// segment as it is to be inspected and sent, nil if it is not, and how much
// later. Honest reports whether its findings may be told.
func (f *Faults) inject(seg *segment, tl *live.Timeline) (out *segment, delay time.Duration, honest bool, err error) {
	out, honest = seg, true
	for _, x := range f.of(seg.rendition, seg.number) {
		honest = honest && !x.Dishonest
		switch x.Kind {
		case FaultDrop, FaultStop:
			return nil, 0, honest, nil
		case FaultDelay:
			delay += x.By
		case FaultTruncate:
			cut := *out
			cut.data = out.data[:len(out.data)*2/3]
			cut.samples = nil
			out = &cut
		case FaultMute:
			if out, err = muted(out, tl); err != nil {
				return nil, 0, honest, err
			}
		default:
			if out, err = x.rebuild(out); err != nil {
				return nil, 0, honest, err
			}
		}
	}
	return out, delay, honest, nil
}

// rebuild makes a well-formed segment with other samples. One that a fault
// before has truncated, or whose samples must stay together, stays as it is.
func (x *Fault) rebuild(seg *segment) (*segment, error) {
	if len(seg.samples) == 0 || seg.samples[0].whole != nil {
		return seg, nil
	}
	samples := slices.Clone(seg.samples)
	switch x.Kind {
	case FaultRemoveSamples:
		// From the middle; at least the first stays, so that there is a segment.
		n := min(x.Samples, len(samples)-1)
		from := max((len(samples)-n)/2, 1)
		samples = slices.Delete(samples, from, from+n)
	case FaultBlack, FaultFreeze:
		samples = standing(seg.track, samples, x.Kind == FaultBlack)
	case FaultShift:
		ticks := rescale(int64(x.By), int64(seg.track.Timescale), int64(time.Second))
		ticks = max(ticks, -samples[0].Decode)
		for i := range samples {
			samples[i].Decode += ticks
		}
	}
	out, err := newSegment(seg.rendition, seg.track, seg.number, samples)
	if err != nil {
		return nil, err
	}
	out.complete = seg.complete
	return out, nil
}

// standingFrames is how many frames of a picture that stands still are one key frame.
const standingFrames = 10

// standing are samples of video that show one key frame for as long: that of the first
// of them, or a black one, where there is one. Key frames alone need no encoder.
func standing(t *cmaf.Track, samples []sample, black bool) []sample {
	data := samples[0].data
	if black {
		data = clip.Black[t.Height]
	}
	if t.Type != live.Video || !samples[0].Sync || data == nil {
		return samples
	}
	var out []sample
	for i, s := range samples {
		if i%standingFrames != 0 {
			last := &out[len(out)-1]
			last.Duration = uint32(s.Decode + int64(s.Duration) - last.Decode)
			continue
		}
		s.Sync, s.Flags, s.Composition, s.data = true, samples[0].Flags, samples[0].Composition, data
		s.Size = uint32(len(data))
		out = append(out, s)
	}
	return out
}

// muted is a segment of sound without any. Other media stays as it is, and so does
// sound of which no silent frame is known.
func muted(seg *segment, tl *live.Timeline) (*segment, error) {
	if seg.track.Type != live.Audio {
		return seg, nil
	}
	start, end := tl.Media(seg.number, int64(seg.track.Timescale))
	w := cmaf.Window{Start: start, End: end, SegmentMS: tl.Segment().Milliseconds()}
	data, err := cmaf.Filler(seg.data, seg.track, w, w, uint32(seg.number), nil)
	if err != nil {
		return nil, err
	}
	out := *seg
	out.data, out.samples = data, nil
	return &out, nil
}

// stopped reports whether a rendition, or all, is stopped without limit: then
// init segments are not sent either.
func (f *Faults) stopped(rendition string) bool {
	return slices.ContainsFunc(f.List(), func(x Fault) bool {
		return x.Kind == FaultStop && (x.Rendition == "" || x.Rendition == rendition) && x.From == 0 && x.To == 0 && x.Every == 0
	})
}
