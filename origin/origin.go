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
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/admit"
	"headwater/announce"
	"headwater/store"
)

// An Origin is one node. New makes it, Run keeps house until its context ends,
// and the handlers serve.
type Origin struct {
	book     *registry
	look     *looker
	hear     *listener
	journal  *journal
	watchman *watchman
	health   *readiness

	publish *publishServer
	deliver *deliverServer
	control http.Handler

	draining chan struct{} // closed by Drain
	drain    sync.Once
}

// New builds an origin and reads from the store what there is.
func New(ctx context.Context, cfg Config) (*Origin, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	node, tokens := rand.Text(), store.NewTokens()
	_, alone := cfg.Bus.(*announce.Local)
	var (
		bodies = admit.NewQuota(cfg.PublishBytes, cfg.TenantPercent)
		holds  = admit.NewQuota(cfg.MaxHolds, cfg.TenantPercent)
		reads  = admit.NewQuota(cfg.MaxReads, cfg.TenantPercent)
		egress = admit.NewQuota(cfg.EgressBytes, cfg.TenantPercent)
		pace   = admit.NewPace(cfg.ReadTarget)
		window = newWindow(cfg.MemoryBytes)
	)
	for _, c := range admit.Classes {
		opts := prometheus.CounterOpts{Name: originName("shed_total"), Help: "Requests shed by class.", ConstLabels: prometheus.Labels{"class": c.String()}}
		cfg.Metrics.MustRegister(prometheus.NewCounterFunc(opts, func() float64 {
			return float64(holds.Shed(c) + reads.Shed(c) + bodies.Shed(c) + egress.Shed(c) + pace.Shed(c))
		}))
	}
	o := &Origin{draining: make(chan struct{})}
	o.health = &readiness{writes: writesOf(cfg.Store, node, tokens), reads: readsOf(cfg.DeliverStore, node), bus: cfg.Bus, draining: o.draining, metrics: cfg.Metrics}
	o.book = newRegistry(registryConfig{store: cfg.Store, tokens: tokens, bus: cfg.Bus, node: node, alone: alone,
		timeout: cfg.StoreTimeout, log: cfg.Log, metrics: cfg.Metrics})
	o.look = newLooker(lookerConfig{book: o.book, store: cfg.DeliverStore, reads: reads, pace: pace, health: o.health.reads, holding: holds.Used,
		interval: cfg.GuardInterval, timeout: cfg.StoreTimeout, log: cfg.Log, metrics: cfg.Metrics})
	o.hear = newListener(o.book, o.look, cfg.StoreTimeout, cfg.Log, cfg.Metrics)
	o.journal = newJournal(journalConfig{store: cfg.Store, reader: cfg.DeliverStore, tokens: tokens, node: node, timeout: cfg.StoreTimeout,
		timeline: o.book.timeline, log: cfg.Log, metrics: cfg.Metrics})
	o.watchman = newWatchman(o.book, cfg.Log, cfg.Metrics)
	o.publish = newPublishServer(publishConfig{book: o.book, look: o.look, window: window, cache: cfg.Cache, bodies: bodies, writes: o.health.writes,
		access: cfg.Access, maxSegmentBytes: cfg.MaxSegmentBytes, bodyTimeout: cfg.BodyTimeout, storeTimeout: cfg.StoreTimeout,
		futureTolerance: cfg.FutureTolerance, log: cfg.Log, metrics: cfg.Metrics})
	o.deliver = newDeliverServer(deliverConfig{book: o.book, look: o.look, window: window, journal: o.journal, watchman: o.watchman, cache: cfg.DeliverCache,
		holds: holds, egress: egress, asking: admit.NewQuota(maxFallbacks, cfg.TenantPercent), draining: o.draining,
		region: cfg.Region, writeTimeout: cfg.WriteTimeout, storeTimeout: cfg.StoreTimeout, fallback: cfg.Fallback, fallbackAfter: cfg.FallbackAfter,
		log: cfg.Log, metrics: cfg.Metrics})
	o.control = newControl(controlConfig{book: o.book, window: window, journal: o.journal, watchman: o.watchman,
		access: cfg.Access, hosts: cfg.ControlHosts, bodyTimeout: cfg.BodyTimeout, storeTimeout: cfg.StoreTimeout, log: cfg.Log})
	if err := o.book.load(ctx); err != nil {
		return nil, fmt.Errorf("origin: reading the store: %w", err)
	}
	return o, nil
}

// PublishHandler serves the publish listener.
func (o *Origin) PublishHandler() http.Handler { return o.health.beside(publishRole, o.publish) }

// DeliverHandler serves the delivery listener.
func (o *Origin) DeliverHandler() http.Handler { return o.health.beside(deliverRole, o.deliver) }

// ControlHandler serves the control listener.
func (o *Origin) ControlHandler() http.Handler { return o.health.beside(controlRole, o.control) }

// Run listens to announcements, looks for what is waited for and keeps house until
// ctx ends.
func (o *Origin) Run(ctx context.Context) error {
	defer o.Drain()
	defer o.deliver.far.CloseIdleConnections()
	var tasks sync.WaitGroup
	for _, run := range [...]func(context.Context){o.hear.run, o.look.guard, o.watchman.run, o.journal.run, o.book.run} {
		tasks.Go(func() { run(ctx) })
	}
	tasks.Wait()
	return nil
}

// Drain answers every hold, now and from now on, so that the listeners can
// shut down. It may be called more than once.
func (o *Origin) Drain() { o.drain.Do(func() { close(o.draining) }) }
