// Package origin takes segments from redundant pipelines, keeps what is good,
// and answers for them. Its publishing and delivering sides share the tables
// of what was published and nothing else: no pool, no limit, no queue.
//
// Locks: an event's turn (registry.turns) may be held while the store is asked;
// all other locks are held for memory only. None is held while another is taken
// but two, which come before the registry's and an event's: the watchman's, and
// the one under which an event gets its counters.
package origin

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"golang.org/x/sync/singleflight"

	"headwater/admit"
	"headwater/announce"
	"headwater/live"
	"headwater/store"
)

// An Origin is one node. New makes it, Run keeps house until its context ends,
// and the handlers serve.
type Origin struct {
	cfg      Config
	log      *slog.Logger
	node     string // what announcements call this node
	store    store.Store
	tokens   *store.Tokens
	events   *registry
	window   *window
	metrics  *metrics
	watchman *watchman
	inbox    *inbox
	journal  *journal
	alone    bool          // no other node announces anything
	held     chan struct{} // holds one when a request began to be held
	draining chan struct{} // closed by Drain
	drain    sync.Once

	// Publishing side.
	bodies *admit.Quota    // bytes being read
	writes *dependency     // the store's
	busy   *turns[busyKey] // slots being published

	// Delivering side.
	reader    store.Store
	readings  *dependency        // of reader
	pace      *admit.Pace        // of reader
	holds     *admit.Quota       // requests held
	reads     *admit.Quota       // store reads under way
	egress    *admit.Quota       // bytes being sent
	fallbacks *admit.Quota       // segments asked of other regions
	far       *http.Client       // for them
	shared    singleflight.Group // store reads, each once for all who ask
}

// A busyKey is what one publication at a time may change.
type busyKey struct {
	event     live.EventID
	pipeline  string
	rendition string
	number    live.Number // -1 for the init segment
}

// New builds an origin and reads from the store what there is.
func New(ctx context.Context, cfg Config) (*Origin, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	tokens := store.NewTokens()
	o := &Origin{
		cfg: cfg, log: cfg.Log, node: rand.Text(), store: cfg.Store, tokens: tokens,
		events:    newRegistry(cfg.Store, tokens, cfg.StoreTimeout, cfg.Log),
		window:    newWindow(cfg.MemoryBytes),
		inbox:     newInbox(),
		held:      make(chan struct{}, 1),
		draining:  make(chan struct{}),
		bodies:    admit.NewQuota(cfg.PublishBytes, cfg.TenantPercent),
		busy:      newTurns[busyKey](),
		reader:    cfg.DeliverStore,
		pace:      admit.NewPace(cfg.ReadTarget),
		holds:     admit.NewQuota(cfg.MaxHolds, cfg.TenantPercent),
		reads:     admit.NewQuota(cfg.MaxReads, cfg.TenantPercent),
		egress:    admit.NewQuota(cfg.EgressBytes, cfg.TenantPercent),
		fallbacks: admit.NewQuota(maxFallbacks, cfg.TenantPercent),
		far:       fallbackClient(),
	}
	o.newDependencies()
	_, o.alone = cfg.Bus.(*announce.Local)
	o.events.saidAgain = o.changed
	o.metrics = newMetrics(cfg.Metrics, o)
	o.journal = newJournal(o)
	o.watchman = newWatchman(o)
	if err := o.events.load(ctx); err != nil {
		return nil, fmt.Errorf("origin: reading the store: %w", err)
	}
	return o, nil
}

// Drain answers every hold, now and from now on, so that the listeners can
// shut down. It may be called more than once.
func (o *Origin) Drain() { o.drain.Do(func() { close(o.draining) }) }
