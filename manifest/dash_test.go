package manifest

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"io"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"pgregory.net/rapid"
)

// The parts of an MPD that a player works with.
type mpdXML struct {
	XMLName      xml.Name `xml:"urn:mpeg:dash:schema:mpd:2011 MPD"`
	Profiles     string   `xml:"profiles,attr"`
	Type         string   `xml:"type,attr"`
	Availability string   `xml:"availabilityStartTime,attr"`
	PublishTime  string   `xml:"publishTime,attr"`
	Update       string   `xml:"minimumUpdatePeriod,attr"`
	Duration     string   `xml:"mediaPresentationDuration,attr"`
	MinBuffer    string   `xml:"minBufferTime,attr"`
	MaxSegment   string   `xml:"maxSegmentDuration,attr"`
	DVR          string   `xml:"timeShiftBufferDepth,attr"`
	Delay        string   `xml:"suggestedPresentationDelay,attr"`
	Periods      []struct {
		ID    string   `xml:"id,attr"`
		Start string   `xml:"start,attr"`
		Sets  []setXML `xml:"AdaptationSet"`
	} `xml:"Period"`
	UTCTiming []struct {
		Scheme string `xml:"schemeIdUri,attr"`
		Value  string `xml:"value,attr"`
	} `xml:"UTCTiming"`
}

type setXML struct {
	ID          int    `xml:"id,attr"`
	ContentType string `xml:"contentType,attr"`
	MimeType    string `xml:"mimeType,attr"`
	Lang        string `xml:"lang,attr"`
	Captured    []struct {
		At    string `xml:"wallClockTime,attr"`
		Media int64  `xml:"presentationTime,attr"`
	} `xml:"ProducerReferenceTime"`
	Essential []struct {
		Scheme string `xml:"schemeIdUri,attr"`
		Value  string `xml:"value,attr"`
	} `xml:"EssentialProperty"`
	Template        templateXML `xml:"SegmentTemplate"`
	Representations []struct {
		ID        string      `xml:"id,attr"`
		Bandwidth int64       `xml:"bandwidth,attr"`
		Codecs    string      `xml:"codecs,attr"`
		Template  templateXML `xml:"SegmentTemplate"`
	} `xml:"Representation"`
}

type templateXML struct {
	Timescale int64        `xml:"timescale,attr"`
	Duration  int64        `xml:"duration,attr"`
	Start     live.Number  `xml:"startNumber,attr"`
	End       *live.Number `xml:"endNumber,attr"`
	Offset    int64        `xml:"presentationTimeOffset,attr"`
	Init      string       `xml:"initialization,attr"`
	Media     string       `xml:"media,attr"`
	Listed    []struct {
		Time   int64 `xml:"t,attr"`
		Length int64 `xml:"d,attr"`
		Repeat int64 `xml:"r,attr"`
	} `xml:"SegmentTimeline>S"`
}

var isoPattern = regexp.MustCompile(`^PT[0-9]+(\.[0-9]+)?S$`)

func parseISO(t rapid.TB, name, s string) time.Duration {
	if !isoPattern.MatchString(s) {
		t.Fatalf("%s=%q is not an xs:duration in seconds", name, s)
	}
	d, err := time.ParseDuration(strings.ToLower(s[2:]))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// checkMPD holds an MPD against the standard's rules and works out, as a
// player does, when and where each segment is: it must be what the timeline
// says.
func checkMPD(t rapid.TB, in Input, b []byte) {
	t.Helper()
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, b)
		}
	}
	var m mpdXML
	if err := xml.Unmarshal(b, &m); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	tl := in.Config.Event.Timeline()
	last, ends := tl.Last()
	if !strings.Contains(m.Profiles, "urn:mpeg:dash:profile:isoff-live:2011") || len(m.Periods) != 1 || m.Periods[0].ID == "" {
		t.Fatalf("profiles %q, %d periods", m.Profiles, len(m.Periods))
	}
	if parseISO(t, "minBufferTime", m.MinBuffer) <= 0 || parseISO(t, "maxSegmentDuration", m.MaxSegment) < tl.Segment() {
		t.Errorf("minBufferTime %s, maxSegmentDuration %s", m.MinBuffer, m.MaxSegment)
	}
	periodStart := parseISO(t, "Period@start", m.Periods[0].Start)
	static := m.Type == "static"
	if static != tl.Finished(in.Now) {
		t.Errorf("type %q of an event that is finished: %v", m.Type, tl.Finished(in.Now))
	}
	// ISO/IEC 23009-1, 5.3.1.2: what is there, and what must not be.
	var availability time.Time
	var depth time.Duration
	if static {
		if m.Availability+m.Update+m.DVR+m.Delay != "" || len(m.UTCTiming) != 0 {
			t.Errorf("a static MPD with attributes of a dynamic one:\n%s", b)
		}
	} else {
		var err error
		if availability, err = time.Parse(time.RFC3339Nano, m.Availability); err != nil {
			t.Fatal(err)
		}
		if p, err := time.Parse(time.RFC3339, m.PublishTime); err != nil || p.After(in.Now) {
			t.Errorf("publishTime %q at %v: %v", m.PublishTime, in.Now, err)
		}
		if parseISO(t, "minimumUpdatePeriod", m.Update) <= 0 {
			t.Errorf("minimumUpdatePeriod %s", m.Update)
		}
		depth = parseISO(t, "timeShiftBufferDepth", m.DVR)
		if depth <= 0 || depth > tl.DVR() {
			t.Errorf("timeShiftBufferDepth %s of a DVR window of %v", m.DVR, tl.DVR())
		}
		if parseISO(t, "suggestedPresentationDelay", m.Delay) < tl.Segment()+tl.Allowance()+tl.Budget() {
			t.Errorf("suggestedPresentationDelay %s gives a late segment no chance", m.Delay)
		}
		if len(m.UTCTiming) != 1 || m.UTCTiming[0].Scheme != "urn:mpeg:dash:utc:http-iso:2014" || m.UTCTiming[0].Value != cmp.Or(in.Config.TimeURL, "../../time") {
			t.Errorf("UTCTiming %+v", m.UTCTiming)
		}
	}
	if (m.Duration != "") != ends {
		t.Errorf("mediaPresentationDuration %q, end known: %v", m.Duration, ends)
	}
	if ends {
		total := tl.End(last).Sub(tl.Start(tl.First()))
		if d := parseISO(t, "mediaPresentationDuration", m.Duration); d > total || d <= total-time.Millisecond {
			t.Errorf("mediaPresentationDuration %v, want %v rounded down", d, total)
		}
	}

	ids, names := map[int]bool{}, map[string]bool{}
	for _, s := range m.Periods[0].Sets {
		if s.ID < 1 || ids[s.ID] {
			t.Errorf("adaptation set %d is there twice", s.ID)
		}
		ids[s.ID] = true
		if len(s.Essential) > 0 && s.Essential[0].Scheme == trickScheme {
			of := m.Periods[0].Sets[slices.IndexFunc(m.Periods[0].Sets, func(t setXML) bool { return strconv.Itoa(t.ID) == s.Essential[0].Value })]
			for _, r := range s.Representations {
				name := strings.TrimSuffix(r.ID, ".k")
				got, want := r.Template, of.Template
				want.Init, want.Media = name+"/init.mp4", name+"/k$Number$.m4s"
				if offered, ok := in.Config.Rendition(name); !ok || !offered.KeyFrames || !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %+v, want %+v", r.ID, got, want)
				}
			}
			continue
		}
		tp := s.Template
		if tp.Init != "$RepresentationID$/init.mp4" || tp.Media != "$RepresentationID$/$Number$.m4s" || len(s.Representations) == 0 {
			t.Errorf("template %+v", tp)
		}
		if tp.Timescale < 1 || tp.Timescale > 1<<32-1 || tp.Duration < 1 || tp.Duration > 1<<32-1 {
			t.Errorf("timescale %d or duration %d is no xs:unsignedInt", tp.Timescale, tp.Duration)
		}
		if want := map[bool]int{false: 1}[static]; len(s.Captured) != want {
			t.Fatalf("%d ProducerReferenceTime, want %d", len(s.Captured), want)
		}
		if !static {
			at, err := time.Parse(time.RFC3339Nano, s.Captured[0].At)
			start, _ := tl.Media(tl.NumberNear(s.Captured[0].Media, tp.Timescale), tp.Timescale)
			if d := at.Sub(tl.Start(tl.NumberNear(s.Captured[0].Media, tp.Timescale))); err != nil || d > 0 || d <= -time.Millisecond || start != s.Captured[0].Media {
				t.Errorf("media time %d was filmed at %s, %v: %v", s.Captured[0].Media, s.Captured[0].At, d, err)
			}
		}
		if (tp.End != nil) != ends || ends && *tp.End != last {
			t.Errorf("endNumber %v, want %d", tp.End, last)
		}
		if want := big.NewRat(in.Config.Segment.Ticks, in.Config.Segment.Timescale); big.NewRat(tp.Duration, tp.Timescale).Cmp(want) != 0 {
			t.Errorf("duration %d/%d, want %v", tp.Duration, tp.Timescale, want)
		}
		if in.Config.MediaTime == live.MediaStart && tp.Start == tl.First() && tp.Offset != 0 {
			t.Errorf("presentationTimeOffset %d from the event's start", tp.Offset)
		}
		for _, k := range []live.Number{0, 1, 2, 1000, 1_000_000} {
			n := tp.Start + k
			if ends && n > last {
				break
			}
			// The media time in the MPD's scale, and in one of a real track.
			inMPD := big.NewRat(tp.Offset+int64(k)*tp.Duration, tp.Timescale)
			start, _ := tl.Media(n, 90000)
			diff := new(big.Rat).Sub(inMPD, big.NewRat(start, 90000))
			if diff.Abs(diff).Cmp(big.NewRat(1, 1000)) > 0 {
				t.Errorf("segment %d has media time %v, want %d/90000", n, inMPD, start)
			}
			presented := periodStart + tl.Start(n).Sub(tl.Start(tp.Start))
			if d := presented - tl.Start(n).Sub(tl.Start(tl.First())); d < -time.Millisecond || d > time.Millisecond {
				t.Errorf("segment %d is presented at %v, %v off", n, presented, d)
			}
			if !static {
				// 5.3.9.5.3: available when its last frame is there. A player may
				// ask then, so it must be due, and not long before it is expected.
				available := availability.Add(periodStart + tl.End(n).Sub(tl.Start(tp.Start)))
				if early := tl.Due(n).Sub(available); early > time.Millisecond {
					t.Errorf("segment %d can be asked for %v before it is due", n, early)
				}
				if wait := tl.Expected(n).Sub(available); wait < 0 || wait > tl.Segment()/aheadShare+time.Millisecond {
					t.Errorf("segment %d can be asked for %v before it is expected", n, wait)
				}
			}
		}
		if static && tl.Place(tp.Start, in.Now) == live.Gone {
			t.Errorf("the first segment %d is gone", tp.Start)
		}
		if !static {
			// 5.3.9.5.3: the oldest that a player may ask for.
			oldest := max(tl.At(in.Now.Add(-depth-tl.Segment())), tl.First())
			if p := tl.Place(oldest, in.Now.Add(steady)); p == live.Gone && margin(&tl) > steady+tl.Segment() {
				t.Errorf("segment %d is in the time shift buffer but gone in %v", oldest, steady)
			}
		}
		for _, r := range s.Representations {
			of, ok := in.Config.Rendition(r.ID)
			if !ok || names[r.ID] || r.Bandwidth != of.Bandwidth || r.Codecs == "" || r.Codecs != of.Codecs {
				t.Errorf("representation %+v", r)
			}
			if string(of.Type) != s.ContentType || of.Language != s.Lang || s.MimeType == "" {
				t.Errorf("representation %s in a set of %s %s %q", r.ID, s.ContentType, s.MimeType, s.Lang)
			}
			names[r.ID] = true
		}
	}
	for _, r := range in.Config.Renditions {
		if names[r.Name] != (r.Codecs != "") {
			t.Errorf("rendition %s with codecs %q is listed: %v", r.Name, r.Codecs, names[r.Name])
		}
	}
}

// checkListed holds an MPD that lists against the timeline: it lists what may be
// asked for, by names that say which number is meant.
func checkListed(t rapid.TB, in Input, b []byte) {
	t.Helper()
	var m mpdXML
	if err := xml.Unmarshal(b, &m); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	tl := in.Config.Event.Timeline()
	if update := m.Update; m.Type == "dynamic" && parseISO(t, "minimumUpdatePeriod", update) > tl.Segment() {
		t.Errorf("minimumUpdatePeriod %s of segments of %v", update, tl.Segment())
	}
	periodStart := parseISO(t, "Period@start", m.Periods[0].Start)
	for _, s := range m.Periods[0].Sets {
		p := s.Template
		if len(p.Listed) != 1 || p.Duration != 0 || p.Start != 0 || p.Media != "$RepresentationID$/t$Time$.m4s" {
			t.Fatalf("template %+v", p)
		}
		newest := live.Number(live.MaxNumber)
		for _, r := range s.Representations {
			tl := in.Config.Timeline(r.ID)
			due := tl.At(in.Now.Add(tl.Hold()))
			if last, ok := tl.Last(); ok {
				due = min(due, last)
			}
			for tl.Place(due, in.Now) == live.Early {
				due--
			}
			newest = min(newest, due)
		}
		for i := range p.Listed[0].Repeat + 1 {
			at := p.Listed[0].Time + i*p.Listed[0].Length
			n, ok := NumberAt(in.Config, at)
			if want := newest - live.Number(p.Listed[0].Repeat-i); !ok || n != want {
				t.Fatalf("time %d is number %d, %v, want %d", at, n, ok, want)
			}
			presented := periodStart + time.Duration(float64(at-p.Offset)/float64(p.Timescale)*1e9)
			if d := presented - tl.Start(n).Sub(tl.Start(tl.First())); d < -2*time.Millisecond || d > 2*time.Millisecond {
				t.Errorf("segment %d is presented at %v, %v off", n, presented, d)
			}
			if _, ok := NumberAt(in.Config, at+1); ok && p.Listed[0].Length > 1 {
				t.Errorf("time %d is a segment's", at+1)
			}
		}
		if first := newest - live.Number(p.Listed[0].Repeat); tl.Place(first, in.Now) == live.Gone && first != newest {
			t.Errorf("%d is listed and gone", first)
		}
	}
	if _, ok := NumberAt(in.Config, 0); ok && in.Config.MediaTime != live.MediaStart {
		t.Error("a segment begins in 1970")
	}
}

func TestTextIsEscaped(t *testing.T) {
	c := config("2026-11-23T20:00:00Z", twoSeconds, v720)
	c.Renditions[0].Codecs = `a"b<c>&d` // Validate refuses it; the writer does not rely on that
	b, err := MPD(Input{Config: c, Now: at("2026-11-23T20:01:00Z")})
	if err != nil || !strings.Contains(string(b), `codecs="a&quot;b&lt;c&gt;&amp;d"`) {
		t.Errorf("%v\n%s", err, b)
	}
}

func TestLabelsAreEscaped(t *testing.T) {
	c := config("2026-11-23T20:00:00Z", twoSeconds, v720)
	c.Renditions[0].Label = "a<b> & 'c'"
	b, err := MPD(Input{Config: c, Now: at("2026-11-23T20:01:00Z")})
	if err != nil || !strings.Contains(string(b), "<Label>a&lt;b&gt; &amp; 'c'</Label>\n") {
		t.Errorf("%v\n%s", err, b)
	}
}

func TestISODuration(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "PT0S", -1: "PT0S", time.Second: "PT1S", 1500 * time.Millisecond: "PT1.5S",
		20020 * time.Millisecond: "PT20.02S", 2*time.Second - 1: "PT1.999S", 7 * time.Millisecond: "PT0.007S", 25 * time.Hour: "PT90000S"} {
		if got := isoDuration(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

// genInput draws an event and a time in or around it.
func genInput(t *rapid.T) Input {
	d := rapid.SampledFrom([]live.Duration{{Ticks: 2, Timescale: 1}, {Ticks: 2002, Timescale: 1000}, {Ticks: 180180, Timescale: 90000},
		{Ticks: 1001, Timescale: 500}, {Ticks: 88064, Timescale: 44100}, {Ticks: 7, Timescale: 3}, {Ticks: 1, Timescale: 10}, {Ticks: 60, Timescale: 1},
		{Ticks: 999_999_937, Timescale: 500_000_003}}).Draw(t, "segment")
	c := config("2026-11-23T20:00:00Z", d, v720, aEn, unknown(tEn))
	c.Start = c.Start.Add(time.Duration(rapid.OneOf(rapid.Just(int64(0)), rapid.Map(rapid.Int64Range(0, 999), func(ms int64) int64 { return ms * 1e6 }),
		rapid.Int64Range(0, 1e9-1)).Draw(t, "ns")))
	c.FirstNumber = live.Number(rapid.SampledFrom([]int64{0, 1, 7, 899_127_000, live.MaxFirstNumber}).Draw(t, "first"))
	c.MediaTime = rapid.SampledFrom([]live.MediaEpoch{live.MediaUnix, live.MediaStart}).Draw(t, "epoch")
	ms := rapid.OneOf(rapid.SampledFrom([]int64{0, 500, 2000}), rapid.Int64Range(0, 8000))
	c.AllowanceMS, c.HoldMS, c.BudgetMS = ms.Draw(t, "allowance"), ms.Draw(t, "hold"), ms.Draw(t, "budget")
	c.DVRSeconds = max(rapid.SampledFrom([]int64{1, 30, 60, 600, 3600}).Draw(t, "dvr"), (c.AllowanceMS+c.BudgetMS)/1000+1)
	length := time.Duration(rapid.Int64Range(1, int64(2*time.Hour)).Draw(t, "length"))
	if rapid.Bool().Draw(t, "ends") {
		c.End = c.Start.Add(length)
	}
	in := Input{Config: c, Now: c.Start.Add(time.Duration(rapid.Int64Range(-int64(10*time.Second), int64(3*time.Hour)).Draw(t, "now")))}
	if rapid.Bool().Draw(t, "just ended") {
		in.Now = c.Start.Add(length + time.Duration(rapid.Int64Range(-int64(time.Second), int64(20*time.Second)).Draw(t, "since the end")))
	}
	tl := c.Event.Timeline()
	switch rapid.IntRange(0, 2).Draw(t, "published") {
	case 0:
		n := tl.Edge(in.Now) + live.Number(rapid.Int64Range(-5, 1).Draw(t, "behind"))
		if n >= tl.First() {
			in.Published = newest(n)
		} else {
			in.Published = func(string) (live.Number, bool) { return 0, false }
		}
	}
	if lost := rapid.Int64Range(0, 20).Draw(t, "lost"); lost > 1 {
		in.Lost = func(_ string, n live.Number) bool { return int64(n)%lost == 0 }
	}
	in.DeltaUpdates, in.Skip = rapid.Bool().Draw(t, "delta"), rapid.Bool().Draw(t, "skip")
	if err := c.Validate(); err != nil {
		t.Fatalf("generated: %v", err)
	}
	return in
}

// Whatever the event and the time, all manifests follow the timeline.
func TestManifestsFollowTheTimeline(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := genInput(t)
		tl := in.Config.Event.Timeline()
		b, err := MPD(in)
		switch {
		case err == nil:
			checkMPD(t, in, b)
		case !errors.Is(err, live.ErrGone) || !tl.Finished(in.Now):
			t.Errorf("MPD: %v", err)
		}
		switch b, err := ListedMPD(in); {
		case err == nil:
			checkListed(t, in, b)
		case errors.Is(err, live.ErrEarly):
			var p *live.Problem
			if d := min(tl.Due(tl.First()).Sub(in.Now), steady); !errors.As(err, &p) || p.Lifetime != d || d <= 0 {
				t.Errorf("ListedMPD: %v for %v, due in %v", err, p.Lifetime, d)
			}
		case !errors.Is(err, live.ErrGone) || !tl.Finished(in.Now):
			t.Errorf("ListedMPD: %v", err)
		}
		nothing := false
		if in.Published != nil && tl.Finished(in.Now) {
			_, ok := in.Published("v720")
			nothing = !ok
		}
		if b, err := Multivariant(in); err != nil {
			if !nothing || !errors.Is(err, live.ErrGone) {
				t.Errorf("Multivariant: %v", err)
			}
		} else {
			checkMultivariant(t, in, b)
		}
		b, err = Media(in, "v720")
		switch {
		case err == nil:
			checkPlaylist(t, in, "v720", b)
		case errors.Is(err, live.ErrEarly):
			var p *live.Problem
			if n := in.newest(&tl, "v720"); n >= tl.First() || tl.First() > 0 || !errors.As(err, &p) || p.Lifetime <= 0 || in.Now.Add(p.Lifetime).After(maxTime(tl.Expected(tl.First()), in.Now.Add(overdue))) {
				t.Errorf("Media: %v for %v, newest %d", err, p.Lifetime, n)
			}
		case errors.Is(err, live.ErrGone):
			if last, ok := tl.Last(); !nothing && (!ok || tl.Oldest(in.Now.Add(margin(&tl))) <= last) {
				t.Errorf("Media: %v", err)
			}
		default:
			t.Errorf("Media: %v", err)
		}
		for _, f := range []live.File{live.FileMPD, live.FileListed, live.FileHLS, live.FilePlaylist} {
			if d := Lifetime(in, f, "v720"); d <= 0 || d > steady && d > tl.Segment() {
				t.Errorf("Lifetime(%d) = %v", f, d)
			}
		}
		if Lifetime(in, live.FileSegment, "v720") != 0 {
			t.Error("a segment has a manifest's lifetime")
		}
	})
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func atoi(t rapid.TB, s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
