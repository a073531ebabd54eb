// Package packager makes segments and publishes them. It takes fragmented MP4
// from an encoder, or plays a built-in clip, cuts each track at the template's
// boundaries, inspects and digests every segment, and PUTs it to an origin
// inside the event's budget, with what it found wrong in Live-Defects. For
// drills it breaks segments on purpose.
package packager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headwater/clock"
	"headwater/live"
)

// Run's errors, besides ErrConfig, ErrInput, ErrTracks, ErrClock and ErrClip.
var (
	// ErrEvent is wrapped where the event's configuration could not be had.
	ErrEvent = errors.New("packager: event")
	// ErrPipeline is wrapped where the event has no such pipeline.
	ErrPipeline = errors.New("packager: pipeline")
	// ErrUnfit is wrapped where at the end there are renditions that are not
	// published, since the origin refuses their init segment.
	ErrUnfit = errors.New("packager: the encoder does not fit the init segment that viewers have")
)

const (
	// A source may run so far ahead of the clock before it is made to wait: an
	// encoder that reads a file and not a camera.
	mostAhead = time.Second
	// What is further ahead than this is not waited for: its time is wrong.
	absurdlyAhead = time.Minute
)

// A Packager publishes one pipeline of one event.
type Packager struct {
	cfg      Config
	clock    *clock.Clock
	look     *look // nil: nobody watches
	id       live.EventID
	faults   Faults
	count    *counters
	dests    []*destination
	sender   atomic.Pointer[sender]
	timeline atomic.Pointer[live.Timeline]
	moved    chan struct{}       // has one when timeline has changed
	ahead    bool                // has been said
	last     map[string]lastSent // by rendition; the goroutine of Run alone uses it
}

// lastSent is where the newest segment of a rendition lies.
type lastSent struct {
	number live.Number
	span   live.Span
}

// New checks the configuration. The packager does nothing until Run.
func New(cfg Config) (*Packager, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &Packager{cfg: cfg.withDefaults(), count: newCounters(), moved: make(chan struct{}, 1), last: map[string]lastSent{}}
	if p.clock = p.cfg.Time; p.clock == nil {
		p.clock = NewClock(nil, p.cfg.Log)
	}
	p.id, _ = live.ParseEventID(cfg.Event)
	p.cfg.Log = p.cfg.Log.With("event", cfg.Event, "pipeline", cfg.Pipeline)
	for _, to := range cfg.To {
		d, err := newDestination(p.clock, to, cfg.Dial)
		if err != nil {
			return nil, fmt.Errorf("%w: To: %v", ErrConfig, err)
		}
		d.transport.TLSClientConfig = cfg.TLS
		p.dests = append(p.dests, d)
	}
	for _, text := range cfg.Faults {
		f, err := ParseFault(text)
		if err != nil {
			return nil, fmt.Errorf("%w: Faults: %w", ErrConfig, err)
		}
		if err := p.faults.Add(f); err != nil {
			return nil, err
		}
		if f.Kind == FaultBlack && !cfg.Clip {
			return nil, fmt.Errorf("%w: Faults: black is prepared for the built-in clip alone", ErrConfig)
		}
	}
	return p, nil
}

// NewClock returns the clock of a packager, or of several that share it. wall reads the
// system's; nil is time.Now.
func NewClock(wall func() time.Time, log *slog.Logger) *clock.Clock {
	return clock.New(clock.Config{Wall: wall, Far: 2, Log: log})
}

// Faults is the set of injected faults, to be changed at any time.
func (p *Packager) Faults() *Faults { return &p.faults }

// Stats returns what the packager has done so far.
func (p *Packager) Stats() Stats {
	s := p.count.snapshot()
	if snd := p.sender.Load(); snd != nil {
		snd.mu.Lock()
		for _, n := range snd.live {
			s.InFlight += n
		}
		s.Queued, s.QueuedBytes = len(snd.queue.items), snd.queue.bytes
		snd.mu.Unlock()
		s.Unfit = snd.refusedInits()
	}
	for _, d := range p.dests {
		d.mu.Lock()
		s.Destinations = append(s.Destinations, DestinationStats{URL: d.base, Acks: d.acks, Failures: d.failures})
		d.mu.Unlock()
	}
	return s
}

// A source yields init and media segments, an init segment before the media
// that needs it, and io.EOF at its end.
type source interface {
	Next() (*segment, error)
}

// Run publishes until the source ends, the event ends or ctx does. It returns
// nil at an end, ctx's error where ctx ended first, and otherwise an error that
// wraps one of this package's or package cmaf's. ErrUnfit comes together with
// any of these. Run may be called once.
func (p *Packager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var looks sync.WaitGroup
	looks.Go(func() { p.clock.Run(ctx) })
	defer looks.Wait()
	defer cancel()
	if p.cfg.Feed != nil {
		defer p.cfg.Feed.Close() // who feeds it waits for its end, also where it never begins
	}
	event, etag, err := p.event(ctx)
	if err != nil {
		return err
	}
	if _, _, ok := event.Pipeline(p.cfg.Pipeline); !ok {
		return fmt.Errorf("%w: event %s has no pipeline %q, it has %v", ErrPipeline, p.cfg.Event, p.cfg.Pipeline, pipelineNames(event))
	}
	tl := event.Timeline()
	p.timeline.Store(&tl)
	timeline := func() live.Timeline { return *p.timeline.Load() }
	// Then an end of the event is no end of the source.
	stays := p.cfg.Spec == nil && p.cfg.AfterEnd > 0
	pctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)

	var src source
	split := splitterConfig{event: event, timeline: timeline, stays: stays, explicit: p.cfg.Tracks, mode: p.cfg.Clock, count: p.count, log: p.cfg.Log}
	switch {
	case p.cfg.Feed != nil:
		split.mode, split.apart = ClockAbsolute, true
		p.cfg.Feed.begin(func(explicit map[uint32]string) *splitter {
			cfg := split
			cfg.explicit = explicit
			return newSplitter(cfg)
		})
		src = p.cfg.Feed
	case p.cfg.Clip:
		if src, err = newClip(pctx, p.clock, p.cfg.ClipVersion, event, timeline, stays, p.cfg.Tracks, func(reason, rendition string, n live.Number) {
			p.count.dropped(p.cfg.Log, reason, rendition, n)
		}); err != nil {
			return err
		}
	default:
		split.input = p.cfg.Input
		src = newSplitter(split)
	}

	sctx, stop := context.WithCancel(ctx)
	defer stop()
	snd := newSender(sctx, senderConfig{
		clock: p.clock, id: p.id, pipeline: p.cfg.Pipeline, token: p.cfg.Token, dests: p.dests, timeline: timeline,
		queueBytes: p.cfg.BackfillBytes, count: p.count, log: p.cfg.Log,
	})
	p.sender.Store(snd)
	if p.cfg.Look != "" {
		p.look = newLook(sctx, p.cfg.Look, snd)
		p.look.room = p.cfg.Watchers
		defer p.look.wg.Wait()
	}
	if p.cfg.Spec == nil {
		snd.wg.Go(func() { p.follow(sctx, event, etag) })
	}
	if stays {
		snd.wg.Go(func() { p.awaitEnd(sctx, leave) })
	}
	if err = p.pump(pctx, src, snd); errors.Is(err, errEnded) {
		p.cfg.Log.Info("the event has ended")
		err = nil
	}
	if ctx.Err() == nil && p.cfg.DrainFor > 0 {
		dctx, done := context.WithTimeout(ctx, p.cfg.DrainFor)
		snd.drain(dctx)
		done()
	}
	stop()
	snd.close()
	return errors.Join(err, unfitError(snd.refusedInits()))
}

// unfitError is nil where every rendition fits.
func unfitError(unfit map[string]string) error {
	var said []string
	for _, name := range slices.Sorted(maps.Keys(unfit)) {
		said = append(said, name+": "+unfit[name])
	}
	if said == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrUnfit, strings.Join(said, "; "))
}

// pump moves segments from the source to the sender. The source runs in a
// goroutine of its own, since a Read cannot be interrupted.
func (p *Packager) pump(ctx context.Context, src source, snd *sender) error {
	type next struct {
		seg *segment
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	ch := make(chan next)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			seg, err := src.Next()
			select {
			case ch <- next{seg, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		cancel()
		if c, ok := p.cfg.Input.(io.Closer); ok {
			c.Close()
		}
		if p.cfg.Clip {
			<-ended // it ends with ctx; a Read may not
		}
	}()
	for {
		select {
		case n := <-ch:
			switch {
			case n.err == io.EOF:
				return nil
			case n.err != nil:
				return n.err
			}
			if err := p.handle(ctx, n.seg, snd); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// handle takes one segment: wait for its time, break, inspect, digest, send.
func (p *Packager) handle(ctx context.Context, seg *segment, snd *sender) error {
	if seg.init {
		p.look.begin(seg)
		if p.faults.stopped(seg.rendition) {
			snd.holdInit(seg)
		} else {
			snd.sendInit(seg)
		}
		return nil
	}
	p.count.with(func(s *Stats) { s.Cut++ })
	tl := *p.timeline.Load()
	if ok, err := p.pace(ctx, seg, &tl); !ok {
		return err
	}
	out, delay, honest, err := p.faults.inject(seg, &tl)
	if err != nil {
		return err
	}
	seg.samples = nil
	if out == nil {
		p.count.drop(DropFault, 1)
		return nil
	}
	out.samples = nil
	if last := p.last[out.rendition]; last.number+1 == out.number {
		out.before = last.span
	}
	out.inspect(&tl)
	p.last[out.rendition] = lastSent{out.number, out.span}
	if !honest {
		out.defects = nil
	}
	if len(out.findings) > 0 {
		p.count.with(func(s *Stats) {
			for _, f := range out.findings {
				s.Findings[f.Kind]++
			}
		})
	}
	if !out.findings.Clean() {
		p.cfg.Log.Warn("defective segment", "rendition", out.rendition, "number", out.number, "defects", out.findings.String())
	}
	p.look.see(out, &tl)
	if delay > 0 {
		snd.sendAfter(out, delay)
	} else {
		snd.send(out)
	}
	return nil
}

// pace holds back a segment that is ahead of the clock, and with it the
// source. It reports whether to go on with the segment.
func (p *Packager) pace(ctx context.Context, seg *segment, tl *live.Timeline) (ok bool, err error) {
	ahead := p.clock.Until(tl.End(seg.number))
	switch {
	case ahead <= mostAhead:
		return true, nil
	case ahead > absurdlyAhead:
		p.count.dropped(p.cfg.Log.With("ahead_of_clock", ahead), DropFuture, seg.rendition, seg.number)
		return false, nil
	}
	if !p.ahead {
		p.ahead = true
		p.cfg.Log.Warn("the input runs ahead of the clock and is held back (ffmpeg: -re)", "rendition", seg.rendition, "number", seg.number, "ahead", ahead)
	}
	wait := time.NewTimer(ahead)
	defer wait.Stop()
	select {
	case <-wait.C:
		seg.complete = time.Now()
		return true, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

func pipelineNames(e *live.Event) []string {
	var names []string
	for _, p := range e.Pipelines {
		names = append(names, p.Name)
	}
	return names
}
