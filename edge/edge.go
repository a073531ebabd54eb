// Package edge is the cache between an origin and its viewers. It knows the
// timeline of an event, so it refuses what cannot exist without asking anyone,
// holds requests at the live edge, and fills each object once for all who wait.
// Its parents are HTTP and nothing else.
//
// Here is the walk of a request (walk.go), and what an answer is made of. Its parts
// are packages: what is known of events (event), what parents answered (object), the
// parents themselves (parents), the other nodes of a site (site), and viewers'
// connections with what drives their requests (front).
package edge

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"headwater/edge/event"
	"headwater/edge/exchange"
	"headwater/edge/object"
	"headwater/edge/parents"
	"headwater/edge/site"
	"headwater/live"
)

// An Edge is one cache node. New makes it, Close ends it.
type Edge struct {
	cfg       Config
	log       *slog.Logger
	parents   *parents.Upstream
	site      *site.Site // nil where this node is alone
	cache     *object.Cache
	disk      *object.Disk
	events    *event.Registry
	metrics   *metrics
	admission *admission
	steering  *steering
	exporter  http.Handler
	id        string                       // of this process
	member    live.Loop                    // of CDN-Loop
	name      string                       // as an item of a structured field
	refused   map[Outcome]*exchange.Shared // what this cache did for requests that are refused as they come
	draining  atomic.Bool
	leaving   atomic.Bool  // for good: viewers are to go elsewhere
	began     time.Time    // this node
	orphaned  atomic.Int64 // when its parents were seen to be all out of reach last, in Unix nanoseconds

	ctx    context.Context // of everything the edge does by itself
	cancel context.CancelFunc
	tasks  sync.WaitGroup // fills, followers, probes, the sweeper

	mu     sync.Mutex // guards the following
	closed bool
}

// New starts an edge.
func New(cfg Config) (*Edge, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	id := "n" + strings.ToLower(rand.Text()[:12])
	ed := &Edge{began: time.Now(),
		cfg: cfg, log: cfg.Log, cache: object.NewCache(cfg.MemoryBytes, cfg.Metrics), name: cfg.Name,
		parents: parents.NewUpstream(&parents.Config{Clock: cfg.Clock, ID: id, URLs: cfg.Parents, Regions: cfg.ParentRegions, Region: cfg.Region, Secret: cfg.ParentSecret, PeerSecret: cfg.PeerSecret, TLS: cfg.TLS, Dial: cfg.Dial, Log: cfg.Log}),
		// Several nodes may go by one name, one above the other: only the
		// node itself knows itself again.
		id: id, member: live.Loop(live.LoopMember(cfg.Name, id)),
		exporter: promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{}),
	}
	if c := cfg.Name[0]; c >= '0' && c <= '9' {
		ed.name = `"` + cfg.Name + `"` // not a token (RFC 9651, 3.3.4)
	}
	ed.refused = refusedAtOnce(ed.name)
	ed.ctx, ed.cancel = context.WithCancel(context.Background())
	if len(cfg.Site) > 0 {
		ed.site = site.New(cfg.Name, id, cfg.Site, ed.parents, cfg.Log)
		ed.parents.Join(ed.site)
	}
	ed.disk = object.NewDisk(object.DiskConfig{Open: cfg.openDisk, Queue: cfg.MemoryBytes / 8, Spawn: ed.spawn, Log: cfg.Log, Metrics: cfg.Metrics}, ed.cache)
	if b := cfg.Budget; b != nil {
		b.Count(ed.cache.Bytes)
		b.Tell(func(rest int64) { ed.cache.Have(b.Bound() - rest) })
	}
	cfg.Metrics.MustRegister(cfg.Clock)
	tallies := event.NewTallies(cfg.Metrics)
	ed.metrics = newMetrics(cfg.Metrics, tallies, ed.parents)
	ed.events = event.NewRegistry(ed.ctx, event.Config{
		Parents: ed.parents, Disk: ed.disk, Tallies: tallies, Loop: ed.member, Sent: ed.metrics.asked,
		Max: cfg.MaxEvents, Idle: cfg.EventIdle, Spawn: ed.spawn, Log: cfg.Log,
	})
	ed.metrics.remembered(cfg.Metrics, ed.events)
	ed.admission = newAdmission(ed)
	ed.steering = newSteering(cfg.Metrics)
	if ed.disk.There() {
		ed.tasks.Go(func() { ed.disk.Run(ed.ctx) })
		ed.disk.Await()
	}
	ed.tasks.Go(ed.sweep)
	for _, p := range ed.parents.Own() {
		ed.tasks.Go(func() { ed.parents.Watch(ed.ctx, p) })
	}
	if ed.site != nil {
		ed.tasks.Go(func() { ed.site.Watch(ed.ctx) })
	}
	return ed, nil
}

// Close ends fills and followers and waits for them. Requests still being
// served get an error; shut the listener down before.
func (ed *Edge) Close() error {
	ed.mu.Lock()
	ed.closed = true
	ed.mu.Unlock()
	ed.cancel()
	ed.events.Tell()
	ed.tasks.Wait()
	ed.parents.Close()
	return nil
}

// spawn runs a task that Close waits for. It reports false once the edge is closed.
func (ed *Edge) spawn(f func()) bool {
	ed.mu.Lock()
	defer ed.mu.Unlock()
	if ed.closed {
		return false
	}
	ed.tasks.Go(f)
	return true
}

func (ed *Edge) sweep() {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			ed.cache.Sweep(time.Now())
			ed.events.Sweep(time.Now())
		case <-ed.ctx.Done():
			return
		}
	}
}

// Request makes a request, for whoever drives it.
func (ed *Edge) Request() exchange.Request { return &request{ed: ed} }

// Drain says that this node is about to stop: /readyz is 503 from now on, so
// that load balancers send nobody more, and requests held for a change of an
// event's configuration are answered. All else goes on.
func (ed *Edge) Drain() {
	ed.draining.Store(true)
	ed.events.Tell()
}

// Metrics serves /metrics, for a listener of its own.
func (ed *Edge) Metrics() http.Handler { return ed.exporter }

// OfNode reports whether a path is of the node, and of no event: what others serve at
// its listener, as the player's page, is at / or begins with /-/, as no tenant's name does.
func (ed *Edge) OfNode(path string) bool {
	if path == "/" || strings.HasPrefix(path, "/-/") {
		return true
	}
	switch path {
	case live.TimePath, metricsPath, healthPath, readyPath:
		return true
	}
	return false
}

const (
	metricsPath = "/metrics"
	healthPath  = "/healthz"
	readyPath   = "/readyz"
)

// ServeNode answers what is about this node and not about an event, and reports
// whether the request was for that.
func (ed *Edge) ServeNode(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case live.TimePath:
		if ed.cfg.Peers == nil || ed.trusts(r.Header.Get("Authorization")) {
			w.Header().Set(live.HeaderCDNLoop, string(ed.member)) // so that those below know it again
			if ed.site != nil {
				ed.site.Greet(w, r)
			}
		}
		ed.serveTime(w, r)
	case metricsPath:
		if ed.cfg.HideMetrics {
			return false
		}
		ed.exporter.ServeHTTP(w, r)
	case healthPath:
		w.Write([]byte("ok\n"))
	case readyPath:
		ed.serveReady(w)
	default:
		if r.Method != http.MethodOptions {
			return false
		}
		preflight(w, r)
	}
	return true
}

// serveReady tells load balancers whether to send viewers here.
func (ed *Edge) serveReady(w http.ResponseWriter) {
	if ed.draining.Load() {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte("draining\n"))
		return
	}
	w.Write([]byte("ok\n" + ed.disk.Says()))
}

// serveTime is live.ServeTime with the parents' clock: a viewer above this
// edge is to have the time of the origin.
func (ed *Edge) serveTime(w http.ResponseWriter, r *http.Request) {
	live.AllowCORS(w.Header())
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set(live.HeaderCacheControl, "no-store")
	s := ed.parents.Theirs(time.Now()).UTC().Format(live.TimeLayout)
	h.Set("Content-Length", strconv.Itoa(len(s)))
	if r.Method != http.MethodHead {
		w.Write([]byte(s))
	}
}
