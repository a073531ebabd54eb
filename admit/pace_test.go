package admit

import (
	"testing"
	"time"
)

func TestPaceShedsTheLowestFirst(t *testing.T) {
	now := time.Unix(1000, 0)
	p := NewPace(100 * time.Millisecond)
	observe := func(n int, d time.Duration, failed bool) {
		for range n {
			p.Observe(now, d, failed)
		}
	}
	want := func(what string, open ...Class) {
		t.Helper()
		for _, c := range Classes {
			in := false
			for _, o := range open {
				in = in || o == c
			}
			if got := p.Enter(c, now); got != in {
				t.Errorf("%s: %v enters: %v", what, c, got)
			}
		}
	}
	want("nothing known", Publish, Live, DVR, Rest)
	observe(10, time.Second, false)
	want("too little known", Publish, Live, DVR, Rest)
	observe(190, 100*time.Millisecond, false)
	want("5% slow", Publish, Live, DVR, Rest)
	observe(20, 101*time.Millisecond, false)
	want("14% slow", Publish, Live, DVR)
	now = now.Add(time.Second)
	observe(100, time.Millisecond, true)
	want("40% slow or failed", Publish, Live)
	observe(1000, time.Second, false)
	want("all slow", Publish, Live)
	now = now.Add((paceBuckets - 1) * time.Second)
	want("still remembered", Publish, Live)
	now = now.Add(time.Second)
	want("forgotten", Publish, Live, DVR, Rest)
	if p.Shed(DVR) != 3 || p.Shed(Rest) != 4 || p.Shed(Live) != 0 || p.Slow(now) != 0 {
		t.Errorf("shed %d, %d, %d; %v slow", p.Shed(DVR), p.Shed(Rest), p.Shed(Live), p.Slow(now))
	}
}
