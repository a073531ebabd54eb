package cmaf

import (
	"errors"
	"slices"
)

// ErrNoKeyFrame says that a segment has no key frame that can stand alone.
var ErrNoKeyFrame = errors.New("cmaf: no key frame that stands alone")

// KeyFrame makes of a video segment one of its first key frame alone, which is shown
// until the segment's end, w, with that sequence number: what an I-frame playlist lists
// (RFC 8216bis, 4.4.3.6) and trick mode plays. The same input gives the same bytes, wherever.
// What is beside the media goes, events among it.
//
// Errors wrap ErrNoKeyFrame, also where samples are encrypted in a way that keeps them
// together, or ErrMalformed.
func KeyFrame(src []byte, t *Track, w Window, seq uint32) ([]byte, error) {
	f := filler{t: t, from: w, to: w}
	if err := f.read(src); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(f.samples, func(s Sample) bool { return s.Sync })
	if f.whole || i < 0 {
		return nil, ErrNoKeyFrame
	}
	s := f.samples[i]
	shown := s.Decode + int64(s.Composition) - t.EditOffset
	end := max(w.End, f.last)
	s.Duration = uint32(min(max(end-shown, int64(s.Duration), 1), maxFillerTicks))
	return AppendSegment(make([]byte, 0, fillerHead+len(f.data[i])), seq, t, []Sample{s}, func(int) []byte { return f.data[i] }), nil
}
