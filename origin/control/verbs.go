package control

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"headwater/origin/book"

	"headwater/live"
)

// What an operator does to a running event: notify, mask, invalidate, flush.

// notificationJSON is a notification in the control API; data is base64.
type notificationJSON struct {
	Type     string      `json:"type"`
	ID       string      `json:"id"`
	From     live.Number `json:"from"`
	To       live.Number `json:"to,omitempty"`
	At       time.Time   `json:"at,omitzero"`
	Duration int64       `json:"duration_ms,omitempty"`
	Data     []byte      `json:"data,omitempty"`
	Withdraw bool        `json:"withdraw,omitempty"`
}

func answerNotifications(w http.ResponseWriter, v *book.View) error {
	set := []notificationJSON{}
	for _, n := range v.Record.Notifications.Set {
		set = append(set, notificationJSON{Type: n.Type, ID: n.ID, From: n.From, To: n.To, At: n.At, Duration: n.Length.Milliseconds(), Data: n.Data})
	}
	return writeJSON(w, http.StatusOK, map[string]any{"sequence": v.Record.Notifications.Sequence, "notifications": set})
}

func (s *server) getNotifications(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	e, err := s.lookUp(id)
	if err != nil {
		return err
	}
	return answerNotifications(w, e.View())
}

// postNotification adds a notification, or replaces the one of its id, or
// withdraws it.
func (s *server) postNotification(c *change) error {
	var in struct {
		notificationJSON
		From point `json:"from"`
		To   point `json:"to"`
	}
	if err := decode(c.r, &in); err != nil {
		return err
	}
	if in.Withdraw {
		return s.withdraw(c, in.ID)
	}
	e, err := s.lookUp(c.id)
	if err != nil {
		return err
	}
	n := live.Notification{Type: in.Type, ID: in.ID, Data: in.Data}
	tl := e.View().Config().Event.Timeline()
	if !in.At.IsZero() {
		n.At = in.At.UTC()
		if !in.From.set() {
			in.From = point{text: n.At.Format(time.RFC3339Nano), quoted: true}
		}
	}
	n.Length = time.Duration(min(max(in.Duration, -1), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	if n.From, n.To, err = readRange(&tl, in.From, in.To, s.Clock.Now()); err != nil {
		return err
	}
	if _, to := n.Span(&tl); n.Length > 0 && !in.To.set() {
		n.To = max(tl.At(to.Add(-1)), n.From)
	}
	if at := tl.At(n.At); !n.At.IsZero() && at != n.From {
		return &live.FieldError{Field: "at", Reason: fmt.Sprintf("%s is in segment %d, not in %d as from says", n.At.Format(live.TimeLayout), at, n.From)}
	}
	if err := n.Validate(); err != nil {
		return err
	}
	if n.Type == book.WithdrawType {
		return &live.FieldError{Field: "type", Reason: `"withdraw" is what packagers say: here it is "withdraw": true`}
	}
	return s.notify(c, func([]live.Notification) (live.Notification, error) { return n, nil })
}

func (s *server) withdrawNotification(c *change) error {
	return s.withdraw(c, c.r.PathValue("id"))
}

func (s *server) withdraw(c *change, name string) error {
	return s.notify(c, func(set []live.Notification) (live.Notification, error) {
		if !slices.ContainsFunc(set, func(n live.Notification) bool { return n.ID == name }) {
			return live.Notification{}, live.ErrNotHere.For(-1).With(fmt.Sprintf("the event has no notification %q", name))
		}
		return live.Notification{Type: book.WithdrawType, ID: name}, nil
	})
}

// Limits of what event.json carries.
const (
	maxMasks    = 256
	maxMaskName = 64 // characters
)

func answerMasks(w http.ResponseWriter, v *book.View) error {
	return writeJSON(w, http.StatusOK, map[string]any{"masks": append([]live.Mask{}, v.Config().Masks...)})
}

func (s *server) getMasks(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	e, err := s.lookUp(id)
	if err != nil {
		return err
	}
	return answerMasks(w, e.View())
}

// postMask takes candidates out of selection. What it takes out is named, and
// what leaves viewers with nothing is said to be meant.
func (s *server) postMask(c *change) error {
	var in scopeRequest
	scope, err := s.readScope(c, &in)
	if err != nil {
		return err
	}
	m := live.Mask{ID: in.ID, All: in.All, Scope: scope}
	if m.ID == "" {
		m.ID = book.NewID()
	}
	named := m.Pipeline != "" || m.Region != ""
	switch {
	case len(m.ID) > maxMaskName:
		return &live.FieldError{Field: "id", Reason: fmt.Sprintf("is longer than %d bytes", maxMaskName)}
	case !named && !m.All:
		return &live.FieldError{Field: "pipeline", Reason: `is needed, or region, or "all": true, which leaves viewers with nothing`}
	case named && m.All:
		return &live.FieldError{Field: "all", Reason: "goes with neither pipeline nor region"}
	case !in.From.set():
		return &live.FieldError{Field: "from", Reason: `is needed: the first segment's number, "now", a duration like "-10m", or a time`}
	}
	return s.apply(c, &scope, existing(c.id, func(rec *book.Record) (book.Edit, error) {
		x := book.Edit{Mask: &m}
		if i := slices.IndexFunc(rec.Config.Masks, func(x live.Mask) bool { return x.ID == m.ID }); i >= 0 {
			// What the old one took out may be served again.
			x.Drop(unmasked(rec.Config.Masks[i].Scope))
		} else if len(rec.Config.Masks) >= maxMasks {
			return x, live.ErrBadRequest.With(fmt.Sprintf("an event has at most %d masks", maxMasks))
		}
		x.Drop(m.Scope)
		then := *rec
		then.Apply(&x)
		var rendition string
		var n live.Number
		if rendition, n, c.blackout = then.Config.Blackout(m.Scope, &rec.Config); c.blackout && !m.All && !c.yes && !c.dryRun {
			return x, live.ErrBlackout.With(fmt.Sprintf("of segment %d of %s, and maybe more, no pipeline would be left unmasked: add ?yes=true if that is meant", n, rendition))
		}
		return x, nil
	}), func(*book.View) error { return writeJSON(c.w, http.StatusOK, m) })
}

// unmasked is what caches must ask for again when a mask goes: what was served
// in place of what it took out can be of any pipeline.
func unmasked(s live.Scope) live.Scope {
	s.Pipeline, s.Region = "", ""
	return s
}

func (s *server) removeMask(c *change) error {
	name := c.r.PathValue("id")
	return s.apply(c, nil, existing(c.id, func(rec *book.Record) (book.Edit, error) {
		i := slices.IndexFunc(rec.Config.Masks, func(m live.Mask) bool { return m.ID == name })
		if i < 0 {
			return book.Edit{}, live.ErrNotHere.For(-1).With(fmt.Sprintf("the event has no mask %q", name))
		}
		x := book.Edit{Unmask: name}
		x.Drop(unmasked(rec.Config.Masks[i].Scope))
		return x, nil
	}), func(v *book.View) error { return answerMasks(c.w, v) })
}

func (s *server) postInvalidation(c *change) error {
	var req scopeRequest
	scope, err := s.readScope(c, &req)
	if err != nil {
		return err
	}
	var x book.Edit
	x.Drop(scope)
	return s.apply(c, &scope, existing(c.id, func(*book.Record) (book.Edit, error) { return x, nil }), func(v *book.View) error {
		in := x.Invalidate[0]
		for _, there := range v.Config().Invalidations {
			if there.ID == in.ID {
				in = there
			}
		}
		return writeJSON(c.w, http.StatusOK, in)
	})
}

// flush tells caches to drop everything of the event.
func (s *server) flush(c *change) error {
	if err := c.mayHurt(s.Book.Get(c.id), "every cache asks for all of it again", s.Clock.Now()); err != nil {
		return err
	}
	return s.apply(c, &live.Scope{}, existing(c.id, func(*book.Record) (book.Edit, error) {
		return book.Edit{Flush: true}, nil
	}), func(v *book.View) error {
		return writeJSON(c.w, http.StatusOK, map[string]int64{"version": v.Config().Version, "flush_version": v.Config().FlushVersion})
	})
}

// notify changes the set by the control API.
func (s *server) notify(c *change, f func(set []live.Notification) (live.Notification, error)) error {
	return s.apply(c, nil, existing(c.id, func(rec *book.Record) (book.Edit, error) {
		n, err := f(rec.Notifications.Set)
		if err != nil {
			return book.Edit{}, err
		}
		said := []live.Notification{n}
		return book.Edit{Notify: said}, rec.MayNotify(said, s.Clock.Now())
	}), func(v *book.View) error { return answerNotifications(c.w, v) })
}
