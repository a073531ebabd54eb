package viewer

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
)

// collect keeps the incidents that a crowd tells of.
type collect struct {
	mu  sync.Mutex // guards all
	all []Incident
}

func (c *collect) add(x Incident) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, x)
}

// of are those of a kind, without time and viewer, each once.
func (c *collect) of(what IncidentKind) (out []Incident) {
	for _, x := range c.all {
		x.Time, x.Viewer = time.Time{}, 0
		if x.What == what && !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

func TestWhatIsRefused(t *testing.T) {
	for _, c := range []struct {
		name                  string
		x                     scripted
		refusals, gaps, flaws int64
		problem               string // of the table
		incident              Incident
	}{
		{name: "nothing"},
		{name: "lost", x: scripted{lost: true}, refusals: 1, gaps: 1, problem: "410 lost",
			incident: Incident{What: Refusal, Rendition: "v720", Number: 20, Status: 410, Problem: "lost"}},
		{name: "forbidden", x: scripted{status: 403}, refusals: 1, gaps: 1, problem: "403 scripted",
			incident: Incident{What: Refusal, Rendition: "v720", Number: 20, Status: 403, Problem: "scripted"}},
		{name: "a defect", x: scripted{drop: 10, defects: "short;ms=400"}, flaws: 1,
			incident: Incident{What: Defect, Rendition: "v720", Number: 20, Status: 200, Pipeline: "a", Defects: "short;ms=400"}},
		{name: "a defect that nobody knows", x: scripted{defects: "sparkle"}, flaws: 1,
			incident: Incident{What: Defect, Rendition: "v720", Number: 20, Status: 200, Pipeline: "a", Defects: "sparkle"}},
		{name: "remarks", x: scripted{defects: "open-gop, off-grid;ms=20"}},
		{name: "late but whole", x: scripted{defects: "late"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			const viewers = 3
			var seen collect
			s := &script{rewrite: func(r string, n live.Number) scripted {
				if n == 20 {
					return c.x
				}
				return scripted{}
			}}
			cfg := Config{Viewers: viewers, Renditions: []string{"v720"}, Duration: 30 * time.Second, Incident: seen.add}
			r := play(t, s, cfg, nil)
			if r.Refusals != viewers*c.refusals || r.Gaps != viewers*c.gaps || r.DefectiveServed != viewers*c.flaws {
				t.Errorf("%d refusals, %d gaps, %d defects", r.Refusals, r.Gaps, r.DefectiveServed)
			}
			x := r.Renditions["v720"]
			if x.Refusals != r.Refusals || x.Lost != r.Gaps || x.Defective != r.DefectiveServed || x.Segments != r.Segments {
				t.Errorf("of the rendition: %+v", x)
			}
			if c.problem == "" && len(r.Problems) > 0 || c.problem != "" && r.Problems[c.problem] != viewers*c.refusals {
				t.Errorf("problems %v", r.Problems)
			}
			want := viewers * int(c.refusals+c.gaps+c.flaws)
			if len(seen.all) != want || want > 0 && !slices.Contains(seen.of(c.incident.What), c.incident) {
				t.Errorf("incidents %+v", seen.all)
			}
			if gaps := seen.of(Gap); len(gaps) != int(c.gaps) {
				t.Errorf("gaps %+v", gaps)
			}
			for _, y := range seen.all {
				if y.Time.IsZero() || y.Viewer < 0 || y.Viewer >= viewers {
					t.Errorf("%+v", y)
				}
			}
		})
	}
}

func TestRefusalsThatAreWaitedOutCount(t *testing.T) {
	var seen collect
	r := play(t, &script{}, Config{Duration: 30 * time.Second, Incident: seen.add}, func(s *stage) {
		time.Sleep(10 * time.Second)
		s.refuse(2 * time.Second)
	})
	clean(t, r)
	if r.Refusals == 0 || r.Refusals != r.Problems["503 upstream-unavailable"] || int(r.Refusals) != len(seen.all) {
		t.Errorf("%d refusals, problems %v, %d incidents", r.Refusals, r.Problems, len(seen.all))
	}
}

func TestEarlyIsNoRefusal(t *testing.T) {
	r := play(t, &script{}, Config{Mix: Mix{Poll: 1}, Duration: 20 * time.Second}, nil)
	clean(t, r)
	if r.Refusals != 0 || r.Problems["404 early"] == 0 {
		t.Errorf("%d refusals, problems %v", r.Refusals, r.Problems)
	}
}

// TestDark: nobody is told that all is well while viewers see nothing.
func TestDark(t *testing.T) {
	const begins, lasts = 10 * time.Second, 12 * time.Second
	for _, c := range []struct {
		name string
		lost bool
		do   func(*stage)
	}{
		{"lost", true, func(*stage) {}},
		{"an edge that is away", false, func(s *stage) {
			s.pipes.kill()
			time.Sleep(lasts)
			s.pipes.revive()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{event: testEvent()}
			var from time.Time // of the trouble, set before viewers come
			s.rewrite = func(_ string, n live.Number) scripted {
				tl := s.event.Timeline()
				return scripted{lost: c.lost && tl.End(n).After(from) && tl.End(n).Before(from.Add(lasts))}
			}
			var dark []time.Duration
			cfg := Config{Viewers: 3, Duration: 40 * time.Second, JoinOver: time.Millisecond, Progress: func(r *Report) {
				if r.Dark == 3 {
					dark = append(dark, time.Since(from))
				}
			}}
			synctest.Test(t, func(*testing.T) { from = time.Now().Add(begins) })
			play(t, s, cfg, func(st *stage) {
				time.Sleep(begins)
				c.do(st)
			})
			if len(dark) < 6 || dark[0] < 0 || dark[0] > 5*time.Second || dark[len(dark)-1] > lasts+5*time.Second {
				t.Errorf("dark at %v", dark)
			}
		})
	}
}

// TestSwitchesOfARendition: one change of the pipeline is one switch, however
// many saw it.
func TestSwitchesOfARendition(t *testing.T) {
	s := &script{rewrite: func(r string, n live.Number) scripted {
		if n >= 18 && n < 22 && r == "v720" {
			return scripted{pipeline: "b"}
		}
		return scripted{}
	}}
	r := play(t, s, Config{Viewers: 4, Duration: 30 * time.Second}, nil)
	clean(t, r)
	if x := r.Renditions["v720"]; x.Switches != 2 || x.ServedBy["b"] == 0 || x.ServedBy["a"]+x.ServedBy["b"] != x.Segments || x.Versions != 0 {
		t.Errorf("v720: %+v", x)
	}
	if x := r.Renditions["a-en"]; x.Switches != 0 || x.ServedBy["b"] != 0 {
		t.Errorf("a-en: %+v", x)
	}
}

// TestVersionsOfANumber: two edges that chose differently are found out.
func TestVersionsOfANumber(t *testing.T) {
	turn := 0
	s := &script{}
	s.rewrite = func(r string, n live.Number) scripted {
		if n != 20 || r != "v720" {
			return scripted{}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		turn++
		return scripted{pipeline: []string{"a", "b"}[turn%2]}
	}
	r := play(t, s, Config{Viewers: 2, Renditions: []string{"v720"}, Duration: 30 * time.Second}, nil)
	if x := r.Renditions["v720"]; x.Versions != 1 {
		t.Errorf("%+v", x)
	}
}

// TestArrivesOrSaysWhy: who cannot watch says so within three seconds.
func TestArrivesOrSaysWhy(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve http.HandlerFunc // nil: nobody listens
		ok    time.Duration    // from when on the event is there; 0: never
		want  string
	}{
		{"nobody listens", nil, 0, "http://127.0.0.1:8080/t/e/event.json: dial: connection refused"},
		{"no event", live.ErrNoEvent.For(2 * time.Second).Write, 0, "status 404 no-such-event"},
		{"an edge that says nothing", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 0, "no answer in time"},
		{"an event that comes", live.ErrNoEvent.For(2 * time.Second).Write, 1500 * time.Millisecond, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{event: testEvent()}
				s.event.Start = time.Now().Add(-30 * time.Second)
				began := time.Now()
				p := newPipes()
				if c.serve == nil {
					p.kill()
				}
				srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if c.ok > 0 && time.Since(began) >= c.ok {
						s.ServeHTTP(w, r)
						return
					}
					c.serve(w, r)
				})}
				served := make(chan struct{})
				go func() {
					defer close(served)
					srv.Serve(p)
				}()
				r, err := Run(t.Context(), Config{Edges: []string{"http://127.0.0.1:8080"}, Event: live.EventID{Tenant: "t", Name: "e"}, Dial: p.Dial, Duration: 10 * time.Second})
				took := time.Since(began)
				if c.want == "" {
					if err != nil || r.Segments == 0 {
						t.Errorf("%v, %+v", err, r)
					}
				} else if err == nil || !strings.Contains(err.Error(), c.want) || took > 3*time.Second {
					t.Errorf("%v after %v, want %q", err, took, c.want)
				}
				close(p.accept)
				srv.Close()
				<-served
			})
		})
	}
}
