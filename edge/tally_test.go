package edge

import (
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"headwater/live"
)

// Whatever a viewer is answered is counted, by event, status and problem,
// whoever refused; and what is sent by pipeline and finding.
func TestAnswersAreCounted(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.parent.set(live.HeaderEdge, "6")
		r.know()
		r.at(13 * time.Second)
		r.parent.script(func(w http.ResponseWriter, req *http.Request) {
			switch p, _ := live.ParsePath(req.URL.Path); p.Number {
			case 2:
				w.Header().Set(live.HeaderDefects, "short;ms=40, gap;ms=80, new-kind")
				serveBytes(w, req, segment(req))
			case 3:
				live.ErrLost.For(2*time.Second).With("nobody published it").Write(w, req)
			case 4:
				http.Error(w, "not one of ours", http.StatusGone)
			case 5:
				w.WriteHeader(http.StatusUnavailableForLegalReasons)
			default:
				serveBytes(w, req, segment(req))
			}
		})
		count := func(v *viewer) { <-v.closed }
		for path, times := range map[string]int{"1": 3, "2": 2, "3": 2, "4": 1, "5": 1, "99": 2} {
			for range times {
				count(r.ask("/t/e/v/" + path + ".m4s"))
			}
		}
		count(r.ask("/t/e/v/1.m4s", with("Range", "bytes=0-9")))
		count(r.ask("/t/e/v/1.m4s", with("If-None-Match", live.DigestOf([]byte(bodyOf("/t/e/v/1.m4s"))).ETag())))
		count(r.ask("/t/e/v/1.m4s", method("HEAD")))
		count(r.ask("/t/unheard/v/1.m4s"))
		for _, c := range []struct {
			event, status, problem string
			want                   float64
		}{
			{"t/e", "200", "", 7}, // event.json, 1 three times and as HEAD, 2 twice
			{"t/e", "206", "", 1}, {"t/e", "304", "", 1}, {"t/e", "410", "lost", 2}, {"t/e", "410", "other", 1},
			{"t/e", "other", "other", 1}, {"t/e", "404", "early", 2}, {"t/e", "503", "upstream-unavailable", 0},
			{"other", "404", "no-such-event", 1}, {"other", "200", "", 0},
		} {
			if got := r.metric("answers_total", "event", c.event, "status", c.status, "problem", c.problem); got != c.want {
				t.Errorf("%s %s %q: %v answers, want %v", c.event, c.status, c.problem, got, c.want)
			}
		}
		for problem, want := range map[string]float64{"lost": 2, "early": 2, "other": 2, "no-such-event": 1} {
			if got := r.metric("refusals_total", "problem", problem); got != want {
				t.Errorf("%v refused as %s, want %v", got, problem, want)
			}
		}
		for kind, want := range map[string]float64{"short": 2, "gap": 2, "other": 2, "overlap": 0} {
			if got := r.metric("sent_defects_total", "event", "t/e", "pipeline", "a", "defect", kind); got != want {
				t.Errorf("%v %s sent, want %v", got, kind, want)
			}
		}
		if a, b := r.metric("sent_segments_total", "event", "t/e", "pipeline", "a"), r.metric("sent_segments_total", "event", "t/e", "pipeline", "b"); a != 5 || b != 0 {
			t.Errorf("%v of a and %v of b sent", a, b)
		}
		if n := r.metric("live_edge", "event", "t/e"); n != 6 {
			t.Errorf("the live edge is %v", n)
		}
	})
}

// Names and units are as Prometheus has them.
func TestMetricsAreWellNamed(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		families, err := r.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		problems, err := promlint.NewWithMetricFamilies(families).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("%v %v", problems, err)
		}
	})
}
