//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/packager/clip"
)

// media makes segments of any size of one track.
type media struct {
	init  []byte
	track *cmaf.Track
	start time.Time
}

func newMedia() (*media, error) {
	part, err := cmaf.NewReader(bytes.NewReader(clip.A)).Next()
	if err != nil {
		return nil, err
	}
	m := &media{start: time.Now().Add(-time.Hour).Truncate(8 * time.Second).UTC()}
	for _, t := range part.Init.Tracks {
		if t.Type == live.Video {
			if m.init, err = part.Init.Single(part.Raw, t.ID); err != nil {
				return nil, err
			}
			break
		}
	}
	one, err := cmaf.ParseInit(m.init)
	if err != nil {
		return nil, err
	}
	m.track = &one.Tracks[0]
	return m, nil
}

// segment makes segment n of about size bytes, unlike any other.
func (m *media) segment(tl *live.Timeline, n live.Number, size int) []byte {
	const frames = 60
	start, end := tl.Media(n, int64(m.track.Timescale))
	step := (end - start) / frames
	samples := make([]cmaf.Sample, frames)
	for i := range samples {
		samples[i] = cmaf.Sample{Decode: start + int64(i)*step, Duration: uint32(step), Sync: i == 0, Description: 1, Flags: 0x01010000}
	}
	samples[0].Flags = 0x02000000
	per := max(size/frames, 32)
	return cmaf.AppendSegment(nil, uint32(n), m.track, samples, func(i int) []byte {
		b := make([]byte, per) // one slice, of an IDR picture or another
		binary.BigEndian.PutUint32(b, uint32(per-4))
		slice := "\x41\x9a\x24"
		if i == 0 {
			slice = "\x65\x88\x84"
		}
		copy(b[copy(b[4:], slice)+4:], fmt.Sprintf("%d/%d", n, i))
		return b
	})
}
