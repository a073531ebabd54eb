package deliver

import (
	"context"
	"fmt"
	"time"

	"headwater/admit"
	"headwater/live"
	"headwater/selection"
)

// hold counts the request as held, if it is not yet and there is room.
func (s *Server) hold(d *delivery, class admit.Class) error {
	if !d.hold.IsZero() {
		return nil
	}
	if !s.Holds.Enter(d.path.Event.Tenant, class, 1) {
		return live.ErrShed.With("too many requests are held")
	}
	d.turn.Give() // who waits needs none
	d.hold = time.Now()
	s.holding.Inc()
	s.Look.Hold() // the guard wakes up
	return nil
}

// release ends the turn and the hold of a request, where it has one.
func (s *Server) release(d *delivery) {
	d.turn.Give()
	if d.hold.IsZero() {
		return
	}
	s.Holds.Leave(d.path.Event.Tenant, 1)
	s.holding.Dec()
	held := time.Since(d.hold)
	s.held.Observe(held.Seconds())
	d.hold, d.held = time.Time{}, d.held+held
}

// wait holds the request, and goes on when what is known of the slot or the event has changed, when the
// decision may have, or with an error when the client left or the server drains.
func (s *Server) wait(d *delivery) (step, error) {
	if err := s.hold(d, d.class); err != nil {
		return nil, err
	}
	now := s.Clock.Now()
	n, rendition := d.path.Number, d.path.Rendition
	changed, leave := d.event.Watch(rendition, n)
	defer leave()
	// What is chosen may have changed before the watch began:
	//
	//	this request        a publication, or another's choice
	//	chooses: wait
	//	                    enters the slot, where nobody watches yet
	//	watches
	//	waits in vain
	if d.decision = d.event.Choose(d.view, rendition, n, d.absent, now); d.decision.Action != selection.Wait {
		return s.find, nil
	}
	timer := time.NewTimer(d.decision.Until.Sub(now))
	defer timer.Stop()
	select {
	case <-changed:
	case <-d.view.Changed:
	case <-timer.C:
	case <-d.r.Context().Done():
		return nil, context.Cause(d.r.Context())
	case <-s.Draining:
		return nil, live.ErrDraining.With("ask another origin")
	}
	return s.find, nil // the event may have changed or gone
}

// lookAgain looks into the store before giving up: an announcement may have been
// lost.
func (s *Server) lookAgain(d *delivery) (step, error) {
	d.looked = true
	d.turn.Give()
	if err := s.sure(d); err != nil {
		return nil, err
	}
	tl := d.view.Timelines[d.path.Rendition]
	n := d.path.Number
	_, from, _ := d.event.StandIn(d.view, d.path.Rendition, n, d.absent, s.Clock.Now())
	return s.place, s.Look.Segment(d.r.Context(), d.event, &tl, d.path.Rendition, from, n, d.class, d.key())
}

// lost answers for a segment that was not published in time. A backfill may
// still bring it, so the refusal is short.
func (d *delivery) lost(now time.Time) error {
	tl := d.view.Timelines[d.path.Rendition]
	detail := fmt.Sprintf("segment %d was not published by %s", d.path.Number, tl.Deadline(d.path.Number).Format(live.TimeLayout))
	if d.decision.Reason == selection.NoneUsable {
		detail = fmt.Sprintf("no pipeline's segment %d can be played", d.path.Number)
	}
	return live.ErrLost.For(min(tl.Segment(), tl.GoneAt(d.path.Number).Sub(now))).With(detail)
}
