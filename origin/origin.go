// Package origin takes segments from redundant pipelines, keeps what is good,
// and answers for them. Its publishing and delivering sides share the tables
// of what was published and nothing else: no pool, no limit, no queue.
//
// This package is its face and the wiring; each part is a package below it, whose
// comment has its locks.
package origin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"headwater/origin/audit"
	"headwater/origin/book"
	"headwater/origin/control"
	"headwater/origin/deliver"
	"headwater/origin/health"
	"headwater/origin/hear"
	"headwater/origin/journal"
	"headwater/origin/look"
	"headwater/origin/metric"
	"headwater/origin/publish"
	"headwater/origin/watch"
	"headwater/origin/window"

	"headwater/admit"
	"headwater/announce"
	"headwater/clock"
	"headwater/listen/plain"
	"headwater/store"
)

// An Origin is one node. New makes it, Run keeps house until its context ends,
// and the handlers serve.
type Origin struct {
	clock    *clock.Clock
	book     *book.Book
	look     *look.Looker
	hear     *hear.Listener
	journal  *journal.Journal
	timer    store.Timer // nil: the store has no clock but this process's
	watchman *watch.Watchman
	audit    *audit.Log
	health   *health.Readiness

	publish *publish.Server
	deliver *deliver.Server
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
	clk, node, tokens := cfg.Clock, rand.Text(), store.TokensBy(cfg.Clock.Now)
	_, alone := cfg.Bus.(*announce.Local)
	var (
		bodies       = admit.NewShare[string](cfg.PublishBytes, cfg.TenantPercent)
		pipelines    = admit.NewShareOf[publish.Publisher](1<<50, max(cfg.PublishBytes*int64(cfg.TenantPercent)/200, 2*cfg.MaxSegmentBytes))
		publications = admit.NewShare[string](maxPublications, cfg.TenantPercent)
		holds        = admit.NewShare[string](cfg.MaxHolds, cfg.TenantPercent)
		reads        = admit.NewShare[string](cfg.MaxReads, cfg.TenantPercent)
		watching     = admit.NewShareOf[netip.Addr](cfg.MaxHolds, max(cfg.MaxHolds/50, 16)) // half of it: they are of the lowest class
		sent         = admit.NewShareOf[netip.Addr](1<<50, cfg.EgressBytes/2)
		egress       = admit.NewShare[string](cfg.EgressBytes, cfg.TenantPercent)
		slow         = admit.NewSlowness(cfg.ReadTarget)
		window       = window.New(cfg.MemoryBytes, cfg.TenantPercent)
	)
	cfg.Budget.Count(bodies.Used)
	cfg.Budget.Count(func() int64 { _, bytes := window.Size(); return bytes })
	admission := admit.NewAdmission(cfg.Turns, cfg.Late, func(time.Time) admit.Signals {
		return admit.Signals{Bytes: egress.Pressure(), Held: holds.Pressure(), Files: cfg.Connections()}
	})
	reading := admit.NewAdmission(nil, nil, func(now time.Time) admit.Signals {
		return admit.Signals{Store: slow.Pressure(now)}
	})
	measureAdmission(cfg.Metrics, []shedder{holds, reads, bodies, pipelines, publications, watching, sent, egress, admission, reading}, admission, reading)
	tenants := metric.NewTenants(cfg.Metrics)
	cfg.Metrics.MustRegister(clk)
	o := &Origin{clock: clk, timer: store.TimerOf(cfg.Store), draining: make(chan struct{})}
	o.health = &health.Readiness{Clock: clk, Writes: health.WritesOf(clk, cfg.Store, node, tokens), Reads: health.ReadsOf(cfg.DeliverStore, node), Bus: cfg.Bus, Store: cfg.Store, Draining: o.draining, Access: cfg.Access, Metrics: cfg.Metrics}
	o.book = book.New(book.Config{Clock: clk, Store: cfg.Store, Tokens: tokens, Bus: cfg.Bus, Node: node, Alone: alone,
		Timeout: cfg.StoreTimeout, Bounded: cfg.TenantBytes > 0, Lead: deliver.Lead, Log: cfg.Log, Metrics: cfg.Metrics})
	o.look = look.New(look.Config{Book: o.book, Store: cfg.DeliverStore, Reads: reads, Slow: slow, Reading: reading, Health: o.health.Reads, Holding: holds.Used,
		Interval: cfg.GuardInterval, Timeout: cfg.StoreTimeout, Log: cfg.Log, Metrics: cfg.Metrics})
	o.hear = hear.New(o.book, o.look, cfg.StoreTimeout, cfg.Log, cfg.Metrics)
	o.journal = journal.New(journal.Config{Store: cfg.Store, Reader: cfg.DeliverStore, Tokens: tokens, Node: node, Timeout: cfg.StoreTimeout,
		Timeline: o.book.Timeline, Log: cfg.Log, Metrics: cfg.Metrics})
	o.watchman = watch.New(o.book, cfg.Log, cfg.Metrics)
	o.audit = audit.New(clk, cfg.Store, tokens, node, cfg.StoreTimeout, cfg.Log, cfg.Metrics)
	o.publish = publish.New(publish.Config{Clock: clk, Book: o.book, Look: o.look, Window: window, Cache: cfg.Cache, Bodies: bodies, PipelineBodies: pipelines, Budget: cfg.Budget, Publications: publications, Rates: admit.NewRates[string](cfg.TenantRate), TenantBytes: cfg.TenantBytes, Tenants: tenants, Turns: cfg.Turns, Writes: o.health.Writes,
		Access: cfg.Access, Audit: o.audit, Journal: o.journal, MaxSegmentBytes: cfg.MaxSegmentBytes, BodyTimeout: cfg.BodyTimeout, StoreTimeout: cfg.StoreTimeout,
		FutureTolerance: cfg.FutureTolerance, Log: cfg.Log, Metrics: cfg.Metrics})
	o.deliver = deliver.New(deliver.Config{Clock: clk, Access: cfg.Access, Private: cfg.Private, Book: o.book, Look: o.look, Window: window, Journal: o.journal, Watchman: o.watchman, Cache: cfg.DeliverCache,
		Admission: admission, Turns: cfg.Turns, Holds: holds, Budget: cfg.Budget, Egress: egress, Watching: watching, Sent: sent, Asking: admit.NewShare[string](deliver.MaxFallbacks, cfg.TenantPercent), Draining: o.draining,
		Region: cfg.Region, StoreTimeout: cfg.StoreTimeout, Fallback: cfg.Fallback, FallbackAfter: cfg.FallbackAfter,
		Log: cfg.Log, Metrics: cfg.Metrics})
	o.control = control.New(control.Config{Clock: clk, Audit: o.audit, Book: o.book, Window: window, Journal: o.journal, Watchman: o.watchman,
		Access: cfg.Access, Hosts: cfg.ControlHosts, TenantEvents: cfg.TenantEvents, TenantRenditions: cfg.TenantRenditions, TenantBytes: cfg.TenantBytes, Tenants: tenants,
		BodyTimeout: cfg.BodyTimeout, StoreTimeout: cfg.StoreTimeout, Log: cfg.Log})
	if err := o.load(ctx, cfg.Log); err != nil {
		return nil, fmt.Errorf("origin: reading the store: %w", err)
	}
	return o, nil
}

// load reads the store. One that does not answer is waited for, with a line every
// second.
func (o *Origin) load(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		err := o.book.Load(ctx)
		if !errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		log.Warn("waiting for the store", "err", err)
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// PublishHandler serves the publish listener.
func (o *Origin) PublishHandler() http.Handler { return o.health.Beside(health.PublishRole, o.publish) }

// DeliverHandler serves the delivery listener.
func (o *Origin) DeliverHandler() http.Handler { return o.health.Beside(health.DeliverRole, o.deliver) }

// Refuse appends the answer to a plain request at the delivery listener that memory alone
// refuses, as DeliverHandler would give it; and nothing where that has to (listen.Limits).
func (o *Origin) Refuse(b []byte, h *plain.Head) []byte {
	if path, _, _ := plain.CutQuery(h.Target); health.Serves(path) {
		return b
	}
	return o.deliver.Refuse(b, h)
}

// ControlHandler serves the control listener.
func (o *Origin) ControlHandler() http.Handler { return o.health.Beside(health.ControlRole, o.control) }

// Run listens to announcements, looks for what is waited for and keeps house until
// ctx ends.
func (o *Origin) Run(ctx context.Context) error {
	defer o.Drain()
	defer o.deliver.Close()
	var tasks sync.WaitGroup
	for _, run := range [...]func(context.Context){o.clock.Run, o.hear.Run, o.look.Guard, o.watchman.Run, o.audit.Run, o.journal.Run, o.book.Run} {
		tasks.Go(func() { run(ctx) })
	}
	if o.timer != nil {
		tasks.Go(func() { o.clock.Ask(ctx, clock.Store, o.timer.Time) })
	}
	tasks.Wait()
	return nil
}

// Drain answers every hold, now and from now on, so that the listeners can
// shut down. It may be called more than once.
func (o *Origin) Drain() { o.drain.Do(func() { close(o.draining) }) }
