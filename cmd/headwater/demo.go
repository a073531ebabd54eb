package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"headwater/live"
	"headwater/player"
	"headwater/scenario"
	"headwater/viewer"
)

var demoCommand = &command{
	name: "demo", summary: "the whole system in one process, and a page to watch it",
	usage: "[flags]",
	about: `
Starts two redundant pipelines, an origin with a disk store, an edge and a
player's page, and watches with a few viewers of its own. Open the address it
prints. While it runs, break things: with the keys it names, or on the page.`,
}

func init() { demoCommand.run = runDemo }

const (
	defaultEdge    = "127.0.0.1:8080"
	defaultPublish = "127.0.0.1:7001"
	defaultDeliver = "127.0.0.1:7002"
	defaultControl = "127.0.0.1:7003"
)

type demoFlags struct {
	listen  string
	length  time.Duration
	asJSON  bool
	encoder string
	drill   bool
	viewers int
	logging logging
}

func (f *demoFlags) register(o *options) {
	o.String(&f.listen, "listen", "", "`ADDRESS` of the edge and the page; default "+defaultEdge+", or a free port where that is taken")
	o.Duration(&f.length, "for", 0, "`TIME` after which it stops by itself; 0 is never")
	o.Bool(&f.asJSON, "json", "print one JSON object at the end, and nothing else on standard output")
	o.String(&f.encoder, "encoder", "clip", "`ENCODER`: clip (built in) or ffmpeg (must be installed)")
	o.Bool(&f.drill, "drill", "break pipeline a half-way, and exit 1 if a viewer noticed")
	o.Int(&f.viewers, "viewers", 4, "`NUMBER` of viewers of its own")
	f.logging.flags(o)
	o.set.Lookup("log-level").DefValue = "error"
	f.logging.level = "error"
}

// A summary is what the demo prints at the end.
type summary struct {
	SecondsRun           float64            `json:"seconds"`
	Encoder              string             `json:"encoder"`
	Viewers              int                `json:"viewers"`
	SegmentsPublished    int64              `json:"segments_published"`
	SegmentsServed       int64              `json:"segments_served"`
	ServedBy             map[string]int64   `json:"served_by"`
	DefectiveServed      int64              `json:"defective_served"`
	Switches             int64              `json:"switches"` // of pipelines by renditions, once for all viewers
	OriginGetsPerSegment map[string]float64 `json:"origin_gets_per_segment"`
	Hold                 viewer.Quantiles   `json:"hold_ms"`
	PublishToViewer      viewer.Quantiles   `json:"publish_to_viewer_ms"`
	Errors               []viewer.Error     `json:"errors"`
	Stalls               int64              `json:"stalls"`
	Gaps                 int64              `json:"gaps"`
	Refusals             int64              `json:"refusals"`
	Dark                 int64              `json:"without_picture"` // viewers without a picture now
	Verified             int64              `json:"verified"`
	Drill                *drillReport       `json:"drill,omitempty"`
}

type drillReport struct {
	Did     []string `json:"did"`
	Noticed []string `json:"noticed"` // what a viewer noticed: should be nothing
}

// A demo is a running demonstration.
type demo struct {
	flags demoFlags
	env   *environment
	sys   *scenario.System
	crowd *viewer.Crowd
	began time.Time

	words   io.Writer // for a person; several goroutines speak
	watched bool      // words go to a terminal

	mu  sync.Mutex // guards the following
	did []string
}

// A turnsWriter lets one speak at a time.
type turnsWriter struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func (t *turnsWriter) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.w.Write(b)
}

func runDemo(ctx context.Context, env *environment, args []string) error {
	d := &demo{env: env, began: time.Now()}
	o := newOptions("demo")
	d.flags.register(o)
	rest, err := o.parse(env, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usagef("%q: demo takes only flags", rest[0])
	}
	if d.flags.encoder != "clip" && d.flags.encoder != "ffmpeg" {
		return usagef("--encoder: %q is not clip or ffmpeg", d.flags.encoder)
	}
	if d.flags.drill && d.flags.length <= 0 {
		return usagef("--drill: give --for as well, at least 20s: it breaks pipeline a half-way")
	}
	if d.flags.viewers < 1 {
		return usagef("--viewers: %d is less than 1", d.flags.viewers)
	}
	log, err := d.flags.logging.logger(env.stderr)
	if err != nil {
		return err
	}
	// Not to standard output when that is for JSON.
	to := env.stdout
	if d.flags.asJSON {
		to = env.stderr
	}
	d.words, d.watched = &turnsWriter{w: to}, isTerminal(to)
	return d.run(ctx, log)
}

func (d *demo) run(ctx context.Context, log *slog.Logger) (err error) {
	if d.flags.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.flags.length)
		defer cancel()
	}
	const orAnyPort = ",127.0.0.1:0"
	var faults http.Handler
	sys, err := scenario.Start(ctx, scenario.Options{
		Encoder: d.flags.encoder, Log: log,
		EdgeAddr: cmp.Or(d.flags.listen, defaultEdge+orAnyPort), PublishAddr: defaultPublish + orAnyPort, DeliverAddr: defaultDeliver + orAnyPort, ControlAddr: defaultControl + orAnyPort,
		EdgeHandler: func(edge http.Handler) http.Handler { return withPage(edge, &faults) },
		// Who kills both pipelines wants to see what viewers miss, not the picture before once more.
		Edit: func(ev *live.Event) { ev.OnLost = live.LostGap },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	d.sys = sys
	faults = sys.FaultHandler(func() any { return d.summary() })
	d.crowd, err = viewer.New(viewer.Config{
		Edges: []string{sys.EdgeURL()}, Event: sys.Event, Viewers: d.flags.viewers,
		OriginGets: viewer.Counters(http.DefaultClient, viewer.OriginRequests, sys.Event, sys.EdgeURL()+"/metrics"),
	})
	if err != nil {
		return err
	}
	d.greet()

	var tasks sync.WaitGroup
	defer tasks.Wait()
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	tasks.Go(func() { d.progress(stop) })
	tasks.Go(func() { d.keys(stop) })
	if d.flags.drill {
		tasks.Go(func() { d.drill(stop) })
	}
	report, err := d.crowd.Run(ctx)
	cancel()
	tasks.Wait()
	if err != nil {
		return err
	}
	return d.end(report)
}

// withPage serves the player's page and the fault buttons beside the edge:
// names of tenants cannot begin with -.
func withPage(edge http.Handler, faults *http.Handler) http.Handler {
	page := http.StripPrefix("/-/player", player.Handler())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/":
			http.Redirect(w, r, "/-/player/?event=demo/live", http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/-/player/"):
			page.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, "/-/demo/") && *faults != nil:
			http.StripPrefix("/-/demo", *faults).ServeHTTP(w, r)
		default:
			edge.ServeHTTP(w, r)
		}
	})
}

func (d *demo) greet() {
	w := d.words
	fmt.Fprintf(w, "Open  %s/\n\n", d.sys.EdgeURL())
	fmt.Fprintf(w, "  edge     %s   DASH %s/%s/manifest.mpd, HLS .../main.m3u8\n", d.sys.EdgeURL(), d.sys.EdgeURL(), d.sys.Event)
	fmt.Fprintf(w, "  publish  %s\n  deliver  %s\n  control  %s\n\n", d.sys.PublishURL(), d.sys.DeliverURL(), d.sys.ControlURL())
	if d.flags.encoder == "ffmpeg" {
		fmt.Fprint(w, "The encoders begin on the next multiple of 8 seconds.\n")
	}
	if d.interactive() {
		var keys []string
		for _, f := range scenario.Faults {
			keys = append(keys, f.Key+" "+strings.ToLower(f.Label))
		}
		fmt.Fprintf(w, "Break things, and mend them with the same key: %s. q quits.\n\n", strings.Join(keys, ", "))
	}
}

func (d *demo) interactive() bool { return isTerminal(d.env.stdin) }

// progress prints a line about once a second that overwrites itself; where
// nobody looks on, one every ten seconds.
func (d *demo) progress(ctx context.Context) {
	w := d.words
	looked := d.watched
	every := time.Second
	if !looked {
		every = 10 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if looked {
				fmt.Fprintln(w)
			}
			return
		case <-tick.C:
			line := d.line()
			if looked {
				line = "\r" + line + "\x1b[K"
			} else {
				line += "\n"
			}
			io.WriteString(w, line)
		}
	}
}

func (d *demo) line() string {
	r := d.crowd.Report()
	var state []string
	for _, p := range d.sys.Pipelines {
		s := p.Name + " ok"
		if !p.Alive() {
			s = p.Name + " DEAD"
		} else if p.Broken() {
			s = p.Name + " CORRUPT"
		}
		state = append(state, s)
	}
	by := make([]string, 0, 2)
	for _, p := range d.sys.Pipelines {
		by = append(by, fmt.Sprintf("%s %d", p.Name, r.ServedBy[p.Name]))
	}
	return fmt.Sprintf("%3.0fs  pipelines %s  served %d (%s)  publish to viewer p99 %.0f ms  held p50 %.0f ms  stalls %d  gaps %d  refusals %d  defective %d  errors %d  without a picture %d of %d",
		time.Since(d.began).Seconds(), strings.Join(state, ", "), r.Segments, strings.Join(by, ", "), r.PublishToViewer.P99, r.Hold.P50, r.Stalls, r.Gaps, r.Refusals, r.DefectiveServed, countErrors(r), r.Dark, r.Watching)
}

// set breaks or mends, and remembers that it did.
func (d *demo) set(f scenario.Fault, active bool) {
	if err := d.sys.Set(f, active); err != nil {
		fmt.Fprintf(d.words, "\n%v\n", err)
		return
	}
	verb := f.Label
	if !active {
		verb = "mended: " + strings.ToLower(f.Label)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.did = append(d.did, fmt.Sprintf("%.0f s: %s", time.Since(d.began).Seconds(), verb))
	fmt.Fprintf(d.words, "\n%s\n", verb)
}

// drill breaks pipeline a half-way: first its segments lose frames, then it
// dies, then it comes back.
func (d *demo) drill(ctx context.Context) {
	half := d.flags.length / 2
	step := half / 4
	corrupt, _ := scenario.FindFault("corrupt-a")
	kill, _ := scenario.FindFault("kill-a")
	for _, s := range []struct {
		at     time.Duration
		f      scenario.Fault
		active bool
	}{{half, corrupt, true}, {half + step, kill, true}, {half + 2*step, corrupt, false}, {half + 2*step, kill, false}} {
		t := time.NewTimer(time.Until(d.began.Add(s.at)))
		select {
		case <-t.C:
			d.set(s.f, s.active)
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

func (d *demo) summary() *summary {
	return d.summarise(d.crowd.Report())
}

func (d *demo) summarise(r *viewer.Report) *summary {
	s := &summary{
		SecondsRun: time.Since(d.began).Round(time.Millisecond).Seconds(), Encoder: d.flags.encoder, Viewers: r.Viewers,
		SegmentsServed: r.Segments, ServedBy: r.ServedBy, DefectiveServed: r.DefectiveServed, Switches: switches(r),
		OriginGetsPerSegment: r.OriginGetsPerSegment, Hold: r.Hold, PublishToViewer: r.PublishToViewer,
		Errors: r.Errors, Stalls: r.Stalls, Gaps: r.Gaps, Refusals: r.Refusals, Dark: r.Dark, Verified: r.Verified,
	}
	if s.Errors == nil {
		s.Errors = []viewer.Error{}
	}
	for _, p := range d.sys.Pipelines {
		s.SegmentsPublished += p.Published()
	}
	return s
}

// end prints the summary, and fails where a viewer noticed.
func (d *demo) end(r *viewer.Report) error {
	s := d.summarise(r)
	if s.SegmentsServed == 0 {
		s.Errors = append(s.Errors, viewer.Error{Error: "no segment was served", Count: 1, At: time.Now()})
	}
	noticed := r.Noticed()
	if d.flags.drill {
		d.mu.Lock()
		s.Drill = &drillReport{Did: d.did, Noticed: append([]string{}, noticed...)}
		d.mu.Unlock()
	}
	if d.flags.asJSON {
		b, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			return err
		}
		d.env.stdout.Write(append(b, '\n'))
	} else {
		d.print(s, noticed)
	}
	if len(s.Errors) > 0 || d.flags.drill && len(noticed) > 0 {
		return errQuiet
	}
	return nil
}

// amounts is like "a 48, b 2".
func amounts[V any](of map[string]V, format string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, name+" "+fmt.Sprintf(format, of[name]))
	}
	return strings.Join(parts, ", ")
}

func (d *demo) print(s *summary, noticed []string) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\n%d segments published by %d pipelines, %d served to %d viewers (%s), all digests right\n", s.SegmentsPublished, len(d.sys.Pipelines), s.SegmentsServed, s.Viewers, amounts(s.ServedBy, "%d"))
	fmt.Fprintf(&b, "publish to viewer  %.1f ms p50, %.1f p99, %.1f max\n", s.PublishToViewer.P50, s.PublishToViewer.P99, s.PublishToViewer.Max)
	fmt.Fprintf(&b, "origin GETs        %s per segment and rendition\n", amounts(s.OriginGetsPerSegment, "%.2f"))
	if len(noticed) == 0 {
		fmt.Fprintf(&b, "a viewer noticed   nothing (%d switches of pipeline)\n", s.Switches)
	}
	for _, n := range noticed {
		fmt.Fprintf(&b, "a viewer noticed   %s\n", n)
	}
	d.env.stdout.Write(b.Bytes())
}
