package publish

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"headwater/access"
	"headwater/announce"
	"headwater/cmaf"
	"headwater/live"
	"headwater/origin/book"
)

// A message is what became of an event message (emsg) of a segment. Counters share the names.
type message string

const (
	messagePassed     message = "passed"     // of a scheme that is only handed on
	messageTold       message = "told"       // a splice that viewers are told of from now on
	messageKnown      message = "known"      // one that they are told of, or that is over
	messageUnreadable message = "unreadable" // said to be a splice, and none
	messageLeft       message = "left-out"   // the set is full, or others said what it would have changed
)

var messages = []message{messagePassed, messageTold, messageKnown, messageUnreadable, messageLeft}

// signal tells viewers of the splices that a segment's event messages say, once it is
// stored and before it is acknowledged.
func (s *Server) signal(p *publication) error {
	signals := s.signals(p)
	if len(signals) == 0 {
		return nil
	}
	tl, now := p.event.View().Config().Event.Timeline(), s.Clock.At(p.received)
	told := func(rec *book.Record) (said []live.Notification) {
		set := rec.Notifications.Set
		others := func(id string) bool {
			mine := rec.Speakers[id] == p.path.Pipeline || slices.ContainsFunc(said, func(n live.Notification) bool { return n.ID == id })
			return !mine
		}
		for _, x := range signals {
			if len(said) > live.MaxNotifications { // more than all that viewers can be told
				break
			}
			if more := book.Told(set, &tl, x, others, now); len(more) > 0 {
				said, set = append(said, more...), book.Notified(set, more)
			}
		}
		return said
	}
	said := told(&p.event.View().Record)
	if len(said) == 0 {
		s.messages[messageKnown].Add(float64(len(signals)))
		return nil
	}
	var before live.Notifications
	outcome := messageKnown
	v, err := s.Book.Edit(p.r.Context(), p.path.Event, func(rec *book.Record, exists bool) (book.Edit, error) {
		if !exists {
			return book.Edit{}, book.NoEvent(p.path.Event)
		}
		outcome, before, said = messageKnown, rec.Notifications, told(rec)
		for room := 0; ; room++ {
			x := book.Edit{
				Notify: append(book.Outdated(rec.Notifications.Set, &tl, now, room), said...), Heard: map[string]book.Heard{p.path.Pipeline: rec.Heard[p.path.Pipeline]},
				Bound: access.Decide(p.by, access.Want{Right: access.Init, Tenant: p.path.Event.Tenant}) != access.Allowed, Free: p.by == access.Anyone,
			}
			may := rec.May(&x)
			if slices.EqualFunc(book.Notified(rec.Notifications.Set, may), rec.Notifications.Set, book.SameNotification) {
				if len(said) > 0 {
					outcome = messageLeft
				}
				return book.Edit{}, book.ErrUnchanged
			}
			err := rec.MayNotify(may, now)
			if err == nil {
				outcome = messageTold
				return x, nil
			}
			if room == live.MaxNotifications {
				outcome = messageLeft
				return x, err
			}
		}
	})
	switch {
	case errors.Is(err, live.ErrBadRequest):
		s.Log.Warn("a splice is left out of what viewers are told", "event", p.path.Event.String(), "pipeline", p.path.Pipeline, "err", err)
	case errors.Is(err, live.ErrNoEvent):
		return err
	case err != nil:
		return live.ErrNotStored.With(fmt.Sprintf("the segment is stored, the splice that it tells of is not: PUT it again: %v", err))
	}
	s.messages[outcome].Add(float64(len(signals)))
	if outcome == messageTold {
		brief := (&saying{Notifications: live.Notifications{Set: said}}).brief()
		s.Log.Info("splices by event messages", "event", p.path.Event.String(), "pipeline", p.path.Pipeline, "rendition", p.path.Rendition, "number", int64(p.path.Number), "said", brief)
		s.Audit.Changed(p.r.Context(), s.entryOf(p, before, v.Record.Notifications))
		p.news = append(p.news, announce.Message{Kind: announce.Changed, Event: p.path.Event, Stamp: s.Book.Stamp(p.path.Event)})
	}
	return nil
}

// signals are the splices among a segment's event messages, with when they are.
func (s *Server) signals(p *publication) (out []book.Signal) {
	unreadable, why := 0, error(nil)
	defer func() {
		if unreadable > 0 {
			s.Log.Warn("event messages are no splice_info_section", "path", p.path.String(), "messages", unreadable, "first", why)
		}
	}()
	for i := range p.found.Events {
		e := &p.found.Events[i]
		section, ours, err := live.SpliceSection(e.Scheme, e.Data)
		if !ours {
			s.messages[messagePassed].Inc()
			continue
		}
		var splices []live.Splice
		at, ok := s.placed(p, e)
		if err == nil && len(section) > live.MaxNotificationData {
			err = fmt.Errorf("%d bytes, at most %d", len(section), live.MaxNotificationData)
		} else if err == nil {
			splices, err = live.ParseSplice(section)
		}
		if err == nil && !ok {
			err = fmt.Errorf("its time %d/%d is none of the event's", e.Time, e.Timescale)
		}
		if err != nil {
			s.messages[messageUnreadable].Inc()
			if unreadable++; why == nil {
				why = fmt.Errorf("%s, id %d: %w", e.Scheme, e.ID, err)
			}
			continue
		}
		for _, x := range splices {
			if e.Duration > 0 && e.Duration != cmaf.NoEventDuration && x.Type != live.TypeSCTE35In {
				x.Length = min(ticks(int64(e.Duration), e.Timescale), mostSplice)
			}
			out = append(out, book.Signal{Splice: x, At: at, Section: section})
		}
	}
	return out
}

// mostSplice bounds how long one is said to be.
const mostSplice = 24 * time.Hour

// placed is when an event message is; ok is false where that is no time of an event.
func (s *Server) placed(p *publication, e *cmaf.Event) (at time.Time, ok bool) {
	media := ticks(e.Time, e.Timescale)
	if e.Version == 0 {
		media += ticks(p.found.Span.Start, uint32(p.found.Span.Timescale))
	}
	ev := &p.view.Config().Event
	if at = time.Unix(0, 0).UTC().Add(media); ev.MediaTime == live.MediaStart {
		at = ev.Start.Add(media)
	}
	return at, media >= 0 && media < 1<<62 && at.Year() >= 1971 && at.Year() <= 2200
}

// ticks is a media time, as far as it goes.
func ticks(v int64, timescale uint32) time.Duration {
	if timescale == 0 || v/int64(timescale) >= 1<<33 || v < 0 {
		return -1
	}
	ts := int64(timescale)
	return time.Duration(v/ts)*time.Second + time.Duration(v%ts*int64(time.Second)/ts)
}

// wantsEvents reports whether a segment has event messages of kinds that are not told of
// its rendition yet.
func (s *Server) wantsEvents(p *publication) bool {
	if len(p.found.Events) == 0 {
		return false
	}
	r, _ := p.event.View().Config().Rendition(p.path.Rendition)
	return r.InbandEvents.Add(schemes(p)...) != r.InbandEvents
}

// schemes are the kinds of a segment's event messages.
func schemes(p *publication) (out []live.EventScheme) {
	for _, e := range p.found.Events {
		if x := (live.EventScheme{Scheme: e.Scheme, Value: e.Value}); !slices.Contains(out, x) && x.Valid() {
			out = append(out, x)
		}
	}
	return out
}
