package cmaf

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"slices"
	"testing"

	"headwater/live"
)

const testKey = "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"

// encrypted protects a track by scheme cenc (AES-CTR, 8 byte vectors): video
// with subsamples that leave NAL unit headers clear, audio whole. ffmpeg 5.1
// writes no senc in fragments, so the fixture cenc.mp4 has none.
func encrypted(t testing.TB, m media) media {
	t.Helper()
	b := slices.Clone(m.init)
	format := m.track.Codecs[:4]
	protected := "encv"
	if m.track.Type == live.Audio {
		protected = "enca"
	}
	sinf := box("sinf", box("frma", format), full("schm", 0, 0, "cenc", uint32(0x10000)),
		box("schi", full("tenc", 0, 0, []byte{0, 0, 1, 8}, bytes.Repeat([]byte{0xab}, 16))))
	for _, typ := range []string{"moov", "trak", "mdia", "minf", "stbl", "stsd", format} {
		grow(b, typ, len(sinf))
	}
	at := bytes.Index(b, []byte(format))
	end := at - 4 + int(be32(b[at-4:])) - len(sinf)
	copy(b[at:], protected)
	out := media{init: join(b[:end], sinf, b[end:])}
	out.track = handTrack(t, out.init)

	cipherBlock, err := aes.NewCipher([]byte(testKey))
	if err != nil {
		t.Fatal(err)
	}
	vector := uint64(1)
	for n, samples := range m.samples {
		samples = slices.Clone(samples)
		var data [][]byte
		for i := range samples {
			iv := binary.BigEndian.AppendUint64(nil, vector)
			vector++
			stream := cipher.NewCTR(cipherBlock, append(slices.Clone(iv), make([]byte, 8)...))
			d := slices.Clone(m.data[n][i])
			aux := iv
			if m.track.Type == live.Video {
				subsamples := binary.BigEndian.AppendUint16(iv, 0)
				for at := 0; at < len(d); {
					nal := 4 + int(be32(d[at:]))
					clear := min(nal, 6)
					stream.XORKeyStream(d[at+clear:at+nal], d[at+clear:at+nal])
					subsamples = binary.BigEndian.AppendUint16(subsamples, uint16(clear))
					subsamples = binary.BigEndian.AppendUint32(subsamples, uint32(nal-clear))
					subsamples[9]++
					at += nal
				}
				aux = subsamples
			} else {
				stream.XORKeyStream(d, d)
			}
			samples[i].Aux = aux
			data = append(data, d)
		}
		out.samples = append(out.samples, samples)
		out.data = append(out.data, data)
		out.segments = append(out.segments, segment(out.track, samples, data))
	}
	return out
}

func TestEncryptedSegments(t *testing.T) {
	for _, id := range []uint32{1, 3} {
		clear := single(t, "avc-aac.mp4", id)
		m := encrypted(t, clear)
		if !m.track.Encrypted || m.track.Codecs != clear.track.Codecs || m.track.Width != clear.track.Width {
			t.Errorf("%+v", m.track)
		}
		if m.track.Compatible(clear.track) == nil {
			t.Error("compatible with the clear track")
		}
		for i, seg := range m.segments {
			r, err := Inspect(seg, m.track, window(m.track, i, 2, 1))
			if err != nil || !r.Findings.Clean() {
				t.Errorf("segment %d: %q, %v", i, r.Findings, err)
			}
		}
	}
}

// Samples keep their vectors and subsamples through reading, regrouping and
// writing.
// An init segment says how its track is encrypted, and what DRM systems need; one in the
// clear says nothing, whatever boxes it has.
func TestProtectionOfInit(t *testing.T) {
	pssh := full("pssh", 0, 0, make([]byte, 16), uint32(0))
	with := func(init []byte) Track {
		b := slices.Clone(init)
		grow(b, "moov", len(pssh))
		in, err := ParseInit(join(b, pssh))
		if err != nil {
			t.Fatal(err)
		}
		return in.Tracks[0]
	}
	clear := single(t, "avc-aac.mp4", 1)
	got := with(encrypted(t, clear).init)
	if got.Scheme != "cenc" || got.KID != [16]byte(bytes.Repeat([]byte{0xab}, 16)) || !bytes.Equal(got.PSSH, pssh) {
		t.Errorf("%q %x %x", got.Scheme, got.KID, got.PSSH)
	}
	if got := with(clear.init); got.Scheme != "" || got.KID != [16]byte{} || got.PSSH != nil {
		t.Errorf("in the clear: %q %x %x", got.Scheme, got.KID, got.PSSH)
	}
}

func TestEncryptedSamplesRegroup(t *testing.T) {
	for _, id := range []uint32{1, 3} {
		m := encrypted(t, single(t, "avc-aac.mp4", id))
		all, data := slices.Concat(m.samples...), slices.Concat(m.data...)
		stream := slices.Clone(m.init)
		for i := 0; i < len(all); i += 7 {
			end := min(i+7, len(all))
			stream = AppendChunk(stream, uint32(i), m.track, all[i:end], func(k int) []byte { return data[i+k] })
		}
		n := 0
		for _, p := range parts(t, stream)[1:] {
			for _, f := range p.Fragment.Tracks {
				if f.Whole {
					t.Error("cannot be regrouped")
				}
				for _, s := range f.Samples {
					if !bytes.Equal(s.Aux, all[n].Aux) || !bytes.Equal(p.Data(s), data[n]) || s.Decode != all[n].Decode || s.Flags != all[n].Flags {
						t.Fatalf("sample %d: %+v, want %+v", n, s, all[n])
					}
					n++
				}
			}
		}
		if n != len(all) {
			t.Errorf("%d samples, want %d", n, len(all))
		}
	}
}

// Where a fragment says only by saiz how long its entries are, or not at all.
func TestEntriesOfSenc(t *testing.T) {
	m := encrypted(t, single(t, "avc-aac.mp4", 1))
	seg := AppendChunk(nil, 1, m.track, m.samples[0], func(i int) []byte { return m.data[0][i] })
	without := bytes.Replace(seg, []byte("saiz"), []byte("free"), 1)
	for name, b := range map[string][]byte{"with saiz": seg, "without": without} {
		f, err := ParseFragment(b[:be32(b)], &Init{Tracks: []Track{*m.track}}, 0, int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range f.Tracks[0].Samples {
			if !bytes.Equal(s.Aux, m.samples[0][i].Aux) {
				t.Fatalf("%s: sample %d: % x, want % x", name, i, s.Aux, m.samples[0][i].Aux)
			}
		}
	}
	// The vectors outside of senc: the fragment must stay whole.
	lost := bytes.Replace(seg, []byte("senc"), []byte("free"), 1)
	f, err := ParseFragment(lost[:be32(lost)], &Init{Tracks: []Track{*m.track}}, 0, int64(len(lost)))
	if err != nil || !f.Tracks[0].Whole {
		t.Errorf("without senc: %v", err)
	}
}

// AppendFragment keeps every box of the fragment, and saio true.
func TestWholeFragments(t *testing.T) {
	m := encrypted(t, single(t, "avc-aac.mp4", 1))
	// Track 7 in a moof that also has another track before it, with sgpd and
	// sbgp (key rotation) after its senc.
	seven := *m.track
	seven.ID = 7
	chunk := AppendChunk(nil, 1, &seven, m.samples[0], func(i int) []byte { return m.data[0][i] })
	groups := join(
		full("sgpd", 1, 0, "seig", uint32(20), uint32(1), []byte{0, 0, 1, 8}, make([]byte, 16)),
		full("sbgp", 0, 0, "seig", uint32(1), uint32(60), uint32(0x10001)))
	length := int(be32(chunk))
	traf := chunk[24:length:length] // after the headers of moof and mfhd
	traf = append(traf, groups...)
	grow(traf, "traf", len(groups))
	first := box("traf", full("tfhd", 0, tfhdBaseIsMoof, uint32(3)), tfdt(0), full("trun", 0, 1, uint32(0), int32(0)))
	moof := box("moof", full("mfhd", 0, 0, uint32(5)), first, traf)
	i := bytes.Index(moof[len(first)+24:], []byte("trun")) + len(first) + 24
	binary.BigEndian.PutUint32(moof[i+12:], uint32(len(moof)+8))
	b := join(moof, chunk[length:])

	in := &Init{Tracks: []Track{seven, {ID: 3, Timescale: 1}}}
	f, err := ParseFragment(moof, in, 0, int64(len(chunk)-length))
	if err != nil {
		t.Fatal(err)
	}
	if !f.Tracks[1].Whole {
		t.Error("samples with key rotation could be regrouped")
	}
	p := &Part{Fragment: f, Raw: b}
	got, err := AppendFragment(nil, 9, m.track, p, &f.Tracks[1])
	if err != nil {
		t.Fatal(err)
	}
	if r, err := Inspect(got, m.track, window(m.track, 0, 2, 1)); err != nil || !r.Findings.Clean() || r.Samples != 60 {
		t.Fatalf("%+v, %v", r, err)
	}
	if !bytes.Contains(got, groups) {
		t.Error("sample groups are lost")
	}
	again, err := ParseFragment(got[:be32(got)], &Init{Tracks: []Track{*m.track}}, 0, int64(len(got)))
	if err != nil {
		t.Fatal(err)
	}
	q := &Part{Raw: got}
	for i, s := range again.Tracks[0].Samples {
		if !bytes.Equal(q.Data(s), m.data[0][i]) {
			t.Fatalf("sample %d has other data", i)
		}
	}
	// saio points to the entries of senc, counted from the moof.
	at := be32(got[bytes.Index(got, []byte("saio"))+12:])
	if !bytes.HasPrefix(got[at:], m.samples[0][0].Aux) {
		t.Errorf("saio points to % x", got[at:at+8])
	}
}
