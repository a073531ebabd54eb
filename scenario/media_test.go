package scenario

import (
	"bytes"
	"encoding/binary"
	"testing"

	"headwater/cmaf"
	"headwater/live"
	"headwater/packager/clip"
)

// A medium makes valid segments of one kind of track, with the built-in clip's
// init segment and made-up samples.
type medium struct {
	init  []byte
	track *cmaf.Track
}

func newMedium(t *testing.T, kind live.MediaType) medium {
	t.Helper()
	part, err := cmaf.NewReader(bytes.NewReader(clip.A)).Next()
	if err != nil {
		t.Fatal(err)
	}
	all := part.Init
	for _, tr := range all.Tracks {
		if tr.Type != kind {
			continue
		}
		b, err := all.Single(part.Raw, tr.ID)
		if err != nil {
			t.Fatal(err)
		}
		one, err := cmaf.ParseInit(b)
		if err != nil {
			t.Fatal(err)
		}
		return medium{b, &one.Tracks[0]}
	}
	t.Fatalf("the clip has no %s", kind)
	return medium{}
}

// segment makes segment n of thirty frames a second, without those in drop.
// fill is in every sample: another makes other bytes.
func (m medium) segment(ev *live.Event, n live.Number, fill byte, drop ...int) []byte {
	tl := ev.Timeline()
	start, end := tl.Media(n, int64(m.track.Timescale))
	const frames = 60
	step := (end - start) / frames
	var samples []cmaf.Sample
	for i := range frames {
		if len(drop) == 2 && i >= drop[0] && i < drop[1] {
			continue
		}
		s := cmaf.Sample{Decode: start + int64(i)*step, Duration: uint32(step), Sync: i == 0, Description: 1}
		if i > 0 {
			s.Flags = 0x01010000 // depends on others, is not a sync sample
		} else {
			s.Flags = 0x02000000
		}
		samples = append(samples, s)
	}
	return cmaf.AppendSegment(nil, uint32(n), m.track, samples, func(i int) []byte { return m.sample(samples[i].Sync, fill, 0) })
}

// sample makes a sample of about so many bytes, of fill but for its beginning:
// of video it is one slice, of an IDR picture or of another.
func (m medium) sample(key bool, fill byte, size int) []byte {
	b := bytes.Repeat([]byte{fill}, max(size, 8))
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if key {
		copy(b[4:], "\x65\x88\x84")
	} else {
		copy(b[4:], "\x41\x9a\x24")
	}
	return b
}
