// Package look finds in the store what no announcement told of, and lets those who
// deliver read from it. It holds no lock of its own.
package look

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"headwater/origin/book"
	"headwater/origin/health"
	"headwater/origin/layout"
	"headwater/origin/metric"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"headwater/admit"
	"headwater/live"
	"headwater/store"
)

// A Looker finds in the store what no announcement told of. It is also the one
// who lets delivery read from the store.
type Looker struct {
	Config
	shared singleflight.Group
	held   chan struct{} // holds one when a request began to be held

	Missed, scans, gatesFailed prometheus.Counter
}

// A Config is what a looker is built from.
type Config struct {
	Book     *book.Book
	Store    store.Store
	Reads    *admit.Share[string] // store reads under way
	Slow     *admit.Slowness      // of them
	Reading  *admit.Admission     // to them
	Health   *health.Dependency
	Holding  func() int64  // requests held
	Interval time.Duration // see Config.GuardInterval
	Timeout  time.Duration // of one store operation
	Log      *slog.Logger
	Metrics  *prometheus.Registry
}

// New returns a looker.
func New(cfg Config) *Looker {
	l := &Looker{Config: cfg, held: make(chan struct{}, 1),
		Missed:      metric.Counter(cfg.Metrics, "missed_announcements_total", "Candidates found in the store that no announcement had told of."),
		scans:       metric.Counter(cfg.Metrics, "guard_scans_total", "Looks into the store for segments that are waited for."),
		gatesFailed: metric.Counter(cfg.Metrics, "init_looks_failed_total", "PUTs before which the store did not say in time whether the pipeline's init segment was refused at another node."),
	}
	metric.Gauge(cfg.Metrics, "store_slow_ratio", "Share of store reads for delivery that were slower than their target, in the last seconds.",
		func() float64 { return l.Slow.Slow(time.Now()) })
	return l
}

// MayRead refuses readers while the store is slow; key is that of what they read.
func (l *Looker) MayRead(class admit.Class, key uint64, now time.Time) error {
	if !l.Reading.Admit(class, key, now) {
		return live.ErrShed.With("the store is slow, and those of the " + class.String() + " class wait for it to recover")
	}
	return nil
}

// Enter counts a read as under way, until leave.
func (l *Looker) Enter(tenant string, class admit.Class) (leave func(), err error) {
	if !l.Reads.Enter(tenant, class, 1) {
		return nil, live.ErrShed.With("too many reads of the " + class.String() + " class are under way")
	}
	return func() { l.Reads.Leave(tenant, 1) }, nil
}

// Observe notes how a store read for delivery went, which began when store.WorkClock of
// ctx said so: who waits for his turn to read does not wait for the store.
func (l *Looker) Observe(ctx context.Context, began time.Time, err error) {
	if errors.Is(err, context.Canceled) {
		return // nobody wanted it any more
	}
	now := time.Now()
	took := store.WorkClock(ctx).Sub(began)
	if errors.Is(err, context.DeadlineExceeded) && took < l.Timeout/2 {
		return // others had its time
	}
	l.Health.Note(now, err)
	l.Slow.Observe(now, took, err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrCorrupt))
}

// Around learns from the store what was published of a rendition's segments from
// and to those numbers, inclusive, and counts the candidates that no announcement
// had told of.
func (l *Looker) Around(ctx context.Context, e *book.Event, rendition string, from, to live.Number, class admit.Class) (news int, err error) {
	leave, err := l.Enter(e.ID.Tenant, class)
	if err != nil {
		return 0, err
	}
	defer leave()
	var opt store.ScanOptions
	opt.From, _ = layout.NumberRange(from)
	_, opt.To = layout.NumberRange(to)
	began := store.WorkClock(ctx)
	err = layout.Scan(ctx, l.Store, l.Log, layout.Media(e.ID, rendition), opt, func(item store.Item) error {
		c, life, err := layout.DecodeCandidate(item)
		if err == nil && life == e.Life && l.Book.Learn(e, rendition, c) {
			l.Missed.Inc()
			news++
		}
		return err
	})
	l.Observe(ctx, began, err)
	return news, err
}

// Segment is around for one that is about to be refused, and for those before it from
// a number on. However many ask, one looks, and not twice within half a guard interval.
func (l *Looker) Segment(ctx context.Context, e *book.Event, tl *live.Timeline, rendition string, from, n live.Number, class admit.Class, key uint64) error {
	now := l.Book.Clock.Now()
	since := now.Add(-l.Interval / 2)
	// A look before the deadline does not speak for the time up to it.
	if deadline := tl.Deadline(n); !now.Before(deadline) && since.Before(deadline) {
		since = deadline
	}
	if e.LookedSince(rendition, n, since) {
		return nil
	}
	if err := l.MayRead(class, key, time.Now()); err != nil {
		return err
	}
	return l.share(ctx, "look "+layout.Media(e.ID, rendition).ID+"/"+layout.NumberKey(n), func(ctx context.Context) error {
		began := l.Book.Clock.Now()
		if e.LookedSince(rendition, n, since) {
			return nil // by one that ended just before this began
		}
		if _, err := l.Around(ctx, e, rendition, from, n, class); err != nil {
			if !errors.Is(err, live.ErrShed) {
				l.Log.Warn("look before giving up", "event", e.ID.String(), "rendition", rendition, "number", int64(n), "err", err)
			}
			return err
		}
		e.Looked(rendition, n, began)
		return nil
	})
}

// Know reads blocks of numbers of which it is not known what was published of them:
// however many ask, each is read once.
func (l *Looker) Know(ctx context.Context, e *book.Event, blocks []live.Number) error {
	for _, b := range blocks {
		key := fmt.Sprintf("know %v/%d/%d", e.ID, e.Life, b)
		if err := l.share(ctx, key, func(ctx context.Context) error { return l.Book.FillBlock(ctx, e, b) }); err != nil {
			return err
		}
	}
	return nil
}

// Inits reads a rendition's init segments from the store; not twice within half a
// guard interval.
func (l *Looker) Inits(ctx context.Context, e *book.Event, rendition string) error {
	now := time.Now()
	since := now.Add(-l.Interval / 2)
	if e.LookedForInits(rendition).After(since) {
		return nil
	}
	return l.share(ctx, "init "+layout.Inits(e.ID, rendition).ID, func(ctx context.Context) error {
		if e.LookedForInits(rendition).After(since) {
			return nil // by one that ended just before this began
		}
		if err := l.Book.FillInits(ctx, e, rendition); err != nil {
			return err
		}
		e.SetLookedForInits(rendition, now)
		return nil
	})
}

// gateLook bounds a look at a gate in the store. What it does not bring in time
// is not waited for: then the refusal must have been announced.
const gateLook = 250 * time.Millisecond

// Gate learns from the store what another node may have decided of a pipeline's
// init segment.
func (l *Looker) Gate(ctx context.Context, e *book.Event, rendition, pipeline string) {
	ctx, cancel := context.WithTimeout(ctx, gateLook)
	defer cancel()
	if err := l.Book.FillGates(ctx, e, rendition, pipeline); err != nil {
		l.gatesFailed.Inc()
	}
}

// share runs f once for all who ask under one key at the same time, with a
// context that is not the first asker's: others wait too.
func (l *Looker) share(ctx context.Context, key string, f func(ctx context.Context) error) error {
	ch := l.shared.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), l.Timeout)
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

// Hold tells the guard that a request is held.
func (l *Looker) Hold() {
	select {
	case l.held <- struct{}{}:
	default:
	}
}

// Guard looks for segments that are waited for, in case their announcement was
// lost: every interval while anybody waits, with one scan per rendition, however
// many wait and for however many segments.
func (l *Looker) Guard(ctx context.Context) {
	var scans sync.WaitGroup
	defer scans.Wait()
	timer := time.NewTimer(l.Interval)
	defer timer.Stop()
	for {
		select {
		case <-l.held:
		case <-ctx.Done():
			return
		}
		for timer.Reset(l.Interval); l.Holding() > 0; timer.Reset(l.Interval) {
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			for _, e := range l.Book.List() {
				for rendition, numbers := range e.ToGuard(l.Book.Clock.Now(), l.Book.Alone) {
					scans.Go(func() {
						l.guardRange(ctx, e, rendition, numbers)
						e.GuardEnds(rendition)
					})
				}
			}
		}
	}
}

func (l *Looker) guardRange(ctx context.Context, e *book.Event, rendition string, numbers []live.Number) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	began := l.Book.Clock.Now()
	l.scans.Inc()
	if _, err := l.Around(ctx, e, rendition, slices.Min(numbers), slices.Max(numbers), admit.Live); err != nil {
		if ctx.Err() == nil {
			l.Log.Warn("guard look", "event", e.ID.String(), "rendition", rendition, "err", err)
		}
		return
	}
	for _, n := range numbers {
		e.Looked(rendition, n, began)
	}
}
