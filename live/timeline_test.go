package live

import (
	"fmt"
	"math"
	"testing"
	"time"
)

const day = 24 * time.Hour

func TestTimelineInstants(t *testing.T) {
	tests := []struct {
		name    string
		start   string
		first   Number
		segment Duration
		n       Number
		begins  string
		ends    string
		due     string // with 500 ms allowance and 2 s hold
	}{
		{"2 s", "2026-11-23T20:00:00Z", 1, Duration{2, 1}, 1,
			"2026-11-23T20:00:00Z", "2026-11-23T20:00:02Z", "2026-11-23T20:00:00.5Z"},
		{"2 s, a year on", "2026-11-23T20:00:00Z", 1, Duration{2, 1}, 1 + 365*43200,
			"2027-11-23T20:00:00Z", "2027-11-23T20:00:02Z", "2027-11-23T20:00:00.5Z"},
		{"29.97 fps", "2026-11-23T20:00:00Z", 1, Duration{2002, 1000}, 1000,
			"2026-11-23T20:33:19.998Z", "2026-11-23T20:33:22Z", "2026-11-23T20:33:20.5Z"},
		{"59.94 fps in ticks of 90 kHz", "2026-11-23T20:00:00Z", 1, Duration{180180, 90000}, 1001,
			"2026-11-23T20:33:22Z", "2026-11-23T20:33:24.002Z", "2026-11-23T20:33:22.502Z"},
		{"whole AAC frames at 44.1 kHz", "2026-11-23T20:00:00Z", 0, Duration{88064, 44100}, 441,
			"2026-11-23T20:14:40.64Z", "2026-11-23T20:14:42.636916099Z", "2026-11-23T20:14:41.136916099Z"},
		{"first number 0", "2026-11-23T20:00:00Z", 0, Duration{2, 1}, 0,
			"2026-11-23T20:00:00Z", "2026-11-23T20:00:02Z", "2026-11-23T20:00:00.5Z"},
		{"numbers since 1970", "2026-11-23T20:00:00Z", 897739200, Duration{2, 1}, 897739201,
			"2026-11-23T20:00:02Z", "2026-11-23T20:00:04Z", "2026-11-23T20:00:02.5Z"},
		{"start off the grid by ms", "2026-11-23T20:00:00.123Z", 7, Duration{2, 1}, 8,
			"2026-11-23T20:00:02.123Z", "2026-11-23T20:00:04.123Z", "2026-11-23T20:00:02.623Z"},
		{"start off the grid by ns", "2026-11-23T20:00:00.000000001Z", 7, Duration{2002, 1000}, 8,
			"2026-11-23T20:00:02.002000001Z", "2026-11-23T20:00:04.004000001Z", "2026-11-23T20:00:02.504000001Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := event(t, tt.start, tt.segment)
			e.FirstNumber = tt.first
			tl := e.Timeline()
			for _, x := range []struct {
				name string
				got  time.Time
				want string
			}{{"Start", tl.Start(tt.n), tt.begins}, {"End", tl.End(tt.n), tt.ends}, {"Due", tl.Due(tt.n), tt.due}} {
				if !x.got.Equal(at(t, x.want)) {
					t.Errorf("%s(%d) = %s, want %s", x.name, tt.n, x.got.Format(time.RFC3339Nano), x.want)
				}
			}
			if got := tl.At(tl.Start(tt.n)); got != tt.n {
				t.Errorf("At(Start(%d)) = %d", tt.n, got)
			}
			if got := tl.At(tl.End(tt.n).Add(-1)); got != tt.n {
				t.Errorf("At just before End(%d) = %d", tt.n, got)
			}
		})
	}
}

// One segment's whole life, at each boundary and a nanosecond beside it.
func TestPlaceOverTime(t *testing.T) {
	e := event(t, "2026-11-23T20:00:00Z", Duration{2, 1})
	e.DVRSeconds = 60
	tl := e.Timeline()
	// Segment 10 is filmed from 20:00:18 to 20:00:20, expected at 20:00:20.5.
	for _, tt := range []struct {
		at   string
		want Place
	}{
		{"2026-11-23T20:00:00Z", Early},
		{"2026-11-23T20:00:18.499999999Z", Early},
		{"2026-11-23T20:00:18.5Z", Due},
		{"2026-11-23T20:00:20.5Z", Due},
		{"2026-11-23T20:00:22.5Z", Due},
		{"2026-11-23T20:00:22.500000001Z", Past},
		{"2026-11-23T20:01:20Z", Past},
		{"2026-11-23T20:01:20.000000001Z", Gone},
		{"2126-11-23T20:00:00Z", Gone},
	} {
		if got := tl.Place(10, at(t, tt.at)); got != tt.want {
			t.Errorf("at %s segment 10 is %v, want %v", tt.at, got, tt.want)
		}
	}
	for _, n := range []Number{0, -1, math.MinInt64} {
		if got := tl.Place(n, e.Start); got != Never {
			t.Errorf("segment %d is %v, want never", n, got)
		}
	}
	for _, n := range []Number{MaxNumber, math.MaxInt64} {
		if got := tl.Place(n, e.Start.Add(100*365*day)); got != Early {
			t.Errorf("segment %d of an event without end is %v, want early", n, got)
		}
	}
}

func TestEdgeAroundTheStart(t *testing.T) {
	for _, first := range []Number{0, 1, 500} {
		e := event(t, "2026-11-23T20:00:00Z", Duration{2, 1})
		e.FirstNumber = first
		tl := e.Timeline()
		for _, tt := range []struct {
			at   string
			want Number // after the first
		}{
			{"1971-01-01T00:00:00Z", -1},
			{"2026-11-23T19:59:59Z", -1},
			{"2026-11-23T20:00:00.5Z", -1},
			{"2026-11-23T20:00:02.499999999Z", -1},
			{"2026-11-23T20:00:02.5Z", 0},
			{"2026-11-23T20:00:04.499999999Z", 0},
			{"2026-11-23T20:00:04.5Z", 1},
		} {
			if got := tl.Edge(at(t, tt.at)); got != first+tt.want {
				t.Errorf("first number %d: Edge(%s) = %d, want %d", first, tt.at, got, first+tt.want)
			}
		}
	}
}

func TestFinishedEvent(t *testing.T) {
	tests := []struct {
		name    string
		segment Duration
		end     string
		last    Number
	}{
		{"end on a boundary", Duration{2, 1}, "2026-11-23T20:00:20Z", 10},
		{"end one nanosecond after it", Duration{2, 1}, "2026-11-23T20:00:20.000000001Z", 11},
		{"end inside a segment", Duration{2, 1}, "2026-11-23T20:00:19Z", 10},
		{"end inside the first", Duration{2, 1}, "2026-11-23T20:00:00.000000001Z", 1},
		{"29.97 fps, end on a boundary", Duration{2002, 1000}, "2026-11-23T20:00:20.02Z", 10},
		{"29.97 fps, end on a whole second", Duration{2002, 1000}, "2026-11-23T20:00:20Z", 10},
		{"boundary between nanoseconds", Duration{7, 3}, "2026-11-23T20:00:02.333333333Z", 1},
		{"a nanosecond later", Duration{7, 3}, "2026-11-23T20:00:02.333333334Z", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := event(t, "2026-11-23T20:00:00Z", tt.segment)
			e.End, e.DVRSeconds = at(t, tt.end), 60
			tl := e.Timeline()
			last, ok := tl.Last()
			if !ok || last != tt.last {
				t.Fatalf("Last() = %d %v, want %d", last, ok, tt.last)
			}
			over := tl.Deadline(last)
			if tl.Finished(over) {
				t.Error("finished while the last segment may still come")
			}
			if !tl.Finished(over.Add(1)) {
				t.Error("not finished after the last deadline")
			}
			if got := tl.Edge(over.Add(day)); got != last {
				t.Errorf("Edge a day later = %d, want the last, %d", got, last)
			}
			if got := tl.Place(last+1, over); got != Never {
				t.Errorf("the one after the last is %v, want never", got)
			}
			if got := tl.Oldest(tl.GoneAt(last)); got != last {
				t.Errorf("Oldest when the last is about to go = %d, want %d", got, last)
			}
			if got := tl.Oldest(tl.GoneAt(last).Add(1)); got != last+1 {
				t.Errorf("Oldest when all are gone = %d, want %d", got, last+1)
			}
		})
	}
	e := event(t, "2026-11-23T20:00:00Z", Duration{2, 1})
	tl := e.Timeline()
	if last, ok := tl.Last(); ok {
		t.Errorf("an event without end has a last segment, %d", last)
	}
	if tl.Finished(e.Start.Add(100 * 365 * day)) {
		t.Error("an event without end is finished")
	}
}

// A DVR window that ends before the deadline would take a segment away while
// it is waited for.
func TestDVRWindowCoversLateRendition(t *testing.T) {
	e := event(t, "2026-11-23T20:00:00Z", Duration{2, 1})
	e.DVRSeconds = 3
	late := e.Timeline().Late(4 * time.Second)
	if d := late.Deadline(10); late.Place(10, d) != Due {
		t.Errorf("at its deadline the segment is %v", late.Place(10, d))
	}
	absurd := e.Timeline().Late(math.MaxInt64)
	if got := absurd.Allowance(); got != 500*time.Millisecond+10*time.Minute {
		t.Errorf("an absurd lateness gives an allowance of %v", got)
	}
	absurd = e.Timeline().Late(math.MinInt64)
	if got := absurd.Allowance(); got != 0 {
		t.Errorf("an absurd earliness gives an allowance of %v", got)
	}
}

// A year of numbers at 29.97 fps: no drift, and every boundary in its place.
func TestYearOfNumbers(t *testing.T) {
	e := event(t, "2026-11-23T20:00:00Z", Duration{180180, 90000})
	tl := e.Timeline()
	const year = 15_752_247 // segments of 2.002 s in 365 days, rounded down
	for n := Number(1); n <= year; n += 997 {
		want := e.Start.Add(time.Duration(n-1) * 2002 * time.Millisecond)
		if !tl.Start(n).Equal(want) {
			t.Fatalf("Start(%d) = %v, want %v", n, tl.Start(n), want)
		}
		if tl.At(want) != n || tl.At(want.Add(-1)) != n-1 {
			t.Fatalf("the boundary before %d is not at %v", n, want)
		}
		start, end := tl.Media(n, 90000)
		if want := e.Start.Unix()*90000 + int64(n-1)*180180; start != want || end != want+180180 {
			t.Fatalf("Media(%d) = %d, %d, want %d", n, start, end, want)
		}
		if tl.NumberHolding(start, 90000) != n || tl.NumberHolding(start-1, 90000) != n-1 || tl.NumberNear(start+90089, 90000) != n {
			t.Fatalf("decode time %d is not that of %d", start, n)
		}
	}
	if got := tl.At(e.Start.Add(365 * day)); got != year+1 {
		t.Errorf("after a year the segment is %d, want %d", got, year+1)
	}
}

// Clocks that are nowhere near give a place, not a wrapped one.
func TestInstantsFarAway(t *testing.T) {
	e := event(t, "2026-11-23T20:00:00Z", Duration{2, 1})
	tl := e.Timeline()
	for _, tt := range []struct {
		at     time.Time
		place  Place
		edge   bool
		oldest Number
	}{
		{time.Time{}, Early, false, 1},
		{time.Unix(math.MinInt64/2, 0), Early, false, 1},
		{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), Gone, true, 0},
		{time.Unix(math.MaxInt64/2, 0), Gone, true, 0},
	} {
		if got := tl.Place(1, tt.at); got != tt.place {
			t.Errorf("Place(1, %v) = %v, want %v", tt.at, got, tt.place)
		}
		if got := tl.Edge(tt.at); (got > 1e9) != tt.edge || got < 0 {
			t.Errorf("Edge(%v) = %d", tt.at, got)
		}
		if got := tl.Oldest(tt.at); tt.oldest != 0 && got != tt.oldest || got < 1 {
			t.Errorf("Oldest(%v) = %d", tt.at, got)
		}
	}
}

func TestPlaceNames(t *testing.T) {
	want := []string{"never", "early", "due", "past", "gone"}
	for i, p := range Places {
		if p.String() != want[i] {
			t.Errorf("place %d is %q, want %q", i, p, want[i])
		}
	}
	if got := Place(9).String(); got != "place(9)" {
		t.Errorf("unknown place is %q", got)
	}
}

// The timeline is asked several times for every request.
func TestTimelineDoesNotAllocate(t *testing.T) {
	e := event(t, "2026-11-23T20:00:00.000000123Z", Duration{180180, 90000})
	c := Config{Event: e, LatenessMS: map[string]int64{"v720": 40}}
	now := e.Start.Add(time.Hour)
	var sink int64
	for name, f := range map[string]func(){
		"Place":           func() { tl := c.Timeline("v720"); sink += int64(tl.Place(1800, now)) },
		"Edge":            func() { tl := e.Timeline(); sink += int64(tl.Edge(now)) },
		"Oldest":          func() { tl := e.Timeline(); sink += int64(tl.Oldest(now)) },
		"Expected":        func() { tl := e.Timeline(); sink += tl.Expected(1800).UnixNano() },
		"Media":           func() { tl := e.Timeline(); s, n := tl.Media(1800, 48000); sink += s + n },
		"NumberNear":      func() { tl := e.Timeline(); sink += int64(tl.NumberNear(161514345600000, 90000)) },
		"lifetime of 404": func() { d, _ := ParseLifetime(lifetimeValue); sink += int64(d) },
	} {
		if got := testing.AllocsPerRun(100, f); got != 0 {
			t.Errorf("%s allocates %v times", name, got)
		}
	}
	_ = sink
}

var lifetimeValue = []string{"max-age=1, max-age-ms=1834"}

func BenchmarkPlace(b *testing.B) {
	for _, d := range []Duration{{2, 1}, {180180, 90000}, {88064, 44100}} {
		e := event(b, "2026-11-23T20:00:00Z", d)
		tl := e.Timeline()
		now := e.Start.Add(30 * day)
		edge := tl.Edge(now)
		b.Run(fmt.Sprintf("%d-%d", d.Ticks, d.Timescale), func(b *testing.B) {
			b.ReportAllocs()
			var sink Place
			for i := 0; b.Loop(); i++ {
				sink += tl.Place(edge-Number(i&15), now)
			}
			_ = sink
		})
	}
}

func BenchmarkEdge(b *testing.B) {
	e := event(b, "2026-11-23T20:00:00Z", Duration{180180, 90000})
	tl := e.Timeline()
	now := e.Start.Add(30 * day)
	b.ReportAllocs()
	var sink Number
	for b.Loop() {
		sink += tl.Edge(now)
	}
	_ = sink
}
