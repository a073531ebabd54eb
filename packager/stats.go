package packager

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"headwater/internal/hedge"
	"headwater/live"
)

// Reasons for which a segment is not sent, or not sent again. Stats.Dropped
// has a counter for each from the start.
const (
	DropPartial    = "partial"     // the first, incomplete segment of a stream
	DropOutside    = "outside"     // before the event's first number or after its last
	DropNoKeyframe = "no-keyframe" // after a jump of decode times, without a key frame
	DropFuture     = "future"      // its decode time is far ahead of this machine's clock
	DropFault      = "fault"       // an injected fault
	DropQueueFull  = "queue-full"  // the backfill queue was full of newer segments
	DropGone       = "gone"        // left the DVR window before it could be backfilled
	DropInit       = "unfit"       // the origin refused its init segment, or has not answered it
	DropShutdown   = "shutdown"    // the packager ended first
)

// DropReasons lists every reason, in the order of the documentation.
var DropReasons = []string{DropPartial, DropOutside, DropNoKeyframe, DropFuture, DropFault, DropQueueFull, DropGone, DropInit, DropShutdown}

// Stats is a snapshot of what a packager has done. Counts are of media
// segments, from the start, unless they say otherwise.
type Stats struct {
	Cut        int64 // whole or not, that left the source
	Published  int64 // acknowledged, backfilled ones included
	Backfilled int64 // of those, after they had missed their budget
	Missed     int64 // not acknowledged before their deadline
	Retried    int64 // attempts after the first of a segment, hedges included
	Hedged     int64 // attempts that were begun because another had stalled
	Held       int64 // how often one was not begun, since too many had stalled for that to help
	Looked     int64 // watched to their end, of the renditions that are (Config.Look)
	Wanting    int64 // of those, that show less than they should
	Unseen     int64 // of those renditions, that were sent and could not be watched
	LookDeaths int64 // how often one that watches ended before it should
	Verdicts   int64 // what was said of a segment, and heard by the origin
	Unheard    int64 // the same, and not
	Inits      int64 // init segments acknowledged
	Bytes      int64 // of media segments acknowledged

	// ClockMoves counts how often decode times began anew in mid-stream and were
	// placed by the encoder's stamps (prft) again; ClockSteps how often its stamps
	// stepped by more than half a segment while decode times went on, which moves
	// nothing.
	ClockMoves, ClockSteps int64

	// Refused counts answers that are final, by the code of the problem
	// (docs/protocol.md), or "status-NNN" where there was none.
	Refused map[string]int64
	// Dropped counts segments that were never sent or given up, by reason.
	Dropped map[string]int64
	// Findings counts segments with a finding, by kind.
	Findings map[live.Kind]int64

	// Unfit are the renditions that are not sent now, since the origin refuses
	// their init segment (init-differs), with what it says.
	Unfit map[string]string

	InFlight    int                    // live segments being sent now
	Queued      int                    // segments waiting to be backfilled
	QueuedBytes int64                  // their size
	Newest      map[string]live.Number // newest acknowledged number, by rendition

	// Acknowledgement latency, from when a segment was complete to its 200 or
	// 201: over the last 1,024 segments that were not backfilled, and since the start.
	AckP50, AckP99, AckMax time.Duration

	Destinations []DestinationStats
}

// DestinationStats is what one publishing address did.
type DestinationStats struct {
	URL      string
	Acks     int64 // segments and init segments
	Failures int64 // attempts that ended without an answer, or with 408, 429 or 5xx
}

// RefusedTotal is the sum over all codes.
func (s *Stats) RefusedTotal() int64 { return total(s.Refused) }

// DroppedTotal is the sum over all reasons.
func (s *Stats) DroppedTotal() int64 { return total(s.Dropped) }

func total(m map[string]int64) (sum int64) {
	for _, n := range m {
		sum += n
	}
	return sum
}

// counters is the live form of Stats.
type counters struct {
	hedges *hedge.Budget

	mu    sync.Mutex // guards the following
	s     Stats
	acks  [1024]time.Duration // ring
	nAcks int

	answers  [64]answered // ring
	nAnswers int
}

// answered is how long an attempt that was acknowledged had been silent before.
type answered struct {
	at    time.Time
	after time.Duration
}

// What is usual is that of the last answers, where there are some.
const (
	usualFor   = 30 * time.Second
	leastUsual = 8
)

// answer counts an attempt that was acknowledged.
func (c *counters) answer(at time.Time, after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[c.nAnswers%len(c.answers)] = answered{at, after}
	c.nAnswers++
}

// usual is what no attempt takes that has not stalled: half as long again as nine of ten
// were silent that were acknowledged lately; 0 where too few are known.
func (c *counters) usual(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []time.Duration
	for _, a := range c.answers[:min(c.nAnswers, len(c.answers))] {
		if now.Sub(a.at) < usualFor {
			all = append(all, a.after)
		}
	}
	if len(all) < leastUsual {
		return 0
	}
	slices.Sort(all)
	return all[(len(all)-1)*9/10] * 3 / 2
}

func newCounters() *counters {
	c := &counters{hedges: hedge.NewBudget(hedgeShare, hedgeReserve), s: Stats{
		Refused: map[string]int64{}, Dropped: map[string]int64{},
		Findings: map[live.Kind]int64{}, Newest: map[string]live.Number{},
	}}
	for _, r := range DropReasons {
		c.s.Dropped[r] = 0
	}
	for _, k := range live.Kinds {
		c.s.Findings[k] = 0
	}
	return c
}

// with runs f on the counters. f must not block.
func (c *counters) with(f func(s *Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.s)
}

// drop counts, and returns how many that are now.
func (c *counters) drop(reason string, n int64) (now int64) {
	c.with(func(s *Stats) { s.Dropped[reason] += n; now = s.Dropped[reason] })
	return now
}

// dropped counts a segment that is given up, and logs it: the first of a reason,
// and then each time their number has doubled.
func (c *counters) dropped(log *slog.Logger, reason, rendition string, n live.Number) {
	if now := c.drop(reason, 1); now&(now-1) == 0 {
		log.Warn("segment dropped", "reason", reason, "rendition", rendition, "number", n, "so_far", now)
	}
}

// ack counts an acknowledged segment. after is negative for a backfilled one.
func (c *counters) ack(seg *segment, after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.Published++
	c.s.Bytes += int64(len(seg.data))
	if n, ok := c.s.Newest[seg.rendition]; !ok || seg.number > n {
		c.s.Newest[seg.rendition] = seg.number
	}
	if after < 0 {
		c.s.Backfilled++
		return
	}
	c.acks[c.nAcks%len(c.acks)] = after
	c.nAcks++
	c.s.AckMax = max(c.s.AckMax, after)
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.s
	of := c.hedges.Counts()
	s.Retried, s.Hedged, s.Held = int64(of.Retries+of.Hedges), int64(of.Hedges), int64(of.Held)
	s.Refused, s.Dropped = maps.Clone(s.Refused), maps.Clone(s.Dropped)
	s.Findings, s.Newest = maps.Clone(s.Findings), maps.Clone(s.Newest)
	recent := slices.Clone(c.acks[:min(c.nAcks, len(c.acks))])
	if n := len(recent); n > 0 {
		slices.Sort(recent)
		s.AckP50, s.AckP99 = recent[(n-1)*50/100], recent[(n-1)*99/100]
	}
	return s
}
