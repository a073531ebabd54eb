//go:build linux

// Command live-edge compares edges at the live edge, on one machine, in one run:
// many viewers want each segment as soon as it is published. It prints two
// tables in Markdown: how long after its publication the segment is complete at
// the viewers, and what holding many requests takes.
//
//	cd bench && go run ./live-edge
//	go run ./live-edge -short                  a smoke run, 30 s, that says nothing of speed
//	go run ./live-edge -only headwater,varnish -viewers 5000 -rounds 5
//
// All contenders get the same viewers: each wants the next segment at a moment
// of its own within the second before publication, and from then on waits for
// the answer, or asks again after each 404 where the contender's origin does
// not hold requests. Contenders take turns, each begins with an empty cache and
// a segment that is not counted, and the figures are medians over the rounds.
// Origin, viewers and contender share the machine: the viewers are one thread
// without a goroutine each, and their cost, the same for all, is in the figures.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"headwater/deploy"
	"headwater/live"
)

type flags struct {
	viewers, held, rounds, segments int
	size, heldSize                  int
	segment                         time.Duration
	only, binary                    string
	short                           bool
}

func main() {
	var f flags
	flag.IntVar(&f.viewers, "viewers", 2000, "viewers")
	flag.IntVar(&f.held, "held", 10000, "requests held on one segment, for the second table; 0 leaves it out")
	flag.IntVar(&f.rounds, "rounds", 5, "rounds of each contender")
	flag.IntVar(&f.segments, "segments", 4, "segments that are counted in a round")
	flag.IntVar(&f.size, "size", 100_000, "bytes of a segment")
	flag.IntVar(&f.heldSize, "held-size", 10_000, "bytes of the segment that requests are held on")
	flag.DurationVar(&f.segment, "segment", 2*time.Second, "duration of a segment")
	flag.StringVar(&f.only, "only", "", "contenders, with commas (default all): "+strings.Join(names(), ", "))
	flag.StringVar(&f.binary, "headwater", "", "headwater binary (default: built from this tree)")
	flag.BoolVar(&f.short, "short", false, "few viewers and one round, to see that it works")
	serve := flag.String("serve", "", "be the net/http contender at this address")
	parent := flag.String("parent", "", "what it fills from")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	raiseFiles()
	var err error
	if *serve != "" {
		err = serveNetHTTP(ctx, *serve, *parent)
	} else {
		err = compare(ctx, os.Stdout, f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "live-edge:", err)
		os.Exit(1)
	}
}

func names() []string {
	var out []string
	for _, c := range contenders("", "") {
		out = append(out, c.name)
	}
	return out
}

func compare(ctx context.Context, out io.Writer, f flags) error {
	if f.short {
		f.viewers, f.held, f.rounds, f.segments, f.segment = min(f.viewers, 100), min(f.held, 200), 1, 1, time.Second
	}
	dir, err := os.MkdirTemp("", "live-edge-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if f.binary == "" {
		f.binary = filepath.Join(dir, "headwater")
		if err := build(ctx, f.binary); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	chosen := contenders(f.binary, self)
	if f.only != "" {
		chosen = slices.DeleteFunc(chosen, func(c contender) bool { return !slices.Contains(strings.Split(f.only, ","), c.name) })
	}
	if len(chosen) == 0 || f.viewers < 1 || f.rounds < 1 || f.segments < 1 {
		return fmt.Errorf("-only, -viewers, -rounds or -segments leaves nothing to do; contenders are %s", strings.Join(names(), ", "))
	}
	pub, err := newPublisher(ctx, f.segment, f.size)
	if err != nil {
		return err
	}
	defer pub.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pub.tasks.Go(func() {
		if err := pub.run(ctx); err != nil {
			cancel(err)
		}
	})
	b := &bench{flags: f, pub: pub, dir: dir}

	results := make([][]result, len(chosen))
	for round := range f.rounds {
		for i := range chosen {
			// Another order each round: nobody always comes after the same one.
			c := (i + round) % len(chosen)
			r, err := b.watch(ctx, chosen[c])
			if err != nil {
				return fmt.Errorf("%s: %w", chosen[c].name, cause(ctx, err))
			}
			results[c] = append(results[c], r)
			fmt.Fprintf(os.Stderr, "round %d of %d: %s: p99 %v, %s\n", round+1, f.rounds, chosen[c].name, r.p99.Round(time.Millisecond/10), r.notes())
		}
	}
	fmt.Fprintf(out, "%s\n\n", b.header(ctx))
	fmt.Fprintf(out, "%d viewers, segments of %d kB every %v, publication to last byte, %d rounds of %d segments:\n\n", f.viewers, f.size/1000, f.segment, f.rounds, f.segments)
	printDelays(out, chosen, results)
	if f.held == 0 {
		return nil
	}
	chosen = slices.DeleteFunc(chosen, func(c contender) bool { return c.poll > 0 })
	if len(chosen) == 0 {
		return nil
	}
	heldResults := make([][]result, len(chosen))
	for round := range min(f.rounds, 3) {
		for i := range chosen {
			c := (i + round) % len(chosen)
			r, err := b.hold(ctx, chosen[c])
			if err != nil {
				return fmt.Errorf("%s: %w", chosen[c].name, cause(ctx, err))
			}
			heldResults[c] = append(heldResults[c], r)
			fmt.Fprintf(os.Stderr, "held, round %d: %s: %.1f kB each, p99 %v, %s\n", round+1, chosen[c].name, float64(r.memory)/1e3, r.p99.Round(time.Millisecond), r.notes())
		}
	}
	fmt.Fprintf(out, "\n%d requests held on one segment of %d kB, memory of the edge's processes above idle, %d rounds:\n\n", f.held, f.heldSize/1000, len(heldResults[0]))
	printHeld(out, chosen, heldResults)
	return nil
}

func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// build makes the binary from the tree that this module is in.
func build(ctx context.Context, to string) error {
	where, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "headwater").Output()
	if err != nil {
		return fmt.Errorf("run it in bench/: go list: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", to, "./cmd/headwater")
	cmd.Dir = strings.TrimSpace(string(where))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	return nil
}

type bench struct {
	flags
	pub  *publisher
	dir  string
	runs int
}

// header says what was run where.
func (b *bench) header(ctx context.Context) string {
	s := fmt.Sprintf("`go run ./live-edge -viewers %d -rounds %d -held %d`, %s, %d cores, %s", b.viewers, b.rounds, b.flags.held, runtime.Version(), runtime.NumCPU(), kernel())
	for _, v := range []struct{ program, flag string }{{"nginx", "-v"}, {"varnishd", "-V"}} {
		if text, err := deploy.Version(ctx, v.program, v.flag); err == nil {
			s += ", " + strings.TrimPrefix(text, "nginx version: ")
		}
	}
	return s
}

func kernel() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return "Linux " + strings.TrimSpace(string(b))
}

// start starts a contender in a directory of its own.
func (b *bench) start(ctx context.Context, c contender) (program, netip.AddrPort, error) {
	b.runs++
	dir := filepath.Join(b.dir, fmt.Sprint(b.runs))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return program{}, netip.AddrPort{}, err
	}
	parent := b.pub.headwater
	if c.poll > 0 {
		parent = b.pub.plain
	}
	p, err := c.start(ctx, dir, parent)
	if err != nil {
		return program{}, netip.AddrPort{}, err
	}
	addr, err := netip.ParseAddrPort(p.addr)
	return p, addr, err
}

// watch is one round: a segment that is not counted, and those that are.
func (b *bench) watch(ctx context.Context, c contender) (result, error) {
	p, addr, err := b.start(ctx, c)
	if err != nil {
		return result{}, err
	}
	defer p.close()
	tl := b.pub.timeline(onTheHour)
	rng := rand.New(rand.NewPCG(1, 2))
	early := make([]time.Duration, b.viewers)
	for i := range early {
		early[i] = time.Duration(rng.Int64N(int64(time.Second)))
	}
	// Connecting takes a moment; the first segment is one that none has to hurry for.
	cr := &crowd{addr: addr, poll: max(c.poll, 100*time.Millisecond), path: func(n live.Number) string { return path(onTheHour, n) },
		sums: func(n live.Number) [32]byte { return b.pub.sum(onTheHour, n) },
		ask:  func(i int, n live.Number) time.Time { return tl.Expected(n).Add(-before - early[i]) }}
	warm := tl.At(time.Now().Add(time.Second+b.segment/2)) + 1
	cr.first, cr.last = warm, warm
	cr.until = tl.Expected(warm).Add(10 * time.Second)
	if err := cr.connect(b.viewers); err != nil {
		return result{}, err
	}
	defer cr.close()
	if _, err := cr.run(ctx); err != nil {
		return result{}, err
	}
	// Whoever was slow must not hurry for the first one that counts.
	first := max(warm+1, tl.At(time.Now().Add(time.Second))+1)
	cr.again(first, first+live.Number(b.segments)-1)
	cr.until = tl.Expected(cr.last).Add(15 * time.Second)
	before := cpu(p.pid)
	t, err := cr.run(ctx)
	if err != nil {
		return result{}, err
	}
	r := resultOf(t)
	r.cpu = (cpu(p.pid) - before) / time.Duration(b.segments)
	r.gets = float64(b.pub.asked(onTheHour, cr.first, cr.last)) / float64(b.segments)
	r.refused = float64(t.statuses[404]) / float64(b.segments*b.viewers)
	return r, nil
}

// hold is one round of the second table.
func (b *bench) hold(ctx context.Context, c contender) (result, error) {
	p, addr, err := b.start(ctx, c)
	if err != nil {
		return result{}, err
	}
	defer p.close()
	tl := b.pub.timeline(held)
	// Warm: one segment, of which all is the same but the crowd.
	n := tl.At(time.Now()) + 1
	data := b.pub.make(&tl, n, b.heldSize)
	if err := b.pub.put(ctx, held, n, data); err != nil {
		return result{}, err
	}
	one := func(n live.Number, count int, ready func()) *crowd {
		at := time.Now()
		return &crowd{addr: addr, poll: 100 * time.Millisecond, first: n, last: n, until: at.Add(heldFor), held: ready,
			path: func(n live.Number) string { return path(held, n) },
			sums: func(n live.Number) [32]byte { return b.pub.sum(held, n) },
			ask:  func(i int, _ live.Number) time.Time { return at.Add(time.Duration(i) * 400 * time.Microsecond) }}
	}
	w := one(n, 10, nil)
	if err := w.connect(10); err != nil {
		return result{}, err
	}
	_, err = w.run(ctx)
	w.close()
	if err != nil {
		return result{}, err
	}
	if !sleep(ctx, time.Second/2) {
		return result{}, ctx.Err()
	}
	idle := resident(p.pid)

	// Nobody has asked for the next but ten.
	n += live.Number(10*time.Second/b.segment) + 1
	data = b.pub.make(&tl, n, b.heldSize)
	var memory int64
	published := make(chan error, 1)
	cr := one(n, b.flags.held, func() {
		// All have asked: when the edge has had a moment to take it in, publish.
		sleep(ctx, 2*time.Second)
		memory = resident(p.pid)
		published <- b.pub.put(ctx, held, n, data)
	})
	if err := cr.connect(b.flags.held); err != nil {
		return result{}, err
	}
	defer cr.close()
	t, err := cr.run(ctx)
	if err != nil {
		return result{}, err
	}
	if err := <-published; err != nil {
		return result{}, err
	}
	r := resultOf(t)
	r.memory = float64(memory-idle) / float64(b.flags.held)
	r.gets = float64(b.pub.asked(held, n, n))
	return r, nil
}
