package live

import (
	"math"
	"math/bits"
	"strconv"
	"time"
)

const nsPerSecond = 1_000_000_000

// A Number is a segment's number within its event: 0 to MaxNumber.
type Number int64

// MaxNumber is the largest number a URL can hold. Every player, JavaScript's
// included, can count so far exactly.
const MaxNumber = 1 << 53

func (n Number) String() string { return strconv.FormatInt(int64(n), 10) }

// A Place says where a segment number is in time. At any time a number has
// exactly one, and they follow each other in this order.
type Place uint8

// The places.
const (
	// Never: before the first number or after the last. 404, for long.
	Never Place = iota
	// Early: nobody may wait for it yet. 404 until it is due.
	Early
	// Due: it is being published about now. 200, or held until it is there or its deadline.
	Due
	// Past: 200 if it was published, else 410.
	Past
	// Gone: it has left the DVR window. 410.
	Gone
)

// Places lists every place, for counters.
var Places = []Place{Never, Early, Due, Past, Gone}

func (p Place) String() string {
	switch p {
	case Never:
		return "never"
	case Early:
		return "early"
	case Due:
		return "due"
	case Past:
		return "past"
	case Gone:
		return "gone"
	}
	return "place(" + strconv.Itoa(int(p)) + ")"
}

// A Timeline places segment numbers in time. It is made from an event that
// Validate accepted, is a plain value, and none of its methods allocate or
// round with floats: all times are nanoseconds of Unix time, all durations
// rationals that are rounded down once.
//
// Instants are right from 1678 to 2262, which nanoseconds of Unix time can
// count; what lies outside counts as the nearer end. The times of a number
// before the first are those of the moment the event starts.
type Timeline struct {
	start       int64 // Unix ns of the first frame of segment first
	first, last Number
	ticks       uint64 // of segment duration,
	scale       uint64 // over scale seconds
	exact       uint64 // the duration in ns where that is exact, else 0
	allowance   int64
	hold        int64
	budget      int64
	dvr         int64
	liveWindow  int64
	media       MediaEpoch
}

// Timeline returns the event's timeline.
func (e *Event) Timeline() Timeline {
	tl := Timeline{
		start: e.Start.UnixNano(), first: e.FirstNumber, last: math.MaxInt64,
		ticks: uint64(e.Segment.Ticks), scale: uint64(e.Segment.Timescale),
		allowance: e.AllowanceMS * 1e6, hold: e.HoldMS * 1e6, budget: e.BudgetMS * 1e6,
		dvr: e.DVRSeconds * nsPerSecond, liveWindow: e.LiveWindowSeconds * nsPerSecond,
		media: e.MediaTime,
	}
	if ns := tl.ticks * nsPerSecond; ns%tl.scale == 0 {
		tl.exact = ns / tl.scale
	}
	if !e.End.IsZero() {
		// The last segment holds the last instant before the end.
		tl.last = tl.at(e.End.UnixNano() - 1)
	}
	return tl
}

// Late returns the timeline of a rendition that publishes d later than the
// event's allowance says, or earlier where d is negative: never before a
// segment's last frame, and at most the largest possible allowance later.
// Media times stay as they are.
func (tl Timeline) Late(d time.Duration) Timeline {
	most := time.Duration(maxMilliseconds) * time.Millisecond
	tl.allowance = max(tl.allowance+int64(min(max(d, -most), most)), 0)
	return tl
}

// offset is floor(k*D) in nanoseconds, saturating.
func (tl *Timeline) offset(k int64) int64 {
	if k <= 0 {
		return 0
	}
	var ns uint64
	if tl.exact != 0 {
		hi, lo := bits.Mul64(uint64(k), tl.exact)
		if hi != 0 {
			return math.MaxInt64
		}
		ns = lo
	} else {
		ns = mulDiv(uint64(k), tl.ticks*nsPerSecond, tl.scale)
	}
	return int64(min(ns, math.MaxInt64))
}

// at is the number of the segment that holds the instant ns: the largest n
// whose start is not after it. It can be before the first number.
func (tl *Timeline) at(ns int64) Number {
	if ns < tl.start {
		return tl.first - 1
	}
	d := ns - tl.start // start is after 1970: no overflow
	// floor(k*x) <= d  <=>  k < (d+1)/x, with x = ticks*1e9/scale ns. The
	// largest such k is floor(((d+1)*scale - 1) / (ticks*1e9)).
	hi, lo := bits.Mul64(uint64(d)+1, tl.scale)
	lo, borrow := bits.Sub64(lo, 1, 0)
	hi -= borrow
	q := div128(hi, lo, tl.ticks*nsPerSecond)
	return tl.first + Number(min(q, math.MaxInt64/2))
}

// First is the number of the first segment.
func (tl *Timeline) First() Number { return tl.first }

// Last is the number of the last segment; ok is false while no end is known.
func (tl *Timeline) Last() (n Number, ok bool) { return tl.last, tl.last != math.MaxInt64 }

// Holds reports whether n is a number of this event, at whatever time.
func (tl *Timeline) Holds(n Number) bool { return n >= tl.first && n <= tl.last }

func (tl *Timeline) startNS(n Number) int64 { return add(tl.start, tl.offset(int64(n-tl.first))) }
func (tl *Timeline) endNS(n Number) int64   { return add(tl.start, tl.offset(int64(n-tl.first)+1)) }

func (tl *Timeline) expectedNS(n Number) int64 { return add(tl.endNS(n), tl.allowance) }

// Start is when the first frame of n is captured.
func (tl *Timeline) Start(n Number) time.Time { return unixNano(tl.startNS(n)) }

// End is when the last frame of n ends.
func (tl *Timeline) End(n Number) time.Time { return unixNano(tl.endNS(n)) }

// Expected is when n should be published: S + (n-n0+1)*D + L.
func (tl *Timeline) Expected(n Number) time.Time { return unixNano(tl.expectedNS(n)) }

// Due is the first instant at which a request for n is held rather than
// refused: Expected minus the hold window.
func (tl *Timeline) Due(n Number) time.Time { return unixNano(tl.expectedNS(n) - tl.hold) }

// Decide is when selection stops waiting for a better candidate and serves
// the least bad: half of the budget, so that the other half is left to bring
// it to viewers.
func (tl *Timeline) Decide(n Number) time.Time {
	return unixNano(add(tl.expectedNS(n), tl.budget/2))
}

// Deadline is the last instant of waiting for n: Expected plus the budget.
func (tl *Timeline) Deadline(n Number) time.Time {
	return unixNano(add(tl.expectedNS(n), tl.budget))
}

// GoneAt is the last instant at which n is inside the DVR window.
func (tl *Timeline) GoneAt(n Number) time.Time { return unixNano(tl.goneNS(n)) }

func (tl *Timeline) goneNS(n Number) int64 { return add(tl.endNS(n), tl.keep()) }

// keep is how long after its last frame a segment is there. A rendition that
// publishes very late still has its whole budget: the DVR window never ends
// before the deadline.
func (tl *Timeline) keep() int64 { return max(tl.dvr, tl.allowance+tl.budget) }

// Place places n at time t.
func (tl *Timeline) Place(n Number, t time.Time) Place {
	if !tl.Holds(n) {
		return Never
	}
	now, expected := nanos(t), tl.expectedNS(n)
	switch {
	case now < expected-tl.hold:
		return Early
	case now <= add(expected, tl.budget):
		return Due
	case now <= tl.goneNS(n):
		return Past
	}
	return Gone
}

// Edge is the live edge at t: the largest n with Expected(n) <= t, or one less
// than the first number before the event has one; never after the last.
func (tl *Timeline) Edge(t time.Time) Number {
	// n is expected when the segment after it has begun, L later.
	return min(max(tl.at(nanos(t)-tl.allowance), tl.first)-1, tl.last)
}

// Oldest is the smallest number that is not gone at t; one more than the last
// when all are.
func (tl *Timeline) Oldest(t time.Time) Number {
	// n is not gone while End(n) >= x, and End(n) is Start(n+1).
	x := nanos(t) - tl.keep()
	n := tl.at(x)
	if n >= tl.first && tl.startNS(n) == x {
		n--
	}
	return min(max(n, tl.first), add1(tl.last))
}

// At is the number of the segment being captured at t: the one with
// Start <= t < End. It is First-1 before the event, and goes on after Last.
func (tl *Timeline) At(t time.Time) Number { return tl.at(nanos(t)) }

// Live reports whether n counts as live at t, rather than as DVR.
func (tl *Timeline) Live(n Number, t time.Time) bool {
	return tl.endNS(n) >= nanos(t)-tl.liveWindow
}

// Finished reports whether the event's last segment is past its deadline.
func (tl *Timeline) Finished(t time.Time) bool {
	return tl.last != math.MaxInt64 && nanos(t) > add(tl.expectedNS(tl.last), tl.budget)
}

// Over reports whether the event's last segment has been filmed.
func (tl *Timeline) Over(t time.Time) bool {
	return tl.last != math.MaxInt64 && nanos(t) >= tl.endNS(tl.last)
}

// Segment is the average segment duration, rounded down to nanoseconds.
func (tl *Timeline) Segment() time.Duration { return time.Duration(tl.offset(1)) }

// Hold is the hold window H.
func (tl *Timeline) Hold() time.Duration { return time.Duration(tl.hold) }

// Budget is the retry budget B.
func (tl *Timeline) Budget() time.Duration { return time.Duration(tl.budget) }

// Allowance is the publish allowance L, with the lateness of the rendition.
func (tl *Timeline) Allowance() time.Duration { return time.Duration(tl.allowance) }

// DVR is the length of the DVR window.
func (tl *Timeline) DVR() time.Duration { return time.Duration(tl.dvr) }

// mulDiv is floor(a*b/c), saturating at the largest uint64.
func mulDiv(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return div128(hi, lo, c)
}

func div128(hi, lo, c uint64) uint64 {
	if hi >= c {
		return math.MaxUint64
	}
	q, _ := bits.Div64(hi, lo, c)
	return q
}

// add saturates: a number far in the future stays in the future.
func add(a, b int64) int64 {
	s := a + b
	if b > 0 && s < a {
		return math.MaxInt64
	}
	return s
}

func add1(n Number) Number { return Number(add(int64(n), 1)) }

// nanos is t in Unix nanoseconds, clamped to what they can count less a year,
// which is more than any window: what is subtracted from it does not wrap.
func nanos(t time.Time) int64 {
	const most = math.MaxInt64/nsPerSecond - maxWindowSeconds - 1
	return max(min(t.Unix(), most), -most)*nsPerSecond + int64(t.Nanosecond())
}

func unixNano(ns int64) time.Time { return time.Unix(0, ns).UTC() }
