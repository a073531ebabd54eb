package ingest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name  string
		inits []string
		want  int
	}{
		{"chunk-stream1-00042.m4s", []string{"init-stream0.m4s", "init-stream1.m4s"}, 1},
		{"chunk-stream1-00042.m4s", []string{"init-stream0.m4s"}, -1}, // that of stream 1 is yet to come
		{"video/42.cmfv", []string{"audio/init.cmfa", "video/init.cmfv"}, 1},
		{"Streams(video.cmfv)", []string{"Streams(audio.cmfa)", "Streams(video.cmfv)"}, 1},
		{"live7.m4s", []string{"init.mp4"}, 0},
		{"seg/de/7.m4s", []string{"init/en.mp4", "init/de.mp4"}, -1}, // a manifest has to tell
		{"media/de-7.m4s", []string{"init/en.mp4", "init/de.mp4"}, 1},
		{"news_1080p_000123.mp4", []string{"news_1080p_init.mp4", "news_720p_init.mp4"}, 0},
		{"channel_1_00007.mp4", []string{"channel_0init.mp4", "channel_1init.mp4"}, 1},
		{"7.m4s", []string{"a/init.mp4", "b/init.mp4"}, -1},
		{"7.m4s", nil, -1},
	} {
		if got := find(c.name, c.inits); got != c.want {
			t.Errorf("%s among %v: %d, want %d", c.name, c.inits, got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"Streams(Video_1080p.cmfv)": "Video_1080p", "init-stream0.m4s": "stream0", "audio-en/init.cmfa": "audio-en", "init.mp4": "", "x/en.mp4": "en",
	} {
		if got := streamName(name); !strings.EqualFold(strings.ReplaceAll(got, " ", "-"), strings.ReplaceAll(want, "_", "-")) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for s, want := range map[string]string{"Video 1080p": "video-1080p", "--": "", "ÄÖ1": "1", strings.Repeat("a", 99): strings.Repeat("a", 40)} {
		if got := toName(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

const root = "/acme/final/a"

func TestMPD(t *testing.T) {
	m, err := parseMPD([]byte(`<MPD type="dynamic" availabilityStartTime="2026-11-28T05:00:00.5Z"><BaseURL>cdn/</BaseURL>
<Period id="old"><AdaptationSet><Representation id="gone"/></AdaptationSet></Period>
<Period start="PT1H2M3.5S"><BaseURL>p1/</BaseURL><AdaptationSet lang="de">
 <SegmentTemplate timescale="90000" presentationTimeOffset="180000" media="$RepresentationID$/$Time$.m4s" initialization="$RepresentationID$/i.mp4"><SegmentTimeline><S t="180000" d="172800" r="3"/><S d="1"/></SegmentTimeline></SegmentTemplate>
 <Representation id="one" bandwidth="5000"/><Representation id="t$o" bandwidth="7"><SegmentTemplate media="b$Bandwidth$-$Number%05d$-$$.m4s"/></Representation>
</AdaptationSet><AdaptationSet><Label>Ton</Label><Representation id="list"><SegmentList duration="4"><Initialization sourceURL="l.mp4"/><SegmentURL media="l1.mp4"/><SegmentURL media="l2.mp4"/></SegmentList></Representation></AdaptationSet></Period></MPD>`),
		root, "acme/final/a/x/live.mpd")
	if err != nil {
		t.Fatal(err)
	}
	if len(m.streams) != 3 || m.ended || !m.start.Equal(time.Date(2026, 11, 28, 5, 0, 0, 5e8, time.UTC)) {
		t.Fatalf("%+v", m)
	}
	one, two, list := &m.streams[0], &m.streams[1], &m.streams[2]
	if one.init != "x/cdn/p1/one/i.mp4" || one.language != "de" || one.bandwidth != 5000 || one.segment != 1920*time.Millisecond ||
		one.zero != time.Hour+2*time.Minute+1500*time.Millisecond || !one.has("x/cdn/p1/one/180000.m4s") || one.has("x/cdn/p1/two/180000.m4s") {
		t.Errorf("%+v", one)
	}
	if two.init != "x/cdn/p1/t$o/i.mp4" || !two.has("x/cdn/p1/b7-00042-$.m4s") || two.segment != one.segment {
		t.Errorf("%+v", two)
	}
	if list.init != "x/cdn/p1/l.mp4" || !list.has("x/cdn/p1/l2.mp4") || list.has("x/cdn/p1/l3.mp4") || list.label != "Ton" || list.language != "" {
		t.Errorf("%+v", list)
	}
	for _, bad := range []string{"", "<a/>", "<MPD>", "<MPD>" + strings.Repeat("<a>", 99), "<MPD>" + strings.Repeat("<a/>", maxElements), "<MPD><Period></MPD>"} {
		if _, err := parseMPD([]byte(bad), root, "x.mpd"); !errors.Is(err, ErrManifest) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func TestPlaylist(t *testing.T) {
	m, err := parsePlaylist([]byte("#EXTM3U\n#EXT-X-MAP:URI=\"i,1.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-11-28T06:00:00.25+0100\n#EXTINF:1.92,\ns1.m4s?x=1\n#EXTINF:1.92,\n../s2.m4s\n#EXT-X-ENDLIST\n"), root, "acme/final/a/v/x.m3u8")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 28, 5, 0, 0, 25e7, time.UTC)
	if s := m.streams[0]; !m.ended || s.init != "v/i,1.mp4" || s.segment != 1920*time.Millisecond || !s.has("v/s1.m4s") || !s.dates["s2.m4s"].Equal(at.Add(1920*time.Millisecond)) {
		t.Errorf("%+v", m)
	}
	m, err = parsePlaylist([]byte("#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,NAME=\"Ton\",LANGUAGE=\"de\",URI=\"de/x.m3u8\"\n#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS=\"a,b\"\nhttp://other/acme/final/a/v/x.m3u8\n"), root, "acme/final/a/main.m3u8")
	if err != nil || len(m.streams) != 0 || len(m.lists) != 2 || m.lists[0].language != "de" || m.lists[0].list != "de/x.m3u8" || m.lists[1].bandwidth != 9 || m.lists[1].list != "v/x.m3u8" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := parsePlaylist([]byte("x"), root, ""); !errors.Is(err, ErrManifest) {
		t.Error(err)
	}
}

// FuzzManifest: what encoders push is read without a panic, within its bounds, and
// what is learnt can be used.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`<MPD type="dynamic"><BaseURL>a/</BaseURL><Period start="PT1S"><AdaptationSet lang="de"><SegmentTemplate timescale="90000" media="$Number%05d$" initialization="$RepresentationID$"><SegmentTimeline><S d="3"/></SegmentTimeline></SegmentTemplate><Representation id="1"/></AdaptationSet></Period></MPD>`))
	f.Add([]byte("#EXTM3U\n#EXT-X-MAP:URI=\"i\"\n#EXT-X-PROGRAM-DATE-TIME:2026-11-28T06:00:00Z\n#EXTINF:2,\na\n#EXT-X-STREAM-INF:BANDWIDTH=1\nb\n#EXT-X-MEDIA:URI=\"c\"\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte, string, string) (*manifest, error){parseMPD, parsePlaylist} {
			m, err := parse(b, root, "acme/final/a/x/live.mpd")
			if err != nil {
				if !errors.Is(err, ErrManifest) {
					t.Errorf("%v", err)
				}
				continue
			}
			if len(m.streams)+len(m.lists) > 2*maxListed {
				t.Errorf("%d streams", len(m.streams))
			}
			for _, d := range m.streams {
				if strings.HasPrefix(d.init, "/") || strings.HasPrefix(d.init, "../") || d.segment < 0 {
					t.Errorf("%+v", d)
				}
				d.has("x/1")
				find("x/1.m4s", []string{d.init})
				if n := toName(d.id); n != "" && !live.ValidName(n) {
					t.Errorf("%q of %q", n, d.id)
				}
				if d.segment > 0 && rational(d.segment).Timescale == 0 {
					t.Errorf("%v", d.segment)
				}
			}
		}
	})
}

func TestPlace(t *testing.T) {
	ev := testEvent(newYear, "v720")
	started := testEvent(newYear, "v720")
	started.MediaTime = live.MediaStart
	const scale = 1000
	at := func(ms int64) time.Time { return newYear.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		what string
		ev   *live.Event
		e    evidence
		snap bool
		by   string
		at   int64 // where its first sample is then, in ms since the event began
	}{
		{"decode times of the epoch", ev, evidence{decode: newYear.UnixMilli() + 700, arrived: at(2700)}, true, byDecode, 700},
		{"decode times of the event", started, evidence{decode: 6000, arrived: at(8100)}, true, byDecode, 6000},
		{"an encoder that began after the event", started, evidence{decode: 0, arrived: at(60_300)}, true, byArrival, 60_000 - 2000 + 2000},
		{"by arrival: the boundary that it is not late for", ev, evidence{arrived: at(10_900)}, true, byArrival, 10_000},
		{"by arrival: a little late is in time", ev, evidence{arrived: at(10_200)}, true, byArrival, 8000},
		{"by arrival, without a picture", ev, evidence{arrived: at(10_900)}, false, byArrival, 8900},
		{"by the manifest", ev, evidence{arrived: at(12_900), said: at(10_000)}, true, byManifest, 12_000},
		{"a manifest that says what cannot be", ev, evidence{arrived: at(12_900), said: at(100_000)}, true, byArrival, 12_000},
		{"by prft, on the grid", ev, evidence{decode: 5000, stamp: at(14_010), arrived: at(99_999)}, true, byPRFT, 14_000},
		{"by prft, off the grid", ev, evidence{decode: 5000, stamp: at(14_500), arrived: at(99_999)}, true, byPRFT, 16_000},
		{"before the event", ev, evidence{arrived: at(-59_100)}, true, byArrival, -60_000},
	} {
		e := c.e
		e.shown, e.duration, e.frame, e.scale, e.video = e.decode, 2000, 33, scale, true
		a := place(e, c.ev, c.snap)
		epoch := time.Unix(0, 0)
		if c.ev.MediaTime == live.MediaStart {
			epoch = c.ev.Start
		}
		got := epoch.Add(time.Duration(e.decode) * time.Millisecond).Add(a.shift)
		if a.by != c.by || !got.Equal(at(c.at)) {
			t.Errorf("%s: by %s at %v, want %s at %d ms", c.what, a.by, got.Sub(newYear), c.by, c.at)
		}
	}
}

func TestMatch(t *testing.T) {
	video := func(stream string, w, h int) candidate {
		return candidate{key: trackKey{stream, 1}, track: &cmaf.Track{Type: live.Video, Width: w, Height: h}, names: []string{stream}}
	}
	audio := func(stream, language string) candidate {
		return candidate{key: trackKey{stream, 1}, track: &cmaf.Track{Type: live.Audio}, language: language}
	}
	r := func(name string, typ live.MediaType, more ...any) live.Rendition {
		out := live.Rendition{Name: name, Type: typ}
		for _, m := range more {
			switch m := m.(type) {
			case string:
				out.Language = m
			case live.Match:
				out.Match = m
			case [2]int:
				out.Width, out.Height = m[0], m[1]
			case int:
				out.Bandwidth = int64(m)
			}
		}
		return out
	}
	for _, c := range []struct {
		what       string
		tracks     []candidate
		renditions []live.Rendition
		taken      string
		want       string
	}{
		{"by name", []candidate{video("lo", 1, 1), video("hi", 2, 2)}, []live.Rendition{r("hi", live.Video), r("lo", live.Video)}, "", "hi=hi lo=lo"},
		{"by size", []candidate{video("0", 640, 360), video("1", 1280, 720)}, []live.Rendition{r("v720", live.Video, [2]int{1280, 720}), r("v360", live.Video, [2]int{640, 360})}, "", "0=v360 1=v720"},
		{"by order of size, as many", []candidate{video("0", 640, 360), video("1", 1280, 720)}, []live.Rendition{r("small", live.Video, 1), r("large", live.Video, 2)}, "", "0=small 1=large"},
		{"more than there are", []candidate{video("0", 640, 360), video("1", 1280, 720)}, []live.Rendition{r("x", live.Video)}, "", ""},
		{"by language", []candidate{audio("0", "deu"), audio("1", "en-US")}, []live.Rendition{r("a-en", live.Audio, "en"), r("a-de", live.Audio, "de"), r("a-fr", live.Audio, "fr")}, "", "0=a-de 1=a-en"},
		{"two of one language", []candidate{audio("0", "en"), audio("1", "en")}, []live.Rendition{r("a-en", live.Audio, "en"), r("a-ad", live.Audio, "en")}, "", "0=a-en 1=a-ad"},
		{"what is taken is not there", []candidate{video("1", 1280, 720)}, []live.Rendition{r("a", live.Video), r("b", live.Video)}, "a", "1=b"},
		{"by what the event asks for", []candidate{audio("snd/1.mp4", "en"), audio("snd/2-ad.mp4", "en")},
			[]live.Rendition{r("a-en", live.Audio, "en"), r("a-ad", live.Audio, "en", live.Match{Name: "snd/*-ad*", Language: "en"})}, "", "snd/1.mp4=a-en snd/2-ad.mp4=a-ad"},
		{"what the event asks for is not there", []candidate{audio("0", "en")}, []live.Rendition{r("a-en", live.Audio, "en", live.Match{Codec: "ec-3"})}, "", ""},
		{"of another type", []candidate{video("a-en", 1, 1)}, []live.Rendition{r("a-en", live.Audio)}, "", ""},
	} {
		taken := map[string]bool{}
		if c.taken != "" {
			taken[c.taken] = true
		}
		got := match(c.tracks, c.renditions, taken)
		want := strings.Fields(c.want)
		if len(got) != len(want) {
			t.Errorf("%s: %v", c.what, got)
		}
		for _, pair := range want {
			stream, name, _ := strings.Cut(pair, "=")
			if got[trackKey{stream, 1}].Name != name {
				t.Errorf("%s: %v, want %s", c.what, got, c.want)
			}
		}
	}
}

// Of two manifests that speak of the same stream the same one counts, whichever came first.
func TestTheSameManifestCounts(t *testing.T) {
	for range 50 {
		p := &publication{manifests: map[string]*manifest{}}
		for _, x := range []string{"d", "c", "b", "a"} {
			p.manifests[x+".mpd"] = &manifest{streams: []described{{id: "by-" + x, init: "init.mp4", bandwidth: int64(x[0]), names: map[string]bool{"1.mp4": true}}}}
		}
		s := newStream(p, "init.mp4")
		s.init = &cmaf.Init{Tracks: []cmaf.Track{{ID: 1, Type: live.Video}}}
		c := p.candidates([]*stream{s})
		d := p.describes(func(d *described) bool { return d.has("1.mp4") })
		if len(c) != 1 || c[0].names[0] != "by-a" || c[0].bandwidth != 'a' || d == nil || d.id != "by-a" {
			t.Fatalf("%+v; %+v", c, d)
		}
	}
}

func TestRational(t *testing.T) {
	for d, want := range map[time.Duration]live.Duration{
		2 * time.Second:                 {Ticks: 2, Timescale: 1},
		1920 * time.Millisecond:         {Ticks: 48, Timescale: 25},
		2002 * time.Millisecond:         {Ticks: 2002, Timescale: 1000},
		3840 * time.Millisecond:         {Ticks: 96, Timescale: 25},
		1_668_333_333 * time.Nanosecond: {Ticks: 50050, Timescale: 30000},
	} {
		if got := rational(d); got != want {
			t.Errorf("%v: %+v, want %+v", d, got, want)
		}
	}
}
