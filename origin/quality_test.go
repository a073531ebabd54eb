package origin

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/clock"
	"headwater/live"
	"headwater/store/memory"
)

// publishAs publishes a segment of the video that somebody says something of.
func (r *rig) publishAs(pipeline string, n live.Number, headers ...string) {
	r.Helper()
	r.want(r.put(pipeline+"/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{mark: pipeline}), headers...), 201, "")
}

// verdict says something of a segment that is published.
func (r *rig) verdict(pipeline string, n live.Number, quality string, status int, code string) string {
	r.Helper()
	w := r.want(r.put(pipeline+"/v/"+live.SegmentName(n), nil, "Live-Quality", quality), status, code)
	return w.Header().Get("Live-Quality")
}

// TestBlackLoses: what the encoder says of its segment, by either header, decides among
// those of which nothing is missing; and a black programme is served as it is, at once.
func TestBlackLoses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		n := r.next()
		r.publishAs("a", n, "Live-Quality", "black;ms=99999, frozen;ms=3")
		r.publishAs("b", n)
		w := r.want(r.getSegment("v", n), 200, "")
		if served(w) != "b;region=west" || w.Header().Get("Live-Quality") != "" {
			t.Fatalf("%s %q is served", served(w), w.Header().Get("Live-Quality"))
		}
		until(r.tl.End(n + 1))
		r.publishAs("a", n+1, "Live-Quality", "score=80")
		r.publishAs("b", n+1, "CMSD-Static", "br=3000,com.example-mqcs=10")
		if w := r.getSegment("v", n+1); served(w) != "a;region=east" || w.Header().Get("Live-Quality") != "score=80" {
			t.Fatalf("%s %q is served", served(w), w.Header().Get("Live-Quality"))
		}
		until(r.tl.End(n + 2))
		r.publishAs("a", n+2, "Live-Quality", "black;ms=2000")
		r.publishAs("b", n+2, "Live-Quality", "black;ms=2000")
		asked := time.Now()
		w = r.want(r.getSegment("v", n+2), 200, "")
		if w.Header().Get("Live-Quality") != "black;ms=2000" || time.Since(asked) > 0 {
			t.Fatalf("%q is served after %v", w.Header().Get("Live-Quality"), time.Since(asked))
		}
		id := r.id.String()
		for name, want := range map[string]float64{
			fmt.Sprintf(`quality_total{event=%q,kind="black",pipeline="a"}`, id):  2,
			fmt.Sprintf(`quality_total{event=%q,kind="frozen",pipeline="a"}`, id): 1,
			fmt.Sprintf(`quality_total{event=%q,kind="score",pipeline="b"}`, id):  1,
			fmt.Sprintf(`quality_total{event=%q,kind="silent",pipeline="b"}`, id): 0,
		} {
			if got := r.counted(name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
	})
}

// TestVerdictComesLate: it changes nothing of what was served, and counts for what
// comes, at both nodes, and after a restart.
func TestVerdictComesLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDuo(t)
		r, n := d.one, d.one.next()
		r.publishAs("a", n)
		r.publishAs("b", n)
		if w := r.getSegment("v", n); served(w) != "a;region=east" {
			t.Fatalf("%s is served", served(w))
		}
		if got := r.verdict("a", n, "black;ms=2000", 200, ""); got != "black;ms=2000" {
			t.Fatalf("answered %q", got)
		}
		if got := r.verdict("a", n, "score=100", 200, ""); got != "black;ms=2000" {
			t.Fatalf("a good word hides a bad one: %q", got)
		}
		for _, node := range []*rig{d.one, d.two} {
			if w := node.getSegment("v", n); served(w) != "a;region=east" || w.Header().Get("Live-Quality") != "black;ms=2000" {
				t.Fatalf("%s %q is served of what was served before", served(w), w.Header().Get("Live-Quality"))
			}
		}
		until(r.tl.End(n + 1))
		r.publishAs("a", n+1)
		r.publishAs("b", n+1)
		if w := d.two.getSegment("v", n+1); served(w) != "b;region=west" {
			t.Fatalf("%s is served at the other node", served(w))
		}
		// A verdict on what nobody has asked for yet.
		until(r.tl.End(n + 2))
		r.publishAs("a", n+2)
		r.publishAs("b", n+2)
		r.verdict("b", n+2, "frozen;ms=2000", 200, "")
		r.verdict("a", n+2, "score=90", 200, "")
		if w := d.two.getSegment("v", n+2); served(w) != "a;region=east" {
			t.Fatalf("%s is served", served(w))
		}
		if got := r.history("v", n+1); got != "b poor-quality | serve b pinned" {
			t.Errorf("history: %s", got)
		}
		r.want(r.control("GET", "/segments", ""), 200, "")
	})
}

func TestVerdictsAreDurable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r, stop := stoppableRig(t, Config{Store: st})
		r.create(testEvent())
		r.putInits("a", "b")
		n := r.next()
		r.publishAs("a", n, "Live-Quality", "silent;ms=700")
		r.publishAs("b", n)
		r.verdict("a", n, "black;ms=300", 200, "")
		time.Sleep(time.Second)
		r.verdict("a", n, "black;ms=1900", 200, "") // it was worse
		time.Sleep(time.Second)
		synctest.Wait()
		stop()
		again := openRig(t, Config{Store: st})
		c, ok := again.o.book.Get(again.id).Candidate("v", n, "a")
		if !ok || c.Quality.String() != "black;ms=1900, silent;ms=700" {
			t.Fatalf("%v of %v", c.Quality, c)
		}
	})
}

func TestVerdictsThatAreNone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		n := r.next()
		r.verdict("a", n, "black;ms=2000", 404, "not-found")
		r.publishAs("b", n)
		r.verdict("a", n, "black;ms=2000", 404, "not-found")
		r.verdict("b", n, "black=2000", 400, "bad-header")
		r.verdict("b", n, "other", 400, "malformed-media") // nothing is said, so it is a body without a byte
		r.verdict("b", n+1000, "score=3", 400, "number-in-future")
		// Sent again with the segment it counts as well.
		w := r.want(r.put("b/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{mark: "b"}), "Live-Quality", "score=3"), 200, "")
		if got := w.Header().Get("Live-Quality"); got != "score=3" {
			t.Fatalf("%q", got)
		}
	})
}

// TestVerdictTellsNoTime: it comes when somebody has watched, not when its segment was over.
func TestVerdictTellsNoTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		clk := clock.New(clock.Config{})
		r := newRig(t, Config{Clock: clk})
		r.putInits("a")
		n := r.next()
		r.publishAs("a", n, "Live-Clock", live.ClockSaid{Time: time.Now()}.String())
		r.verdict("a", n, "black;ms=2000", 200, "")
		heard := func(of clock.Kind) float64 {
			reg := prometheus.NewRegistry()
			reg.MustRegister(clk)
			all, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range all {
				for _, m := range f.Metric {
					if f.GetName() == "headwater_clock_sources" && m.Label[0].GetValue() == string(of) {
						return m.GetGauge().GetValue()
					}
				}
			}
			t.Fatalf("no %s is counted", of)
			return 0
		}
		if packagers, pipelines := heard(clock.Packager), heard(clock.Pipeline); packagers != 1 || pipelines != 0 {
			t.Errorf("%v packagers and %v pipelines are heard", packagers, pipelines)
		}
		r.publishAs("a", n-1)
		if got := heard(clock.Pipeline); got != 1 {
			t.Errorf("%v pipelines are heard", got)
		}
	})
}
