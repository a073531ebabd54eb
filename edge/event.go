package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
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

	edge    atomic.Int64  // newest published number told, -1 before any
	version atomic.Int64  // highest version told
	used    atomic.Int64  // Unix ns of the last request
	kick    chan struct{} // holds one: fetch the configuration now

	known   chan struct{} // closed when the first answer about the event is there
	refusal *live.Problem // with known: there is no such event, until
	until   time.Time

	mu            sync.Mutex // guards the following
	notifications string     // the newest set, as it came
	sequence      int64
}

// A view is one state of an event's configuration. It is immutable.
type view struct {
	config    live.Config
	timelines map[string]live.Timeline
	json      []byte
	etag      string
	changed   chan struct{} // closed when there is a newer one
}

func newView(body []byte, etag string) (*view, error) {
	v := &view{json: body, etag: etag, timelines: make(map[string]live.Timeline), changed: make(chan struct{})}
	if err := json.Unmarshal(body, &v.config); err != nil {
		return nil, fmt.Errorf("edge: event configuration: %w", err)
	}
	for _, r := range v.config.Renditions {
		v.timelines[r.Name] = v.config.Timeline(r.Name)
	}
	return v, nil
}

// hear takes what an answer of a parent says of its event.
func (e *event) hear(h http.Header) {
	if n, err := live.ParseNumber(h.Get(live.HeaderEdge)); err == nil {
		atomicMax(&e.edge, int64(n))
	}
	if v, err := live.ParseVersion(h.Get(live.HeaderVersion)); err == nil && atomicMax(&e.version, v) {
		if now := e.view.Load(); now != nil && v > now.config.Version {
			select {
			case e.kick <- struct{}{}:
			default:
			}
		}
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
			}
		}
	}
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

// stamp puts on an answer what every answer of the event carries.
func (e *event) stamp(h http.Header) {
	if v := e.view.Load(); v != nil {
		h.Set(live.HeaderVersion, strconv.FormatInt(v.config.Version, 10))
	}
	if n := e.edge.Load(); n >= 0 {
		h.Set(live.HeaderEdge, strconv.FormatInt(n, 10))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.notifications != "" {
		h.Set(live.HeaderNotifications, e.notifications)
	}
}

// event returns what is known of an event, asking the parent where nothing is:
// once, however many ask. It refuses unknown events from memory for as long as
// the parent said.
func (ed *Edge) event(ctx context.Context, id live.EventID) (*event, error) {
	now := time.Now()
	ed.mu.Lock()
	e := ed.events[id]
	if e != nil && e.expired(now) {
		delete(ed.events, id)
		e = nil
	}
	if e == nil {
		if len(ed.events) >= ed.cfg.MaxEvents && !ed.evictUnknown(now) {
			ed.mu.Unlock()
			return nil, live.ErrShed.With("too many events")
		}
		e = &event{id: id, kick: make(chan struct{}, 1), known: make(chan struct{})}
		e.edge.Store(-1)
		ed.events[id] = e
		ed.tasks.Go(func() { ed.follow(e) })
	}
	ed.mu.Unlock()

	e.used.Store(now.UnixNano())
	select {
	case <-e.known:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if e.refusal != nil {
		return nil, e.refusal.For(max(e.until.Sub(now), 0))
	}
	return e, nil
}

// expired reports whether a refusal has run out.
func (e *event) expired(now time.Time) bool {
	select {
	case <-e.known:
		return e.refusal != nil && !now.Before(e.until)
	default:
		return false
	}
}

// evictUnknown needs mu. It makes room by forgetting a refused event.
func (ed *Edge) evictUnknown(now time.Time) bool {
	for id, e := range ed.events {
		select {
		case <-e.known:
			if e.refusal != nil {
				delete(ed.events, id)
				return true
			}
		default:
		}
	}
	return false
}

// A verdict is what to do after asking for a configuration.
type verdict uint8

const (
	again verdict = iota // ask again, to be held until the next change
	pause                // ask again after a while
	over                 // the event is no more, or never was
)

// follow fetches an event's configuration, and then each change of it by the
// held form of event.json, until nobody has asked for the event for a while.
// When the parents do not answer the edge goes on with what it has.
func (ed *Edge) follow(e *event) {
	const least, most = 100 * time.Millisecond, 5 * time.Second
	wait := least
	for {
		switch ed.refresh(e) {
		case over:
			return
		case again:
			wait = least
		case pause:
			t := time.NewTimer(wait)
			wait = min(2*wait, most)
			select {
			case <-t.C:
			case <-ed.ctx.Done():
				t.Stop()
				return
			}
		}
		if time.Since(time.Unix(0, e.used.Load())) > ed.cfg.EventIdle {
			ed.forget(e)
			return
		}
	}
}

// forget lets the next request for the event start from nothing.
func (ed *Edge) forget(e *event) {
	ed.mu.Lock()
	defer ed.mu.Unlock()
	if ed.events[e.id] == e {
		delete(ed.events, e.id)
	}
}

// decline answers those who wait for the first word of an event, and whoever
// asks within the refusal's lifetime. It is only for an event without a view.
func (ed *Edge) decline(e *event, p *live.Problem) verdict {
	e.refusal, e.until = p, time.Now().Add(max(p.Lifetime, 0))
	close(e.known)
	return over
}

// refresh asks for the configuration once; held, where one is known.
func (ed *Edge) refresh(e *event) verdict {
	path := live.Path{Event: e.id, File: live.FileConfig}.String()
	v := e.view.Load()
	if v == nil || e.version.Load() > v.config.Version {
		// Nothing is known, or what is known is old: ask plainly.
		return ed.ask(ed.ctx, e, path, 5*time.Second)
	}
	ctx, cancel := context.WithCancel(ed.ctx)
	defer cancel()
	// A version told by another answer ends the hold.
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-e.kick:
			cancel()
		case <-ended:
		}
	}()
	return ed.ask(ctx, e, path+"?after="+url.QueryEscape(v.etag), 40*time.Second)
}

// ask makes one request for the configuration and takes the answer.
func (ed *Edge) ask(ctx context.Context, e *event, path string, timeout time.Duration) verdict {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := ed.upstream.get(ctx, path)
	if err == nil {
		defer resp.Body.Close()
		var verdict verdict
		if verdict, err = ed.take(e, resp); err == nil {
			return verdict
		}
	}
	if errors.Is(ctx.Err(), context.Canceled) && ed.ctx.Err() == nil {
		return again // kicked
	}
	if e.view.Load() == nil {
		return ed.decline(e, live.ErrUpstream.With(err.Error()))
	}
	ed.log.Warn("event configuration", "event", e.id.String(), "err", err)
	return pause
}

// maxConfigBytes bounds an event.json.
const maxConfigBytes = 1 << 20

// take enters an answer about the event's configuration.
func (ed *Edge) take(e *event, resp *http.Response) (verdict, error) {
	v := e.view.Load()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotModified:
		return again, nil
	case http.StatusNotFound:
		if v == nil {
			problem := live.ErrNoEvent.With(fmt.Sprintf("event %v has not been created", e.id))
			if d, ok := live.ParseLifetime(resp.Header.Values(live.HeaderCacheControl)); ok {
				problem = problem.For(d)
			}
			return ed.decline(e, problem), nil
		}
		// A known event that is not there was deleted. Those who wait for a
		// change ask anew and are refused.
		ed.forget(e)
		close(v.changed)
		return over, nil
	default:
		return 0, fmt.Errorf("the origin answered %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxConfigBytes))
	if err != nil {
		return 0, err
	}
	next, err := newView(body, resp.Header.Get("ETag"))
	if err != nil {
		return 0, err
	}
	e.hear(resp.Header)
	switch {
	case v == nil:
		e.view.Store(next)
		close(e.known)
	case v.etag == next.etag:
	case next.config.Version < v.config.Version:
		return pause, nil // overtaken by a newer one, or a parent that lags
	default:
		e.view.Store(next)
		close(v.changed)
	}
	return again, nil
}
