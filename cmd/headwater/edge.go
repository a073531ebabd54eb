package main

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"headwater/admit"
	"headwater/clock"
	"headwater/edge"
	"headwater/live"
)

var edgeCommand = &command{
	name: "edge", summary: "cache an origin for viewers",
	usage: "--parent URL [flags]",
	about: `
Runs an edge: viewers GET from it, and it fills from its parents, which are
origins' delivery listeners or other edges. It serves /healthz and /readyz on the
same listeners, and /metrics where --metrics says.

SIGTERM drains: it stops listening, answers what is held when its segment is
published, finishes what is being sent, and ends; a second signal ends it at
once. To restart it under viewers give it --handover PATH and start the new one
with the same flags, or send the old one SIGUSR2. Sockets that systemd opens
(socket activation) are used where their addresses are those of the flags.

Several edges in one place are a site: each is given the same --site and a
--name of its own. For each rendition one of them then fills from the parents,
and the others from it, so that the parents are asked once for all.

Where an event names pathways, by which viewers may have it, an edge with the
--pathway of one tells players that know content steering to stay; or to go to
another, when it stops, while --away-file exists, when its parents are all out of
reach, and some of them while it has too much to do. With --drain-delay longer
than --steer-every nearly all have left before it stops listening.`,
}

func init() { edgeCommand.run = runEdge }

type edgeFlags struct {
	front   frontFlags
	node    nodeFlags
	name    string
	region  string
	site    string
	pathway string
	away    string
	steer   time.Duration
	parents []string
	memory  int64
	most    int64 // of all memory
	disk    string
	diskMax int64
	logging logging
}

func (f *edgeFlags) register(o *options) {
	f.front.register(o)
	f.node.register(o)
	o.List(&f.parents, "parent", "base `URL` to fill from, e.g. http://host:7002, or us-east-1=http://host:7002 to name its region; the first is preferred")
	o.String(&f.region, "region", "", "`NAME` of this node's region: parents of it are preferred to others, whatever their order")
	o.String(&f.site, "site", "", "`NODES` of the site that this one belongs to, e.g. a=http://host1:8080,b=http://host2:8080")
	o.String(&f.name, "name", "headwater", "`NAME` of this node in Cache-Status, CDN-Loop and --site")
	o.String(&f.pathway, "pathway", "", "`ID` of the pathway that viewers have this node by, of those that events name: it tells players that know content steering to stay, or, where it stops or has too much to do, to go to another; default none")
	o.Duration(&f.steer, "steer-every", 30*time.Second, "`TIME` after which such players ask again, and so how long it takes to move them")
	o.String(&f.away, "away-file", "", "`FILE` that sends viewers to other pathways for as long as it exists, as before maintenance; default none")
	o.Bytes(&f.memory, "memory", 1<<30, "`SIZE` of the cache in memory")
	o.Bytes(&f.most, "memory-limit", 0, "`SIZE` that all memory should stay below: where connections take more the cache has less, and then connections are refused; 0 is GOMEMLIMIT, or three quarters of what there is")
	o.String(&f.disk, "disk", "", "`DIR` to keep the DVR window in, beyond memory and over restarts; default none")
	o.Bytes(&f.diskMax, "disk-max", 10<<30, "`SIZE` that the cache may take there; the oldest goes first")
	f.logging.flags(o)
}

func runEdge(ctx context.Context, env *environment, args []string) error {
	var f edgeFlags
	o := newOptions("edge")
	f.register(o)
	rest, err := o.parse(env, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usagef("%q: edge takes only flags", rest[0])
	}
	if len(f.parents) == 0 {
		return usagef("--parent: give the base URL of an origin's delivery listener, e.g. http://127.0.0.1:7002")
	}
	if err := f.front.validate(); err != nil {
		return err
	}
	if f.away != "" && f.pathway == "" {
		return usagef("--away-file: give --pathway, the ID of the pathway that viewers are to leave")
	}
	log, err := f.logging.logger(env.stderr)
	if err != nil {
		return err
	}
	site, err := f.parseSite()
	if err != nil {
		return err
	}
	log.Info("starting", "command", "edge", "version", version(), "parents", shown(f.parents...), "listen", f.front.listen, "tls-listen", f.front.tlsListen,
		"name", f.name, "site", f.site, "region", f.region, "memory", f.memory, "disk", f.disk)
	limit := limitMemory(f.most, env.getenv, log)
	if limit > 0 {
		f.memory = min(f.memory, limit/2)
	}
	parents, regions := f.parseParents()
	cfg := edge.Config{
		Parents: parents, ParentRegions: regions, Region: f.region, Site: site,
		Name: f.name, Pathway: f.pathway, Away: exists(f.away), SteerEvery: f.steer, MemoryBytes: f.memory, Disk: f.disk, DiskBytes: f.diskMax, Log: log, Metrics: newRegistry(),
	}
	cfg.Budget = budgetOf("edge", limit, cfg.Metrics)
	cfg.Late = admit.NewLateness().Read
	wall, err := wrongClock(env, log)
	if err != nil {
		return err
	}
	if wall != nil {
		of := clock.OfEdge(log)
		of.Wall = wall
		cfg.Clock = clock.New(of)
	}
	cfg.HideMetrics = f.front.metrics != "viewers"
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	watched, err := f.node.apply(&cfg, log)
	if err != nil {
		return err
	}
	f.front.nodes, f.front.near = &f.node.nodes, f.node.near
	defer reread(watched...)()
	ed, err := edge.New(cfg)
	if err != nil {
		return err
	}
	defer ed.Close()
	return f.front.serve(ctx, env, log, ed, cfg.Budget, cfg.Metrics)
}

// exists returns what says whether a file is there; nil where none is named. It is looked
// for at most once a second.
func exists(name string) func() bool {
	if name == "" {
		return nil
	}
	var mu sync.Mutex // guards the following
	var looked time.Time
	var there bool
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(looked) >= time.Second {
			_, err := os.Stat(name)
			looked, there = time.Now(), err == nil
		}
		return there
	}
}

// parseParents takes the names of regions off the parents.
func (f *edgeFlags) parseParents() (urls []string, regions map[string]string) {
	regions = make(map[string]string)
	for _, p := range f.parents {
		if region, url, ok := strings.Cut(p, "="); ok && live.ValidName(region) {
			regions[url] = region
			p = url
		}
		urls = append(urls, p)
	}
	return urls, regions
}

// parseSite reads --site.
func (f *edgeFlags) parseSite() (map[string]string, error) {
	if f.site == "" {
		return nil, nil
	}
	site := make(map[string]string)
	for node := range strings.SplitSeq(f.site, ",") {
		name, url, ok := strings.Cut(strings.TrimSpace(node), "=")
		if !ok || !live.ValidName(name) {
			return nil, usagef("--site: %q is not a node like a=http://host:8080", node)
		}
		if _, twice := site[name]; twice {
			return nil, usagef("--site: node %q is there twice", name)
		}
		site[name] = url
	}
	if _, ok := site[f.name]; !ok {
		return nil, usagef("--name: %q is not one of the nodes in --site (%s)", f.name, strings.Join(slices.Sorted(maps.Keys(site)), ", "))
	}
	return site, nil
}
