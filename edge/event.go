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

	known   chan struct{} // closed when the first answer about the event is there
	refusal *live.Problem // with known: there is no such event, until
	until   time.Time

	mu            sync.Mutex // guards the following
	notifications string     // the newest set, as it came
	sequence      int64
	news          chan struct{} // closed when the set is another
	parked        map[parked]struct{}
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
		e.mu.Lock()
		defer e.mu.Unlock()
		// Answers overtake each other: the highest sequence is the newest.
		if n.Sequence > e.sequence {
			if s, err := n.Header(); err == nil {
				e.sequence, e.notifications = n.Sequence, s
				close(e.news)
				e.news = make(chan struct{})
				e.told.Add(1)
			}
		}
	}
}

// heard returns the sequence number of the newest set of notifications, and a
// channel that closes when there is a newer one.
func (e *event) heard() (sequence int64, news <-chan struct{}) {
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
	sharedFields
}

// stamp is what every answer of the event carries. The version is that of the
// view the answer was looked up under, not one that came since: to another edge
// it says which invalidations were heeded.
func (e *event) stamp(v *view) *sharedFields {
	told := e.told.Load()
	if s := e.common.Load(); s != nil && s.view == v && s.told == told {
		return &s.sharedFields
	}
	s := &stamped{view: v, told: told}
	s.put(live.HeaderVersion, strconv.FormatInt(v.config.Version, 10))
	if n := e.edge.Load(); n >= 0 {
		s.put(live.HeaderEdge, strconv.FormatInt(n, 10))
	}
	e.mu.Lock()
	notifications := e.notifications
	e.mu.Unlock()
	if notifications != "" {
		s.put(live.HeaderNotifications, notifications)
	}
	e.common.Store(s)
	return &s.sharedFields
}

// isKnown reports whether the first word of the event is there.
func (e *event) isKnown() bool {
	select {
	case <-e.known:
		return true
	default:
		return false
	}
}

// learnt says that it is.
func (e *event) learnt() {
	e.mu.Lock()
	waiting := slices.Collect(maps.Keys(e.parked))
	e.parked = nil
	close(e.known)
	e.mu.Unlock()
	wakeAll(waiting)
}

// park, unpark and changed are for those who wait for the first word of it.
func (e *event) park(p parked, _ int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isKnown() {
		return false
	}
	if e.parked == nil {
		e.parked = make(map[parked]struct{})
	}
	e.parked[p] = struct{}{}
	return true
}

func (e *event) unpark(p parked) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.parked, p)
}

func (e *event) changed(int) <-chan struct{} { return e.known }

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
		e = &event{id: id, known: make(chan struct{}), news: make(chan struct{})}
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
	return e.isKnown() && e.refusal != nil
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
	defer ed.mu.Unlock()
	ed.forgetLocked(e)
}

func (ed *Edge) forgetLocked(e *event) {
	if ed.events[e.id] == e {
		delete(ed.events, e.id)
		ed.metrics.forget(e.id)
	}
	if v := e.view.Load(); v != nil {
		close(v.changed)
	}
}

// forgetIdle forgets an event that nobody has asked for in a while.
func (ed *Edge) forgetIdle(e *event) bool {
	ed.mu.Lock()
	defer ed.mu.Unlock()
	if time.Since(time.Unix(0, e.used.Load())) <= ed.cfg.EventIdle {
		return false
	}
	ed.forgetLocked(e)
	return true
}
