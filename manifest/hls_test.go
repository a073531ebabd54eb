package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"pgregory.net/rapid"
)

// An attribute list (RFC 8216bis, 4.2), its names in order.
var attribute = regexp.MustCompile(`^([A-Z0-9-]+)=("[^"\r\n]*"|[^",\s]+)(,|$)`)

func parseAttributes(t rapid.TB, s string) map[string]string {
	t.Helper()
	m := map[string]string{}
	for rest := s; rest != ""; {
		x := attribute.FindStringSubmatch(rest)
		if x == nil {
			t.Fatalf("%q is no attribute list at %q", s, rest)
		}
		if _, ok := m[x[1]]; ok {
			t.Errorf("%s is there twice in %q", x[1], s)
		}
		m[x[1]] = strings.Trim(x[2], `"`)
		rest = rest[len(x[0]):]
	}
	return m
}

func lines(t rapid.TB, b []byte) []string {
	t.Helper()
	s, ok := strings.CutSuffix(string(b), "\n")
	if !ok || !strings.HasPrefix(s, "#EXTM3U\n") || strings.Contains(s, "\n\n") || strings.ContainsAny(s, "\r\t") {
		t.Fatalf("no playlist:\n%s", b)
	}
	return strings.Split(s, "\n")
}

func checkKey(t rapid.TB, line int, list string) {
	t.Helper()
	if a := parseAttributes(t, list); a["METHOD"] != "NONE" && (a["METHOD"] != "SAMPLE-AES" && a["METHOD"] != "SAMPLE-AES-CTR" || a["URI"] == "" || a["KEYFORMAT"] == "") {
		t.Errorf("line %d: %s", line+1, list)
	}
}

// checkPlaylist holds a media playlist against the standard's rules and
// against the timeline.
func checkPlaylist(t rapid.TB, in Input, rendition string, b []byte) {
	t.Helper()
	tl := in.Config.Timeline(rendition)
	last, ends := tl.Last()
	tags := map[string]string{}
	var n, first live.Number = -1, -1
	var extinf, skipped, target int64
	var gap, mapped bool
	var when int64 // µs of Unix time at which the next segment begins
	for i, line := range lines(t, b) {
		name, value, _ := strings.Cut(line, ":")
		if strings.HasPrefix(line, "#") {
			if _, ok := tags[name]; ok && name != "#EXTINF" && name != "#EXT-X-GAP" && name != "#EXT-X-DATERANGE" && name != "#EXT-X-KEY" {
				t.Errorf("%s is there twice", name)
			}
			tags[name] = value
		}
		switch name {
		case "#EXTM3U", "#EXT-X-VERSION", "#EXT-X-INDEPENDENT-SEGMENTS":
		case "#EXT-X-TARGETDURATION":
			target = atoi(t, value)
		case "#EXT-X-SERVER-CONTROL":
			a := parseAttributes(t, value)
			if hold, err := strconv.ParseFloat(a["HOLD-BACK"], 64); err != nil || hold < 3*float64(target) {
				t.Errorf("HOLD-BACK=%s of target duration %d", a["HOLD-BACK"], target)
			}
			if until, err := strconv.ParseFloat(a["CAN-SKIP-UNTIL"], 64); in.DeltaUpdates != (err == nil && until >= 6*float64(target)) {
				t.Errorf("CAN-SKIP-UNTIL=%s of target duration %d", a["CAN-SKIP-UNTIL"], target)
			}
		case "#EXT-X-MEDIA-SEQUENCE":
			first = live.Number(atoi(t, value))
			n = first
		case "#EXT-X-SKIP":
			skipped = atoi(t, parseAttributes(t, value)["SKIPPED-SEGMENTS"])
			n += live.Number(skipped)
		case "#EXT-X-DATERANGE":
			if a := parseAttributes(t, value); a["ID"] == "" || a["CLASS"] == "" || a["START-DATE"] == "" {
				t.Errorf("line %d: %s", i+1, line)
			}
		case "#EXT-X-KEY":
			checkKey(t, i, value)
		case "#EXT-X-MAP":
			mapped = parseAttributes(t, value)["URI"] == "init.mp4"
		case "#EXT-X-PROGRAM-DATE-TIME":
			x, err := time.Parse("2006-01-02T15:04:05.000Z", value)
			if err != nil {
				t.Fatal(err)
			}
			when = x.UnixMicro()
		case "#EXTINF":
			d, comma := strings.CutSuffix(value, ",")
			sec, frac, dot := strings.Cut(d, ".")
			if !comma || !dot || len(frac) != 3 && len(frac) != 6 {
				t.Fatalf("line %d: %s", i+1, line)
			}
			extinf = atoi(t, sec)*1e6 + atoi(t, (frac + "000")[:6])
			if (extinf+500_000)/1_000_000 > target {
				t.Errorf("%s rounds above target duration %d", line, target)
			}
		case "#EXT-X-GAP":
			gap = true
		case "#EXT-X-ENDLIST":
		default:
			if line != n.String()+".m4s" {
				t.Fatalf("line %d is %q, want segment %d", i+1, line, n)
			}
			if extinf == 0 || !mapped || tags["#EXT-X-PROGRAM-DATE-TIME"] == "" {
				t.Fatalf("segment %d has no duration, init segment or time", n)
			}
			start := tl.Start(n)
			if n < tl.First() {
				start = start.Add(-tl.Segment() * time.Duration(tl.First()-n))
			}
			if off := when - start.UnixMicro(); off < -2001 || off > 1001 {
				t.Errorf("segment %d begins at %d, %d µs off the timeline", n, when, off)
			}
			if lost := n < tl.First() || in.Lost != nil && in.Lost(rendition, n); gap != lost {
				t.Errorf("segment %d is a gap: %v, is lost: %v", n, gap, lost)
			}
			when, extinf, gap = when+extinf, 0, false
			n++
		}
	}
	newest := n - 1
	if newest < tl.First() { // nothing is there yet: gaps are listed up to the first segment
		if first < 0 || newest != tl.First()-1 || first != max(0, tl.First()-gapsBefore) || skipped > 0 {
			t.Errorf("lists %d to %d before %d", first, newest, tl.First())
		}
		return
	}
	listed := int64(n-first) - skipped
	switch {
	case tags["#EXT-X-VERSION"] != "8" && (skipped == 0 || tags["#EXT-X-VERSION"] != "9"):
		t.Errorf("version %s, %d skipped", tags["#EXT-X-VERSION"], skipped)
	case listed < 1 || !tl.Holds(first) || !tl.Holds(newest):
		t.Errorf("lists %d to %d", first, newest)
	case skipped > 0 && (!in.Skip || !in.DeltaUpdates):
		t.Errorf("skips %d unasked", skipped)
	case skipped > 0 && skipped < listed:
		t.Errorf("skips %d, lists %d: a player that has as many hears of nothing new", skipped, listed)
	case skipped > 0 && listed*int64(tl.Segment()) < 6*target*1e9:
		t.Errorf("lists only %d segments of %v", listed, tl.Segment())
	}
	if _, ok := tags["#EXT-X-ENDLIST"]; ok != (ends && newest == last) {
		t.Errorf("ends: %v, newest %d", ok, newest)
	}
	if tl.Place(first, in.Now) == live.Gone && first != newest {
		t.Errorf("the oldest listed, %d, is gone", first)
	}
	// Nothing is listed before it is there, and nothing is left out for ever.
	if in.Published == nil {
		if newest != tl.Edge(in.Now) {
			t.Errorf("newest is %d, the live edge %d", newest, tl.Edge(in.Now))
		}
	} else if p, ok := in.Published(rendition); newest != p || !ok {
		if ok && newest < p && newest != last {
			t.Errorf("newest is %d, but %d is published", newest, p)
		}
		if (!ok || newest > p) && tl.Place(newest, in.Now) < live.Past {
			t.Errorf("newest is %d, which is neither published nor past its deadline", newest)
		}
	}
	if !ends || newest < last {
		if p := tl.Place(newest+1, in.Now); p >= live.Past {
			t.Errorf("%d is past its deadline and not listed", newest+1)
		}
	}
}

// Players that come before the start find playlists, and one of an event that is over
// without anything is gone.
func TestPlaylistsBeforeTheStartAndOfNothing(t *testing.T) {
	start := time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	of := func(first live.Number, now time.Duration) Input {
		e := live.Default()
		e.Start, e.End, e.FirstNumber = start, start.Add(time.Minute), first
		e.Renditions = []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1, Codecs: "avc1.64001f"}}
		return Input{Config: &live.Config{Event: e}, Now: start.Add(now), Published: func(string) (live.Number, bool) { return 0, false }}
	}
	const head = "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:"
	const then = "\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-SERVER-CONTROL:HOLD-BACK=6.0\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-11-23T19:59:5"
	const gap = ".000Z\n#EXTINF:2.000,\n#EXT-X-GAP\n"
	for _, c := range []struct {
		first live.Number
		now   time.Duration
		want  string
	}{
		{7, -time.Hour, head + "6" + then + "8" + gap + "6.m4s\n"},
		{1, 2 * time.Second, head + "0" + then + "8" + gap + "0.m4s\n"},
	} {
		if b, err := Media(of(c.first, c.now), "v"); err != nil || string(b) != c.want {
			t.Errorf("first %d, %v: %v\n%s", c.first, c.now, err, b)
		}
	}
	if _, err := Media(of(0, -time.Hour), "v"); !errors.Is(err, live.ErrEarly) {
		t.Errorf("where there is no number before the first: %v", err)
	}
	over := of(1, time.Hour)
	_, media := Media(over, "v")
	_, multivariant := Multivariant(over)
	_, mpd := MPD(over)
	_, listed := ListedMPD(over)
	for _, err := range []error{media, multivariant, mpd, listed} {
		var p *live.Problem
		if !errors.As(err, &p) || p.Code != live.ErrGone.Code || p.Lifetime != time.Minute {
			t.Errorf("of what was never published: %v", err)
		}
	}
	over.Published = newest(31)
	if _, err := Media(over, "v"); err != nil {
		t.Error(err)
	}
}

// checkMultivariant holds a multivariant playlist against the standard's rules.
func checkMultivariant(t rapid.TB, in Input, b []byte) {
	t.Helper()
	groups := map[string][]map[string]string{} // by TYPE and GROUP-ID
	uris := map[string]bool{}
	var variant map[string]string
	variants := 0
	for i, line := range lines(t, b) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "#EXTM3U", "#EXT-X-VERSION", "#EXT-X-INDEPENDENT-SEGMENTS":
		case "#EXT-X-SESSION-KEY":
			checkKey(t, i, value)
		case "#EXT-X-SESSION-DATA":
			if a := parseAttributes(t, value); a["DATA-ID"] == "" || a["VALUE"] == "" {
				t.Errorf("line %d: %s", i+1, line)
			}
		case "#EXT-X-MEDIA":
			a := parseAttributes(t, value)
			key := a["TYPE"] + " " + a["GROUP-ID"]
			if a["NAME"] == "" || slices.ContainsFunc(groups[key], func(b map[string]string) bool { return b["NAME"] == a["NAME"] }) {
				t.Errorf("line %d: NAME %q is empty or there twice in its group", i+1, a["NAME"])
			}
			if a["DEFAULT"] == "YES" && (a["TYPE"] != "AUDIO" || a["AUTOSELECT"] != "YES") {
				t.Errorf("line %d: DEFAULT=%s, AUTOSELECT=%s", i+1, a["DEFAULT"], a["AUTOSELECT"])
			}
			if a["URI"] != "" {
				uris[a["URI"]] = true
			} else if a["TYPE"] == "SUBTITLES" {
				t.Errorf("line %d: subtitles without URI", i+1)
			}
			groups[key] = append(groups[key], a)
		case "#EXT-X-I-FRAME-STREAM-INF":
			a := parseAttributes(t, value)
			name, ok := strings.CutSuffix(a["URI"], "/iframes.m3u8")
			if r, known := in.Config.Rendition(name); !ok || !known || !r.KeyFrames || atoi(t, a["BANDWIDTH"]) < 1 || a["CODECS"] != r.Codecs {
				t.Errorf("line %d: %s", i+1, line)
			}
		case "#EXT-X-STREAM-INF":
			variant = parseAttributes(t, value)
		default:
			variants++
			r, ok := in.Config.Rendition(strings.TrimSuffix(line, "/media.m3u8"))
			if !ok || variant == nil {
				t.Fatalf("line %d: %s", i+1, line)
			}
			uris[line] = true
			if atoi(t, variant["BANDWIDTH"]) < r.Bandwidth || !strings.Contains(variant["CODECS"], r.Codecs) {
				t.Errorf("%s: BANDWIDTH=%s, CODECS=%s", line, variant["BANDWIDTH"], variant["CODECS"])
			}
			if avg := variant["AVERAGE-BANDWIDTH"]; avg != "" && atoi(t, avg) > atoi(t, variant["BANDWIDTH"]) {
				t.Errorf("%s: AVERAGE-BANDWIDTH=%s above BANDWIDTH=%s", line, avg, variant["BANDWIDTH"])
			}
			for _, kind := range []string{"AUDIO", "SUBTITLES"} {
				if id := variant[kind]; id != "" && groups[kind+" "+id] == nil {
					t.Errorf("%s: there is no group %s %s", line, kind, id)
				}
			}
			variant = nil
		}
	}
	if variants == 0 || variant != nil {
		t.Errorf("no variant, or one without URI:\n%s", b)
	}
	// All groups of a type offer the same languages, and one rendition by default.
	languages := map[string]string{}
	for key, group := range groups {
		kind, _, _ := strings.Cut(key, " ")
		var l []string
		defaults := 0
		for _, a := range group {
			l = append(l, a["LANGUAGE"]+" "+a["CHARACTERISTICS"])
			if a["DEFAULT"] == "YES" {
				defaults++
			}
		}
		if want := map[string]int{"AUDIO": 1}[kind]; defaults != want {
			t.Errorf("%s has %d defaults", key, defaults)
		}
		all := strings.Join(l, " ")
		if was, ok := languages[kind]; ok && was != all {
			t.Errorf("groups of %s have languages %q and %q", kind, was, all)
		}
		languages[kind] = all
	}
	for _, r := range in.Config.Renditions {
		if uri := r.Name + "/media.m3u8"; uris[uri] != (r.Codecs != "") {
			t.Errorf("rendition %s with codecs %q is listed: %v", r.Name, r.Codecs, uris[uri])
		}
	}
}

// A delta update that a cache makes is the one that is written.
func TestDelta(t *testing.T) {
	for _, d := range []live.Duration{twoSeconds, {Ticks: 2002, Timescale: 1000}, {Ticks: 88064, Timescale: 44100}, {Ticks: 1, Timescale: 10}, {Ticks: 6, Timescale: 1}} {
		c := config("2026-11-23T20:00:00Z", d, v720)
		in := Input{Config: c, Now: at("2026-11-23T23:00:00.7Z"), DeltaUpdates: true, Lost: func(_ string, n live.Number) bool { return n%7 == 0 }}
		full, err := Media(in, "v720")
		if err != nil {
			t.Fatal(err)
		}
		in.Skip = true
		want, err := Media(in, "v720")
		if err != nil {
			t.Fatal(err)
		}
		got := Delta(full)
		if d == twoSeconds && string(got) != string(want) {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		checkPlaylist(t, in, "v720", got)
		if len(got) > 4000 && d != (live.Duration{Ticks: 1, Timescale: 10}) {
			t.Errorf("%d bytes", len(got))
		}
		if again := Delta(got); string(again) != string(got) {
			t.Errorf("the delta of a delta:\n%s", again)
		}
	}
	in := dvr()
	for name, change := range map[string]func(){
		"that does not offer it": func() {},
		"that is short":          func() { in.DeltaUpdates, in.Config.DVRSeconds = true, 20 },
		"that is not much more":  func() { in.DeltaUpdates, in.Config.DVRSeconds = true, 46 },
		"that has ended":         func() { in.DeltaUpdates, in.Config.End = true, in.Now.Add(-time.Minute) },
	} {
		change()
		b, err := Media(in, "v720")
		if err != nil {
			t.Fatal(err)
		}
		if got := Delta(b); string(got) != string(b) {
			t.Errorf("a playlist %s:\n%s", name, got)
		}
		in = dvr()
	}
}

func FuzzDelta(f *testing.F) {
	in := dvr()
	in.DeltaUpdates = true
	b, err := Media(in, "v720")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:2000])
	f.Add([]byte("#EXT-X-VERSION:8\nCAN-SKIP-UNTIL=1.0\n#EXT-X-PROGRAM-DATE-TIME:2026-11-23T20:00:00.000Z\n#EXTINF:9.,\n1\n#EXTINF:9.,\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := Delta(b); len(got) > len(b)+200 {
			t.Errorf("%d bytes of %d", len(got), len(b))
		}
	})
}

func TestTargetDuration(t *testing.T) {
	for d, want := range map[live.Duration]int64{
		{Ticks: 2, Timescale: 1}: 2, {Ticks: 2002, Timescale: 1000}: 2, {Ticks: 88064, Timescale: 44100}: 2, {Ticks: 5, Timescale: 2}: 3,
		{Ticks: 2499, Timescale: 1000}: 2, {Ticks: 1, Timescale: 10}: 1, {Ticks: 60, Timescale: 1}: 60,
	} {
		if got := targetDuration(d); got != want {
			t.Errorf("%d/%d s has target duration %d, want %d", d.Ticks, d.Timescale, got, want)
		}
	}
}

func TestFrameRates(t *testing.T) {
	for s, want := range map[string]string{"30": "30.000", "30000/1001": "29.970", "60000/1001": "59.940", "24000/1001": "23.976", "25/2": "12.500", "": "", "x": "", "1/0": "", "1/": ""} {
		if got := decimalFrameRate(s); got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
}

// EXTINF values that are no whole microseconds add up to the timeline.
func TestExtinfDoesNotDrift(t *testing.T) {
	c := config("2026-11-23T20:00:00Z", live.Duration{Ticks: 88064, Timescale: 44100}, aEn64)
	tl := c.Event.Timeline()
	inf := extinfOf(c.Segment, &tl)
	var sum time.Duration
	const n = 100_000
	for i := live.Number(1); i <= n; i++ {
		s := strings.TrimSuffix(strings.TrimPrefix(string(inf.append(nil, i)), "#EXTINF:"), ",\n")
		d, err := time.ParseDuration(s + "s")
		if err != nil {
			t.Fatal(err)
		}
		sum += d
	}
	if want := tl.End(n).Sub(c.Start); sum-want > time.Microsecond || want-sum > time.Microsecond {
		t.Errorf("%d segments add up to %v, want %v", n, sum, want)
	}
}

func TestUnknownRenditions(t *testing.T) {
	in := Input{Config: config("2026-11-23T20:00:00Z", twoSeconds, v720), Now: at("2026-11-23T20:01:00Z")}
	if _, err := Media(in, "v1080"); err != live.ErrNoRendition {
		t.Errorf("a rendition that the event does not have: %v", err)
	}
}

func TestLifetimes(t *testing.T) {
	c := config("2026-11-23T20:00:00Z", twoSeconds, v720, aEn)
	c.LatenessMS = map[string]int64{"a-en": 100}
	for _, tt := range []struct {
		name      string
		at        string
		published func(string) (live.Number, bool)
		file      live.File
		rendition string
		want      time.Duration
	}{
		// Segment 20 is expected at 20:00:40.5, 21 two seconds later.
		{"until the next is expected", "2026-11-23T20:00:41Z", newest(20), live.FilePlaylist, "v720", 1500 * time.Millisecond},
		{"of a rendition that is late", "2026-11-23T20:00:41Z", newest(20), live.FilePlaylist, "a-en", 1600 * time.Millisecond},
		{"the next came early", "2026-11-23T20:00:41Z", newest(21), live.FilePlaylist, "v720", 2 * time.Second},
		{"the next is overdue", "2026-11-23T20:00:42.6Z", newest(20), live.FilePlaylist, "v720", overdue},
		{"nothing known", "2026-11-23T20:00:41Z", nil, live.FilePlaylist, "v720", 1500 * time.Millisecond},
		{"MPD", "2026-11-23T20:00:41Z", nil, live.FileMPD, "", steady},
		{"multivariant", "2026-11-23T20:00:41Z", nil, live.FileHLS, "", steady},
	} {
		if got := Lifetime(Input{Config: c, Now: at(tt.at), Published: tt.published}, tt.file, tt.rendition); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	c.End = at("2026-11-23T20:00:40Z") // the last deadline is at 20:00:42.5
	for now, want := range map[string]time.Duration{"2026-11-23T20:00:20Z": steady, "2026-11-23T20:00:41Z": 1500*time.Millisecond + 1, "2026-11-23T20:00:43Z": steady} {
		in := Input{Config: c, Now: at(now)}
		if got := Lifetime(in, live.FileMPD, ""); got != want {
			t.Errorf("MPD of an ending event at %s: %v, want %v", now, got, want)
		}
	}
}

// Four hours of two seconds: one allocation, whatever the number of segments.
func TestMediaAllocatesOnce(t *testing.T) {
	in := dvr()
	if got := testing.AllocsPerRun(10, func() {
		if _, err := Media(in, "v720"); err != nil {
			t.Fatal(err)
		}
	}); got > 1 {
		t.Errorf("Media allocates %v times", got)
	}
}

func dvr() Input {
	return Input{
		Config:    config("2026-11-23T20:00:00Z", live.Duration{Ticks: 2002, Timescale: 1000}, v720),
		Now:       at("2026-11-24T20:00:00Z"),
		Published: newest(43156),
		Lost:      func(_ string, n live.Number) bool { return n%1000 == 0 },
	}
}

func BenchmarkMedia(b *testing.B) {
	in := dvr()
	bench := func(name string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				p, err := Media(in, "v720")
				if err != nil {
					b.Fatal(err)
				}
				size = len(p)
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
	bench("dvr-4h")
	in.DeltaUpdates, in.Skip = true, true
	bench("delta")
	in.DeltaUpdates, in.Config.Segment = false, live.Duration{Ticks: 88064, Timescale: 44100}
	bench("fractions")
}

func BenchmarkMPD(b *testing.B) {
	in := Input{Config: config("2026-11-23T20:00:00Z", twoSeconds, v1080, v720, aEn, aDe, tEn), Now: at("2026-11-24T20:00:00Z")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := MPD(in); err != nil {
			b.Fatal(err)
		}
	}
}

// The playlist of key frames is that of segments, of other names and without what is told.
func TestKeyFramePlaylist(t *testing.T) {
	for _, tt := range golden {
		for _, r := range tt.in.Config.Renditions {
			in := tt.in
			in.DeltaUpdates, in.Notifications = false, live.Notifications{}
			want, wantErr := Media(in, r.Name)
			in.DeltaUpdates, in.Notifications = true, tt.in.Notifications
			got, err := Playlist(in, live.Path{File: live.FilePlaylist, Rendition: r.Name, Key: true})
			text := strings.Replace(string(want), "#EXT-X-INDEPENDENT-SEGMENTS\n", "#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-I-FRAMES-ONLY\n", 1)
			text = regexp.MustCompile(`(?m)^(\d+\.m4s)$`).ReplaceAllString(text, "k$1")
			if fmt.Sprint(err) != fmt.Sprint(wantErr) || string(got) != text {
				t.Errorf("%s, %s: %v\n%s\nwant %v\n%s", tt.name, r.Name, err, got, wantErr, text)
			}
		}
	}
}
