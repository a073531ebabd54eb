// Package ingest takes what encoders send over HTTP under names of their own, and
// makes of it what a packager cuts: fragments with the event's decode times. It
// speaks both interfaces of the DASH-IF Live Media Ingest Protocol, version 1.2:
// CMAF ingest, a long request or many for each track, and DASH or HLS ingest, whose
// manifests say which file is what.
//
// All that comes below /TENANT/EVENT/PIPELINE/ is one encoder, a publication: its
// streams are found by names and manifests (names.go, mpd.go, hls.go), its tracks
// become renditions (match.go), and its times the event's (anchor.go). These are
// pure. A publication gathers for a moment before that is decided.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"headwater/admit"
	"headwater/live"
	"headwater/packager"
)

// ErrConfig is wrapped by the errors of New.
var ErrConfig = errors.New("ingest: configuration")

// A Config says how a server takes media.
type Config struct {
	// Packager is how what comes is published: all but Event, Pipeline and the
	// source. Where Secret is given its Token is the request's.
	Packager packager.Config
	// Event and Pipeline are the only ones that are taken; empty: all.
	Event, Pipeline string
	// Allow says whether a request may publish, with a *live.Problem where not. Nil:
	// everybody may.
	Allow func(w http.ResponseWriter, r *http.Request, id live.EventID, pipeline string) error
	// Secret is the request's own, which then goes on to the origin. Nil: none is.
	Secret func(r *http.Request) string
	// Create makes an event that was learnt from what came, or changes it. Nil:
	// events are not made.
	Create func(ctx context.Context, secret string, id live.EventID, ev *live.Event) error

	// Gather is how long after the first fragment a publication waits for tracks and
	// manifests before it decides what is what. Default 1.5 s.
	Gather time.Duration
	// Idle is how long a publication to which nothing is sent stays. Default 1 min.
	Idle time.Duration
	// MaxPublications bounds how many there are at once. Default 256.
	MaxPublications int
	// HeldBytes bounds what one publication holds while it gathers. Default 64 MiB.
	HeldBytes int64
	// AllHeldBytes bounds what all of them hold so. Default 1 GiB.
	AllHeldBytes int64
	// TenantPercent bounds what one tenant may have of MaxPublications and
	// AllHeldBytes. 0 and 100 are all.
	TenantPercent int
	// MaxFragment bounds a fragment, with what comes between two. Default 32 MiB.
	MaxFragment int64

	Log *slog.Logger
}

// Outcomes of requests; Stats has a counter for each from the start.
const (
	OutcomeMedia    = "media"    // segments, or a track, to the end
	OutcomeInit     = "init"     // nothing but an init segment
	OutcomeManifest = "manifest" // read
	OutcomeProbe    = "probe"    // an empty body, HEAD, OPTIONS
	OutcomeDropped  = "dropped"  // DELETE, tracks that the event has no rendition for by intent
	OutcomeRefused  = "refused"
	OutcomeBroken   = "broken" // the client left, or was too slow
)

// Outcomes lists them.
var Outcomes = []string{OutcomeMedia, OutcomeInit, OutcomeManifest, OutcomeProbe, OutcomeDropped, OutcomeRefused, OutcomeBroken}

// Stats is a snapshot.
type Stats struct {
	Publications int
	Requests     map[string]int64 // by outcome
	Fragments    int64            // that came
	Repeated     int64            // of those, that were there before and are not taken again
	Anchors      int64            // how often an encoder was placed in time
}

// A Server is an http.Handler for encoders.
type Server struct {
	cfg          Config
	ctx          context.Context // ends when it drains
	stop         context.CancelCauseFunc
	tasks        sync.WaitGroup
	publications *admit.Share[string] // by tenant
	held         *admit.Share[string] // bytes, by tenant

	mu    sync.Mutex // guards the following, and active and rest of publications
	pubs  map[pubKey]*publication
	stats Stats
}

type pubKey struct {
	event    live.EventID
	pipeline string
}

// New returns a server.
func New(cfg Config) (*Server, error) {
	if cfg.Gather == 0 {
		cfg.Gather = 1500 * time.Millisecond
	}
	if cfg.Idle == 0 {
		cfg.Idle = time.Minute
	}
	if cfg.MaxPublications == 0 {
		cfg.MaxPublications = 256
	}
	if cfg.HeldBytes == 0 {
		cfg.HeldBytes = 64 << 20
	}
	if cfg.AllHeldBytes == 0 {
		cfg.AllHeldBytes = 1 << 30
	}
	if cfg.MaxFragment == 0 {
		cfg.MaxFragment = 32 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.Packager.Log = cfg.Log
	if cfg.Packager.Time == nil {
		cfg.Packager.Time = packager.NewClock(nil, cfg.Log)
	}
	// What cannot be published at all is to be said now.
	probe := cfg.Packager
	probe.Event, probe.Pipeline, probe.Feed = "tenant/event", "pipeline", packager.NewFeed()
	if cfg.Event != "" {
		probe.Event, probe.Pipeline = cfg.Event, cfg.Pipeline
	}
	if _, err := packager.New(probe); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s := &Server{
		cfg: cfg, pubs: map[pubKey]*publication{}, stats: Stats{Requests: map[string]int64{}},
		publications: admit.NewShare[string](int64(cfg.MaxPublications), cfg.TenantPercent), held: admit.NewShare[string](cfg.AllHeldBytes, cfg.TenantPercent),
	}
	for _, o := range Outcomes {
		s.stats.Requests[o] = 0
	}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	return s, nil
}

// Drain ends what is being sent, answers it and all that follows that this server
// stops, and has what was gathered published. It returns when that is done.
func (s *Server) Drain() {
	s.stop(live.ErrDraining)
	s.tasks.Wait()
}

// Stats returns what there is.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Requests = maps.Clone(s.stats.Requests)
	out.Publications = len(s.pubs)
	return out
}

// Packagers are what is known of the packagers, by event and pipeline.
func (s *Server) Packagers() map[string]packager.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]packager.Stats{}
	for k, p := range s.pubs {
		out[k.event.String()+"/"+k.pipeline] = p.packager.Stats()
	}
	return out
}

func (s *Server) count(f func(s *Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

// enter is for a request: it finds the publication, or begins it, and waits until
// that knows its event. leave must follow where there is no error.
func (s *Server) enter(ctx context.Context, key pubKey, secret string) (*publication, error) {
	s.mu.Lock()
	p := s.pubs[key]
	if p == nil {
		if s.ctx.Err() != nil {
			s.mu.Unlock()
			return nil, live.ErrDraining
		}
		if !s.publications.Enter(key.event.Tenant, admit.Publish, 1) {
			s.mu.Unlock()
			return nil, live.ErrShed.With(fmt.Sprintf("%d encoders send already, or those of tenant %s are as many as it may have", s.publications.Used(), key.event.Tenant))
		}
		var err error
		if p, err = newPublication(s, key, secret); err != nil {
			s.publications.Leave(key.event.Tenant, 1)
			s.mu.Unlock()
			return nil, err
		}
		s.pubs[key] = p
		s.tasks.Go(p.run)
	}
	p.active++
	if p.rest != nil {
		p.rest.Stop()
		p.rest = nil
	}
	s.mu.Unlock()
	var err error
	select {
	case <-p.opened:
		err = p.failed
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		s.leave(p)
		return nil, err
	}
	return p, nil
}

func (s *Server) leave(p *publication) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.active--; p.active > 0 {
		return
	}
	p.rest = time.AfterFunc(s.cfg.Idle, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if p.active == 0 {
			s.forget(p)
			p.end(errIdle)
		}
	})
}

// forget needs mu.
func (s *Server) forget(p *publication) {
	if s.pubs[p.key] == p {
		delete(s.pubs, p.key)
		s.publications.Leave(p.key.event.Tenant, 1)
	}
}
