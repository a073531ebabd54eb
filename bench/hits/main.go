//go:build linux

// Command hits measures how fast caches answer what they have: nginx, Varnish and
// headwater edge in turn, on the same work, each on a core of its own with the
// client on another. It writes the tables and plots of docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A size is what is asked for.
type size struct {
	name  string // of the rendition
	label string
	bytes int // of a segment
}

var sizes = []size{{"r1", "1 KB", 1 << 10}, {"r10", "10 KB", 10 << 10}, {"r96", "96 KB", 96 << 10}, {"r1536", "1.5 MB", 3 << 19}}

// A row is one line of the table, before it is measured.
type row struct {
	label   string
	bytes   int
	paths   func(*contender) []string
	conns   int
	results map[string][]result // by contender
}

type options struct {
	rounds  int
	length  time.Duration
	conns   int
	set     int
	server  string
	client  string
	only    string
	docs    string
	without string
	profile string
}

func main() {
	log.SetFlags(0)
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "times that each is measured, in turn")
	flag.DurationVar(&o.length, "for", 2*time.Second, "each time")
	flag.IntVar(&o.conns, "conns", 64, "connections")
	flag.IntVar(&o.set, "set", 1, "different segments asked for, at most 500")
	flag.StringVar(&o.server, "server", "0", "core of the caches")
	flag.StringVar(&o.client, "client", "1", "core of the client")
	flag.StringVar(&o.only, "only", "", "names of rows, with commas; default all")
	flag.StringVar(&o.without, "without", "", "names of caches left out, with commas")
	flag.StringVar(&o.docs, "docs", "", "directory of benchmarks.md to write tables and plots into; default none")
	flag.StringVar(&o.profile, "headwater", "", "headwater program; default is built")
	flag.Parse()
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
	if os.Getenv("HITS_PINNED") != "" {
		return nil
	}
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		return fmt.Errorf("taskset (util-linux): %w", err)
	}
	return syscall.Exec(taskset, append([]string{taskset, "-c", core}, os.Args...), append(os.Environ(), "HITS_PINNED=1"))
}

func measure(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "hits-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	origin, err := startOrigin()
	if err != nil {
		return err
	}
	defer origin.close()
	all, err := startAll(o, dir, origin)
	for _, c := range all {
		defer c.close()
	}
	if err != nil {
		return err
	}
	rows := plan(o, origin)
	for round := range o.rounds + 1 { // the first fills the caches
		length := o.length
		if round == 0 {
			length = 200 * time.Millisecond
		}
		for _, r := range rows {
			for _, c := range all {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				res, err := c.ask(r.paths(c), r.conns, length)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", c.name, r.label, err)
				}
				if round > 0 {
					r.results[c.name] = append(r.results[c.name], res)
					log.Printf("%s: %-16s %-10s %8.0f requests/s  p50 %v  p99 %v", time.Now().Format("15:04:05"), r.label, c.name, res.rate(), res.p50, res.p99)
				}
			}
		}
	}
	text := table(rows, all, o)
	fmt.Print(text)
	if o.docs != "" {
		return errors.Join(insert(filepath.Join(o.docs, "benchmarks.md"), text), plot(filepath.Join(o.docs, "plots"), rows, all))
	}
	return nil
}

// plan is what to measure.
func plan(o options, origin *origin) (rows []*row) {
	add := func(label string, bytes int, paths func(*contender) []string) {
		if o.only == "" || slices.Contains(strings.Split(o.only, ","), label) {
			rows = append(rows, &row{label, bytes, paths, o.conns, map[string][]result{}})
		}
	}
	for _, s := range sizes {
		add(s.label, s.bytes, func(*contender) []string {
			var paths []string
			for i := range o.set {
				paths = append(paths, origin.path(s.name, i))
			}
			return paths
		})
	}
	refusal := func(path string) func(*contender) []string {
		return func(c *contender) []string {
			if c.refuses != "" {
				return []string{c.refuses}
			}
			return []string{path}
		}
	}
	add("404 early", 0, refusal(origin.path("r1", 1_000_000)))
	add("404 no name", 0, refusal(strings.Replace(origin.path("r1", 0), "r1", "nothing", 1)))
	return rows
}

// median of a figure over the rounds.
func median[T int64 | float64 | time.Duration](list []result, f func(result) T) T {
	if len(list) == 0 {
		return 0
	}
	v := make([]T, 0, len(list))
	for _, r := range list {
		v = append(v, f(r))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func rate(list []result) float64 { return median(list, result.rate) }

const reference = "nginx"

// beside is a figure over that of the reference in the same round: the median.
func beside(list, of []result, f func(result) float64) float64 {
	var v []float64
	for i := range min(len(list), len(of)) {
		v = append(v, f(list[i])/f(of[i]))
	}
	slices.Sort(v)
	if len(v) == 0 {
		return 0
	}
	return v[len(v)/2]
}

// table is what goes into the document.
func table(rows []*row, all []*contender, o options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "`cd bench && go run ./hits`: %d connections, %d of one segment's size, one core for the cache, one for the client;\nmedians of %d rounds of %v in turn. Of both rates the second figure is beside nginx in the same round.\nThe client has a core too: where caches are quick it is the limit, and answers per second of the cache's CPU tell more.\n\n", o.conns, o.set, o.rounds, o.length)
	b.WriteString("| answer | cache | answers/s | | answers per CPU s | | GB/s | CPU s per GB | p50 ms | p99 ms |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, r := range rows {
		for _, c := range all {
			list := r.results[c.name]
			if len(list) == 0 {
				continue
			}
			perGB := "-"
			if r.bytes > 0 {
				perGB = fmt.Sprintf("%.2f", median(list, result.cpuPerGB))
			}
			ms := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds()*1000, 'f', 2, 64) }
			of := r.results[reference]
			fmt.Fprintf(&b, "| %s | %s | %.0f | %.2fx | %.0f | %.2fx | %.2f | %s | %s | %s |\n", r.label, c.label, rate(list), beside(list, of, result.rate),
				median(list, result.perCPU), beside(list, of, result.perCPU), median(list, result.gigabytes), perGB,
				ms(median(list, func(r result) time.Duration { return r.p50 })), ms(median(list, func(r result) time.Duration { return r.p99 })))
		}
	}
	return b.String()
}

// Marks in the document, between which the table goes.
const (
	from = "<!-- hits: written by bench/hits -->\n"
	upTo = "<!-- end of hits -->\n"
)

func insert(name, text string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), from)
	_, after, ok2 := strings.Cut(rest, upTo)
	if !ok || !ok2 {
		return fmt.Errorf("%s: there is no %q", name, from)
	}
	return os.WriteFile(name, []byte(before+from+"\n"+text+"\n![Answers per second of CPU beside nginx](plots/hits.svg)\n\n"+upTo+after), 0o644)
}

// plot draws answers per second of CPU beside nginx, a group of bars for each row.
func plot(dir string, rows []*row, all []*contender) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "hits.svg"))
	if err != nil {
		return err
	}
	draw(f, rows, all)
	return f.Close()
}

func draw(w io.Writer, rows []*row, all []*contender) {
	const wide, high, left, foot = 96, 240, 40, 60
	colours := []string{"#8a8f98", "#c4a35a", "#2a6fdb"}
	most := 1.0
	for _, r := range rows {
		for _, c := range all {
			most = max(most, beside(r.results[c.name], r.results[reference], result.perCPU))
		}
	}
	width := left + wide*len(rows) + 20
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, high+foot)
	fmt.Fprintf(w, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, high+foot)
	y := func(v float64) float64 { return high - v/most*(high-30) }
	for v := 0.0; v <= most; v++ {
		fmt.Fprintf(w, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#444">%.0fx</text>`+"\n", left, width-10, y(v), y(v), left-6, y(v)+4, v)
	}
	for i, r := range rows {
		x := float64(left + i*wide + 10)
		bar := float64(wide-20) / float64(len(all))
		for j, c := range all {
			v := beside(r.results[c.name], r.results[reference], result.perCPU)
			fmt.Fprintf(w, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/><text x="%.1f" y="%.1f" text-anchor="middle" font-size="10" fill="#222">%.1f</text>`+"\n",
				x+bar*float64(j), y(v), bar-2, high-y(v), colours[j%len(colours)], x+bar*float64(j)+bar/2-1, y(v)-3, v)
		}
		fmt.Fprintf(w, `<text x="%.1f" y="%d" text-anchor="middle" fill="#222">%s</text>`+"\n", x+float64(wide-20)/2, high+16, r.label)
	}
	for j, c := range all {
		fmt.Fprintf(w, `<rect x="%d" y="%d" width="10" height="10" fill="%s"/><text x="%d" y="%d" fill="#222">%s</text>`+"\n", left+j*140, high+32, colours[j%len(colours)], left+j*140+15, high+41, strings.Trim(c.label, "*`"))
	}
	fmt.Fprintln(w, `</svg>`)
}
