package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
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
report what they saw. Exits 1 where a viewer met an error, a gap, a refusal of
what could rightly be asked for, or a segment with a defect, where nobody got a
segment, and, within 3 s, where the edge or the event is not there.

A gap is a segment that is lost: the picture stands for as long as it lasts. A
stall is a picture that stands since its segment is not there in time. When the
event ends load does too.`,
}

func init() { loadCommand.run = runLoad }

type loadFlags struct {
	edges      []string
	metrics    []string
	client     clientFlags
	event      string
	viewers    int
	length     time.Duration
	mix        string
	early      time.Duration
	poll       time.Duration
	verify     float64
	renditions []string
	asJSON     bool
	heedless   bool

	allowGaps, allowDefects bool
	log                     string
}

func (f *loadFlags) register(o *options) {
	o.List(&f.edges, "edge", "base `URL` of an edge")
	f.client.register(o, "token")
	o.List(&f.metrics, "metrics", "`URL` of an edge's /metrics, for how often origins are asked; default that of each --edge (headwater edge --metrics viewers)")
	o.String(&f.event, "event", "", "`TENANT/EVENT` to watch")
	o.Int(&f.viewers, "viewers", 100, "`NUMBER` of viewers at a time")
	o.Duration(&f.length, "for", 30*time.Second, "`TIME` to watch")
	o.String(&f.mix, "mix", "steady=1", "`MIX` of behaviours: steady, join, dvr, seek, poll, leave, each with its share")
	o.Duration(&f.early, "early", time.Second, "`TIME` before a segment is expected at which viewers ask for it")
	o.Duration(&f.poll, "poll", 0, "`TIME` between the retries of polling viewers; 0 honours the refusal's lifetime")
	o.Float(&f.verify, "verify", 0, "`SHARE` of segments whose digest is verified, 0 to 1; 0 is all for up to 500 viewers, then fewer")
	o.List(&f.renditions, "rendition", "`NAME` of a rendition to watch; default all in turn")
	o.Bool(&f.heedless, "heedless", "join and come back at once, whatever Retry-After and the event's join_ms say")
	o.Bool(&f.asJSON, "json", "print one JSON object at the end, and nothing else on standard output")
	o.Bool(&f.allowGaps, "allow-gaps", "exit 0 in spite of gaps and refusals, for drills")
	o.Bool(&f.allowDefects, "allow-defects", "exit 0 in spite of defects, for drills")
	o.String(&f.log, "log", "", "`FILE` for a line of JSON for each refusal, gap and defect of each viewer: time (the edge's), what, viewer, rendition, number, status, problem, pipeline, defects")
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
		return usagef("--event: %s", live.PathReason(err))
	}
	mix, err := viewer.ParseMix(f.mix)
	if err != nil {
		return usagef("--mix: %w", err)
	}
	metrics := f.metrics
	for i, e := range f.edges {
		if u, err := url.Parse(e); err != nil || u.Host == "" {
			return usagef("--edge: %q is not a URL like http://%s", e, defaultEdge)
		}
		f.edges[i] = strings.TrimSuffix(e, "/")
		if len(f.metrics) == 0 {
			metrics = append(metrics, f.edges[i]+"/metrics")
		}
	}
	token, err := f.client.secret()
	if err != nil {
		return err
	}
	tlsConfig, err := f.client.tls()
	if err != nil {
		return err
	}
	cfg := viewer.Config{
		Token: token, TLS: tlsConfig, Edges: f.edges, Event: id, Renditions: f.renditions, Viewers: f.viewers, Mix: mix, Duration: f.length,
		Early: f.early, Poll: f.poll, Verify: f.verify, Heedless: f.heedless,
		OriginGets:    viewer.Counters(http.DefaultClient, viewer.OriginRequests, id, metrics...),
		ProgressEvery: progressEvery,
		Progress:      (&loadProgress{w: env.stderr, terminal: isTerminal(env.stderr)}).show,
	}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	report, err := watch(ctx, cfg, f.log)
	if isTerminal(env.stderr) {
		fmt.Fprintln(env.stderr)
	}
	if report == nil {
		return err
	}
	bad := f.verdict(report)
	if f.asJSON {
		b, merr := json.MarshalIndent(report, "", "  ")
		if merr != nil {
			return merr
		}
		fmt.Fprintf(env.stdout, "%s\n", b)
	} else {
		printReport(env.stdout, report)
	}
	for _, why := range bad {
		fmt.Fprintf(env.stderr, "headwater load: failed: %s\n", why)
	}
	if err == nil && len(bad) > 0 {
		err = errQuiet
	}
	return err
}

// watch lets viewers watch, and writes what goes wrong to the file of that name.
func watch(ctx context.Context, cfg viewer.Config, name string) (*viewer.Report, error) {
	if name == "" {
		return viewer.Run(ctx, cfg)
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, usagef("--log: %w", err)
	}
	log := newIncidentLog(file)
	cfg.Incident = log.write
	report, err := viewer.Run(ctx, cfg)
	return report, errors.Join(err, log.close())
}

// verdict says why the exit status is not 0; nothing where it is.
func (f *loadFlags) verdict(r *viewer.Report) (bad []string) {
	for _, e := range r.Errors {
		bad = append(bad, fmt.Sprintf("%s: %s (%s)", count(int(e.Count), "time"), e.Error, e.First))
	}
	if r.Segments == 0 {
		bad = append(bad, "nobody got a segment")
	}
	if !f.allowGaps && r.Gaps > 0 {
		bad = append(bad, fmt.Sprintf("%d gaps (--allow-gaps)", r.Gaps))
	}
	if !f.allowGaps && r.Refusals > 0 {
		bad = append(bad, fmt.Sprintf("%d refusals (--allow-gaps)", r.Refusals))
	}
	if !f.allowDefects && r.DefectiveServed > 0 {
		bad = append(bad, fmt.Sprintf("%d segments with a defect (--allow-defects)", r.DefectiveServed))
	}
	return bad
}
