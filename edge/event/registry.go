// Package event is what an edge knows of events: which there are, their
// configurations, followed from the parents, and what answers tell of them.
//
// Lock order: the registry's mu, then the tallies'. An event's is taken alone.
package event

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	untold  atomic.Int64    // when it was last said that no parent told of an event, in Unix nanoseconds

	mu      sync.Mutex // guards the following
	events  map[live.EventID]*Event
	tenants map[string]time.Time // that the parents do not know, until
	names   map[string]told      // which events of a tenant there are, and by "" which tenants
	gates   map[string]*gate     // by tenant
}

// NewRegistry makes a registry that follows until ctx ends.
func NewRegistry(ctx context.Context, cfg Config) *Registry {
	return &Registry{
		Config: cfg, ctx: ctx, unknown: make(chan struct{}, unknownAtOnce),
		events: make(map[live.EventID]*Event), tenants: make(map[string]time.Time), names: make(map[string]told), gates: make(map[string]*gate),
	}
}

// A Refusal says why there is no such event, and for how long that is known.
type Refusal struct {
	Problem *live.Problem // nil: there is no reason
	Life    time.Duration
}

// AppendDetail appends what its problem document says of an event.
func (r Refusal) AppendDetail(b []byte, id live.EventID) []byte {
	switch {
	case r.Problem.Detail != "":
		return append(b, r.Problem.Detail...)
	case r.Problem.Code == live.ErrNoTenant.Code:
		return append(append(append(b, `no event of tenant "`...), id.Tenant...), `" has been created`...)
	}
	b = append(append(append(append(b, "event "...), id.Tenant...), '/'), id.Name...)
	return append(b, " was deleted, or never created"...)
}

// Event returns what is to be known of an event, and has the parents asked where
// nothing is: once, however many ask. It refuses unknown events from memory for
// as long as the parents said, also those of which they did not speak where they
// said which there are; to refuse takes no memory.
func (r *Registry) Event(id live.EventID, now time.Time) (*Event, Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.events[id]
	if e != nil && e.expired(now) {
		delete(r.events, id)
		e = nil
	}
	if e == nil {
		if no := r.absent(id, now); no.Problem != nil {
			return nil, no
		}
		if len(r.events) >= r.Max && !r.evictUnknown() {
			return nil, Refusal{errTooMany, errTooMany.Lifetime}
		}
		id = live.EventID{Tenant: strings.Clone(id.Tenant), Name: strings.Clone(id.Name)}
		e = newEvent(id)
		if !r.Spawn(func() { r.follow(e) }) {
			return nil, Refusal{errClosed, errClosed.Lifetime}
		}
		r.events[id] = e
	}
	// Under mu, so that the follower does not forget it just now.
	e.used.Store(now.UnixNano())
	return e, Refusal{}
}

var (
	errTooMany = live.ErrShed.With("too many events")
	errClosed  = live.ErrDraining.With("ask another edge")
)

// absent says whether parents told that there is no such tenant or event. It needs mu.
func (r *Registry) absent(id live.EventID, now time.Time) Refusal {
	if until := r.tenants[id.Tenant]; now.Before(until) {
		return Refusal{live.ErrNoTenant, until.Sub(now)}
	}
	if t := r.names[""]; t.lacks(id.Tenant, now) {
		return Refusal{live.ErrNoTenant, t.until.Sub(now)}
	}
	if t := r.names[id.Tenant]; t.lacks(id.Name, now) {
		return Refusal{live.ErrNoEvent, t.until.Sub(now)}
	}
	return Refusal{}
}

// What is told is which names there are, until.
type told struct {
	names  live.Names
	header string // as it came
	until  time.Time
}

func (t *told) lacks(name string, now time.Time) bool {
	return t.names != nil && now.Before(t.until) && !t.names.Has(name)
}

// Names is the Live-Names of a refusal, for a node below: of the tenant's events,
// or where there is no such tenant of the tenants. It is empty where it is not known.
func (r *Registry) Names(no Refusal, tenant string, now time.Time) string {
	if no.Problem.Code == live.ErrNoTenant.Code {
		tenant = ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.names[tenant]; now.Before(t.until) {
		return t.header
	}
	return ""
}

// A gate has who asks for unknown events of a tenant take turns: when the first
// have heard which there are, the others need not ask.
type gate struct {
	slots chan struct{}
	users int
}

// perTenant bounds the requests for unknown events of a tenant.
const perTenant = 4

// gate returns that of a tenant, until leave is called.
func (r *Registry) gate(tenant string) (g *gate, leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g = r.gates[tenant]; g == nil {
		g = &gate{slots: make(chan struct{}, perTenant)}
		r.gates[tenant] = g
	}
	g.users++
	return g, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if g.users--; g.users == 0 {
			delete(r.gates, tenant)
		}
	}
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

// unknownEvent is the refusal of an event that a parent does not know, for as long
// as it said. Where it says which there are, or that it does not know the tenant
// either, no other is asked for until that has run out.
func (r *Registry) unknownEvent(resp *http.Response, id live.EventID) *live.Problem {
	var said live.Problem
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	no, of := Refusal{Problem: live.ErrNoEvent}, id.Tenant
	if err == nil && json.Unmarshal(body, &said) == nil && said.Code == live.ErrNoTenant.Code {
		no.Problem, of = live.ErrNoTenant, ""
	}
	no.Life = no.Problem.Lifetime
	if lifetime, ok := live.ParseLifetime(resp.Header.Values(live.HeaderCacheControl)); ok {
		no.Life = min(lifetime, refusalMost)
	}
	until := time.Now().Add(no.Life)
	header := resp.Header.Get(live.HeaderNames)
	names, _ := live.ParseNames(header)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case names != nil:
		r.names[of] = told{names, header, until}
	case of == "" && len(r.tenants) < r.Max:
		r.tenants[id.Tenant] = until
	}
	return no.Problem.For(no.Life).With(string(no.AppendDetail(nil, id)))
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
	maps.DeleteFunc(r.names, func(_ string, t told) bool { return !now.Before(t.until) })
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
