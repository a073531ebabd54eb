package live

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The timeline agrees with its definition in exact arithmetic.
func TestTimelineAgreesWithOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := genEvent(t)
		tl, o := e.Timeline(), oracle{e}
		n := genNumber(t, &e)
		if last, ok := tl.Last(); true {
			if want, wantOK := o.last(); ok != wantOK || ok && last != want {
				t.Fatalf("Last() = %d %v, want %d %v", last, ok, want, wantOK)
			}
		}
		if n >= e.FirstNumber {
			for _, x := range []struct {
				name string
				got  time.Time
				want int64
			}{
				{"Start", tl.Start(n), o.start(n)},
				{"End", tl.End(n), o.end(n)},
				{"Expected", tl.Expected(n), o.expected(n)},
				{"Due", tl.Due(n), o.expected(n) - e.HoldMS*1e6},
				{"Decide", tl.Decide(n), o.expected(n) + e.BudgetMS*1e6/2},
				{"Deadline", tl.Deadline(n), o.expected(n) + e.BudgetMS*1e6},
				{"GoneAt", tl.GoneAt(n), o.end(n) + e.DVRSeconds*1e9},
			} {
				if x.got.UnixNano() != x.want {
					t.Errorf("%s(%d) = %d, want %d", x.name, n, x.got.UnixNano(), x.want)
				}
			}
		}
		now := genTime(t, &e)
		if got, want := tl.Place(n, now), o.place(n, now.UnixNano()); got != want {
			t.Errorf("Place(%d, %v) = %v, want %v", n, now, got, want)
		}
		if got, want := tl.Live(n, now), o.end(max(n, e.FirstNumber-1)) >= now.UnixNano()-e.LiveWindowSeconds*1e9; got != want {
			t.Errorf("Live(%d, %v) = %v", n, now, got)
		}
	})
}

// Edge, At and Oldest are where the definition says, judged by the segment
// itself and its neighbour.
func TestEdgeAtOldest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := genEvent(t)
		tl, o := e.Timeline(), oracle{e}
		last, ends := o.last()
		now := genTime(t, &e)
		ns := now.UnixNano()

		edge := tl.Edge(now)
		if edge < e.FirstNumber-1 || ends && edge > last {
			t.Fatalf("Edge(%v) = %d, outside the event", now, edge)
		}
		if edge >= e.FirstNumber && o.expected(edge) > ns {
			t.Errorf("Edge(%v) = %d, not yet expected", now, edge)
		}
		if (!ends || edge < last) && o.expected(edge+1) <= ns {
			t.Errorf("Edge(%v) = %d, but %d is expected too", now, edge, edge+1)
		}

		n := tl.At(now)
		if n >= e.FirstNumber && (o.start(n) > ns || o.end(n) <= ns) {
			t.Errorf("At(%v) = %d, which is from %d to %d", now, n, o.start(n), o.end(n))
		}
		if n < e.FirstNumber && ns >= e.Start.UnixNano() {
			t.Errorf("At(%v) = %d after the start", now, n)
		}

		oldest := tl.Oldest(now)
		if oldest < e.FirstNumber || ends && oldest > last+1 {
			t.Fatalf("Oldest(%v) = %d, outside the event", now, oldest)
		}
		if !(ends && oldest == last+1) && o.place(oldest, ns) == Gone {
			t.Errorf("Oldest(%v) = %d is gone", now, oldest)
		}
		if oldest > e.FirstNumber && o.place(oldest-1, ns) != Gone {
			t.Errorf("Oldest(%v) = %d, but %d is not gone", now, oldest, oldest-1)
		}
	})
}

// The places of a number follow each other, and those of the numbers at one
// time stand in the opposite order.
func TestPlacesAreOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := genEvent(t)
		tl := e.Timeline()
		n := genNumber(t, &e)
		a, b := genTime(t, &e), genTime(t, &e)
		if b.Before(a) {
			a, b = b, a
		}
		pa, pb := tl.Place(n, a), tl.Place(n, b)
		if pa > pb {
			t.Errorf("%d is %v at %v and %v at %v", n, pa, a, pb, b)
		}
		if (pa == Never) != (pb == Never) {
			t.Errorf("%d is %v at %v and %v at %v: never is for ever", n, pa, a, pb, b)
		}
		if m := n + 1; tl.Holds(n) && tl.Holds(m) && tl.Place(m, a) > pa {
			t.Errorf("at %v, %d is %v but %d is %v", a, n, pa, m, tl.Place(m, a))
		}
	})
}

// A refusal that may be cached ends before the segment can be asked for, as
// Cache-Control prints it and as a cache reads it.
func TestRefusalNeverOutlivesAvailability(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := genEvent(t)
		tl := e.Timeline()
		n, now := genNumber(t, &e), genTime(t, &e)
		if tl.Place(n, now) != Early {
			return
		}
		value := FormatLifetime(tl.Due(n).Sub(now))
		d, ok := ParseLifetime([]string{value})
		if !ok {
			t.Fatalf("%q cannot be read", value)
		}
		if until := now.Add(d); until.After(tl.Due(n)) {
			t.Errorf("refused at %v with %q, but due at %v", now, value, tl.Due(n))
		}
		if rest := tl.Due(n).Sub(now) - d; d < MaxLifetime && rest >= time.Millisecond {
			t.Errorf("refused at %v with %q, %v too short", now, value, rest)
		}
	})
}

// A rendition that publishes late has the same segments, later.
func TestLate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := genEvent(t)
		on, n := e.Timeline(), max(genNumber(t, &e), e.FirstNumber)
		ms := rapid.Int64Range(-e.AllowanceMS, maxMilliseconds).Draw(t, "late")
		late := on.Late(time.Duration(ms) * time.Millisecond)
		if got := late.Expected(n).Sub(on.Expected(n)).Milliseconds(); got != ms {
			t.Errorf("expected %d ms later, want %d", got, ms)
		}
		if late.End(n) != on.End(n) {
			t.Errorf("the end of %d moved", n)
		}
		ls, le := late.Media(n, 90000)
		if os, oe := on.Media(n, 90000); ls != os || le != oe {
			t.Errorf("the media time of %d moved", n)
		}
		if late.GoneAt(n).Before(late.Deadline(n)) {
			t.Errorf("%d is gone before its deadline", n)
		}
		c := Config{Event: e, LatenessMS: map[string]int64{"v": ms}}
		if c.Timeline("v") != late || c.Timeline("other") != on {
			t.Errorf("Config.Timeline does not know the rendition's lateness")
		}
	})
}

// Media, NumberHolding and NumberNear: boundaries as the oracle has them, and
// each the inverse of the other.
func TestMediaAgreesWithOracle(t *testing.T) {
	timescales := rapid.OneOf(rapid.SampledFrom([]int64{1, 10, 1000, 15360, 30000, 44100, 48000, 60000, 90000, 10_000_000}),
		rapid.Int64Range(1, 1e9))
	rapid.Check(t, func(t *rapid.T) {
		e := genEvent(t)
		tl, o := e.Timeline(), oracle{e}
		ts := timescales.Draw(t, "track timescale")
		n := max(genNumber(t, &e), e.FirstNumber)
		start, end := tl.Media(n, ts)
		if start != o.media(n, ts) || end != o.media(n+1, ts) {
			t.Fatalf("Media(%d, %d) = %d, %d, want %d, %d", n, ts, start, end, o.media(n, ts), o.media(n+1, ts))
		}
		decode := start + rapid.Int64Range(-2, max(end-start, 1)).Draw(t, "decode offset")
		if decode < 0 {
			return
		}
		held := tl.NumberHolding(decode, ts)
		if held >= e.FirstNumber && o.media(held, ts) > decode {
			t.Errorf("NumberHolding(%d, %d) = %d, which begins at %d", decode, ts, held, o.media(held, ts))
		}
		if o.media(held+1, ts) <= decode {
			t.Errorf("NumberHolding(%d, %d) = %d, but %d has begun at %d", decode, ts, held, held+1, o.media(held+1, ts))
		}
		// Nearest, by distance to every neighbour that the event has.
		near := tl.NumberNear(decode, ts)
		if near < e.FirstNumber {
			if o.media(e.FirstNumber, ts)-decode <= (o.media(e.FirstNumber+1, ts)-o.media(e.FirstNumber, ts))/2 {
				t.Errorf("NumberNear(%d, %d) = %d, but the first begins within half a segment", decode, ts, near)
			}
			return
		}
		dist := func(n Number) int64 {
			d := o.media(n, ts) - decode
			return max(d, -d)
		}
		if dist(near) > dist(near+1) || near > e.FirstNumber && dist(near) > dist(near-1) {
			t.Errorf("NumberNear(%d, %d) = %d is not nearest", decode, ts, near)
		}
		if ts >= 1000 && end > start {
			if got := tl.NumberNear(start, ts); got != n {
				t.Errorf("NumberNear(Media(%d)) = %d", n, got)
			}
			if got := tl.NumberHolding(start, ts); got != n {
				t.Errorf("NumberHolding(Media(%d)) = %d", n, got)
			}
			if got := tl.NumberHolding(end-1, ts); got != n {
				t.Errorf("NumberHolding(%d) at the end of %d = %d", end-1, n, got)
			}
		}
	})
}
