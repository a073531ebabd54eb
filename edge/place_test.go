package edge

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"headwater/live"
)

// The event starts with the test; segments last 2 s, are expected 500 ms after
// their last frame, may be asked for 2 s before that, and are waited for 2 s after.

func TestPlaceRefusesWithoutAsking(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.at(100*time.Second + 3*time.Millisecond + 700*time.Microsecond)
		for _, c := range []struct {
			path     string
			status   int
			lifetime time.Duration
			outcome  Outcome
			problem  string
		}{
			// Segment 52 is due at 102.5 s.
			{"/t/e/v/52.m4s", 404, 2496 * time.Millisecond, Early, "early"},
			{"/t/e/v/53.m4s", 404, 4496 * time.Millisecond, Early, "early"},
			{"/t/e/v/0.m4s", 404, time.Hour, Never, "never"},
			// The DVR window is 60 s: the last frame of 20 was at 40 s.
			{"/t/e/v/20.m4s", 410, time.Hour, Gone, "gone"},
			{"/t/e/nothing/5.m4s", 404, time.Minute, Never, "no-such-rendition"},
			{"/t/e/v/k45.m4s", 404, 10 * time.Second, Never, "no-key-frame"},
			{"/t/e/v/iframes.m3u8", 404, 10 * time.Second, Never, "no-key-frame"},
			{"/t/e/v/5.ts", 404, time.Minute, "", "not-found"},
		} {
			a := r.get(c.path)
			a.expect(c.status, c.lifetime)
			if !strings.Contains(a.text(), ":"+c.problem+`"`) {
				t.Errorf("%s: %s", c.path, a.text())
			}
			if c.outcome != "" && a.got("Cache-Status") != "headwater;detail="+string(c.outcome) {
				t.Errorf("%s: Cache-Status %q", c.path, a.got("Cache-Status"))
			}
			if a.got("Live-Version") != "1" && c.problem != "not-found" {
				t.Errorf("%s: Live-Version %q", c.path, a.got("Live-Version"))
			}
			if n := r.parent.asks(c.path); n != 0 {
				t.Errorf("%s: the parent was asked %d times", c.path, n)
			}
		}
		for o, want := range map[Outcome]float64{Never: 4, Early: 2, Gone: 1} {
			if n := r.metric("requests_total", "outcome", string(o)); n != want {
				t.Errorf("%s was counted %v times", o, n)
			}
		}
	})
}

func TestPlaceAfterTheEnd(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) { c.End = c.Start.Add(20 * time.Second) })
		r.know()
		r.get("/t/e/v/11.m4s").expect(404, time.Minute)
		r.at(19 * time.Second)
		r.get("/t/e/v/9.m4s").expect(200, 10*time.Minute)
	})
}

func TestPlaceHeedsLateness(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) { c.LatenessMS = map[string]int64{"v": 300} })
		r.know()
		// Segment 2 is due at 2.5 s, and its video 300 ms later.
		r.at(2400 * time.Millisecond)
		r.get("/t/e/v/2.m4s").expect(404, 400*time.Millisecond)
		r.get("/t/e/s/2.m4s").expect(404, 100*time.Millisecond)
	})
}

func TestRefusedMethodsAndPreflight(t *testing.T) {
	run(t, 1, func(r *rig) {
		a := r.get("/t/e/v/1.m4s", method("DELETE"))
		if a.expect(405, time.Minute); a.got("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("Allow %q", a.got("Allow"))
		}
		a = r.get("/t/e/v/1.m4s", method("OPTIONS"))
		if a.status() != 204 || a.got("Access-Control-Allow-Origin") != "*" {
			t.Errorf("preflight: %d %v", a.status(), a.sent)
		}
		if n := r.parent.asks("/t/e/event.json"); n != 0 {
			t.Errorf("the parent was asked %d times", n)
		}
	})
}

func TestLoopIsRefused(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.at(3 * time.Second)
		var loop string
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			loop = q.Header.Get("CDN-Loop")
			serveBytes(w, q, segment(q))
		})
		r.get("/t/e/v/1.m4s", with("CDN-Loop", "elsewhere")).expect(200, 10*time.Minute)
		if !strings.HasPrefix(loop, "headwater;node=n") {
			t.Fatalf("CDN-Loop %q", loop)
		}
		if a := r.get("/t/e/v/1.m4s", with("CDN-Loop", loop)); a.status() != 508 {
			t.Errorf("status %d, want 508", a.status())
		}
		// Another node that goes by the same name is not a loop.
		if a := r.get("/t/e/v/1.m4s", with("CDN-Loop", "headwater;node=n000000000000")); a.status() != 200 {
			t.Errorf("status %d, want 200", a.status())
		}
	})
}

func TestMetricsAreThereFromTheStart(t *testing.T) {
	run(t, 1, func(r *rig) {
		a := r.get("/metrics")
		for _, o := range Outcomes {
			if !strings.Contains(a.text(), `headwater_edge_requests_total{outcome="`+string(o)+`"} 0`) {
				t.Errorf("there is no counter of %s", o)
			}
		}
		for _, p := range live.Problems {
			if !strings.Contains(a.text(), `headwater_edge_refusals_total{problem="`+p.Code+`"} 0`) {
				t.Errorf("there is no counter of %s", p.Code)
			}
		}
		r.know()
		// Each rendition of an event has its counter as soon as the event is known.
		for _, s := range []string{"v", "s"} {
			if n := r.metric("origin_requests_total", "event", "t/e", "rendition", s); n != 0 {
				t.Errorf("%v requests of %s", n, s)
			}
		}
	})
}
