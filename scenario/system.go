// Package scenario builds the whole system: origin, edge, pipelines and
// viewers, in one process on loopback, as separate programs would run it. The
// demo is one; scripts with golden outcomes run on it.
package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/edge"
	"headwater/edge/front"
	"headwater/live"
	"headwater/origin"
	"headwater/store/disk"
)

// Options say what to build. Zero values take the defaults.
type Options struct {
	// Event is the event's name. Default demo/live.
	Event live.EventID
	// Dir is where the disk store is. Default: a directory that Close removes.
	Dir string
	// Encoder makes the media: "clip", built in, "none" for who publishes that clip's
	// renditions himself, or "ffmpeg", which must be
	// installed. Default clip.
	Encoder string
	// EdgeAddr, PublishAddr, DeliverAddr and ControlAddr are where to listen: an
	// address, or several with commas, of which the first that is free is taken.
	// Default: any free port of 127.0.0.1.
	EdgeAddr, PublishAddr, DeliverAddr, ControlAddr string
	// Look is the ffmpeg by which packagers watch what they send. Default: none does.
	Look string
	// EdgeHandler wraps what the edge's listener serves. May be nil.
	EdgeHandler func(http.Handler) http.Handler
	// EdgeConfig changes how the edge is built. May be nil.
	EdgeConfig func(*edge.Config)
	// Edit changes the event before it is created. May be nil.
	Edit func(*live.Event)

	Log *slog.Logger
}

// A System is a running system. Start makes it, Close ends it.
type System struct {
	Event     live.EventID
	Pipelines []*Pipeline
	Origin    *Server // its publish, deliver and control listeners
	Edge      *Server

	opt     Options
	log     *slog.Logger
	own     bool // Dir is ours to remove
	metrics *prometheus.Registry
}

// Start builds the system, creates the event and starts its pipelines. The
// event begins at once.
func Start(ctx context.Context, opt Options) (*System, error) {
	if opt.Event == (live.EventID{}) {
		opt.Event = live.EventID{Tenant: "demo", Name: "live"}
	}
	if opt.Encoder == "" {
		opt.Encoder = "clip"
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	s := &System{Event: opt.Event, opt: opt, log: opt.Log}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *System) start(ctx context.Context) error {
	if s.opt.Dir == "" {
		dir, err := os.MkdirTemp("", "headwater-")
		if err != nil {
			return fmt.Errorf("scenario: %w", err)
		}
		s.opt.Dir, s.own = dir, true
	}
	enc, err := newEncoder(s.opt.Encoder)
	if err != nil {
		return err
	}
	if err := s.StartOrigin(ctx); err != nil {
		return err
	}
	if err := s.StartEdge(); err != nil {
		return err
	}
	ev := enc.event(time.Now())
	if s.opt.Edit != nil {
		s.opt.Edit(&ev)
	}
	if err := s.createEvent(ctx, ev); err != nil {
		return err
	}
	if s.opt.Encoder == "none" {
		return nil
	}
	for _, p := range ev.Pipelines {
		pl := newPipeline(s, p.Name, enc)
		s.Pipelines = append(s.Pipelines, pl)
		pl.Revive()
	}
	return nil
}

// StartOrigin starts the origin, or starts it again over what it stored, on
// the same addresses.
func (s *System) StartOrigin(ctx context.Context) error {
	st, err := disk.Open(s.opt.Dir, disk.Options{Logger: s.log})
	if err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	org, err := origin.New(ctx, origin.Config{Store: st, Log: s.log.With("role", "origin"), Metrics: prometheus.NewRegistry()})
	if err != nil {
		return errors.Join(err, st.Close())
	}
	srv := &Server{closers: []func() error{st.Close}}
	house, stop := context.WithCancel(context.Background())
	srv.tasks.Go(func() { org.Run(house) })
	srv.drain = func() { org.Drain(); stop() }
	before := s.Origin
	for i, l := range []struct {
		addr    string
		handler http.Handler
	}{{s.opt.PublishAddr, org.PublishHandler()}, {s.opt.DeliverAddr, org.DeliverHandler()}, {s.opt.ControlAddr, org.ControlHandler()}} {
		if before != nil {
			l.addr = before.addrs[i]
		}
		if err := srv.listen(l.addr, l.handler); err != nil {
			return errors.Join(err, srv.Close())
		}
	}
	s.Origin = srv
	return nil
}

// StartEdge starts the edge, or starts it again, empty, on the same address.
func (s *System) StartEdge() error {
	s.metrics = prometheus.NewRegistry()
	cfg := edge.Config{Parents: []string{s.DeliverURL()}, Log: s.log.With("role", "edge"), Metrics: s.metrics}
	if s.opt.EdgeConfig != nil {
		s.opt.EdgeConfig(&cfg)
	}
	ed, err := edge.New(cfg)
	if err != nil {
		return err
	}
	srv := &Server{drain: ed.Drain, closers: []func() error{ed.Close}}
	addr := s.opt.EdgeAddr
	if s.Edge != nil {
		addr = s.Edge.addrs[0]
	}
	h := front.Handler(ed)
	if s.opt.EdgeHandler != nil {
		h = s.opt.EdgeHandler(h)
	}
	viewers := &front.Server{Edge: ed, Handler: h, Linger: 10 * time.Millisecond, Log: s.log, Metrics: s.metrics}
	if err := srv.serve(addr, viewers); err != nil {
		return errors.Join(err, srv.Close())
	}
	s.Edge = srv
	return nil
}

// PublishURL is the base URL that packagers PUT to.
func (s *System) PublishURL() string { return "http://" + s.Origin.addrs[0] }

// DeliverURL is the base URL that edges fill from.
func (s *System) DeliverURL() string { return "http://" + s.Origin.addrs[1] }

// ControlURL is the base URL of the control API.
func (s *System) ControlURL() string { return "http://" + s.Origin.addrs[2] }

// EdgeURL is the base URL of viewers.
func (s *System) EdgeURL() string { return "http://" + s.Edge.addrs[0] }

// PageURL is where a browser sees the event, where EdgeHandler serves the player.
func (s *System) PageURL() string {
	return s.EdgeURL() + "/-/player/?event=" + url.QueryEscape(s.Event.String())
}

// Control makes a request of the control API, decodes the answer into out
// where that is not nil, and returns a *live.Problem where it was refused.
func (s *System) Control(ctx context.Context, method, path string, body, out any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.ControlURL()+"/v1/events/"+s.Event.String()+path, strings.NewReader(string(b)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		p := new(live.Problem)
		if err := json.NewDecoder(resp.Body).Decode(p); err != nil {
			return fmt.Errorf("scenario: %s %s: %s", method, path, resp.Status)
		}
		return p
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

func (s *System) createEvent(ctx context.Context, ev live.Event) error {
	if err := s.Control(ctx, http.MethodPut, "", ev, nil); err != nil {
		return fmt.Errorf("scenario: creating the event: %w", err)
	}
	return nil
}

// Pipeline returns the pipeline of that name, or nil.
func (s *System) Pipeline(name string) *Pipeline {
	for _, p := range s.Pipelines {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Close stops everything, pipelines first, and removes what it made.
func (s *System) Close() error {
	var errs []error
	for _, p := range s.Pipelines {
		p.Kill()
	}
	for _, srv := range []*Server{s.Edge, s.Origin} {
		if srv != nil {
			errs = append(errs, srv.Close())
		}
	}
	if s.own {
		errs = append(errs, os.RemoveAll(s.opt.Dir))
	}
	return errors.Join(errs...)
}

// A Server is the listeners of one role.
type Server struct {
	addrs   []string
	servers []stopper
	drain   func()
	closers []func() error // after the listeners
	tasks   sync.WaitGroup
	once    sync.Once
	err     error
}

// A stopper serves listeners until it is shut down.
type stopper interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

func (srv *Server) listen(addr string, h http.Handler) error {
	return srv.serve(addr, &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)})
}

func (srv *Server) serve(addr string, hs stopper) error {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	var l net.Listener
	var err error
	for one := range strings.SplitSeq(addr, ",") {
		if l, err = net.Listen("tcp", one); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	srv.addrs = append(srv.addrs, l.Addr().String())
	srv.servers = append(srv.servers, hs)
	srv.tasks.Go(func() { hs.Serve(l) })
	return nil
}

// Close answers what is held, ends what is being answered, and stops.
func (srv *Server) Close() error {
	srv.once.Do(func() {
		srv.drain()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		for _, hs := range srv.servers {
			if err := hs.Shutdown(ctx); err != nil {
				srv.err = errors.Join(srv.err, hs.Close())
			}
		}
		srv.end()
	})
	return srv.err
}

func (srv *Server) end() {
	srv.tasks.Wait()
	for _, c := range srv.closers {
		srv.err = errors.Join(srv.err, c())
	}
}
