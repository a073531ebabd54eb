package origin

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"

	"headwater/live"
)

// What an operator does to a running event: notify, mask, invalidate, flush.

// edit changes an existing event and announces it.
func (o *Origin) edit(ctx context.Context, id live.EventID, f func(rec *eventRecord) error) (*view, error) {
	v, err := o.events.edit(ctx, id, func(rec *eventRecord, exists bool) error {
		if !exists {
			return noEvent(id)
		}
		return f(rec)
	})
	if err == nil {
		o.changed(id)
	}
	return v, err
}

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
func (o *Origin) postNotification(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	var in notificationJSON
	if err := decode(r, &in); err != nil {
		return err
	}
	if in.Withdraw {
		return o.withdraw(w, r, id, in.ID)
	}
	n := live.Notification{Type: in.Type, ID: in.ID, From: in.From, To: in.To, Data: in.Data}
	if err := n.Validate(); err != nil {
		return err
	}
	if n.Type == withdrawType {
		return &live.FieldError{Field: "type", Reason: `"withdraw" is what packagers say: here it is "withdraw": true`}
	}
	v, err := o.editNotifications(r.Context(), id, func(set []live.Notification) ([]live.Notification, error) {
		return with(set, n), nil
	})
	if err != nil {
		return err
	}
	return answerNotifications(w, v)
}

func (o *Origin) withdrawNotification(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	return o.withdraw(w, r, id, r.PathValue("id"))
}

func (o *Origin) withdraw(w http.ResponseWriter, r *http.Request, id live.EventID, name string) error {
	v, err := o.editNotifications(r.Context(), id, func(set []live.Notification) ([]live.Notification, error) {
		n := len(set)
		if set = without(set, name); len(set) == n {
			return nil, live.ErrNotHere.For(-1).With(fmt.Sprintf("the event has no notification %q", name))
		}
		return set, nil
	})
	if err != nil {
		return err
	}
	return answerNotifications(w, v)
}

// Limits of what event.json carries.
const (
	maxMasks         = 256
	maxInvalidations = 64
	maxMaskName      = 64 // characters
)

func (o *Origin) postMask(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	var m live.Mask
	if err := decode(r, &m); err != nil {
		return err
	}
	if m.ID == "" {
		m.ID = newID()
	}
	if len(m.ID) > maxMaskName {
		return &live.FieldError{Field: "id", Reason: fmt.Sprintf("is longer than %d bytes", maxMaskName)}
	}
	if err := m.Validate(); err != nil {
		return err
	}
	_, err := o.edit(r.Context(), id, func(rec *eventRecord) error {
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
		rec.invalidate(m.Scope)
		return nil
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, m)
}

// unmasked is what caches must ask for again when a mask goes: what was served
// in place of what it took out can be of any pipeline.
func unmasked(s live.Scope) live.Scope {
	s.Pipeline, s.Region = "", ""
	return s
}

func (o *Origin) removeMask(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	name := r.PathValue("id")
	v, err := o.edit(r.Context(), id, func(rec *eventRecord) error {
		i := slices.IndexFunc(rec.Config.Masks, func(m live.Mask) bool { return m.ID == name })
		if i < 0 {
			return live.ErrNotHere.For(-1).With(fmt.Sprintf("the event has no mask %q", name))
		}
		scope := rec.Config.Masks[i].Scope
		rec.Config.Masks = slices.Delete(slices.Clone(rec.Config.Masks), i, i+1)
		rec.invalidate(unmasked(scope))
		return nil
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]any{"masks": append([]live.Mask{}, v.config().Masks...)})
}

func (o *Origin) postInvalidation(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	var s live.Scope
	if err := decode(r, &s); err != nil {
		return err
	}
	if err := s.Validate(); err != nil {
		return err
	}
	var in live.Invalidation
	_, err := o.edit(r.Context(), id, func(rec *eventRecord) error {
		in = rec.invalidate(s)
		return nil
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, in)
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
func (o *Origin) flush(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	v, err := o.edit(r.Context(), id, func(rec *eventRecord) error {
		rec.Config.Version++
		rec.Config.FlushVersion = rec.Config.Version
		rec.Config.Invalidations = nil
		return nil
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]int64{"version": v.config().Version, "flush_version": v.config().FlushVersion})
}

func newID() string { return rand.Text()[:12] }
