package viewer

import (
	"context"
	"log"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
)

// A stage is a scripted server in a bubble, and a configuration that goes there.
type stage struct {
	*script
	pipes  *pipes
	server *http.Server
	cfg    Config
}

// play runs viewers against a script in virtual time. The bubble begins at
// midnight of 2000-01-01; the event has begun at 30 s before, so that there is
// something to join.
func play(t *testing.T, s *script, cfg Config, during func(*stage)) *Report {
	t.Helper()
	var out *Report
	synctest.Test(t, func(t *testing.T) {
		if s.event.Renditions == nil {
			s.event = testEvent()
		}
		s.event.Start = s.now().UTC().Add(s.startIn - 30*time.Second)
		if s.version == 0 {
			s.version = 1
		}
		p := newPipes()
		st := &stage{script: s, pipes: p, server: &http.Server{Handler: s, ErrorLog: log.New(discard{}, "", 0)}, cfg: cfg}
		served := make(chan struct{})
		go func() {
			defer close(served)
			st.server.Serve(p)
		}()
		if len(cfg.Edges) == 0 {
			st.cfg.Edges = []string{"http://127.0.0.1:8080"}
		}
		st.cfg.Event = live.EventID{Tenant: "t", Name: "e"}
		st.cfg.Dial = p.Dial
		st.cfg.Jitter, st.cfg.JoinOver = -1, max(cfg.JoinOver, -1)
		if cfg.JoinOver == 0 {
			st.cfg.JoinOver = -1
		}
		if during != nil {
			go during(st)
		}
		r, err := Run(t.Context(), st.cfg)
		if err != nil {
			t.Error(err)
		}
		out = r
		close(p.accept)
		st.server.Close()
		<-served
	})
	if out == nil {
		t.FailNow()
	}
	return out
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func clean(t *testing.T, r *Report) {
	t.Helper()
	if n := r.Noticed(); len(n) > 0 {
		t.Errorf("noticed: %v", n)
	}
}

func wantErrors(t *testing.T, r *Report, want ...string) {
	t.Helper()
	var got []string
	for _, e := range r.Errors {
		got = append(got, e.Error)
	}
	if !slices.Equal(got, want) {
		t.Errorf("errors %q, want %q", got, want)
	}
}

func TestSteadyViewerNoticesNothing(t *testing.T) {
	s := &script{}
	r := play(t, s, Config{Duration: 20 * time.Second}, nil)
	clean(t, r)
	// Joined 30 s into the event, 5 s behind: number 13 is on screen, and 25 is
	// the last to end, 100 ms before it is there, in the 20 s that follow.
	// Two tracks of each.
	if want := int64(2 * (24 - 13 + 1)); r.Segments != want {
		t.Errorf("%d segments, want %d", r.Segments, want)
	}
	if r.Statuses["200"] != r.Segments+2 || len(r.Statuses) != 1 {
		t.Errorf("statuses %v: every request but for two init segments is a segment", r.Statuses)
	}
	// Ten numbers were asked for a second before they were expected, that is
	// half a second before their last frame, and were there 100 ms after it.
	if q := r.Hold; q.Max != 600 || q.Count != 20 {
		t.Errorf("held %+v, want 20 times 600 ms", q)
	}
	if got := r.SlowestSegments; len(got) != 10 || got[0].Count != 1 || got[0].Number < 15 {
		t.Errorf("slowest segments %+v", got)
	}
	if q := r.PublishToViewer; q.Max != 0 || q.Count != 20 {
		t.Errorf("publish to viewer %+v, want 20 times 0", q)
	}
	if q := r.Latency; q.P50 != 5000 || q.Max != 5000 {
		t.Errorf("latency %+v, want 5 s: a segment, the allowance, the budget, and a quarter", q)
	}
	if r.Verified != r.Segments || r.VerifiedShare != 1 || r.Inspected != r.Segments {
		t.Errorf("verified %d, inspected %d of %d", r.Verified, r.Inspected, r.Segments)
	}
	if r.ServedBy["a"] != r.Segments || r.Switches != 0 {
		t.Errorf("served by %v, %d switches", r.ServedBy, r.Switches)
	}
	if r.Sessions != 1 || r.Watching != 0 || r.Waiting != 0 || r.ElapsedMS != 20000 {
		t.Errorf("sessions %d, watching %d, waiting %d, %d ms", r.Sessions, r.Watching, r.Waiting, r.ElapsedMS)
	}
}

func TestLateSegmentStallsExactly(t *testing.T) {
	// Played at Start + 5 s, that is End + 3 s: a lag of 3,250 ms is a stall
	// of 250 ms. The viewer is then 5,250 ms behind, so that the same again is
	// none, and 3,400 ms is one of 150 ms.
	s := &script{event: testEvent()}
	s.event.BudgetMS = 4000
	s.rewrite = func(rendition string, n live.Number) scripted {
		switch {
		case n == 18 && rendition == "v720":
			return scripted{lag: 3250 * time.Millisecond}
		case n == 20:
			return scripted{lag: 3250 * time.Millisecond}
		case n == 22 && rendition == "a-en":
			return scripted{lag: 3400 * time.Millisecond}
		}
		return scripted{}
	}
	r := play(t, s, Config{Duration: 30 * time.Second, Latency: 5 * time.Second}, nil)
	wantErrors(t, r)
	if r.Stalls != 2 || r.StallMS != 400 {
		t.Errorf("%d stalls of %g ms, want 2 of 400", r.Stalls, r.StallMS)
	}
	if r.Latency.Max != 5400 {
		t.Errorf("latency %+v, want 5400 at last", r.Latency)
	}
	if len(r.Noticed()) != 1 {
		t.Errorf("noticed %q", r.Noticed())
	}
}

func TestStallThatLastsToTheEnd(t *testing.T) {
	// From number 20 on nothing comes. It begins 8 s after the viewer joined, is
	// to be played 5 s later, and the run ends 7 s after that.
	s := &script{event: testEvent()}
	s.event.BudgetMS = 60000
	s.rewrite = func(_ string, n live.Number) scripted {
		if n >= 20 {
			return scripted{lag: time.Hour}
		}
		return scripted{}
	}
	r := play(t, s, Config{Duration: 20 * time.Second, Latency: 5 * time.Second}, nil)
	if r.Stalls != 1 || r.StallMS != 7000 {
		t.Errorf("%d stalls of %g ms, want 1 of 7000", r.Stalls, r.StallMS)
	}
	wantErrors(t, r)
}

func TestLostSegmentIsAGapAndNoError(t *testing.T) {
	s := &script{rewrite: func(_ string, n live.Number) scripted { return scripted{lost: n == 18} }}
	r := play(t, s, Config{Duration: 30 * time.Second}, nil)
	wantErrors(t, r)
	if r.Gaps != 1 || r.Stalls != 0 || r.Statuses["410"] != 2 {
		t.Errorf("gaps %d, stalls %d, statuses %v; want one gap, told to both tracks", r.Gaps, r.Stalls, r.Statuses)
	}
	if len(r.Lost) != 2 || r.Lost["v720/18"] != 1 || r.Lost["a-en/18"] != 1 {
		t.Errorf("lost %v", r.Lost)
	}
	if r.Latency.Max != 5000 {
		t.Errorf("latency %+v: a gap costs none", r.Latency)
	}
}

func TestWrongBytes(t *testing.T) {
	for _, c := range []struct {
		name string
		x    scripted
		want []string
	}{
		{"corrupt", scripted{corrupt: true}, []string{"digest mismatch"}},
		{"shifted", scripted{shift: 5, defects: "gap;ms=200"}, nil},
		{"shifted and not said", scripted{shift: 5}, []string{"undeclared defects: gap, overlap", "media that leaves a hole after the segment before", "media that overlaps the segment before"}},
		{"short", scripted{drop: 10, defects: "short;ms=400"}, nil},
		{"short and not said", scripted{drop: 10}, []string{"undeclared defects: short", "media that leaves a hole after the segment before"}},
		{"repeated", scripted{repeat: 19}, []string{"undeclared defects: overlap", "media that repeats", "media that leaves a hole after the segment before"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{rewrite: func(r string, n live.Number) scripted {
				if n == 20 && r == "v720" {
					return c.x
				}
				return scripted{}
			}}
			r := play(t, s, Config{Duration: 30 * time.Second}, nil)
			wantErrors(t, r, c.want...)
			for _, e := range r.Errors {
				if e.Count != 1 || !strings.Contains(e.First, "v720") || e.At.IsZero() {
					t.Errorf("%+v", e)
				}
			}
			if want := int64(0); c.x.defects != "" {
				want = 1
				if r.DefectiveServed != want {
					t.Errorf("%d defective served", r.DefectiveServed)
				}
			}
			if r.Stalls != 0 || r.Gaps != 0 {
				t.Errorf("stalls %d, gaps %d", r.Stalls, r.Gaps)
			}
		})
	}
}

func TestErrorsAreCountedByViewer(t *testing.T) {
	s := &script{rewrite: func(r string, n live.Number) scripted {
		if n == 20 && r == "v720" {
			return scripted{repeat: 19}
		}
		return scripted{}
	}}
	r := play(t, s, Config{Viewers: 10, Renditions: []string{"v720"}, Duration: 30 * time.Second}, nil)
	counts := map[string]int64{}
	for _, e := range r.Errors {
		counts[e.Error] = e.Count
	}
	if counts["media that repeats"] != 10 || counts["undeclared defects: overlap"] != 1 {
		t.Errorf("%v: all ten saw it, one copy was inspected", counts)
	}
}

func TestTruncatedBody(t *testing.T) {
	cuts := 1
	s := &script{rewrite: func(r string, n live.Number) scripted {
		if n == 20 && r == "v720" && cuts > 0 {
			cuts--
			return scripted{cut: true}
		}
		return scripted{}
	}, size: 1000}
	r := play(t, s, Config{Duration: 30 * time.Second}, nil)
	wantErrors(t, r, "truncated body")
	if r.Stalls != 0 || r.Gaps != 0 || r.Reconnects != 1 {
		t.Errorf("stalls %d, gaps %d, reconnects %d: it was had again in time", r.Stalls, r.Gaps, r.Reconnects)
	}
}

func TestPipelineSwitch(t *testing.T) {
	s := &script{rewrite: func(_ string, n live.Number) scripted {
		if n >= 18 && n < 22 {
			return scripted{pipeline: "b"}
		}
		return scripted{}
	}}
	r := play(t, s, Config{Viewers: 3, Duration: 30 * time.Second}, nil)
	clean(t, r)
	if r.Switches != 12 || r.SwitchesMax != 4 {
		t.Errorf("%d switches, %d at most; want two on each of two tracks of three viewers", r.Switches, r.SwitchesMax)
	}
	if r.ServedBy["b"] != 24 || r.ServedBy["a"]+r.ServedBy["b"] != r.Segments {
		t.Errorf("served by %v", r.ServedBy)
	}
}

func TestStatuses(t *testing.T) {
	for _, c := range []struct {
		status int
		once   bool
		want   []string
		gaps   int64
	}{
		{status: 503, once: true},
		{status: 500, once: true, want: []string{"unexpected status 500"}},
		{status: 403, want: []string{"unexpected status 403"}, gaps: 1},
		{status: 404, want: []string{"status 404 for a segment that is past"}, gaps: 1},
	} {
		t.Run(http.StatusText(c.status), func(t *testing.T) {
			served := false
			s := &script{}
			s.rewrite = func(r string, n live.Number) scripted {
				if n == 20 && r == "v720" && !(c.once && served) {
					served = true
					return scripted{status: c.status, lifetime: 200 * time.Millisecond}
				}
				return scripted{}
			}
			r := play(t, s, Config{Duration: 40 * time.Second}, nil)
			wantErrors(t, r, c.want...)
			if r.Gaps != c.gaps || r.Stalls != 0 {
				t.Errorf("gaps %d, stalls %d (%g ms)", r.Gaps, r.Stalls, r.StallMS)
			}
			if n := r.Statuses[strconv.Itoa(c.status)]; n == 0 || c.once && n != 1 {
				t.Errorf("statuses %v", r.Statuses)
			}
		})
	}
}

func TestEdgeRestartIsNotNoticed(t *testing.T) {
	r := play(t, &script{}, Config{Viewers: 4, Duration: 30 * time.Second}, func(s *stage) {
		time.Sleep(10 * time.Second)
		s.pipes.kill()
		time.Sleep(time.Second)
		s.pipes.revive()
	})
	clean(t, r)
	if r.Reconnects != 8 {
		t.Errorf("%d reconnects, want one for each connection", r.Reconnects)
	}
}

func TestLongOutageIsNoticed(t *testing.T) {
	r := play(t, &script{}, Config{Duration: 30 * time.Second}, func(s *stage) {
		time.Sleep(10 * time.Second)
		s.pipes.kill()
		time.Sleep(10 * time.Second)
		s.pipes.revive()
	})
	wantErrors(t, r, "stalled by a network error")
	if r.Stalls != 1 || r.Gaps != 0 {
		t.Errorf("%d stalls, %d gaps", r.Stalls, r.Gaps)
	}
}

func TestEdgeThatStaysAway(t *testing.T) {
	r := play(t, &script{}, Config{Duration: 60 * time.Second, GiveUp: 20 * time.Second}, func(s *stage) {
		time.Sleep(10 * time.Second)
		s.pipes.kill()
	})
	for _, want := range []string{"edge out of reach for 20s", "segment not to be had in 20s", "stalled by a network error"} {
		if !slices.ContainsFunc(r.Errors, func(e Error) bool { return e.Error == want }) {
			t.Errorf("errors %v lack %q", r.Errors, want)
		}
	}
}

func TestHonestRefusalsAreWaitedOut(t *testing.T) {
	r := play(t, &script{}, Config{Duration: 30 * time.Second}, func(s *stage) {
		time.Sleep(10 * time.Second)
		s.refuse(2 * time.Second)
	})
	clean(t, r)
	if n := r.Statuses["503"]; n == 0 || n > 8 {
		t.Errorf("%d times 503; their lifetime of a second says when to come back", n)
	}
}

func TestEventEnds(t *testing.T) {
	r := play(t, &script{}, Config{}, func(s *stage) {
		time.Sleep(10 * time.Second)
		// In the middle of number 23.
		s.setEnd(s.event.Start.Add(45 * time.Second))
	})
	clean(t, r)
	if r.ServedBy["a"] != 2*(23-13+1) {
		t.Errorf("%v: number 23 is the last", r.ServedBy)
	}
}

func TestJoinBeforeTheEvent(t *testing.T) {
	r := play(t, &script{startIn: 90 * time.Second}, Config{Duration: 80 * time.Second}, nil)
	clean(t, r)
	if r.Segments != 2*9 || r.Latency.Max != 5000 {
		t.Errorf("%d segments, latency %+v", r.Segments, r.Latency)
	}
}

func TestClockThatDiffers(t *testing.T) {
	s := &script{skew: -time.Hour}
	r := play(t, s, Config{Edges: []string{"http://edge.test"}, Duration: 20 * time.Second}, nil)
	clean(t, r)
	if r.Hold.Max != 600 || r.PublishToViewer.Max != 0 || r.Segments != 24 {
		t.Errorf("hold %+v, publish to viewer %+v, %d segments: as if clocks agreed", r.Hold, r.PublishToViewer, r.Segments)
	}
}

func TestVerifySampled(t *testing.T) {
	r := play(t, &script{}, Config{Viewers: 50, Verify: 0.2, NoInspect: true, Duration: 20 * time.Second}, nil)
	clean(t, r)
	if math.Abs(r.VerifiedShare-0.2) > 0.05 {
		t.Errorf("%g verified, want about 0.2", r.VerifiedShare)
	}
	if r.Inspected != 0 {
		t.Errorf("%d inspected", r.Inspected)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "Edges"},
		{Config{Edges: []string{"ftp://x"}}, "Edges"},
		{Config{Edges: []string{"http://x"}}, "Event"},
		{Config{Edges: []string{"http://x"}, Event: live.EventID{Tenant: "t", Name: "e"}, Mix: Mix{"sleepy": 1}}, "sleepy"},
		{Config{Edges: []string{"http://x"}, Event: live.EventID{Tenant: "t", Name: "e"}, Verify: 2}, "Verify"},
		{Config{Edges: []string{"http://x"}, Event: live.EventID{Tenant: "t", Name: "e"}, Timeout: -1}, "Timeout"},
		{Config{Edges: []string{"http://x"}, Event: live.EventID{Tenant: "t", Name: "e"}, Viewers: -1}, "Viewers"},
	} {
		if _, err := Run(context.Background(), c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want an error about %s", err, c.want)
		}
	}
}
