// Package event is what an edge knows of events: which there are, their
// configurations, followed from the parents, and what answers tell of them.
//
// Lock order: the registry's mu, then the tallies'. An event's is taken alone.
package event

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"headwater/edge/parents"
	"headwater/live"
)

// A Config says where a Registry asks, and how much it keeps.
type Config struct {
	Parents *parents.Upstream
	Disk    Disk
	Tallies *Tallies
	Loop    live.Loop                        // where requests to the parents come from
	Sent    func(live.Path, *parents.Parent) // is called for each of them
	Max     int                              // events, those that there are not included
	Idle    time.Duration                    // an event that nobody asks for is followed for so long
	Spawn   func(func()) bool                // runs a task, unless all is over
	Log     *slog.Logger
}

// A Disk keeps configurations.
type Disk interface {
	Recall(ctx context.Context, id live.EventID) (config []byte, etag string)
	Remember(id live.EventID, config []byte, etag string, keep time.Duration)
	Forget(id live.EventID)
}

// A Registry has the events that were asked for of late.
type Registry struct {
	Config
	ctx     context.Context // of those that follow
	unknown chan struct{}   // one slot per request for an event of which nothing is known

	mu      sync.Mutex // guards the following
	events  map[live.EventID]*Event
	tenants map[string]time.Time // that the parents do not know, until
}

// NewRegistry makes a registry that follows until ctx ends.
func NewRegistry(ctx context.Context, cfg Config) *Registry {
	return &Registry{
		Config: cfg, ctx: ctx, unknown: make(chan struct{}, unknownAtOnce),
		events: make(map[live.EventID]*Event), tenants: make(map[string]time.Time),
	}
}

// Event returns what is to be known of an event, and has the parents asked where
// nothing is: once, however many ask. It refuses unknown events from memory for
// as long as the parents said.
func (r *Registry) Event(id live.EventID, now time.Time) (*Event, *live.Problem) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.events[id]
	if e != nil && e.expired(now) {
		delete(r.events, id)
		e = nil
	}
	if e == nil {
		switch {
		case now.Before(r.tenants[id.Tenant]):
			return nil, noTenant(id.Tenant).For(r.tenants[id.Tenant].Sub(now))
		case len(r.events) >= r.Max && !r.evictUnknown():
			return nil, live.ErrShed.With("too many events")
		}
		id = live.EventID{Tenant: strings.Clone(id.Tenant), Name: strings.Clone(id.Name)}
		e = newEvent(id)
		if !r.Spawn(func() { r.follow(e) }) {
			return nil, live.ErrDraining.With("ask another edge")
		}
		r.events[id] = e
	}
	// Under mu, so that the follower does not forget it just now.
	e.used.Store(now.UnixNano())
	return e, nil
}

// refused reports whether there is no such event.
func (e *Event) refused() bool {
	return e.Known() && e.refusal != nil
}

// expired reports whether a refusal has run out.
func (e *Event) expired(now time.Time) bool { return e.refused() && !now.Before(e.until) }

// evictUnknown needs mu. It makes room by forgetting a refused event.
func (r *Registry) evictUnknown() bool {
	for id, e := range r.events {
		if e.refused() {
			delete(r.events, id)
			return true
		}
	}
	return false
}

// unknownEvent is the refusal of an event that the parent does not know. Where
// it does not know the tenant either, none of its events is asked for until the
// refusal has run out.
func (r *Registry) unknownEvent(resp *http.Response, id live.EventID) *live.Problem {
	var said live.Problem
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil || json.Unmarshal(body, &said) != nil || said.Code != live.ErrNoTenant.Code {
		return live.ErrNoEvent.With(fmt.Sprintf("event %v was deleted, or never created", id))
	}
	problem := noTenant(id.Tenant)
	if lifetime, ok := live.ParseLifetime(resp.Header.Values(live.HeaderCacheControl)); ok {
		problem = problem.For(min(lifetime, refusalMost))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.tenants) < r.Max {
		r.tenants[id.Tenant] = time.Now().Add(problem.Lifetime)
	}
	return problem
}

func noTenant(name string) *live.Problem {
	return live.ErrNoTenant.With(fmt.Sprintf("no event of tenant %q has been created", name))
}

// Sweep forgets the refusals that have run out.
func (r *Registry) Sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, e := range r.events {
		if e.expired(now) {
			delete(r.events, id)
		}
	}
	maps.DeleteFunc(r.tenants, func(_ string, until time.Time) bool { return !now.Before(until) })
}

// forget lets the next request for the event start from nothing. Those who
// wait for a change look again.
func (r *Registry) forget(e *Event) {
	r.mu.Lock()
	r.forgetLocked(e)
	r.mu.Unlock()
	e.tell()
}

func (r *Registry) forgetLocked(e *Event) {
	e.over.Store(true)
	if r.events[e.ID] == e {
		delete(r.events, e.ID)
		r.Tallies.forget(e.ID)
	}
}

// forgetIdle forgets an event that nobody has asked for in a while.
func (r *Registry) forgetIdle(e *Event) bool {
	r.mu.Lock()
	idle := time.Since(time.Unix(0, e.used.Load())) > r.Idle
	if idle {
		r.forgetLocked(e)
	}
	r.mu.Unlock()
	if idle {
		e.tell()
	}
	return idle
}

// Tell lets those who wait for any event look again.
func (r *Registry) Tell() {
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.events))
	r.mu.Unlock()
	for _, e := range all {
		e.tell()
	}
}

// Len is how many events are remembered, those that there are not among them.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events)
}
