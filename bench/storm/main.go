//go:build linux

// Command storm measures what readers can do to publishing and to live viewers.
// An origin runs on one core; packagers, viewers behind an edge, and the storm are
// on the other, the storm with the least right to it. Each storm is measured
// before, while and after it blows. The results stay as files, from which the table
// and the plots of docs/benchmarks.md are written.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type options struct {
	idle, length, after time.Duration
	rounds              int
	server, client      string
	only                string
	label               string
	results             string
	docs                string
	program             string
	apart               bool
	viewers             int
	memory              string
}

func main() {
	log.SetFlags(log.Ltime)
	if len(os.Args) > 2 && os.Args[1] == "blow" {
		if err := blow(os.Args[2], os.Args[3:]); err != nil {
			log.Fatal(err)
		}
		return
	}
	var o options
	flag.DurationVar(&o.idle, "idle", 16*time.Second, "time before each storm")
	flag.DurationVar(&o.length, "for", 20*time.Second, "time of each storm")
	flag.DurationVar(&o.after, "after", 12*time.Second, "time after each storm")
	flag.IntVar(&o.rounds, "rounds", 1, "how often it is idle, and then storms: the more, the less what else the machine does is taken for the storm's doing")
	flag.StringVar(&o.server, "server", "0", "core of the origin")
	flag.StringVar(&o.client, "client", "1", "core of all else")
	flag.StringVar(&o.only, "only", "dvr", "names of storms, with commas; every is all of them")
	flag.StringVar(&o.label, "label", "now", "name of what is measured, in tables")
	flag.StringVar(&o.results, "results", "", "directory of results, one file each; default a new one")
	flag.StringVar(&o.docs, "docs", "", "directory of benchmarks.md to write the table and plots of -results into; then nothing is measured")
	flag.StringVar(&o.program, "headwater", "", "headwater program; default is built")
	flag.BoolVar(&o.apart, "apart", false, "roles of the origin as processes, over S3 (versitygw) and NATS")
	flag.IntVar(&o.viewers, "viewers", 50, "live viewers behind the edge")
	flag.StringVar(&o.memory, "memory", "1GiB", "--memory of the edge")
	flag.Parse()
	if o.docs != "" {
		if err := write(o.docs, o.results); err != nil {
			log.Fatal(err)
		}
		return
	}
	if err := pin(o.client); err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, o); err != nil {
		log.Fatal(err)
	}
}

// pin starts this program again on one core, so that all of its threads are there.
func pin(core string) error {
	raiseFiles()
	if os.Getenv("STORM_PINNED") != "" {
		return nil
	}
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		return fmt.Errorf("taskset (util-linux): %w", err)
	}
	return syscall.Exec(taskset, append([]string{taskset, "-c", core}, os.Args...), append(os.Environ(), "STORM_PINNED=1"))
}

func raiseFiles() {
	more := syscall.Rlimit{Cur: 131072, Max: 131072}
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more) // as many as may be
}

func measure(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "storm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	os.Setenv("TMPDIR", dir)
	if o.results == "" {
		o.results = dir
	}
	if err := os.MkdirAll(o.results, 0o755); err != nil {
		return err
	}
	if o.apart && o.label == "now" {
		o.label = "apart"
	}
	if o.program == "" {
		o.program = filepath.Join(dir, "headwater")
		build := exec.Command("go", "build", "-o", o.program, "./cmd/headwater")
		build.Dir = ".." // bench/go.mod does not have all that the program needs
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building headwater: %w: %s", err, out)
		}
	}
	var failed error
	for _, s := range storms {
		if o.only != "every" && !strings.Contains(","+o.only+",", ","+s.name+",") {
			continue
		}
		r, err := one(ctx, o, s, filepath.Join(dir, s.name))
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.name, err))
			continue
		}
		b, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(o.results, cmp.Or(o.label, "now")+"-"+s.name+".json"), b, 0o644); err != nil {
			return err
		}
		fmt.Print(heading, r.row(), r.slowest(), "\n")
	}
	return failed
}

// How long it takes to find what the origin can serve.
const calibration = 5 * time.Second

// one measures a storm: everything is started for it alone.
func one(ctx context.Context, o options, s storm, dir string) (*result, error) {
	sys, err := start(ctx, o, s, dir)
	if sys != nil {
		defer sys.close()
	}
	if err != nil {
		return nil, err
	}
	r := &result{Storm: s.name, Says: s.says, Label: o.label}
	if s.times > 0 {
		var a answers
		for range 2 { // the first warms it up
			if a, err = sys.blow(s, calibration, few)(); err != nil {
				return nil, fmt.Errorf("what can be served: %w", err)
			}
		}
		r.Served = float64(a.Requests-a.Statuses["503"]) / calibration.Seconds()
		r.Rate = s.times * r.Served
		log.Printf("%s: %.0f answers a second to few, so %.0f requests a second", s.name, r.Served, r.Rate)
	}
	r.Began = time.Now()
	watching, end := context.WithCancel(ctx)
	defer end()
	sys.watch(watching, r)
	sys.publish(watching, r)
	for range o.rounds {
		if err := sys.round(ctx, o, s, r); err != nil {
			return nil, err
		}
	}
	if b, err := sys.metrics(ctx); err == nil {
		if err := os.WriteFile(filepath.Join(o.results, o.label+"-"+s.name+".metrics"), b, 0o644); err != nil {
			return nil, err
		}
	}
	log.Printf("%s: calm for %v", s.name, o.after)
	if !sleep(ctx, o.after) {
		return nil, ctx.Err()
	}
	end()
	sys.tasks.Wait()
	return r, nil
}

// round is a time without a storm, and one with it.
func (s *system) round(ctx context.Context, o options, st storm, r *result) error {
	if len(r.Storms) > 0 {
		sleep(ctx, settles)
	}
	from := time.Since(r.Began)
	log.Printf("%s: idle for %v", st.name, o.idle)
	before := s.view(o.viewers, o.idle)
	if !sleep(ctx, o.idle) {
		return ctx.Err()
	}
	seen, err := before()
	if err != nil {
		return fmt.Errorf("the viewers before: %w", err)
	}
	r.Idle = append(r.Idle, seen)
	begins := time.Since(r.Began)
	log.Printf("%s: storm for %v", st.name, o.length)
	during := s.view(o.viewers, o.length)
	s.stopStore(ctx, st.stops, o.length)
	blown := s.blow(st, o.length, r.Rate)
	if !sleep(ctx, o.length) {
		return ctx.Err()
	}
	r.Calms, r.Storms = append(r.Calms, span{from, begins}), append(r.Storms, span{begins, time.Since(r.Began)})
	a, err := blown()
	if err != nil {
		return fmt.Errorf("the storm: %w", err)
	}
	r.Answers.add(a)
	if seen, err = during(); err != nil {
		return fmt.Errorf("the viewers: %w", err)
	}
	r.Viewers = append(r.Viewers, seen)
	return nil
}

// settles is how long after a storm it is not idle yet.
const settles = 8 * time.Second

// sleep waits, and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
