package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"headwater/admit"
	"headwater/blobs"
	"headwater/clock"
	"headwater/listen"
	"headwater/origin"
	"headwater/store"
	"headwater/store/disk"
)

// described registers each command's flags, for its help.
var described = map[string]func(*options){
	"origin":   func(o *options) { new(originFlags).register(o) },
	"edge":     func(o *options) { new(edgeFlags).register(o) },
	"packager": func(o *options) { new(packagerFlags).register(o) },
	"event":    func(o *options) { new(eventFlags).register(o) },
	"demo":     func(o *options) { new(demoFlags).register(o) },
	"load":     func(o *options) { new(loadFlags).register(o) },
	"keys":     func(o *options) { new(keysFlags).register(o) },
	"store":    func(o *options) { new(storeFlags).register(o) },
	"simulate": func(o *options) { new(simulateFlags).register(o) },
	"drill":    func(o *options) { new(drillFlags).register(o) },
}

var originCommand = &command{
	name: "origin", summary: "take segments from packagers and deliver them",
	usage: "[flags]",
	about: `
Runs an origin: packagers PUT segments to the publish listener, edges and any
HTTP cache GET them from the delivery listener, operators use the control
listener (headwater event, /metrics, /healthz, /readyz). What was acknowledged
is on disk and survives kill -9.`,
}

func init() { originCommand.run = runOrigin }

type originFlags struct {
	publish, deliver, control string
	ingest                    string
	create, look              bool
	lookMost                  int
	store, controlStore       string
	cache                     cacheFlags
	region                    string
	roles                     string
	access                    accessFlags
	memory, maxSegment        int64
	memoryLimit               int64
	maxConns, maxPerAddress   int
	storeMax, storeReserve    int64
	handover                  string
	storeExisting             bool
	tenantEvents              int
	tenantRenditions          int
	tenantRate, tenantStore   int64
	bodyTimeout               time.Duration
	announce                  announceFlags
	tenantShare               int
	fallback                  []string
	fallbackAfter             time.Duration
	logging                   logging
}

func (f *originFlags) register(o *options) {
	o.String(&f.publish, "publish", defaultPublish, "`ADDRESS` of the publish listener; beyond this machine it wants --credentials")
	o.String(&f.deliver, "deliver", defaultDeliver, "`ADDRESS` of the delivery listener")
	o.String(&f.control, "control", defaultControl, "`ADDRESS` of the control listener; beyond this machine it wants --credentials")
	o.String(&f.ingest, "ingest", "", "`ADDRESS` on which encoders may send under names of their own (DASH-IF Live Media Ingest; ffmpeg -f dash, -f hls); beyond this machine it wants --credentials")
	o.Bool(&f.look, "look", "with --ingest: have ffmpeg watch what comes, beside the publishing, and say where the picture is black or stands still or the sound is silent: a process for each encoder's smallest video and each audio")
	o.Int(&f.lookMost, "look-most", 32, "with --look: how many ffmpegs watch at once, for all encoders; what is more is not watched (`NUMBER`)")
	o.Bool(&f.create, "create", "with --ingest: make events of what comes, where there are none, for who has the right to")
	f.access.register(o)
	o.String(&f.roles, "roles", "publish,deliver,control", "`LIST` of the listeners to run")
	o.String(&f.store, "store", "disk:headwater-data", "`STORE` to keep segments in: disk:DIR, memory:, cassandra://HOST,.../KEYSPACE?dc=NAME or s3://BUCKET/PREFIX?endpoint=URL")
	o.String(&f.controlStore, "control-store", "", "`STORE` to keep events, masks and notifications in; default where --store keeps segments")
	f.cache.register(o)
	o.Bytes(&f.storeMax, "store-max", 0, "`SIZE` that the segments of a disk store, or all in a memory store, may take; beyond it packagers get 503; 0 is all there is")
	o.Bytes(&f.storeReserve, "store-reserve", 64<<20, "`SIZE` that a disk store leaves free on its file system")
	o.Bool(&f.storeExisting, "store-existing", "wait for a disk store that is not there, instead of making one: its file system may be mounted later")
	o.String(&f.region, "region", "", "`NAME` of the region that answers, for Live-Pipeline; default each pipeline's own")
	o.Bytes(&f.memory, "memory", 256<<20, "`SIZE` of the window of newest segments kept in memory")
	o.Bytes(&f.memoryLimit, "memory-limit", 0, "`SIZE` that all memory should stay below (what is not shed for it is collected harder); 0 is GOMEMLIMIT, or three quarters of what there is")
	o.Int(&f.maxConns, "max-conns", 0, "`NUMBER` of connections to the delivery listener; those over it are answered 503. 0 is 60% of the limit of open files; publish has 20%, control 5%")
	o.Int(&f.maxPerAddress, "max-conns-per-address", 0, "`NUMBER` of connections to the delivery listener of one IPv4 address or IPv6 /64; those over it are answered 503. 0 is half of --max-conns")
	o.Bytes(&f.maxSegment, "max-segment", 32<<20, "`SIZE` of the largest segment taken, at most 64MiB")
	o.Duration(&f.bodyTimeout, "body-timeout", 10*time.Second, "`TIME` in which some bytes of a segment must arrive; see Limits in docs/protocol.md")
	o.Int(&f.tenantEvents, "tenant-events", 1000, "`NUMBER` of events that one tenant may have")
	o.Int(&f.tenantRenditions, "tenant-renditions", 1000, "`NUMBER` of renditions that one tenant may have, of all its events")
	o.Bytes(&f.tenantRate, "tenant-rate", 256<<20, "`SIZE` that one tenant may publish in a second at this node")
	o.Bytes(&f.tenantStore, "tenant-store", 0, "`SIZE` that the segments of one tenant may take in the store; 0 is --tenant-share of --store-max where that is given, else as much as there is")
	o.Int(&f.tenantShare, "tenant-share", 50, "`PERCENT` that one tenant may take of what is held, read, sent and published at once")
	o.List(&f.fallback, "fallback", "`URL` of the delivery listener of an origin in another region, asked for segments that the store here does not have yet or brings too late")
	o.Duration(&f.fallbackAfter, "fallback-after", 300*time.Millisecond, "`TIME` that the store has to bring a segment before --fallback is asked too")
	o.String(&f.handover, "handover", "", "`PATH` of a Unix socket by which a new process, started with the same path, takes over the listening sockets and a disk store from the one that runs, which then drains. SIGUSR2 starts one")
	f.announce.register(o)
	f.logging.flags(o)
}

func runOrigin(ctx context.Context, env *environment, args []string) error {
	var f originFlags
	o := newOptions("origin")
	f.register(o)
	rest, err := o.parse(env, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usagef("%q: origin takes only flags", rest[0])
	}
	log, err := f.logging.logger(env.stderr)
	if err != nil {
		return err
	}
	roles, err := f.parseRoles()
	if err != nil {
		return err
	}
	addresses := make(map[string]string)
	for role, addr := range map[string]string{"publish": f.publish, "deliver": f.deliver, "control": f.control} {
		if roles[role] {
			addresses[role] = addr
		}
	}
	if f.ingest != "" {
		addresses["ingest"] = f.ingest
	} else if f.create || f.look {
		return usagef("--create and --look: go with --ingest")
	}
	if f.lookMost < 1 {
		return usagef("--look-most: %d is not at least 1", f.lookMost)
	}
	if err := f.access.safe(addresses); err != nil {
		return err
	}
	metrics := newRegistry()
	guard, err := f.access.guard(log, metrics)
	if err != nil {
		return err
	}
	certs, err := f.access.certificates(log)
	if err != nil {
		return err
	}
	f.announceStart(log)
	cores, limit := moreThreads(env.getenv), limitMemory(f.memoryLimit, env.getenv, log)
	files, err := listen.RaiseFiles()
	if err != nil {
		log.Warn("limit of open files", "err", err)
	}
	turns := admit.NewTurns(cores, 2*time.Millisecond)
	mem := budgetOf("origin", limit, metrics)
	limits, pressure := f.limitConnections(files, turns, mem, metrics)
	wall, err := wrongClock(env, log)
	if err != nil {
		return err
	}
	clk := clock.New(clock.Config{Wall: wall, Confirm: 2 * time.Second, Log: log})
	open := opening{now: clk.Now, existing: f.storeExisting,
		disk: disk.Options{MaxBytes: f.storeMax, ReserveBytes: reserve(f.storeReserve), Now: clk.Now, Logger: log}, log: log, metrics: metrics,
	}
	socks, err := listen.Open(ctx, f.handover, log, env.getenv)
	if err != nil {
		return fmt.Errorf("--handover: %w", err)
	}
	defer socks.Close()
	var disks []*yieldingStore
	if open.yielding = &disks; onDisk(f.store) || onDisk(f.controlStore) {
		if err := socks.Claim(ctx); err != nil {
			return fmt.Errorf("--handover: %w", err)
		}
	}
	var reader store.Store
	if roles["deliver"] && len(roles) > 1 && overNetwork(f.store) {
		// A client of its own: publishing waits behind no reader.
		open.metrics = prometheus.WrapRegistererWith(prometheus.Labels{"client": "deliver"}, metrics)
		if reader, err = openStores(ctx, f.store, f.controlStore, open); err != nil {
			return err
		}
		defer closeStore(reader, log)
		open.metrics = prometheus.WrapRegistererWith(prometheus.Labels{"client": "publish"}, metrics)
	}
	st, err := openStores(ctx, f.store, f.controlStore, open)
	if err != nil {
		return err
	}
	defer closeStore(st, log)
	// A client of the cache for each role, too.
	var caches [2]*blobs.Cache
	for i, role := range []string{"publish", "deliver"} {
		if caches[i], err = f.cache.open(role, log, metrics); err != nil {
			return err
		}
		if caches[i] != nil {
			defer caches[i].Close()
		}
	}
	bus, closeBus, err := f.announce.open(log, metrics)
	if err != nil {
		return err
	}
	defer closeBus()

	cfg := origin.Config{
		Clock: clk, Store: st, DeliverStore: reader, Cache: caches[0], DeliverCache: caches[1], Bus: bus, TenantPercent: f.tenantShare,
		TenantEvents: f.tenantEvents, TenantRenditions: f.tenantRenditions, TenantRate: f.tenantRate, TenantBytes: cmp.Or(f.tenantStore, f.storeMax/100*int64(f.tenantShare)), Fallback: f.fallback, FallbackAfter: f.fallbackAfter,
		Region: f.region, Access: guard, Private: f.access.private, ControlHosts: f.access.hosts,
		Turns: turns, Connections: pressure, PublishBytes: within(1<<30, limit, 2*f.maxSegment), EgressBytes: within(2<<30, limit, 3*f.maxSegment),
		Late: admit.NewLateness().Read, Budget: mem, MemoryBytes: within(f.memory, limit, 1), MaxSegmentBytes: f.maxSegment, BodyTimeout: f.bodyTimeout,
		Log: log, Metrics: metrics,
	}
	if !roles["deliver"] {
		cfg.MemoryBytes = 1 // nobody here asks for segments
	}
	org, err := origin.New(ctx, cfg)
	if err != nil {
		return err
	}
	mem.Run()
	// Housekeeping outlives the listeners, which end first.
	house, stop := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() { org.Run(house) })
	defer tasks.Wait()
	defer stop()

	watched := []func(context.Context, <-chan os.Signal){guard.Run}
	if certs != nil {
		watched = append(watched, certs.Run)
		measureCertificates("origin", certs, metrics)
	}
	defer reread(watched...)()

	var listeners []*listener
	g := new(gate)
	refusing := limits["deliver"]
	refusing.Refuse = g.refusing(org.Refuse)
	limits["deliver"] = refusing
	for _, l := range []*listener{
		{flag: "publish", addr: f.publish, handler: org.PublishHandler()},
		{flag: "deliver", addr: f.deliver, handler: org.DeliverHandler()},
		{flag: "control", addr: f.control, handler: org.ControlHandler()},
	} {
		if l.limits = limits[l.flag]; roles[l.flag] {
			listeners = append(listeners, l)
		}
	}
	drain := org.Drain
	if f.ingest != "" {
		in := newInside(org, log)
		defer in.close()
		look := f.lookMost
		if !f.look {
			look = 0
		}
		srv, err := newIngest(in, guard, f.create, look, f.tenantShare, clk, log, metrics)
		if err != nil {
			return err
		}
		listeners = append(listeners, &listener{flag: "ingest", addr: f.ingest, handler: srv, limits: limits["ingest"]})
		// What was gathered is still published.
		drain = func() { srv.Drain(); org.Drain() }
	}
	socks.Yield = yieldAll(ctx, g, disks, log)
	return serve(ctx, log, certs, drain, socks, g, listeners...)
}

// announceStart says what runs here, before anything else is said.
func (f *originFlags) announceStart(log *slog.Logger) {
	args := []any{"command", "origin", "version", version(), "roles", f.roles}
	for _, l := range [...]struct{ role, address string }{{"publish", f.publish}, {"deliver", f.deliver}, {"control", f.control}} {
		if slices.Contains(strings.Split(f.roles, ","), l.role) {
			args = append(args, l.role, l.address)
		}
	}
	if !f.access.wanted() && f.access.insecure {
		log.Warn("nobody has to say who they are: whoever reaches a listener may publish and control (--insecure)")
	}
	if f.access.wanted() && f.access.tlsCert == "" && !(loopback(f.publish) && loopback(f.control)) {
		log.Warn("secrets go over the network as they are, without --tls-cert")
	}
	log.Info("starting", append(args, "credentials", f.access.credentials, "tls", f.access.tlsCert != "", "store", shown(f.store), "control-store", shown(f.controlStore), "cache", shown(f.cache.address), "region", f.region)...)
}

// onDisk reports whether a store is a directory, which one process has.
func onDisk(address string) bool {
	a, err := store.ParseAddress(address)
	return err == nil && a.Scheme == store.SchemeDisk
}

// overNetwork reports whether a store's clients have connections, which those
// who share a client share. A disk has one owner.
func overNetwork(address string) bool {
	a, err := store.ParseAddress(address)
	return err == nil && (a.Scheme == store.SchemeCassandra || a.Scheme == store.SchemeS3)
}

func (f *originFlags) parseRoles() (map[string]bool, error) {
	roles := make(map[string]bool)
	for r := range strings.SplitSeq(f.roles, ",") {
		if !slices.Contains([]string{"publish", "deliver", "control"}, r) {
			return nil, usagef("--roles: %q is not publish, deliver or control", r)
		}
		roles[r] = true
	}
	return roles, nil
}

// reserve maps the flag to the option, where 0 is the default and less is none.
func reserve(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "headwater", Name: "build_info", Help: "1, with what this program was built from.",
		ConstLabels: prometheus.Labels{"version": version(), "revision": revision(), "go_version": runtime.Version()},
	}, func() float64 { return 1 })
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
