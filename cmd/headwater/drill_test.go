package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headwater/drill"
	"headwater/internal/need"
)

// TestDrill makes two of the drills, with processes: one in which viewers may notice
// nothing, and one in which all of them must be given what was made for want of a segment.
func TestDrill(t *testing.T) {
	need.Long(t, "plays in real time")
	out, err := exec.Command(build(t), "drill", "kill-packager", "lose-segment", "--viewers", "6", "--json").Output()
	var results []drill.Result
	if e := json.Unmarshal(out, &results); e != nil {
		t.Fatalf("%v, %v: %s", err, e, out)
	}
	if err != nil || len(results) != 2 {
		t.Fatalf("%v: %s", err, out)
	}
	for i, defects := range []int64{0, 12} { // sound and picture of six
		if r := results[i]; r.Verdict != drill.Pass || r.Saw.Segments == 0 || r.Saw.Defects != defects || len(r.Signs) != 3 {
			t.Errorf("%+v", r)
		}
	}
}

// TestDrillsAreFound: what there is, and what there is not.
func TestDrillsAreFound(t *testing.T) {
	code, out, _ := invoke(t, t.Context(), nil, "", "drill", "list")
	if code != exitDone || strings.Count(out, "viewers see: ") != len(drill.List()) {
		t.Errorf("exit %d: %s", code, out)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"drill"}, {"drill", "kill-packagr"}, {"drill", "all", "--viewers", "0"}, {"drill", "kill-packager", "--dir", filepath.Join(file, "below")}, {"drill", "stop-edge", "--event", "t/e"}, {"drill", "stop-edge", "--edge", "http://h", "--event", "t/e", "--node", "edge=7"}} {
		if code, _, errs := invoke(t, t.Context(), nil, "", args...); code != exitUsage {
			t.Errorf("%v: exit %d: %s", args, code, errs)
		}
	}
	if _, _, errs := invoke(t, t.Context(), nil, "", "drill", "kill-packagr"); !strings.Contains(errs, "did you mean kill-packager") {
		t.Error(errs)
	}
}

// TestImpossibleDrill: of a drill that cannot be made it is not said what viewers saw.
func TestImpossibleDrill(t *testing.T) {
	var b strings.Builder
	r := drill.Result{Drill: "freeze", Breaks: "all waits", Expected: "nothing", Verdict: drill.NotPossible, Why: []string{"it wants root"}}
	tellDrill(&b, &r)
	if got := b.String(); got != "        not possible here: it wants root\n" {
		t.Errorf("%q", got)
	}
	drillTable(&b, []drill.Result{r})
	if !strings.Contains(strings.Join(strings.Fields(b.String()), " "), "| nothing | - | - | not possible |") {
		t.Error(b.String())
	}
}

func TestWrongClock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clock")
	w := &faultyClock{file: file}
	off := func() time.Duration {
		w.looked = time.Time{}
		return time.Until(w.now()).Round(time.Second)
	}
	say := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		says string
		want time.Duration
	}{{"", 0}, {"+5m\n", 5 * time.Minute}, {"-300s", -5 * time.Minute}, {"nonsense", -5 * time.Minute}, {"", 0}} {
		say(c.says)
		if got := off(); got != c.want {
			t.Errorf("%q: off by %v, want %v", c.says, got, c.want)
		}
	}
	os.Remove(file)
	if got := off(); got != 0 {
		t.Errorf("without a file off by %v", got)
	}
	say("a while")
	code, _, errs := invoke(t, t.Context(), map[string]string{clockVariable: file}, "", "edge", "--parent", "http://127.0.0.1:1", "--listen", "127.0.0.1:0")
	if code != exitUsage || !strings.Contains(errs, clockVariable) {
		t.Errorf("exit %d: %s", code, errs)
	}
}
