// Package origin takes segments from redundant pipelines, keeps what is good,
// and answers for them. Its publishing and delivering sides share the tables
// of what was published and nothing else: no pool, no limit, no queue.
package origin

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

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
	store    store.Store
	tokens   *store.Tokens
	events   *registry
	window   *window
	metrics  *metrics
	draining chan struct{} // closed by Drain
	drain    sync.Once

	// Publishing side.
	bodies *admit.Gate // bytes being read
	busy   busyKeys    // slots being published

	// Delivering side.
	holds *admit.Gate        // requests held
	reads *admit.Gate        // store reads under way
	gets  singleflight.Group // store reads of segments, by window key
	looks singleflight.Group // looks into the store for a lost announcement
}

// New builds an origin and reads from the store what there is.
func New(ctx context.Context, cfg Config) (*Origin, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	tokens := store.NewTokens()
	o := &Origin{
		cfg: cfg, log: cfg.Log, store: cfg.Store, tokens: tokens,
		events:   newRegistry(cfg.Store, tokens),
		window:   newWindow(cfg.MemoryBytes),
		draining: make(chan struct{}),
		bodies:   admit.NewGate(cfg.PublishBytes),
		busy:     busyKeys{keys: make(map[busyKey]chan struct{})},
		holds:    admit.NewGate(cfg.MaxHolds),
		reads:    admit.NewGate(cfg.MaxReads),
	}
	o.metrics = newMetrics(cfg.Metrics, o)
	if err := o.events.load(ctx); err != nil {
		return nil, fmt.Errorf("origin: reading the store: %w", err)
	}
	return o, nil
}

// Run listens to announcements and forgets what has left its DVR window, until
// ctx ends.
func (o *Origin) Run(ctx context.Context) error {
	defer o.cfg.Bus.Subscribe(o.hear)()
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			o.Drain()
			return nil
		case <-tick.C:
			for _, e := range o.events.list() {
				e.prune(time.Now())
			}
		}
	}
}

// Drain answers every hold, now and from now on, so that the listeners can
// shut down. It may be called more than once.
func (o *Origin) Drain() { o.drain.Do(func() { close(o.draining) }) }

// hear takes an announcement into the tables.
func (o *Origin) hear(m announce.Message) {
	e := o.events.get(m.Event)
	if e == nil || m.Kind != announce.Published {
		return
	}
	o.learn(e, m.Rendition, m.Candidate)
}

// learn enters a candidate and what it tells of the rendition's lateness.
func (o *Origin) learn(e *event, rendition string, c live.Candidate) {
	if !e.learn(rendition, c) {
		return
	}
	cfg := e.view.Load().config()
	tl := cfg.Event.Timeline()
	if late, changed := e.measure(rendition, c, tl.Expected(c.Number)); changed {
		if err := e.setLateness(rendition, late); err != nil {
			o.log.Error("observed lateness", "event", e.id.String(), "rendition", rendition, "err", err)
		}
	}
}

// look reads from the store what was published of a segment, in case an
// announcement was lost. However many ask, one looks, and not twice within
// half a guard interval.
func (o *Origin) look(ctx context.Context, e *event, rendition string, n live.Number) {
	key := mediaRecord(e.id, rendition).ID + "/" + numberKey(n)
	ch := o.looks.DoChan(key, func() (any, error) {
		e.mu.Lock()
		s := e.slot(rendition, n)
		recent := time.Since(s.looked) < o.cfg.GuardInterval/2
		if !recent {
			s.looked = time.Now()
		}
		e.mu.Unlock()
		if recent {
			return nil, nil
		}
		// The looker's context is not the first asker's: others wait too.
		ctx, cancel := context.WithTimeout(context.Background(), o.cfg.StoreTimeout)
		defer cancel()
		from := numberKey(n)
		err := scan(ctx, o.store, mediaRecord(e.id, rendition), from, from[:len(from)-1]+"0", false, func(item store.Item) error {
			c, err := decodeCandidate(item)
			if err == nil && e.learn(rendition, c) {
				o.metrics.missedAnnouncements.Inc()
			}
			return err
		})
		if err != nil {
			o.log.Warn("guard look", "event", e.id.String(), "rendition", rendition, "number", int64(n), "err", err)
		}
		return nil, err
	})
	select {
	case <-ch:
	case <-ctx.Done():
	}
}
