// Package health is what the roles of an origin depend on, and how that does.
//
// Locks: Dependency.mu alone, and not while a probe runs.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"headwater/access"
	"headwater/announce"
	"headwater/clock"
	"headwater/live"
	"headwater/store"
)

// A Dependency is something that a role cannot do without, and how it did last.
// What is done anyway is watched; a probe is only made where nothing was.
type Dependency struct {
	name  string
	probe func(ctx context.Context) error

	mu     sync.Mutex // guards the following
	at     time.Time  // of the last outcome
	failed time.Time  // since when it fails; zero: it does not
	err    error
}

const (
	// freshOutcome is how long an outcome speaks for a dependency.
	freshOutcome = time.Second
	// unreadyAfter is how long a dependency must fail for its role not to be
	// ready: less is what retries are for.
	unreadyAfter = 2 * time.Second
)

// Note enters an outcome. What a caller's leaving or asking caused says nothing.
func (d *Dependency) Note(now time.Time, err error) {
	switch {
	case errors.Is(err, context.Canceled):
		return
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrFull), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrTokenDrift), errors.Is(err, context.DeadlineExceeded):
	default:
		err = nil // it answered
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at, d.err = now, err
	if err == nil {
		d.failed = time.Time{}
	} else if d.failed.IsZero() {
		d.failed = now
	}
}

// check returns why the dependency is not healthy, and whether it has been so
// for too long.
func (d *Dependency) check(ctx context.Context) (why error, tooLong bool) {
	d.mu.Lock()
	stale := time.Since(d.at) >= freshOutcome
	d.mu.Unlock()
	if stale {
		ctx, cancel := context.WithTimeout(ctx, freshOutcome)
		err := d.probe(ctx)
		cancel()
		d.Note(time.Now(), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err, d.err != nil && time.Since(d.failed) >= unreadyAfter
}

// A role is one of the listeners.
type role string

const (
	PublishRole role = "publish"
	DeliverRole role = "deliver"
	ControlRole role = "control"
)

// probeRecord is where probes write. It is not read by anything.
var probeRecord = store.Record{Namespace: store.Control, ID: "probe"}

// WritesOf is how writing to a store goes.
func WritesOf(clk *clock.Clock, s store.Store, node string, tokens *store.Tokens) *Dependency {
	return &Dependency{name: "store-writes", probe: func(ctx context.Context) error {
		return s.Put(ctx, probeRecord, store.Item{Key: node, Token: tokens.Next(), Expires: clk.Now().Add(time.Minute)})
	}}
}

// ReadsOf is how reading from it goes.
func ReadsOf(s store.Store, node string) *Dependency {
	return &Dependency{name: "store-reads", probe: func(ctx context.Context) error {
		_, err := s.Get(ctx, probeRecord, node)
		return err
	}}
}

// Readiness is what the roles of an origin depend on.
type Readiness struct {
	Clock         *clock.Clock
	Writes, Reads *Dependency
	Bus           announce.Bus
	Store         store.Store // whose condition is told
	Draining      <-chan struct{}
	Access        *access.Guard
	Metrics       *prometheus.Registry
}

type dependencyJSON struct {
	Name     string `json:"name"`
	Healthy  bool   `json:"healthy"`
	Required bool   `json:"required"`
	Detail   string `json:"detail,omitempty"`
}

// ready answers whether a role can do its work: 200 or 503, and in the body
// which of what it depends on is healthy. Without announcements all goes on,
// with more looking into the store.
func (h *Readiness) ready(of role) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-h.Draining:
			live.ErrDraining.Write(w, r)
			return
		default:
		}
		body := struct {
			Role         role             `json:"role"`
			Ready        bool             `json:"ready"`
			Dependencies []dependencyJSON `json:"dependencies"`
		}{Role: of, Ready: true}
		tell := func(name string, required bool, why error) {
			j := dependencyJSON{Name: name, Healthy: why == nil, Required: required}
			if why != nil {
				j.Detail = why.Error()
			}
			body.Dependencies = append(body.Dependencies, j)
		}
		for _, d := range h.needs(of) {
			why, tooLong := d.check(r.Context())
			body.Ready = body.Ready && !tooLong
			tell(d.name, true, why)
		}
		byClock := of == DeliverRole
		body.Ready = body.Ready && (h.Clock.Trusted() || !byClock)
		tell("clock", byClock, h.Clock.Health())
		tell("announcements", false, h.Bus.Health())
		// What is lost is to be seen, and no reason not to serve the rest.
		tell("store-condition", false, store.ConditionOf(h.Store))
		status := http.StatusOK
		if !body.Ready {
			status = http.StatusServiceUnavailable
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set(live.HeaderCacheControl, "no-store")
		w.WriteHeader(status)
		to := json.NewEncoder(w)
		to.SetIndent("", "  ")
		_ = to.Encode(body) // nothing in it can fail
	}
}

func (h *Readiness) needs(r role) []*Dependency {
	switch r {
	case PublishRole:
		return []*Dependency{h.Writes}
	case DeliverRole:
		return []*Dependency{h.Reads}
	}
	return []*Dependency{h.Writes, h.Reads}
}

// Serves reports whether a path is one of those that Beside answers.
func Serves(path []byte) bool {
	switch string(path) {
	case "/healthz", "/readyz", "/metrics":
		return true
	}
	return false
}

// Beside serves /healthz, /readyz and /metrics of a role, which may be the only
// one of its process, beside what else it serves.
func (h *Readiness) Beside(of role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath() // each has one form
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			path = ""
		}
		switch path {
		case "/healthz":
			w.Header().Set(live.HeaderCacheControl, "no-store")
			_, _ = w.Write([]byte("ok\n"))
		case "/readyz":
			h.ready(of)(w, r)
		case "/metrics":
			// Where viewers, or caches of others, reach it, it is not for them.
			if of == DeliverRole {
				if _, err := h.Access.Check(w, r, access.Want{Right: access.Read}); err != nil {
					var problem *live.Problem
					if errors.As(err, &problem) {
						problem.Write(w, r)
					}
					return
				}
			}
			promhttp.HandlerFor(h.Metrics, promhttp.HandlerOpts{}).ServeHTTP(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}
