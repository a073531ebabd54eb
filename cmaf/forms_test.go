package cmaf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"headwater/live"
)

// videoTrack is one with 25 frames a second and trex defaults: 40 bytes a
// sample, no sync.
func videoTrack(t testing.TB) *Track {
	return handTrack(t, handInit("vide", 1000,
		entryOf(live.Video, "avc1", box("avcC", []byte{1, 0x64, 0, 31, 0xff, 0xe0, 0})), 40, 40, flagNonSync))
}

// Ten samples of 40 ms and 40 bytes from time 1000 on, written in all the ways
// that the standard knows.
func TestFormsOfFragments(t *testing.T) {
	const base = tfhdBaseIsMoof
	ten := uint32(10)
	key := uint32(0)
	table := func(fields ...func(i int) uint32) []byte {
		var b []byte
		for i := range 10 {
			for _, f := range fields {
				b = binary.BigEndian.AppendUint32(b, f(i))
			}
		}
		return b
	}
	always := func(v uint32) func(int) uint32 { return func(int) uint32 { return v } }
	first := func(i int) uint32 {
		if i == 0 {
			return 0
		}
		return flagNonSync
	}
	// at is the data offset; each form's moof has a length of its own.
	type form func(at int32) []byte
	plain := form(func(at int32) []byte {
		return moof(tfhd(base), tfdt(1000), full("trun", 0, trunDataOffset|trunFirstFlags, ten, at, key))
	})
	mdat := box("mdat", tenSamples())
	large := join([]byte{0, 0, 0, 1}, []byte("mdat"), binary.BigEndian.AppendUint64(nil, 416), tenSamples())
	for _, c := range []struct {
		name string
		form form
		mdat []byte // nil for the usual
		head []byte // before the moof
	}{
		{name: "all by default", form: plain},
		{name: "defaults of tfhd", form: func(at int32) []byte {
			return moof(tfhd(base|tfhdDescription|tfhdDuration|tfhdSize|tfhdFlags, uint32(1), uint32(40), uint32(40), uint32(flagNonSync)),
				tfdt(1000), full("trun", 0, trunDataOffset|trunFirstFlags, ten, at, key))
		}},
		{name: "a table of everything", form: func(at int32) []byte {
			return moof(tfhd(base), tfdt(1000), full("trun", 0, trunDataOffset|trunDuration|trunSize|trunFlags|trunComposition, ten, at,
				table(always(40), always(40), first, always(0))))
		}},
		{name: "sizes in a table, the rest by default", form: func(at int32) []byte {
			return moof(tfhd(base), tfdt(1000), full("trun", 0, trunDataOffset|trunFirstFlags|trunSize, ten, at, key, table(always(40))))
		}},
		{name: "negative composition offsets", form: func(at int32) []byte {
			return moof(tfhd(base), tfdt(1000), full("trun", 1, trunDataOffset|trunFirstFlags|trunComposition, ten, at, key, table(always(0xffffffd8))))
		}},
		{name: "a decode time of 32 bits", form: func(at int32) []byte {
			return moof(tfhd(base), full("tfdt", 0, 0, uint32(1000)), full("trun", 0, trunDataOffset|trunFirstFlags, ten, at, key))
		}},
		{name: "headers after the run", form: func(at int32) []byte {
			return moof(full("trun", 0, trunDataOffset|trunFirstFlags, ten, at, key), tfdt(1000), tfhd(base))
		}},
		{name: "no base at all: the moof", form: func(at int32) []byte {
			return moof(tfhd(0), tfdt(1000), full("trun", 0, trunDataOffset|trunFirstFlags, ten, at, key))
		}},
		{name: "an absolute base", form: func(at int32) []byte {
			return moof(tfhd(tfhdBaseOffset, uint64(at)), tfdt(1000), full("trun", 0, trunFirstFlags, ten, key))
		}},
		{name: "an absolute base and an offset", form: func(at int32) []byte {
			return moof(tfhd(tfhdBaseOffset, uint64(8)), tfdt(1000), full("trun", 0, trunDataOffset|trunFirstFlags, ten, at-8, key))
		}},
		{name: "two runs, the second goes on", form: func(at int32) []byte {
			return moof(tfhd(base), tfdt(1000), full("trun", 0, trunDataOffset|trunFirstFlags, uint32(4), at, key), full("trun", 0, 0, uint32(6)))
		}},
		{name: "two runs, the second has an offset", form: func(at int32) []byte {
			return moof(tfhd(base), tfdt(1000), full("trun", 0, trunDataOffset|trunFirstFlags, uint32(4), at, key), full("trun", 0, trunDataOffset, uint32(6), at+160))
		}},
		{name: "an empty run between", form: func(at int32) []byte {
			return moof(tfhd(base), tfdt(1000), full("trun", 0, trunDataOffset|trunFirstFlags, uint32(4), at, key), full("trun", 0, 0, uint32(0)), full("trun", 0, 0, uint32(6)))
		}},
		{name: "two trafs, data end to end", form: func(at int32) []byte {
			return box("moof", full("mfhd", 0, 0, uint32(1)),
				box("traf", tfhd(0), tfdt(1000), full("trun", 0, trunDataOffset|trunFirstFlags, uint32(4), at, key)),
				box("traf", tfhd(0), tfdt(1160), full("trun", 0, 0, uint32(6))))
		}},
		{name: "a traf with nothing for its time", form: func(at int32) []byte {
			return box("moof", full("mfhd", 0, 0, uint32(1)),
				box("traf", tfhd(base|tfhdEmpty), tfdt(1400)),
				box("traf", tfhd(base), tfdt(1000), full("trun", 0, trunDataOffset|trunFirstFlags, ten, at, key)))
		}},
		{name: "boxes of no concern inside", form: func(at int32) []byte {
			return box("moof", full("mfhd", 0, 0, uint32(1)), box("free", "x"), full("pssh", 0, 0, make([]byte, 20)),
				box("traf", tfhd(base), tfdt(1000), full("trun", 0, trunDataOffset|trunFirstFlags, ten, at, key), box("uuid", make([]byte, 20)), box("abcd")))
		}},
		{name: "an mdat with a 64 bit size", form: plain, mdat: large},
		{name: "a moof with a 64 bit size", form: func(at int32) []byte {
			b := plain(at)
			return join([]byte{0, 0, 0, 1}, b[4:8], binary.BigEndian.AppendUint64(nil, uint64(len(b)+8)), b[8:])
		}},
		{name: "an mdat of nothing first", form: plain, mdat: join(box("mdat"), box("free", "xyz"), mdat)},
		{name: "boxes before", form: plain, head: join(
			box("styp", "msdh", uint32(0), "msdh"), full("prft", 1, 0, uint32(1), uint64(5), uint64(7)),
			anEvent, full("sidx", 0, 0, make([]byte, 32)), box("free"), box("abcd", "any"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			media := c.mdat
			if media == nil {
				media = mdat
			}
			length := len(c.form(0))
			at := int32(length + len(media) - 400)
			seg := join(c.head, c.form(at), media)
			if strings.Contains(c.name, "absolute") {
				seg = join(c.form(at), media)
			}
			track := videoTrack(t)
			r, err := Inspect(seg, track, Window{Start: 1000, End: 1400, SegmentMS: 400})
			if err != nil || !r.Findings.Clean() {
				t.Errorf("Inspect: %q, %v", r.Findings, err)
			}
			if r.Samples != 10 || r.Span.End-r.Span.Start != 400 || !r.Keyframe || r.Fragments != 1 || r.FrameDuration != 40 {
				t.Errorf("Inspect: %+v", r)
			}

			p := join(handInit("vide", 1000, entryOf(live.Video, "avc1", box("avcC", make([]byte, 7))), 40, 40, flagNonSync), c.head)
			absolute := 0
			if strings.Contains(c.name, "absolute") {
				absolute = len(p) // such an offset counts from the start of the stream
			}
			fragment := c.form(at)
			if i := bytes.Index(fragment, []byte("tfhd")); absolute > 0 {
				b := fragment[i+12:]
				binary.BigEndian.PutUint64(b, be64(b)+uint64(absolute))
			}
			stream := parts(t, join(p, fragment, media))
			if len(stream) != 2 {
				t.Fatalf("%d parts, want 2", len(stream))
			}
			n := 0
			for _, f := range stream[1].Fragment.Tracks {
				for _, s := range f.Samples {
					if s.Decode != 1000+int64(n)*40 || s.Duration != 40 || s.Size != 40 || s.Sync != (n == 0) || s.Description != 1 ||
						s.Offset != int64(at)+int64(n)*40 || stream[1].Data(s) == nil {
						t.Errorf("sample %d: %+v", n, s)
					}
					n++
				}
			}
			if n != 10 {
				t.Errorf("ParseFragment: %d samples", n)
			}
		})
	}
}

// TestPlainSamples: what takes next to nothing in a file takes not much more in memory.
func TestPlainSamples(t *testing.T) {
	in := &Init{Tracks: []Track{*videoTrack(t)}}
	for _, c := range []struct {
		runs []uint32
		fits bool
	}{
		{[]uint32{1 << 20}, true},
		{[]uint32{1<<20 + 1}, false},
		{[]uint32{1 << 19, 1 << 19}, true},
		{[]uint32{1 << 19, 1<<19 + 1}, false},
	} {
		traf := [][]byte{tfhd(tfhdBaseIsMoof|tfhdSize, uint32(1)), tfdt(0)}
		for _, n := range c.runs {
			traf = append(traf, full("trun", 0, 0, n))
		}
		f, err := ParseFragment(moof(traf...), in, 0, 1<<30)
		if (err == nil) != c.fits || err != nil && !errors.Is(err, ErrMalformed) || err == nil && len(f.Tracks[0].Samples) != 1<<20 {
			t.Errorf("runs of %v samples: %v", c.runs, err)
		}
	}
}

func TestInspectRefuses(t *testing.T) {
	run := func(n uint32, at int32) []byte { return full("trun", 0, trunDataOffset, n, at) }
	const base = tfhdBaseIsMoof
	good := handSegment(tfhd(base), tfdt(0), run(10, 96))
	if r, err := Inspect(good, videoTrack(t), Window{End: 400, SegmentMS: 400}); err != nil || r.Samples != 10 || r.Findings.Has(live.MissingSamples) {
		t.Fatalf("the good one: %+v, %v", r, err)
	}
	for _, c := range []struct {
		name string
		b    []byte
		kind error
		text string
	}{
		{"nothing", nil, ErrMalformed, "no bytes"},
		{"an MPEG transport stream", fixture(t, "stream.ts"), ErrNotCMAF, "transport stream"},
		{"an init segment", fixture(t, "dash-init.mp4"), ErrNotCMAF, "moov at byte"},
		{"an init segment before the media", join(fixture(t, "dash-init.mp4"), fixture(t, "dash-1.m4s")), ErrNotCMAF, "moov at byte"},
		{"a progressive file", fixture(t, "progressive.mp4"), ErrNotCMAF, "moov"},
		{"no moof", join(box("styp", "msdh", uint32(0)), box("mdat", "x")), ErrMalformed, "no moof"},
		{"an mdat to the end of the file", join(good[:len(good)-408], []byte{0, 0, 0, 0}, good[len(good)-404:]), ErrMalformed, "mdat at byte 88: box without a size"},
		{"an mdat that runs past the end", good[:len(good)-1], ErrMalformed, "mdat at byte 88: box of 408 bytes runs 1 past"},
		{"no mdat", good[:len(good)-408], ErrMalformed, "moof/traf/trun at byte 68: data from 96 to 496, in a segment of 88 bytes"},
		{"data past the end", handSegment(tfhd(base), tfdt(0), run(11, 96)), ErrMalformed, "data from 96 to 536"},
		{"data before the start", handSegment(tfhd(base), tfdt(0), run(10, -1)), ErrMalformed, "data from -1"},
		{"no mfhd", join(box("moof", box("traf", tfhd(base), tfdt(0), run(10, 80))), box("mdat", make([]byte, 400))), ErrMalformed, "moof at byte 0: no mfhd"},
		{"no traf", join(box("moof", full("mfhd", 0, 0, uint32(1))), box("mdat")), ErrMalformed, "no traf"},
		{"no tfhd", handSegment(tfdt(0), run(10, 96)), ErrMalformed, "moof/traf at byte 24: no tfhd"},
		{"no tfdt", handSegment(tfhd(base), run(10, 96)), ErrMalformed, "no tfdt"},
		{"two tfhd", handSegment(tfhd(base), tfhd(base), tfdt(0), run(10, 96)), ErrMalformed, "second tfhd"},
		{"two tfdt", handSegment(tfhd(base), tfdt(0), tfdt(0), run(10, 96)), ErrMalformed, "second tfdt"},
		{"a tfhd too short for its flags", handSegment(tfhd(base|tfhdSize), tfdt(0), run(10, 96)), ErrMalformed, "moof/traf/tfhd at byte 32: needs 8 bytes"},
		{"a tfdt too short for its version", handSegment(tfhd(base), full("tfdt", 1, 0, uint32(1)), run(10, 96)), ErrMalformed, "tfdt"},
		{"a decode time past all bounds", handSegment(tfhd(base), tfdt(1<<63), run(10, 96)), ErrMalformed, "impossible decode time"},
		{"a base past all bounds", handSegment(tfhd(tfhdBaseOffset, uint64(1<<63)), tfdt(0), run(10, 96)), ErrMalformed, "impossible base"},
		{"more samples than table", handSegment(tfhd(base), tfdt(0), full("trun", 0, trunSize, uint32(3), uint64(1))), ErrMalformed, "3 samples do not fit"},
		{"4 billion samples by default", handSegment(tfhd(base), tfdt(0), run(0xffffffff, 96)), ErrMalformed, "data from 96 to"},
		{"durations past all bounds", handSegment(tfhd(base|tfhdDuration|tfhdSize, uint32(0xffffffff), uint32(0)), tfdt(0), run(0xffffffff, 96)), ErrMalformed, "impossible decode time"},
		{"a box in traf that runs past it", handSegment(tfhd(base), tfdt(0), run(10, 96), []byte("\x00\x00\x00\x20free")), ErrMalformed, "moof/traf/free at byte"},
		{"a box smaller than its header", join(good, []byte("\x00\x00\x00\x04free")), ErrMalformed, "impossible box size 4"},
		{"half a box header", join(good, []byte("\x00\x00\x00")), ErrMalformed, "too few"},
		{"a type that does not print", join(good, []byte("\x00\x00\x00\x08\x00\x01\x02\x03")), ErrMalformed, "no box type"},
		{"a 64 bit size past all bounds", join(good, []byte("\x00\x00\x00\x01free\xff\xff\xff\xff\xff\xff\xff\xff")), ErrMalformed, "impossible box size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Inspect(c.b, videoTrack(t), Window{End: 400, SegmentMS: 400})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v; want %v with %q", err, c.kind, c.text)
			}
			if r.Findings.String() != "unparsable;ms=400" {
				t.Errorf("found %q", r.Findings)
			}
		})
	}
}

// Samples that have no data, in a segment that is otherwise well formed.
func TestSamplesWithoutData(t *testing.T) {
	const base = tfhdBaseIsMoof
	run := func(at int32) []byte {
		return full("trun", 0, trunDataOffset|trunFirstFlags, uint32(10), at, uint32(0))
	}
	w := Window{Start: 1000, End: 1400, SegmentMS: 400}
	sizes := []byte{}
	for i := range 10 {
		sizes = binary.BigEndian.AppendUint32(sizes, uint32(i%2*40))
	}
	for _, c := range []struct {
		name string
		seg  []byte
		want string
	}{
		{"data in the moof", handSegment(tfhd(base), tfdt(1000), run(0)), "missing-samples;ms=400;n=10"},
		{"data that begins in the header of mdat", handSegment(tfhd(base), tfdt(1000), run(96)), "missing-samples;ms=400;n=10"},
		{"data that leaves its mdat", join(moof(tfhd(base), tfdt(1000), run(100)), box("mdat", tenSamples()[:130]), box("free", make([]byte, 300))),
			"missing-samples;ms=280;n=7"},
		{"every other sample empty", handSegment(tfhd(base), tfdt(1000), full("trun", 0, trunDataOffset|trunFirstFlags|trunSize, uint32(10), int32(140), uint32(0), sizes)),
			"missing-samples;ms=200;n=5"},
		{"all samples empty by default", handSegment(tfhd(base|tfhdSize, uint32(0)), tfdt(1000), run(0)), "missing-samples;ms=400;n=10"},
		{"a table of samples that leave their mdat", join(
			moof(tfhd(base), tfdt(1000), full("trun", 0, trunDataOffset|trunFirstFlags|trunDuration, uint32(10), int32(140), uint32(0), bytes.Repeat([]byte{0, 0, 0, 40}, 10))),
			box("mdat", tenSamples()[:130]), box("free", make([]byte, 300))), "missing-samples;ms=280;n=7"},
		{"no samples at all", handSegment(tfhd(base), tfdt(1000)), "short;ms=400"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Inspect(c.seg, videoTrack(t), w)
			if err != nil || r.Findings.String() != c.want {
				t.Errorf("%q, %v; want %q", r.Findings, err, c.want)
			}
		})
	}
}
