package cmaf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"headwater/internal/mp4box"
	"headwater/live"
)

// fixtureStart is where the fixtures begin, in Unix seconds (testdata/make.sh).
const fixtureStart = 1795405280

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// parts reads a whole stream.
func parts(t testing.TB, b []byte) []*Part {
	t.Helper()
	var out []*Part
	for r := NewReader(bytes.NewReader(b)); ; {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
}

// media is a single-track rewriting of one track of a fixture.
type media struct {
	init     []byte
	track    *Track
	segments [][]byte
	samples  [][]Sample
	data     [][][]byte // of each segment's samples
}

func single(t testing.TB, name string, id uint32) media {
	t.Helper()
	var m media
	for _, p := range parts(t, fixture(t, name)) {
		if p.Init != nil {
			b, err := p.Init.Single(p.Raw, id)
			if err != nil {
				t.Fatal(err)
			}
			in, err := ParseInit(b)
			if err != nil {
				t.Fatal(err)
			}
			m.init, m.track = b, &in.Tracks[0]
			continue
		}
		for i := range p.Fragment.Tracks {
			f := &p.Fragment.Tracks[i]
			if f.ID != id {
				continue
			}
			var data [][]byte
			for _, s := range f.Samples {
				data = append(data, p.Data(s))
			}
			m.samples = append(m.samples, f.Samples)
			m.data = append(m.data, data)
			m.segments = append(m.segments, segment(m.track, f.Samples, data))
		}
	}
	return m
}

func segment(t *Track, samples []Sample, data [][]byte) []byte {
	return AppendSegment(nil, 1, t, samples, func(i int) []byte { return data[i] })
}

// window is that of segment i from fixtureStart on, num/den seconds each.
func window(t *Track, i int, num, den int64) Window {
	at := func(i int64) int64 {
		return fixtureStart*int64(t.Timescale) + i*num*int64(t.Timescale)/den
	}
	return Window{Start: at(int64(i)), End: at(int64(i) + 1), SegmentMS: num * 1000 / den}
}

var box = mp4box.Box

// full is box with version and flags.
func full(typ string, version byte, flags uint32, content ...any) []byte {
	return box(typ, append([]any{uint32(version)<<24 | flags}, content...)...)
}

func join(b ...[]byte) []byte { return bytes.Join(b, nil) }

// handInit makes an init segment by hand, of one track with ID 1. The trex
// defaults are sample entry 1, then rest.
func handInit(handler string, timescale uint32, entry []byte, rest ...uint32) []byte {
	trex := []any{uint32(1), uint32(1)}
	for len(rest) < 3 {
		rest = append(rest, 0)
	}
	for _, v := range rest {
		trex = append(trex, v)
	}
	zero := make([]byte, 100)
	return join(
		box("ftyp", "iso6", uint32(0), "iso6"),
		box("moov",
			full("mvhd", 0, 0, zero[:92], uint32(9)),
			box("trak",
				full("tkhd", 0, 3, zero[:8], uint32(1), zero[:68]),
				box("mdia",
					full("mdhd", 0, 0, zero[:8], timescale, uint32(0), uint16(0x55c4), uint16(0)),
					full("hdlr", 0, 0, uint32(0), handler, zero[:13]),
					box("minf", box("stbl", full("stsd", 0, 0, uint32(1), entry))))),
			box("mvex", full("trex", 0, 0, trex...))))
}

func handTrack(t testing.TB, init []byte) *Track {
	t.Helper()
	in, err := ParseInit(init)
	if err != nil {
		t.Fatal(err)
	}
	return &in.Tracks[0]
}

// wvtt and stpp are text tracks of 1000 ticks a second.
func wvttInit() []byte {
	return handInit("text", 1000, box("wvtt", make([]byte, 6), uint16(1), box("vttC", "WEBVTT")))
}

func stppInit() []byte {
	return handInit("subt", 1000, box("stpp", make([]byte, 6), uint16(1), "http://www.w3.org/ns/ttml\x00\x00\x00"))
}

// entryOf makes a sample entry with its fixed fields and boxes.
func entryOf(kind live.MediaType, format string, boxes ...[]byte) []byte {
	switch kind {
	case live.Video:
		fields := make([]byte, visualFields)
		binary.BigEndian.PutUint16(fields[24:], 1280)
		binary.BigEndian.PutUint16(fields[26:], 720)
		return box(format, fields, join(boxes...))
	case live.Audio:
		fields := make([]byte, audioFields)
		binary.BigEndian.PutUint16(fields[16:], 2)
		binary.BigEndian.PutUint32(fields[24:], 48000<<16)
		return box(format, fields, join(boxes...))
	}
	return box(format, make([]byte, plainFields), join(boxes...))
}

// avcSample is a sample of n bytes, at least 8, that AVC could be: one slice of an
// IDR picture, or of one that leans on others.
func avcSample(n int, key bool) []byte {
	b := make([]byte, n)
	binary.BigEndian.PutUint32(b, uint32(n-4))
	copy(b[4:], "\x41\x9a\x01\x02")
	if key {
		copy(b[4:], "\x65\x88\x84\x02")
	}
	return b
}

// avcData gives each sample eight such bytes by its flags.
func avcData(samples []Sample) func(int) []byte {
	return func(i int) []byte { return avcSample(8, syncFlags(samples[i].Flags)) }
}

// tenSamples is the data of ten samples of 40 bytes.
func tenSamples() []byte {
	b := avcSample(40, true)
	for range 9 {
		b = append(b, avcSample(40, false)...)
	}
	return b
}
