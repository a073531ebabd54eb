package cmaf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"headwater/live"
)

// atEvery has segments of so long.
func atEvery(t *Track, num, den int64) func(int) int64 {
	return func(k int) int64 { return int64(k) * num * int64(t.Timescale) / den }
}

// Pieces of a clip are clean in the place of any segment, each begins where the one before
// ends, from the last to the first too, and the same input gives the same bytes for ever.
func TestClips(t *testing.T) {
	for _, c := range []struct {
		name     string
		track    uint32
		num, den int64
		secret   bool
		pieces   int
		golden   string
	}{
		{name: "avc-aac.mp4", track: 1, num: 2, den: 1, pieces: 3, golden: "e0a1a5"},
		{name: "avc-aac.mp4", track: 3, num: 2, den: 1, pieces: 3, golden: "eef683"},
		{name: "avc-aac.mp4", track: 1, num: 2, den: 1, secret: true, pieces: 3, golden: "c48bc2"},
		{name: "avc-aac.mp4", track: 1, num: 4, den: 1, pieces: 1, golden: "d6f730"},
		{name: "ntsc.mp4", track: 1, num: 2002, den: 1000, pieces: 3, golden: "e30a60"},
		{name: "ntsc.mp4", track: 2, num: 2002, den: 1000, pieces: 3, golden: "f49fb3"},
		{name: "cenc.mp4", track: 1, num: 2, den: 1, pieces: 2, golden: "65943a"},
		{name: "reordered.mp4", track: 1, num: 2, den: 1, pieces: 2, golden: "ff31c6"},
		{name: "edited.mp4", track: 1, num: 2, den: 1, pieces: 2, golden: "5c57db"},
		{name: "negative.mp4", track: 1, num: 2, den: 1, pieces: 2, golden: "610821"},
		{name: "hevc.mp4", track: 1, num: 1, den: 1, pieces: 1, golden: "57f9e6"},
	} {
		t.Run(fmt.Sprintf("%s/%d/%d/%v", c.name, c.track, c.num, c.secret), func(t *testing.T) {
			m := single(t, c.name, c.track)
			file := fixture(t, c.name)
			if c.secret {
				m = encrypted(t, m)
				file = join(append([][]byte{m.init}, m.segments...)...)
			}
			pieces, err := ParseClip(file, m.track, atEvery(m.track, c.num, c.den))
			if err != nil || len(pieces) != c.pieces {
				t.Fatalf("%d pieces of %d segments, %v", len(pieces), len(m.segments), err)
			}
			all := live.Digest{}
			var before live.Span
			for n := 700; n < 700+2*len(pieces)+1; n++ {
				w := window(m.track, n, c.num, c.den)
				b, err := Again(pieces[n%len(pieces)], m.track, w, uint32(n), nil)
				if err != nil {
					t.Fatal(err)
				}
				if n > 700 {
					w.Previous = before
				}
				r, err := Inspect(b, m.track, w)
				if err != nil || !r.Findings.Clean() || !r.Keyframe {
					t.Errorf("segment %d: %+v, %v", n, r, err)
				}
				if n > 700 && abs(r.Span.Start-before.End) > 1 {
					t.Errorf("segment %d: from %d, after %d", n, r.Span.Start, before.End)
				}
				before = r.Span
				all = live.DigestOf(append(all[:], b...))
			}
			if got := fmt.Sprintf("%x", all[:3]); got != c.golden {
				t.Errorf("other bytes than ever before: %s, not %s", got, c.golden)
			}
		})
	}
}

// What cannot stand in is refused, and it is said why.
func TestClipsThatDoNotFit(t *testing.T) {
	m := single(t, "avc-aac.mp4", 1)
	file := fixture(t, "avc-aac.mp4")
	two := atEvery(m.track, 2, 1)
	clear := func() []byte { return join(append([][]byte{m.init}, m.segments...)...) }
	secret := encrypted(t, m)
	of := func(name string, id uint32) *Track { return single(t, name, id).track }
	for _, c := range []struct {
		name string
		file []byte
		t    *Track
		at   func(int) int64
		want string
	}{
		{"nothing", nil, m.track, two, "there is no media in it"},
		{"no MP4", []byte("this is no MP4 file at all"), m.track, two, "not CMAF"},
		{"only its head", m.init, m.track, two, "there is no media in it"},
		{"cut off", file[:len(file)-10], m.track, two, "malformed"},
		{"another size", file, of("avc-aac.mp4", 2), two, ""},
		{"another codec", fixture(t, "hevc.mp4"), m.track, two, "timescale is 15360"},
		{"no such track", fixture(t, "hevc.mp4"), of("avc-aac.mp4", 3), two, "it has no audio track"},
		{"another timescale", fixture(t, "ntsc.mp4"), m.track, two, "timescale is 15360 in the old init segment and 30000 in the new one; the old one is the rendition's, the new one the clip's: encode it with all options of the rendition's encoder"},
		{"in the clear", clear(), secret.track, two, "the new one the clip's"},
		{"encrypted", join(append([][]byte{secret.init}, secret.segments...)...), m.track, two, "the new one the clip's"},
		{"too short", file, m.track, atEvery(m.track, 60, 1), "it lasts for 6.000 s, and a segment for 60.000 s"},
		{"key frames elsewhere", file, m.track, atEvery(m.track, 3, 2), "a segment begins at 1.500 s of it, and the nearest key frame is at 2.000 s: it needs one every 1.500 s"},
		{"no key frames", join(m.init, AppendSegment(nil, 1, m.track, m.samples[1], avcData(m.samples[1]))), m.track, atEvery(m.track, 1, 1), "no key frame is there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pieces, err := ParseClip(c.file, c.t, c.at)
			if c.want == "" {
				if err != nil {
					t.Errorf("%v", err) // the file has that track, too
				}
				return
			}
			if err == nil || pieces != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d pieces, %v", len(pieces), err)
			}
			if !errors.Is(err, ErrUnfit) && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNotCMAF) {
				t.Errorf("%v is of no kind", err)
			}
		})
	}
}

// A decoder takes a piece of a clip between segments of the programme for what it is.
func TestClipsAreDecoded(t *testing.T) {
	for id, want := range map[uint32]int{1: 5 * 60, 3: 468} {
		m := single(t, "avc-aac.mp4", id)
		pieces, err := ParseClip(fixture(t, "avc-aac.mp4"), m.track, atEvery(m.track, 2, 1))
		if err != nil {
			t.Fatal(err)
		}
		all := [][]byte{m.init, m.segments[0], m.segments[1]}
		for n := 2; n < 5; n++ {
			b, err := Again(pieces[n%len(pieces)], m.track, window(m.track, n, 2, 1), uint32(n), nil)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b)
		}
		if got := frames(t, join(all...), 0, "-xerror"); len(got) < want || len(got) > want+3 { // a decoder of sound begins and ends with some more
			t.Errorf("track %d: %d frames, want %d", id, len(got), want)
		}
	}
}

// TestClipOfTooManySamples: a small file is not taken apart into more than memory holds.
func TestClipOfTooManySamples(t *testing.T) {
	m := single(t, "avc-aac.mp4", 1)
	const samples = maxClipSamples / 2
	fragment := func(at int) []byte {
		return moof(tfhd(tfhdBaseIsMoof|tfhdSize, uint32(1)), tfdt(0), full("trun", 0, trunDataOffset, uint32(samples), int32(at)))
	}
	one := join(fragment(len(fragment(0))+8), box("mdat", make([]byte, samples)))
	for n, many := range map[int]bool{2: false, 3: true} {
		file := join(m.init, bytes.Repeat(one, n))
		if _, err := ParseClip(file, m.track, atEvery(m.track, 2, 1)); !errors.Is(err, ErrUnfit) || strings.Contains(err.Error(), "more than 1048576 samples") != many {
			t.Errorf("%d fragments of %d: %v", n, samples, err)
		}
	}
}

// FuzzParseClip: whatever is uploaded is refused, or makes pieces that can be shown.
func FuzzParseClip(f *testing.F) {
	m := single(f, "avc-aac.mp4", 1)
	secret := encrypted(f, m)
	f.Add(fixture(f, "avc-aac.mp4"), false)
	f.Add(join(append([][]byte{m.init}, m.segments...)...), false)
	f.Add(join(append([][]byte{secret.init}, secret.segments...)...), true)
	f.Add(fixture(f, "negative.mp4"), false)
	f.Fuzz(func(t *testing.T, file []byte, encrypted bool) {
		track := m.track
		if encrypted {
			track = secret.track
		}
		before := bytes.Clone(file)
		pieces, err := ParseClip(file, track, atEvery(track, 2, 1))
		if !bytes.Equal(before, file) {
			t.Fatal("the file was changed")
		}
		if err != nil {
			return
		}
		for k, p := range pieces {
			w := window(track, k, 2, 1)
			b, err := Again(p, track, w, uint32(k), nil)
			if err != nil {
				continue // who uploads it is told
			}
			if _, err := Inspect(b, track, w); err != nil {
				t.Fatalf("piece %d cannot be read: %v", k, err)
			}
		}
	})
}
