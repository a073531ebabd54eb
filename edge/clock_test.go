package edge

import (
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"

	"headwater/live"
)

// Whatever the ways there and back take, the offset is off by no more than half
// of the shortest round trip and what rounding takes.
func TestClockOffset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offset := time.Duration(rapid.Int64Range(-5e9, 5e9).Draw(t, "offset"))
		var c clock
		now, shortest := time.Unix(1e9, 0), time.Hour
		for range rapid.IntRange(1, 8).Draw(t, "samples") {
			there := time.Duration(rapid.Int64Range(0, 3e8).Draw(t, "there"))
			back := time.Duration(rapid.Int64Range(0, 3e8).Draw(t, "back"))
			told := now.Add(there + offset).Truncate(time.Millisecond)
			c.sample(now, now.Add(there+back), told)
			shortest = min(shortest, there+back)
			now = now.Add(time.Duration(rapid.Int64Range(1e6, 2e9).Draw(t, "pause")))
		}
		if d := (c.offset - offset).Abs(); d > shortest+clockGrain {
			t.Fatalf("off by %v, the shortest round trip was %v", d, shortest)
		}
	})
}

func TestClocksThatAgreeAreLeftAlone(t *testing.T) {
	var c clock
	for i := range 100 {
		asked := time.Unix(1e9, int64(i)*77_777_777)
		c.sample(asked, asked.Add(time.Duration(i)*time.Microsecond), asked.Add(time.Duration(i)*300*time.Nanosecond).Truncate(time.Millisecond))
	}
	if c.offset != 0 {
		t.Errorf("the offset is %v", c.offset)
	}
}

// The parent's clock is 5 s ahead: its events are placed by it.
func TestParentsClockCounts(t *testing.T) {
	for _, offset := range []time.Duration{5 * time.Second, -1500 * time.Millisecond} {
		run(t, 1, func(r *rig) {
			r.parent.mu.Lock()
			r.parent.clock = func(w http.ResponseWriter, _ *http.Request) {
				w.Write([]byte(time.Now().Add(offset).UTC().Format(live.TimeLayout)))
			}
			r.parent.mu.Unlock()
			r.at(1100 * time.Millisecond)
			r.know()
			r.at(20 * time.Second)
			now := 20*time.Second + offset
			// The next that is early, by the parent's clock.
			n := live.Number((now+1500*time.Millisecond)/(2*time.Second)) + 1
			due := time.Duration(n)*2*time.Second - 1500*time.Millisecond
			v := r.get("/t/e/v/" + live.SegmentName(n))
			left, _ := live.ParseLifetime([]string{v.got("Cache-Control")})
			if v.status() != 404 || (left-(due-now)).Abs() > clockGrain {
				t.Errorf("%v: %d, due in %v, said %v", offset, v.status(), due-now, left)
			}
			// What is due by it is held to its deadline.
			r.parent.script(func(w http.ResponseWriter, q *http.Request) { <-q.Context().Done() })
			v = r.get("/t/e/v/" + live.SegmentName(n-1))
			deadline := time.Duration(n-1)*2*time.Second + 2500*time.Millisecond - offset
			if d := v.ended.Sub(r.began); v.status() != 503 || (d-deadline-grace).Abs() > clockGrain {
				t.Errorf("%v: %d after %v, the deadline is %v", offset, v.status(), d, deadline)
			}
			told, err := time.Parse(live.TimeLayout, r.get("/time").text())
			if err != nil || told.Sub(time.Now().Add(offset)).Abs() > clockGrain {
				t.Errorf("%v: /time is off by %v, %v", offset, told.Sub(time.Now().Add(offset)), err)
			}
			if o := r.metric("clock_offset_seconds"); (time.Duration(o*1e9) - offset).Abs() > clockGrain {
				t.Errorf("%v: the offset is %v", offset, o)
			}
		})
	}
}
