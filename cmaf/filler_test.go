package cmaf

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"headwater/live"
)

// A filler is clean in the place of the lost one, for one segment and for a run of
// them; each begins where the one before ends, and the same input gives the same
// bytes for ever: nodes of two versions answer with one segment.
func TestFillers(t *testing.T) {
	for _, c := range []struct {
		name     string
		track    uint32
		num, den int64
		zero     bool // times begin at 0
		secret   bool // encrypted by us
		golden   string
	}{
		{name: "avc-aac.mp4", track: 1, num: 2, den: 1, golden: "70e841"},
		{name: "avc-aac.mp4", track: 3, num: 2, den: 1, golden: "8913ad"},
		{name: "avc-aac.mp4", track: 1, num: 2, den: 1, secret: true, golden: "eaf80e"},
		{name: "avc-aac.mp4", track: 3, num: 2, den: 1, secret: true, golden: "2710bf"},
		{name: "ntsc.mp4", track: 1, num: 2002, den: 1000, golden: "429b03"},
		{name: "ntsc.mp4", track: 2, num: 2002, den: 1000, golden: "bb5b55"},
		{name: "cenc.mp4", track: 1, num: 2, den: 1, golden: "bdf0c0"},
		{name: "cenc.mp4", track: 2, num: 2, den: 1, golden: "772bb1"},
		{name: "reordered.mp4", track: 1, num: 2, den: 1, golden: "f6814c"},
		{name: "edited.mp4", track: 1, num: 2, den: 1, zero: true, golden: "ad10a8"},
		{name: "negative.mp4", track: 1, num: 2, den: 1, zero: true, golden: "cee5ec"},
		{name: "hevc.mp4", track: 1, num: 1, den: 1, golden: "d340fb"},
		{name: "av1.mp4", track: 1, num: 1, den: 1, golden: "713dc5"},
		{name: "vp9.mp4", track: 1, num: 1, den: 1, golden: "38ae2f"},
	} {
		t.Run(fmt.Sprintf("%s/%d/%v", c.name, c.track, c.secret), func(t *testing.T) {
			m := single(t, c.name, c.track)
			if c.secret {
				m = encrypted(t, m)
			}
			at := func(i int) Window {
				w := window(m.track, i, c.num, c.den)
				if c.zero {
					w.End -= fixtureStart * int64(m.track.Timescale)
					w.Start -= fixtureStart * int64(m.track.Timescale)
				}
				return w
			}
			all := live.Digest{}
			for i, src := range m.segments {
				r, err := Inspect(src, m.track, at(i))
				if err != nil {
					t.Fatal(err)
				}
				before := r.Span
				for run := 1; run <= 5; run++ {
					b, err := Filler(src, m.track, at(i), at(i+run), uint32(i+run), nil)
					if err != nil {
						t.Fatal(err)
					}
					w := at(i + run)
					w.Previous = before
					r, err := Inspect(b, m.track, w)
					if err != nil || len(r.Findings) > 0 && !r.Findings.Clean() || !r.Keyframe {
						t.Errorf("segment %d, %d behind: %+v, %v", i, run, r, err)
					}
					// What ends with the stream ends anywhere.
					off := abs(r.Span.Start - before.End)
					if exact := m.track.Type == live.Audio && i < len(m.segments)-1; off > int64(r.FrameDuration) || exact && off > 0 {
						t.Errorf("segment %d, %d behind: from %d, after %d", i, run, r.Span.Start, before.End)
					}
					before = r.Span
					all = live.DigestOf(append(all[:], b...))
				}
			}
			if got := fmt.Sprintf("%x", all[:3]); got != c.golden {
				t.Errorf("other bytes than ever before: %s, not %s", got, c.golden)
			}
		})
	}
}

// What a filler of a defective or unusual source is.
func TestFillersOfOddSources(t *testing.T) {
	keep := func(s []Sample) []Sample { return s }
	for _, c := range []struct {
		name  string
		track uint32
		edit  edit
		want  string
	}{
		{"without its last 12 frames", 1, func(s []Sample) []Sample { return s[:48] }, "missing-samples;ms=400;n=12"},
		{"without 12 frames inside", 1, func(s []Sample) []Sample { return slices.Delete(s, 20, 32) }, "missing-samples;ms=400;n=12"},
		{"of one frame", 1, func(s []Sample) []Sample { return s[:1] }, ""},
		{"a fifth of a segment late", 1, func(s []Sample) []Sample {
			for i := range s {
				s[i].Decode += 6144
			}
			return s
		}, "off-grid;ms=400"},
		{"durations that are not said", 1, func(s []Sample) []Sample {
			for i := range s {
				s[i].Duration = 0
			}
			return s
		}, ""},
		{"sound without its end", 3, func(s []Sample) []Sample { return s[:50] }, ""},
		{"sound without its beginning", 3, func(s []Sample) []Sample { return s[50:] }, ""},
		{"sound as it is", 3, keep, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := single(t, "avc-aac.mp4", c.track)
			samples := c.edit(slices.Clone(m.samples[1]))
			src := AppendSegment(nil, 1, m.track, samples, avcData(samples))
			b, err := Filler(src, m.track, window(m.track, 1, 2, 1), window(m.track, 2, 2, 1), 2, nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Inspect(b, m.track, window(m.track, 2, 2, 1))
			if err != nil || r.Findings.String() != c.want {
				t.Errorf("%q, want %q; %+v, %v", r.Findings, c.want, r, err)
			}
		})
	}
}

// What is beside the media of the source is not said again.
func TestFillersSayNothingTwice(t *testing.T) {
	m := single(t, "avc-aac.mp4", 1)
	src := join(box("styp", "lmsg", uint32(0), "lmsg"), full("prft", 1, 0, uint32(1), uint64(5), uint64(7)),
		anEvent, full("sidx", 0, 0, make([]byte, 32)), m.segments[1])
	b, err := Filler(src, m.track, window(m.track, 1, 2, 1), window(m.track, 2, 2, 1), 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	var boxes []string
	for x, err := range Boxes(b) {
		if err != nil {
			t.Fatal(err)
		}
		boxes = append(boxes, x.Type.String())
	}
	if got := strings.Join(boxes, " "); got != "styp moof mdat" || bytes.Contains(b, []byte("lmsg")) {
		t.Errorf("%s", got)
	}
}

// A fragment whose samples must stay together, since their keys change, stays as it
// is but for its time.
func TestFillersOfKeysThatChange(t *testing.T) {
	m := encrypted(t, single(t, "avc-aac.mp4", 1))
	src := slices.Clone(m.segments[1])
	group := full("sbgp", 0, 0, "seig", uint32(1), uint32(len(m.samples[1])), uint32(0x10001))
	at := bytes.Index(src, []byte("trun")) - 4
	src = slices.Insert(src, at, group...)
	for _, typ := range []string{"moof", "traf"} {
		grow(src, typ, len(group))
	}
	for _, field := range []string{"trun", "saio"} { // their offsets count from the moof
		i := bytes.Index(src, []byte(field)) + 12
		copy(src[i:], binary32(be32(src[i:])+uint32(len(group))))
	}
	b, err := Filler(src, m.track, window(m.track, 1, 2, 1), window(m.track, 2, 2, 1), 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := Inspect(b, m.track, window(m.track, 2, 2, 1)); err != nil || !r.Findings.Clean() || r.Samples != len(m.samples[1]) {
		t.Errorf("%+v, %v", r, err)
	}
	if !bytes.Contains(b, group) || !bytes.HasSuffix(b, bytes.Join(m.data[1], nil)) {
		t.Error("the groups or the data are others")
	}
}

func binary32(v uint32) []byte { return []byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)} }

// Text says nothing for as long as the segment lasts.
func TestFillersOfText(t *testing.T) {
	for _, c := range []struct {
		init []byte
		want string
	}{{wvttInit(), "\x00\x00\x00\x08vtte"}, {stppInit(), `<tt xmlns="http://www.w3.org/ns/ttml" xml:lang=""/>`}} {
		track := handTrack(t, c.init)
		w := Window{Start: 4000, End: 6000, SegmentMS: 2000}
		b, err := Filler(nil, track, Window{Start: 2000, End: 4000}, w, 3, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Inspect(b, track, w)
		if err != nil || !r.Findings.Clean() || r.Samples != 1 || r.Span != (live.Span{Start: 4000, End: 6000, Timescale: 1000}) {
			t.Errorf("%+v, %v", r, err)
		}
		if !bytes.HasSuffix(b, []byte(c.want)) {
			t.Errorf("%q", b)
		}
	}
}

// Where nothing can be made it is said why.
func TestNoFillers(t *testing.T) {
	m := single(t, "avc-aac.mp4", 1)
	from, to := window(m.track, 1, 2, 1), window(m.track, 2, 2, 1)
	other := *m.track
	other.ID = 9
	for name, f := range map[string]func() ([]byte, error){
		"no samples": func() ([]byte, error) { return Filler(AppendStyp(nil), m.track, from, to, 2, nil) },
		"cut off":    func() ([]byte, error) { return Filler(m.segments[1][:300], m.track, from, to, 2, nil) },
		"another's":  func() ([]byte, error) { return Filler(m.segments[1], &other, from, to, 2, nil) },
		"before all time": func() ([]byte, error) {
			return Filler(m.segments[1], m.track, from, Window{Start: -1 << 50, End: -1<<50 + 30720}, 2, nil)
		},
		"no time at all": func() ([]byte, error) {
			return Filler(m.segments[1], m.track, from, Window{Start: to.Start, End: to.Start}, 2, nil)
		},
	} {
		b, err := f()
		if err == nil || b != nil {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
			continue
		}
		ours(t, err)
	}
}

// A decoder takes silence for what it is, in each configuration of channels, and
// goes on with sound behind it.
func TestSilence(t *testing.T) {
	for i, layout := range []string{"mono", "stereo", "3.0", "4.0", "5.0", "5.1"} {
		channels := i + 1
		b := ffmpeg(t, nil, fmt.Sprintf("-f lavfi -i sine=frequency=440:sample_rate=48000:duration=2 -af aformat=channel_layouts=%s -c:a aac -b:a 64k -f mp4 -movflags +frag_keyframe+empty_moov+default_base_moof pipe:1", layout))
		all := parts(t, b)
		one, err := all[0].Init.Single(all[0].Raw, all[0].Init.Tracks[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		track := handTrack(t, one)
		if !track.silenceable() {
			t.Fatalf("%d channels: %+v", channels, track)
		}
		var sound []byte
		var last int64
		for i, p := range all[1:] {
			f := &p.Fragment.Tracks[0]
			sound = AppendChunk(sound, uint32(i), track, f.Samples, func(i int) []byte { return p.Data(f.Samples[i]) })
			last = f.Samples[len(f.Samples)-1].Decode + 1024
		}
		silence, err := Filler(sound, track, Window{Start: 0, End: last}, Window{Start: last, End: 2 * last}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		pcm := ffmpeg(t, join(one, sound, silence), "-xerror -i pipe:0 -f s16le -")
		frame := 2 * channels
		if got, want := len(pcm)/frame, int(2*last); got < want-4096 || got > want {
			t.Errorf("%d channels: %d of %d samples", channels, got, want)
		}
		loud := func(b []byte) bool { return bytes.ContainsFunc(b, func(r rune) bool { return r != 0 }) }
		if quiet := pcm[(int(last)+4096)*frame:]; loud(quiet) || !loud(pcm[:len(pcm)/4]) {
			t.Errorf("%d channels: silence that is not", channels)
		}
	}
}

// FuzzFiller: whatever it is made of, a filler is a segment, and no giant.
func FuzzFiller(f *testing.F) {
	m := single(f, "avc-aac.mp4", 1)
	sound, text := single(f, "avc-aac.mp4", 3), handTrack(f, wvttInit())
	secret, noise := encrypted(f, m), *sound.track
	noise.Codecs = "mp4a.40.5"
	for _, b := range [][]byte{m.segments[1], sound.segments[1], secret.segments[1], {}} {
		f.Add(b[:min(len(b), 4000)], int64(30720), int64(1))
	}
	for _, inputs := range seeds(f) {
		for _, b := range inputs {
			f.Add(b, int64(400), int64(2))
		}
	}
	tracks := []*Track{m.track, sound.track, secret.track, &noise, text, videoTrack(f)}
	f.Fuzz(func(t *testing.T, b []byte, ticks, behind int64) {
		ticks, behind = min(max(ticks, 0), 60<<32), min(max(behind, 0), 1<<20)
		for _, track := range tracks {
			from := Window{Start: 1000, End: 1000 + ticks, SegmentMS: 2000}
			to := Window{Start: from.Start + behind*ticks, End: from.Start + (behind+1)*ticks, SegmentMS: 2000}
			out, err := Filler(b, track, from, to, uint32(behind), nil)
			if err != nil {
				ours(t, err)
				continue
			}
			if len(out) > maxFillerGrowth*len(b)+maxFillerFrames*60 {
				t.Fatalf("%d bytes of %d", len(out), len(b))
			}
			r, err := Inspect(out, track, to)
			if err != nil {
				t.Fatal(err)
			}
			if r.Findings.Has(live.WrongTrack) {
				t.Fatal(r.Findings)
			}
			if again, _ := Filler(b, track, from, to, uint32(behind), nil); !bytes.Equal(again, out) {
				t.Fatal("made twice it is another")
			}
		}
	})
}
