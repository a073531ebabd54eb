package packager

import (
	"slices"
	"time"
)

// inject applies the faults that select a media segment. It returns the
// segment as it is to be inspected and sent, nil if it is not, and how much
// later. Honest reports whether its findings may be told.
func (f *Faults) inject(seg *segment) (out *segment, delay time.Duration, honest bool, err error) {
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

// stopped reports whether a rendition, or all, is stopped without limit: then
// init segments are not sent either.
func (f *Faults) stopped(rendition string) bool {
	return slices.ContainsFunc(f.List(), func(x Fault) bool {
		return x.Kind == FaultStop && (x.Rendition == "" || x.Rendition == rendition) && x.From == 0 && x.To == 0 && x.Every == 0
	})
}
