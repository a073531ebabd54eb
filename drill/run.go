package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"headwater/viewer"
)

// A Config is how drills are made. Zero values take the defaults.
type Config struct {
	// Program is headwater, which all processes are. Required.
	Program string
	// Viewers is how many watch. Default 20.
	Viewers int
	// Dir is where stores and logs are, in a directory for each drill. Default: one that
	// is removed, but for the logs of drills that failed.
	Dir string
	// Attached is a system that runs already; nil: each drill starts its own.
	Attached *Attached
}

func (c *Config) setDefaults() {
	if c.Viewers == 0 {
		c.Viewers = 20
	}
}

// Run makes a drill and says what came of it. Its error is that of ctx alone: what else
// goes wrong is a drill that failed.
func Run(ctx context.Context, cfg Config, d *Drill) (Result, error) {
	cfg.setDefaults()
	r := Result{Drill: d.Name, Breaks: d.Breaks, Expected: d.Expect.Viewers(), Signs: []string{}}
	for _, x := range d.Expect.Signs {
		r.Signs = append(r.Signs, x.String())
	}
	began := time.Now()
	dir, err := os.MkdirTemp(cfg.Dir, "headwater-drill-"+d.Name+"-")
	if err == nil {
		r.Dir = dir
		err = run(ctx, &cfg, d, &r)
	}
	r.Seconds = time.Since(began).Seconds()
	var impossible errNotPossible
	switch {
	case ctx.Err() != nil:
		os.RemoveAll(dir)
		return r, ctx.Err()
	case errors.As(err, &impossible):
		r.Verdict, r.Why = NotPossible, []string{impossible.why}
	case err != nil:
		r.Why = append(r.Why, err.Error())
	}
	if r.Verdict == "" {
		if r.Verdict = Fail; len(r.Why) == 0 {
			r.Verdict = Pass
		}
	}
	if r.Verdict != Fail {
		os.RemoveAll(dir)
		r.Dir = ""
	}
	return r, nil
}

// errNotWell says what viewers saw before anything was broken, each kind of error too.
func errNotWell(was Saw) error {
	return fmt.Errorf("it was not well before anything was broken: viewers got %d segments and saw %s", was.Segments, strings.Join(append([]string{was.String()}, was.Errors...), "; "))
}

func run(ctx context.Context, cfg *Config, d *Drill, r *Result) (err error) {
	var s *system
	if cfg.Attached != nil {
		s, err = attach(cfg, d)
	} else {
		s, err = build(ctx, cfg, d, r.Dir)
	}
	if s != nil {
		defer func() { err = errors.Join(err, s.close()) }()
	}
	if err != nil {
		return err
	}
	crowd, err := viewer.New(viewer.Config{Edges: s.edges, Event: s.id, Viewers: cfg.Viewers, JoinOver: time.Second, Timeout: 3 * time.Second})
	if err != nil {
		return err
	}
	watch, leave := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer leave()
	var report *viewer.Report
	var failed error
	tasks.Go(func() { report, failed = crowd.Run(watch) })
	if err := sleep(ctx, settleBefore); err != nil {
		return err
	}
	if was := sawOf(crowd.Report()); was.Segments == 0 || was.String() != "nothing" {
		return errNotWell(was)
	}
	look, end := context.WithCancel(ctx)
	l := newLookout(ctx, s, s.signsHere(d.Expect.Signs))
	var looks sync.WaitGroup
	looks.Go(func() { l.run(look) })
	err = d.run(ctx, s)
	over := crowd.Report()
	after := d.after
	if after == 0 {
		after = settleAfter
	}
	if err == nil {
		err = sleep(ctx, after)
	}
	end()
	looks.Wait()
	leave()
	tasks.Wait()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	r.Saw = sawOf(report)
	r.Why = append(judge(&d.Expect, r.Saw, over, report), l.missing()...)
	if cfg.Attached != nil {
		return nil
	}
	if why := s.checkStore(ctx, d.Expect.Check); why != "" {
		r.Why = append(r.Why, why)
	}
	return nil
}

// judge says what viewers saw that they should not have. over is what they had seen when
// nothing was broken any more.
func judge(e *Expectation, saw Saw, over, end *viewer.Report) (why []string) {
	most := func(what string, n int64, each int) {
		if n > int64(each*saw.Viewers) {
			why = append(why, fmt.Sprintf("%d viewers saw %d %s, at most %d each were expected", saw.Viewers, n, what, each))
		}
	}
	most("gaps", saw.Gaps, e.Gaps)
	most("refusals", saw.Refusals, e.Refusals)
	most("flawed segments", saw.Defects, e.Defects)
	most("stalls", saw.Stalls, e.Stalls)
	if most := e.StallFor * time.Duration(saw.Viewers); time.Duration(saw.StallMS*float64(time.Millisecond)) > most {
		why = append(why, fmt.Sprintf("pictures stood for %.1f s in all, at most %v was expected", saw.StallMS/1000, most))
	}
	if saw.Reconnects > 0 && !e.Reconnects {
		why = append(why, fmt.Sprintf("%d viewers lost their edge", saw.Reconnects))
	}
	for _, err := range saw.Errors {
		// Who lost his edge may have found the other too late for his picture.
		if !e.Reconnects || e.Stalls == 0 || !strings.Contains(err, "stalled by a network error") {
			why = append(why, err)
		}
	}
	switch {
	case end.Segments <= over.Segments:
		why = append(why, "nobody got a segment after it was over")
	case end.Dark > 0:
		why = append(why, fmt.Sprintf("%d viewers were without a picture at the end", end.Dark))
	}
	return why
}

// checkStore stops the first origin and has its store checked.
func (s *system) checkStore(ctx context.Context, want int) string {
	n := s.nodes["origin1"]
	if err := n.Stop(); err != nil {
		return "stopping origin1: " + err.Error()
	}
	var address string
	for i, a := range n.args {
		if a == "--store" {
			address = n.args[i+1]
		}
	}
	check := slices.Concat(n.within, []string{s.cfg.Program, "store", "check", "--store", address})
	out, err := exec.CommandContext(ctx, check[0], check[1:]...).CombinedOutput()
	var exit *exec.ExitError
	code := 0
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		return err.Error()
	}
	if code != want {
		return fmt.Sprintf("headwater store check exits %d, not %d: %s", code, want, lastLine(string(out)))
	}
	return ""
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
