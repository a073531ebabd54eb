package origin

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"

	"headwater/live"
)

// What an operator does to a running event: notify, mask, invalidate, flush.

// change edits an existing event, announces it and answers with v.
func (o *Origin) change(w http.ResponseWriter, r *http.Request, id live.EventID, f func(rec *eventRecord) error, v func(*view) any) error {
	e, err := o.events.edit(r.Context(), id, func(rec *eventRecord, exists bool) error {
		if !exists {
			return live.ErrNoEvent.For(-1).With(fmt.Sprintf("event %v has not been created", id))
		}
		return f(rec)
	})
	if err != nil {
		return err
	}
	o.changed(r.Context(), id)
	return answer(w, http.StatusOK, v(e.view.Load()))
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

func notificationsAnswer(v *view) any {
	set := []notificationJSON{}
	for _, n := range v.record.Notifications.Set {
		set = append(set, notificationJSON{Type: n.Type, ID: n.ID, From: n.From, To: n.To, Data: n.Data})
	}
	return map[string]any{"sequence": v.record.Notifications.Sequence, "notifications": set}
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
	return o.change(w, r, id, func(rec *eventRecord) error {
		set := slices.DeleteFunc(slices.Clone(rec.Notifications.Set), func(x live.Notification) bool { return x.ID == n.ID })
		return rec.notify(append(set, n))
	}, notificationsAnswer)
}

func (o *Origin) withdrawNotification(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	return o.withdraw(w, r, id, r.PathValue("id"))
}

func (o *Origin) withdraw(w http.ResponseWriter, r *http.Request, id live.EventID, name string) error {
	return o.change(w, r, id, func(rec *eventRecord) error {
		set := slices.DeleteFunc(slices.Clone(rec.Notifications.Set), func(x live.Notification) bool { return x.ID == name })
		if len(set) == len(rec.Notifications.Set) {
			return live.ErrNotHere.For(-1).With(fmt.Sprintf("the event has no notification %q", name))
		}
		return rec.notify(set)
	}, notificationsAnswer)
}

// notify makes set the event's current one, under the next sequence number.
func (rec *eventRecord) notify(set []live.Notification) error {
	if len(set) > live.MaxNotifications {
		return live.ErrBadRequest.With(fmt.Sprintf("%d notifications, at most %d", len(set), live.MaxNotifications))
	}
	rec.Notifications = live.Notifications{Sequence: rec.Notifications.Sequence + 1, Set: set}
	if _, err := rec.Notifications.Header(); err != nil {
		return live.ErrBadRequest.With(err.Error())
	}
	return nil
}

// Limits of what event.json carries.
const (
	maxMasks         = 256
	maxInvalidations = 64
)

func (o *Origin) postMask(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	var m live.Mask
	if err := decode(r, &m); err != nil {
		return err
	}
	if m.ID == "" {
		m.ID = newID()
	}
	if err := m.Validate(); err != nil {
		return err
	}
	return o.change(w, r, id, func(rec *eventRecord) error {
		masks := slices.DeleteFunc(slices.Clone(rec.Config.Masks), func(x live.Mask) bool { return x.ID == m.ID })
		if len(masks) == maxMasks {
			return live.ErrBadRequest.With(fmt.Sprintf("an event has at most %d masks", maxMasks))
		}
		rec.Config.Masks = append(masks, m)
		rec.invalidate(m.Scope)
		return nil
	}, func(*view) any { return m })
}

func (o *Origin) removeMask(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	name := r.PathValue("id")
	return o.change(w, r, id, func(rec *eventRecord) error {
		i := slices.IndexFunc(rec.Config.Masks, func(m live.Mask) bool { return m.ID == name })
		if i < 0 {
			return live.ErrNotHere.For(-1).With(fmt.Sprintf("the event has no mask %q", name))
		}
		scope := rec.Config.Masks[i].Scope
		rec.Config.Masks = slices.Delete(slices.Clone(rec.Config.Masks), i, i+1)
		// What was served in its place comes from any pipeline.
		scope.Pipeline, scope.Region = "", ""
		rec.invalidate(scope)
		return nil
	}, func(v *view) any { return map[string]any{"masks": append([]live.Mask{}, v.config().Masks...)} })
}

func (o *Origin) postInvalidation(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	var s live.Scope
	if err := decode(r, &s); err != nil {
		return err
	}
	if err := s.Validate(); err != nil {
		return err
	}
	return o.change(w, r, id, func(rec *eventRecord) error {
		rec.invalidate(s)
		return nil
	}, func(v *view) any { return v.config().Invalidations[len(v.config().Invalidations)-1] })
}

// invalidate tells caches to drop what they hold of a scope. The list is
// bounded: when it is full the oldest half turns into a flush, which covers
// more, never less.
func (rec *eventRecord) invalidate(s live.Scope) {
	c := &rec.Config
	c.Version++
	list := slices.Clone(c.Invalidations)
	if len(list) == maxInvalidations {
		c.FlushVersion = max(c.FlushVersion, list[maxInvalidations/2-1].Version)
		list = list[maxInvalidations/2:]
	}
	c.Invalidations = append(list, live.Invalidation{ID: newID(), Version: c.Version, Scope: s})
}

// flush tells caches to drop everything of the event.
func (o *Origin) flush(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	return o.change(w, r, id, func(rec *eventRecord) error {
		rec.Config.Version++
		rec.Config.FlushVersion = rec.Config.Version
		rec.Config.Invalidations = nil
		return nil
	}, func(v *view) any {
		return map[string]int64{"version": v.config().Version, "flush_version": v.config().FlushVersion}
	})
}

func newID() string { return rand.Text()[:12] }
