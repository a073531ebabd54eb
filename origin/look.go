package origin

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"headwater/admit"
	"headwater/live"
	"headwater/store"
)

// A looker finds in the store what no announcement told of. It is also the one
// who lets delivery read from the store.
type looker struct {
	lookerConfig
	shared singleflight.Group
	held   chan struct{} // holds one when a request began to be held

	missed, scans, gatesFailed prometheus.Counter
}

// A lookerConfig is what a looker is built from.
type lookerConfig struct {
	book     *registry
	store    store.Store
	reads    *admit.Quota // store reads under way
	pace     *admit.Pace
	health   *dependency
	holding  func() int64  // requests held
	interval time.Duration // see Config.GuardInterval
	timeout  time.Duration // of one store operation
	log      *slog.Logger
	metrics  *prometheus.Registry
}

func newLooker(cfg lookerConfig) *looker {
	l := &looker{lookerConfig: cfg, held: make(chan struct{}, 1),
		missed:      newCounter(cfg.metrics, "missed_announcements_total", "Candidates found in the store that no announcement had told of."),
		scans:       newCounter(cfg.metrics, "guard_scans_total", "Looks into the store for segments that are waited for."),
		gatesFailed: newCounter(cfg.metrics, "init_looks_failed_total", "PUTs before which the store did not say in time whether the pipeline's init segment was refused at another node."),
	}
	newGauge(cfg.metrics, "store_slow_ratio", "Share of store reads for delivery that were slower than their target, in the last seconds.",
		func() float64 { return l.pace.Slow(time.Now()) })
	return l
}

// mayRead refuses readers while the store is slow.
func (l *looker) mayRead(class admit.Class, now time.Time) error {
	if !l.pace.Enter(class, now) {
		return live.ErrShed.With("the store is slow, and those of the " + class.String() + " class wait for it to recover")
	}
	return nil
}

// enter counts a read as under way, until leave.
func (l *looker) enter(tenant string, class admit.Class) (leave func(), err error) {
	if !l.reads.EnterFor(tenant, class, 1) {
		return nil, live.ErrShed.With("too many reads of the " + class.String() + " class are under way")
	}
	return func() { l.reads.LeaveFor(tenant, 1) }, nil
}

// observe notes how a store read for delivery went.
func (l *looker) observe(began time.Time, err error) {
	if errors.Is(err, context.Canceled) {
		return // nobody wanted it any more
	}
	now := time.Now()
	l.health.note(now, err)
	l.pace.Observe(now, now.Sub(began), err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrCorrupt))
}

// around learns from the store what was published of a rendition's segments from
// and to those numbers, inclusive, and counts the candidates that no announcement
// had told of.
func (l *looker) around(ctx context.Context, e *event, rendition string, from, to live.Number, class admit.Class) error {
	leave, err := l.enter(e.id.Tenant, class)
	if err != nil {
		return err
	}
	defer leave()
	var opt store.ScanOptions
	opt.From, _ = numberRange(from)
	_, opt.To = numberRange(to)
	began := time.Now()
	err = scan(ctx, l.store, l.log, mediaRecord(e.id, rendition), opt, func(item store.Item) error {
		c, life, err := decodeCandidate(item)
		if err == nil && life == e.life && l.book.learn(e, rendition, c) {
			l.missed.Inc()
		}
		return err
	})
	l.observe(began, err)
	return err
}

// segment is around for one that is about to be refused. However many ask, one
// looks, and not twice within half a guard interval.
func (l *looker) segment(ctx context.Context, e *event, tl *live.Timeline, rendition string, n live.Number, class admit.Class) error {
	now := time.Now()
	since := now.Add(-l.interval / 2)
	// A look before the deadline does not speak for the time up to it.
	if deadline := tl.Deadline(n); !now.Before(deadline) && since.Before(deadline) {
		since = deadline
	}
	if e.lookedSince(rendition, n, since) {
		return nil
	}
	if err := l.mayRead(class, now); err != nil {
		return err
	}
	return l.share(ctx, "look "+mediaRecord(e.id, rendition).ID+"/"+numberKey(n), func(ctx context.Context) error {
		began := time.Now()
		if e.lookedSince(rendition, n, since) {
			return nil // by one that ended just before this began
		}
		if err := l.around(ctx, e, rendition, n, n, class); err != nil {
			if !errors.Is(err, live.ErrShed) {
				l.log.Warn("look before giving up", "event", e.id.String(), "rendition", rendition, "number", int64(n), "err", err)
			}
			return err
		}
		e.looked(rendition, n, began)
		return nil
	})
}

// inits reads a rendition's init segments from the store; not twice within half a
// guard interval.
func (l *looker) inits(ctx context.Context, e *event, rendition string) error {
	now := time.Now()
	since := now.Add(-l.interval / 2)
	if e.lookedForInits(rendition).After(since) {
		return nil
	}
	return l.share(ctx, "init "+initRecord(e.id, rendition).ID, func(ctx context.Context) error {
		if e.lookedForInits(rendition).After(since) {
			return nil // by one that ended just before this began
		}
		if err := l.book.fillInits(ctx, e, rendition); err != nil {
			return err
		}
		e.setLookedForInits(rendition, now)
		return nil
	})
}

// gateLook bounds a look at a gate in the store. What it does not bring in time
// is not waited for: then the refusal must have been announced.
const gateLook = 250 * time.Millisecond

// gate learns from the store what another node may have decided of a pipeline's
// init segment.
func (l *looker) gate(ctx context.Context, e *event, rendition, pipeline string) {
	ctx, cancel := context.WithTimeout(ctx, gateLook)
	defer cancel()
	if err := l.book.fillGates(ctx, e, rendition, pipeline); err != nil {
		l.gatesFailed.Inc()
	}
}

// share runs f once for all who ask under one key at the same time, with a
// context that is not the first asker's: others wait too.
func (l *looker) share(ctx context.Context, key string, f func(ctx context.Context) error) error {
	ch := l.shared.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
		defer cancel()
		return nil, f(ctx)
	})
	select {
	case res := <-ch:
		return res.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hold tells the guard that a request is held.
func (l *looker) hold() {
	select {
	case l.held <- struct{}{}:
	default:
	}
}

// guard looks for segments that are waited for, in case their announcement was
// lost: every interval while anybody waits, with one scan per rendition, however
// many wait and for however many segments.
func (l *looker) guard(ctx context.Context) {
	var scans sync.WaitGroup
	defer scans.Wait()
	timer := time.NewTimer(l.interval)
	defer timer.Stop()
	for {
		select {
		case <-l.held:
		case <-ctx.Done():
			return
		}
		for timer.Reset(l.interval); l.holding() > 0; timer.Reset(l.interval) {
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			for _, e := range l.book.list() {
				for rendition, numbers := range e.toGuard(time.Now(), l.book.alone) {
					scans.Go(func() {
						l.guardRange(ctx, e, rendition, numbers)
						e.guardEnds(rendition)
					})
				}
			}
		}
	}
}

func (l *looker) guardRange(ctx context.Context, e *event, rendition string, numbers []live.Number) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	began := time.Now()
	l.scans.Inc()
	if err := l.around(ctx, e, rendition, slices.Min(numbers), slices.Max(numbers), admit.Live); err != nil {
		if ctx.Err() == nil {
			l.log.Warn("guard look", "event", e.id.String(), "rendition", rendition, "err", err)
		}
		return
	}
	for _, n := range numbers {
		e.looked(rendition, n, began)
	}
}
