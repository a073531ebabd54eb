package book

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"headwater/live"
	"headwater/origin/layout"
	"headwater/store"
)

// What a tenant has stored is known by what was read of it, and a start reads what is older
// than the live window beside serving (older.go). So that a tenant who has all that it may
// is not given more meanwhile, what its events have is written down now and then, by parts
// of the DVR window: after a start it counts as far as it is in the window still. It never
// counts for more than there is.

// A Usage is what a tenant has.
type Usage struct {
	Events, Renditions int
	Bytes              int64 // of segments that are published, of all pipelines, and of clips
}

// Usage is what a tenant has beside one of its events. It looks at that tenant's alone: each
// PUT of a segment asks.
func (g *Book) Usage(tenant, besides string) (u Usage) {
	now := g.Clock.Now()
	g.mu.RLock()
	defer g.mu.RUnlock()
	for id, e := range g.of[tenant] {
		if id.Name != besides {
			u.Events++
			u.Renditions += len(e.View().Config().Renditions)
			u.Bytes += e.stored(now)
			for _, x := range e.View().Record.Slates {
				u.Bytes += x.Bytes
			}
		}
	}
	return u
}

const (
	keepUsage  = time.Minute // how often it is written down
	usageParts = 64          // of the DVR window, at least
)

// storedUsage is what of an event was stored, by numbers.
type storedUsage struct {
	Life  int64       `json:"life"`
	Parts []usagePart `json:"parts"`
}

// A usagePart is what was stored from a number on, up to the next part's.
type usagePart struct {
	From  live.Number `json:"from"`
	Bytes int64       `json:"bytes"`
}

// since is what there was from a number on, of parts that are wholly of that.
func (u *storedUsage) since(oldest live.Number) (sum int64) {
	for _, p := range u.Parts {
		if p.From >= oldest {
			sum += p.Bytes
		}
	}
	return sum
}

// stored is what segments of the event take, of all pipelines: what is known of, and while
// that is not all, what there was before the start at least.
func (e *Event) stored(now time.Time) int64 {
	known := e.bytes.Load()
	if before := e.earlier.Load(); before != nil {
		tl := e.View().Config().Event.Timeline()
		known = max(known, before.since(tl.Oldest(now)))
	}
	return known
}

// usage is what is stored of the event.
func (e *Event) usage(now time.Time) *storedUsage {
	tl := e.View().Config().Event.Timeline()
	size := max((tl.At(now)-tl.Oldest(now))/usageParts, 1)
	parts := make(map[live.Number]int64)
	for _, name := range e.Renditions() {
		e.mu.Lock() // anew for each, as in prune
		for n, s := range e.tracks[name].slots {
			for _, c := range s.candidates {
				parts[n-n%size] += c.Size
			}
		}
		e.mu.Unlock()
	}
	u := &storedUsage{Life: e.Life}
	for _, from := range slices.Sorted(maps.Keys(parts)) {
		u.Parts = append(u.Parts, usagePart{from, parts[from]})
	}
	return u
}

// keepUsage writes down what is stored of the events of which all is known. Where the store
// is slow or does not take it the rest waits for the next time: so does all else that Run does.
func (g *Book) keepUsage(ctx context.Context) {
	for _, e := range g.List() {
		select {
		case <-e.Whole():
		default:
			continue
		}
		now := g.Clock.Now()
		bytes := e.bytes.Load()
		if bytes == e.written.Swap(bytes) {
			continue
		}
		tl := e.View().Config().Event.Timeline()
		if err := g.putUsage(ctx, e, e.usage(now), now.Add(tl.DVR())); err != nil && ctx.Err() == nil {
			g.Log.Warn("writing down what is stored of an event", "event", e.ID.String(), "err", err)
			e.written.Store(-1)
			return
		}
	}
}

func (g *Book) putUsage(ctx context.Context, e *Event, u *storedUsage, expires time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	value, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("origin: what is stored of event %v: %w", e.ID, err)
	}
	if err := g.Store.Put(ctx, layout.Usage, store.Item{Key: e.ID.String(), Token: g.Tokens.Next(), Value: value, Expires: expires}); err != nil {
		return fmt.Errorf("origin: what is stored of event %v: %w", e.ID, err)
	}
	return nil
}

// readUsage reads what was written down of an event. Where it cannot be read, what is known
// counts.
func (g *Book) readUsage(ctx context.Context, e *Event) {
	if !g.Bounded {
		return
	}
	item, err := g.Store.Get(ctx, layout.Usage, e.ID.String())
	var u storedUsage
	if err == nil {
		err = json.Unmarshal(item.Value, &u)
	}
	switch {
	case err == nil && u.Life == e.Life:
		e.earlier.Store(&u)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		g.Log.Warn("reading what is stored of an event: it counts as it is read", "event", e.ID.String(), "err", err)
	}
}
