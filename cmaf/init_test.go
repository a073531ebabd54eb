package cmaf

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"headwater/live"
)

func TestParseInitOfRealEncoders(t *testing.T) {
	type want struct {
		kind             live.MediaType
		codecs, language string
		timescale        uint32
		a, b             int // width and height, or rate and channels
	}
	for name, tracks := range map[string][]want{
		"avc-aac.mp4": {
			{live.Video, "avc1.64000a", "", 15360, 64, 36},
			{live.Video, "avc1.64000a", "", 15360, 48, 26},
			{live.Audio, "mp4a.40.2", "deu", 48000, 48000, 1},
		},
		"ntsc.mp4": {
			{live.Video, "avc1.64000a", "", 30000, 64, 36},
			{live.Audio, "mp4a.40.2", "", 44100, 44100, 1},
		},
		"cenc.mp4": {
			{live.Video, "avc1.64000a", "", 15360, 64, 36},
			{live.Audio, "mp4a.40.2", "", 48000, 48000, 1},
		},
		"hevc.mp4": {{live.Video, "hvc1.1.6.L30.90", "", 12800, 64, 36}},
		"av1.mp4":  {{live.Video, "av01.0.00M.08", "", 12800, 64, 64}},
		"vp9.mp4":  {{live.Video, "vp09.00.10.08", "", 12800, 64, 36}},
		"audio.mp4": {
			{live.Audio, "Opus", "", 48000, 48000, 1},
			{live.Audio, "fLaC", "", 48000, 48000, 1},
			{live.Audio, "ac-3", "", 48000, 48000, 6},
			{live.Audio, "ec-3", "", 48000, 48000, 6},
		},
		"dash-init.mp4": {{live.Video, "avc1.64000a", "", 15360, 64, 36}},
	} {
		t.Run(name, func(t *testing.T) {
			in := parts(t, fixture(t, name))[0].Init
			if len(in.Tracks) != len(tracks) {
				t.Fatalf("%d tracks, want %d", len(in.Tracks), len(tracks))
			}
			for i, w := range tracks {
				x := in.Tracks[i]
				a, b := x.Width, x.Height
				if x.Type == live.Audio {
					a, b = x.SampleRate, x.Channels
				}
				got := want{x.Type, x.Codecs, x.Language, x.Timescale, a, b}
				if got != w {
					t.Errorf("track %d: %+v, want %+v", i+1, got, w)
				}
				if x.ID != uint32(i+1) || x.Descriptions != 1 || x.DefaultDescription != 1 || x.Encrypted != (name == "cenc.mp4") {
					t.Errorf("track %d: %+v", i+1, x)
				}
				if !bytes.HasPrefix(x.Config[4:], []byte("stsd")) {
					t.Errorf("track %d: Config begins with %q", i+1, x.Config[:8])
				}
			}
		})
	}
}

func TestCodecs(t *testing.T) {
	esds := func(object byte, specific ...byte) []byte {
		config := append([]byte{4, byte(13 + 2 + len(specific)), object, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, byte(len(specific))}, specific...)
		return full("esds", 0, 0, []byte{3, 0x80, 0x80, byte(3 + len(config)), 0, 1, 0}, config)
	}
	video := func(format string, boxes ...[]byte) []byte {
		return handInit("vide", 90000, entryOf(live.Video, format, boxes...))
	}
	audio := func(format string, boxes ...[]byte) []byte {
		return handInit("soun", 48000, entryOf(live.Audio, format, boxes...))
	}
	protected := func(format string) []byte {
		return box("sinf", box("frma", format), full("schm", 0, 0, "cbcs", uint32(0x10000)),
			box("schi", full("tenc", 1, 0, []byte{0, 0x19, 1, 0}, make([]byte, 16), []byte{16}, make([]byte, 16))))
	}
	avcC := box("avcC", []byte{1, 0x4d, 0x40, 0x1f, 0xff, 0xe0, 0})
	for _, c := range []struct {
		name      string
		init      []byte
		codecs    string
		rate      int
		channels  int
		encrypted bool
	}{
		{name: "avc main", init: video("avc1", avcC), codecs: "avc1.4d401f"},
		{name: "avc with parameters in band", init: video("avc3", avcC), codecs: "avc3.4d401f"},
		{name: "hevc main 10 high tier", init: video("hev1", box("hvcC", []byte{1, 0x22, 0x20, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 153})), codecs: "hev1.2.4.H153.90"},
		{name: "hevc with a profile space", init: video("hvc1", box("hvcC", []byte{1, 0x41, 0x60, 0, 0, 0, 0xb0, 0, 0x01, 0, 0, 0, 93})), codecs: "hvc1.A1.6.L93.B0.0.1"},
		{name: "dolby vision", init: video("dvh1", box("dvcC", []byte{1, 0, 5 << 1, 6<<3 | 5})), codecs: "dvh1.05.06"},
		{name: "av1 10 bit high tier", init: video("av01", box("av1C", []byte{0x81, 13, 0xc0, 0})), codecs: "av01.0.13H.10"},
		{name: "av1 12 bit professional", init: video("av01", box("av1C", []byte{0x81, 2<<5 | 8, 0x60, 0})), codecs: "av01.2.08M.12"},
		{name: "vp9 10 bit", init: video("vp09", full("vpcC", 1, 0, []byte{2, 41, 0xa0, 1, 1, 1, 0, 0})), codecs: "vp09.02.41.10"},
		{name: "mpeg 4 video", init: video("mp4v", esds(0x20)), codecs: "mp4v.20"},
		{name: "encrypted avc", init: video("encv", avcC, protected("avc1")), codecs: "avc1.4d401f", encrypted: true},
		{name: "aac lc", init: audio("mp4a", esds(0x40, 0x11, 0x90)), codecs: "mp4a.40.2", rate: 48000, channels: 2},
		{name: "he aac, rate of the output", init: audio("mp4a", esds(0x40, 0x2b, 0x11, 0x88, 0x00)), codecs: "mp4a.40.5", rate: 48000, channels: 2},
		{name: "xhe aac, escaped object type", init: audio("mp4a", esds(0x40, 0xf9, 0x46, 0x40)), codecs: "mp4a.40.42", rate: 48000, channels: 2},
		{name: "mp3", init: audio("mp4a", esds(0x6b)), codecs: "mp4a.6b", rate: 48000, channels: 2},
		{name: "ac-3 of 5.1 in an entry that says 2", init: audio("ac-3", box("dac3", []byte{0x10, 0x3d, 0xe0})), codecs: "ac-3", rate: 48000, channels: 6},
		{name: "ec-3 of 5.1", init: audio("ec-3", box("dec3", []byte{0x07, 0x00, 0x20, 0x0f, 0x00})), codecs: "ec-3", rate: 48000, channels: 6},
		{name: "mpeg h", init: audio("mhm1", box("mhaC", []byte{1, 0x0d, 0, 0, 0})), codecs: "mhm1.0x0D", rate: 48000, channels: 2},
		{name: "encrypted aac", init: audio("enca", esds(0x40, 0x11, 0x90), protected("mp4a")), codecs: "mp4a.40.2", rate: 48000, channels: 2, encrypted: true},
		{name: "ec-3 with objects", init: audio("ec-3", box("dec3", []byte{0x18, 0x00, 0x20, 0x0f, 0x00, 0x01, 0x10})), codecs: "ec-3", rate: 48000, channels: 6},
		{name: "ac-4", init: audio("ac-4", box("dac4", []byte{0x20, 0xa2, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0x0b, 0, 0})), codecs: "ac-4.02.01.03", rate: 48000, channels: 2},
		{name: "ac-4 cut short", init: audio("ac-4", box("dac4", []byte{0x20, 0xa2, 0x01})), codecs: "ac-4", rate: 48000, channels: 2},
		{name: "iamf of opus", init: audio("iamf", box("iacb", []byte{1, 19, 31 << 3, 6, 'i', 'a', 'm', 'f', 0, 1, 0, 9, 0x80, 1, 'O', 'p', 'u', 's', 0, 0, 0})), codecs: "iamf.000.001.Opus", rate: 48000, channels: 2},
		{name: "iamf of aac", init: audio("iamf", box("iacb", []byte{1, 15, 31 << 3, 6, 'i', 'a', 'm', 'f', 1, 1, 0, 5, 0, 'm', 'p', '4', 'a'})), codecs: "iamf.001.001.mp4a.40.2", rate: 48000, channels: 2},
		{name: "iamf with a size beyond the end", init: audio("iamf", box("iacb", []byte{1, 200, 1, 31 << 3, 100, 'i'})), codecs: "iamf", rate: 48000, channels: 2},
		{name: "vvc main 10", init: video("vvc1", full("vvcC", 0, 0, []byte{0xff, 0, 0x10, 0x1f, 1, 2, 51, 0x80, 0, 0})), codecs: "vvc1.1.L51.CQA"},
		{name: "vvc without a profile", init: video("vvc1", full("vvcC", 0, 0, []byte{0xfe})), codecs: "vvc1"},
		{name: "webvtt", init: wvttInit(), codecs: "wvtt"},
		{name: "ttml", init: stppInit(), codecs: "stpp.ttml.im1t"},
		{name: "encrypted webvtt", init: handInit("text", 1000, entryOf(live.Text, "enct", box("vttC", "WEBVTT"), protected("wvtt"))), codecs: "wvtt", encrypted: true},
		{name: "encrypted ttml", init: handInit("subt", 1000, box("encs", make([]byte, 8), "urn:a\x00\x00\x00", protected("stpp"))), codecs: "stpp", encrypted: true},
		{name: "metadata", init: handInit("meta", 1000, box("urim", make([]byte, 8), "any")), codecs: "urim"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := handTrack(t, c.init)
			if x.Codecs != c.codecs || x.SampleRate != c.rate || x.Channels != c.channels || x.Encrypted != c.encrypted {
				t.Errorf("%s, %d Hz, %d channels, encrypted %v; want %s, %d, %d, %v",
					x.Codecs, x.SampleRate, x.Channels, x.Encrypted, c.codecs, c.rate, c.channels, c.encrypted)
			}
		})
	}
}

// What an init segment says of how its track is shown and heard.
func TestProperties(t *testing.T) {
	colr := box("colr", "nclx", []byte{0, 9, 0, 16, 0, 9, 0})
	pasp := box("pasp", uint32(8), uint32(6))
	avcC := box("avcC", []byte{1, 0x4d, 0x40, 0x1f, 0xff, 0xe0, 0})
	aac := func(specific ...byte) []byte {
		config := append([]byte{4, byte(13 + 2 + len(specific)), 0x40, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, byte(len(specific))}, specific...)
		return full("esds", 0, 0, []byte{3, byte(3 + len(config)), 0, 1, 0}, config)
	}
	type properties struct {
		sar, color  string
		config, joc int
	}
	for name, c := range map[string]struct {
		init []byte
		want properties
	}{
		"hdr, wide samples":       {handInit("vide", 90000, entryOf(live.Video, "avc1", avcC, colr, pasp)), properties{sar: "4:3", color: "9-16-9"}},
		"nothing said":            {handInit("vide", 90000, entryOf(live.Video, "avc1", avcC)), properties{}},
		"color not specified":     {handInit("vide", 90000, entryOf(live.Video, "avc1", avcC, box("colr", "nclx", []byte{0, 2, 0, 2, 0, 2, 0}))), properties{}},
		"a profile of color":      {handInit("vide", 90000, entryOf(live.Video, "avc1", avcC, box("colr", "prof", make([]byte, 12)))), properties{}},
		"samples of no shape":     {handInit("vide", 90000, entryOf(live.Video, "avc1", avcC, box("pasp", uint32(0), uint32(1)))), properties{}},
		"vp9 says its color":      {handInit("vide", 90000, entryOf(live.Video, "vp09", full("vpcC", 1, 0, []byte{2, 41, 0xa0, 9, 18, 9, 0, 0}))), properties{color: "9-18-9"}},
		"stereo":                  {handInit("soun", 48000, entryOf(live.Audio, "mp4a", aac(0x11, 0x90))), properties{config: 2}},
		"aac of 7.1 in the front": {handInit("soun", 48000, entryOf(live.Audio, "mp4a", aac(0x11, 0xb8))), properties{config: 7}},
		"ac-3 of 5.1":             {handInit("soun", 48000, entryOf(live.Audio, "ac-3", box("dac3", []byte{0x10, 0x3d, 0xe0}))), properties{config: 6}},
		"ac-3 of two in the back": {handInit("soun", 48000, entryOf(live.Audio, "ac-3", box("dac3", []byte{0x10, 0x30, 0x00}))), properties{config: 10}},
		"ec-3 of 5.1":             {handInit("soun", 48000, entryOf(live.Audio, "ec-3", box("dec3", []byte{0x07, 0x00, 0x20, 0x0f, 0x00}))), properties{config: 6}},
		"ec-3 with objects":       {handInit("soun", 48000, entryOf(live.Audio, "ec-3", box("dec3", []byte{0x18, 0x00, 0x20, 0x0f, 0x00, 0x01, 0x10}))), properties{config: 6, joc: 16}},
		"ec-3 of 7.1":             {handInit("soun", 48000, entryOf(live.Audio, "ec-3", box("dec3", []byte{0x18, 0x00, 0x20, 0x0f, 0x02, 0x02}))), properties{}},
	} {
		x := handTrack(t, c.init)
		if got := (properties{x.SAR, x.Color, x.ChannelConfig, x.JOC}); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestParseInitRefuses(t *testing.T) {
	good := handInit("text", 1000, entryOf(live.Text, "wvtt"))
	without := func(typ string) []byte { return bytes.Replace(good, []byte(typ), []byte("free"), 1) }
	for _, c := range []struct {
		name string
		b    []byte
		kind error
		text string
	}{
		{"nothing", nil, ErrMalformed, "no bytes"},
		{"an MPEG transport stream", fixture(t, "stream.ts"), ErrNotCMAF, "transport stream"},
		{"WebM", fixture(t, "stream.webm"), ErrNotCMAF, "WebM"},
		{"a playlist", []byte("#EXTM3U\n#EXT-X-VERSION:7\n"), ErrNotCMAF, "HLS playlist"},
		{"a progressive file", fixture(t, "progressive.mp4"), ErrNotCMAF, "progressive"},
		{"samples in the movie box", fixture(t, "hybrid.mp4"), ErrNotCMAF, "empty_moov"},
		{"a media segment", fixture(t, "dash-1.m4s"), ErrMalformed, "no moov"},
		{"a whole stream", fixture(t, "avc-aac.mp4"), ErrMalformed, "moof at byte 1"},
		{"no mvex", without("mvex"), ErrNotCMAF, "moov at byte 20: no mvex"},
		{"no trex", without("trex"), ErrMalformed, "no trex for track 1"},
		{"no trak", without("trak"), ErrMalformed, "no trak"},
		{"no tkhd", without("tkhd"), ErrMalformed, "moov/trak at byte"},
		{"no mdia", without("mdia"), ErrMalformed, "no mdia"},
		{"no mdhd", without("mdhd"), ErrMalformed, "no mdhd"},
		{"no minf", without("minf"), ErrMalformed, "no minf"},
		{"no stsd", without("stsd"), ErrMalformed, "no sample entries"},
		{"a timescale of 0", handInit("text", 0, entryOf(live.Text, "wvtt")), ErrMalformed, "timescale of 0"},
		{"avc1 without avcC", handInit("vide", 1000, entryOf(live.Video, "avc1")), ErrMalformed, "avcC"},
		{"a sample entry too short", handInit("vide", 1000, box("avc1", make([]byte, 20))), ErrMalformed, "stsd/avc1 at byte"},
		{"encv without sinf", handInit("vide", 1000, entryOf(live.Video, "encv")), ErrMalformed, "no sinf"},
		{"two movie boxes", join(good, good[20:]), ErrMalformed, "second moov"},
		{"two tracks of one ID", twice(good, "trak"), ErrMalformed, "a second track 1"},
		{"random bytes", []byte("\x93\x00\x7f\x11\x22\x91\x00\x01\x02\x03"), ErrNotCMAF, "no box that a segment begins with"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, err := ParseInit(c.b)
			if in != nil || !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, %v; want %v with %q", in, err, c.kind, c.text)
			}
		})
	}
}

// twice doubles the first moov child of a type.
func twice(init []byte, typ string) []byte {
	var moov []byte
	for x, err := range Boxes(init[28:]) { // in the moov after a 20 byte ftyp
		if err != nil {
			panic(err)
		}
		moov = append(moov, x.Data...)
		if x.Type.Is(typ) {
			moov = append(moov, x.Data...)
		}
	}
	return join(init[:20], box("moov", moov))
}

func TestParseInitOfEveryTruncation(t *testing.T) {
	for _, name := range []string{"dash-init.mp4", "cenc.mp4"} {
		b := parts(t, fixture(t, name))[0].Raw
		for n := range len(b) {
			if _, err := ParseInit(b[:n:n]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s cut to %d of %d bytes: %v", name, n, len(b), err)
			}
		}
	}
}

func TestLanguage(t *testing.T) {
	good := handInit("text", 1000, entryOf(live.Text, "wvtt"))
	if x := handTrack(t, good); x.Language != "" {
		t.Errorf("und is %q", x.Language)
	}
	// elng (BCP 47) goes before the three letters of mdhd, wherever it stands, and
	// whether or not it has version and flags.
	for _, at := range []string{"hdlr", "minf"} {
		for want, elng := range map[string][]byte{
			"sr-Latn-RS": full("elng", 0, 0, "sr-Latn-RS\x00"), "sr-Latn": box("elng", "sr-Latn\x00"), "en": box("elng", "en\x00"), "de": box("elng", "de"), "": box("elng"),
		} {
			i := bytes.Index(good, []byte(at)) - 4
			b := join(good[:i], elng, good[i:])
			for _, typ := range []string{"moov", "trak", "mdia"} {
				grow(b, typ, len(elng))
			}
			if x := handTrack(t, b); x.Language != want {
				t.Errorf("with elng %q before %s: %q", elng, at, x.Language)
			}
		}
	}
}

// grow adds to the size of the first box of a type.
func grow(b []byte, typ string, n int) {
	i := bytes.Index(b, []byte(typ)) - 4
	size := int(be32(b[i:])) + n
	b[i], b[i+1], b[i+2], b[i+3] = byte(size>>24), byte(size>>16), byte(size>>8), byte(size)
}

func TestEditOffset(t *testing.T) {
	base := handInit("text", 1000, entryOf(live.Text, "wvtt"))
	with := func(elst []byte) []byte {
		i := bytes.Index(base, []byte("mdia")) - 4
		edts := box("edts", elst)
		b := join(base[:i], edts, base[i:])
		grow(b, "moov", len(edts))
		grow(b, "trak", len(edts))
		return b
	}
	const rate = uint32(1 << 16)
	for _, c := range []struct {
		name string
		elst []byte
		want int64
	}{
		{"a shift", full("elst", 0, 0, uint32(1), uint32(0), int32(40), rate), 40},
		{"a shift in 64 bits", full("elst", 1, 0, uint32(1), uint64(0), int64(1)<<40, rate), 1 << 40},
		{"a delay", full("elst", 0, 0, uint32(1), uint32(500), int32(-1), rate), 0},
		{"a delay, then a shift", full("elst", 0, 0, uint32(2), uint32(500), int32(-1), rate, uint32(0), int32(40), rate), 40},
		{"a cut", full("elst", 0, 0, uint32(2), uint32(500), int32(40), rate, uint32(0), int32(900), rate), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := with(c.elst)
			x := handTrack(t, b)
			if x.EditOffset != c.want {
				t.Fatalf("offset %d, want %d", x.EditOffset, c.want)
			}
			in, _ := ParseInit(b)
			one, err := in.Single(b, 1)
			if err != nil {
				t.Fatal(err)
			}
			if y := handTrack(t, one); y.EditOffset != c.want || bytes.Contains(one, []byte("edts")) != (c.want > 0) {
				t.Errorf("after Single: offset %d", y.EditOffset)
			}
		})
	}
	if _, err := ParseInit(with(full("elst", 0, 0, uint32(1<<31), uint32(0)))); !errors.Is(err, ErrMalformed) {
		t.Errorf("an edit list that does not fit: %v", err)
	}
}
