package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/live"
)

// A diskFault is something that happens to the directory of an origin that is down.
type diskFault struct {
	name string
	do   func(t *testing.T, dir string)
	// What the program says then: words in the log at the start, the exit of store
	// check, whether readyz tells of it.
	start     string
	condition bool
	check     int
	mount     string // the directory is on a file system of its own: "ro" is read only, "rw" is not
}

// The directory has 10 numbers of six renditions and two pipelines, in three media
// files: the first ends within number 3.
const tableSegments, tableSize = 120, 20_000

func logsOf(t *testing.T, dir, namespace string) []string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, namespace, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("%d logs, %v", len(logs), err)
	}
	return logs
}

// edit changes the bytes of a file in place.
func edit(t *testing.T, path string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func flipAt(t *testing.T, path, what string) {
	edit(t, path, func(b []byte) []byte {
		at := bytes.LastIndex(b, []byte(what))
		if at < 0 {
			t.Fatalf("no %q in %s", what, path)
		}
		b[at+len(what)/2] ^= 1
		return b
	})
}

func removeAll(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}

func twinsOf(t *testing.T, dir, namespace string) []string {
	twins, _ := filepath.Glob(filepath.Join(dir, "twins", namespace+"-*"))
	return twins
}

var diskFaults = []diskFault{
	{"nothing", func(*testing.T, string) {}, "", false, 0, ""},
	{"flip: a bit of a segment", func(t *testing.T, dir string) { flipAt(t, logsOf(t, dir, "media")[0], strings.Repeat("00000012", 9)) },
		"", false, 1, ""},
	{"flip: a bit of the event's record", func(t *testing.T, dir string) { flipAt(t, logsOf(t, dir, "control")[0], `"pipelines"`) },
		"taken from its twin", false, 0, ""},
	{"flip: the same bit in its twin, too", func(t *testing.T, dir string) {
		flipAt(t, logsOf(t, dir, "control")[0], `"pipelines"`)
		flipAt(t, twinsOf(t, dir, "control")[0], `"pipelines"`)
	}, "damaged stretch, DATA LOSS", true, 1, ""},
	{"truncate: a media file", func(t *testing.T, dir string) { os.Truncate(logsOf(t, dir, "media")[0], 300_000) },
		"DATA LOSS", true, 1, ""},
	{"delete: a media file", func(t *testing.T, dir string) { removeAll(t, logsOf(t, dir, "media")[0]) },
		"DATA LOSS", true, 1, ""},
	{"delete: it and its twin", func(t *testing.T, dir string) {
		removeAll(t, logsOf(t, dir, "media")[0], twinsOf(t, dir, "media")[0])
	}, "DATA LOSS", true, 1, ""},
	{"delete: all of control", func(t *testing.T, dir string) { removeAll(t, filepath.Join(dir, "control")) }, "taken from its twin", false, 0, ""},
	{"delete: all twins and both manifests", func(t *testing.T, dir string) {
		removeAll(t, filepath.Join(dir, "twins"), filepath.Join(dir, "MANIFEST"))
	}, "", false, 0, ""},
	{"zero: the end of a media file", func(t *testing.T, dir string) {
		edit(t, logsOf(t, dir, "media")[0], func(b []byte) []byte { clear(b[len(b)-100_000:]); return b })
	}, "DATA LOSS", true, 1, ""},
	{"swap: two media files", func(t *testing.T, dir string) {
		l := logsOf(t, dir, "media")
		for _, move := range [][2]string{{l[0], l[0] + ".x"}, {l[1], l[0]}, {l[0] + ".x", l[1]}} {
			if err := os.Rename(move[0], move[1]); err != nil {
				t.Fatal(err)
			}
		}
	}, "has the name of another", false, 0, ""},
	{"full: not a byte is left", func(t *testing.T, dir string) {
		f, err := os.Create(filepath.Join(dir, "ballast"))
		for b := make([]byte, 64<<10); err == nil; {
			_, err = f.Write(b)
		}
		f.Close()
	}, "", false, 0, "rw"},
	{"read only: the file system", func(*testing.T, string) {}, "nothing is written", true, 0, "ro"},
	{"remove LOCK", func(t *testing.T, dir string) { removeAll(t, filepath.Join(dir, "LOCK")) }, "", false, 0, ""},
}

// TestDiskTable does to an origin's directory what disks do, and holds what start,
// check, readyz, metrics and viewers then say against the table in
// docs/reliability.md.
func TestDiskTable(t *testing.T) {
	need.Long(t, "starts processes")
	doc, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	binary := build(t)
	clean := t.TempDir()
	fillOrigin(t, clean, tableSegments, tableSize, 1<<20)
	for _, c := range diskFaults {
		t.Run(c.name, func(t *testing.T) {
			try := func(mount string) {
				dir := filepath.Join(mount, "data")
				if err := os.CopyFS(dir, os.DirFS(clean)); err != nil {
					t.Fatal(err)
				}
				c.do(t, dir)
				if c.mount == "ro" {
					if err := syscall.Mount("tmpfs", mount, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
						t.Fatal(err)
					}
				}
				got := observe(t, binary, dir, c)
				if !strings.Contains(string(doc), got) {
					t.Errorf("docs/reliability.md has no row\n%s", got)
				}
			}
			if c.mount == "" {
				try(t.TempDir())
			} else {
				need.Disk(t, 16<<20, try)
			}
		})
	}
}

// observe starts an origin over a directory, and returns the row of the table.
func observe(t *testing.T, binary, dir string, c diskFault) string {
	control, deliver := freePort(t), freePort(t)
	p := &process{t: t, args: []string{"origin", "--store", "disk:" + dir, "--publish", freePort(t), "--deliver", deliver, "--control", control}}
	p.start(binary)
	waitFor(t, "http://"+control+"/healthz")
	get := func(url string) (int, string, http.Header) {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b), resp.Header
	}
	statuses := make(map[int]int)
	for n := range live.Number(tableSegments / 12) {
		for r := range 6 {
			status, body, h := get(fmt.Sprintf("http://%s/acme/final/v%d/%s", deliver, r, live.SegmentName(n+1)))
			statuses[status]++
			if status == 200 && len(body) != tableSize {
				t.Errorf("%d of v%d: %d bytes, %v", n, r, len(body), h)
			}
		}
	}
	viewers := "all"
	switch all := tableSegments / 2; {
	case statuses[200] == all:
	case statuses[404] == all:
		viewers = "404 `no-such-event`"
	case statuses[200] > 0 && statuses[200]+statuses[410] == all:
		viewers = "what is left, else 410 `lost`"
	default:
		viewers = fmt.Sprint(statuses)
	}
	status, body, _ := get("http://" + control + "/readyz")
	for c.mount != "" && status == http.StatusOK { // it has failed for 2 s
		time.Sleep(100 * time.Millisecond)
		status, body, _ = get("http://" + control + "/readyz")
	}
	var ready struct {
		Dependencies []struct{ Name, Detail string }
	}
	if err := json.Unmarshal([]byte(body), &ready); err != nil {
		t.Fatal(err)
	}
	condition := "well"
	for _, d := range ready.Dependencies {
		if d.Name == "store-condition" && d.Detail != "" {
			condition = regexp.MustCompile(`^\d+`).ReplaceAllString(d.Detail, "N")
		}
	}
	if (condition != "well") != c.condition {
		t.Errorf("condition %q", condition)
	}
	if strings.Contains(condition, "read only") {
		condition = "read only"
	}
	_, metrics, _ := get("http://" + control + "/metrics")
	figures := make(map[string]bool)
	if strings.Contains(metrics, `headwater_store_disk_writable{store="store"} 0`) {
		figures["writable=0"] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^headwater_store_disk_(corrupt_total|mended_total|lost_items)\{[^}]*\} ([1-9]\S*)$`).FindAllStringSubmatch(metrics, -1) {
		figures[m[1]] = true
	}
	saw := strings.Join(slices.Sorted(maps.Keys(figures)), " ")
	p.kill()
	said := "nothing"
	for line := range strings.Lines(p.log.String()) {
		for want := range strings.SplitSeq(c.start, ", ") {
			if c.start != "" && strings.Contains(line, want) && said == "nothing" {
				said = want
			}
		}
	}
	if (said == "nothing") != (c.start == "") {
		t.Errorf("the start said %q:\n%s", said, p.log.String())
	}
	out, err := exec.Command(binary, "store", "check", "--store", "disk:"+dir).Output()
	code := 0
	if err != nil {
		code = err.(*exec.ExitError).ExitCode()
	}
	if code != c.check {
		t.Errorf("check: exit %d\n%s", code, out)
	}
	lost := strings.Count(string(out), "lost: ") + strings.Count(string(out), "bad: ")
	if (lost > 0) != (c.check == 1) {
		t.Errorf("check: %s", out)
	}
	return fmt.Sprintf("| %s | %s | exit %d | %d, %s | %s | %s |", c.name, said, code, status, condition, orNothing(saw), viewers)
}

func orNothing(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
