package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"headwater/viewer"
)

// TestLoadVerdict: nothing that a viewer met is passed over, but by a flag.
func TestLoadVerdict(t *testing.T) {
	fine := func() *viewer.Report { return &viewer.Report{Segments: 10} }
	for _, c := range []struct {
		name        string
		bad         func(*viewer.Report)
		gaps, flaws bool // what a flag allows
		want        string
	}{
		{"all is well", func(*viewer.Report) {}, false, false, ""},
		{"a gap", func(r *viewer.Report) { r.Gaps = 1 }, false, true, "1 gaps"},
		{"a gap in a drill", func(r *viewer.Report) { r.Gaps = 1 }, true, false, ""},
		{"a refusal", func(r *viewer.Report) { r.Refusals = 1 }, false, true, "1 refusals"},
		{"a refusal in a drill", func(r *viewer.Report) { r.Refusals = 1 }, true, false, ""},
		{"a defect", func(r *viewer.Report) { r.DefectiveServed = 1 }, true, false, "1 segments with a defect"},
		{"a defect in a drill", func(r *viewer.Report) { r.DefectiveServed = 1 }, false, true, ""},
		{"an error in a drill", func(r *viewer.Report) { r.Errors = []viewer.Error{{Error: "digest mismatch", Count: 1}} }, true, true, "digest mismatch"},
		{"nothing at all", func(r *viewer.Report) { r.Segments = 0 }, true, true, "nobody got a segment"},
	} {
		r := fine()
		c.bad(r)
		f := loadFlags{allowGaps: c.gaps, allowDefects: c.flaws}
		got := strings.Join(f.verdict(r), "; ")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestLoadProgress: in a log a line comes every five seconds, every second while
// there is no picture, and at once where something goes wrong.
func TestLoadProgress(t *testing.T) {
	var out bytes.Buffer
	p := &loadProgress{w: &out}
	r := &viewer.Report{Watching: 4}
	for _, c := range []struct {
		at   int64 // ms
		now  func()
		want string // after NOW; "-" for no line
	}{
		{at: 251, want: ""},
		{at: 501, want: "-"},
		{at: 5001, want: "-"},
		{at: 5255, want: ""},
		{at: 5501, now: func() { r.Gaps = 2 }, want: "2 gaps"},
		{at: 5750, want: "-"},
		{at: 6000, now: func() { r.Gaps, r.Refusals = 3, 4 }, want: "1 gaps, 4 refusals"},
		{at: 6250, now: func() { r.DefectiveServed = 1 }, want: "1 defects"},
		{at: 6500, now: func() { r.Stalls = 1 }, want: "1 stalls"},
		{at: 6750, now: func() { r.Errors = []viewer.Error{{Count: 5}} }, want: "5 errors"},
		{at: 7000, now: func() { r.Dark = 3 }, want: "-"},
		{at: 7750, want: "3 viewers without a picture"},
		{at: 8000, want: "-"},
		{at: 8250, now: func() { r.Gaps = 4 }, want: "1 gaps, 3 viewers without a picture"},
		{at: 9240, want: "3 viewers without a picture"},
		{at: 9500, now: func() { r.Dark = 0 }, want: "-"},
		{at: 14250, want: ""},
	} {
		out.Reset()
		r.ElapsedMS = c.at
		if c.now != nil {
			c.now()
		}
		p.show(r)
		line := strings.TrimSuffix(out.String(), "\n")
		_, now, _ := strings.Cut(line, "  NOW ")
		if (line == "") != (c.want == "-") || c.want != "-" && now != c.want {
			t.Errorf("at %d ms: %q, want %q", c.at, line, c.want)
		}
		for _, word := range []string{" gaps  ", " refusals  ", " defects  ", " switches  ", "without a picture  "} {
			if line != "" && !strings.Contains(line, word) {
				t.Errorf("%q has no %q", line, word)
			}
		}
	}
}

func TestLoadReport(t *testing.T) {
	r := &viewer.Report{
		Viewers: 3, Segments: 30, ServedBy: map[string]int64{"b": 10, "a": 20},
		Statuses: map[string]int64{"200": 33, "410": 4, "404": 2}, Problems: map[string]int64{"410 lost": 4, "404 early": 2},
		Renditions: map[string]viewer.RenditionReport{
			"v720": {Segments: 30, ServedBy: map[string]int64{"a": 20, "b": 10}, Switches: 1, Defective: 2, Refusals: 4, Lost: 3, Versions: 5},
			"v360": {},
		},
		OriginGetsPerSegment: map[string]float64{"v720": 1},
	}
	var out bytes.Buffer
	printReport(&out, r)
	var rows []string
	for l := range strings.Lines(out.String()) {
		rows = append(rows, strings.Join(strings.Fields(l), " "))
	}
	text := strings.Join(rows, "\n")
	for _, want := range []string{
		"rendition segments by a by b switches defects lost refusals versions origin GETs each",
		"v360 0 0 0 0 0 0 0 0 -", "v720 30 20 10 1 2 3 4 5 1", "status answers", "200 33", "404 early 2", "410 lost 4",
	} {
		if !strings.Contains(text, "\n"+want+"\n") && !strings.HasSuffix(text, "\n"+want) {
			t.Errorf("no row %q in\n%s", want, out.String())
		}
	}
}

func TestIncidentLog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	l := newIncidentLog(file)
	const n = 10_000
	for i := range n {
		l.write(viewer.Incident{What: viewer.Refusal, Rendition: "v", Number: live.Number(i), Status: 410, Problem: "lost"})
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	var last viewer.Incident
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != n || last.Number != n-1 || last.Problem != "lost" {
		t.Errorf("%d lines, the last %+v, %v", len(lines), last, err)
	}
	// A disk that is full is no news that gets lost.
	file.Close()
	l = newIncidentLog(file)
	for range n {
		l.write(viewer.Incident{})
	}
	if l.close() == nil {
		t.Error("no error where nothing was written")
	}
}

// TestLoadGivesUp: where there is nothing to watch, one line says so at once.
func TestLoadGivesUp(t *testing.T) {
	empty := httptest.NewServer(http.HandlerFunc(live.ErrNoEvent.For(2 * time.Second).Write))
	t.Cleanup(empty.Close) // after the parallel ones
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for _, c := range []struct{ name, edge, want string }{
		{"nobody listens", "http://" + gone.Addr().String(), "connection refused"},
		{"no event", empty.URL, "404 no-such-event"},
		{"unknown host", "http://nowhere.invalid", "lookup nowhere.invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := invoke(t, t.Context(), nil, "", "load", "--edge", c.edge, "--event", "t/e", "--for", "1m")
			if code != exitFailed || !strings.Contains(errs, c.want) || !strings.Contains(errs, "t/e") || strings.Count(errs, "\n") != 1 || out != "" {
				t.Errorf("exit %d: %s%s", code, out, errs)
			}
		})
	}
}
