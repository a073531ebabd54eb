package cmaf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"headwater/live"
)

func TestRealEncodesAreClean(t *testing.T) {
	for _, c := range []struct {
		name     string
		track    uint32
		num, den int64 // segment duration, seconds
		zero     bool  // times begin at 0, not at fixtureStart
		segments int
		frame    uint32
	}{
		{name: "avc-aac.mp4", track: 1, num: 2, den: 1, segments: 3, frame: 512},
		{name: "avc-aac.mp4", track: 2, num: 2, den: 1, segments: 3, frame: 512},
		{name: "avc-aac.mp4", track: 3, num: 2, den: 1, segments: 3, frame: 1024},
		{name: "ntsc.mp4", track: 1, num: 2002, den: 1000, segments: 3, frame: 1001},
		{name: "ntsc.mp4", track: 2, num: 2002, den: 1000, segments: 3, frame: 1024},
		{name: "cenc.mp4", track: 1, num: 2, den: 1, segments: 2, frame: 512},
		{name: "cenc.mp4", track: 2, num: 2, den: 1, segments: 2, frame: 1024},
		{name: "reordered.mp4", track: 1, num: 2, den: 1, segments: 2, frame: 512},
		{name: "edited.mp4", track: 1, num: 2, den: 1, zero: true, segments: 2, frame: 512},
		{name: "negative.mp4", track: 1, num: 2, den: 1, zero: true, segments: 2, frame: 512},
		{name: "hevc.mp4", track: 1, num: 1, den: 1, segments: 1, frame: 512},
		{name: "av1.mp4", track: 1, num: 1, den: 1, segments: 1, frame: 512},
		{name: "vp9.mp4", track: 1, num: 1, den: 1, segments: 1, frame: 512},
	} {
		t.Run(fmt.Sprintf("%s/%d", c.name, c.track), func(t *testing.T) {
			m := single(t, c.name, c.track)
			if len(m.segments) != c.segments {
				t.Fatalf("%d segments, want %d", len(m.segments), c.segments)
			}
			for i, seg := range m.segments {
				w := window(m.track, i, c.num, c.den)
				if c.zero {
					w.End -= fixtureStart * int64(m.track.Timescale)
					w.Start -= fixtureStart * int64(m.track.Timescale)
				}
				r, err := Inspect(seg, m.track, w)
				if err != nil {
					t.Fatal(err)
				}
				if !r.Findings.Clean() || !r.Keyframe || r.Fragments != 1 || r.FrameDuration != c.frame || r.Samples != len(m.samples[i]) {
					t.Errorf("segment %d: %+v", i, r)
				}
			}
		})
	}
}

func TestRealDASHSegmentsAreClean(t *testing.T) {
	track := handTrack(t, fixture(t, "dash-init.mp4"))
	for i := range int64(2) {
		w := Window{Start: i * 30720, End: (i + 1) * 30720, SegmentMS: 2000}
		r, err := Inspect(fixture(t, fmt.Sprintf("dash-%d.m4s", i+1)), track, w)
		if err != nil || !r.Findings.Clean() || r.Samples != 60 {
			t.Errorf("segment %d: %+v, %v", i+1, r, err)
		}
	}
}

// An edit changes the samples of a segment, in place or by a shorter slice.
type edit func([]Sample) []Sample

func TestFindings(t *testing.T) {
	shift := func(ticks int64) edit {
		return func(s []Sample) []Sample {
			for i := range s {
				s[i].Decode += ticks
			}
			return s
		}
	}
	remove := func(from, to int) edit {
		return func(s []Sample) []Sample { return slices.Delete(s, from, to) }
	}
	stretch := func(from, to int) edit { // a muxer that knows no gaps
		return func(s []Sample) []Sample {
			s[from-1].Duration += uint32(to-from) * s[from].Duration
			return slices.Delete(s, from, to)
		}
	}
	const delta, key = 0x01010000, 0x02000000
	flags := func(f func(i int) uint32) edit {
		return func(s []Sample) []Sample {
			for i := range s {
				s[i].Flags = f(i)
			}
			return s
		}
	}
	for _, c := range []struct {
		name  string
		track uint32
		edit  edit
		want  string
	}{
		{"as it is", 1, shift(0), ""},
		{"one frame late", 1, shift(512), ""},
		{"one frame early", 1, shift(-512), ""},
		{"a tick more than a frame late", 1, shift(513), ""},
		{"a tick more than a frame early", 1, shift(-513), ""},
		{"half a segment late", 1, shift(15360), "gap;ms=1000, overlap"},
		{"half a segment early", 1, shift(-15360), "short;ms=1000, overlap"},
		{"a segment late", 1, shift(30720), "gap;ms=2000"},
		{"a segment early", 1, shift(-30720), "overlap;ms=2000"},
		{"an hour late", 1, shift(15360 * 3600), "gap;ms=2000"},
		{"an hour early", 1, shift(-15360 * 3600), "overlap;ms=2000"},
		{"times from 0", 1, shift(-fixtureStart * 15360), "overlap;ms=2000"},
		{"the last frame missing", 1, remove(59, 60), ""}, // by the rule: within one frame
		{"the last two frames missing", 1, remove(58, 60), "short;ms=67"},
		{"the last 12 frames missing", 1, remove(48, 60), "short;ms=400"},
		{"the first 12 frames missing", 1, remove(0, 12), "gap;ms=400, no-keyframe;ms=1600"},
		{"12 frames missing inside", 1, remove(20, 32), "missing-samples;ms=400;n=12"},
		{"12 frames stretched over", 1, stretch(20, 32), "missing-samples;ms=400;n=12"},
		{"two frames missing in two places", 1, func(s []Sample) []Sample { return remove(40, 41)(remove(20, 21)(s)) }, "missing-samples;ms=67;n=2"},
		{"every third frame stretched", 1, func(s []Sample) []Sample {
			for i := 57; i > 0; i -= 4 {
				s = stretch(i, i+1)(s)
			}
			return s
		}, "missing-samples;ms=500;n=15"},
		{"every other frame, which is a rate of its own", 1, func(s []Sample) []Sample {
			for i := 59; i > 0; i -= 2 {
				s = stretch(i, i+1)(s)
			}
			return s
		}, ""},
		{"pulled down 2:3", 1, func(s []Sample) []Sample {
			at := s[0].Decode
			for i := range s[:48] {
				s[i].Duration = uint32(512 + 256*(i%2))
				s[i].Decode, at = at, at+int64(s[i].Duration)
			}
			return s[:48]
		}, ""},
		{"durations that jitter", 1, func(s []Sample) []Sample {
			at := s[0].Decode
			for i := range s {
				s[i].Duration = uint32(512 - 30 + 60*(i%2))
				s[i].Decode, at = at, at+int64(s[i].Duration)
			}
			return s
		}, ""},
		{"only the first frame", 1, remove(1, 60), "short;ms=1967"},
		{"no keyframe at all", 1, flags(func(int) uint32 { return delta }), "no-keyframe;ms=2000"},
		{"no keyframe by sync flag alone", 1, flags(func(int) uint32 { return flagNonSync }), "no-keyframe;ms=2000"},
		{"no keyframe by dependency alone", 1, flags(func(int) uint32 { return flagDependsOthers }), "no-keyframe;ms=2000"},
		{"a keyframe half-way", 1, flags(func(i int) uint32 {
			if i == 30 {
				return key
			}
			return delta
		}), "no-keyframe;ms=1000"},
		{"only keyframes", 1, flags(func(int) uint32 { return key }), ""},
		{"flags that say nothing", 1, flags(func(int) uint32 { return 0 }), ""},
		{"the first frame missing, its time within a frame", 1, remove(0, 1), "no-keyframe;ms=1967"},
		{"much of everything", 1, func(s []Sample) []Sample { return remove(5, 25)(remove(30, 50)(remove(0, 10)(s))) },
			"gap;ms=333, short;ms=667, missing-samples;ms=667;n=20, no-keyframe;ms=333"},

		{"audio as it is", 3, shift(0), ""},
		{"audio one frame late", 3, shift(512), ""},
		{"audio half a segment late", 3, shift(48000), "gap;ms=1005, overlap"},
		{"audio without 10 frames inside", 3, remove(40, 50), "missing-samples;ms=213;n=10"},
		{"audio without its end", 3, remove(50, 94), "short;ms=933"},
		{"audio without sync flags", 3, flags(func(int) uint32 { return delta }), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := single(t, "avc-aac.mp4", c.track)
			samples := c.edit(slices.Clone(m.samples[1]))
			seg := AppendSegment(nil, 1, m.track, samples, avcData(samples))
			w := window(m.track, 1, 2, 1)
			r, err := Inspect(seg, m.track, w)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Findings.String(); got != c.want {
				t.Errorf("found %q, want %q (%+v in %+v)", got, c.want, r, w)
			}
			if r.Findings.MissingMS() > 2000 {
				t.Errorf("costs %d ms of 2000", r.Findings.MissingMS())
			}
			last := samples[len(samples)-1]
			if (r.Span != live.Span{Start: samples[0].Decode, End: last.Decode + int64(last.Duration), Timescale: int64(m.track.Timescale)}) || r.Samples != len(samples) {
				t.Errorf("%+v, for samples from %d to %d", r, samples[0].Decode, last.Decode)
			}
		})
	}
}

// With frames in another order, presentation time may be what is aligned. This
// must not hide frames that are missing.
func TestReorderedFramesMissing(t *testing.T) {
	for _, c := range []struct {
		remove, to int
		want       string
	}{
		{0, 0, ""},
		{47, 50, "short;ms=80, missing-samples;ms=40;n=1"},
		{20, 30, "missing-samples;ms=400;n=10"},
	} {
		m := single(t, "reordered.mp4", 1)
		samples := slices.Delete(slices.Clone(m.samples[1]), c.remove, c.to)
		seg := AppendSegment(nil, 1, m.track, samples, avcData(samples))
		r, err := Inspect(seg, m.track, window(m.track, 1, 2, 1))
		if err != nil || r.Findings.String() != c.want {
			t.Errorf("without %d to %d: %q, want %q (%v)", c.remove, c.to, r.Findings, c.want, err)
		}
	}
}

func TestFatalFindings(t *testing.T) {
	m := single(t, "avc-aac.mp4", 1)
	w := window(m.track, 0, 2, 1)
	other := *m.track
	other.ID = 2
	second := slices.Clone(m.samples[0])
	for i := range second {
		second[i].Description = 2
	}
	secret := encrypted(t, m)
	mixed := join(m.segments[0], segment(&other, m.samples[1], m.data[1]))
	for _, c := range []struct {
		name string
		seg  []byte
		want string
	}{
		{"another track", segment(&other, m.samples[0], m.data[0]), "wrong-track;ms=2000"},
		{"another track in the second fragment", mixed, "wrong-track;ms=2000"},
		{"a sample entry that is not there", segment(m.track, second, m.data[0]), "init-mismatch;ms=2000"},
		{"encrypted samples for a clear track", secret.segments[0], "init-mismatch;ms=2000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Inspect(c.seg, m.track, w)
			if err != nil || r.Findings.String() != c.want || !r.Findings.Fatal() {
				t.Errorf("%q, %v; want %q", r.Findings, err, c.want)
			}
		})
	}
	two := *m.track
	two.Descriptions = 2
	if r, err := Inspect(segment(m.track, second, m.data[0]), &two, w); err != nil || !r.Findings.Clean() {
		t.Errorf("sample entry 2 of 2: %q, %v", r.Findings, err)
	}
}

// A few bytes that claim the samples of a year are no segment that could be served.
func TestClaimsBeyondTheBody(t *testing.T) {
	m := single(t, "avc-aac.mp4", 1)
	claim := func(count uint32) []byte {
		box := func(name string, parts ...[]byte) []byte {
			body := bytes.Join(parts, nil)
			return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+8)), name...), body...)
		}
		be := func(v ...uint32) (b []byte) {
			for _, x := range v {
				b = binary.BigEndian.AppendUint32(b, x)
			}
			return b
		}
		traf := box("traf", box("tfhd", be(0x020008, m.track.ID, 1)), box("tfdt", be(0, 0)), box("trun", be(0, count)))
		return slices.Concat(box("moof", box("mfhd", be(0, 1)), traf), box("mdat", make([]byte, 100)))
	}
	w := window(m.track, 0, 2, 1)
	if _, err := Inspect(claim(100), m.track, w); err != nil {
		t.Errorf("a hundred samples without data: %v", err)
	}
	for _, count := range []uint32{1000, math.MaxUint32} {
		if _, err := Inspect(claim(count), m.track, w); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d samples: %v, want it malformed", count, err)
		}
	}
}

// Text is sparse: one sample may last as long as the segment, and where
// nothing is to be shown there may be none.
func TestTextSegments(t *testing.T) {
	w := Window{Start: 10_000, End: 12_000, SegmentMS: 2000}
	type cue struct {
		at       int64
		duration uint32
		data     string
	}
	empty := string(box("vtte"))
	for _, c := range []struct {
		name string
		cues []cue
		want string
	}{
		{"one long sample", []cue{{10_000, 2000, "cue"}}, ""},
		{"nothing to show", []cue{{10_000, 2000, empty}}, ""},
		{"an empty sample", []cue{{10_000, 2000, ""}}, ""},
		{"a cue between two silences", []cue{{10_000, 500, empty}, {10_500, 300, "cue"}, {10_800, 1200, empty}}, ""},
		{"cues with holes", []cue{{10_200, 300, "cue"}, {11_400, 100, "cue"}}, ""},
		{"a cue that lasts a little longer", []cue{{10_500, 1550, "cue"}}, ""},
		{"a cue that lasts too long", []cue{{10_500, 2500, "cue"}}, "overlap"},
		{"half a segment late", []cue{{11_000, 2000, "cue"}}, "overlap"},
		{"of the next segment", []cue{{12_000, 2000, "cue"}}, "gap;ms=2000"},
		{"of the segment before", []cue{{8_000, 2000, "cue"}}, "overlap;ms=2000"},
	} {
		for _, init := range [][]byte{wvttInit(), stppInit()} {
			track := handTrack(t, init)
			t.Run(track.Codecs+"/"+c.name, func(t *testing.T) {
				var samples []Sample
				for _, q := range c.cues {
					samples = append(samples, Sample{Decode: q.at, Duration: q.duration, Description: 1})
				}
				seg := AppendSegment(nil, 1, track, samples, func(i int) []byte { return []byte(c.cues[i].data) })
				r, err := Inspect(seg, track, w)
				if err != nil || r.Findings.String() != c.want {
					t.Errorf("%q, %v; want %q", r.Findings, err, c.want)
				}
			})
		}
	}
	t.Run("no samples", func(t *testing.T) {
		track := handTrack(t, wvttInit())
		r, err := Inspect(handSegment(tfhd(0x20000), tfdt(10_000), full("trun", 0, 0, uint32(0))), track, w)
		if err != nil || !r.Findings.Clean() {
			t.Errorf("%q, %v", r.Findings, err)
		}
	})
}

// tfhd, tfdt and handSegment make fragments by hand, of track 1.
func tfhd(flags uint32, fields ...any) []byte {
	return full("tfhd", 0, flags, append([]any{uint32(1)}, fields...)...)
}

func tfdt(at uint64) []byte { return full("tfdt", 1, 0, at) }

func moof(traf ...[]byte) []byte {
	return box("moof", full("mfhd", 0, 0, uint32(1)), box("traf", join(traf...)))
}

// handSegment is a moof of one traf and 400 bytes of data: from offset
// len(moof)+8 of the segment on.
func handSegment(traf ...[]byte) []byte { return join(moof(traf...), box("mdat", tenSamples())) }
