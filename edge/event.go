package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headwater/edge/exchange"
	"headwater/live"
)

// An event is what the edge knows of an event: its configuration, followed
// from the parent, and what its answers told.
type event struct {
	id   live.EventID
	view atomic.Pointer[view] // nil until the first configuration came

	tally   atomic.Pointer[tally] // nil until then
	edge    atomic.Int64          // newest published number told, -1 before any
	version atomic.Int64          // highest version told
	used    atomic.Int64          // Unix ns of the last request
	told    atomic.Int64          // counts the changes of what stamp puts on answers

	common atomic.Pointer[stamped]

	known   atomic.Bool   // the first answer about the event is there
	refusal *live.Problem // with known: there is no such event, until
	until   time.Time
	over    atomic.Bool // it is not the edge's any more: whoever has it looks it up anew

	mu            sync.Mutex // guards the following
	notifications string     // the newest set, as it came
	sequence      int64
	news          int           // counts what those who wait for the event are told of
	next          chan struct{} // closed with the next of it
	parked        map[exchange.Parked]struct{}
	interrupt     context.CancelFunc // ends the held request for the configuration; nil while there is none
}

// hear takes what an answer of a parent says of its event.
func (e *event) hear(h http.Header) {
	if n, err := live.ParseNumber(h.Get(live.HeaderEdge)); err == nil {
		if atomicMax(&e.edge, int64(n)) {
			e.told.Add(1)
			if t := e.tally.Load(); t != nil && t.label != otherLabel {
				t.edge.Set(float64(e.edge.Load()))
			}
		}
	}
	if v, err := live.ParseVersion(h.Get(live.HeaderVersion)); err == nil && atomicMax(&e.version, v) {
		// The follower puts interrupt there first and looks at the version
		// then; here it is the other way round. So one of the two sees the other.
		e.mu.Lock()
		if now := e.view.Load(); now != nil && v > now.config.Version && e.interrupt != nil {
			e.interrupt()
		}
		e.mu.Unlock()
	}
	if vals := h.Values(live.HeaderNotifications); len(vals) > 0 {
		n, err := live.ParseNotifications(vals)
		if err != nil {
			return
		}
		if s, err := n.Header(); err == nil && e.notify(n.Sequence, s) {
			e.tell()
		}
	}
}

// notify takes a set of notifications, and reports whether it is a newer one:
// answers overtake each other, so the one with the highest sequence number is.
func (e *event) notify(sequence int64, set string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if sequence <= e.sequence {
		return false
	}
	e.sequence, e.notifications = sequence, set
	e.told.Add(1)
	return true
}

// heard returns the sequence number of the newest set of notifications, and how
// much there has been to tell.
func (e *event) heard() (sequence int64, news int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sequence, e.news
}

func atomicMax(a *atomic.Int64, v int64) (raised bool) {
	for {
		old := a.Load()
		if v <= old {
			return false
		}
		if a.CompareAndSwap(old, v) {
			return true
		}
	}
}

// A stamped is the part of heads that all answers of an event have in common,
// until something else is told.
type stamped struct {
	view *view
	told int64
	exchange.Shared
}

// stamp is what every answer of the event carries. The version is that of the
// view the answer was looked up under, not one that came since: to another edge
// it says which invalidations were heeded.
func (e *event) stamp(v *view) *exchange.Shared {
	told := e.told.Load()
	if s := e.common.Load(); s != nil && s.view == v && s.told == told {
		return &s.Shared
	}
	s := &stamped{view: v, told: told}
	s.Put(live.HeaderVersion, strconv.FormatInt(v.config.Version, 10))
	if n := e.edge.Load(); n >= 0 {
		s.Put(live.HeaderEdge, strconv.FormatInt(n, 10))
	}
	e.mu.Lock()
	notifications := e.notifications
	e.mu.Unlock()
	if notifications != "" {
		s.Put(live.HeaderNotifications, notifications)
	}
	e.common.Store(s)
	return &s.Shared
}

// learnt says that the first word of the event is there.
func (e *event) learnt() {
	e.known.Store(true)
	e.tell()
}

// tell lets those who wait for the event look again.
func (e *event) tell() {
	e.mu.Lock()
	e.news++
	close(e.next)
	e.next = make(chan struct{})
	waiting := slices.Collect(maps.Keys(e.parked))
	e.parked = nil
	e.mu.Unlock()
	exchange.WakeAll(waiting)
}

// Park, Unpark and Changed are for those who wait for more to be told than they
// have seen.
func (e *event) Park(p exchange.Parked, seen int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.news > seen {
		return false
	}
	if e.parked == nil {
		e.parked = make(map[exchange.Parked]struct{})
	}
	e.parked[p] = struct{}{}
	return true
}

func (e *event) Unpark(p exchange.Parked) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.parked, p)
}

func (e *event) Changed(seen int) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.news > seen {
		return nil
	}
	return e.next
}

// event returns what is to be known of an event, and has the parent asked where
// nothing is: once, however many ask. It refuses unknown events from memory for
// as long as the parent said.
func (ed *Edge) event(id live.EventID, now time.Time) (*event, *live.Problem) {
	ed.mu.Lock()
	defer ed.mu.Unlock()
	e := ed.events[id]
	if e != nil && e.expired(now) {
		delete(ed.events, id)
		e = nil
	}
	if e == nil {
		switch {
		case ed.closed:
			return nil, live.ErrDraining.With("ask another edge")
		case now.Before(ed.tenants[id.Tenant]):
			return nil, noTenant(id.Tenant).For(ed.tenants[id.Tenant].Sub(now))
		case len(ed.events) >= ed.cfg.MaxEvents && !ed.evictUnknown():
			return nil, live.ErrShed.With("too many events")
		}
		id = live.EventID{Tenant: strings.Clone(id.Tenant), Name: strings.Clone(id.Name)}
		e = &event{id: id, next: make(chan struct{})}
		e.edge.Store(-1)
		ed.events[id] = e
		ed.tasks.Go(func() { ed.follow(e) })
	}
	// Under mu, so that the follower does not forget it just now.
	e.used.Store(now.UnixNano())
	return e, nil
}

// refused reports whether there is no such event.
func (e *event) refused() bool {
	return e.known.Load() && e.refusal != nil
}

// expired reports whether a refusal has run out.
func (e *event) expired(now time.Time) bool { return e.refused() && !now.Before(e.until) }

// evictUnknown needs mu. It makes room by forgetting a refused event.
func (ed *Edge) evictUnknown() bool {
	for id, e := range ed.events {
		if e.refused() {
			delete(ed.events, id)
			return true
		}
	}
	return false
}

// unknownEvent is the refusal of an event that the parent does not know. Where
// it does not know the tenant either, none of its events is asked for until the
// refusal has run out.
func (ed *Edge) unknownEvent(resp *http.Response, id live.EventID) *live.Problem {
	var said live.Problem
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil || json.Unmarshal(body, &said) != nil || said.Code != live.ErrNoTenant.Code {
		return live.ErrNoEvent.With(fmt.Sprintf("event %v was deleted, or never created", id))
	}
	problem := noTenant(id.Tenant)
	if lifetime, ok := live.ParseLifetime(resp.Header.Values(live.HeaderCacheControl)); ok {
		problem = problem.For(lifetime)
	}
	ed.mu.Lock()
	defer ed.mu.Unlock()
	if len(ed.tenants) < ed.cfg.MaxEvents {
		ed.tenants[id.Tenant] = time.Now().Add(problem.Lifetime)
	}
	return problem
}

func noTenant(name string) *live.Problem {
	return live.ErrNoTenant.With(fmt.Sprintf("no event of tenant %q has been created", name))
}

// sweepEvents forgets the refusals that have run out.
func (ed *Edge) sweepEvents(now time.Time) {
	ed.mu.Lock()
	defer ed.mu.Unlock()
	for id, e := range ed.events {
		if e.expired(now) {
			delete(ed.events, id)
		}
	}
	maps.DeleteFunc(ed.tenants, func(_ string, until time.Time) bool { return !now.Before(until) })
}

// forget lets the next request for the event start from nothing. Those who
// wait for a change look again.
func (ed *Edge) forget(e *event) {
	ed.mu.Lock()
	ed.forgetLocked(e)
	ed.mu.Unlock()
	e.tell()
}

func (ed *Edge) forgetLocked(e *event) {
	e.over.Store(true)
	if ed.events[e.id] == e {
		delete(ed.events, e.id)
		ed.metrics.forget(e.id)
	}
}

// forgetIdle forgets an event that nobody has asked for in a while.
func (ed *Edge) forgetIdle(e *event) bool {
	ed.mu.Lock()
	idle := time.Since(time.Unix(0, e.used.Load())) > ed.cfg.EventIdle
	if idle {
		ed.forgetLocked(e)
	}
	ed.mu.Unlock()
	if idle {
		e.tell()
	}
	return idle
}

// tellAll lets those who wait for any event look again.
func (ed *Edge) tellAll() {
	ed.mu.Lock()
	all := slices.Collect(maps.Values(ed.events))
	ed.mu.Unlock()
	for _, e := range all {
		e.tell()
	}
}
