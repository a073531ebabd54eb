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

// TestLoadProgress: in a log a line comes every five seconds, and at once where
// something goes wrong.
func TestLoadProgress(t *testing.T) {
	var out bytes.Buffer
	p := &loadProgress{w: &out, every: 5 * time.Second}
	lines := func() []string { return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") }
	at := func(second int64, bad func(*viewer.Report)) string {
		out.Reset()
		r := &viewer.Report{ElapsedMS: second*1000 + 20, Watching: 4}
		bad(r)
		p.show(r)
		return lines()[0]
	}
	none := func(*viewer.Report) {}
	if at(1, none) == "" || at(2, none) != "" || at(5, none) != "" || at(6, none) == "" {
		t.Error("not every five seconds")
	}
	for i, c := range []struct {
		bad  func(*viewer.Report)
		want string
	}{
		{func(r *viewer.Report) { r.Gaps = 2 }, "NOW 2 gaps"},
		{func(r *viewer.Report) { r.Gaps, r.Refusals = 3, 4 }, "NOW 1 gaps, 4 refusals"},
		{func(r *viewer.Report) { r.Gaps, r.Refusals, r.DefectiveServed = 3, 4, 1 }, "NOW 1 defects"},
		{func(r *viewer.Report) { r.Gaps, r.Refusals, r.DefectiveServed, r.Stalls = 3, 4, 1, 1 }, "NOW 1 stalls"},
		{func(r *viewer.Report) {
			r.Gaps, r.Refusals, r.DefectiveServed, r.Stalls = 3, 4, 1, 1
			r.Errors = []viewer.Error{{Count: 5}}
		}, "NOW 5 errors"},
		{func(r *viewer.Report) { r.Dark = 3 }, "NOW 3 viewers without a picture"},
	} {
		line := at(7+int64(i)/2, c.bad)
		if !strings.Contains(line, c.want) || !strings.Contains(line, "gaps  ") || !strings.Contains(line, "refusals  ") || !strings.Contains(line, "defects  ") {
			t.Errorf("%q, want %q", line, c.want)
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
