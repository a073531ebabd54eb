package origin

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/internal/need"
	"headwater/live"
	"headwater/store/memory"
)

// metricsText is what Prometheus scrapes.
func (r *rig) metricsText() string {
	return serve(r.ctl, request("GET", "/metrics", nil)).Body.String()
}

// wantMetrics checks lines of the scrape.
func (r *rig) wantMetrics(lines ...string) {
	r.Helper()
	text := r.metricsText()
	for _, line := range lines {
		if !strings.Contains(text, "\nheadwater_origin_"+line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			var have []string
			for l := range strings.SplitSeq(text, "\n") {
				if strings.HasPrefix(l, "headwater_origin_"+name) {
					have = append(have, l)
				}
			}
			r.Errorf("no line %s among\n%s", line, strings.Join(have, "\n"))
		}
	}
}

// TestMetricsByEvent: what is counted carries the event, what is known of it is
// read at the time, and all of it ends with the event.
func TestMetricsByEvent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r := newRig(t, Config{Store: st})
		r.wantMetrics(`publications_total{event="acme/final",outcome="created",pipeline="b"} 0`,
			`segments_served_total{event="acme/final",pipeline="b"} 0`,
			`decisions_total{event="acme/final",reason="none-published"} 0`,
			`refusals_total{event="acme/final",problem="lost",side="deliver"} 0`,
			`last_publication_timestamp_seconds{event="acme/final",pipeline="b",rendition="v"} 0`,
			`init_refused{event="acme/final",pipeline="b",rendition="v"} 0`)
		r.putInits("a", "b")
		n := r.next()
		r.putSegment("b", "v", n-2, take{}, 201) // of the past: what counts is the newest
		until(r.tl.Expected(n).Add(750 * time.Millisecond))
		r.putSegment("a", "v", n, take{lose: 30}, 201)
		r.putSegment("a", "v", n-1, take{}, 201)
		r.want(r.getSegment("v", n-1), 200, "")
		r.want(r.getSegment("v", n+30), 404, "early")
		until(r.tl.Expected(n + 1).Add(-250 * time.Millisecond))
		r.putSegment("b", "v", n+1, take{}, 201)
		time.Sleep(time.Millisecond)
		r.refuseInit()
		lines := []string{
			`live_edge{event="acme/final"} ` + (n + 1).String(),
			`last_publication_timestamp_seconds{event="acme/final",pipeline="a",rendition="v"} ` + fmt.Sprint(float64(r.tl.Expected(n).Add(750*time.Millisecond).UnixMilli())/1000),
			`lateness_seconds{event="acme/final",pipeline="a",rendition="v"} 0.75`,
			`lateness_seconds{event="acme/final",pipeline="b",rendition="v"} -0.25`,
		}
		r.wantMetrics(append(lines,
			`init_refused{event="acme/final",pipeline="a",rendition="v"} 1`,
			`init_refused{event="acme/final",pipeline="a",rendition="w"} 0`,
			`publications_total{event="acme/final",outcome="created",pipeline="a"} 5`,
			`defects_total{event="acme/final",kind="short",pipeline="a"} 1`,
			`segments_served_total{event="acme/final",pipeline="a"} 1`,
			`refusals_total{event="acme/final",problem="early",side="deliver"} 1`,
			`refusals_total{event="acme/final",problem="init-differs",side="publish"} 1`)...)
		// The tables are there after a restart, and with them the gauges.
		openRig(t, Config{Store: st}).wantMetrics(append(lines, `init_refused{event="acme/final",pipeline="a",rendition="v"} 1`)...)

		// A request on its way ends after its event, and brings nothing back.
		ch := r.ask(t.Context(), "w/"+live.SegmentName(n+1))
		synctest.Wait()
		r.want(r.control("DELETE", "?yes=true", ""), 204, "")
		r.want(<-ch, 404, "no-such-event")
		r.want(r.getSegment("v", n), 404, "no-such-event")
		if text := r.metricsText(); strings.Contains(text, "acme/final") {
			t.Errorf("series of a deleted event: %s", text[strings.Index(text, "acme/final")-80:][:200])
		}
		r.wantMetrics(`refusals_total{event="",problem="no-such-event",side="deliver"} 2`)
	})
}

// TestMetricsAreClean: promtool has nothing to say about them.
func TestMetricsAreClean(t *testing.T) {
	path := need.Program(t, "promtool")
	r := newRig(t, Config{Metrics: prometheus.NewRegistry()})
	r.putInits("a")
	cmd := exec.CommandContext(t.Context(), path, "check", "metrics")
	cmd.Stdin = strings.NewReader(r.metricsText())
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
