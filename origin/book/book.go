// Package book is what a node knows of events, and how that is kept: what each is
// configured to be (View, made of a Record and the Edits since), and the tables of
// what was published of it, a slot for each segment with its candidates and the
// choice that stands.
//
// Locks: an event's turn (Book.turns) may be held while the store is asked. Book.mu
// and Event.mu are held for memory only and not together; Counters.mu comes before
// both.
package book

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"headwater/origin/journal"
	"headwater/origin/keylock"
	"headwater/origin/metric"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/announce"
	"headwater/clock"
	"headwater/live"
	"headwater/store"
)

// A Book holds every event in memory, and changes them through the store.
// Reading never leaves memory, so an unknown event costs a map look-up.
type Book struct {
	Config
	lost     prometheus.Counter // announcements
	dropped  prometheus.Counter // init segments
	Counters *Counters
	// turns: whoever has an event's may read, change and write its record.
	turns *keylock.Locks[live.EventID]
	left  chan struct{} // holds one when partial has grown

	mu     sync.RWMutex // guards the following
	events map[live.EventID]*Event
	of     map[string]map[live.EventID]*Event // the same by tenant: see Usage
	tombs  map[live.EventID]tombstone
	// tenants has those of events and tombs, and perhaps some more: whoever is
	// not in it never had an event.
	tenants map[string]bool
	partial []*Event          // of which older segments are still to be read
	names   map[string]string // Live-Names by tenant, and those of tenants by ""; made when asked for
}

// A Config is what a book is built from.
type Config struct {
	Clock   *clock.Clock
	Store   store.Store
	Tokens  *store.Tokens
	Bus     announce.Bus
	Node    string        // what announcements call this node
	Alone   bool          // no other node announces anything
	Timeout time.Duration // of one change
	// Bounded says that tenants may have only so much stored: then what they have is written
	// down, for after a start.
	Bounded bool
	// Lead is how long before it begins players have to be able to read of a generation.
	Lead    func(*Record) time.Duration
	Log     *slog.Logger
	Metrics *prometheus.Registry
}

// New returns a book that knows nothing yet: see Load.
func New(cfg Config) *Book {
	g := &Book{Config: cfg, turns: keylock.New[live.EventID](), left: make(chan struct{}, 1),
		events: make(map[live.EventID]*Event), of: make(map[string]map[live.EventID]*Event), tombs: make(map[live.EventID]tombstone), tenants: make(map[string]bool), names: make(map[string]string)}
	g.lost = metric.Counter(cfg.Metrics, "lost_announcements_total", "Announcements that the bus did not take.")
	g.Counters = newByEvent(g.List, cfg.Clock)
	g.dropped = metric.Counter(cfg.Metrics, "inits_dropped_total", "Init segments of generations of which nothing is in the DVR window any more that were removed from the store.")
	cfg.Metrics.MustRegister(g.Counters)
	metric.Gauge(cfg.Metrics, "events", "Events known.", func() float64 { return float64(len(g.List())) })
	metric.Gauge(cfg.Metrics, "slots", "Segments of renditions that were published, looked for or are waited for.", func() float64 {
		n := 0
		for _, e := range g.List() {
			n += e.size()
		}
		return float64(n)
	})
	return g
}

// Get is the event of a name; nil where there is none.
func (g *Book) Get(id live.EventID) *Event {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.events[id]
}

// Timeline is that of an event, while it lives.
func (g *Book) Timeline(of journal.Life) (live.Timeline, bool) {
	if e := g.Get(of.Event); e != nil && e.Life == of.Life {
		return e.View().Config().Event.Timeline(), true
	}
	return live.Timeline{}, false
}

// HasTenant reports whether a tenant has an event, or had one lately.
func (g *Book) HasTenant(name string) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.tenants[name]
}

// Names is the Live-Names of a tenant's events, or for "" of the tenants, those of
// deleted events among them; empty where there are too many. A storm of names that
// there are not makes it once.
func (g *Book) Names(tenant string) string {
	g.mu.RLock()
	header, ok := g.names[tenant]
	g.mu.RUnlock()
	if ok {
		return header
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []string
	for id := range g.of[tenant] {
		list = append(list, id.Name)
	}
	if tenant == "" {
		list = slices.Collect(maps.Keys(g.tenants))
	}
	if n := live.NamesOf(list); n != nil {
		header = n.Header()
	}
	g.names[tenant] = header
	return header
}

// known is what memory has of a name: an event, or what one left, or neither.
func (g *Book) known(id live.EventID) (e *Event, tomb tombstone, dead bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	tomb, dead = g.tombs[id]
	return g.events[id], tomb, dead
}

// Stamp is the time of the newest token of what memory has of a name: 0 for nothing.
func (g *Book) Stamp(id live.EventID) int64 {
	e, tomb, _ := g.known(id)
	if e != nil {
		return e.View().ledger.newest()
	}
	return tomb.token.Time
}

// Reaches reports whether memory has what was stored of a name at that time.
func (g *Book) Reaches(id live.EventID, at int64) bool {
	e, tomb, _ := g.known(id)
	if e != nil {
		return e.View().ledger.reaches(at)
	}
	return at <= tomb.token.Time
}

// List is all events, in the order of their names.
func (g *Book) List() []*Event {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return slices.SortedFunc(maps.Values(g.events), func(a, b *Event) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
}

// enter makes e the event of its name.
func (g *Book) enter(e *Event) {
	g.mu.Lock()
	old := g.events[e.ID]
	delete(g.tombs, e.ID)
	g.events[e.ID] = e
	if g.of[e.ID.Tenant] == nil {
		g.of[e.ID.Tenant] = make(map[live.EventID]*Event)
	}
	g.of[e.ID.Tenant][e.ID] = e
	g.tenants[e.ID.Tenant] = true
	clear(g.names)
	g.mu.Unlock()
	if old != nil {
		old.wake()
	}
}

// bury makes the name that of a deleted event.
func (g *Book) bury(id live.EventID, tomb tombstone) {
	g.mu.Lock()
	old := g.events[id]
	delete(g.events, id)
	if of := g.of[id.Tenant]; len(of) > 1 {
		delete(of, id)
	} else if of[id] != nil {
		delete(g.of, id.Tenant)
	}
	g.tombs[id] = tomb
	g.tenants[id.Tenant] = true
	clear(g.names)
	g.mu.Unlock()
	if old != nil {
		old.wake() // those who wait find no event
	}
}

// prune forgets what deleted events left, as the store does.
func (g *Book) prune(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.tombs, func(_ live.EventID, t tombstone) bool { return now.Sub(t.At) > tombstoneLife })
	clear(g.tenants)
	clear(g.names)
	for id := range g.events {
		g.tenants[id.Tenant] = true
	}
	for id := range g.tombs {
		g.tenants[id.Tenant] = true
	}
}

// Announce tells the other nodes. It may fail: they look into the store.
func (g *Book) Announce(m announce.Message) {
	m.Node = g.Node
	if err := g.Bus.Announce(m); err != nil {
		g.lost.Inc()
		g.Log.Warn("announcement lost", "event", m.Event.String(), "rendition", m.Rendition, "number", int64(m.Candidate.Number), "err", err)
	}
}

// Changed announces a change of an event.
func (g *Book) Changed(id live.EventID) {
	g.Announce(announce.Message{Kind: announce.Changed, Event: id, Stamp: g.Stamp(id)})
}

// Learn enters a candidate and what it tells of the rendition's lateness. It
// reports whether it was news.
func (g *Book) Learn(e *Event, rendition string, c live.Candidate) bool {
	return g.learn(e, rendition, c, false)
}

func (g *Book) learn(e *Event, rendition string, c live.Candidate, ahead bool) bool {
	if !e.learn(rendition, c, ahead) {
		return false
	}
	tl := e.View().Config().Event.Timeline()
	if late, changed := e.measure(rendition, c, tl.Expected(c.Number)); changed {
		if err := e.setLateness(rendition, late); err != nil {
			g.Log.Error("observed lateness", "event", e.ID.String(), "rendition", rendition, "err", err)
		}
	}
	return true
}

// keepHouse is how often what is over is forgotten, and what no announcement
// told of is looked for. While announcements do not come, changes of events are
// looked for every checkVersions.
const (
	keepHouse     = 10 * time.Second
	checkVersions = time.Second
)

// Run keeps house, and first of all reads what Load has left, until ctx ends.
func (g *Book) Run(ctx context.Context) {
	var older sync.WaitGroup
	older.Go(func() { g.fillOlder(ctx) })
	defer older.Wait()
	tick := time.NewTicker(checkVersions)
	defer tick.Stop()
	kept, counted := time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		whole := now.Sub(kept) >= keepHouse
		if whole {
			kept = now
			for _, e := range g.List() {
				e.prune(g.Clock.Now())
			}
			g.prune(g.Clock.Now())
		}
		if whole || g.Bus.Health() != nil {
			g.checkEvents(ctx)
		}
		if whole {
			g.dropInits(ctx)
		}
		if g.Bounded && now.Sub(counted) >= keepUsage {
			counted = now
			g.keepUsage(ctx)
		}
	}
}

// checkEvents compares the versions of all events with the store's.
func (g *Book) checkEvents(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	if err := g.Check(ctx); err != nil && !errors.Is(err, context.Canceled) {
		g.Log.Warn("looking for changes", "err", err)
	}
	for _, e := range g.List() {
		if err := g.fold(ctx, e); err != nil && !errors.Is(err, context.Canceled) {
			g.Log.Warn("writing an event's record anew", "event", e.ID.String(), "err", err)
		}
	}
}
