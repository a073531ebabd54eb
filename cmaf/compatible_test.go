package cmaf

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"headwater/live"
)

func TestCompatible(t *testing.T) {
	avcC := func(level byte) []byte { return box("avcC", []byte{1, 0x64, 0, level, 0xff, 0xe0, 0}) }
	esds := func(rate uint32, specific ...byte) []byte {
		config := join([]byte{4, byte(13 + 2 + len(specific)), 0x40, 0x15, 0, 0, 0}, []byte{0, byte(rate >> 16), byte(rate >> 8), byte(rate), 0, 0, 0, 1, 5, byte(len(specific))}, specific)
		return full("esds", 0, 0, []byte{3, byte(3 + len(config)), 0, 1, 0}, config)
	}
	video := func(timescale uint32, boxes ...[]byte) []byte {
		return handInit("vide", timescale, entryOf(live.Video, "avc1", boxes...))
	}
	audio := func(boxes ...[]byte) []byte {
		return handInit("soun", 48000, entryOf(live.Audio, "mp4a", boxes...))
	}
	named := video(90000, avcC(31))
	i := bytes.Index(named, []byte("avc1")) + 4 + nameFrom
	copy(named[i:], "\x04x264")
	key := func(kid byte) []byte {
		return box("sinf", box("frma", "avc1"), box("schi", full("tenc", 0, 0, []byte{0, 0, 1, 8}, bytes.Repeat([]byte{kid}, 16))))
	}
	encrypted := func(kid byte) []byte {
		return handInit("vide", 90000, entryOf(live.Video, "encv", avcC(31), key(kid)))
	}
	moved := bytes.Replace(video(90000, avcC(31)), []byte("\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		[]byte("\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00"), 1)
	for _, c := range []struct {
		name string
		a, b []byte
		text string // "" for compatible
	}{
		{"the same", video(90000, avcC(31)), video(90000, avcC(31)), ""},
		{"another bit rate", video(90000, avcC(31), box("btrt", make([]byte, 12))), video(90000, avcC(31)), ""},
		{"another compressor", video(90000, avcC(31)), named, ""},
		{"another bit rate in esds", audio(esds(96000, 0x11, 0x90)), audio(esds(64000, 0x11, 0x90)), ""},
		{"another type", video(90000, avcC(31)), audio(esds(1, 0x11, 0x90)), "media type"},
		{"another timescale", video(90000, avcC(31)), video(15360, avcC(31)), "timescale is 90000 in the old init segment and 15360 in the new one"},
		{"another level", video(90000, avcC(31)), video(90000, avcC(40)), "codecs is avc1.64001f"},
		{"other parameter sets", video(90000, avcC(31)), video(90000, append(avcC(31)[:14:14], 1)), "avcC from byte 6 on of sample entry 1 (avc1) is 00 (1 bytes) in the old init segment and 01 (1 bytes) in the new one"},
		{"one box more", video(90000, avcC(31), box("pasp", uint64(1))), video(90000, avcC(31)), "pasp of sample entry 1 (avc1) is 0000000000000001 (8 bytes) in the old init segment and not there"},
		{"one box less", video(90000, avcC(31)), video(90000, avcC(31), box("pasp", uint64(1))), "is not there in the old init segment"},
		{"another channel count", audio(esds(96000, 0x11, 0x90)), audio(esds(96000, 0x11, 0x88)), "channel count is 2"},
		{"another frame length", audio(esds(96000, 0x11, 0x90)), audio(esds(96000, 0x11, 0x94)), "esds from byte"},
		{"encrypted", video(90000, avcC(31)), encrypted(1), "encryption"},
		{"another key", encrypted(1), encrypted(2), "sinf from byte"},
		{"another default duration", video(90000, avcC(31)), moved, "trex default duration"},
		{"another encode", fixture(t, "cases/init-a.mp4"), fixture(t, "cases/init-b.mp4"), "width is 160 in the old init segment and 320 in the new one"},
		{"another encode by its parameter sets alone", fixture(t, "cases/init-a.mp4"), sameSize(fixture(t, "cases/init-b.mp4"), fixture(t, "cases/init-a.mp4")),
			"picture (parameter sets in avcC) of sample entry 1 (avc1) is 160x90, profile 77 in the old init segment and 320x180, profile 77 in the new one"},
		{"another text format", wvttInit(), stppInit(), "codecs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := handTrack(t, c.a), handTrack(t, c.b)
			for _, err := range []error{a.Compatible(b), b.Compatible(a)} {
				if c.text == "" {
					if err != nil {
						t.Error(err)
					}
					continue
				}
				if err == nil {
					t.Errorf("compatible, want an error about %q", c.text)
				}
			}
			if err := a.Compatible(b); c.text != "" && !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, want %q", err, c.text)
			}
		})
	}
}

// sameSize gives the sample entry of b the fixed fields of another's.
func sameSize(b, of []byte) []byte {
	entry := func(b []byte) []byte { return b[bytes.LastIndex(b, []byte("avc1"))+4:][:visualFields] }
	copy(entry(b), entry(of))
	return b
}

func TestSingle(t *testing.T) {
	for _, name := range []string{"avc-aac.mp4", "cenc.mp4", "audio.mp4", "ntsc.mp4"} {
		first := parts(t, fixture(t, name))[0]
		for _, before := range first.Init.Tracks {
			b, err := first.Init.Single(first.Raw, before.ID)
			if err != nil {
				t.Fatal(err)
			}
			in, err := ParseInit(b)
			if err != nil {
				t.Fatal(err)
			}
			if len(in.Tracks) != 1 {
				t.Fatalf("%s: %d tracks", name, len(in.Tracks))
			}
			after := in.Tracks[0]
			if after.ID != 1 || after.Language != before.Language {
				t.Errorf("%s: track %d became %+v", name, before.ID, after)
			}
			after.ID = before.ID
			if err := after.Compatible(&before); err != nil {
				t.Errorf("%s, track %d: %v", name, before.ID, err)
			}
			if !bytes.HasPrefix(b[4:], []byte("ftypcmfc")) {
				t.Errorf("%s begins with %q", name, b[:16])
			}
			// The next track ID is the last field of mvhd.
			i := bytes.Index(b, []byte("mvhd")) - 4
			if next := be32(b[i+int(be32(b[i:]))-4:]); next != 2 {
				t.Errorf("%s: next track ID %d", name, next)
			}
		}
		if _, err := first.Init.Single(first.Raw, 99); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: a track that is not there: %v", name, err)
		}
	}
}

func TestSingleKeepsAndDrops(t *testing.T) {
	base := handInit("text", 1000, entryOf(live.Text, "wvtt"))
	i := bytes.Index(base, []byte("mdia")) - 4
	tref := box("tref", box("cdsc", uint32(2)))
	b := join(base[:i], tref, base[i:])
	grow(b, "moov", len(tref))
	grow(b, "trak", len(tref))
	extra := join(full("pssh", 0, 0, make([]byte, 20)), box("udta", "anything"))
	b = append(b, extra...)
	grow(b, "moov", len(extra))
	in, err := ParseInit(b)
	if err != nil {
		t.Fatal(err)
	}
	one, err := in.Single(b, 1)
	if err != nil {
		t.Fatal(err)
	}
	for typ, want := range map[string]bool{"pssh": true, "tref": false, "udta": false, "mvex": true, "stsd": true} {
		if got := bytes.Contains(one, []byte(typ)); got != want {
			t.Errorf("%s in the single track: %v", typ, got)
		}
	}
	if _, err := ParseInit(one); err != nil {
		t.Error(err)
	}
}
