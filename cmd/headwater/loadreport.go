package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"headwater/viewer"
)

// A loadProgress shows how a load goes: one line that overwrites itself on a
// terminal every second; elsewhere a line every five seconds, or every second while
// viewers have no picture. Where something goes wrong a line comes at once.
type loadProgress struct {
	w        io.Writer
	terminal bool
	last     viewer.Report // that a line was written of
	shown    bool
}

// progressEvery is how often show is called: what goes wrong is said within it.
const progressEvery = 250 * time.Millisecond

func (p *loadProgress) show(r *viewer.Report) {
	news := p.news(r)
	every := 5 * time.Second
	switch {
	case len(news) > 0 || !p.shown:
		every = 0
	case p.terminal || r.Dark > 0:
		every = time.Second
	}
	const slack = progressEvery / 2
	if r.ElapsedMS < p.last.ElapsedMS+(every-slack).Milliseconds() {
		return
	}
	p.last, p.shown = *r, true
	if r.Dark > 0 {
		news = append(news, fmt.Sprintf("%d viewers without a picture", r.Dark))
	}
	line := progressLine(r)
	if len(news) > 0 {
		line += "  NOW " + strings.Join(news, ", ")
	}
	if p.terminal {
		fmt.Fprintf(p.w, "\r%s\x1b[K", line)
	} else {
		fmt.Fprintln(p.w, line)
	}
}

// news is what went wrong since the line before.
func (p *loadProgress) news(r *viewer.Report) (out []string) {
	more := func(now, before int64, what string) {
		if now > before {
			out = append(out, fmt.Sprintf("%d %s", now-before, what))
		}
	}
	more(r.Gaps, p.last.Gaps, "gaps")
	more(r.Refusals, p.last.Refusals, "refusals")
	more(r.DefectiveServed, p.last.DefectiveServed, "defects")
	more(r.Stalls, p.last.Stalls, "stalls")
	more(countErrors(r), countErrors(&p.last), "errors")
	return out
}

func countErrors(r *viewer.Report) (n int64) {
	for _, e := range r.Errors {
		n += e.Count
	}
	return n
}

func progressLine(r *viewer.Report) string {
	return fmt.Sprintf("%4.0f s  %d watching, %d without a picture  %d segments%s  %d gaps  %d refusals  %d defects  %d stalls  %d errors  %d switches  %d held  publish to viewer p99 %.0f ms",
		float64(r.ElapsedMS)/1000, r.Watching, r.Dark, r.Segments, byPipeline(r), r.Gaps, r.Refusals, r.DefectiveServed, r.Stalls, countErrors(r), switches(r), r.Waiting, r.PublishToViewer.P99)
}

// switches is how often the pipeline changed from one segment to the next, in all
// renditions.
func switches(r *viewer.Report) (n int64) {
	for _, x := range r.Renditions {
		n += x.Switches
	}
	return n
}

// byPipeline is " (a 12, b 3)", or nothing.
func byPipeline(r *viewer.Report) string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(r.ServedBy)) {
		out = append(out, fmt.Sprintf("%s %d", p, r.ServedBy[p]))
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}

func printReport(w io.Writer, r *viewer.Report) {
	fmt.Fprintf(w, "%d viewers, %d segments, %.1f MB\n", r.Viewers, r.Segments, float64(r.Bytes)/1e6)
	fmt.Fprintf(w, "publish to viewer  %.1f ms p50, %.1f p99, %.1f max\n", r.PublishToViewer.P50, r.PublishToViewer.P99, r.PublishToViewer.Max)
	if len(r.SlowestSegments) > 0 {
		x := r.SlowestSegments[0]
		fmt.Fprintf(w, "slowest segment    %s/%d: %.1f ms p50, %.1f p99, %.1f max\n", x.Rendition, x.Number, x.P50, x.P99, x.Max)
	}
	fmt.Fprintf(w, "held               %.0f ms p50, %.0f p99\n", r.Hold.P50, r.Hold.P99)
	fmt.Fprintf(w, "gaps               %d, refusals %d, defects %d\n", r.Gaps, r.Refusals, r.DefectiveServed)
	fmt.Fprintf(w, "stalls             %d (%.0f ms), reconnects %d\n\n", r.Stalls, r.StallMS, r.Reconnects)
	printRenditions(w, r)
	printStatuses(w, r)
	for _, e := range r.Errors {
		fmt.Fprintf(w, "error              %s: %s (%s)\n", count(int(e.Count), "time"), e.Error, e.First)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note               %s\n", n)
	}
}

// printRenditions is the table of who served what.
func printRenditions(w io.Writer, r *viewer.Report) {
	pipelines := slices.Sorted(maps.Keys(r.ServedBy))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "rendition\tsegments\t")
	for _, p := range pipelines {
		fmt.Fprintf(t, "by %s\t", p)
	}
	fmt.Fprint(t, "switches\tdefects\tlost\trefusals\tversions\torigin GETs each\t\n")
	for _, name := range slices.Sorted(maps.Keys(r.Renditions)) {
		x := r.Renditions[name]
		fmt.Fprintf(t, "%s\t%d\t", name, x.Segments)
		for _, p := range pipelines {
			fmt.Fprintf(t, "%d\t", x.ServedBy[p])
		}
		gets := "-"
		if g, ok := r.OriginGetsPerSegment[name]; ok {
			gets = fmt.Sprintf("%.3g", g)
		}
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%s\t\n", x.Switches, x.Defective, x.Lost, x.Refusals, x.Versions, gets)
	}
	t.Flush()
	fmt.Fprintln(w)
}

// printStatuses is the table of answers; what was refused by its problem.
func printStatuses(w io.Writer, r *viewer.Report) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "status\tanswers")
	for _, code := range slices.Sorted(maps.Keys(r.Statuses)) {
		if code < "400" {
			fmt.Fprintf(t, "%s\t%d\n", code, r.Statuses[code])
		}
	}
	for _, problem := range slices.Sorted(maps.Keys(r.Problems)) {
		fmt.Fprintf(t, "%s\t%d\n", problem, r.Problems[problem])
	}
	t.Flush()
}

// An incidentLog is a file of JSON lines, written by a goroutine of its own, so
// that no viewer waits for a disk. A line is in the file as soon as there is
// nothing more to write.
type incidentLog struct {
	lines chan viewer.Incident
	done  chan error
}

func newIncidentLog(file *os.File) *incidentLog {
	l := &incidentLog{lines: make(chan viewer.Incident, 4096), done: make(chan error, 1)}
	go func() { l.done <- errors.Join(l.run(file), file.Close()) }()
	return l
}

func (l *incidentLog) write(x viewer.Incident) { l.lines <- x }

func (l *incidentLog) run(file io.Writer) error {
	buf := bufio.NewWriterSize(file, 64<<10)
	enc := json.NewEncoder(buf)
	var first error
	for x := range l.lines { // to the end: viewers must not wait
		err := enc.Encode(x)
		if len(l.lines) == 0 && err == nil {
			err = buf.Flush()
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = buf.Flush()
	}
	return first
}

// close is called when no viewer is left.
func (l *incidentLog) close() error {
	close(l.lines)
	return <-l.done
}
