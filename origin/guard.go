package origin

import (
	"context"
	"slices"
	"sync"
	"time"

	"headwater/admit"
	"headwater/live"
	"headwater/store"
)

// guard looks into the store for segments that are waited for, in case their
// announcement was lost: every GuardInterval while anybody waits, with one scan
// per rendition, however many wait and for however many segments.
func (o *Origin) guard(ctx context.Context) {
	var scans sync.WaitGroup
	defer scans.Wait()
	timer := time.NewTimer(o.cfg.GuardInterval)
	defer timer.Stop()
	for {
		select {
		case <-o.held:
		case <-ctx.Done():
			return
		}
		for timer.Reset(o.cfg.GuardInterval); o.holds.Used() > 0; timer.Reset(o.cfg.GuardInterval) {
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			for _, e := range o.events.list() {
				for rendition, numbers := range e.toGuard(time.Now(), o.alone) {
					scans.Go(func() {
						o.guardRange(ctx, e, rendition, numbers)
						e.guardEnds(rendition)
					})
				}
			}
		}
	}
}

func (o *Origin) guardRange(ctx context.Context, e *event, rendition string, numbers []live.Number) {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.StoreTimeout)
	defer cancel()
	began := time.Now()
	o.metrics.guardScans.Inc()
	if err := o.lookAtRange(ctx, e, rendition, slices.Min(numbers), slices.Max(numbers), admit.Live); err != nil {
		if ctx.Err() == nil {
			o.log.Warn("guard look", "event", e.id.String(), "rendition", rendition, "err", err)
		}
		return
	}
	for _, n := range numbers {
		e.looked(rendition, n, began)
	}
}

// toGuard returns by rendition the segments that are waited for and may have
// been published by another node, of which no scan is under way. Where no other
// node announces anything, none is published before it is expected without
// being known; from others it may come once its last frame was filmed.
func (e *event) toGuard(now time.Time, alone bool) map[string][]live.Number {
	v := e.view.Load()
	e.mu.Lock()
	defer e.mu.Unlock()
	var out map[string][]live.Number
	for name, t := range e.tracks {
		tl, ok := v.timelines[name]
		if !ok || t.guarded {
			continue
		}
		for n := range t.awaited {
			from := tl.End(n)
			if alone {
				from = tl.Expected(n)
			}
			if now.Before(from) {
				continue
			}
			if out == nil {
				out = make(map[string][]live.Number)
			}
			out[name] = append(out[name], n)
			t.guarded = true
		}
	}
	return out
}

func (e *event) guardEnds(rendition string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.track(rendition).guarded = false
}

// lookAtRange learns from the store what was published of a rendition's
// segments from and to those numbers, inclusive, and counts the candidates that
// no announcement had told of.
func (o *Origin) lookAtRange(ctx context.Context, e *event, rendition string, from, to live.Number, class admit.Class) error {
	if !o.reads.EnterFor(e.id.Tenant, class, 1) {
		return live.ErrShed.With("too many reads of the " + class.String() + " class are under way")
	}
	defer o.reads.LeaveFor(e.id.Tenant, 1)
	var opt store.ScanOptions
	opt.From, _ = numberRange(from)
	_, opt.To = numberRange(to)
	began := time.Now()
	err := scan(ctx, o.reader, o.log, mediaRecord(e.id, rendition), opt, func(item store.Item) error {
		c, life, err := decodeCandidate(item)
		if err == nil && life == e.life && o.learn(e, rendition, c) {
			o.metrics.missedAnnouncements.Inc()
		}
		return err
	})
	o.observe(began, err)
	return err
}
