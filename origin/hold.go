package origin

import (
	"context"
	"fmt"
	"headwater/live"
	"headwater/selection"
	"time"
)

// selectOrHold chooses a candidate, and holds the request while there is a
// better one, or any, to wait for.
func (o *Origin) selectOrHold(d *delivery) error {
	n, rendition := d.path.Number, d.path.Rendition
	var began time.Time // of the hold
	defer func() {
		if !began.IsZero() {
			d.held += time.Since(began)
			o.metrics.holding.Dec()
			o.metrics.held.Observe(time.Since(began).Seconds())
			o.holds.Leave(1)
		}
	}()
	looked := false
	for {
		now := time.Now()
		cs, changed, leave := d.event.watch(rendition, n)
		d.decision = d.view.choose(rendition, n, cs, now)
		if d.decision.Action == selection.Serve {
			leave()
			o.metrics.decided(d.decision.Reason)
			return nil
		}
		if d.decision.Action == selection.Refuse {
			leave()
			if !looked {
				// An announcement may have been lost: look before giving up.
				looked = true
				o.look(d.r.Context(), d.event, rendition, n)
				continue
			}
			o.metrics.decided(d.decision.Reason)
			return o.lost(d, now)
		}
		if began.IsZero() {
			if !o.holds.Enter(d.class, 1) {
				leave()
				return live.ErrShed.With("too many requests are held")
			}
			began = now
			o.metrics.holding.Inc()
		}
		err := o.wait(d, changed, now)
		leave()
		if err != nil {
			return err
		}
		if err := o.find(d); err != nil { // the event may have changed or gone
			return err
		}
	}
}

// wait returns when the candidates or the event have changed, when the
// decision may have, or with an error when the client left or the server drains.
func (o *Origin) wait(d *delivery, changed <-chan struct{}, now time.Time) error {
	// Until the segment is expected nothing can have been missed; from then on
	// the store is looked into, in case an announcement was lost.
	tl := d.view.timelines[d.path.Rendition]
	until := d.decision.Until
	guard := now.Add(o.cfg.GuardInterval)
	if e := tl.Expected(d.path.Number).Add(o.cfg.GuardInterval); guard.Before(e) {
		guard = e
	}
	look := guard.Before(until)
	if look {
		until = guard
	}
	timer := time.NewTimer(until.Sub(now))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
		if look {
			o.look(d.r.Context(), d.event, d.path.Rendition, d.path.Number)
		}
	case <-d.r.Context().Done():
		return context.Cause(d.r.Context())
	case <-o.draining:
		return live.ErrDraining.With("ask another origin")
	}
	return nil
}

// watch returns what is known of a segment and a channel that closes when that
// changes. leave must be called once.
func (e *event) watch(rendition string, n live.Number) (cs []live.Candidate, changed <-chan struct{}, leave func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.slot(rendition, n)
	s.waiting++
	return s.candidates, s.changed, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		s.waiting--
	}
}

// lost answers for a segment that was not published in time. A backfill may
// still bring it, so the refusal is short.
func (o *Origin) lost(d *delivery, now time.Time) error {
	tl := d.view.timelines[d.path.Rendition]
	detail := fmt.Sprintf("segment %d was not published by %s", d.path.Number, tl.Deadline(d.path.Number).Format(live.TimeLayout))
	if d.decision.Reason == selection.NoneUsable {
		detail = fmt.Sprintf("no pipeline's segment %d can be played", d.path.Number)
	}
	return live.ErrLost.For(min(tl.Segment(), tl.GoneAt(d.path.Number).Sub(now))).With(detail)
}
