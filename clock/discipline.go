package clock

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

const (
	lookEvery = 250 * time.Millisecond
	// decideEvery is how often it is decided what follows from all that is known, where
	// nothing is new.
	decideEvery = time.Second
	// noticed is how far the system's clock must be set for it to be a step.
	noticed = 100 * time.Millisecond
	// patience is how long a system's clock that was set must keep to it before it is
	// followed on its word alone.
	patience  = time.Minute
	farAway   = time.Hour // see Config.Far
	leastMove = time.Millisecond
)

// What is known of other clocks, and what was done.
type known struct {
	tracks  map[Source]*track
	walled  bool          // the system's clock has been looked at,
	walk    time.Duration // and was that far from what had passed
	moved   bool          // the clock was corrected
	doubted time.Duration // when others last said that the system's is off; 0: never
	verdict Verdict
	news    bool          // something came, or the system's clock was set, since the verdict
	decided time.Duration // when that was
	refused bool          // the verdict is too far away for so few clocks
	steps   int64
	slewed  int64
	stepped int64
	said    State
	saidOff string
	untold  []logLine // for the log, which is written to without the lock
}

type logLine struct {
	level slog.Level
	msg   string
	args  []any
}

func (c *Clock) tell(level slog.Level, msg string, args ...any) {
	c.untold = append(c.untold, logLine{level, msg, args})
}

// Exchange enters what another clock told, asked and answered being instants of time.Now
// between which it did. weight is how many clocks it speaks for, 1 where that is not known.
func (c *Clock) Exchange(kind Kind, name string, told, asked, answered time.Time, weight float64) {
	raw := told.Sub(c.base)
	c.enter(Source{kind, name}, false, weight, sample{answered.Sub(c.start), raw - answered.Sub(c.start), raw - asked.Sub(c.start) + time.Millisecond})
}

// Message enters what another clock told in a message that came at an instant of time.Now.
func (c *Clock) Message(kind Kind, name string, told, came time.Time) {
	at := came.Sub(c.start)
	lo := told.Sub(c.base) - at
	c.enter(Source{kind, name}, true, 1, sample{at, lo, lo + wayHere})
}

// Arrival enters that a segment came at an instant of time.Now, of which the last frame was
// filmed at whole and which is in time until due. So it was not before whole, and of a
// pipeline that keeps up not after due:
//
//	pipelines                     say
//	early                         what others say: a segment that is not over does not come
//	in time                       that the clock is right to within what is left until due
//	slow, one or all              that the clock is ahead, and are outvoted by any one other
//	slow, at times                that it is right: what comes fastest counts
//	backfilling                   nothing: they go to and fro
func (c *Clock) Arrival(pipeline string, whole, due, came time.Time) {
	at := came.Sub(c.start)
	lo := whole.Sub(c.base) - at
	c.enter(Source{Pipeline, pipeline}, true, ofPipeline, sample{at, lo, lo + min(due.Sub(whole), wayOfSegments)})
}

func (c *Clock) enter(source Source, oneWay bool, weight float64, s sample) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tracks[source]
	if t == nil {
		c.room(source.Kind)
		t = &track{}
		c.tracks[source] = t
	}
	c.news = true
	t.oneWay, t.weight = oneWay, weight
	t.add(s, c.cfg.Tolerance)
}

// room forgets the clock of a kind that was silent for the longest, where there are many.
func (c *Clock) room(kind Kind) {
	n, oldest, since := 0, Source{}, time.Duration(0)
	for source, t := range c.tracks {
		if source.Kind != kind {
			continue
		}
		if at := t.samples[len(t.samples)-1].at; n == 0 || at < since {
			oldest, since = source, at
		}
		n++
	}
	if n >= sourcesKept {
		delete(c.tracks, oldest)
	}
}

// Run looks at the system's clock and at what others said, until ctx ends. Of those
// that run a clock which they share one looks: what it has seen is counted once.
func (c *Clock) Run(ctx context.Context) {
	select {
	case c.looking <- struct{}{}:
		defer func() { <-c.looking }()
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		c.Look()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Look holds the clock against the system's and the others', and corrects it.
func (c *Clock) Look() {
	c.mu.Lock()
	c.look()
	lines := c.untold
	c.untold = nil
	c.mu.Unlock()
	for _, line := range lines {
		c.cfg.Log.Log(context.Background(), line.level, line.msg, line.args...)
	}
}

// look needs mu.
func (c *Clock) look() {
	passed := time.Since(c.start)
	c.lookAtWall(passed)
	if c.news || passed-c.decided >= decideEvery {
		c.news, c.decided = false, passed
		l := c.line.Load()
		c.verdict = Decide(votesOf(c.tracks, passed), l.to, c.cfg.Tolerance)
		c.correct(l, passed)
		c.off.Store(c.refused)
		c.say()
	}
	select {
	case <-c.settled:
	default:
		if passed >= c.cfg.Confirm || c.verdict.State != Disputed && c.verdict.Agree >= 2 && c.verdict.Total >= 2.5 {
			close(c.settled)
		}
	}
}

// lookAtWall notices steps of the system's clock.
func (c *Clock) lookAtWall(passed time.Duration) {
	walk := c.cfg.Wall().Sub(c.base) - passed
	if step := walk - c.walk; c.walled && step.Abs() > noticed {
		c.steps++
		c.news = true
		c.tell(slog.LevelWarn, "the system's clock was set: what has passed is counted on", "by", step, "state", c.verdict.State.String())
	}
	c.walled, c.walk = true, walk
	c.tracks[Source{Kind: System}].add(sample{passed, walk, walk}, noticed)
}

// correct follows a verdict: little by little, or at once where it is far.
func (c *Clock) correct(l *line, passed time.Duration) {
	v := &c.verdict
	by := v.Offset - l.to
	own := c.tracks[Source{Kind: System}]
	if v.State != Disputed && slices.Contains(v.Off, Source{Kind: System}) {
		c.doubted = passed
	}
	c.refused = v.State == Wrong && by.Abs() > farAway && v.Agree < c.cfg.Far
	switch {
	case by.Abs() < leastMove, c.refused:
		return
	case v.State == Alone && c.doubted > 0 && own.stepped <= c.doubted && passed-c.doubted < patience:
		return // what others said last counts, until it is set, or they are silent for long:
		// who follows a wrong word may be out of reach of any other by just that
	case v.State == Alone && by.Abs() > noticed && passed-own.stepped < patience:
		return // it may be set back
	case by.Abs() > stepAbove || !c.moved:
		c.line.Store(&line{passed, v.Offset, v.Offset})
	default:
		c.slewed++
		c.line.Store(&line{passed, l.at(passed), v.Offset})
	}
	if by.Abs() > stepAbove {
		c.stepped++
		c.tell(slog.LevelWarn, "the clock is corrected", "by", by, "agree", v.Agree, "of", v.Total, "sources", c.sources(passed))
	}
	c.moved = true
}

// say tells what has changed since it was last said.
func (c *Clock) say() {
	v := &c.verdict
	var off []string
	for _, s := range v.Off {
		if s.Kind != Pipeline { // which is slow, and others tell of it
			off = append(off, s.String())
		}
	}
	was := c.saidOff
	if text := strings.Join(off, ", "); text != was && v.State != Disputed {
		c.saidOff = text
		if text != "" {
			c.tell(slog.LevelWarn, "clocks are off", "clocks", text, "agree", v.Agree, "of", v.Total)
		} else {
			c.tell(slog.LevelInfo, "all clocks agree", "of", v.Total)
		}
	}
	if v.State != c.said && (v.State == Disputed || c.said == Disputed) {
		c.tell(slog.LevelWarn, "clocks: "+v.State.String(), "agree", v.Agree, "of", v.Total)
	}
	c.said = v.State
}

// sources is what each clock says, seen from this one: for a line of the log.
func (c *Clock) sources(passed time.Duration) string {
	var out []string
	for _, v := range votesOf(c.tracks, passed) {
		out = append(out, fmt.Sprintf("%v %+.3f s", v.Source, ((v.Lo+v.Hi)/2-c.line.Load().to).Seconds()))
	}
	return strings.Join(out, ", ")
}

// Health says why the clock may not be what it should; nil where it is.
func (c *Clock) Health() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := &c.verdict
	passed := time.Since(c.start)
	own := c.tracks[Source{Kind: System}]
	off := (c.walk - c.line.Load().at(passed)).Round(time.Millisecond)
	switch {
	case c.refused:
		return fmt.Errorf("%.1f of %.1f clocks say that this one is off by %v, which is too far to follow so few", v.Agree, v.Total, v.Offset-c.line.Load().to)
	case v.State == Disputed:
		return fmt.Errorf("clocks disagree, and no half of them agrees on a time: %s", c.sources(passed))
	case off.Abs() > noticed+c.cfg.Tolerance:
		if own.stepped != 0 && v.State == Alone {
			return fmt.Errorf("the system's clock was set by %v, %v ago, and nobody else says what time it is", off, (passed - own.stepped).Round(time.Second))
		}
		return fmt.Errorf("the system's clock is off by %v, by the word of %.1f of %.1f clocks; what is told is corrected", off, v.Agree, v.Total)
	}
	return nil
}

// Off reports whether a clock is not among those that most agree on, and further from them
// than what is corrected little by little.
func (c *Clock) Off(kind Kind, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Source{kind, name}
	t := c.tracks[s] // nil where it was forgotten since
	if t == nil || c.verdict.State == Disputed || !slices.Contains(c.verdict.Off, s) {
		return false
	}
	best, _ := t.best(time.Since(c.start))
	return ((best.lo+best.hi)/2 - c.verdict.Offset).Abs() > stepAbove
}

// Agree is how many clocks agree with this one, by weight: its own word counts among them.
func (c *Clock) Agree() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.verdict.State == Disputed || c.refused {
		return 0
	}
	return cmp.Or(c.verdict.Agree, c.cfg.Own)
}
