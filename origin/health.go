package origin

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"headwater/live"
	"headwater/store"
)

// A dependency is something that a role cannot do without, and how it did last.
// What is done anyway is watched; a probe is only made where nothing was.
type dependency struct {
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

// note enters an outcome. What a caller's leaving or asking caused says nothing.
func (d *dependency) note(now time.Time, err error) {
	switch {
	case errors.Is(err, context.Canceled):
		return
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrFull), errors.Is(err, store.ErrClosed), errors.Is(err, context.DeadlineExceeded):
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
func (d *dependency) check(ctx context.Context) (why error, tooLong bool) {
	d.mu.Lock()
	stale := time.Since(d.at) >= freshOutcome
	d.mu.Unlock()
	if stale {
		ctx, cancel := context.WithTimeout(ctx, freshOutcome)
		err := d.probe(ctx)
		cancel()
		d.note(time.Now(), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err, d.err != nil && time.Since(d.failed) >= unreadyAfter
}

// A role is one of the listeners.
type role string

const (
	publishRole role = "publish"
	deliverRole role = "deliver"
	controlRole role = "control"
)

// probeRecord is where probes write. It is not read by anything.
var probeRecord = store.Record{Namespace: store.Control, ID: "probe"}

func (o *Origin) newDependencies() {
	o.writes = &dependency{name: "store-writes", probe: func(ctx context.Context) error {
		return o.store.Put(ctx, probeRecord, store.Item{Key: o.node, Token: o.tokens.Next(), Expires: time.Now().Add(time.Minute)})
	}}
	o.readings = &dependency{name: "store-reads", probe: func(ctx context.Context) error {
		_, err := o.reader.Get(ctx, probeRecord, o.node)
		return err
	}}
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
func (o *Origin) ready(of role) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-o.draining:
			live.ErrDraining.Write(w, r)
			return
		default:
		}
		body := struct {
			Role         role             `json:"role"`
			Ready        bool             `json:"ready"`
			Dependencies []dependencyJSON `json:"dependencies"`
		}{Role: of, Ready: true}
		for _, d := range o.needs(of) {
			j := dependencyJSON{Name: d.name, Healthy: true, Required: true}
			if err, tooLong := d.check(r.Context()); err != nil {
				j.Healthy, j.Detail = false, err.Error()
				body.Ready = body.Ready && !tooLong
			}
			body.Dependencies = append(body.Dependencies, j)
		}
		j := dependencyJSON{Name: "announcements", Healthy: true}
		if err := o.cfg.Bus.Health(); err != nil {
			j.Healthy, j.Detail = false, err.Error()
		}
		body.Dependencies = append(body.Dependencies, j)
		status := http.StatusOK
		if !body.Ready {
			status = http.StatusServiceUnavailable
		}
		_ = answer(w, status, body) // nothing in it can fail
	}
}

func (o *Origin) needs(r role) []*dependency {
	switch r {
	case publishRole:
		return []*dependency{o.writes}
	case deliverRole:
		return []*dependency{o.readings}
	}
	return []*dependency{o.writes, o.readings}
}

// healthy serves /healthz, /readyz and /metrics of a role, which may be the only
// one of its process, and reports whether that was what was asked for.
func (o *Origin) healthy(of role, w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	switch r.URL.Path {
	case "/healthz":
		w.Header().Set(live.HeaderCacheControl, "no-store")
		_, _ = w.Write([]byte("ok\n"))
		return true
	case "/readyz":
		o.ready(of)(w, r)
		return true
	case "/metrics":
		promhttp.HandlerFor(o.cfg.Metrics, promhttp.HandlerOpts{}).ServeHTTP(w, r)
		return true
	}
	return false
}
