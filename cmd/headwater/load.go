package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"headwater/live"
	"headwater/viewer"
)

var loadCommand = &command{
	name: "load", summary: "watch an event with many viewers, and measure",
	usage: "--edge URL --event TENANT/EVENT [flags]",
	about: `
Viewers that follow the event's timeline as players do, verify digests, and
report what they saw. Exits 1 if a viewer met an error.`,
}

func init() { loadCommand.run = runLoad }

type loadFlags struct {
	edges      []string
	event      string
	viewers    int
	length     time.Duration
	mix        string
	early      time.Duration
	poll       time.Duration
	verify     float64
	renditions []string
	asJSON     bool
}

func (f *loadFlags) register(o *options) {
	o.List(&f.edges, "edge", "base `URL` of an edge")
	o.String(&f.event, "event", "", "`TENANT/EVENT` to watch")
	o.Int(&f.viewers, "viewers", 100, "`NUMBER` of viewers at a time")
	o.Duration(&f.length, "for", 30*time.Second, "`TIME` to watch")
	o.String(&f.mix, "mix", "steady=1", "`MIX` of behaviours: steady, join, dvr, seek, poll, leave, each with its share")
	o.Duration(&f.early, "early", time.Second, "`TIME` before a segment is expected at which viewers ask for it")
	o.Duration(&f.poll, "poll", 0, "`TIME` between the retries of polling viewers; 0 honours the refusal's lifetime")
	o.Float(&f.verify, "verify", 0, "`SHARE` of segments whose digest is verified, 0 to 1; 0 is all for up to 500 viewers, then fewer")
	o.List(&f.renditions, "rendition", "`NAME` of a rendition to watch; default all in turn")
	o.Bool(&f.asJSON, "json", "print one JSON object at the end, and nothing else on standard output")
}

func runLoad(ctx context.Context, env *environment, args []string) error {
	var f loadFlags
	o := newOptions("load")
	f.register(o)
	rest, err := o.parse(env, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usagef("%q: load takes only flags", rest[0])
	}
	if len(f.edges) == 0 {
		return usagef("--edge: give the base URL of an edge, e.g. http://127.0.0.1:8080")
	}
	id, err := live.ParseEventID(f.event)
	if err != nil {
		return usagef("--event: %w", err)
	}
	mix, err := viewer.ParseMix(f.mix)
	if err != nil {
		return usagef("--mix: %w", err)
	}
	var metrics []string
	for i, e := range f.edges {
		f.edges[i] = strings.TrimSuffix(e, "/")
		metrics = append(metrics, f.edges[i]+"/metrics")
	}
	cfg := viewer.Config{
		Edges: f.edges, Event: id, Renditions: f.renditions, Viewers: f.viewers, Mix: mix, Duration: f.length,
		Early: f.early, Poll: f.poll, Verify: f.verify,
		OriginGets: viewer.Counters(http.DefaultClient, viewer.OriginRequests, id, metrics...),
		Progress:   func(r *viewer.Report) { progress(env.stderr, r) },
	}
	if !isTerminal(env.stderr) {
		// For a log: a line every five seconds.
		cfg.ProgressEvery = 5 * time.Second
	}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	report, err := viewer.Run(ctx, cfg)
	if isTerminal(env.stderr) {
		fmt.Fprintln(env.stderr)
	}
	if err != nil {
		return err
	}
	if report.Errors == nil {
		report.Errors = []viewer.Error{}
	}
	if f.asJSON {
		b, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(env.stdout, "%s\n", b)
	} else {
		printReport(env.stdout, report)
	}
	if len(report.Errors) > 0 {
		return errQuiet
	}
	return nil
}

// progress is one line, that overwrites itself on a terminal.
func progress(w io.Writer, r *viewer.Report) {
	before, after := "", "\n"
	if isTerminal(w) {
		before, after = "\r", "\x1b[K"
	}
	fmt.Fprintf(w, "%s%4.0f s  %d watching  %d segments  %d held  %d stalls  %d errors  publish to viewer p99 %.0f ms%s",
		before, float64(r.ElapsedMS)/1000, r.Watching, r.Segments, r.Waiting, r.Stalls, len(r.Errors), r.PublishToViewer.P99, after)
}

func printReport(w io.Writer, r *viewer.Report) {
	fmt.Fprintf(w, "%d viewers, %d segments, %.1f MB\n", r.Viewers, r.Segments, float64(r.Bytes)/1e6)
	fmt.Fprintf(w, "publish to viewer  %.1f ms p50, %.1f p99, %.1f max\n", r.PublishToViewer.P50, r.PublishToViewer.P99, r.PublishToViewer.Max)
	if len(r.SlowestSegments) > 0 {
		x := r.SlowestSegments[0]
		fmt.Fprintf(w, "slowest segment    %s/%d: %.1f ms p50, %.1f p99, %.1f max\n", x.Rendition, x.Number, x.P50, x.P99, x.Max)
	}
	fmt.Fprintf(w, "held               %.0f ms p50, %.0f p99\n", r.Hold.P50, r.Hold.P99)
	fmt.Fprintf(w, "statuses           %v\nserved by          %v, %d switches, %d defective\n", r.Statuses, r.ServedBy, r.Switches, r.DefectiveServed)
	fmt.Fprintf(w, "stalls             %d (%.0f ms), gaps %d, reconnects %d\n", r.Stalls, r.StallMS, r.Gaps, r.Reconnects)
	if r.OriginGetsPerSegment != nil {
		fmt.Fprintf(w, "origin GETs        %v per segment\n", r.OriginGetsPerSegment)
	}
	for _, e := range r.Errors {
		fmt.Fprintf(w, "error              %d times: %s (%s)\n", e.Count, e.Error, e.First)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note               %s\n", n)
	}
}
