package origin

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"

	"headwater/cmaf"
	"headwater/live"
	"headwater/packager/clip"
)

// media makes init segments out of the built-in clip's, and valid segments of
// samples that no decoder would like: inspection looks at their times alone.
type media struct {
	inits  map[string][]byte
	tracks map[string]*cmaf.Track
}

// testMedia has the renditions v (video, 30 frames a second), w (the next video
// of the clip) and a (audio, 48 kHz).
var testMedia = sync.OnceValue(func() *media {
	part, err := cmaf.NewReader(bytes.NewReader(clip.A)).Next()
	if err != nil {
		panic(err)
	}
	m := &media{inits: make(map[string][]byte), tracks: make(map[string]*cmaf.Track)}
	names := map[live.MediaType][]string{live.Video: {"v", "w"}, live.Audio: {"a"}}
	for _, t := range part.Init.Tracks {
		if len(names[t.Type]) == 0 {
			continue
		}
		name := names[t.Type][0]
		names[t.Type] = names[t.Type][1:]
		if m.inits[name], err = part.Init.Single(part.Raw, t.ID); err != nil {
			panic(err)
		}
		single, err := cmaf.ParseInit(m.inits[name])
		if err != nil {
			panic(err)
		}
		m.tracks[name] = &single.Tracks[0]
	}
	return m
})

// A take says how a segment is to be.
type take struct {
	mark      string // goes into the samples: takes of different marks have other bytes
	size      int    // about so many bytes in all; 0: few
	lose      int    // this many samples at the end
	hole      int    // this many samples in the middle
	shift     int64  // of decode times, in ticks
	noKey     bool   // the first sample is no sync sample
	fragments int    // that many moofs, where more than one
}

const (
	syncSample    = 0x02000000
	nonSyncSample = 0x01010000
)

// segment makes the segment of a rendition that lies at n of the timeline.
func (m *media) segment(tl live.Timeline, rendition string, n live.Number, k take) []byte {
	t := m.tracks[rendition]
	start, end := tl.Media(n, int64(t.Timescale))
	step := int64(t.Timescale) / 30
	if t.Type == live.Audio {
		step = 1024
	}
	var samples []cmaf.Sample
	for at := (start + step - 1) / step * step; at < end; at += step {
		flags := uint32(nonSyncSample)
		if t.Type == live.Audio || len(samples) == 0 && !k.noKey {
			flags = syncSample
		}
		samples = append(samples, cmaf.Sample{Decode: at + k.shift, Duration: uint32(step), Flags: flags})
	}
	samples = samples[:len(samples)-k.lose]
	if k.hole > 0 {
		mid := len(samples) / 2
		samples = append(samples[:mid:mid], samples[mid+k.hole:]...)
	}
	size := max(k.size/len(samples), 23)
	data := func(i int) []byte {
		b := make([]byte, size)
		if t.Type == live.Video { // one slice, of an IDR picture or another
			binary.BigEndian.PutUint32(b, uint32(size-4))
			slice := "\x41\x9a\x24"
			if samples[i].Flags == syncSample {
				slice = "\x65\x88\x84"
			}
			copy(b[copy(b[4:], slice)+4:], fmt.Sprintf("%s/%d/%d", k.mark, n, i))
			return b
		}
		copy(b, fmt.Sprintf("%s/%d/%d", k.mark, n, i))
		return b
	}
	if k.fragments < 2 {
		return cmaf.AppendSegment(nil, uint32(n), t, samples, data)
	}
	b := cmaf.AppendStyp(nil)
	for f := range k.fragments {
		from, to := len(samples)*f/k.fragments, len(samples)*(f+1)/k.fragments
		b = cmaf.AppendChunk(b, uint32(f), t, samples[from:to], func(i int) []byte { return data(from + i) })
	}
	return b
}

// otherTimescale is an init segment of the rendition that no segment fits.
func (m *media) otherTimescale(rendition string) []byte {
	b := bytes.Clone(m.inits[rendition])
	at := bytes.Index(b, []byte("mdhd")) + 4
	binary.BigEndian.PutUint32(b[at+12:], m.tracks[rendition].Timescale+1)
	return b
}

// another is an init segment with other bytes that stands in for the
// rendition's: a free box more.
func (m *media) another(rendition string) []byte {
	return append(bytes.Clone(m.inits[rendition]), 0, 0, 0, 12, 'f', 'r', 'e', 'e', 'x', 'x', 'x', 'x')
}

// Bytes that are not CMAF.
var (
	transportStream = bytes.Repeat(append([]byte{0x47, 0x40, 0x11, 0x10}, make([]byte, 184)...), 8)
	webPage         = []byte("<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head></html>")
)

// progressive is an MP4 file that is not fragmented.
func progressive() []byte {
	box := func(name string, body ...[]byte) []byte {
		b := bytes.Join(body, nil)
		return append(append(binary.BigEndian.AppendUint32(nil, uint32(8+len(b))), name...), b...)
	}
	return bytes.Join([][]byte{
		box("ftyp", []byte("isom\x00\x00\x02\x00isommp42")),
		box("moov", box("mvhd", make([]byte, 100))),
		box("mdat", make([]byte, 64)),
	}, nil)
}
