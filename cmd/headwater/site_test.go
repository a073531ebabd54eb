package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/live"
	"headwater/viewer"
)

// TestSiteOfProcesses runs a site of four edges above an origin and two
// packagers, with viewers at all of them. One edge is killed with -9 and started
// again, another is stopped for a while and goes on. The origin is asked for each
// segment once, but for those in flight when something happened, and no viewer
// that was not at that edge notices.
func TestSiteOfProcesses(t *testing.T) {
	need.Long(t, "plays in real time")
	t.Parallel()
	dir := t.TempDir()
	binary := build(t)
	publish, deliver, control := freePort(t), freePort(t), freePort(t)
	// What the edges ask goes through a counter.
	counter := &gets{next: "http://" + deliver, answered: make(map[string]int), asked: make(map[string]int)}
	front := freePort(t)
	srv := &http.Server{Addr: front, Handler: counter}
	go srv.ListenAndServe()
	defer srv.Close()

	names := []string{"a", "b", "c", "d"}
	ports, site := make(map[string]string), ""
	for _, n := range names {
		ports[n] = freePort(t)
		site += "," + n + "=http://" + ports[n]
	}
	processes := map[string]*process{
		"origin": {args: []string{"origin", "--publish", publish, "--deliver", deliver, "--control", control, "--store", "memory:"}},
	}
	for _, n := range names {
		processes[n] = &process{args: []string{"edge", "--metrics", "viewers", "--listen", ports[n], "--parent", "http://" + front, "--name", n, "--site", site[1:]}}
	}
	for _, n := range []string{"packager-a", "packager-b"} {
		processes[n] = &process{args: []string{"packager", "--event", "t/e", "--pipeline", n[len(n)-1:], "--clip", "--to", "http://" + publish, "--event-url", "http://" + deliver}}
	}
	for _, p := range processes {
		p.t = t
		p.start(binary)
		defer func() { p.kill() }()
	}
	renditions, err := exec.Command(binary, "packager", "--clip", "--print-renditions").Output()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now().UTC().Truncate(2 * time.Second)
	spec := fmt.Sprintf(`{"start": %q, "first_number": %d, "pipelines": [{"name": "a"}, {"name": "b"}], "renditions": %s}`,
		start.Format(time.RFC3339), start.Unix()/2, renditions)
	file := filepath.Join(dir, "event.json")
	if err := os.WriteFile(file, []byte(spec), 0o600); err != nil {
		t.Fatal(err)
	}
	var out []byte
	for range 50 { // the origin may still be starting
		if out, err = exec.Command(binary, "event", "create", "t/e", "-f", file, "--control", "http://"+control).CombinedOutput(); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("event create: %v: %s", err, out)
	}
	for _, n := range names {
		waitFor(t, "http://"+ports[n]+"/t/e/main.m3u8")
	}

	// Viewers are at the edges that live on.
	const playing = 40 * time.Second
	var watching sync.WaitGroup
	for _, n := range []string{"a", "c"} {
		watching.Go(func() {
			report, err := viewer.Run(t.Context(), viewer.Config{
				Edges: []string{"http://" + ports[n]}, Event: live.EventID{Tenant: "t", Name: "e"}, Viewers: 6, Duration: playing,
			})
			switch {
			case err != nil:
				t.Errorf("viewers at %s: %v", n, err)
			case len(report.Errors) > 0:
				t.Errorf("viewers at %s: %v", n, report.Noticed())
			}
			counter.mu.Lock()
			defer counter.mu.Unlock()
			if report.Gaps > int64(6*counter.lost) {
				t.Errorf("viewers at %s: %d gaps, and the origin missed %d segments", n, report.Gaps, counter.lost)
			}
			t.Logf("viewers at %s: %d segments", n, report.Segments)
		})
	}
	watching.Go(func() { // where nobody minds
		viewer.Run(t.Context(), viewer.Config{
			Edges: []string{"http://" + ports["b"]}, Event: live.EventID{Tenant: "t", Name: "e"}, Viewers: 4, Duration: playing,
		})
	})
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-t.Context().Done():
		}
	}
	began := time.Now()
	pause(8 * time.Second)
	faults := []time.Time{time.Now()}
	processes["b"].kill()
	pause(8 * time.Second)
	faults = append(faults, time.Now())
	processes["b"].start(binary)
	pause(9 * time.Second)
	faults = append(faults, time.Now())
	processes["d"].cmd.Process.Signal(syscall.SIGSTOP)
	pause(5 * time.Second)
	processes["d"].cmd.Process.Signal(syscall.SIGCONT)
	faults = append(faults, time.Now())
	watching.Wait()

	counter.mu.Lock()
	defer counter.mu.Unlock()
	segments, twice := 0, 0
	for path, asked := range counter.asked {
		p, err := live.ParsePath(path)
		if err != nil || p.File != live.FileSegment {
			continue
		}
		// Of the two seconds from number*2 on, published half a second after them.
		due := time.Unix(int64(p.Number)*2, 0).Add(500 * time.Millisecond)
		if due.Before(began) {
			continue
		}
		segments++
		flight := false
		for _, f := range faults {
			flight = flight || f.After(due.Add(-time.Second)) && f.Before(due.Add(3500*time.Millisecond))
		}
		if asked > 1 {
			twice++
			t.Logf("%s: asked %d times, answered %d", path, asked, counter.answered[path])
		}
		if !flight && asked != 1 {
			t.Errorf("%s: the origin was asked %d times and answered %d", path, asked, counter.answered[path])
		}
	}
	if segments < 2*12 {
		t.Errorf("only %d segments", segments)
	}
	t.Logf("%d segments of which %d were asked for more than once; peers asked %s times by a", segments, twice,
		metricOf(t, "http://"+ports["a"]+"/metrics", "headwater_edge_peer_requests_total"))
	if t.Failed() {
		for _, n := range names {
			t.Logf("%s: %s", n, processes[n].log.String())
		}
	}
}

// gets passes requests on and counts those for each path.
type gets struct {
	next string

	mu              sync.Mutex // guards the following
	asked, answered map[string]int
	lost            int // segments that the origin did not have in time
}

func (g *gets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.asked[r.URL.Path]++
	g.mu.Unlock()
	req, err := http.NewRequestWithContext(r.Context(), r.Method, g.next+r.URL.RequestURI(), nil)
	if err != nil {
		w.WriteHeader(500)
		return
	}
	req.Header = r.Header.Clone()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch resp.StatusCode {
	case http.StatusOK:
		g.answered[r.URL.Path]++
	case http.StatusGone:
		g.lost++
	}
}

// metricOf is the sum of a counter over its labels.
func metricOf(t *testing.T, url, name string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	sum := 0.0
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if strings.HasPrefix(s.Text(), name+"{") {
			v, err := strconv.ParseFloat(s.Text()[strings.LastIndexByte(s.Text(), ' ')+1:], 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += v
		}
	}
	return strconv.FormatFloat(sum, 'f', -1, 64)
}
