package cmaf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"headwater/live"
)

// What an init segment's parameter sets say agrees with its sample entry.
func TestPicturesOfInitSegments(t *testing.T) {
	for name, want := range map[string]string{
		"avc-aac.mp4": "64x36, profile 100", "hevc.mp4": "64x36, profile 1", "av1.mp4": "64x64", "vp9.mp4": "64x36",
		"cases/init-a.mp4": "160x90, profile 77", "cases/init-b.mp4": "320x180, profile 77", "cases/radl-init.mp4": "64x36, profile 1",
	} {
		track := &parts(t, fixture(t, name))[0].Init.Tracks[0]
		c := &track.codings[0]
		if len(c.pictures) != 1 || c.pictures[0].String() != want || track.Width != c.pictures[0].width || track.Height != c.pictures[0].height {
			t.Errorf("%s: %v, want %s (%dx%d)", name, c.pictures, want, track.Width, track.Height)
		}
		if strings.Contains(want, "profile") && !c.sets.has(0) {
			t.Errorf("%s: no picture parameter set 0", name)
		}
	}
}

// pace gives the samples of one track the times of another's, as many as there are.
func pace(samples, times []Sample) []Sample {
	out := slices.Clone(samples[:min(len(samples), len(times))])
	for i := range out {
		out[i].Decode, out[i].Duration, out[i].Composition = times[i].Decode, times[i].Duration, times[i].Composition
	}
	return out
}

// Bytes of one codec under the init segment of another.
func TestForeignCodecs(t *testing.T) {
	type source struct {
		name string
		id   uint32
	}
	video := []source{{"avc-aac.mp4", 1}, {"hevc.mp4", 1}, {"av1.mp4", 1}, {"vp9.mp4", 1}}
	sound := []source{{"avc-aac.mp4", 3}, {"audio.mp4", 1}, {"audio.mp4", 2}, {"audio.mp4", 3}, {"audio.mp4", 4}}
	for _, kind := range [][]source{video, sound} {
		for _, under := range kind {
			for _, of := range kind {
				a, b := single(t, under.name, under.id), single(t, of.name, of.id)
				if a.track.Codecs == b.track.Codecs {
					continue
				}
				if name := a.track.Codecs[:4]; name == "mp4a" || name == "Opus" {
					continue // whose bytes may be anything
				}
				samples := b.samples[0]
				if a.track.Type == live.Video {
					samples = pace(samples, a.samples[0])
				}
				seg := segment(a.track, samples, b.data[0])
				r, err := Inspect(seg, a.track, Window{Start: samples[0].Decode, End: samples[len(samples)-1].Decode + int64(samples[len(samples)-1].Duration), SegmentMS: 2000})
				if err != nil || r.Findings.String() != "init-mismatch;ms=2000" || r.Foreign == "" {
					t.Errorf("%s under %s: %q (%s), %v", b.track.Codecs, a.track.Codecs, r.Findings, r.Foreign, err)
				}
			}
		}
	}
}

// nals makes a sample of NAL units, with length fields of size bytes.
func nals(size int, units ...string) []byte {
	var b []byte
	for _, u := range units {
		b = append(b, binary.BigEndian.AppendUint32(nil, uint32(len(u)))[4-size:]...)
		b = append(b, u...)
	}
	return b
}

// The parameter sets of two encodes, of 160x90 and of 320x180.
func avcSetsOf(t testing.TB, name string) (sps, pps string) {
	t.Helper()
	e, err := handTrack(t, fixture(t, name)).entries()
	if err != nil {
		t.Fatal(err)
	}
	p := e[0].child("avcC").Payload()
	nal, p := lengthPrefixed(p[6:])
	sps = string(nal)
	nal, _ = lengthPrefixed(p[1:])
	return sps, string(nal)
}

func TestLooksIntoSamples(t *testing.T) {
	spsA, ppsA := avcSetsOf(t, "cases/init-a.mp4")
	spsB, _ := avcSetsOf(t, "cases/init-b.mp4")
	small := func(format string, size byte, sets ...string) []byte {
		c := []byte{1, 77, 0x40, 0x0a, 0xfc | (size - 1), 0xe0}
		if len(sets) > 0 {
			c = append(c[:5], 0xe1)
			c = append(binary.BigEndian.AppendUint16(c, uint16(len(sets[0]))), sets[0]...)
			c = append(c, 1)
			c = append(binary.BigEndian.AppendUint16(c, uint16(len(sets[1]))), sets[1]...)
		} else {
			c = append(c, 0)
		}
		entry := entryOf(live.Video, format, box("avcC", c))
		binary.BigEndian.PutUint16(entry[8+24:], 160)
		binary.BigEndian.PutUint16(entry[8+26:], 90)
		return handInit("vide", 1000, entry)
	}
	const (
		idr, key, delta = "\x65\x88\x84", "\x41\x88\x84", "\x41\x9a\x24" // slices of type I, I and P
		set5            = "\x65\x88\x30"                                 // first_mb 0, type 7, PPS 5
		far             = "\x41\x00\x80\xc8\x84"                         // first_mb 256
		sei, aud        = "\x06\x05\x01\x80", "\x09\x10"
	)
	pps5 := string([]byte{0x68, 0x30, 0x80}) // its ID is 5
	full, bare := small("avc1", 4, spsA, ppsA), small("avc3", 4)
	hevc := func(kind byte) string { return string([]byte{kind << 1, 1, 0xaf, 0x80}) }
	hvc := handInit("vide", 1000, entryOf(live.Video, "hvc1", box("hvcC", []byte{1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 30, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 0})))
	vvc := func(kind byte) string { return string([]byte{0, kind<<3 | 1, 0xaf, 0x80}) }
	vvi := handInit("vide", 1000, entryOf(live.Video, "vvi1", box("vvcC", []byte{0, 0, 0, 0, 0xff, 0})))
	// What the rest of the segment is made of, where nothing is said.
	const mismatch = "init-mismatch;ms=400"
	for _, c := range []struct {
		name  string
		init  []byte
		first []byte
		later []byte // the fifth of ten samples; sync where it is given
		want  string
	}{
		{"an IDR picture", full, nals(4, aud, sei, idr), nil, ""},
		{"two slices", full, nals(4, idr, idr), nil, ""},
		{"an intra picture", full, nals(4, sei, key), nil, ""},
		{"a sync sample inside", full, nals(4, idr), nals(4, idr), ""},
		{"a false sync flag", full, nals(4, delta), nil, "no-keyframe;ms=400"},
		{"a false sync flag, an IDR picture later", full, nals(4, delta), nals(4, idr), "no-keyframe;ms=160"},
		{"a false sync flag inside", full, nals(4, idr), nals(4, delta), "no-keyframe"},
		{"its own parameter sets again", full, nals(4, spsA, ppsA, idr), nil, ""},
		{"those of another size", full, nals(4, spsB, ppsA, idr), nil, mismatch},
		{"those of another size, inside", full, nals(4, idr), nals(4, spsB, ppsA, idr), mismatch},
		{"avc3 of the size that the entry says", bare, nals(4, spsA, ppsA, idr), nil, ""},
		{"avc3 of another size", bare, nals(4, spsB, ppsA, idr), nil, mismatch},
		{"a picture parameter set that is nowhere", full, nals(4, set5), nil, mismatch},
		{"one that comes along", full, nals(4, pps5, set5), nil, ""},
		{"avc3 without any", bare, nals(4, set5), nil, ""},
		{"a slice outside of the picture", full, nals(4, idr, far), nil, mismatch},
		{"a NAL unit that is cut off", full, nals(4, sei, idr)[:13], nil, mismatch},
		{"one that is cut off inside", full, nals(4, idr), nals(4, sei, idr)[:13], mismatch},
		{"half a length field", full, append(nals(4, idr), 1, 2), nil, mismatch},
		{"padding", full, append(nals(4, idr), 0, 0, 0), nil, ""},
		{"much padding", full, append(nals(4, idr), make([]byte, 9)...), nil, ""},
		{"no slice", full, nals(4, aud, sei), nil, mismatch},
		{"a NAL unit type that is reserved", full, nals(4, "\x12\x00", idr), nil, mismatch},
		{"a forbidden bit", full, nals(4, "\xe5\x88\x84"), nil, mismatch},
		{"start codes", full, []byte("\x00\x00\x00\x01\x67\x64\x00\x0a\x00\x00\x00\x01\x65\x88\x84"), nil, mismatch},
		{"length fields of 1 byte", small("avc1", 1, spsA, ppsA), nals(1, sei, idr), nals(1, idr), ""},
		{"length fields of 2 bytes", small("avc1", 2, spsA, ppsA), nals(2, sei, idr), nals(2, idr), ""},
		{"HEVC, an IDR picture", hvc, nals(4, hevc(20)), nals(4, hevc(19)), ""},
		{"HEVC, a CRA picture", hvc, nals(4, hevc(39), hevc(21)), nil, ""},
		{"HEVC, a BLA picture", hvc, nals(4, hevc(16)), nil, ""},
		{"HEVC, a trailing picture", hvc, nals(4, hevc(1)), nil, "no-keyframe;ms=400"},
		{"HEVC, a reserved type", hvc, nals(4, hevc(20), hevc(41)), nil, mismatch},
		{"HEVC, another layer first", hvc, nals(4, string([]byte{19 << 1, 9, 0xaf, 0x80})), nil, mismatch},
		{"HEVC, temporal ID 0", hvc, nals(4, string([]byte{19 << 1, 0, 0xaf, 0x80})), nil, mismatch},
		{"AVC under HEVC", hvc, nals(4, idr), nil, mismatch},
		{"HEVC under AVC", full, nals(4, hevc(39), hevc(19)), nil, mismatch},
		{"VVC, an IDR picture", vvi, nals(4, vvc(20), vvc(8)), nals(4, vvc(7)), ""},
		{"VVC, a CRA picture", vvi, nals(4, vvc(9)), nil, ""},
		{"VVC, a gradual refresh", vvi, nals(4, vvc(10)), nil, "no-keyframe;ms=400"},
		{"VVC, a trailing picture", vvi, nals(4, vvc(0)), nil, "no-keyframe;ms=400"},
		{"VVC, a reserved type", vvi, nals(4, vvc(26), vvc(8)), nil, mismatch},
		{"AVC under VVC", vvi, nals(4, idr), nil, mismatch},
		{"HEVC under VVC", vvi, nals(4, hevc(20)), nil, mismatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			track := handTrack(t, c.init)
			var samples []Sample
			for i := range int64(10) {
				samples = append(samples, Sample{Decode: 1000 + 40*i, Duration: 40, Description: 1, Flags: flagNonSync})
			}
			samples[0].Flags = 0
			size, other := track.codings[0].length, delta
			switch track.codings[0].scheme {
			case schemeHEVC:
				other = hevc(1)
			case schemeVVC:
				other = vvc(0)
			}
			data := slices.Repeat([][]byte{nals(size, other)}, 10)
			data[0] = c.first
			if c.later != nil {
				data[4], samples[4].Flags = c.later, 0
			}
			// In one fragment, and in one for each sample.
			one := segment(track, samples, data)
			many := AppendStyp(nil)
			for i := range samples {
				many = AppendChunk(many, uint32(i), track, samples[i:i+1], func(int) []byte { return data[i] })
			}
			for _, seg := range [][]byte{one, many} {
				r, err := Inspect(seg, track, Window{Start: 1000, End: 1400, SegmentMS: 400})
				if err != nil || r.Findings.String() != c.want || (r.Foreign != "") != r.Findings.Fatal() {
					t.Errorf("%q (%s), %v; want %q", r.Findings, r.Foreign, err, c.want)
				}
			}
		})
	}
}

// Where all samples say that they are sync samples nobody relies on it.
func TestSyncFlagsThatSayNothing(t *testing.T) {
	m := single(t, "avc-aac.mp4", 1)
	samples := slices.Clone(m.samples[1])
	for i := range samples {
		samples[i].Flags = 0
	}
	r, err := Inspect(segment(m.track, samples, m.data[1]), m.track, window(m.track, 1, 2, 1))
	if err != nil || len(r.Findings) > 0 || !r.Keyframe {
		t.Errorf("%q, %v", r.Findings, err)
	}
}

// A key frame by its header: what AV1 and VP9 call one.
func TestFalseSyncOfOtherCodecs(t *testing.T) {
	for _, name := range []string{"av1.mp4", "vp9.mp4", "hevc.mp4"} {
		m := single(t, name, 1)
		samples, data := slices.Clone(m.samples[0]), slices.Clone(m.data[0])
		data[0] = data[3]
		r, err := Inspect(segment(m.track, samples, data), m.track, window(m.track, 0, 1, 1))
		if err != nil || r.Findings.String() != "no-keyframe;ms=1000" {
			t.Errorf("%s: %q, %v", name, r.Findings, err)
		}
	}
}

// Pictures before the key frame: whole behind an IDR picture with its own, an
// open group behind a CRA.
func TestOpenGroups(t *testing.T) {
	track := handTrack(t, fixture(t, "cases/radl-init.mp4"))
	for kind, want := range map[byte]string{19: "", 21: "open-gop", 16: "open-gop"} {
		r := train{track: track, nominal: 2 * int64(track.Timescale)}
		r.inspect(t, 0, fixture(t, "cases/radl-1.m4s"))
		seg := fixture(t, "cases/radl-2.m4s")
		at := bytes.Index(seg, []byte("mdat")) + 4 + 4
		if seg[at]>>1 != 19 {
			t.Fatalf("%#x is no IDR_W_RADL", seg[at])
		}
		seg[at] = kind << 1
		if rep := r.inspect(t, 1, seg); rep.Findings.String() != want || !rep.Findings.Clean() {
			t.Errorf("NAL unit type %d: %q, want %q", kind, rep.Findings, want)
		}
	}
}

// Behind a closed group nothing may lack at the end, for no picture of the next
// segment is shown before its key frame.
func TestClosedGroupsEndOnTheGrid(t *testing.T) {
	m := single(t, "reordered.mp4", 1)
	for _, c := range []struct {
		known bool
		want  string
	}{{false, ""}, {true, "short;ms=120"}} {
		w := window(m.track, 1, 2, 1)
		samples, data := m.samples[1], m.data[1]
		// The last three as they are shown, in decode order.
		var kept []Sample
		var of [][]byte
		for i, s := range samples {
			if s.Decode+int64(s.Composition) < w.End-3*512 {
				kept, of = append(kept, s), append(of, data[i])
			}
		}
		if c.known {
			w.Previous = live.Span{Start: w.Start - 25600, End: w.Start, Timescale: int64(m.track.Timescale)}
		}
		r, err := Inspect(segment(m.track, kept, of), m.track, w)
		if err != nil || len(kept) != 47 {
			t.Fatal(err, len(kept))
		}
		if got := r.Findings.String(); c.known && got != c.want {
			t.Errorf("known %v: %q, want %q", c.known, got, c.want)
		}
	}
}

// AAC has no mark of its own, but what brings one of ADTS along is not what the
// init segment says.
func TestForeignSoundUnderAAC(t *testing.T) {
	m := single(t, "avc-aac.mp4", 3)
	for name, mark := range map[string][]byte{"ADTS": {0xff, 0xf1, 0x4c, 0x40}, "AC-3": {0x0b, 0x77, 0x12, 0x34}} {
		data := slices.Clone(m.data[0])
		data[0] = append(mark, data[0]...)
		if r, err := Inspect(segment(m.track, m.samples[0], data), m.track, window(m.track, 0, 2, 1)); err != nil || r.Findings.String() != "init-mismatch;ms=2000" {
			t.Errorf("%s: %q, %v", name, r.Findings, err)
		}
	}
}

// An init segment that says another depth, chroma or sampling rate than the
// frames themselves.
func TestContradictedInits(t *testing.T) {
	depth := func(c *coding) { c.pictures[0].depth = 10 }
	chroma := func(c *coding) { c.pictures[0].chroma = 3 }
	rate := func(c *coding) { c.dolby.rate ^= 1 }
	for _, x := range []struct {
		name   string
		id     uint32
		change func(*coding)
	}{{"av1.mp4", 1, depth}, {"av1.mp4", 1, chroma}, {"vp9.mp4", 1, depth}, {"vp9.mp4", 1, chroma}, {"audio.mp4", 3, rate}, {"audio.mp4", 4, rate}} {
		m := single(t, x.name, x.id)
		inspect := func() Report {
			r, err := Inspect(segment(m.track, m.samples[0], m.data[0]), m.track, window(m.track, 0, 1, 1))
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		if r := inspect(); r.Foreign != "" {
			t.Errorf("%s, %s as it is: %s", x.name, m.track.Codecs, r.Foreign)
		}
		if x.change(&m.track.codings[0]); inspect().Foreign == "" {
			t.Errorf("%s, %s: nothing contradicts %+v", x.name, m.track.Codecs, m.track.codings[0])
		}
	}
}

// Sequence headers of SVT-AV1, which has more in front of the depth than most.
func TestSequenceHeaders(t *testing.T) {
	for text, want := range map[string]picture{
		"\x00\x00\x00\x03\xb4\xfd\xf0\x0b\xe0\x01": {depth: 8, chroma: 1, width: 160, height: 96},
		"\x00\x00\x00\x03\xb4\xfd\xf0\x0b\xe1\x01": {depth: 10, chroma: 1, width: 160, height: 96},
	} {
		if p, ok := parseSequence([]byte(text)); !ok || p != want {
			t.Errorf("%x: %+v, %v; want %+v", text, p, ok, want)
		}
	}
}

// Of encrypted samples the headers are clear where the subsamples say so.
func TestLooksIntoEncryptedSamples(t *testing.T) {
	m := encrypted(t, single(t, "avc-aac.mp4", 1))
	w := window(m.track, 0, 2, 1)
	for _, c := range []struct {
		name string
		edit func(d []byte)
		want string
	}{
		{"as it is", func([]byte) {}, ""},
		{"a NAL unit that runs past the end", func(d []byte) { d[1]++ }, "init-mismatch;ms=2000"},
		{"a reserved type", func(d []byte) { d[4] = d[4]&^31 | 22 }, "init-mismatch;ms=2000"},
		{"what is secret", func(d []byte) { d[6] ^= 0xff }, ""},
	} {
		data := slices.Clone(m.data[0])
		data[0] = slices.Clone(data[0])
		c.edit(data[0])
		r, err := Inspect(segment(m.track, m.samples[0], data), m.track, w)
		if err != nil || r.Findings.String() != c.want {
			t.Errorf("%s: %q (%s), %v; want %q", c.name, r.Findings, r.Foreign, err, c.want)
		}
	}
	// Subsamples that are not those of the sample say nothing of it.
	samples := slices.Clone(m.samples[0])
	samples[0].Aux = slices.Clone(samples[0].Aux)
	samples[0].Aux[11]++
	data := slices.Clone(m.data[0])
	data[0] = append([]byte{0xff}, data[0][1:]...)
	if r, err := Inspect(segment(m.track, samples, data), m.track, w); err != nil || len(r.Findings) > 0 {
		t.Errorf("other subsamples: %q, %v", r.Findings, err)
	}
}

func TestClearing(t *testing.T) {
	pair := func(clear uint16, secret uint32) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, clear), secret)
	}
	c := clearing{rest: join(pair(5, 10), pair(0, 5), pair(20, 0))}
	for _, q := range []struct {
		from, to int
		want     bool
	}{{0, 5, true}, {0, 6, false}, {15, 20, false}, {20, 25, true}, {38, 40, true}, {39, 41, false}} {
		walk := c
		if got := walk.holds(q.from, q.to); got != q.want {
			t.Errorf("%d to %d: %v", q.from, q.to, got)
		}
	}
}

// However many NAL units there are, so many are looked at.
func TestUnitsAreBounded(t *testing.T) {
	track := videoTrack(t)
	idr := nals(4, "\x65\x88\x84")
	many := bytes.Repeat(nals(4, "\x06"), 2_000)
	for _, c := range []struct {
		syncs, others int
		broken        int // sample whose last unit is cut off
		want          string
	}{
		{1, 0, 0, "init-mismatch;ms=400"},
		{3, 0, 2, "no-keyframe;ms=80"}, // none has a slice before its end
	} {
		var samples []Sample
		var data [][]byte
		for i := range c.syncs {
			samples = append(samples, Sample{Decode: 1000 + 40*int64(i), Duration: 40, Description: 1})
			d := join(many, idr)
			if i == c.broken {
				d = d[:len(d)-1]
			}
			data = append(data, d)
		}
		r, err := Inspect(segment(track, samples, data), track, Window{Start: 1000, End: 1000 + 40*int64(c.syncs), SegmentMS: 400})
		if err != nil || c.broken == 0 && r.Findings.String() != c.want || c.broken > 0 && r.Findings.Fatal() {
			t.Errorf("%d samples of 2,000 units, number %d broken: %q (%s), %v", c.syncs, c.broken, r.Findings, r.Foreign, err)
		}
	}
}

func ExampleReport_foreign() {
	track := &Track{ID: 1, Type: live.Video, Timescale: 1000, Descriptions: 1, codings: []coding{{scheme: schemeAVC, length: 4}}}
	seg := AppendSegment(nil, 1, track, []Sample{{Duration: 40, Description: 1}}, func(int) []byte { return []byte("\x00\x00\x00\x01\x67\x64\x00\x0a") })
	r, _ := Inspect(seg, track, Window{End: 40, SegmentMS: 40})
	fmt.Println(r.Foreign)
	// Output: sample 1: 3 bytes are left where the length of a NAL unit should be
}

// bitsOf writes fields: a width in bits and a value, or -1 and what is to be an
// Exp-Golomb code.
func bitsOf(fields ...[2]int) string {
	var bits []byte
	put := func(n, v int) {
		for i := n - 1; i >= 0; i-- {
			bits = append(bits, byte(v>>i&1))
		}
	}
	for _, f := range fields {
		n, v := f[0], f[1]
		switch {
		case n == -1:
			size := 0
			for v+1 >= 2<<size {
				size++
			}
			put(2*size+1, v+1)
		case n == 0:
			for len(bits)%8 > 0 {
				bits = append(bits, 0)
			}
		default:
			put(n, v)
		}
	}
	bits = append(bits, 1)
	var out []byte
	for len(bits)%8 > 0 {
		bits = append(bits, 0)
	}
	for i := 0; i < len(bits); i += 8 {
		v := byte(0)
		for _, b := range bits[i : i+8] {
			v = v<<1 | b
		}
		out = append(out, v)
	}
	return string(out)
}

// Sequence parameter sets that no encoder here writes.
func TestSequenceParameterSets(t *testing.T) {
	ue := func(v int) [2]int { return [2]int{-1, v} }
	high := func(profile, chroma, frames int, crop ...[2]int) string {
		fields := [][2]int{{8, profile}, {8, 0}, {8, 30}, ue(0), ue(chroma)}
		if chroma == 3 {
			fields = append(fields, [2]int{1, 0})
		}
		// 10 bits, no lists but the first, which ends at once; order of pictures 2.
		fields = append(fields, ue(2), ue(2), [2]int{1, 0}, [2]int{1, 1}, [2]int{1, 1}, ue(16), [2]int{7, 0})
		if chroma == 3 {
			fields = append(fields, [2]int{4, 0})
		}
		fields = append(fields, ue(0), ue(2), ue(4), [2]int{1, 0}, ue(9), ue(2), [2]int{1, frames})
		if frames == 0 {
			fields = append(fields, [2]int{1, 1})
		}
		return "\x67" + bitsOf(append(append(fields, [2]int{1, 1}, [2]int{1, 1}), crop...)...)
	}
	vvc := func(layers int, rest ...[2]int) string {
		fields := [][2]int{{8, 0}, {3, layers}, {2, 1}, {2, 2}, {1, 1}, {7, 1}, {1, 0}, {8, 51}, {1, 1}, {1, 0}, {1, 0}, {0, 0}}
		for range layers {
			fields = append(fields, [2]int{1, 1})
		}
		fields = append(fields, [2]int{0, 0}, [2]int{8 * layers, 0}, [2]int{8, 1}, [2]int{32, 7}, [2]int{1, 0})
		return "\x00\x79" + bitsOf(append(fields, rest...)...)
	}
	cropped := [][2]int{{1, 1}, ue(1), ue(2), ue(3), ue(4)}
	for _, c := range []struct {
		name  string
		parse func([]byte) (picture, bool)
		nal   string
		want  string
	}{
		{"AVC, frames, cropped", parseAVCSequence, high(110, 1, 1, cropped[1:]...), "154x34, profile 110, 10 bits"},
		{"AVC, fields, cropped", parseAVCSequence, high(110, 1, 0, cropped[1:]...), "154x68, profile 110, 10 bits"},
		{"AVC, 4:2:2, cropped", parseAVCSequence, high(122, 2, 1, cropped[1:]...), "154x41, profile 122, 10 bits"},
		{"AVC, 4:4:4, cropped", parseAVCSequence, high(244, 3, 1, cropped[1:]...), "157x41, profile 244, 10 bits"},
		{"AVC, cropped to nothing", parseAVCSequence, high(110, 1, 1, ue(80), ue(0), ue(0), ue(0)), "none"},
		{"VVC", parseVVCSequence, vvc(0, [2]int{1, 0}, ue(160), ue(90), [2]int{1, 0}), "160x90"},
		{"VVC, sublayers, cropped, references resampled", parseVVCSequence, vvc(2, append([][2]int{{1, 1}, {1, 0}, ue(160), ue(96)}, cropped...)...), "154x82"},
		{"VVC, cropped to nothing", parseVVCSequence, vvc(0, [2]int{1, 0}, ue(160), ue(90), [2]int{1, 1}, ue(80), ue(0), ue(0), ue(0)), "none"},
		{"VVC, cut off", parseVVCSequence, vvc(0)[:8], "none"},
	} {
		p, ok := c.parse([]byte(c.nal))
		if got := p.String(); ok != (c.want != "none") || ok && !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %v (%v), want %s", c.name, p, ok, c.want)
		}
	}
}

// TestDataBeforeTheSegment: samples that claim to lie before the first byte are
// malformed, whether they have entries of their own or not.
func TestDataBeforeTheSegment(t *testing.T) {
	video := handTrack(t, handInit("vide", 1000, entryOf(live.Video, "avc1", box("avcC", make([]byte, 7))), 40, 40, flagNonSync))
	for name, run := range map[string][]byte{
		"all alike": full("trun", 0, trunDataOffset, uint32(10), int32(-20)),
		"entries":   full("trun", 0, trunDataOffset|trunSize, uint32(2), int32(-20), uint32(2), uint32(3)),
	} {
		seg := handSegment(tfhd(tfhdBaseIsMoof|tfhdSize, uint32(2)), tfdt(1000), run)
		if _, err := Inspect(seg, video, Window{Start: 1000, End: 1400, SegmentMS: 400}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
