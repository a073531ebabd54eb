package origin

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"time"

	"headwater/live"
	"headwater/store"
)

// Two nodes may edit an event at once, in two regions too, where there is no
// lock that both could ask for: each reads the record, changes it and writes
// it, and the store keeps the one with the higher token. So that the other
// change is not lost, a record names the edits that are in it, and whoever
// reads a newer one without an edit of its own makes that edit again on top.
// Each such step writes a record that has more edits than the one before, so
// the nodes come to agree.
//
//	node 1              store        node 2
//	read v5                          read v5
//	write v6 (t1)       v6 {t1}
//	                    v6' {t2}     write v6' (t2 > t1)
//	hear, read v6': t1 is not in it
//	write v7 (t3)       v7 {t2,t3}   hear, read v7: t2 is in it

// An ownEdit is a change that this node has stored.
type ownEdit struct {
	token      store.Token
	base, made eventRecord // before and after it
}

const (
	// rememberEdits is how long an own edit is looked for in newer records,
	// and how long records name it: as long as tokens may drift.
	rememberEdits = store.MaxDrift
	maxEdits      = 64 // that a record names
)

// withEdit returns the list of a record with an edit more, and without those
// that nobody looks for any more.
func withEdit(list []store.Token, t store.Token) []store.Token {
	old := t.Time - int64(2*rememberEdits)
	list = slices.DeleteFunc(slices.Clone(list), func(x store.Token) bool { return x.Time < old })
	if len(list) >= maxEdits {
		list = list[len(list)-maxEdits+1:]
	}
	return append(list, t)
}

// current brings memory up to the store, and makes own edits again that
// another node has overwritten. It needs the event's turn.
func (g *registry) current(ctx context.Context, id live.EventID) error {
	if err := g.read(ctx, id); err != nil {
		return err
	}
	e := g.get(id)
	if e == nil {
		return nil
	}
	v := e.view.Load()
	again := g.lacking(id, &v.record, v.token)
	if len(again) == 0 {
		return nil
	}
	rec, changed := v.record, false
	for _, own := range again {
		var c bool
		rec, c = merge(own.base, own.made, rec)
		changed = changed || c
	}
	if !changed {
		g.forgetEdits(id, again) // all of it is there, by others
		return nil
	}
	if err := rec.Config.Validate(); err != nil {
		g.log.Error("an edit does not go with another node's", "event", id.String(), "err", err)
		g.forgetEdits(id, again)
		return nil
	}
	token := tokenAfter(g.tokens, time.Unix(0, v.token.Time))
	rec.Edits = withEdit(rec.Edits, token)
	if err := g.write(ctx, id, storedEvent{eventRecord: &rec}, token, time.Time{}); err != nil {
		return err
	}
	g.remember(id, ownEdit{token, v.record, rec}, again)
	g.log.Info("an edit that another node overwrote was made again", "event", id.String())
	if _, err := e.setRecord(rec, token); err != nil {
		return err
	}
	g.merged(id)
	return nil
}

// lacking returns the own edits that a record stored under another's token does
// not have, oldest first. It needs the event's turn, as remember does.
func (g *registry) lacking(id live.EventID, rec *eventRecord, token store.Token) []ownEdit {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now().UnixNano()
	mine := slices.DeleteFunc(g.mine[id], func(e ownEdit) bool { return now-e.token.Time > int64(rememberEdits) })
	if len(mine) == 0 {
		delete(g.mine, id)
		return nil
	}
	g.mine[id] = mine
	if len(rec.Edits) >= maxEdits {
		// It may have had older ones too.
		mine = slices.DeleteFunc(slices.Clone(mine), func(e ownEdit) bool { return e.token.Compare(rec.Edits[0]) < 0 })
	}
	var missing []ownEdit
	for _, e := range mine {
		// Of another life, or made after this record: it says nothing of them.
		if e.made.Life == rec.Life && e.token.Compare(token) < 0 && !slices.Contains(rec.Edits, e.token) {
			missing = append(missing, e)
		}
	}
	return missing
}

// remember keeps an own edit, in place of those that it makes again.
func (g *registry) remember(id live.EventID, edit ownEdit, again []ownEdit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mine[id] = append(withoutEdits(g.mine[id], again), edit)
}

// forgetEdits takes own edits out.
func (g *registry) forgetEdits(id live.EventID, edits []ownEdit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mine[id] = withoutEdits(g.mine[id], edits)
}

func withoutEdits(list, edits []ownEdit) []ownEdit {
	return slices.DeleteFunc(list, func(e ownEdit) bool {
		return slices.ContainsFunc(edits, func(a ownEdit) bool { return a.token == e.token })
	})
}

// merge makes an edit again, from base to made, on a record that others made.
// What both changed is as the others have it, since theirs is the later one.
// It reports whether that changes anything.
func merge(base, made, theirs eventRecord) (eventRecord, bool) {
	out := theirs
	changed := mergeConfig(&base.Config.Event, &made.Config.Event, &out.Config.Event)

	c := &out.Config
	if masks := mergeList(base.Config.Masks, made.Config.Masks, c.Masks, func(m live.Mask) string { return m.ID }); !reflect.DeepEqual(masks, c.Masks) {
		c.Masks, changed = masks, true
	}
	flushed := made.Config.FlushVersion > base.Config.FlushVersion
	var told []live.Invalidation
	for _, in := range made.Config.Invalidations {
		id := func(x live.Invalidation) bool { return x.ID == in.ID }
		if !slices.ContainsFunc(base.Config.Invalidations, id) && !slices.ContainsFunc(c.Invalidations, id) {
			told = append(told, in)
		}
	}
	if changed = changed || flushed || len(told) > 0; changed {
		c.Version = max(c.Version, made.Config.Version) + 1
	}
	if flushed {
		c.FlushVersion, c.Invalidations = c.Version, nil
	} else if len(told) > 0 {
		// Under the new version: a cache may have heeded theirs already.
		c.Invalidations = slices.Clone(c.Invalidations)
		for _, in := range told {
			in.Version = c.Version
			c.Invalidations = append(c.Invalidations, in)
		}
		if over := len(c.Invalidations) - maxInvalidations; over > 0 {
			c.FlushVersion, c.Invalidations = c.Version, nil
		}
	}

	set := mergeList(base.Notifications.Set, made.Notifications.Set, out.Notifications.Set, func(n live.Notification) string { return n.ID })
	if !slices.EqualFunc(set, out.Notifications.Set, sameNotification) && len(set) <= live.MaxNotifications {
		next := live.Notifications{Sequence: max(out.Notifications.Sequence, made.Notifications.Sequence) + 1, Set: set}
		if _, err := next.Header(); err == nil {
			out.Notifications, changed = next, true
		}
	}
	said := maps.Clone(out.Heard)
	for pipeline, h := range made.Heard {
		if h != base.Heard[pipeline] && h.newer(said[pipeline]) {
			if said == nil {
				said = make(map[string]heard)
			}
			said[pipeline], changed = h, true
		}
	}
	out.Heard = said
	return out, changed
}

// mergeConfig takes over the fields that made has changed and theirs has not.
func mergeConfig(base, made, theirs *live.Event) (changed bool) {
	b, m, t := reflect.ValueOf(base).Elem(), reflect.ValueOf(made).Elem(), reflect.ValueOf(theirs).Elem()
	for i := range b.NumField() {
		if b.Type().Field(i).Name == "Renditions" {
			continue
		}
		x, y, z := b.Field(i), m.Field(i), t.Field(i)
		if !reflect.DeepEqual(x.Interface(), y.Interface()) && reflect.DeepEqual(x.Interface(), z.Interface()) {
			z.Set(y)
			changed = true
		}
	}
	list := mergeList(base.Renditions, made.Renditions, theirs.Renditions, func(r live.Rendition) string { return r.Name })
	if !reflect.DeepEqual(list, theirs.Renditions) {
		theirs.Renditions, changed = list, true
	}
	return changed
}

// mergeList takes over what made has added, changed or taken out, by id.
func mergeList[T any](base, made, theirs []T, id func(T) string) []T {
	find := func(list []T, name string) (T, bool) {
		i := slices.IndexFunc(list, func(x T) bool { return id(x) == name })
		if i < 0 {
			var zero T
			return zero, false
		}
		return list[i], true
	}
	out := slices.Clone(theirs)
	for _, m := range made {
		b, was := find(base, id(m))
		if was && reflect.DeepEqual(b, m) {
			continue
		}
		t, is := find(theirs, id(m))
		switch {
		case !is && !was:
			out = append(out, m)
		case is && was && reflect.DeepEqual(t, b):
			out[slices.IndexFunc(out, func(x T) bool { return id(x) == id(m) })] = m
		}
	}
	for _, b := range base {
		if _, kept := find(made, id(b)); kept {
			continue
		}
		if t, is := find(theirs, id(b)); is && reflect.DeepEqual(t, b) {
			out = slices.DeleteFunc(out, func(x T) bool { return id(x) == id(b) })
		}
	}
	return out
}
