package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"headwater/viewer"
)

// A refusal is what of an answer viewers and origin must agree on.
type refusal struct {
	Rendition string
	Number    live.Number
	Status    int
	Problem   string
}

// TestBothPipelinesDie: while there is nothing to see, load says so, and fails
// in the end; the edge counts it; and what the origin's history lists afterwards
// is what viewers have in their own logs.
func TestBothPipelinesDie(t *testing.T) {
	t.Parallel()
	viewers, outage, watch := "50", 20*time.Second, "45s"
	edit := func(map[string]any) {}
	if testing.Short() {
		// The same with a small budget, so that all is over soon.
		viewers, outage, watch = "8", 3*time.Second, "22s"
		edit = func(e map[string]any) { e["budget_ms"] = 500 }
	}
	d := deploy(t, edit)
	log := filepath.Join(d.dir, "viewers.log")
	load := exec.Command(d.binary, "load", "--edge", "http://"+d.edge, "--event", "t/e", "--viewers", viewers, "--for", watch, "--log", log, "--json")
	var report bytes.Buffer
	load.Stdout = &report
	progress, err := load.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	defer load.Process.Kill()
	lines := make(chan string, 1000) // of progress
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(progress); s.Scan(); {
			lines <- s.Text()
		}
	}()
	await := func(what string, is func(string) bool) {
		t.Helper()
		for line := range lines {
			t.Log(line)
			if is(line) {
				return
			}
		}
		t.Fatalf("load has ended without %s", what)
	}
	fine := func(line string) bool {
		return strings.Contains(line, "publish to viewer") && !strings.Contains(line, "NOW")
	}

	await("a segment", func(line string) bool { return fine(line) && !strings.Contains(line, "  0 segments") })
	d.processes["a"].kill()
	d.processes["b"].kill()
	killed := time.Now()
	await("a word of the outage", func(line string) bool {
		_, now, _ := strings.Cut(line, "NOW")
		return strings.Contains(now, "gaps") && strings.Contains(now, "refusals")
	})
	t.Logf("said %.1f s after the pipelines died", time.Since(killed).Seconds())
	if edgeCount(t, d, "410", "lost") == 0 {
		t.Error("the edge has not counted it")
	}
	time.Sleep(time.Until(killed.Add(outage))) // the outage itself
	d.processes["a"].start(d.binary)
	d.processes["b"].start(d.binary)
	await("a line without trouble after it", fine)
	var last []string
	for line := range lines {
		last = append(last, line)
	}
	if err := load.Wait(); load.ProcessState.ExitCode() != exitFailed || !strings.Contains(strings.Join(last, "\n"), "failed: ") {
		t.Errorf("load: %v, %q", err, last)
	}
	var r viewer.Report
	if err := json.Unmarshal(report.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s", err, report.Bytes())
	}
	if r.Gaps == 0 || r.Refusals == 0 || r.Problems["410 lost"] != r.Refusals {
		t.Errorf("%d gaps, %d refusals, problems %v, errors %v", r.Gaps, r.Refusals, r.Problems, r.Errors)
	}
	for name, g := range r.OriginGetsPerSegment {
		if g != 1 {
			t.Errorf("%s: %g origin GETs per segment", name, g)
		}
	}
	if n := edgeCount(t, d, "410", "lost"); n != r.Refusals {
		t.Errorf("the edge counted %d refusals, viewers %d", n, r.Refusals)
	}

	// The history against the viewers' own logs.
	told := readIncidents(t, log, viewer.Refusal)
	numbers := make([]live.Number, 0, len(told))
	for x := range told {
		numbers = append(numbers, x.Number)
	}
	if len(numbers) == 0 {
		t.Fatal("no viewer was refused anything")
	}
	from, to := slices.Min(numbers)-3, slices.Max(numbers)+2
	kept := refusedSegments(t, d, from, to)
	for x := range told {
		if kept[x] == 0 {
			t.Errorf("viewers were refused %+v, of which the history knows nothing", x)
		}
	}
	for x := range kept {
		if told[x] == 0 {
			t.Errorf("the history has %+v, which no viewer was told", x)
		}
	}
	t.Logf("%d refusals of %d slots, numbers %d to %d: the history has the same", r.Refusals, len(told), slices.Min(numbers), slices.Max(numbers))
}

// edgeCount is the edge's count of answers with that status and problem.
func edgeCount(t *testing.T, d *deployment, status, problem string) int64 {
	t.Helper()
	resp, err := http.Get("http://" + d.edge + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	series := fmt.Sprintf(`headwater_edge_answers_total{event="t/e",problem=%q,status=%q} `, problem, status)
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, series); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				t.Fatal(err)
			}
			return int64(n)
		}
	}
	t.Fatalf("no %s", series)
	return 0
}

// readIncidents counts a kind of incident by what of it is not a viewer's own.
func readIncidents(t *testing.T, name string, what viewer.IncidentKind) map[refusal]int {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	out := map[refusal]int{}
	for line := range bytes.Lines(b) {
		var x viewer.Incident
		if err := json.Unmarshal(line, &x); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if x.What == what {
			out[refusal{x.Rendition, x.Number, x.Status, x.Problem}]++
		}
	}
	return out
}

// refusedSegments is what `headwater event segments` lists as refused.
func refusedSegments(t *testing.T, d *deployment, from, to live.Number) map[refusal]int64 {
	t.Helper()
	var out struct {
		Segments []struct {
			Rendition string
			Number    live.Number
			Refused   []struct {
				Status  int
				Problem string
				Count   int64
			}
		}
	}
	b := d.headwater(t, "event", "segments", "t/e", "--from", from.String(), "--to", to.String(), "--json", "--control", "http://"+d.control)
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	all := map[refusal]int64{}
	seen := map[live.Number]bool{}
	for _, row := range out.Segments {
		seen[row.Number] = true
		for _, x := range row.Refused {
			all[refusal{row.Rendition, row.Number, x.Status, x.Problem}] += x.Count
		}
	}
	if len(seen) != int(to-from)+1 {
		t.Errorf("segments lists %v, not %d to %d", slices.Sorted(maps.Keys(seen)), from, to)
	}
	return all
}
