// Package origin takes segments from redundant pipelines, keeps what is good,
// and answers for them. Its publishing and delivering sides share the tables
// of what was published and nothing else: no pool, no limit, no queue.
//
// Locks: an event's turn (registry.turns) may be held while the store is asked;
// all other locks are held for memory only, and none while another is taken.
package origin

import (
	"context"
	"crypto/rand"
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
	node     string // what announcements call this node
	store    store.Store
	tokens   *store.Tokens
	events   *registry
	window   *window
	metrics  *metrics
	inbox    *inbox
	draining chan struct{} // closed by Drain
	drain    sync.Once

	// Publishing side.
	bodies *admit.Gate     // bytes being read
	busy   *turns[busyKey] // slots being published

	// Delivering side.
	holds  *admit.Gate        // requests held
	reads  *admit.Gate        // store reads under way
	shared singleflight.Group // store reads, each once for all who ask
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
		events:   newRegistry(cfg.Store, tokens, cfg.StoreTimeout, cfg.Log),
		window:   newWindow(cfg.MemoryBytes),
		inbox:    newInbox(),
		draining: make(chan struct{}),
		bodies:   admit.NewGate(cfg.PublishBytes),
		busy:     newTurns[busyKey](),
		holds:    admit.NewGate(cfg.MaxHolds),
		reads:    admit.NewGate(cfg.MaxReads),
	}
	o.metrics = newMetrics(cfg.Metrics, o)
	if err := o.events.load(ctx); err != nil {
		return nil, fmt.Errorf("origin: reading the store: %w", err)
	}
	return o, nil
}

// keepHouse is how often what is over is forgotten, and what no announcement
// told of is looked for.
const keepHouse = 10 * time.Second

// Run listens to announcements and keeps house until ctx ends.
func (o *Origin) Run(ctx context.Context) error {
	defer o.Drain()
	defer o.cfg.Bus.Subscribe(o.hear)()
	tick := time.NewTicker(keepHouse)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-o.inbox.filled:
			o.catchUp(ctx)
		case <-tick.C:
			now := time.Now()
			for _, e := range o.events.list() {
				e.prune(now)
			}
			o.events.prune(now)
			if err := o.events.check(ctx); err != nil && ctx.Err() == nil {
				o.log.Warn("looking for changes", "err", err)
			}
		}
	}
}

// Drain answers every hold, now and from now on, so that the listeners can
// shut down. It may be called more than once.
func (o *Origin) Drain() { o.drain.Do(func() { close(o.draining) }) }

// hear takes an announcement of another node: a segment into the tables at
// once, all else into the inbox, since it has to be read from the store.
func (o *Origin) hear(m announce.Message) {
	if m.Node == o.node {
		return
	}
	if m.Kind != announce.Published {
		o.inbox.put(errand{m.Kind, m.Event, m.Rendition})
		return
	}
	if e := o.events.get(m.Event); e != nil && e.life == m.Life {
		o.learn(e, m.Rendition, m.Candidate)
	}
}

// catchUp reads from the store what announcements said is new there.
func (o *Origin) catchUp(ctx context.Context) {
	for _, x := range o.inbox.take() {
		var err error
		if e := o.events.get(x.event); x.kind == announce.Init && e != nil {
			if _, ok := e.view.Load().timelines[x.rendition]; ok {
				err = o.readInits(ctx, e, x.rendition)
			}
		} else {
			err = o.events.refresh(ctx, x.event)
		}
		if err != nil && ctx.Err() == nil {
			o.log.Warn("after an announcement", "event", x.event.String(), "err", err)
		}
	}
}

func (o *Origin) readInits(ctx context.Context, e *event, rendition string) error {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.StoreTimeout)
	defer cancel()
	return o.events.fillInits(ctx, e, rendition)
}

// An inbox holds what is to be read from the store, each thing once.
type inbox struct {
	filled chan struct{} // holds one while there is something

	mu   sync.Mutex // guards todo
	todo map[errand]struct{}
}

type errand struct {
	kind      announce.Kind
	event     live.EventID
	rendition string
}

// maxErrands bounds an inbox. What does not fit is found when house is kept.
const maxErrands = 10_000

func newInbox() *inbox {
	return &inbox{filled: make(chan struct{}, 1), todo: make(map[errand]struct{})}
}

func (b *inbox) put(x errand) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.todo) < maxErrands {
		b.todo[x] = struct{}{}
	}
	select {
	case b.filled <- struct{}{}:
	default:
	}
}

func (b *inbox) take() []errand {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]errand, 0, len(b.todo))
	for x := range b.todo {
		all = append(all, x)
	}
	clear(b.todo)
	return all
}
