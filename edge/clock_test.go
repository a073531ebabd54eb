package edge

import (
	"net/http"
	"testing"
	"time"

	"headwater/live"
)

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
