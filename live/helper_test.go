package live

import (
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func at(t testing.TB, s string) time.Time {
	t.Helper()
	x, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// event is a valid event that starts when and cuts as given.
func event(t testing.TB, start string, d Duration) Event {
	t.Helper()
	e := Default()
	e.Start, e.Segment = at(t, start), d
	e.Pipelines = []Pipeline{{Name: "a", Region: "us-east-1"}, {Name: "b"}}
	e.Renditions = []Rendition{{Name: "v720", Type: Video, Bandwidth: 3_000_000}}
	if err := e.Validate(); err != nil {
		t.Fatal(err)
	}
	return e
}

// The durations that live video has: 2 s, 2.002 s for 29.97 and 59.94 fps in
// several scales, whole AAC frames at 48 and 44.1 kHz, and odd ones.
var durations = []Duration{
	{2, 1}, {2002, 1000}, {180180, 90000}, {1001, 500}, {6, 1}, {1, 2}, {96256, 48000}, {88064, 44100},
	{1, 10}, {60, 1}, {1_000_000_000, 499_999_993}, {999_999_937, 500_000_003}, {7, 3},
}

func genDuration(t *rapid.T) Duration {
	if rapid.Bool().Draw(t, "usual") {
		return rapid.SampledFrom(durations).Draw(t, "duration")
	}
	d := Duration{Timescale: rapid.Int64Range(1, MaxTicks).Draw(t, "timescale")}
	least, most := (d.Timescale+9)/10, min(60*d.Timescale, MaxTicks)
	if least > most {
		least = most
	}
	d.Ticks = rapid.Int64Range(least, most).Draw(t, "ticks")
	return d
}

// genEvent draws any valid event.
func genEvent(t *rapid.T) Event {
	e := Default()
	first, last := time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(2200, 12, 31, 0, 0, 0, 0, time.UTC).Unix()
	ns := rapid.OneOf(rapid.Just(int64(0)), rapid.Map(rapid.Int64Range(0, 999), func(ms int64) int64 { return ms * 1e6 }),
		rapid.Int64Range(0, 999_999_999)).Draw(t, "ns")
	e.Start = time.Unix(rapid.Int64Range(first, last).Draw(t, "start"), ns).UTC()
	e.FirstNumber = Number(rapid.OneOf(rapid.Int64Range(0, 1), rapid.Int64Range(0, MaxFirstNumber)).Draw(t, "first"))
	e.Segment = genDuration(t)
	e.MediaTime = rapid.SampledFrom([]MediaEpoch{MediaUnix, MediaStart}).Draw(t, "epoch")
	ms := rapid.OneOf(rapid.Int64Range(0, 3000), rapid.Int64Range(0, maxMilliseconds))
	e.AllowanceMS, e.HoldMS, e.BudgetMS = ms.Draw(t, "allowance"), ms.Draw(t, "hold"), ms.Draw(t, "budget")
	least := (e.AllowanceMS + e.BudgetMS + 999) / 1000
	e.DVRSeconds = rapid.OneOf(rapid.Int64Range(max(least, 1), least+60), rapid.Int64Range(max(least, 1), maxWindowSeconds)).Draw(t, "dvr")
	e.LiveWindowSeconds = rapid.Int64Range(1, 600).Draw(t, "live window")
	e.Pipelines = []Pipeline{{Name: "a"}}
	e.Renditions = []Rendition{{Name: "v", Type: Video, Bandwidth: 1}}
	if rapid.Bool().Draw(t, "ends") {
		o := oracle{e}
		k := rapid.Int64Range(1, 20_000_000).Draw(t, "segments")
		end := o.start(e.FirstNumber+Number(k)) + rapid.Int64Range(-1, 1).Draw(t, "beside the boundary")
		if x := time.Unix(0, end).UTC(); x.Year() <= 2200 && x.After(e.Start) {
			e.End = x
		}
	}
	if err := e.Validate(); err != nil {
		t.Fatalf("generated event: %v", err)
	}
	return e
}

// An oracle works the timeline out with rational numbers, by its definition.
type oracle struct{ e Event }

// boundary is S + k*D in nanoseconds, exactly.
func (o oracle) boundary(k int64) *big.Rat {
	d := big.NewRat(o.e.Segment.Ticks, o.e.Segment.Timescale)
	d.Mul(d, big.NewRat(k, 1)).Mul(d, big.NewRat(1_000_000_000, 1))
	return d.Add(d, new(big.Rat).SetInt64(o.e.Start.UnixNano()))
}

// floor rounds down, and stays at the largest int64.
func floor(r *big.Rat) int64 {
	q := new(big.Int).Div(r.Num(), r.Denom()) // Euclidean: Denom is positive
	if !q.IsInt64() {
		return math.MaxInt64
	}
	return q.Int64()
}

func (o oracle) start(n Number) int64 { return floor(o.boundary(int64(n - o.e.FirstNumber))) }
func (o oracle) end(n Number) int64   { return o.start(n + 1) }
func (o oracle) expected(n Number) int64 {
	return o.end(n) + o.e.AllowanceMS*1e6
}

// last is the segment that holds the last instant before the end.
func (o oracle) last() (Number, bool) {
	if o.e.End.IsZero() {
		return 0, false
	}
	// The largest n whose exact start is before the end, found by bisection.
	end := o.e.End.UnixNano()
	lo, hi := o.e.FirstNumber, o.e.FirstNumber+Number((end-o.e.Start.UnixNano())/int64(MinSegment))+1
	for lo < hi {
		mid := lo + (hi-lo+1)/2
		if o.start(mid) < end {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return lo, true
}

func (o oracle) place(n Number, now int64) Place {
	last, ends := o.last()
	if n < o.e.FirstNumber || ends && n > last {
		return Never
	}
	expected, gone := o.expected(n), o.end(n)+o.e.DVRSeconds*1e9
	switch {
	case now < expected-o.e.HoldMS*1e6:
		return Early
	case now <= expected+o.e.BudgetMS*1e6:
		return Due
	case now <= gone:
		return Past
	}
	return Gone
}

// media is the decode time at which n begins, rounded down.
func (o oracle) media(n Number, timescale int64) int64 {
	b := o.boundary(int64(n - o.e.FirstNumber))
	if o.e.MediaTime == MediaStart {
		b.Sub(b, new(big.Rat).SetInt64(o.e.Start.UnixNano()))
	}
	return floor(b.Mul(b, big.NewRat(timescale, 1_000_000_000)))
}

// genNumber draws a number of the event's first years, or beside its ends.
func genNumber(t *rapid.T, e *Event) Number {
	k := rapid.OneOf(rapid.Int64Range(-2, 3), rapid.Int64Range(0, 1_000_000), rapid.Int64Range(0, 30_000_000)).Draw(t, "k")
	if last, ok := (oracle{*e}).last(); ok && rapid.Bool().Draw(t, "near the end") {
		return last + Number(rapid.Int64Range(-2, 2).Draw(t, "beside the last"))
	}
	return e.FirstNumber + Number(k)
}

// genTime draws an instant, often beside a boundary of some segment.
func genTime(t *rapid.T, e *Event) time.Time {
	o := oracle{*e}
	n := max(genNumber(t, e), e.FirstNumber)
	ns := []int64{
		o.start(n), o.end(n), o.expected(n), o.expected(n) - e.HoldMS*1e6, o.expected(n) + e.BudgetMS*1e6,
		o.end(n) + e.DVRSeconds*1e9, o.end(n) + e.LiveWindowSeconds*1e9,
	}[rapid.IntRange(0, 6).Draw(t, "instant")]
	off := rapid.OneOf(rapid.Int64Range(-1, 1), rapid.Int64Range(-5e9, 5e9)).Draw(t, "offset")
	return time.Unix(0, ns+off).UTC()
}
