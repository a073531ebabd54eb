package live

import (
	"errors"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Every limit of an event at its border and one past it.
func TestEventLimits(t *testing.T) {
	video := Rendition{Name: "v", Type: Video, Bandwidth: 1}
	base := func() Event {
		e := Default()
		e.Start = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
		e.Pipelines = []Pipeline{{Name: "a"}}
		e.Renditions = []Rendition{video}
		return e
	}
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	for _, x := range []struct {
		name string
		ok   bool
		set  func(e *Event)
	}{
		{"start", true, func(e *Event) { e.Start = year(1971) }},
		{"start", false, func(e *Event) { e.Start = year(1971).Add(-1) }},
		{"start", true, func(e *Event) { e.Start = year(2201).Add(-1) }},
		{"start", false, func(e *Event) { e.Start = year(2201) }},
		{"end", true, func(e *Event) { e.End = e.Start.Add(1) }},
		{"end", false, func(e *Event) { e.End = e.Start }},
		{"end", true, func(e *Event) { e.End = year(2201).Add(-1) }},
		{"end", false, func(e *Event) { e.End = year(2201) }},
		{"first_number", true, func(e *Event) { e.FirstNumber = 0 }},
		{"first_number", false, func(e *Event) { e.FirstNumber = -1 }},
		{"first_number", true, func(e *Event) { e.FirstNumber = MaxFirstNumber }},
		{"first_number", false, func(e *Event) { e.FirstNumber = MaxFirstNumber + 1 }},
		{"segment.ticks", true, func(e *Event) { e.Segment = Duration{1, 1} }},
		{"segment.ticks", false, func(e *Event) { e.Segment = Duration{0, 1} }},
		{"segment.ticks", true, func(e *Event) { e.Segment = Duration{MaxTicks, MaxTicks / 2} }},
		{"segment.ticks", false, func(e *Event) { e.Segment = Duration{MaxTicks + 1, MaxTicks / 2} }},
		{"segment.timescale", false, func(e *Event) { e.Segment = Duration{2, 0} }},
		{"segment.timescale", true, func(e *Event) { e.Segment = Duration{MaxTicks, MaxTicks} }},
		{"segment.timescale", false, func(e *Event) { e.Segment = Duration{MaxTicks, MaxTicks + 1} }},
		{"segment", true, func(e *Event) { e.Segment = Duration{1, 10} }},
		{"segment", false, func(e *Event) { e.Segment = Duration{99, 1000} }},
		{"segment", true, func(e *Event) { e.Segment = Duration{60, 1} }},
		{"segment", false, func(e *Event) { e.Segment = Duration{60_001, 1000} }},
		{"allowance_ms", true, func(e *Event) { e.AllowanceMS = 0 }},
		{"allowance_ms", false, func(e *Event) { e.AllowanceMS = -1 }},
		{"hold_ms", true, func(e *Event) { e.HoldMS = maxMilliseconds }},
		{"hold_ms", false, func(e *Event) { e.HoldMS = maxMilliseconds + 1 }},
		{"dvr_seconds", false, func(e *Event) { e.DVRSeconds = 0 }},
		{"dvr_seconds", true, func(e *Event) { e.DVRSeconds = maxWindowSeconds }},
		{"dvr_seconds", false, func(e *Event) { e.DVRSeconds = maxWindowSeconds + 1 }},
		{"dvr_seconds", true, func(e *Event) { e.DVRSeconds, e.AllowanceMS, e.BudgetMS = 3, 1000, 2000 }},
		{"dvr_seconds", false, func(e *Event) { e.DVRSeconds, e.AllowanceMS, e.BudgetMS = 3, 1001, 2000 }},
		{"live_window_seconds", true, func(e *Event) { e.LiveWindowSeconds = 1 }},
		{"live_window_seconds", false, func(e *Event) { e.LiveWindowSeconds = 0 }},
		{"pipelines", false, func(e *Event) { e.Pipelines = nil }},
		{"pipelines", true, func(e *Event) {
			e.Pipelines = named[Pipeline](MaxPipelines, func(n string) Pipeline { return Pipeline{Name: n} })
		}},
		{"pipelines[1].name", false, func(e *Event) { e.Pipelines = []Pipeline{{Name: "a"}, {Name: "a"}} }},
		{"pipelines[0].region", false, func(e *Event) { e.Pipelines[0].Region = "East" }},
		{"renditions", false, func(e *Event) { e.Renditions = nil }},
		{"renditions", true, func(e *Event) {
			e.Renditions = named(MaxRenditions, func(n string) Rendition { r := video; r.Name = n; return r })
		}},
		{"renditions[1].name", false, func(e *Event) { e.Renditions = []Rendition{video, video} }},
		{"renditions[0].bandwidth", false, func(e *Event) { e.Renditions[0].Bandwidth = 0 }},
		{"renditions[0].bandwidth", true, func(e *Event) { e.Renditions[0].Bandwidth = 1e12 }},
		{"renditions[0].bandwidth", false, func(e *Event) { e.Renditions[0].Bandwidth = 1e12 + 1 }},
		{"renditions[0].width", true, func(e *Event) { e.Renditions[0].Width = 65535 }},
		{"renditions[0].width", false, func(e *Event) { e.Renditions[0].Width = 65536 }},
		{"renditions[0].height", false, func(e *Event) { e.Renditions[0].Height = -1 }},
		{"renditions[0].timescale", true, func(e *Event) { e.Renditions[0].Timescale = 1<<32 - 1 }},
		{"renditions[0].timescale", false, func(e *Event) { e.Renditions[0].Timescale = 1 << 32 }},
		{"renditions[0].sample_rate", false, func(e *Event) { e.Renditions[0].SampleRate = 1<<24 + 1 }},
		{"renditions[0].channels", true, func(e *Event) { e.Renditions[0].Channels = 255 }},
		{"renditions[0].channels", false, func(e *Event) { e.Renditions[0].Channels = 256 }},
		{"renditions[0].language", true, func(e *Event) { e.Renditions[0].Language = "sl-rozaj-biske-1994-x-aa-bb-cc-dd-e" }}, // 35 characters
		{"renditions[0].language", false, func(e *Event) { e.Renditions[0].Language = "sl-rozaj-biske-1994-x-aa-bb-cc-dd-ee" }},
		{"renditions[0].language", true, func(e *Event) { e.Renditions[0].Language = "a-12345678" }},
		{"renditions[0].language", false, func(e *Event) { e.Renditions[0].Language = "a-123456789" }},
		{"renditions[0].language", false, func(e *Event) { e.Renditions[0].Language = "en-" }},
		{"renditions[0].language", false, func(e *Event) { e.Renditions[0].Language = "en_GB" }},
		{"renditions[0].codecs", true, func(e *Event) { e.Renditions[0].Codecs = strings.Repeat("~", 128) }},
		{"renditions[0].codecs", false, func(e *Event) { e.Renditions[0].Codecs = strings.Repeat("~", 129) }},
		{"renditions[0].codecs", false, func(e *Event) { e.Renditions[0].Codecs = "avc1 x" }},
		{"renditions[0].codecs", false, func(e *Event) { e.Renditions[0].Codecs = "avc1\x7f" }},
		{"renditions[0].frame_rate", true, func(e *Event) { e.Renditions[0].FrameRate = "1/1" }},
		{"renditions[0].frame_rate", false, func(e *Event) { e.Renditions[0].FrameRate = "0" }},
		{"renditions[0].frame_rate", false, func(e *Event) { e.Renditions[0].FrameRate = "30/0" }},
		{"renditions[0].frame_rate", false, func(e *Event) { e.Renditions[0].FrameRate = "30/x" }},
	} {
		e := base()
		x.set(&e)
		err := e.Validate()
		var field *FieldError
		if x.ok && err != nil || !x.ok && (!errors.As(err, &field) || field.Field != x.name) {
			t.Errorf("%s: %v, want accepted: %v", x.name, err, x.ok)
		}
	}
}

// named is a list of n things with names of their own.
func named[T any](n int, f func(name string) T) []T {
	var out []T
	for i := range n {
		out = append(out, f("n"+strconv.Itoa(i)))
	}
	return out
}

// The table of problems in docs/protocol.md is what servers answer.
func TestProblemsAreAsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	lasts := map[string]time.Duration{"no-store": -1, "a second": time.Second, "2 s": 2 * time.Second, "5 s": 5 * time.Second, "a minute": time.Minute, "an hour": time.Hour}
	retries := map[string]time.Duration{}
	for _, m := range regexp.MustCompile("`([a-z-]+)`[^\n]*`Retry-After`, ([0-9]) s").FindAllStringSubmatch(string(doc), -1) {
		retries[m[1]], _ = time.ParseDuration(m[2] + "s")
	}
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| ([0-9]{3}) \\| [^|]*\\| ([^|]*) \\|").FindAllStringSubmatch(string(doc), -1) {
		documented[m[1]] = m[2]
		for _, p := range Problems {
			if d, ok := lasts[m[3]]; ok && p.Code == m[1] && p.Lifetime != d {
				t.Errorf("%s lasts %v, %s in the document", p.Code, p.Lifetime, m[3])
			}
			if d, ok := retries[p.Code]; ok && p.RetryAfter != d {
				t.Errorf("%s is to be repeated after %v, %v in the document", p.Code, p.RetryAfter, d)
			}
		}
	}
	for _, p := range Problems {
		if status := strconv.Itoa(p.Status); documented[p.Code] != status {
			t.Errorf("%s: %s here, %q in the document", p.Code, status, documented[p.Code])
		}
		delete(documented, p.Code)
	}
	if len(documented) > 0 {
		t.Errorf("documented and unknown: %v", documented)
	}
}

func TestScopeLimits(t *testing.T) {
	for _, x := range []struct {
		scope Scope
		field string
	}{
		{Scope{}, ""},
		{Scope{From: 7, To: 7}, ""},
		{Scope{From: 7}, ""},
		{Scope{From: 8, To: 7}, "to"},
		{Scope{From: -1}, "from"},
		{Scope{To: -1}, "to"},
		{Scope{Pipeline: "A"}, "pipeline"},
		{Scope{Region: "A"}, "region"},
		{Scope{Rendition: "A"}, "rendition"},
	} {
		err := x.scope.Validate()
		var field *FieldError
		if errors.As(err, &field); x.field == "" && err != nil || x.field != "" && (field == nil || field.Field != x.field) {
			t.Errorf("%+v: %v, want %q", x.scope, err, x.field)
		}
	}
}

// A header is read up to its limit and not beyond.
func TestHeaderLimits(t *testing.T) {
	list := func(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	if f, err := ParseFindings([]string{list(MaxFindings, "late")}); err != nil || len(f) != MaxFindings {
		t.Errorf("%d findings: %v", len(f), err)
	}
	if _, err := ParseFindings([]string{list(MaxFindings+1, "late")}); err == nil {
		t.Error("too many findings are read")
	}
	if n, err := ParseSiteNode([]string{`"a";id="n",` + list(MaxSite-1, `"b"`)}); err != nil || len(n.Sees) != MaxSite-1 {
		t.Errorf("a site of %d: %v", len(n.Sees)+1, err)
	}
	if _, err := ParseSiteNode([]string{`"a";id="n",` + list(MaxSite, `"b"`)}); err == nil {
		t.Error("too large a site is read")
	}
	n, err := ParseSiteNode([]string{`"a";id="n";up=5;from=0`})
	if err != nil || !n.From.IsZero() || n.Orphan || n.Header() != `"a";id="n";up=5` {
		t.Errorf("%+v, %v", n, err)
	}
	if d, ok := ParseLifetime([]string{"max-age=0, max-age=7"}); d != 0 || !ok {
		t.Errorf("the first max-age does not count: %v, %v", d, ok)
	}
	if d, ok := ParseLifetime([]string{"max-age-ms=0, max-age-ms=7000"}); d != 0 || !ok {
		t.Errorf("the first max-age-ms does not count: %v, %v", d, ok)
	}
	if _, fault := readSegmentName(strings.Repeat("9", 17) + ".m4s"); !fault.Is() {
		t.Error("a number of 17 digits is read")
	}
	if n, fault := readSegmentName(strconv.Itoa(MaxNumber) + ".m4s"); fault.Is() || n != MaxNumber {
		t.Errorf("the largest number reads as %d, %s", n, fault.Append(nil))
	}
	if _, fault := readSegmentName(strconv.Itoa(MaxNumber+1) + ".m4s"); !fault.Is() {
		t.Error("one more than the largest number is read")
	}
}

func TestPreflightLasts(t *testing.T) {
	w := httptest.NewRecorder()
	ServePreflight(w)
	if h := w.Header(); h.Get("Access-Control-Max-Age") != "86400" || h.Get("Access-Control-Allow-Methods") != "GET, HEAD, OPTIONS" || !strings.HasPrefix(h.Get("Access-Control-Allow-Headers"), "*, Authorization, ") {
		t.Errorf("%v", h)
	}
}

func TestMediaBeforeTheFirst(t *testing.T) {
	e := Default()
	e.Start = time.Unix(1_000_000, 0)
	tl := e.Timeline()
	if start, _ := tl.Media(0, 1000); start != 1_000_000_000 {
		t.Errorf("media of a number before the first begins at %d", start)
	}
	// A product that leaves 64 bits in the middle is still right.
	e.Segment = Duration{MaxTicks, MaxTicks}
	tl = e.Timeline()
	if start, end := tl.Media(3, 1<<32-1); end-start != 1<<32-1 || start != (1_000_000+2)*(1<<32-1) {
		t.Errorf("%d to %d", start, end)
	}
}
