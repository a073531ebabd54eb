package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"headwater/drill"
	"headwater/live"
)

var drillCommand = &command{
	name: "drill", summary: "break a system on purpose, and hold what viewers saw against what was expected",
	usage: "list | all | NAME... [flags]",
	about: `
Each drill is a fault with a name. It starts a system of its own on this machine,
of the processes that would run in earnest (an origin or two over their disks, two
edges, packagers that play the built-in clip), lets viewers watch, breaks something,
mends it, and says whether viewers and operators saw what was expected, which is
written down before: "headwater drill list" prints it.

  headwater drill list              what there is, and what is expected of it
  headwater drill kill-packager     one drill, about 20 s
  headwater drill all               all of them, within 10 minutes

Nothing that runs already is touched, unless it is given: drills that kill or stop one
process are made on a system that runs with

  headwater drill stop-edge --edge http://HOST:8080 --edge http://OTHER:8080 \
      --event acme/final --node edge1=PID@HOST:8080

What is killed there must be started again by whoever looks after it. The drill freeze mounts
a file system and wants root, fill does with user namespaces; where there are neither they
say "not possible", and the rest goes on. Of a drill that fails the directory with the logs of all its processes is kept and named.

Exit status: 0 where none failed; 1 where one did; 2 for wrong flags.`,
}

func init() { drillCommand.run = runDrill }

type drillFlags struct {
	viewers int
	dir     string
	asJSON  bool

	edges, nodes []string
	event        string
}

func (f *drillFlags) register(o *options) {
	o.Int(&f.viewers, "viewers", 20, "`NUMBER` of viewers that watch")
	o.String(&f.dir, "dir", "", "`DIR` for stores and logs, made where it is not there, a directory below it for each drill; default that for temporary files")
	o.List(&f.edges, "edge", "base `URL` of an edge of a system that runs already, to make drills there")
	o.String(&f.event, "event", "", "with --edge: `TENANT/EVENT` to watch there")
	o.List(&f.nodes, "node", "with --edge: `NAME=PID` of a process on this machine, or NAME=PID@HOST:PORT with where its /metrics are; names are origin1, origin2, edge1, edge2, and a and b for packagers")
	o.Bool(&f.asJSON, "json", "print one JSON object at the end, and nothing else on standard output")
}

func runDrill(ctx context.Context, env *environment, args []string) error {
	var f drillFlags
	o := newOptions("drill")
	f.register(o)
	names, err := o.parse(env, args)
	if err != nil {
		return err
	}
	if f.viewers < 1 {
		return usagef("--viewers: %d is less than 1", f.viewers)
	}
	switch {
	case len(names) == 0:
		return usagef("say which: list, all, or names of drills")
	case len(names) == 1 && names[0] == "list":
		return listDrills(env.stdout, f.asJSON)
	}
	drills, err := findDrills(names)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	words := env.stdout
	if f.asJSON {
		words = env.stderr
	}
	if f.dir != "" {
		if err := os.MkdirAll(f.dir, 0o755); err != nil {
			return usagef("--dir: %v", err)
		}
	}
	cfg := drill.Config{Program: self, Viewers: f.viewers, Dir: f.dir}
	if cfg.Attached, err = f.attached(); err != nil {
		return err
	}
	var results []drill.Result
	failed, impossible := 0, 0
	began := time.Now()
	for i, d := range drills {
		fmt.Fprintf(words, "%d of %d  %s: %s\n", i+1, len(drills), d.Name, d.Breaks)
		r, err := drill.Run(ctx, cfg, d)
		if err != nil {
			return err
		}
		results = append(results, r)
		tellDrill(words, &r)
		switch r.Verdict {
		case drill.Fail:
			failed++
		case drill.NotPossible:
			impossible++
		}
	}
	if f.asJSON {
		b, err := json.MarshalIndent(results, "", "  ")
		if err != nil {
			return err
		}
		env.stdout.Write(append(b, '\n'))
	} else {
		drillTable(words, results)
	}
	fmt.Fprintf(words, "\n%s, %d failed, %d not possible here, in %.0f s\n", count(len(results), "drill"), failed, impossible, time.Since(began).Seconds())
	if failed > 0 {
		return errQuiet
	}
	return nil
}

// attached is the system that flags name, nil where they name none.
func (f *drillFlags) attached() (*drill.Attached, error) {
	if len(f.edges) == 0 {
		if f.event != "" || len(f.nodes) > 0 {
			return nil, usagef("--edge: --event and --node are of a system that runs already: give its edges, too")
		}
		return nil, nil
	}
	id, err := live.ParseEventID(f.event)
	if err != nil {
		return nil, usagef("--event: %s", live.PathReason(err))
	}
	a := &drill.Attached{Edges: f.edges, Event: id, Nodes: make(map[string]drill.Running)}
	for _, s := range f.nodes {
		name, r, err := drill.ParseNode(s)
		if err != nil {
			return nil, usagef("--node: %w", err)
		}
		a.Nodes[name] = r
	}
	return a, nil
}

func findDrills(names []string) (out []*drill.Drill, err error) {
	if len(names) == 1 && names[0] == "all" {
		return drill.List(), nil
	}
	var known []string
	for _, d := range drill.List() {
		known = append(known, d.Name)
	}
	for _, name := range names {
		d := drill.Find(name)
		if d == nil {
			return nil, usagef("%q is not a drill%s; headwater drill list has them", name, didYouMean(name, "", known))
		}
		out = append(out, d)
	}
	return out, nil
}

// listDrills prints what there is, and what is expected of it.
func listDrills(w io.Writer, asJSON bool) error {
	if asJSON {
		type row struct {
			Drill    string   `json:"drill"`
			Breaks   string   `json:"breaks"`
			Expected string   `json:"expected_of_viewers"`
			Signs    []string `json:"expected_signs"`
		}
		rows := []row{}
		for _, d := range drill.List() {
			x := row{d.Name, d.Breaks, d.Expect.Viewers(), []string{}}
			for _, s := range d.Expect.Signs {
				x.Signs = append(x.Signs, s.String())
			}
			rows = append(rows, x)
		}
		b, err := json.MarshalIndent(rows, "", "  ")
		if err == nil {
			_, err = w.Write(append(b, '\n'))
		}
		return err
	}
	for _, d := range drill.List() {
		fmt.Fprintf(w, "%s\n    %s\n    viewers see: %s\n", d.Name, d.Breaks, d.Expect.Viewers())
		for _, s := range d.Expect.Signs {
			fmt.Fprintf(w, "    told: %s\n", s)
		}
	}
	return nil
}

// tellDrill says what came of one.
func tellDrill(w io.Writer, r *drill.Result) {
	if r.Verdict == drill.NotPossible {
		fmt.Fprintf(w, "        %s here: %s\n", r.Verdict, strings.Join(r.Why, "; "))
		return
	}
	fmt.Fprintf(w, "        %s: viewers saw %s; expected %s; publish to viewer %.0f ms p99, %.0f max; %.0f s\n", r.Verdict, r.Saw, r.Expected, r.Saw.P99, r.Saw.Max, r.Seconds)
	for _, why := range r.Why {
		fmt.Fprintf(w, "        %s\n", why)
	}
	if r.Dir != "" {
		fmt.Fprintf(w, "        logs in %s\n", r.Dir)
	}
}

// drillTable is all at once, as documents have tables.
func drillTable(w io.Writer, results []drill.Result) {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 0, ' ', 0)
	fmt.Fprintln(t, "| drill\t | what is broken\t | expected of viewers\t | they saw\t | publish to viewer, p99 and max\t | \t |")
	fmt.Fprintln(t, "|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, r := range results {
		saw, delay := r.Saw.String(), fmt.Sprintf("%.0f, %.0f ms", r.Saw.P99, r.Saw.Max)
		if r.Verdict == drill.NotPossible {
			saw, delay = "-", "-"
		}
		fmt.Fprintln(t, strings.Join([]string{"| " + r.Drill, r.Breaks, r.Expected, saw, delay, string(r.Verdict)}, "\t | ")+"\t |")
	}
	t.Flush()
}
