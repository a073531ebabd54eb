package origin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"headwater/admit"
	"headwater/live"
	"headwater/selection"
)

// A holding is the time that one request is held.
type holding struct {
	o      *Origin
	tenant string
	began  time.Time
}

// begin counts the request as held, if it is not yet and there is room.
func (h *holding) begin(class admit.Class, now time.Time) error {
	if !h.began.IsZero() {
		return nil
	}
	if !h.o.holds.EnterFor(h.tenant, class, 1) {
		return live.ErrShed.With("too many requests are held")
	}
	h.began = now
	h.o.metrics.holding.Inc()
	select {
	case h.o.held <- struct{}{}: // the guard wakes up
	default:
	}
	return nil
}

// end returns how long it was.
func (h *holding) end() time.Duration {
	if h.began.IsZero() {
		return 0
	}
	h.o.holds.LeaveFor(h.tenant, 1)
	h.o.metrics.holding.Dec()
	d := time.Since(h.began)
	h.o.metrics.held.Observe(d.Seconds())
	return d
}

// selectOrHold chooses a candidate, and holds the request while there is a
// better one, or any, to wait for.
func (o *Origin) selectOrHold(d *delivery) error {
	n, rendition := d.path.Number, d.path.Rendition
	hold := holding{o: o, tenant: d.path.Event.Tenant}
	defer func() { d.held += hold.end() }()
	for looked := false; ; {
		now := time.Now()
		// Each time anew: what woke us may have moved the event.
		if err := d.place(now); err != nil {
			return err
		}
		d.decision = d.event.choose(d.view, rendition, n, d.absent, now)
		if len(d.absent) > 0 && d.decision.Action != selection.Serve {
			return live.ErrStoreDown.With(fmt.Sprintf("segment %d was announced and is not here yet", n))
		}
		switch d.decision.Action {
		case selection.Serve:
			if !o.settle(d, now) {
				continue // somebody chose meanwhile
			}
			o.metrics.decided(d.event, d.decision.Reason)
			return nil
		case selection.Refuse:
			if looked {
				o.metrics.decided(d.event, d.decision.Reason)
				return d.lost(now)
			}
			// An announcement may have been lost: look before giving up.
			looked = true
			if err := o.look(d); err != nil {
				return err
			}
			continue
		}
		if err := hold.begin(d.class, now); err != nil {
			return err
		}
		if err := o.wait(d, now); err != nil {
			return err
		}
		if err := o.find(d); err != nil { // the event may have changed or gone
			return err
		}
	}
}

// wait returns when what is known of the slot or the event has changed, when the
// decision may have, or with an error when the client left or the server drains.
func (o *Origin) wait(d *delivery, now time.Time) error {
	n, rendition := d.path.Number, d.path.Rendition
	changed, leave := d.event.watch(rendition, n)
	defer leave()
	// What is chosen may have changed before the watch began:
	//
	//	this request        a publication, or another's choice
	//	chooses: wait
	//	                    enters the slot, where nobody watches yet
	//	watches
	//	waits in vain
	if d.decision = d.event.choose(d.view, rendition, n, d.absent, now); d.decision.Action != selection.Wait {
		return nil
	}
	timer := time.NewTimer(d.decision.Until.Sub(now))
	defer timer.Stop()
	select {
	case <-changed:
	case <-d.view.changed:
	case <-timer.C:
	case <-d.r.Context().Done():
		return context.Cause(d.r.Context())
	case <-o.draining:
		return live.ErrDraining.With("ask another origin")
	}
	return nil
}

// look reads from the store what was published of a segment, in case an
// announcement was lost. However many ask, one looks, and not twice within half
// a guard interval.
func (o *Origin) look(d *delivery) error {
	e, rendition, n, class := d.event, d.path.Rendition, d.path.Number, d.class
	now := time.Now()
	since := now.Add(-o.cfg.GuardInterval / 2)
	// A look before the deadline does not speak for the time up to it.
	tl := d.view.timelines[rendition]
	if deadline := tl.Deadline(n); !now.Before(deadline) && since.Before(deadline) {
		since = deadline
	}
	if e.lookedSince(rendition, n, since) {
		return nil
	}
	if !o.pace.Enter(class, now) {
		return live.ErrShed.With("the store is slow, and those of the " + class.String() + " class wait for it to recover")
	}
	record := mediaRecord(e.id, rendition)
	return o.share(d.r.Context(), "look "+record.ID+"/"+numberKey(n), func(ctx context.Context) error {
		began := time.Now()
		if e.lookedSince(rendition, n, since) {
			return nil // by one that ended just before this began
		}
		if err := o.lookAtRange(ctx, e, rendition, n, n, class); err != nil {
			if !errors.Is(err, live.ErrShed) {
				o.log.Warn("look before giving up", "event", e.id.String(), "rendition", rendition, "number", int64(n), "err", err)
			}
			return err
		}
		e.looked(rendition, n, began)
		return nil
	})
}

func (e *event) lookedSince(rendition string, n live.Number, since time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tracks[rendition]
	if t == nil || t.slots[n] == nil {
		return false
	}
	return !t.slots[n].looked.Before(since)
}

func (e *event) looked(rendition string, n live.Number, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.slot(rendition, n).looked = at
}

// share runs f once for all who ask under one key at the same time, with a
// context that is not the first asker's: others wait too.
func (o *Origin) share(ctx context.Context, key string, f func(ctx context.Context) error) error {
	ch := o.shared.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), o.cfg.StoreTimeout)
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

// lost answers for a segment that was not published in time. A backfill may
// still bring it, so the refusal is short.
func (d *delivery) lost(now time.Time) error {
	tl := d.view.timelines[d.path.Rendition]
	detail := fmt.Sprintf("segment %d was not published by %s", d.path.Number, tl.Deadline(d.path.Number).Format(live.TimeLayout))
	if d.decision.Reason == selection.NoneUsable {
		detail = fmt.Sprintf("no pipeline's segment %d can be played", d.path.Number)
	}
	return live.ErrLost.For(min(tl.Segment(), tl.GoneAt(d.path.Number).Sub(now))).With(detail)
}
