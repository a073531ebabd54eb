package manifest

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"headwater/live"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

func config(start string, segment live.Duration, rs ...live.Rendition) *live.Config {
	c := &live.Config{Event: live.Default()}
	c.Start, c.Segment, c.Renditions = at(start), segment, rs
	c.Pipelines = []live.Pipeline{{Name: "a"}, {Name: "b"}}
	return c
}

func with(c *live.Config, change func(*live.Config)) *live.Config {
	change(c)
	return c
}

var (
	v1080 = live.Rendition{Name: "v1080", Type: live.Video, Bandwidth: 6_000_000, Codecs: "avc1.640028", Width: 1920, Height: 1080, FrameRate: "30", Timescale: 90000}
	v720  = live.Rendition{Name: "v720", Type: live.Video, Bandwidth: 3_000_000, Codecs: "avc1.64001f", Width: 1280, Height: 720, FrameRate: "30", Timescale: 90000}
	v2160 = live.Rendition{Name: "v2160", Type: live.Video, Bandwidth: 12_000_000, Codecs: "hvc1.2.4.L153.B0", Width: 3840, Height: 2160, FrameRate: "60", Timescale: 90000}
	ntsc  = live.Rendition{Name: "v720", Type: live.Video, Bandwidth: 3_000_000, Codecs: "avc1.64001f", Width: 1280, Height: 720, FrameRate: "30000/1001", Timescale: 30000}
	ntsc2 = live.Rendition{Name: "v720p60", Type: live.Video, Bandwidth: 4_500_000, Codecs: "avc1.640020", Width: 1280, Height: 720, FrameRate: "60000/1001", Timescale: 60000}
	aEn   = live.Rendition{Name: "a-en", Type: live.Audio, Bandwidth: 128_000, Language: "en", Codecs: "mp4a.40.2", SampleRate: 48000, Channels: 2, Timescale: 48000}
	aDe   = live.Rendition{Name: "a-de", Type: live.Audio, Bandwidth: 128_000, Language: "de", Codecs: "mp4a.40.2", SampleRate: 48000, Channels: 2, Timescale: 48000}
	aEn64 = live.Rendition{Name: "a-en-64", Type: live.Audio, Bandwidth: 64_000, Language: "en", Codecs: "mp4a.40.5", SampleRate: 44100, Channels: 2, Timescale: 44100}
	a51   = live.Rendition{Name: "a-en-51", Type: live.Audio, Bandwidth: 384_000, Language: "en", Codecs: "ec-3", SampleRate: 48000, Channels: 6, Timescale: 48000}
	aMain = live.Rendition{Name: "sound", Type: live.Audio, Bandwidth: 96_000, Codecs: "mp4a.40.2", SampleRate: 48000, Channels: 1}
	tEn   = live.Rendition{Name: "t-en", Type: live.Text, Bandwidth: 2_000, Language: "en", Codecs: "wvtt"}
	tDe   = live.Rendition{Name: "t-de", Type: live.Text, Bandwidth: 2_000, Language: "de", Codecs: "stpp.ttml.im1t"}
)

var (
	hdr2160 = live.Rendition{Name: "h2160", Type: live.Video, Bandwidth: 14_000_000, Codecs: "hvc1.2.4.L153.B0", Width: 3840, Height: 2160, FrameRate: "60", SAR: "1:1", Color: "9-16-9"}
	hdr1080 = live.Rendition{Name: "h1080", Type: live.Video, Bandwidth: 7_000_000, Codecs: "hvc1.2.4.L123.B0", Width: 1920, Height: 1080, FrameRate: "60", SAR: "1:1", Color: "9-16-9"}
	aEnLow  = live.Rendition{Name: "a-en-64", Type: live.Audio, Bandwidth: 64_000, Language: "en", Codecs: "mp4a.40.5", SampleRate: 48000, Channels: 2, ChannelConfig: 2}
	aJOC    = live.Rendition{Name: "a-en-joc", Type: live.Audio, Bandwidth: 448_000, Language: "en", Codecs: "ec-3", SampleRate: 48000, Channels: 6, ChannelConfig: 6, JOC: 16}
)

// as is a rendition of another track.
func as(r live.Rendition, name string, role live.Role, label string) live.Rendition {
	r.Name, r.Role, r.Label = name, role, label
	return r
}

// keyFrames is a rendition that offers its key frames alone.
func keyFrames(r live.Rendition) live.Rendition {
	r.KeyFrames = true
	return r
}

func unknown(r live.Rendition) live.Rendition {
	return live.Rendition{Name: r.Name, Type: r.Type, Bandwidth: r.Bandwidth, Language: r.Language}
}

const kidHigh, kidLow = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-aaaaaaaaaaaa"

// protected is a rendition as its init segment says that it is encrypted.
func protected(r live.Rendition, scheme, kid string) live.Rendition {
	pssh := func(system string, data string) []byte {
		id, _ := hex.DecodeString(strings.ReplaceAll(system, "-", ""))
		return slices.Concat([]byte{0, 0, 0, byte(32 + len(data))}, []byte("pssh\x00\x00\x00\x00"), id, []byte{0, 0, 0, byte(len(data))}, []byte(data))
	}
	r.Scheme, r.KID = scheme, kid
	r.PSSH = base64.StdEncoding.EncodeToString(slices.Concat(pssh(widevine, "w"+kid[:4]), pssh(playReady, "object"), pssh(commonSystem, "")))
	return r
}

func numbers(ns ...live.Number) func(string, live.Number) bool {
	return func(_ string, n live.Number) bool {
		for _, m := range ns {
			if m == n {
				return true
			}
		}
		return false
	}
}

func newest(n live.Number) func(string) (live.Number, bool) {
	return func(string) (live.Number, bool) { return n, true }
}

var twoSeconds = live.Duration{Ticks: 2, Timescale: 1}

func short(c *live.Config) { c.DVRSeconds = 60 }

// The cases are read side by side with their files in testdata.
var golden = []struct {
	name string
	in   Input
}{
	{"live", Input{ // 40 s in; the newest segment came early, one never did
		Config:    config("2026-11-23T20:00:00Z", twoSeconds, v1080, v720, aEn, aDe, tEn, tDe),
		Now:       at("2026-11-23T20:00:40.3Z"),
		Published: newest(20), Lost: numbers(15),
		Average: map[string]int64{"v1080": 5_100_000, "v720": 2_410_000, "a-en": 120_000, "a-de": 121_000, "t-en": 300, "t-de": 4000},
	}},
	{"live-unknown", Input{ // the same without anything known but the configuration
		Config: config("2026-11-23T20:00:00Z", twoSeconds, v1080, v720, aEn, aDe),
		Now:    at("2026-11-23T20:00:40.3Z"),
	}},
	{"dvr-29.97", Input{ // an hour in, one minute of DVR
		Config: with(config("2026-11-23T20:00:00Z", live.Duration{Ticks: 2002, Timescale: 1000}, ntsc, ntsc2, aEn), short),
		Now:    at("2026-11-23T21:00:00Z"), Published: newest(1797),
	}},
	{"off-grid", Input{ // starts between seconds, numbers since 1970, durations that are no whole microseconds
		Config: with(config("2026-11-23T20:00:00.123Z", live.Duration{Ticks: 88064, Timescale: 44100}, aEn64), func(c *live.Config) {
			c.FirstNumber, c.DVRSeconds = 899_127_000, 60
		}),
		Now: at("2026-11-23T20:05:00Z"),
	}},
	{"media-start", Input{ // decode time 0 is the event's start, slow to publish
		Config: with(config("2026-11-23T20:00:00.5Z", live.Duration{Ticks: 180180, Timescale: 90000}, ntsc, aEn), func(c *live.Config) {
			c.MediaTime, c.AllowanceMS, c.HoldMS, c.LatenessMS = live.MediaStart, 3000, 1000, map[string]int64{"a-en": 250}
			c.FirstNumber = 0
			short(c)
		}),
		Now: at("2026-11-23T20:00:12Z"),
	}},
	{"learning", Input{ // no audio yet, and one video
		Config: config("2026-11-23T20:00:00Z", twoSeconds, v1080, unknown(v720), unknown(aEn)),
		Now:    at("2026-11-23T20:00:03Z"), Published: newest(1),
	}},
	{"silent", Input{ // long after the start there is still no audio
		Config: config("2026-11-23T20:00:00Z", twoSeconds, v1080, unknown(aEn)),
		Now:    at("2026-11-23T20:00:20Z"), Published: newest(9),
	}},
	{"key-frames", Input{ // two renditions offer them, one of them is encrypted
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, keyFrames(protected(v1080, "cbcs", kidHigh)), keyFrames(v720), aEn), func(c *live.Config) { c.FirstNumber = 1 }),
		Now:    at("2026-11-23T20:00:12Z"), Published: newest(5), Lost: numbers(3), DeltaUpdates: true,
	}},
	{"before", Input{ // players come before the event
		Config: config("2026-11-23T20:00:00Z", twoSeconds, v720, aEn),
		Now:    at("2026-11-23T19:59:50Z"),
	}},
	{"ending", Input{ // the end is known
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v720, aEn), func(c *live.Config) { c.End = at("2026-11-23T20:00:41Z") }),
		Now:    at("2026-11-23T20:00:40Z"), Published: newest(19),
	}},
	{"protected", Input{ // keys by size, and one system that the init segments know and one that they do not
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, protected(v1080, "cbcs", kidHigh), protected(v720, "cbcs", kidLow), protected(aEn, "cbcs", kidLow)), func(c *live.Config) {
			c.DRM = []live.DRM{
				{System: widevine, LicenseURL: "https://keys.example.com/w?a=1&b=2"},
				{System: playReady, ContentProtection: `<mspr:pro xmlns:mspr="urn:microsoft:playready">b2JqZWN0</mspr:pro>`},
				{System: fairPlay, KeyURI: "skd://keys.example.com/{kid}"},
				{System: fairPlay, KID: kidHigh, KeyURI: "skd://keys.example.com/high"},
				{System: clearKey, KID: "00000000-0000-0000-0000-000000000000", KeyURI: "urn:x"},
			}
		}),
		Now: at("2026-11-23T20:00:12Z"), Published: newest(5),
	}},
	{"encrypted-cenc", Input{ // by the init segments alone
		Config: config("2026-11-23T20:00:00Z", twoSeconds, protected(v720, "cenc", kidLow), aEn),
		Now:    at("2026-11-23T20:00:12Z"), Published: newest(5),
	}},
	{"finished", Input{ // all of it is in the DVR window, one is missing at the end
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v720, aEn, tEn), func(c *live.Config) { c.End = at("2026-11-23T20:00:20Z") }),
		Now:    at("2026-11-23T20:01:00Z"), Published: newest(9), Lost: numbers(10),
	}},
	{"finished-29.97", Input{ // the window has left its beginning behind
		Config: with(config("2026-11-23T20:00:00Z", live.Duration{Ticks: 2002, Timescale: 1000}, ntsc, aEn), func(c *live.Config) {
			c.End = at("2026-11-23T20:01:00Z")
			short(c)
		}),
		Now: at("2026-11-23T20:01:30Z"),
	}},
	{"over", Input{ // nothing is left of it
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v720, aEn), func(c *live.Config) {
			c.End = at("2026-11-23T20:00:20Z")
			short(c)
		}),
		Now: at("2026-11-23T20:02:00Z"),
	}},
	{"stopped", Input{ // both pipelines went quiet at 12, nobody has ended the event
		Config: config("2026-11-23T20:00:00Z", twoSeconds, v720),
		Now:    at("2026-11-23T20:00:40Z"), Published: newest(12),
		Lost: func(_ string, n live.Number) bool { return n > 12 },
	}},
	{"audio-only", Input{
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, aEn, aEn64, aDe), short),
		Now:    at("2026-11-23T20:00:20Z"),
	}},
	{"codecs", Input{ // two families of video, stereo and surround
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v2160, v1080, aEn, a51, aMain), short),
		Now:    at("2026-11-23T20:00:20Z"),
	}},
	{"tracks", Input{ // what viewers choose among, each in formats that players choose among
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v1080, hdr2160, hdr1080, aEn, aEnLow, aJOC, as(aEn, "a-talk", "commentary", "Commentary"),
			as(aEn, "a-ad", "description", "Described <en>"), as(aDe, "a-de", "dub", ""), as(tEn, "t-cc", "caption", "English CC"), as(tDe, "t-de-forced", "forced-subtitle", "")), func(c *live.Config) {
			short(c)
			c.TimeURL = "https://cdn.example/time"
			c.SessionData = []live.SessionDatum{{ID: "com.example.title", Value: "The Final", Language: "en"}, {ID: "com.example.id", Value: "7"}}
		}),
		Now: at("2026-11-23T20:00:20Z"),
	}},
	{"told", Input{ // what began before the window, an ad break that comes, signals of the encoder, one that is over
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v720, aEn), short),
		Now:    at("2026-11-23T20:05:00Z"), Published: newest(149),
		Notifications: live.Notifications{Sequence: 9, Set: []live.Notification{
			{Type: "programme", ID: `half "two" 50%`, From: 3, Data: []byte("{}")},
			{Type: live.TypeAdBreak, ID: "b2", From: 152, To: 181, Data: []byte(`{"asset_uri":"https://ads.example/main.m3u8?x=1&y=2","restrict":["skip","jump"]}`)},
			{Type: live.TypeSCTE35Out, ID: "s1", From: 152, To: 181, Data: []byte{0xfc, 0x30, 0x11}},
			{Type: live.TypeSCTE35In, ID: "s2", From: 182, Data: []byte{0xfc, 0x30, 0x12}},
			{Type: live.TypeAdBreak, ID: "b1", From: 20, To: 40},
		}},
	}},
	{"spliced", Input{ // what media said, not on boundaries: out and back, out for 30 s, in two sets with event messages
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, spliced(v1080), v720, aEn), short),
		Now:    at("2026-11-23T20:05:00Z"), Published: newest(149),
		Notifications: live.Notifications{Sequence: 9, Set: []live.Notification{
			{Type: live.TypeSCTE35Out, ID: "splice-7-140", From: 140, To: 144, At: at("2026-11-23T20:04:38.5Z"), Length: 9500 * time.Millisecond, Data: []byte{0xfc, 0x30, 0x11}},
			{Type: live.TypeSCTE35In, ID: "splice-7-140-in", From: 145, To: 145, At: at("2026-11-23T20:04:48Z"), Data: []byte{0xfc, 0x30, 0x12}},
			{Type: live.TypeSCTE35Out, ID: "splice-8-152", From: 152, To: 168, At: at("2026-11-23T20:05:03.25Z"), Length: 30 * time.Second, Data: []byte{0xfc, 0x30, 0x13}},
		}},
	}},
	{"delta", Input{ // only what is new
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v720), func(c *live.Config) { c.DVRSeconds = 300 }),
		Now:    at("2026-11-23T20:10:00Z"), DeltaUpdates: true, Skip: true,
	}},
}

func TestGolden(t *testing.T) {
	for _, tt := range golden {
		t.Run(tt.name, func(t *testing.T) {
			check(t, tt.in, tt.name, live.MPDName, live.FileMPD, "")
			check(t, tt.in, tt.name, live.ListedName, live.FileListed, "")
			check(t, tt.in, tt.name, live.HLSName, live.FileHLS, "")
			for _, r := range tt.in.Config.Renditions {
				check(t, tt.in, tt.name, r.Name+".m3u8", live.FilePlaylist, r.Name)
			}
		})
	}
}

func render(in Input, file live.File, rendition string) ([]byte, error) {
	switch file {
	case live.FileMPD:
		return MPD(in)
	case live.FileListed:
		return ListedMPD(in)
	case live.FileHLS:
		return Multivariant(in)
	}
	return Media(in, rendition)
}

func check(t *testing.T, in Input, dir, name string, file live.File, rendition string) {
	t.Helper()
	if err := in.Config.Validate(); err != nil {
		t.Fatal(err)
	}
	b, err := render(in, file, rendition)
	lifetime := Lifetime(in, file, rendition)
	if err != nil {
		var p *live.Problem
		if !errors.As(err, &p) {
			t.Fatalf("%s: %v is not a problem", name, err)
		}
		b, lifetime = fmt.Appendf(nil, "%d %s: %s\n", p.Status, p.Code, p.Detail), p.Lifetime
	} else if file == live.FileMPD {
		checkMPD(t, in, b)
	} else if file == live.FileListed {
		checkListed(t, in, b)
	} else if file == live.FilePlaylist {
		checkPlaylist(t, in, rendition, b)
	} else {
		checkMultivariant(t, in, b)
	}
	comment := "# " + live.FormatLifetime(lifetime) + "\n"
	if (file == live.FileMPD || file == live.FileListed) && err == nil {
		comment = "<!-- " + live.FormatLifetime(lifetime) + " -->\n"
	}
	got := string(b) + comment

	path := filepath.Join("testdata", dir, name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update rewrites it):\n%s", path, diff(string(want), got))
	}
}

// diff shows the first line that differs.
func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\n\twant %s\n\tgot  %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// spliced is a rendition whose segments have event messages.
func spliced(r live.Rendition) live.Rendition {
	r.InbandEvents = live.NewEventSchemes(live.EventScheme{Scheme: live.SpliceBinary, Value: "1001"}, live.EventScheme{Scheme: "https://aomedia.org/emsg/ID3"})
	return r
}
