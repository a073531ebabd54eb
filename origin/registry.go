package origin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/store"
)

// A registry holds every event in memory, and changes them through the store.
// Reading never leaves memory, so an unknown event costs a map look-up.
type registry struct {
	store   store.Store
	tokens  *store.Tokens
	editing chan struct{} // holds one token: whoever has it may read, change and write a record

	mu      sync.RWMutex // guards the following
	events  map[live.EventID]*event
	deleted map[live.EventID]eventRecord
}

func newRegistry(s store.Store, tokens *store.Tokens) *registry {
	return &registry{store: s, tokens: tokens, editing: make(chan struct{}, 1),
		events: make(map[live.EventID]*event), deleted: make(map[live.EventID]eventRecord)}
}

func (g *registry) get(id live.EventID) *event {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.events[id]
}

func (g *registry) list() []*event {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return slices.SortedFunc(maps.Values(g.events), func(a, b *event) int { return cmp.Compare(a.id.String(), b.id.String()) })
}

// load reads every event, its init segments and the metadata of what was
// published, as a node does when it starts.
func (g *registry) load(ctx context.Context) error {
	return scan(ctx, g.store, eventsRecord, "", "", true, func(item store.Item) error {
		id, err := live.ParseEventID(item.Key)
		if err != nil {
			return fmt.Errorf("origin: stored event: %w", err)
		}
		return g.loadEvent(ctx, id, item)
	})
}

func (g *registry) loadEvent(ctx context.Context, id live.EventID, item store.Item) error {
	var rec eventRecord
	if err := json.Unmarshal(item.Value, &rec); err != nil {
		return fmt.Errorf("origin: stored event %v: %w", id, err)
	}
	if rec.Deleted {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.deleted[id] = rec
		return nil
	}
	e, err := newEvent(id, rec)
	if err != nil {
		return err
	}
	if err := g.fill(ctx, e); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events[id] = e
	return nil
}

// fill reads what was published of an event.
func (g *registry) fill(ctx context.Context, e *event) error {
	for _, r := range e.view.Load().config().Renditions {
		if err := g.fillInits(ctx, e, r.Name); err != nil {
			return err
		}
		// Init segments are not in the media record, so all of it is segments.
		err := scan(ctx, g.store, mediaRecord(e.id, r.Name), "", "", false, func(item store.Item) error {
			c, err := decodeCandidate(item)
			if err == nil {
				e.learn(r.Name, c)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fillInits reads the init segments of a rendition. The oldest is the one that
// viewers have.
func (g *registry) fillInits(ctx context.Context, e *event, rendition string) error {
	return scan(ctx, g.store, initRecord(e.id, rendition), "", "", true, func(item store.Item) error {
		c, err := decodeMeta(item, 0, item.Key)
		if err != nil {
			return err
		}
		in, err := newInit(item.Value, live.Source{Pipeline: c.Pipeline, Region: c.Region}, c.Published)
		if err != nil {
			return fmt.Errorf("origin: stored init segment of %v %s %s: %w", e.id, rendition, item.Key, err)
		}
		e.learnInit(rendition, in)
		return nil
	})
}

func newInit(data []byte, source live.Source, published time.Time) (*initSegment, error) {
	parsed, err := cmaf.ParseInit(data)
	if err != nil {
		return nil, err
	}
	if len(parsed.Tracks) != 1 {
		return nil, fmt.Errorf("%w: %d tracks, a CMAF init segment has one", cmaf.ErrMalformed, len(parsed.Tracks))
	}
	return &initSegment{data: data, digest: live.DigestOf(data), track: parsed.Tracks[0], source: source, published: published}, nil
}

// learnInit enters a pipeline's init segment.
func (e *event) learnInit(rendition string, in *initSegment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.track(rendition)
	t.inits[in.source.Pipeline] = in.digest
	if t.init == nil || in.published.Before(t.init.published) {
		t.init = in
	}
}

// initOf returns the rendition's init segment, nil where there is none yet,
// and what the pipeline last PUT.
func (e *event) initOf(rendition, pipeline string) (in *initSegment, own live.Digest) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tracks[rendition]
	if t == nil {
		return nil, own
	}
	return t.init, t.inits[pipeline]
}

// errNoEvent is what an edit of an unknown event returns.
var errNoEvent = errors.New("origin: no such event")

// edit changes an event's record: change gets a copy of the current one (the
// last one of a deleted or new event, with exists false) and returns the next.
// The change is durable before anybody sees it. A change that returns
// errUnchanged leaves all as it is.
func (g *registry) edit(ctx context.Context, id live.EventID, change func(rec *eventRecord, exists bool) error) (*event, error) {
	select {
	case g.editing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-g.editing }()

	e := g.get(id)
	var rec eventRecord
	if e != nil {
		rec = e.view.Load().record
	} else {
		g.mu.RLock()
		rec = g.deleted[id]
		g.mu.RUnlock()
		rec.Deleted = false
	}
	switch err := change(&rec, e != nil); {
	case errors.Is(err, errUnchanged):
		return e, nil
	case err != nil:
		return nil, err
	}
	v, err := newView(rec)
	if err != nil {
		return nil, err
	}
	// The lateness is an observation of this run, not a setting.
	rest := rec
	rest.Config.LatenessMS = nil
	value, err := json.Marshal(rest)
	if err != nil {
		return nil, fmt.Errorf("origin: event %v: %w", id, err)
	}
	if err := g.store.Put(ctx, eventsRecord, store.Item{Key: id.String(), Token: g.tokens.Next(), Value: value}); err != nil {
		return nil, fmt.Errorf("origin: storing event %v: %w", id, err)
	}
	return g.enter(id, e, rec, v)
}

var errUnchanged = errors.New("origin: unchanged")

// enter makes a stored record the current one.
func (g *registry) enter(id live.EventID, e *event, rec eventRecord, v *view) (*event, error) {
	if e != nil && !rec.Deleted {
		// Lateness may have been observed meanwhile.
		v.record.Config.LatenessMS = e.view.Load().config().LatenessMS
		fresh, err := newView(v.record)
		if err != nil {
			return nil, err
		}
		e.setView(fresh)
		return e, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if rec.Deleted {
		delete(g.events, id)
		g.deleted[id] = rec
		if e != nil {
			e.setView(v) // wakes the holds, which then find no event
		}
		return nil, nil
	}
	fresh, err := newEvent(id, rec)
	if err != nil {
		return nil, err
	}
	delete(g.deleted, id)
	g.events[id] = fresh
	return fresh, nil
}
