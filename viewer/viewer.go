package viewer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"headwater/live"
)

// A Crowd is the viewers of one event. It runs once.
type Crowd struct {
	cfg       Config
	edges     []*edge
	net       *network
	stats     *stats
	events    follower
	inspector *inspector
	sessions  sync.Map // those that watch now, as keys of type *session
	ran       bool
}

// New prepares viewers. It asks nothing of the edge yet.
func New(cfg Config) (*Crowd, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	c := &Crowd{cfg: cfg, net: newNetwork(&cfg), stats: newStats(cfg.Viewers)}
	for _, base := range cfg.Edges {
		e, err := newEdge(base, cfg.TLS)
		if err != nil {
			return nil, err
		}
		c.edges = append(c.edges, e)
	}
	c.inspector = newInspector(c.stats)
	c.events = follower{path: live.Path{Event: cfg.Event, File: live.FileConfig}.String(), timeout: cfg.Timeout, wake: make(chan struct{}, 1),
		client: newClient(c.net, c.edges, 0, uncounted)}
	return c, nil
}

// Run lets viewers watch until the duration, the context or the event ends, and
// reports. The end of the context is no error. Errors are an invalid
// configuration, an event that cannot be had within Arrive, a rendition that it
// does not have, and limits of this machine that are too low for so many.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	c, err := New(cfg)
	if err != nil {
		return nil, err
	}
	return c.Run(ctx)
}

// Report is the state of things. It can be called at any time, also while Run
// runs.
func (c *Crowd) Report() *Report {
	r := c.stats.report()
	sched := c.events.now.Load()
	c.sessions.Range(func(s, _ any) bool {
		if s.(*session).dark(sched) {
			r.Dark++
		}
		return true
	})
	return r
}

// Run is as the function Run. It may be called once.
func (c *Crowd) Run(ctx context.Context) (*Report, error) {
	if c.ran {
		return nil, errors.New("viewer: a crowd runs once")
	}
	c.ran = true
	outer := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(stopped)
		c.net.stop()
	})
	defer func() {
		cancel()
		<-stopped
		c.net.crew.stop()
	}()

	if err := c.events.first(ctx, c.cfg.Arrive); err != nil {
		c.events.client.close()
		if outer.Err() != nil {
			return c.Report(), nil
		}
		return nil, err
	}
	if err := c.fits(c.events.now.Load()); err != nil {
		c.events.client.close()
		return nil, err
	}
	var helpers sync.WaitGroup
	helpers.Go(func() { c.events.run(ctx) })
	helpers.Go(setClocks(ctx, c.net, c.edges))
	gets := &getsCounter{total: c.cfg.OriginGets, stats: c.stats, schedule: c.events.now.Load, clock: c.edges[0]}
	helpers.Go(func() { gets.run(ctx) })

	if c.cfg.Duration > 0 {
		timer := time.AfterFunc(c.cfg.Duration, cancel)
		defer timer.Stop()
	}
	c.stats.start()
	if c.cfg.Progress != nil {
		helpers.Go(func() { c.progress(ctx) })
	}
	var viewers sync.WaitGroup
	for i := range c.cfg.Viewers {
		p := c.person(i)
		after := time.Duration(p.rng.Float64() * float64(c.cfg.JoinOver))
		viewers.Go(func() { p.run(ctx, after) })
	}
	viewers.Wait()
	cancel()
	helpers.Wait()
	return c.Report(), nil
}

func (c *Crowd) person(i int) *person {
	rng := rand.New(rand.NewPCG(c.cfg.Seed, uint64(i)))
	early := float64(c.cfg.Early) * (1 + c.cfg.Jitter*(2*rng.Float64()-1))
	return &person{crowd: c, index: i, does: c.cfg.Mix.of(i), rng: rng, early: time.Duration(early)}
}

// latency is how far behind the capture viewers at the live edge want to be.
func (c *Crowd) latency(s *schedule) time.Duration {
	if c.cfg.Latency > 0 {
		return c.cfg.Latency
	}
	tl := &s.timeline
	return tl.Segment() + tl.Allowance() + tl.Budget() + tl.Segment()/4
}

// choose picks the renditions of viewer i: one of each type, all of them in turn.
func (c *Crowd) choose(i int, s *schedule) []string {
	var out []string
	for _, typ := range []live.MediaType{live.Video, live.Audio, live.Text} {
		var names []string
		for _, r := range s.Renditions {
			if r.Type != typ {
				continue
			}
			if len(c.cfg.Renditions) == 0 && typ != live.Text || slices.Contains(c.cfg.Renditions, r.Name) {
				names = append(names, r.Name)
			}
		}
		if len(names) > 0 {
			out = append(out, names[i%len(names)])
		}
	}
	return out
}

// fits checks what must be known before it can be checked: the event.
func (c *Crowd) fits(s *schedule) error {
	for _, name := range c.cfg.Renditions {
		if _, ok := s.Rendition(name); !ok {
			return fmt.Errorf("viewer: Renditions: the event has no %q", name)
		}
	}
	each := len(c.choose(0, s))
	if each == 0 {
		return errors.New("viewer: the event has neither video nor audio")
	}
	const spare = 64
	if limit, ok := openFiles(); ok && uint64(c.cfg.Viewers*each+spare) > limit {
		return fmt.Errorf("viewer: %d viewers need %d connections, and this process may open %d files: raise the limit (ulimit -n), or watch fewer renditions",
			c.cfg.Viewers, c.cfg.Viewers*each, limit)
	}
	return nil
}

func (c *Crowd) progress(ctx context.Context) {
	t := time.NewTicker(c.cfg.ProgressEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			c.cfg.Progress(c.Report())
		case <-ctx.Done():
			return
		}
	}
}
