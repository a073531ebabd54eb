// Package clock tells a process what time it is. The system's clock is one witness
// among others: it can be stepped, and it can be wrong. So a Clock takes its word once,
// at the start, and from then on counts what has passed, which nothing steps; and it is
// corrected from outside, by what the clocks of others say (package clock's [Decide]).
//
// There are two kinds of instants in a process, and they do not mix. What time.Now
// returns is for what passes: durations, timers, deadlines of connections. What
// [Clock.Now] returns is for what it means: where a segment is on its timeline, when
// something expires, what is written down. [Clock.At] and [Clock.Instant] go from one to
// the other.
//
// Locks: Clock.mu alone; readings take none.
package clock

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A Config is what a clock is made from. Zero values take the defaults.
type Config struct {
	// Wall reads the system's clock. Default: time.Now. A test gives each node its own.
	Wall func() time.Time
	// Log is told of steps and corrections. Default: silence.
	Log *slog.Logger
}

// A Clock is the time source of one process. Between two corrections its readings
// never go back, whatever the system's clock does.
type Clock struct {
	wall  func() time.Time
	log   *slog.Logger
	start time.Time // by time.Now: what has passed is counted from here
	base  time.Time // what the system's clock said then

	line atomic.Pointer[line]

	mu sync.Mutex // guards the following
}

// New returns a clock that says what the system's says now, and goes on from there.
func New(cfg Config) *Clock {
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Clock{wall: cfg.Wall, log: cfg.Log, start: time.Now()}
	c.base = cfg.Wall().Round(0)
	c.line.Store(new(line))
	return c
}

// Now is what time it is. It has no monotonic reading: to measure with it is to
// measure corrections too.
func (c *Clock) Now() time.Time { return c.At(time.Now()) }

// At is what the clock said, or will say, at an instant of time.Now.
func (c *Clock) At(t time.Time) time.Time {
	passed := t.Sub(c.start)
	return c.base.Add(passed + c.line.Load().at(passed))
}

// Instant is when the clock says t, as an instant of time.Now: for timers and
// deadlines.
func (c *Clock) Instant(t time.Time) time.Time {
	now := time.Now()
	return now.Add(t.Sub(c.At(now)))
}

// Until is how long it is until the clock says t.
func (c *Clock) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

// Since is how long ago the clock said t.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Offset is by how much the clock is corrected now.
func (c *Clock) Offset() time.Duration { return c.line.Load().at(time.Since(c.start)) }

// A line is a correction over time: it goes from one value to another while so much
// passes that readings do not go back.
type line struct {
	since    time.Duration // what has passed when it began
	from, to time.Duration
}

// slew is how much of what passes a correction may take: a clock that is ahead by
// 100 ms goes slower for a second.
const slew = 10

func (l *line) at(passed time.Duration) time.Duration {
	most := max(passed-l.since, 0) / slew
	return l.from + min(max(l.to-l.from, -most), most)
}
