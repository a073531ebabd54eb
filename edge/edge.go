// Package edge is the cache between an origin and its viewers. It knows the
// timeline of an event, so it refuses what cannot exist without asking anyone,
// holds requests at the live edge, and fills each object once for all who wait.
// Its parents are HTTP and nothing else.
package edge

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"headwater/live"
)

// An Edge is one cache node. New makes it, Close ends it.
type Edge struct {
	cfg      Config
	log      *slog.Logger
	upstream *upstream
	cache    *cache
	disk     *diskCache
	metrics  *metrics
	exporter http.Handler
	id       string // of this process
	member   string // of CDN-Loop
	name     string // as an item of a structured field

	draining atomic.Bool

	ctx     context.Context // of everything the edge does by itself
	cancel  context.CancelFunc
	tasks   sync.WaitGroup // fills, followers, probes, the sweeper
	unknown chan struct{}  // one slot per request for an event of which nothing is known

	mu      sync.Mutex // guards the following
	closed  bool
	events  map[live.EventID]*event
	tenants map[string]time.Time // that the parents do not know, until
}

// New starts an edge.
func New(cfg Config) (*Edge, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	id := "n" + strings.ToLower(rand.Text()[:12])
	ed := &Edge{
		cfg: cfg, log: cfg.Log, upstream: newUpstream(&cfg), cache: newCache(cfg.MemoryBytes),
		events: make(map[live.EventID]*event), tenants: make(map[string]time.Time), unknown: make(chan struct{}, unknownAtOnce), name: cfg.Name,
		// Several nodes may go by one name, one above the other: only the
		// node itself knows itself again.
		id: id, member: live.LoopMember(cfg.Name, id),
	}
	if c := cfg.Name[0]; c >= '0' && c <= '9' {
		ed.name = `"` + cfg.Name + `"` // not a token (RFC 9651, 3.3.4)
	}
	ed.disk = newDiskCache(&cfg, ed.cache, ed.spawn)
	if len(cfg.Site) > 0 {
		ed.upstream.site = newSite(&cfg, ed.upstream, id)
	}
	ed.metrics = newMetrics(cfg.Metrics, ed)
	ed.exporter = promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{})
	ed.ctx, ed.cancel = context.WithCancel(context.Background())
	if ed.disk.open != nil {
		ed.tasks.Go(func() { ed.disk.run(ed.ctx) })
		ed.disk.await()
	}
	ed.tasks.Go(ed.sweep)
	for _, p := range ed.upstream.parents {
		ed.tasks.Go(func() { ed.upstream.watch(ed.ctx, p) })
	}
	if s := ed.upstream.site; s != nil {
		for _, p := range s.peers {
			ed.tasks.Go(func() { s.watch(ed.ctx, p) })
		}
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
	ed.tellAll()
	ed.tasks.Wait()
	ed.upstream.close()
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
			ed.cache.sweep(time.Now())
			ed.sweepEvents(time.Now())
		case <-ed.ctx.Done():
			return
		}
	}
}

// Drain says that this node is about to stop: /readyz is 503 from now on, so
// that load balancers send nobody more, and requests held for a change of an
// event's configuration are answered. All else goes on.
func (ed *Edge) Drain() {
	ed.draining.Store(true)
	ed.tellAll()
}

// serveReady tells load balancers whether to send viewers here.
func (ed *Edge) serveReady(w http.ResponseWriter) {
	if ed.draining.Load() {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte("draining\n"))
		return
	}
	w.Write([]byte("ok\n" + ed.disk.says()))
}

// ServeNode answers what is about this node and not about an event, and reports
// whether the request was for that.
func (ed *Edge) ServeNode(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case live.TimePath:
		if s := ed.upstream.site; s != nil {
			s.greet(w, r)
		}
		ed.serveTime(w, r)
	case "/metrics":
		ed.exporter.ServeHTTP(w, r)
	case "/healthz":
		w.Write([]byte("ok\n"))
	case "/readyz":
		ed.serveReady(w)
	default:
		return false
	}
	return true
}
