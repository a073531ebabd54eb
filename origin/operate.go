package origin

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"time"

	"headwater/live"
)

// What an operator does to a running event: notify, mask, invalidate, flush.

// notificationJSON is a notification in the control API; data is base64.
type notificationJSON struct {
	Type     string      `json:"type"`
	ID       string      `json:"id"`
	From     live.Number `json:"from"`
	To       live.Number `json:"to,omitempty"`
	Data     []byte      `json:"data,omitempty"`
	Withdraw bool        `json:"withdraw,omitempty"`
}

func answerNotifications(w http.ResponseWriter, v *view) error {
	set := []notificationJSON{}
	for _, n := range v.record.Notifications.Set {
		set = append(set, notificationJSON{Type: n.Type, ID: n.ID, From: n.From, To: n.To, Data: n.Data})
	}
	return answer(w, http.StatusOK, map[string]any{"sequence": v.record.Notifications.Sequence, "notifications": set})
}

func (o *Origin) getNotifications(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	e, err := o.lookUp(id)
	if err != nil {
		return err
	}
	return answerNotifications(w, e.view.Load())
}

// postNotification adds a notification, or replaces the one of its id, or
// withdraws it.
func (o *Origin) postNotification(c *change) error {
	var in struct {
		notificationJSON
		From point `json:"from"`
		To   point `json:"to"`
	}
	if err := decode(c.r, &in); err != nil {
		return err
	}
	if in.Withdraw {
		return o.withdraw(c, in.ID)
	}
	e, err := o.lookUp(c.id)
	if err != nil {
		return err
	}
	n := live.Notification{Type: in.Type, ID: in.ID, Data: in.Data}
	tl := e.view.Load().config().Event.Timeline()
	if n.From, n.To, err = readRange(&tl, in.From, in.To, time.Now()); err != nil {
		return err
	}
	if err := n.Validate(); err != nil {
		return err
	}
	if n.Type == withdrawType {
		return &live.FieldError{Field: "type", Reason: `"withdraw" is what packagers say: here it is "withdraw": true`}
	}
	return o.editNotifications(c, func(set []live.Notification) ([]live.Notification, error) {
		return with(set, n), nil
	})
}

func (o *Origin) withdrawNotification(c *change) error { return o.withdraw(c, c.r.PathValue("id")) }

func (o *Origin) withdraw(c *change, name string) error {
	return o.editNotifications(c, func(set []live.Notification) ([]live.Notification, error) {
		n := len(set)
		if set = without(set, name); len(set) == n {
			return nil, live.ErrNotHere.For(-1).With(fmt.Sprintf("the event has no notification %q", name))
		}
		return set, nil
	})
}

// Limits of what event.json carries.
const (
	maxMasks         = 256
	maxInvalidations = 64
	maxMaskName      = 64 // characters
)

func answerMasks(w http.ResponseWriter, v *view) error {
	return answer(w, http.StatusOK, map[string]any{"masks": append([]live.Mask{}, v.config().Masks...)})
}

func (o *Origin) getMasks(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	e, err := o.lookUp(id)
	if err != nil {
		return err
	}
	return answerMasks(w, e.view.Load())
}

// postMask takes candidates out of selection. What it takes out is named, and
// what leaves viewers with nothing is said to be meant.
func (o *Origin) postMask(c *change) error {
	var in scopeRequest
	scope, err := o.readScope(c, &in)
	if err != nil {
		return err
	}
	m := live.Mask{ID: in.ID, All: in.All, Scope: scope}
	if m.ID == "" {
		m.ID = newID()
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
	f := func(rec *eventRecord) error {
		before := rec.Config
		masks := slices.Clone(rec.Config.Masks)
		i := slices.IndexFunc(masks, func(x live.Mask) bool { return x.ID == m.ID })
		switch {
		case i >= 0:
			// What the old one took out may be served again.
			rec.invalidate(unmasked(masks[i].Scope))
			masks[i] = m
		case len(masks) == maxMasks:
			return live.ErrBadRequest.With(fmt.Sprintf("an event has at most %d masks", maxMasks))
		default:
			masks = append(masks, m)
		}
		rec.Config.Masks = masks
		var rendition string
		var n live.Number
		if rendition, n, c.blackout = rec.Config.Blackout(m.Scope, &before); c.blackout && !m.All && !c.yes && !c.dryRun {
			return live.ErrBlackout.With(fmt.Sprintf("of segment %d of %s, and maybe more, no pipeline would be left unmasked: add ?yes=true if that is meant", n, rendition))
		}
		rec.invalidate(m.Scope)
		return nil
	}
	return o.apply(c, &scope, existing(c.id, f), func(*view) error { return answer(c.w, http.StatusOK, m) })
}

// unmasked is what caches must ask for again when a mask goes: what was served
// in place of what it took out can be of any pipeline.
func unmasked(s live.Scope) live.Scope {
	s.Pipeline, s.Region = "", ""
	return s
}

func (o *Origin) removeMask(c *change) error {
	name := c.r.PathValue("id")
	return o.apply(c, nil, existing(c.id, func(rec *eventRecord) error {
		i := slices.IndexFunc(rec.Config.Masks, func(m live.Mask) bool { return m.ID == name })
		if i < 0 {
			return live.ErrNotHere.For(-1).With(fmt.Sprintf("the event has no mask %q", name))
		}
		scope := rec.Config.Masks[i].Scope
		rec.Config.Masks = slices.Delete(slices.Clone(rec.Config.Masks), i, i+1)
		rec.invalidate(unmasked(scope))
		return nil
	}), func(v *view) error { return answerMasks(c.w, v) })
}

func (o *Origin) postInvalidation(c *change) error {
	var req scopeRequest
	s, err := o.readScope(c, &req)
	if err != nil {
		return err
	}
	var in live.Invalidation
	return o.apply(c, &s, existing(c.id, func(rec *eventRecord) error {
		in = rec.invalidate(s)
		return nil
	}), func(*view) error { return answer(c.w, http.StatusOK, in) })
}

// invalidate tells caches to drop what they hold of a scope. The list is
// bounded: when it is full the oldest half turns into a flush, which covers
// more, never less.
func (rec *eventRecord) invalidate(s live.Scope) live.Invalidation {
	c := &rec.Config
	c.Version++
	list := slices.Clone(c.Invalidations)
	if len(list) >= maxInvalidations {
		c.FlushVersion = max(c.FlushVersion, list[maxInvalidations/2-1].Version)
		list = list[maxInvalidations/2:]
	}
	in := live.Invalidation{ID: newID(), Version: c.Version, Scope: s}
	c.Invalidations = append(list, in)
	return in
}

// flush tells caches to drop everything of the event.
func (o *Origin) flush(c *change) error {
	if err := c.mayHurt(o.events.get(c.id), "every cache asks for all of it again"); err != nil {
		return err
	}
	return o.apply(c, &live.Scope{}, existing(c.id, func(rec *eventRecord) error {
		rec.Config.Version++
		rec.Config.FlushVersion = rec.Config.Version
		rec.Config.Invalidations = nil
		return nil
	}), func(v *view) error {
		return answer(c.w, http.StatusOK, map[string]int64{"version": v.config().Version, "flush_version": v.config().FlushVersion})
	})
}

func newID() string { return rand.Text()[:12] }
