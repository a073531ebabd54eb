package viewer

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
)

func TestCounters(t *testing.T) {
	const text = `# HELP headwater_edge_origin_requests_total Requests to parents.
# TYPE headwater_edge_origin_requests_total counter
headwater_edge_origin_requests_total{event="t/e",rendition="v720"} 12
headwater_edge_origin_requests_total{event="t/e",rendition="a-en",parent="x, \"}{\\"} 1.2e+01 1700000000
headwater_edge_origin_requests_total{event="t/e",rendition="a-en",parent="y"} 3
headwater_edge_origin_requests_total{event="t/other",rendition="v720"} 100
headwater_edge_origin_requests_total{tenant="u",event="e",rendition="v720"} 100
headwater_edge_origin_requests_total{event="t/e",rendition=""} 100
headwater_edge_origin_requests_total{event="t/e"} 100
headwater_edge_origin_requests_total 100
headwater_edge_origin_requests_total{event="t/e",rendition="v360"} NaN
headwater_edge_origin_requests_total{event="t/e",rendition="v360
headwater_edge_origin_requests_total{rendition="v1080",} 7
headwater_edge_requests_total{rendition="v720"} 100
`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, text)
	}))
	defer srv.Close()
	event := live.EventID{Tenant: "t", Name: "e"}
	got, err := Counters(srv.Client(), OriginRequests, event, srv.URL+"/metrics", srv.URL+"/metrics")(t.Context())
	if want := map[string]int64{"v720": 24, "a-en": 30, "v1080": 14}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if _, err := Counters(srv.Client(), OriginRequests, event, srv.URL+"/nothing")(t.Context()); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("%v", err)
	}
}

func TestOriginGetsPerSegment(t *testing.T) {
	s := &script{}
	read := 0
	cfg := Config{Viewers: 3, Renditions: []string{"v720", "a-en"}, Duration: 20 * time.Second}
	cfg.OriginGets = func(context.Context) (map[string]int64, error) {
		read++
		s.mu.Lock()
		defer s.mu.Unlock()
		gets := map[string]int64{"v720": 1000, "a-en": 0}
		for path := range s.requests {
			if p, err := live.ParsePath(path); err == nil && p.File == live.FileSegment {
				gets[p.Rendition] += 1
				if p.Rendition == "v720" {
					gets[p.Rendition]++ // twice each
				}
			}
		}
		// The edge starts anew in the middle.
		if read > 5 {
			gets["a-en"] -= 8
		}
		return gets, nil
	}
	r := play(t, s, cfg, nil)
	clean(t, r)
	if r.OriginGetsPerSegment["v720"] != 2 || len(r.OriginGetsPerSegment) != 2 || len(r.Notes) != 0 {
		t.Errorf("%v, %v", r.OriginGetsPerSegment, r.Notes)
	}
	if g := r.OriginGetsPerSegment["a-en"]; g > 1.2 || g < 0.8 {
		t.Errorf("%g for what restarted", g)
	}
}

// TestOriginGetsAtTheEnds: an edge that gets each segment once has a figure of 1,
// whenever viewers come and go, and whoever else watches.
func TestOriginGetsAtTheEnds(t *testing.T) {
	for _, warm := range []bool{false, true} { // the edge has what was before
		for _, others := range []bool{false, true} { // who ask as soon as they may
			for d := 18 * time.Second; d < 22*time.Second; d += 700 * time.Millisecond {
				s := &script{warm: warm}
				before := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when viewers come, in a bubble
				cfg := Config{Viewers: 3, Renditions: []string{"v720"}, Duration: d}
				readings := 0
				cfg.OriginGets = func(context.Context) (map[string]int64, error) {
					if readings++; readings%3 == 0 {
						time.Sleep(2 * readAhead) // too slow to be of use
					}
					s.mu.Lock()
					defer s.mu.Unlock()
					tl := s.event.Timeline()
					had := map[live.Number]bool{}
					for path := range s.requests {
						p, err := live.ParsePath(path)
						if err != nil || p.File != live.FileSegment || warm && tl.End(p.Number).Before(before) {
							continue
						}
						had[p.Number] = true
					}
					for n := tl.First(); others && !tl.Due(n).After(time.Now()); n++ {
						had[n] = true
					}
					return map[string]int64{"v720": 1000 + int64(len(had))}, nil
				}
				r := play(t, s, cfg, nil)
				clean(t, r)
				// Others had already what viewers began with, and nothing said so.
				if g := r.OriginGetsPerSegment["v720"]; g != 1 && !(others && !warm) {
					t.Errorf("warm %v, others %v, %v: %g", warm, others, d, g)
				}
			}
		}
	}
}

// TestFilledBeforeHit: the one viewer for whom the edge fetched may be the last to
// tell.
func TestFilledBeforeHit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStats(2)
		s.reading(time.Now(), nil, map[string]live.Number{"v": 10})
		time.Sleep(time.Second)
		s.asking("v", 9)
		s.asked("v", 9, &reply{cacheStatus: "headwater;hit"})
		s.asked("v", 9, &reply{cacheStatus: "headwater;fwd=uri-miss;detail=fill"})
		s.asked("v", 9, &reply{cacheStatus: "headwater;hit"})
		s.asking("v", 8)
		s.asked("v", 8, &reply{cacheStatus: "headwater;hit"})
		s.asking("v", 10)
		time.Sleep(time.Second)
		s.reading(time.Now(), map[string]int64{"v": 2}, map[string]live.Number{"v": 11})
		time.Sleep(time.Second)
		s.asking("v", 11)
		if g := s.report().OriginGetsPerSegment["v"]; g != 1 {
			t.Errorf("%g: two were got, number 9 by one of ours and number 10", g)
		}
		// Somebody else got number 12 before the reading, one of ours after it.
		s.reading(time.Now(), map[string]int64{"v": 2}, map[string]live.Number{"v": 13})
		time.Sleep(time.Second)
		s.asking("v", 12)
		s.asked("v", 12, &reply{cacheStatus: "headwater;hit"})
		s.asking("v", 13)
		s.asked("v", 13, &reply{cacheStatus: "headwater;hit"})
		if g := s.report().OriginGetsPerSegment["v"]; g != 1 {
			t.Errorf("%g: four were got", g)
		}
	})
}

func TestCached(t *testing.T) {
	for status, want := range map[string]bool{
		"": false, "headwater;hit": true, "headwater; hit; ttl=3": true, "headwater;fwd=uri-miss;detail=hit": false,
		"far;hit, near;fwd=miss": false, "far;fwd=miss, near;hit": true, "hit": false,
		"headwater;fwd=uri-miss;collapsed;detail=join": true, "headwater;fwd=uri-miss;detail=fill": false,
	} {
		if cached(status) != want {
			t.Errorf("%q: %v", status, !want)
		}
	}
}

func TestOriginGetsThatCannotBeHad(t *testing.T) {
	cfg := Config{Duration: 20 * time.Second, OriginGets: func(context.Context) (map[string]int64, error) {
		return nil, fmt.Errorf("nobody there")
	}}
	r := play(t, &script{}, cfg, nil)
	clean(t, r)
	if r.OriginGetsPerSegment != nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "nobody there") {
		t.Errorf("%v, %v", r.OriginGetsPerSegment, r.Notes)
	}
}

func TestGrown(t *testing.T) {
	got := grown(map[string]int64{"a": 10, "b": 10, "c": 10}, map[string]int64{"a": 12, "b": 3, "d": 4})
	if want := map[string]int64{"a": 2, "b": 3, "d": 4}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func FuzzParseSeries(f *testing.F) {
	for _, s := range []string{`n{rendition="v720"} 12`, `n{a="b",rendition="x\"}\\"} 1.2e+01 1700000000`, `n{}`, `n{a=`, `n{a="b"`, `n{,,} -1`, `n{a="b"} NaN`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		labels, value, ok := parseSeries(line, "n")
		if ok && (value < 0 || labels == nil) || !ok && (value != 0 || labels != nil) {
			t.Errorf("%q: %v, %d, %v", line, labels, value, ok)
		}
	})
}
