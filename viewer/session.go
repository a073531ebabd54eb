package viewer

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"headwater/live"
)

// A person is one place in front of a screen: whoever sits there, and then the next.
type person struct {
	crowd *Crowd
	index int
	does  Behaviour
	rng   *rand.Rand
	early time.Duration // this viewer's margin
}

// run watches, one sitting after the other, until the run or the event ends.
func (p *person) run(ctx context.Context, joinAfter time.Duration) {
	if !sleep(ctx, joinAfter) || !p.join(ctx) {
		return
	}
	for {
		s := p.sit()
		s.watch(ctx)
		if ctx.Err() != nil || !s.left {
			return
		}
		if !sleep(ctx, time.Duration(p.rng.Int64N(int64(awayMax)))) {
			return
		}
	}
}

// join waits for this viewer's part of the time over which those are to spread who
// join while an event begins.
func (p *person) join(ctx context.Context) bool {
	c := p.crowd
	sched, now := c.events.now.Load(), c.edges[p.index%len(c.edges)].now()
	within := sched.Joining(now)
	if within == 0 || c.cfg.Heedless {
		return true
	}
	first := sched.timeline.Expected(sched.timeline.First())
	return sleep(ctx, max(first.Sub(now), 0)+time.Duration(p.rng.Int64N(int64(within))))
}

// joinWindow is over how long viewers spread after an outage; 0: they do not.
func (c *Crowd) joinWindow(sched *schedule) time.Duration {
	if c.cfg.Heedless {
		return 0
	}
	return sched.JoinWindow()
}

// A session is one sitting: a player with its tracks and its clock.
type session struct {
	person *person
	crowd  *Crowd
	edge   *edge // whose clock it goes by
	leave  time.Time
	joined time.Time
	left   bool // it left by its own will; for who waited for watch

	mu sync.Mutex // guards the following
	// epoch counts the jumps: an answer of an earlier one is not played.
	epoch    int
	from     live.Number
	seek     time.Time
	asked    time.Time // when playing from there was wanted
	play     playback
	tracks   int
	switches int64
	trouble  string // what keeps a track from the edge now
}

// sit begins a sitting.
func (p *person) sit() *session {
	c := p.crowd
	s := &session{person: p, crowd: c, edge: c.edges[p.index%len(c.edges)]}
	sched := c.events.now.Load()
	now := s.edge.now()
	plan := planOf(p.does, p.rng, &sched.timeline, now, c.latency(sched), p.margin(sched))
	s.joined, s.leave = now, plan.leave
	s.tracks = 1
	s.jump(plan, now)
	return s
}

// margin is how early this viewer asks: within the hold window, less what
// clocks may differ.
func (p *person) margin(sched *schedule) time.Duration {
	const guard = 10 * time.Millisecond
	return max(min(p.early, sched.timeline.Hold()-guard), 0)
}

// jump begins to play elsewhere. The caller holds mu, or has the session alone.
func (s *session) jump(to plan, now time.Time) {
	s.from, s.seek, s.asked = to.from, to.seek, now
	s.play = newPlayback(s.tracks, to.from, to.latency)
}

// watch plays all tracks until the viewer leaves, or the event or the run ends.
func (s *session) watch(ctx context.Context) {
	chosen := s.crowd.choose(s.person.index, s.crowd.events.now.Load())
	s.tracks, s.play.tracks = len(chosen), len(chosen)
	s.crowd.stats.join()
	s.crowd.sessions.Store(s, struct{}{})
	defer s.crowd.sessions.Delete(s)
	var wg sync.WaitGroup
	for i, name := range chosen {
		t := newTrack(s, name)
		if i < len(chosen)-1 {
			wg.Go(func() { t.run(ctx) })
		} else {
			t.run(ctx) // a viewer of one track is one goroutine
		}
	}
	wg.Wait()
	now := s.edge.now()
	sched := s.crowd.events.now.Load()
	s.left = !s.leave.IsZero() && !now.Before(s.leave)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop(sched, now, "")
	s.crowd.stats.part(s.switches)
}

// slowStart is how long a viewer waits for the picture before that is an error.
const slowStart = 5 * time.Second

// stop accounts for what is on the screen when it is left: a picture that was
// standing, or none at all. The caller holds mu.
func (s *session) stop(sched *schedule, now time.Time, trouble string) {
	st := s.crowd.stats
	tl := &sched.timeline
	for _, known := range []string{s.trouble, s.play.trouble()} {
		def(&trouble, known)
	}
	if d := s.play.standing(tl, now); d > 0 {
		st.stall(d, trouble)
	}
	if !s.play.begun && tl.Holds(s.play.next) && now.Sub(s.pictureDue(tl)) > slowStart {
		st.fail("no picture after "+slowStart.String(), trouble)
	}
}

// pictureDue is when the picture was to begin: when the first segment was at the
// wanted latency, or could be had at all. The caller holds mu.
func (s *session) pictureDue(tl *live.Timeline) time.Time {
	return latest(s.asked, latest(tl.Start(s.play.next).Add(s.play.latency), tl.Deadline(s.play.next)))
}

// dark says whether there is no picture now though there should be one.
func (s *session) dark(sched *schedule) bool {
	now := s.edge.now()
	tl := &sched.timeline
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.play.begun {
		return s.play.dark(tl, now)
	}
	return tl.Holds(s.play.next) && now.After(s.pictureDue(tl))
}

// A turn is what a track is to do next.
type turn uint8

const (
	ask  turn = iota // get t.n
	rest             // the viewer has left, or there is nothing more
)

// turn decides it. Both tracks of a viewer come here, and the first that comes
// after the time of a jump makes the jump for both.
func (s *session) turn(t *track, sched *schedule, now time.Time) turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.leave.IsZero() && !now.Before(s.leave) {
		return rest
	}
	if !s.seek.IsZero() && !now.Before(s.seek) {
		c := s.crowd
		s.stop(sched, now, "")
		s.epoch++
		s.jump(seekTo(s.person.rng, &sched.timeline, now, c.latency(sched)), now)
	}
	if t.epoch != s.epoch {
		t.begin(s.epoch, s.from)
	}
	if !sched.timeline.Holds(t.n) && t.n >= sched.timeline.First() {
		return rest
	}
	return ask
}

// until is when the session will have left where it is; zero: not by itself.
func (s *session) until() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leave.IsZero() {
		return s.seek
	}
	return earlier(s.leave, s.seek)
}

// askAt is when a track is to ask for its segment.
func (s *session) askAt(t *track, sched *schedule, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at time.Time
	if s.person.does != Poll {
		at = sched.line(t.name).Expected(t.n).Add(-s.person.margin(sched))
	}
	if play, ok := s.play.wants(&sched.timeline, t.n); ok {
		if full := play.Add(-s.crowd.cfg.Ahead); full.After(at) {
			at = full
		}
	} else if full := sched.timeline.Start(t.n).Add(-s.crowd.cfg.Ahead); full.After(sched.timeline.Start(s.play.next)) {
		// Far ahead of a track that has not begun: look again soon.
		return now.Add(100 * time.Millisecond)
	}
	return at
}

// answer plays what a track was answered.
func (s *session) answer(t *track, sched *schedule, a slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.epoch != s.epoch {
		return
	}
	st := s.crowd.stats
	s.play.answer(&sched.timeline, t.n, a, func(x step) {
		if x.begins {
			wanted := s.asked
			if e := sched.timeline.Expected(x.n); s.play.latency >= 0 && e.After(wanted) {
				wanted = e // joined before there was anything
			}
			st.begin(a.at.Sub(wanted))
		}
		if x.stall > 0 {
			st.stall(x.stall, x.trouble)
		}
		st.played(x, s.play.latency >= 0)
	})
}

// skip moves a viewer whose place has left the DVR window back into it.
func (s *session) skip(t *track, sched *schedule, now time.Time, troubled string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.epoch != s.epoch {
		return
	}
	s.stop(sched, now, troubled)
	s.crowd.stats.gap()
	s.epoch++
	s.jump(plan{from: sched.timeline.Oldest(now) + dvrMargin, latency: -1, seek: s.seek}, now)
}

// switched counts a change of pipeline in mid-play.
func (s *session) switched() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.switches++
	s.crowd.stats.switched()
}

// outage notes what keeps a track from the edge; "" when it is back.
func (s *session) outage(trouble string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = trouble
}

// chance is true for a share of the times.
func (s *session) chance(share float64) bool {
	if share >= 1 || share <= 0 {
		return share > 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.person.rng.Float64() < share
}

// jitter is a random time of less than d.
func (s *session) jitter(d time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.person.rng.Int64N(int64(d)))
}
