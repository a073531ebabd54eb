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
	// Confirm is how long after the start Settled waits for others' word. Default: not
	// at all.
	Confirm time.Duration
	// Own is the weight of the system's own clock among others. Default 1.
	Own float64
	// Tolerance is how far clocks may be from each other and still agree. Default 50 ms.
	Tolerance time.Duration
	// Far is the weight that must agree on a correction of more than an hour. Default 3.
	Far float64
	// Log is told of steps and corrections. Default: silence.
	Log *slog.Logger
}

// OfEdge is the configuration of a clock that follows others. Of its parents and itself it
// is the one that counts for less; and it knows their time to within half of a round trip.
func OfEdge(log *slog.Logger) Config {
	return Config{Own: 0.5, Tolerance: time.Millisecond, Far: 1, Log: log}
}

// A Clock is the time source of one process. Between two corrections its readings
// never go back, whatever the system's clock does.
type Clock struct {
	cfg   Config
	start time.Time // by time.Now: what has passed is counted from here
	base  time.Time // what the system's clock said then

	line    atomic.Pointer[line]
	settled chan struct{}
	looking chan struct{} // full while somebody runs it
	off     atomic.Bool   // see Trusted

	mu sync.Mutex // guards the following
	known
}

// New returns a clock that says what the system's says now, and goes on from there.
func New(cfg Config) *Clock {
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Own == 0 {
		cfg.Own = 1
	}
	if cfg.Far == 0 {
		cfg.Far = 3
	}
	if cfg.Tolerance == 0 {
		cfg.Tolerance = Tolerance
	}
	c := &Clock{cfg: cfg, start: time.Now(), settled: make(chan struct{}), looking: make(chan struct{}, 1)}
	c.base = cfg.Wall().Round(0)
	c.line.Store(new(line))
	c.tracks = map[Source]*track{{Kind: System}: {weight: cfg.Own}}
	c.news = true
	if cfg.Confirm == 0 {
		close(c.settled)
	}
	return c
}

// Wall is what the system's clock says, for others to hold theirs against: told of
// clocks that were corrected, they would hear their own word again.
func (c *Clock) Wall() time.Time { return c.cfg.Wall().Round(0) }

// Settled is closed once others have confirmed what time it is, or had the time to.
func (c *Clock) Settled() <-chan struct{} { return c.settled }

// Trusted is false where the clock is known to be off, by more than it may be corrected.
func (c *Clock) Trusted() bool { return !c.off.Load() }

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
