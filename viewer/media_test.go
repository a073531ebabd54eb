package viewer

import (
	"encoding/binary"
	"testing"

	"headwater/cmaf"
	"headwater/live"
)

// Test media: one track of 25 samples a second in ticks of a millisecond.
const (
	testTimescale = 1000
	testFrame     = 40
)

func box(typ string, parts ...any) []byte {
	var p []byte
	for _, x := range parts {
		switch x := x.(type) {
		case string:
			p = append(p, x...)
		case []byte:
			p = append(p, x...)
		case uint16:
			p = binary.BigEndian.AppendUint16(p, x)
		case uint32:
			p = binary.BigEndian.AppendUint32(p, x)
		}
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(8+len(p)))
	return append(append(out, typ...), p...)
}

// testInit is an init segment of one video track.
func testInit() []byte {
	zero := make([]byte, 100)
	entry := box("avc1", zero[:6], uint16(1), zero[:16], uint16(1280), uint16(720), zero[:50],
		box("avcC", []byte{1, 0x64, 0, 0x1f, 0xff, 0xe0, 0}))
	return append(box("ftyp", "cmfc", uint32(0), "cmfc"),
		box("moov",
			box("mvhd", uint32(0), zero[:96]),
			box("trak",
				box("tkhd", uint32(3), zero[:8], uint32(1), zero[:68]),
				box("mdia",
					box("mdhd", uint32(0), zero[:8], uint32(testTimescale), uint32(0), uint16(0x55c4), uint16(0)),
					box("hdlr", uint32(0), uint32(0), "vide", zero[:13]),
					box("minf", box("stbl", box("stsd", uint32(0), uint32(1), entry))))),
			box("mvex", box("trex", uint32(0), uint32(1), uint32(1), zero[:12])))...)
}

var testTrack = func() cmaf.Track {
	in, err := cmaf.ParseInit(testInit())
	if err != nil {
		panic(err)
	}
	return in.Tracks[0]
}()

// testSegment is segment n, shifted and cut by so many frames. Its bytes depend on the seed.
func testSegment(tl *live.Timeline, n live.Number, shift, drop, sampleBytes int, seed string) []byte {
	start, end := tl.Media(n, testTimescale)
	var samples []cmaf.Sample
	for at := start; at < end; at += testFrame {
		samples = append(samples, cmaf.Sample{Decode: at + int64(shift*testFrame), Duration: testFrame, Sync: at == start})
	}
	samples = samples[:len(samples)-drop]
	data := make([]byte, max(sampleBytes, len(seed)+7)) // one slice of an IDR picture
	binary.BigEndian.PutUint32(data, uint32(len(data)-4))
	copy(data[copy(data[4:], "\x65\x88\x84")+4:], seed)
	return cmaf.AppendSegment(nil, uint32(n), &testTrack, samples, func(int) []byte { return data })
}

func TestTestMediaIsClean(t *testing.T) {
	e := testEvent()
	tl := e.Timeline()
	start, end := tl.Media(7, testTimescale)
	r, err := cmaf.Inspect(testSegment(&tl, 7, 0, 0, 10, "x"), &testTrack, cmaf.Window{Start: start, End: end, SegmentMS: 2000})
	if err != nil || len(r.Findings) > 0 {
		t.Fatalf("test media: %v, %v", r.Findings, err)
	}
}
