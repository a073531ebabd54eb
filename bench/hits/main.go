//go:build linux

// Command hits measures how fast caches answer what they have: nginx, Varnish,
// HAProxy, a bare loop and headwater edge in turn, on the same work. It is made of
// parts, each of which can be measured by itself; what was measured is kept in a
// file, and tables and plots of docs/benchmarks.md are written from that.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"headwater/live"
)

// A size is what is asked for.
type size struct {
	name  string // of the rendition
	label string
	bytes int // of a segment
}

var sizes = []size{{"r1", "1 KB", 1 << 10}, {"r10", "10 KB", 10 << 10}, {"r96", "96 KB", 96 << 10}, {"r1536", "1.5 MB", 3 << 19}}

type proto string

const (
	plain proto = "HTTP/1.1"
	tls1  proto = "HTTP/1.1 over TLS 1.3"
	h2    proto = "HTTP/2 over TLS 1.3"
)

// streams are at once on each connection of HTTP/2.
const streams = 4

// A part is measured at once, by caches that are started for it.
type part struct {
	name, title string
	proto       proto
	conns, set  int
	cores       string // of the caches
	refusals    bool
}

// parts are all there are. With two cores the client is on the same two, so rates say
// little there, and answers per second of CPU all.
func parts(server, client string) []part {
	return []part{
		{"plain", "HTTP/1.1, 64 connections", plain, 64, 1, server, false},
		{"tls", "HTTP/1.1 over TLS 1.3, 64 connections", tls1, 64, 1, server, false},
		{"h2", "HTTP/2 over TLS 1.3, 16 connections of 4 streams", h2, 64, 1, server, false},
		{"refusals", "Refusals by HTTP/1.1, 64 connections", plain, 64, 1, server, true},
		{"crowd", "HTTP/1.1, 2,000 connections", plain, 2000, 1, server, false},
		{"crowd-tls", "HTTP/1.1 over TLS 1.3, 2,000 connections", tls1, 2000, 1, server, false},
		{"set", "HTTP/1.1, 64 connections, 500 segments in turn", plain, 64, 500, server, false},
		{"cores", "HTTP/1.1, 64 connections, caches on two cores, and the client on the same", plain, 64, 1, server + "," + client, false},
	}
}

// A row is one line of a part's table, for all caches.
type row struct {
	label string
	bytes int // 0: a refusal
	paths []string
	conns int
}

type options struct {
	rounds    int
	length    time.Duration
	server    string
	client    string
	only      string
	sizes     string
	without   string
	docs      string
	headwater string
	short     bool
}

func main() {
	log.SetFlags(0)
	if len(os.Args) == 3 && os.Args[1] == bareName {
		bare(os.Args[2])
		return
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "times that each is measured, in turn")
	flag.DurationVar(&o.length, "for", 1500*time.Millisecond, "each time")
	flag.StringVar(&o.server, "server", "0", "core of the caches")
	flag.StringVar(&o.client, "client", "1", "core of the client")
	flag.StringVar(&o.only, "only", "", "names of parts, with commas: plain, tls, h2, refusals, crowd, crowd-tls, set, cores; default all")
	flag.StringVar(&o.sizes, "sizes", "", `labels of rows, with commas, e.g. "1 KB,404 early"; default all`)
	flag.StringVar(&o.without, "without", "", "names of caches left out, with commas")
	flag.StringVar(&o.docs, "docs", "", "directory of benchmarks.md to write tables and plots into, and to keep what was measured; default none")
	flag.StringVar(&o.headwater, "headwater", "", "headwater program; default is built")
	flag.BoolVar(&o.short, "short", false, "one round of 0.2 s, to see that it works")
	flag.Parse()
	if o.short {
		o.rounds, o.length = 1, 200*time.Millisecond
	}
	if err := pin(o.client); err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
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

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "hits-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := certify(filepath.Join(dir, "cert.pem")); err != nil {
		return err
	}
	origin, err := startOrigin()
	if err != nil {
		return err
	}
	defer origin.close()
	for _, p := range parts(o.server, o.client) {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), p.name) {
			continue
		}
		m, err := measure(ctx, o, p, dir, origin)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Print(m.table())
		if o.docs != "" {
			if err := publish(o.docs, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure measures one part.
func measure(ctx context.Context, o options, p part, dir string, origin *origin) (*measured, error) {
	all, err := startAll(o, p, dir, origin)
	for _, c := range all {
		defer c.close()
	}
	if err != nil {
		return nil, err
	}
	m := &measured{Part: p.name, Title: p.title, Rounds: o.rounds, Length: o.length}
	m.When = time.Now().UTC().Format(time.DateOnly)
	for _, c := range all {
		m.Caches = append(m.Caches, c.label)
	}
	rows := plan(o, p, origin)
	for _, r := range rows {
		m.Rows = append(m.Rows, line{Label: r.label, Bytes: r.bytes, Results: map[string][]result{}})
	}
	for round := range o.rounds + 1 { // the first fills the caches
		length := o.length
		if round == 0 {
			length = min(o.length, 500*time.Millisecond)
		}
		for i, r := range rows {
			for _, c := range all {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				if !c.can(p, r) {
					continue
				}
				before := origin.gets.Load()
				res, err := c.ask(p, r, length)
				if errors.Is(err, errSilent) {
					log.Printf("%s, %s: %v", c.name, r.label, err)
					continue
				}
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", c.name, r.label, err)
				}
				if round == 0 {
					continue
				}
				if n := origin.gets.Load() - before; n > 2 {
					return nil, fmt.Errorf("%s, %s: the origin was asked %d times", c.name, r.label, n)
				}
				m.Rows[i].Results[c.label] = append(m.Rows[i].Results[c.label], res)
				log.Printf("%s: %-9s %-16s %-10s %8.0f requests/s  %8.0f per CPU s  p50 %v  p99 %v", time.Now().Format("15:04:05"), p.name, r.label, c.name, res.rate(), res.perCPU(), res.P50, res.P99)
			}
		}
	}
	return m, nil
}

// plan is what to measure.
func plan(o options, p part, origin *origin) (rows []*row) {
	add := func(label string, bytes int, paths ...string) {
		if o.sizes == "" || slices.Contains(strings.Split(o.sizes, ","), label) {
			rows = append(rows, &row{label, bytes, paths, p.conns})
		}
	}
	if p.refusals {
		add("404 early", 0, origin.path("r1", 1_000_000))
		add("404 no name", 0, live.Path{Event: origin.event, File: live.FileSegment, Rendition: "nothing", Number: origin.first}.String())
		add("404 no event", 0, live.Path{Event: live.EventID{Tenant: origin.event.Tenant, Name: "nothing"}, Rendition: "r1", Number: origin.first}.String())
		add("404 encoded", 0, "/"+origin.event.String()+"/r1/%31.m4s")
		return rows
	}
	for _, s := range sizes {
		var paths []string
		for i := range p.set {
			paths = append(paths, origin.path(s.name, i))
		}
		add(s.label, s.bytes, paths...)
	}
	return rows
}
