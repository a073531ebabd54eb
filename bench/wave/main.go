// Command wave measures how viewers come back who lost their edge all at once: those
// who heed what it and the event say of that, and those who do not. An origin, two
// packagers and an edge run; the edge is killed and started again under viewers. The
// plot of docs/benchmarks.md is drawn from the results.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"headwater/internal/proc"
	"headwater/live"
	"headwater/viewer"
)

type options struct {
	viewers           int
	join              time.Duration
	before, out, rest time.Duration
	plot, program     string
}

var event = live.EventID{Tenant: "bench", Name: "wave"}

func main() {
	log.SetFlags(log.Ltime)
	var o options
	flag.IntVar(&o.viewers, "viewers", 2000, "viewers")
	flag.DurationVar(&o.join, "join", 8*time.Second, "the event's join window")
	flag.DurationVar(&o.before, "before", 12*time.Second, "time before the edge is killed")
	flag.DurationVar(&o.out, "out", 5*time.Second, "time until it is started again")
	flag.DurationVar(&o.rest, "after", 20*time.Second, "time after that")
	flag.StringVar(&o.plot, "plot", "", "file of the plot; default none")
	flag.StringVar(&o.program, "headwater", "", "headwater program; default is built")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var all []*wave
	for _, heedless := range []bool{true, false} {
		w, err := measure(ctx, o, heedless)
		if err != nil {
			log.Fatal(err)
		}
		w.print()
		all = append(all, w)
	}
	if o.plot == "" {
		return
	}
	f, err := os.Create(o.plot)
	if err != nil {
		log.Fatal(err)
	}
	draw(f, o, all)
	if err := f.Close(); err != nil {
		log.Fatal(err)
	}
}

// A wave is how viewers came back.
type wave struct {
	heedless bool
	began    time.Time
	back     time.Duration // when the edge was there again
	report   *viewer.Report

	mu      sync.Mutex      // guards the following
	opened  []time.Duration // connections, since it began
	refused []time.Duration // attempts at one
}

// dial notes each connection that viewers open, or try to.
func (w *wave) dial(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := time.Since(w.began); err == nil {
		w.opened = append(w.opened, at)
	} else {
		w.refused = append(w.refused, at)
	}
	return nc, err
}

// counts are how many of these times are in each step.
func counts(times []time.Duration, step, end time.Duration) []int {
	n := make([]int, end/step+1)
	for _, t := range times {
		if t < end {
			n[t/step]++
		}
	}
	return n
}

func (w *wave) label() string {
	if w.heedless {
		return "heedless"
	}
	return "heeding"
}

func (w *wave) print() {
	most, all := 0, 0
	for i, n := range counts(w.opened, time.Second/5, time.Minute) {
		if time.Duration(i+1)*time.Second/5 > w.back {
			most, all = max(most, n), all+n
		}
	}
	fmt.Printf("%s: %d of %d viewers came back, at most %d in 200 ms; %d attempts in vain; %d stalls of %v in all, publication to viewer p99 %v ms\n",
		w.label(), all, w.report.Viewers, most, len(w.refused), w.report.Stalls, time.Duration(w.report.StallMS*float64(time.Millisecond)).Round(time.Millisecond), w.report.PublishToViewer.P99)
}

func measure(ctx context.Context, o options, heedless bool) (*wave, error) {
	dir, err := os.MkdirTemp("", "wave-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := o.program
	if program == "" {
		program = filepath.Join(dir, "headwater")
		build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/headwater")
		build.Dir = ".." // bench/go.mod does not have all that the program needs
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building headwater: %w: %s", err, out)
		}
	}
	var all []*proc.Process
	defer func() {
		for _, p := range all {
			p.Kill()
		}
	}()
	run := func(name string, ready func(context.Context) error, args ...string) (*proc.Process, error) {
		p := &proc.Process{Name: name, Log: filepath.Join(dir, name+".log"), Ready: ready, Make: func() *exec.Cmd { return exec.Command(program, args...) }}
		all = append(all, p)
		return p, p.Start(ctx)
	}
	var addr [4]string
	for i := range addr {
		if addr[i], err = proc.FreeAddr(); err != nil {
			return nil, err
		}
	}
	publish, deliver, control, edge := addr[0], addr[1], addr[2], addr[3]
	if _, err := run("origin", proc.Answers("http://"+control+"/readyz"), "origin", "--publish", publish, "--deliver", deliver, "--control", control,
		"--store", "disk:"+filepath.Join(dir, "store"), "--log-level", "error"); err != nil {
		return nil, err
	}
	renditions, err := clipRenditions(program)
	if err != nil {
		return nil, err
	}
	if err := create(ctx, control, o.join, renditions); err != nil {
		return nil, err
	}
	now := func(context.Context) error { return nil }
	for _, pipeline := range []string{"a", "b"} {
		if _, err := run("packager-"+pipeline, now, "packager", "--event", event.String(), "--pipeline", pipeline, "--clip", "--to", "http://"+publish, "--event-url", "http://"+deliver, "--log-level", "error"); err != nil {
			return nil, err
		}
	}
	e, err := run("edge", proc.Accepts(edge), "edge", "--listen", edge, "--parent", "http://"+deliver, "--log-level", "error")
	if err != nil {
		return nil, err
	}
	time.Sleep(6 * time.Second) // until there is something to watch
	w := &wave{heedless: heedless, began: time.Now()}
	cfg := viewer.Config{Edges: []string{"http://" + edge}, Event: event, Viewers: o.viewers, Duration: o.before + o.out + o.rest,
		Heedless: heedless, Dial: w.dial, NoInspect: true, Renditions: []string{smallest(renditions)}, MaxDials: 4096}
	done := make(chan error, 1)
	go func() {
		var err error
		w.report, err = viewer.Run(ctx, cfg)
		done <- err
	}()
	log.Printf("%s: %d viewers", w.label(), o.viewers)
	time.Sleep(o.before)
	if err := e.Kill(); err != nil {
		return nil, err
	}
	time.Sleep(o.out)
	if err := e.Start(ctx); err != nil {
		return nil, err
	}
	w.back = time.Since(w.began)
	if err := <-done; err != nil {
		return nil, err
	}
	return w, nil
}

// clipRenditions are those of the built-in clip.
func clipRenditions(program string) (all []live.Rendition, err error) {
	out, err := exec.Command(program, "packager", "--clip", "--print-renditions").Output()
	if err != nil {
		return nil, err
	}
	return all, json.Unmarshal(out, &all)
}

// smallest is the name of the smallest rendition of video.
func smallest(all []live.Rendition) string {
	var least live.Rendition
	for _, r := range all {
		if r.Type == live.Video && (least.Name == "" || r.Bandwidth < least.Bandwidth) {
			least = r
		}
	}
	return least.Name
}

// create makes the event.
func create(ctx context.Context, control string, join time.Duration, renditions []live.Rendition) error {
	ev := live.Default()
	ev.Start = time.Now().Add(time.Second).Truncate(time.Second).UTC()
	ev.JoinMS = join.Milliseconds()
	ev.Pipelines = []live.Pipeline{{Name: "a"}, {Name: "b"}}
	ev.Renditions = renditions
	b, err := json.Marshal(ev)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+control+"/v1/events/"+event.String(), strings.NewReader(string(b)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return fmt.Errorf("creating the event: %s: %s", resp.Status, said)
	}
	return nil
}
