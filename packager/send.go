package packager

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"headwater/clock"
	"headwater/internal/hedge"
	"headwater/live"
)

const (
	// maxOpen bounds the attempts of one segment that are under way at once. None is
	// called off for another: what is slow may be about to be done.
	maxOpen = 3
	// maxLive bounds the live segments of one rendition that are under way at
	// once. Those above it wait as backfill: an input that runs far ahead of
	// its acknowledgements must not fill memory.
	maxLive = 16
	// maxInitRetries bounds how often one segment has its init segment sent again.
	maxInitRetries = 2

	firstBackoff = 50 * time.Millisecond
	mostBackoff  = 400 * time.Millisecond
	// An attempt that has not been answered for its share of the time that is
	// left has stalled: another begins. The bounds are for very short and very
	// long budgets.
	shares     = 4
	leastShare = 150 * time.Millisecond
	mostShare  = 5 * time.Second
	// A store that is slow for all is not asked twice for all: of a hundred segments
	// ten may be sent once more because an attempt has stalled, and as many at once
	// as a connection carries that breaks.
	hedgeShare   = 0.1
	hedgeReserve = 24
	// leastRate is what a body must move in the long run to be waited for beyond its
	// deadline, in bytes per second. The origin has the same.
	leastRate = 64 << 10
	// leastBudget is for what has no deadline of its own: init segments, backfill.
	leastBudget = 2 * time.Second
)

// A sender brings segments to the origin. Live segments go at once, each for
// itself; those that miss their deadline queue up and go when no live one is
// under way. Everything it starts ends with the ctx of newSender, and close
// waits for it.
//
// Lock order: mu, then a counter's or a destination's. Nothing blocks under it.
type sender struct {
	senderConfig
	ctx context.Context
	wg  sync.WaitGroup

	mu      sync.Mutex            // guards the following
	inits   map[string]*initState // the newest of each rendition
	live    map[string]int        // under way, by rendition
	total   int                   // sum of live, and the init segments under way
	later   int                   // delayed on purpose
	queue   queue
	busy    bool          // a backfill is under way
	changed chan struct{} // closed and replaced when any of the above changes
	renewed chan struct{} // the same when the event has another generation
}

type senderConfig struct {
	clock      *clock.Clock
	id         live.EventID
	pipeline   string
	token      string
	dests      []*destination
	timeline   func() live.Timeline
	queueBytes int64
	count      *counters
	log        *slog.Logger
}

// newSender starts the backfill worker.
func newSender(ctx context.Context, cfg senderConfig) *sender {
	s := &sender{
		senderConfig: cfg, ctx: ctx,
		inits: map[string]*initState{}, live: map[string]int{},
		queue: queue{limit: cfg.queueBytes}, changed: make(chan struct{}), renewed: make(chan struct{}),
	}
	s.wg.Go(s.backfill)
	return s
}

// close waits for all that the sender started. Its ctx has ended.
func (s *sender) close() {
	s.wg.Wait()
	s.mu.Lock()
	left := len(s.queue.items)
	s.mu.Unlock()
	s.count.drop(DropShutdown, int64(left))
	for _, d := range s.dests {
		d.transport.CloseIdleConnections()
	}
}

// change runs f under the lock and wakes who waits for a change.
func (s *sender) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// drain waits until nothing is under way and nothing is queued, or ctx ends.
func (s *sender) drain(ctx context.Context) {
	for {
		s.mu.Lock()
		done, changed := s.total+s.later == 0 && !s.busy && len(s.queue.items) == 0, s.changed
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-s.ctx.Done():
			return
		}
	}
}

// send takes a media segment and returns at once. Its init segment was given
// to sendInit before.
func (s *sender) send(seg *segment) {
	tl := s.timeline()
	deadline := s.clock.Instant(tl.Deadline(seg.number))
	s.mu.Lock()
	if seg.of == nil {
		seg.of = s.inits[seg.rendition]
	}
	lost := seg.of.lost()
	full := s.live[seg.rendition] >= maxLive
	s.mu.Unlock()
	switch {
	case lost:
		s.unfit(seg)
		return
	case full || !time.Now().Before(deadline):
		s.missed(seg, answer{detail: "the source was late"})
		return
	}
	s.change(func() { s.live[seg.rendition]++; s.total++ })
	s.wg.Go(func() {
		defer s.change(func() { s.live[seg.rendition]--; s.total-- })
		s.sendLive(seg, deadline)
	})
}

// sendAfter is send, d from now.
func (s *sender) sendAfter(seg *segment, d time.Duration) {
	s.change(func() { s.later++; seg.of = s.inits[seg.rendition] })
	s.wg.Go(func() {
		defer s.change(func() { s.later-- })
		select {
		case <-time.After(d):
			s.send(seg)
		case <-s.ctx.Done():
			s.count.drop(DropShutdown, 1)
		}
	})
}

func (s *sender) sendLive(seg *segment, deadline time.Time) {
	if seg.of != nil {
		late := time.NewTimer(time.Until(deadline))
		defer late.Stop()
		select {
		case <-seg.of.settled:
		case <-late.C:
		case <-s.ctx.Done():
		}
	}
	if s.isUnfit(seg) {
		s.unfit(seg)
		return
	}
	a := s.deliver(s.ctx, seg, deadline, s.dests)
	switch a.verdict {
	case acked:
		after := time.Since(seg.complete)
		if time.Now().After(deadline) {
			s.count.with(func(c *Stats) { c.Missed++ })
			s.count.ack(seg, -1)
			s.log.Warn("segment missed its deadline, but moved and is there", "rendition", seg.rendition, "number", seg.number, "digest", seg.digest.String(), "after", after)
			return
		}
		s.count.ack(seg, after)
		s.log.Debug("segment published", "rendition", seg.rendition, "number", seg.number, "digest", seg.digest.String(), "to", a.from.base, "after", after)
	case refused:
		s.refuse(seg, a)
	case unfit:
		s.unfit(seg)
	default:
		if s.ctx.Err() != nil {
			s.count.drop(DropShutdown, 1)
			return
		}
		s.missed(seg, a)
	}
}

func (s *sender) dropped(reason, rendition string, n live.Number) {
	s.count.dropped(s.log, reason, rendition, n)
}

func (s *sender) refuse(seg *segment, a answer) {
	s.count.with(func(c *Stats) { c.Refused[a.code]++ })
	if a.code == live.ErrGeneration.Code && seg.of != nil { // so it is for a while, with every segment
		told := false
		s.change(func() { told, seg.of.waits = seg.of.waits, true })
		level := slog.LevelWarn
		if told {
			level = slog.LevelDebug
		}
		s.log.Log(s.ctx, level, "segment refused: its init segment is of another generation; more of them are not logged", "rendition", seg.rendition, "number", seg.number, "to", a.from.base, "detail", a.detail)
		return
	}
	s.log.Error("segment refused", "rendition", seg.rendition, "number", seg.number, "to", a.from.base, "code", a.code, "detail", a.detail)
}

// hinders reports whether newer segments of a rendition wait for the way that
// this one takes.
func (s *sender) hinders(seg *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[seg.rendition] > 1
}

// missed queues a segment whose deadline has passed.
func (s *sender) missed(seg *segment, a answer) {
	s.count.with(func(c *Stats) { c.Missed++ })
	seg.late = true
	s.log.Warn("segment missed its deadline, queued behind live ones", "rendition", seg.rendition, "number", seg.number, "detail", a.detail)
	s.change(func() {
		if n := s.queue.push(seg); n > 0 {
			s.count.drop(DropQueueFull, n)
		}
	})
}

// deliver makes attempts until one is acknowledged or refused, or the deadline
// passes; then the verdict is again. One whose body still moves when the
// deadline passes is not given up for that, unless newer segments need the way.
// It tries the destinations in order of preference and health.
func (s *sender) deliver(ctx context.Context, seg *segment, deadline time.Time, dests []*destination) answer {
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(time.Duration(len(seg.data))*time.Second/leastRate))
	defer cancel()
	d := delivery{
		sender: s, seg: seg, dests: dests, deadline: deadline,
		share: min(max(time.Until(deadline)/shares, leastShare), mostShare),
		final: answer{verdict: again, detail: "the deadline passed"},
	}
	d.level = slog.LevelWarn
	if seg.late {
		d.level = slog.LevelDebug
	}
	path := seg.path(s.id, s.pipeline).String()
	d.race = &hedge.Race[*request, answer]{
		Tasks: &s.wg, Budget: s.count.hedges, Next: d.next, Begun: d.begun,
		Ask: func(ctx context.Context, r *request) (answer, error) {
			return r.to.put(ctx, seg, path, s.token, &r.moved), nil
		},
		Judge: func(a *attempt) bool { return d.answered(ctx, a) },
	}
	d.race.Run(ctx) // how it ends is in final
	return d.final
}
