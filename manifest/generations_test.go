package manifest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"pgregory.net/rapid"
)

// rekeyed is a rendition of which segments from 12 on have another key, and those from 18
// on none.
func rekeyed(c *live.Config) {
	other, clear := renewed(v720, v720.Codecs, 1280, 720), renewed(v720, v720.Codecs, 1280, 720)
	other.Rendition = protected(other.Rendition, "cbcs", kidHigh)
	c.Generations = []live.Generation{{Index: 1, From: 12, Renditions: []live.Renewed{other}}, {Index: 2, From: 18, Renditions: []live.Renewed{clear}}}
}

// renewed is a rendition that has another init segment.
func renewed(r live.Rendition, codecs string, width, height int) live.Renewed {
	r.Codecs, r.Width, r.Height = codecs, width, height
	return live.Renewed{Rendition: r, Digest: "sha-256=:" + strings.Repeat("A", 43) + "=:"}
}

// twice is an event of which one video comes back larger, and then all come back otherwise.
func twice(c *live.Config) {
	c.Generations = []live.Generation{
		{Index: 1, From: 12, Renditions: []live.Renewed{renewed(v720, "avc1.640020", 1600, 900)}},
		{Index: 2, From: 18, Renditions: []live.Renewed{renewed(v1080, "hvc1.1.6.L120.B0", 1920, 1080), renewed(v720, "hvc1.1.6.L93.B0", 1280, 720), renewed(aEn, "ec-3", 0, 0)}},
	}
}

var goldenGenerations = []struct {
	name string
	in   Input
}{
	{"generations", Input{
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v1080, v720, aEn, aDe), twice),
		Now:    at("2026-11-23T20:00:40.3Z"), Published: newest(20), Lost: numbers(12),
		Notifications: live.Notifications{Sequence: 1, Set: []live.Notification{{Type: "programme", ID: "p", From: 10, To: 13}}},
	}},
	{"generations-of-keys", Input{
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, protected(v720, "cbcs", kidLow), aEn), rekeyed),
		Now:    at("2026-11-23T20:00:40.3Z"), Published: newest(20), DeltaUpdates: true,
	}},
	{"clear-lead", Input{ // then the init segment's key, then those of sample groups
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, protected(v720, "cbcs", kidLow), aEn), func(c *live.Config) {
			c.DRM = []live.DRM{{System: clearKey, KeyURI: "urn:uuid:{kid}"}, {System: widevine, KID: kidHigh, KeyURI: "data:text/plain;base64,AAAA"}}
		}),
		Now: at("2026-11-23T20:00:20.3Z"), Published: newest(10), DeltaUpdates: true,
		Key: func(_ string, n live.Number) (live.SegmentKey, bool) {
			return [...]live.SegmentKey{live.KeyNone, "", kidHigh, live.KeyNone}[(n-1)/3], n != 5
		},
	}},
	{"generation-ahead", Input{ // it is known, and not yet there
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v720, aEn), func(c *live.Config) {
			c.Generations = []live.Generation{{Index: 1, From: 30, Renditions: []live.Renewed{renewed(v720, "avc1.640020", 1600, 900)}}}
		}),
		Now: at("2026-11-23T20:00:40.3Z"), Published: newest(20),
	}},
	{"generation-behind", Input{ // the first has left the window
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v720, aEn), func(c *live.Config) {
			short(c)
			twice(c)
			c.OnNewInit = live.NewInitGeneration
		}),
		Now: at("2026-11-23T20:01:20Z"), Published: newest(40),
	}},
	{"generation-first", Input{ // the first begins before anything was published of another
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v720, aEn), func(c *live.Config) {
			c.Generations = []live.Generation{{Index: 1, From: 1, Renditions: []live.Renewed{renewed(v720, "avc1.640020", 1600, 900)}}}
		}),
		Now: at("2026-11-23T20:00:10Z"),
	}},
	{"generations-finished", Input{
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v1080, v720, aEn), func(c *live.Config) {
			c.End = at("2026-11-23T20:00:44Z")
			twice(c)
		}),
		Now: at("2026-11-23T20:01:00Z"), Published: newest(22),
	}},
	{"generations-delta", Input{ // both lie in what is skipped
		Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v720), func(c *live.Config) { c.DVRSeconds = 300; twice(c) }),
		Now:    at("2026-11-23T20:04:00Z"), DeltaUpdates: true, Skip: true,
	}},
}

func TestGoldenGenerations(t *testing.T) {
	for _, tt := range goldenGenerations {
		for name, file := range map[string]live.File{live.MPDName: live.FileMPD, live.ListedName: live.FileListed, live.HLSName: live.FileHLS, "v720.m3u8": live.FilePlaylist, "a-en.m3u8": live.FilePlaylist} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				b, err := render(tt.in, file, strings.TrimSuffix(name, ".m3u8"))
				if errors.Is(err, live.ErrNoRendition) {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join("testdata", tt.name, name)
				if *update {
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, b, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatalf("%v (go test -update writes it)", err)
				}
				if string(b) != string(want) {
					t.Errorf("%s differs (go test -update rewrites it):\n%s", path, diff(string(want), string(b)))
				}
			})
		}
	}
}

// An entry is a segment of a media playlist, as a player understands it.
type entryHLS struct {
	init     string
	keys     string // tags
	sequence int64  // of discontinuities
	at       time.Time
}

// entries reads a media playlist as a player does.
func entries(t rapid.TB, b []byte) (out map[live.Number]entryHLS, first live.Number) {
	t.Helper()
	out = map[live.Number]entryHLS{}
	var e entryHLS
	var n live.Number
	var length time.Duration
	keys := ""
	for _, line := range lines(t, b) {
		name, value, _ := strings.Cut(line, ":")
		if name != "#EXT-X-KEY" && keys != "" { // those that stand together
			e.keys, keys = keys, ""
		}
		switch name {
		case "#EXT-X-KEY":
			keys += line + "\n"
		case "#EXT-X-MEDIA-SEQUENCE":
			n = live.Number(atoi(t, value))
			first = n
		case "#EXT-X-DISCONTINUITY-SEQUENCE":
			e.sequence = atoi(t, value)
		case "#EXT-X-DISCONTINUITY":
			e.sequence++
		case "#EXT-X-MAP":
			e.init = parseAttributes(t, value)["URI"]
		case "#EXT-X-SKIP":
			n += live.Number(atoi(t, parseAttributes(t, value)["SKIPPED-SEGMENTS"]))
		case "#EXT-X-PROGRAM-DATE-TIME":
			e.at, _ = time.Parse(timeLayout, value)
		case "#EXTINF":
			length = time.Duration(microseconds([]byte(value))) * time.Microsecond
		default:
			if !strings.HasPrefix(line, "#") {
				if line != n.String()+".m4s" {
					t.Fatalf("%s where %d should be", line, n)
				}
				out[n] = e
				e.at = e.at.Add(length)
				n++
			}
		}
	}
	return out, first
}

// keyTags are the tags that hold for each segment of a playlist: of one of which nothing
// is known those of the one before.
func keyTags(in *Input, rendition string, first, end live.Number) map[live.Number]string {
	out := map[live.Number]string{}
	key, index := live.SegmentKey(""), -1
	for n := first; n < end && in.isEncrypted(rendition); n++ {
		if i, _ := in.Config.InitAt(rendition, n); i != index {
			key = ""
			for m := n; index < 0 && m < end; m++ { // nothing is before it
				j, _ := in.Config.InitAt(rendition, m)
				if is, ok := in.Key(rendition, m); ok || j != i {
					if j == i {
						key = is
					}
					break
				}
			}
			index = i
		}
		if is, ok := in.Key(rendition, n); ok {
			key = is
		}
		if out[n] = string(in.keyTags(rendition, n, key)); out[n] == "" {
			out[n] = out[n-1] // nothing can be said of it
		}
	}
	return out
}

// genKeys draws by which key each segment is encrypted.
func genKeys(t *rapid.T) func(string, live.Number) (live.SegmentKey, bool) {
	of := rapid.SliceOfN(rapid.SampledFrom([]live.SegmentKey{"", live.KeyNone, kidHigh, kidLow, "not known"}), 1, 8).Draw(t, "keys")
	period := rapid.IntRange(1, 40).Draw(t, "period")
	return func(_ string, n live.Number) (live.SegmentKey, bool) {
		k := of[int(n)/period%len(of)]
		return k, k != "not known"
	}
}

func genGenerations(t *rapid.T, c *live.Config) {
	from := c.FirstNumber
	for i := range rapid.IntRange(0, 4).Draw(t, "generations") {
		from += live.Number(rapid.Int64Range(int64(min(i, 1)), 700).Draw(t, "from"))
		g := live.Generation{Index: i + 1, From: from}
		for _, r := range c.Renditions {
			if rapid.Bool().Draw(t, r.Name) || len(g.Renditions) == 0 && r.Name == "a-en" {
				g.Renditions = append(g.Renditions, renewed(r, "avc1.64000"+fmt.Sprint(i+1), 100*(i+1), 100))
			}
		}
		if g.Renditions != nil {
			c.Generations = append(c.Generations, g)
		}
	}
}

// TestPlaylistsOfGenerations: each segment has the init segment of its generation and
// the same discontinuity sequence number, in all playlists at all times, whether it is
// listed by a whole playlist or by what is new of one.
func TestPlaylistsOfGenerations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		video := v720
		if rapid.Bool().Draw(t, "encrypted") {
			video = protected(v720, "cbcs", kidLow)
		}
		c := config("2026-11-23T20:00:00Z", twoSeconds, video, aEn)
		c.DVRSeconds = rapid.Int64Range(30, 3600).Draw(t, "dvr")
		genGenerations(t, c)
		for i := range c.Generations {
			if r := c.Generations[i].Renewed("v720"); r != nil && rapid.Bool().Draw(t, "another key") {
				r.Rendition = protected(r.Rendition, rapid.SampledFrom([]string{"", "cbcs"}).Draw(t, "scheme"), kidHigh)
			}
		}
		in := Input{Config: c, Key: genKeys(t), DeltaUpdates: true, Now: c.Start.Add(time.Duration(rapid.Int64Range(10, 4000).Draw(t, "now")) * time.Second)}
		tl := c.Event.Timeline()
		for _, rendition := range []string{"v720", "a-en"} {
			in.Skip = false
			full, err := Media(in, rendition)
			if err != nil {
				t.Fatal(err)
			}
			in.Skip = true
			skipped, err := Media(in, rendition)
			if err != nil {
				t.Fatal(err)
			}
			all, first := entries(t, full)
			keys := keyTags(&in, rendition, first, first+live.Number(len(all)))
			for n, e := range all {
				index, _ := c.InitAt(rendition, n)
				if want := (entryHLS{live.InitFile(index), keys[n], int64(c.GenerationAt(n)), tl.Start(n)}); e != want {
					t.Fatalf("segment %d of %s is %+v, want %+v:\n%s", n, rendition, e, want, full)
				}
			}
			if d := Delta(full); string(d) != string(skipped) {
				t.Fatalf("a cache makes\n%s\nof\n%s\nand not\n%s", d, full, skipped)
			}
			some, from := entries(t, skipped)
			for n, e := range some {
				if e.sequence = all[n].sequence; e != all[n] || first != from {
					t.Fatalf("segment %d is %+v in what is new, and %+v:\n%s", n, e, all[n], skipped)
				}
			}
		}
	})
}

// TestPeriodsOfGenerations: Periods cover the event without a hole, each numbering on
// from the one before, with the init segments and codecs of its generation.
func TestPeriodsOfGenerations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := config("2026-11-23T20:00:00Z", twoSeconds, v1080, v720, aEn)
		c.DVRSeconds = rapid.Int64Range(30, 3600).Draw(t, "dvr")
		if rapid.Bool().Draw(t, "ends") {
			c.End = c.Start.Add(time.Duration(rapid.Int64Range(10, 4000).Draw(t, "end")) * time.Second)
		}
		genGenerations(t, c)
		in := Input{Config: c, Now: c.Start.Add(time.Duration(rapid.Int64Range(10, 4000).Draw(t, "now")) * time.Second)}
		b, err := MPD(in)
		if errors.Is(err, live.ErrGone) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var mpd mpdXML
		if err := xml.Unmarshal(b, &mpd); err != nil {
			t.Fatal(err)
		}
		tl := c.Event.Timeline()
		next := live.Number(-1)
		for _, p := range mpd.Periods {
			want := next
			for _, s := range p.Sets {
				first := s.Template.Start
				if s.Template.Media == "" {
					first = s.Representations[0].Template.Start
				}
				if want >= 0 && first != want {
					t.Fatalf("Period %s begins with %d, want %d:\n%s", p.ID, first, want, b)
				}
				if want := isoDuration(tl.Start(first).Sub(tl.Start(tl.First()))); p.Start != want || p.ID != fmt.Sprint(c.GenerationAt(first)+1) {
					t.Fatalf("Period %s of %d starts at %s, want %s:\n%s", p.ID, first, p.Start, want, b)
				}
				for _, r := range s.Representations {
					x := r.Template
					if s.Template.Media != "" {
						x = s.Template
					}
					index, _ := c.InitAt(r.ID, first)
					told, _ := c.RenditionAt(r.ID, first)
					if x.Start != first || !strings.HasSuffix(x.Init, "/"+live.InitFile(index)) || r.Codecs != told.Codecs {
						t.Fatalf("%s in Period %s: %+v, codecs %s:\n%s", r.ID, p.ID, x, r.Codecs, b)
					}
					if start, _ := tl.Media(first, x.Timescale); x.Offset != start {
						t.Fatalf("%s in Period %s has an offset of %d, want %d", r.ID, p.ID, x.Offset, start)
					}
					if next = -1; x.End != nil {
						next = *x.End + 1
					}
				}
			}
		}
		if last, ends := tl.Last(); len(mpd.Periods) == 0 || !ends && next >= 0 || ends && next != last+1 {
			t.Fatalf("%d Periods up to %d:\n%s", len(mpd.Periods), next, b)
		}
	})
}

// A multivariant playlist tells of the codecs of now: it is not kept over the beginning of
// a generation that has others.
func TestMultivariantIsNotKeptAcrossGenerations(t *testing.T) {
	in := Input{Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v720, aEn), func(c *live.Config) {
		c.Generations = []live.Generation{{Index: 1, From: 30, Renditions: []live.Renewed{renewed(v720, "hvc1.1.6.L93.B0", 1280, 720)}}}
	}), Published: newest(20)}
	tl := in.Config.Event.Timeline()
	for _, before := range []time.Duration{time.Minute, steady, 3 * time.Second, time.Millisecond, 0, -time.Second} {
		in.Now = tl.Start(30).Add(-before)
		want := steady
		if before > 0 {
			want = min(want, before)
		}
		if d := Lifetime(in, live.FileHLS, ""); d != want {
			t.Errorf("%v before: kept for %v, want %v", before, d, want)
		}
		b, err := Multivariant(in)
		if err != nil || strings.Contains(string(b), "hvc1") != (before <= 0) {
			t.Errorf("%v before: %v\n%s", before, err, b)
		}
	}
}
