package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/packager/clip"
)

// media makes segments of one video rendition: valid, of any size, and with
// samples that no decoder would like, since nothing here decodes them.
type media struct {
	init  []byte
	track *cmaf.Track
	event live.Event
	tl    live.Timeline
}

const (
	tenant    = "acme"
	rendition = "v"
	pipeline  = "a"
)

func newMedia() (*media, error) {
	part, err := cmaf.NewReader(bytes.NewReader(clip.A)).Next()
	if err != nil {
		return nil, err
	}
	m := &media{}
	for _, t := range part.Init.Tracks {
		if t.Type != live.Video {
			continue
		}
		if m.init, err = part.Init.Single(part.Raw, t.ID); err != nil {
			return nil, err
		}
		break
	}
	single, err := cmaf.ParseInit(m.init)
	if err != nil {
		return nil, err
	}
	m.track = &single.Tracks[0]
	e := live.Default()
	// Long ago, so that there are numbers enough to publish.
	e.Start = time.Now().Add(-20 * 24 * time.Hour).Truncate(8 * time.Second).UTC()
	e.DVRSeconds = 20 * 24 * 3600
	e.LiveWindowSeconds = e.DVRSeconds // nothing is shed as of the DVR window
	e.Pipelines = []live.Pipeline{{Name: pipeline, Region: "us-east-1"}}
	e.Renditions = []live.Rendition{{Name: rendition, Type: live.Video, Bandwidth: 6_000_000}}
	m.event, m.tl = e, e.Timeline()
	return m, nil
}

func (m *media) eventJSON() []byte {
	b, err := json.Marshal(m.event)
	if err != nil {
		panic(err)
	}
	return b
}

// segment makes segment n of about size bytes.
func (m *media) segment(n live.Number, size int) []byte {
	start, end := m.tl.Media(n, int64(m.track.Timescale))
	step := int64(m.track.Timescale) / 30
	var samples []cmaf.Sample
	for at := (start + step - 1) / step * step; at < end; at += step {
		flags := uint32(0x01010000)
		if len(samples) == 0 {
			flags = 0x02000000
		}
		samples = append(samples, cmaf.Sample{Decode: at, Duration: uint32(step), Flags: flags})
	}
	per := max(size/len(samples), 16)
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
