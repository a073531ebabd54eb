package parents

import "time"

const (
	clockSamples = 8
	// clockGrain is how exact a parent's /time is: it counts milliseconds.
	clockGrain = time.Millisecond
)

// A parentClock is how far a parent's clock is from ours, from the last answers to
// /time. It decides and nothing else.
type parentClock struct {
	offset  time.Duration // the parent's time minus ours
	known   bool
	samples [clockSamples]clockSample // a ring
	next    int
}

type clockSample struct {
	offset time.Duration
	doubt  time.Duration // the true offset is at most so far from offset; 0: no sample
}

// sample enters an answer: asked and answered by our clock, told by the other.
// Of the last samples the one that leaves least doubt counts (as in RFC 5905,
// 10), and the offset moves only as far as it must: clocks that agree within
// what can be known are left alone.
func (c *parentClock) sample(asked, answered, told time.Time) {
	half := answered.Sub(asked) / 2
	// What is told was rounded down.
	s := clockSample{offset: told.Add(clockGrain / 2).Sub(asked.Add(half)), doubt: half + clockGrain/2}
	c.samples[c.next%clockSamples] = s
	c.next++
	best := s
	for _, x := range c.samples[:min(c.next, clockSamples)] {
		if x.doubt < best.doubt {
			best = x
		}
	}
	c.known = true
	switch {
	case c.offset < best.offset-best.doubt:
		c.offset = best.offset - best.doubt
	case c.offset > best.offset+best.doubt:
		c.offset = best.offset + best.doubt
	}
}

// retime takes the offset of the first parent that is up and has told its time.
func (u *Upstream) retime() {
	for _, p := range u.parents {
		p.mu.Lock()
		offset, ok := p.clock.offset, p.clock.known && !p.health.down
		p.mu.Unlock()
		if ok {
			u.offset.Store(int64(offset))
			return
		}
	}
}

// Theirs is what the parents' clock says at an instant of time.Now, Ours such an
// instant. Neither cares what the system's clock is set to meanwhile.
func (u *Upstream) Theirs(t time.Time) time.Time { return u.clock.At(t).Add(u.Offset()) }
func (u *Upstream) Ours(t time.Time) time.Time   { return u.clock.Instant(t.Add(-u.Offset())) }

// Offset is the parents' time minus ours.
func (u *Upstream) Offset() time.Duration { return time.Duration(u.offset.Load()) }
