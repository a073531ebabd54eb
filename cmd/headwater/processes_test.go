package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"headwater/internal/memnet"
	"headwater/internal/need"
	"headwater/live"
	"headwater/viewer"
)

// A process is a running headwater of its own.
type process struct {
	t    testing.TB
	args []string
	cmd  *exec.Cmd
	log  memnet.Log
}

func (p *process) start(binary string) {
	p.t.Helper()
	p.cmd = exec.Command(binary, p.args...)
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// kill is kill -9.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// ports are below those that the system gives to connections, so that nobody
// else takes one before the process has it for which it was chosen.
var ports struct {
	mu    sync.Mutex
	given map[int]bool // guarded by mu
}

func freePort(t testing.TB) string {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	if ports.given == nil {
		ports.given = make(map[int]bool)
	}
	for range 1000 {
		port := 10_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if ports.given[port] {
			l.Close()
			continue
		}
		ports.given[port] = true
		l.Close()
		return l.Addr().String()
	}
	t.Fatal("no free port")
	return ""
}

// built is the program, of which all tests have the same.
var built struct {
	once sync.Once
	dir  string
	out  []byte
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(built.dir)
	os.Exit(code)
}

func build(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "headwater-"); built.err == nil {
			built.out, built.err = exec.Command("go", "build", "-o", built.dir, ".").CombinedOutput()
		}
	})
	if built.err != nil {
		t.Fatalf("%v: %s", built.err, built.out)
	}
	return filepath.Join(built.dir, "headwater")
}

// A deployment is an origin, an edge and the packagers of two pipelines, each a
// process of its own, with an event.
type deployment struct {
	binary, dir   string
	store         string // as --store has it
	edge, control string // host:port
	processes     map[string]*process
}

// deploy starts it all as the README does, and waits until viewers can come.
// edit changes the event's JSON, flags are the origin's.
func deploy(t *testing.T, edit func(map[string]any), flags ...string) *deployment {
	t.Helper()
	d := &deployment{dir: t.TempDir(), edge: freePort(t), control: freePort(t)}
	d.binary = build(t)
	publish, deliver := freePort(t), freePort(t)
	d.store = "disk:" + filepath.Join(d.dir, "data")
	d.processes = map[string]*process{
		"origin": {args: append([]string{"origin", "--publish", publish, "--deliver", deliver, "--control", d.control, "--store", d.store}, flags...)},
		"edge":   {args: []string{"edge", "--metrics", "viewers", "--listen", d.edge, "--parent", "http://" + deliver}},
	}
	for _, name := range []string{"a", "b"} {
		d.processes[name] = &process{args: []string{"packager", "--event", "t/e", "--pipeline", name, "--clip", "--to", "http://" + publish, "--event-url", "http://" + deliver}}
	}
	for _, p := range d.processes {
		p.t = t
		p.start(d.binary)
		t.Cleanup(p.kill)
	}

	// The event, by the command line.
	var renditions any
	if err := json.Unmarshal(d.headwater(t, "packager", "--clip", "--print-renditions"), &renditions); err != nil {
		t.Fatal(err)
	}
	start := time.Now().UTC().Truncate(2 * time.Second)
	event := map[string]any{"start": start, "first_number": start.Unix() / 2, "renditions": renditions,
		"on_lost":   "gap", // so that what is lost shows as such
		"pipelines": []map[string]string{{"name": "a"}, {"name": "b"}}}
	if edit != nil {
		edit(event)
	}
	spec, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(d.dir, "event.json")
	if err := os.WriteFile(file, spec, 0o600); err != nil {
		t.Fatal(err)
	}
	var out []byte
	for range 50 { // the origin may still be starting
		if out, err = exec.Command(d.binary, "event", "create", "t/e", "-f", file, "--control", "http://"+d.control).CombinedOutput(); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("event create: %v: %s", err, out)
	}
	waitFor(t, "http://"+d.edge+"/t/e/main.m3u8")
	return d
}

// headwater runs a command of the binary and returns what it prints.
func (d *deployment) headwater(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(d.binary, args...).Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

// TestKillEverything kills each process with -9 in turn while viewers watch: they
// lose nothing that was acknowledged, and the store is whole at the end.
func TestKillEverything(t *testing.T) {
	need.Long(t, "plays in real time")
	t.Parallel()
	d := deploy(t, nil)
	var killer sync.WaitGroup
	killer.Go(func() {
		for _, name := range []string{"a", "b", "edge", "origin"} {
			select {
			case <-time.After(6 * time.Second):
			case <-t.Context().Done():
				return
			}
			d.processes[name].kill()
			d.processes[name].start(d.binary)
			t.Logf("killed and restarted %s", name)
		}
	})
	report, err := viewer.Run(t.Context(), viewer.Config{
		Edges: []string{"http://" + d.edge}, Event: live.EventID{Tenant: "t", Name: "e"}, Viewers: 6, Duration: 34 * time.Second,
	})
	killer.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if report.Segments < 6*2*12 {
		t.Errorf("only %d segments", report.Segments)
	}
	d.wantWatched(t, report)
}

// wantWatched kills all processes, and wants six viewers to have seen nothing wrong, and
// nothing wrong in the store. On a busy machine the origin may be away for longer than one
// segment's budget, which then was never acknowledged: each viewer may miss one, in sound
// and picture.
func (d *deployment) wantWatched(t *testing.T, report *viewer.Report) {
	t.Helper()
	if len(report.Errors) > 0 || report.DefectiveServed > 0 || report.Gaps > 2*6 || report.Stalls > 6 {
		t.Errorf("viewers noticed: %v", report.Noticed())
	}
	t.Logf("%d segments, %v, %d gaps, %d stalls, %d reconnects", report.Segments, report.ServedBy, report.Gaps, report.Stalls, report.Reconnects)
	for _, p := range d.processes {
		p.kill()
	}
	out, err := exec.Command(d.binary, "store", "check", "--store", d.store).CombinedOutput()
	if err != nil || !strings.Contains(string(out), " 0 problems") {
		t.Errorf("store check: %v: %s", err, out)
	}
}

// waitFor asks until the answer is 200.
func waitFor(t testing.TB, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: %v", url, err)
		}
	}
}
