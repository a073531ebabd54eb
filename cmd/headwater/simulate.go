package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"slices"
	"time"

	"headwater/world"
)

var simulateCommand = &command{
	name: "simulate", summary: "play live events with faults of every kind in virtual time",
	usage: "--world [flags]",
	about: `
Plays whole events in virtual time: packagers, origins, edges, viewers and
announcements as they are, over a simulated network and store. What is random
follows from a seed. It breaks what can break, and holds what viewers and
operators got against what must always hold. A world where something did not is
told as a story with its seed, and it exits with 1; --seed plays that one again,
--shrink leaves out of it what did not matter.`,
}

func init() { simulateCommand.run = runSimulate }

type simulateFlags struct {
	world    bool
	seed     string
	seeds    int
	from     int
	forTime  time.Duration
	length   time.Duration
	long     bool
	parallel int
	shrink   bool
	story    bool
	logs     bool
	asJSON   bool
	plan     string
	inside   bool
}

func (f *simulateFlags) register(o *options) {
	o.Bool(&f.world, "world", "play whole worlds; there is nothing else to simulate yet")
	o.String(&f.seed, "seed", "", "`NUMBER` of the one world to play, and tell its story")
	o.Int(&f.seeds, "seeds", 100, "`NUMBER` of worlds to play; 0 is as many as --for has time for")
	o.Int(&f.from, "from", 0, "`NUMBER` of the first; 0 takes one by chance")
	o.Duration(&f.forTime, "for", 0, "`TIME` after which no other world is begun; 0 is none")
	o.Duration(&f.length, "length", 0, "`TIME` that faults go on in each world, by its own clock; 0 is 15 minutes, or 6 hours with --long")
	o.Bool(&f.long, "long", "events of hours: DVR windows of up to a day, few viewers, and faults far apart")
	o.Int(&f.parallel, "parallel", 0, "`NUMBER` of worlds at once; 0 is one for each processor")
	o.Bool(&f.shrink, "shrink", "of the first world that fails, leave out what is not needed for it")
	o.Bool(&f.story, "story", "tell the stories of worlds that went well, too")
	o.Bool(&f.logs, "logs", "with --seed: what nodes log, by the world's clock, on standard error")
	o.Bool(&f.asJSON, "json", "print one JSON object at the end, and nothing else on standard output")
	o.String(&f.plan, "plan", "", "`FILE` with the plan to play, as --json prints it of a failure")
	o.Bool(&f.inside, "inside", "read a plan, play it in this process, and write the result: what simulate runs for each world")
}

// A simulation is what simulate says at the end.
type simulation struct {
	Worlds         int              `json:"worlds"`
	SimulatedHours float64          `json:"simulated_hours"`
	Seconds        float64          `json:"seconds"`
	HoursPerSecond float64          `json:"hours_per_second"`
	HeapBytes      uint64           `json:"heap_bytes"` // of the world that took most at its end
	Faults         map[string]int   `json:"faults"`
	Counts         map[string]int   `json:"counts"`
	Failures       []*world.Result  `json:"failures"`
	Violated       map[string][]int `json:"violated"` // seeds by invariant
}

func runSimulate(ctx context.Context, env *environment, args []string) error {
	var f simulateFlags
	o := newOptions("simulate")
	f.register(o)
	rest, err := o.parse(env, args)
	if err != nil {
		return err
	}
	switch {
	case len(rest) > 0:
		return usagef("%q: simulate takes only flags", rest[0])
	case !f.world:
		return usagef("--world: give it; whole worlds are all there is to simulate")
	case f.length != 0 && f.length < time.Minute:
		return usagef("--length: %v is less than a minute", f.length)
	case f.seeds == 0 && f.forTime == 0:
		return usagef("--seeds: with 0 of them give --for")
	}
	if f.length == 0 {
		f.length = map[bool]time.Duration{false: 15 * time.Minute, true: 6 * time.Hour}[f.long]
	}
	if f.inside {
		var logs io.Writer
		if f.logs {
			logs = env.stderr
		}
		return world.Inside(env.stdin, env.stdout, logs)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	run := world.Runner{Program: self, Args: []string{"simulate", "--world", "--inside"}, Limit: 10 * time.Minute}
	s := &simulation{Faults: map[string]int{}, Counts: map[string]int{}, Violated: map[string][]int{}}
	words := env.stdout
	if f.asJSON {
		words = env.stderr
	}
	plans, err := f.plans()
	if err != nil {
		return err
	}
	if f.logs {
		run.Args, run.Logs = append(run.Args, "--logs"), env.stderr
	}
	began := time.Now()
	run.Batch(ctx, cmp.Or(f.parallel, runtime.NumCPU()), plans, func(r world.Result) {
		s.add(&r)
		if len(r.Violations) > 0 || f.story || f.single() {
			tell(words, &r)
		}
	})
	s.Seconds = time.Since(began).Seconds()
	s.HoursPerSecond = s.SimulatedHours / s.Seconds
	if f.shrink && len(s.Failures) > 0 && ctx.Err() == nil {
		small := run.Shrink(ctx, *s.Failures[0], func(r world.Result) {
			fmt.Fprintf(words, "still fails with %d acts\n", len(r.Plan.Acts))
		})
		fmt.Fprintf(words, "\nThe same with what is needed only:\n\n")
		tell(words, &small)
		s.Failures[0] = &small
	}
	if f.asJSON {
		b, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			return err
		}
		env.stdout.Write(append(b, '\n'))
	} else {
		s.print(words)
	}
	if len(s.Failures) > 0 {
		return errQuiet
	}
	return ctx.Err()
}

func (f *simulateFlags) single() bool { return f.seed != "" || f.plan != "" }

func (f *simulateFlags) newPlan(seed uint64) world.Plan {
	if f.long {
		return world.NewLongPlan(seed, f.length)
	}
	return world.NewPlan(seed, f.length)
}

// plans are the worlds to play.
func (f *simulateFlags) plans() (func(yield func(world.Plan) bool), error) {
	if f.plan != "" {
		b, err := os.ReadFile(f.plan)
		if err != nil {
			return nil, err
		}
		var p world.Plan
		if err := json.Unmarshal(b, &p); err != nil {
			return nil, fmt.Errorf("%s: %w", f.plan, err)
		}
		return func(yield func(world.Plan) bool) { yield(p) }, nil
	}
	if f.seed != "" {
		var seed uint64
		if _, err := fmt.Sscan(f.seed, &seed); err != nil {
			return nil, usagef("--seed: %q is not a number", f.seed)
		}
		return func(yield func(world.Plan) bool) { yield(f.newPlan(seed)) }, nil
	}
	first := uint64(f.from)
	if first == 0 {
		first = rand.Uint64N(1<<31) + 1
	}
	began := time.Now()
	return func(yield func(world.Plan) bool) {
		for i := 0; f.seeds == 0 || i < f.seeds; i++ {
			if f.forTime > 0 && time.Since(began) > f.forTime || !yield(f.newPlan(first+uint64(i))) {
				return
			}
		}
	}, nil
}

func (s *simulation) add(r *world.Result) {
	s.Worlds++
	s.SimulatedHours += r.Simulated.Hours()
	s.HeapBytes = max(s.HeapBytes, r.Heap)
	for k, n := range r.Faults {
		s.Faults[k] += n
	}
	for k, n := range r.Counts {
		s.Counts[k] += n
	}
	if len(r.Violations) == 0 {
		return
	}
	said := map[string]bool{}
	for _, v := range r.Violations {
		if !said[v.Invariant] {
			said[v.Invariant] = true
			s.Violated[v.Invariant] = append(s.Violated[v.Invariant], int(r.Plan.Seed))
		}
	}
	if len(s.Failures) < 20 {
		s.Failures = append(s.Failures, r)
	}
}

// tell tells the story of a world, of a long one the part before what went wrong.
func tell(w io.Writer, r *world.Result) {
	const most = 40
	p := &r.Plan
	fmt.Fprintf(w, "world %d: segments of %v, DVR %v, latency %v, %d origins, %d edges with %d viewers each, %d acts; trace %016x\n",
		p.Seed, p.Segment, p.DVR, p.Latency, p.Origins, p.Edges, p.Viewers, len(p.Acts), r.Trace)
	lines := r.Story
	if len(r.Violations) > 0 {
		last := r.Violations[0].At
		if i := slices.IndexFunc(lines, func(l world.Line) bool { return l.At > last }); i > most {
			lines = lines[i-most : min(i+most/2, len(lines))]
			fmt.Fprintln(w, "      ...")
		}
	}
	for _, l := range lines {
		fmt.Fprintln(w, l)
	}
	for _, v := range r.Violations {
		fmt.Fprintf(w, "VIOLATED at %.3fs: %s: %s\n", v.At.Seconds(), v.Invariant, v.What)
	}
	if len(r.Violations) > 0 {
		fmt.Fprintf(w, "again: %s\n\n", again(p))
	}
}

// again is a command that plays a plan again: one that is not its seed's any more has to
// be given whole.
func again(p *world.Plan) string {
	const simulate = "headwater simulate --world"
	for long, plan := range map[string]world.Plan{"": world.NewPlan(p.Seed, p.Length), " --long": world.NewLongPlan(p.Seed, p.Length)} {
		if reflect.DeepEqual(*p, plan) {
			return fmt.Sprintf("%s%s --seed %d --length %v", simulate, long, p.Seed, p.Length)
		}
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // it has numbers and names
	}
	return fmt.Sprintf("echo '%s' | %s --plan /dev/stdin", b, simulate)
}

func (s *simulation) print(w io.Writer) {
	fmt.Fprintf(w, "%d worlds, %.1f hours simulated in %.0f s: %.2f hours per second; %d MB of memory at most\n", s.Worlds, s.SimulatedHours, s.Seconds, s.HoursPerSecond, s.HeapBytes>>20)
	for _, of := range []struct {
		title string
		m     map[string]int
	}{{"faults", s.Faults}, {"seen", s.Counts}} {
		fmt.Fprintf(w, "\n%s\n", of.title)
		for _, k := range slices.Sorted(maps.Keys(of.m)) {
			fmt.Fprintf(w, "  %-40s %d\n", k, of.m[k])
		}
	}
	fmt.Fprintf(w, "\nviolated\n")
	for _, k := range slices.Sorted(maps.Keys(s.Violated)) {
		fmt.Fprintf(w, "  %-40s %d worlds: %v\n", k, len(s.Violated[k]), s.Violated[k][:min(8, len(s.Violated[k]))])
	}
	if len(s.Violated) == 0 {
		fmt.Fprintln(w, "  nothing")
	}
}
