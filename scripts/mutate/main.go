// Command mutate changes one line of the code at a time and sees whether a test
// fails for it. What survives is a line that no test watches.
//
//	go run ./scripts/mutate -seed 1 -sample 300 ./live ./selection ./cmaf
//
// A mutant is one change of one place: a comparison with its border moved or
// turned round, an operator exchanged for its opposite, a condition that always
// or never holds, a call or an assignment left out, a number off by one. The
// sample is drawn from all places of the packages, the same for the same seed
// and code. Each is built by the compiler's overlay, so the tree is not touched,
// and meets the short tests of its own package first, then of those that it is a
// part of (./origin of ./origin/book), then those of -also. It is killed where one
// fails or does not end. What does not compile is not counted.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	var (
		seed   = flag.Uint64("seed", 1, "`SEED` of the sample")
		sample = flag.Int("sample", 300, "`NUMBER` of mutants; 0 is all")
		also   = flag.String("also", "", "`PACKAGES` whose short tests meet what survives its own, separated by commas")
		limit  = flag.Duration("timeout", 3*time.Minute, "`TIME` after which tests that do not end count as failed")
		only   = flag.String("only", "", "`TEXT` that a mutant's place must contain, e.g. hold.go:57")
		list   = flag.Bool("list", false, "list the sample, run nothing")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, flag.Args(), *seed, *sample, *only, *list, tests{limit: *limit, also: split(*also)}); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func split(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func run(ctx context.Context, packages []string, seed uint64, sample int, only string, list bool, t tests) error {
	if len(packages) == 0 {
		return errors.New("name the packages, e.g. ./live ./selection")
	}
	var all []mutant
	for _, p := range packages {
		ms, err := mutants(filepath.Clean(p))
		if err != nil {
			return err
		}
		all = append(all, ms...)
	}
	all = slices.DeleteFunc(all, func(m mutant) bool { return !strings.Contains(m.String(), only) })
	total := len(all)
	r := rand.New(rand.NewPCG(seed, 0))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if sample > 0 && sample < len(all) {
		all = all[:sample]
	}
	slices.SortStableFunc(all, func(a, b mutant) int { return strings.Compare(a.pkg, b.pkg) })
	fmt.Printf("%d of %d mutants, seed %d\n", len(all), total, seed)
	if list {
		for _, m := range all {
			fmt.Println(m)
		}
		return nil
	}
	work, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	t.work = work
	tally := make(map[string]*[outcomes]int)
	for i, m := range all {
		began := time.Now()
		o, err := t.meet(ctx, m)
		if err != nil {
			return err
		}
		if tally[m.pkg] == nil {
			tally[m.pkg] = new([outcomes]int)
		}
		tally[m.pkg][o]++
		fmt.Printf("%4d %-8s %5.1fs %s\n", i+1, o, time.Since(began).Seconds(), m)
	}
	report(tally)
	return nil
}

func report(tally map[string]*[outcomes]int) {
	fmt.Printf("\n%-24s %8s %8s %8s %8s\n", "package", "killed", "survived", "invalid", "share")
	var sum [outcomes]int
	line := func(name string, n [outcomes]int) {
		share := "-"
		if met := n[killed] + n[survived]; met > 0 {
			share = fmt.Sprintf("%.1f%%", 100*float64(n[killed])/float64(met))
		}
		fmt.Printf("%-24s %8d %8d %8d %8s\n", name, n[killed], n[survived], n[invalid], share)
	}
	names := []string{}
	for name, n := range tally {
		names = append(names, name)
		for i, k := range n {
			sum[i] += k
		}
	}
	slices.Sort(names)
	for _, name := range names {
		line(name, *tally[name])
	}
	line("all", sum)
}

// An outcome is what became of a mutant.
type outcome int

const (
	killed outcome = iota
	survived
	invalid // does not compile, or is the same program
	outcomes
)

func (o outcome) String() string { return [...]string{"killed", "SURVIVED", "invalid"}[o] }

// withParents are a package and those in whose directories it is.
func withParents(pkg string) []string {
	out := []string{pkg}
	for dir := filepath.Dir(pkg); dir != "." && dir != "/"; dir = filepath.Dir(dir) {
		if files, _ := filepath.Glob(filepath.Join(dir, "*_test.go")); len(files) > 0 {
			out = append(out, dir)
		}
	}
	return out
}

// tests run what a mutant has to meet.
type tests struct {
	work  string // a directory of its own
	limit time.Duration
	also  []string
}

func (t tests) meet(ctx context.Context, m mutant) (outcome, error) {
	file := filepath.Join(t.work, "mutant.go")
	if err := os.WriteFile(file, m.source, 0o644); err != nil {
		return 0, err
	}
	path, err := filepath.Abs(m.file)
	if err != nil {
		return 0, err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: file}})
	if err != nil {
		return 0, err
	}
	over := filepath.Join(t.work, "overlay.json")
	if err := os.WriteFile(over, overlay, 0o644); err != nil {
		return 0, err
	}
	for i, pkg := range append(withParents(m.pkg), t.also...) {
		binary := filepath.Join(t.work, "test")
		os.Remove(binary)
		if err := command(ctx, "", "go", "test", "-c", "-vet=off", "-overlay", over, "-o", binary, "./"+filepath.Clean(pkg)).Run(); err != nil {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			if i == 0 {
				return invalid, nil
			}
			return killed, nil
		}
		if _, err := os.Stat(binary); err != nil {
			continue // no tests
		}
		bounded, cancel := context.WithTimeout(ctx, t.limit)
		err := command(bounded, pkg, binary, "-test.short", "-test.failfast", "-test.cpu=1").Run()
		cancel()
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil {
			return killed, nil
		}
	}
	return survived, nil
}

func command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	return cmd
}
