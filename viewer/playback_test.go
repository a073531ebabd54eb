package viewer

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"headwater/live"
)

const (
	sec = time.Second
	ms  = time.Millisecond
)

func TestPlaybackBegins(t *testing.T) {
	e := testEvent()
	tl := e.Timeline()
	start := tl.Start(10)
	for _, c := range []struct {
		name    string
		latency time.Duration
		at      time.Duration // of the first segment, after its start
		delay   time.Duration
	}{
		{"in time", 5 * sec, 2500 * ms, 5 * sec},
		{"within the segment", 5 * sec, 6900 * ms, 5 * sec},
		{"too late for that", 5 * sec, 7100 * ms, 7100 * ms},
		{"whenever", -1, 600 * sec, 600 * sec},
	} {
		p := newPlayback(1, 10, c.latency)
		var got []step
		p.answer(&tl, 10, slot{at: start.Add(c.at)}, func(s step) { got = append(got, s) })
		if len(got) != 1 || !got[0].begins || got[0].stall != 0 || got[0].delay != c.delay {
			t.Errorf("%s: %+v, want a delay of %v", c.name, got, c.delay)
		}
	}
}

func TestPlaybackWaitsForAllTracks(t *testing.T) {
	e := testEvent()
	tl := e.Timeline()
	at := func(n live.Number, d time.Duration) slot { return slot{at: tl.Start(n).Add(d)} }
	p := newPlayback(2, 1, 5*sec)
	var got []step
	yield := func(s step) { got = append(got, s) }
	for n := live.Number(1); n <= 4; n++ {
		p.answer(&tl, n, at(n, 2600*ms), yield) // video is ahead
	}
	if len(got) != 0 {
		t.Fatalf("%+v without audio", got)
	}
	p.answer(&tl, 1, at(1, 2600*ms), yield)
	p.answer(&tl, 2, at(2, 5700*ms), yield)
	if len(got) != 2 || got[1].stall != 700*ms || got[1].delay != 5700*ms {
		t.Fatalf("%+v, want a stall of 700 ms at number 2", got)
	}
	if d := p.standing(&tl, tl.Start(3).Add(5701*ms)); d != ms {
		t.Errorf("standing for %v, want 1 ms", d)
	}
	if d := p.standing(&tl, tl.Start(3).Add(5699*ms)); d != 0 {
		t.Errorf("standing for %v before its time", d)
	}
}

// However segments come, the picture moves or stands: what was shown and what
// was stood add up to the time that went by, and nothing is played before it came.
func TestPlaybackAddsUp(t *testing.T) {
	e := testEvent()
	tl := e.Timeline()
	rapid.Check(t, func(t *rapid.T) {
		tracks := rapid.IntRange(1, 3).Draw(t, "tracks")
		latency := time.Duration(rapid.IntRange(-1, 10000).Draw(t, "latency")) * ms
		count := rapid.IntRange(1, 40).Draw(t, "segments")
		p := newPlayback(tracks, 5, latency)
		next := make([]live.Number, tracks)
		last := make([]time.Time, tracks)
		for i := range next {
			next[i] = 5
		}
		arrived := map[live.Number]time.Time{}
		lost := map[live.Number]bool{}
		var steps []step
		for len(steps) < count {
			i := rapid.IntRange(0, tracks-1).Draw(t, "track")
			n := next[i]
			at := tl.End(n).Add(time.Duration(rapid.IntRange(0, 9000).Draw(t, "lag")) * ms)
			if at.Before(last[i]) {
				at = last[i]
			}
			s := slot{at: at, lost: rapid.IntRange(0, 9).Draw(t, "lost") == 0}
			last[i], next[i] = at, n+1
			if at.After(arrived[n]) {
				arrived[n] = at
			}
			lost[n] = lost[n] || s.lost
			p.answer(&tl, n, s, func(x step) { steps = append(steps, x) })
		}
		var stood time.Duration
		for i, x := range steps {
			if x.n != 5+live.Number(i) {
				t.Fatalf("step %d is of %d", i, x.n)
			}
			if x.begins != (i == 0) || x.lost != lost[x.n] || x.lost && x.stall > 0 {
				t.Fatalf("%+v", x)
			}
			stood += x.stall
			if x.delay != steps[0].delay+stood {
				t.Fatalf("delay %v after stalls of %v from %v", x.delay, stood, steps[0].delay)
			}
			played := tl.Start(x.n).Add(x.delay)
			if i > 0 && !x.lost && played.Before(arrived[x.n]) {
				t.Fatalf("%d played %v before it came", x.n, arrived[x.n].Sub(played))
			}
			if x.stall > 0 && !played.Equal(arrived[x.n]) {
				t.Fatalf("%d came %v before its stall ended", x.n, played.Sub(arrived[x.n]))
			}
		}
	})
}
