package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"headwater/scenario"
)

// startsAt is where a list has players begin, in seconds behind the live edge.
var startsAt = regexp.MustCompile(`TIME-OFFSET=-([\d.]+)|suggestedPresentationDelay="PT([\d.]+)S"`)

// secondPlace passes on what an edge answers, of lists always the one of joiners who begin
// at the second of the places that there are, which the edge gives a quarter of them.
func secondPlace(t *testing.T, edge string) http.Handler {
	base, err := url.Parse(edge)
	if err != nil {
		t.Fatal(err)
	}
	rest := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(base) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, live.HLSName) && !strings.HasSuffix(r.URL.Path, live.MPDName) {
			rest.ServeHTTP(w, r)
			return
		}
		lists := make(map[float64][]byte)
		for range 64 {
			resp, err := http.Get(edge + r.URL.Path)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				http.Error(w, resp.Status, http.StatusBadGateway)
				return
			}
			maps.Copy(w.Header(), resp.Header)
			at := 0.0
			if m := startsAt.FindSubmatch(body); m != nil {
				at, _ = strconv.ParseFloat(string(m[1])+string(m[2]), 64)
			}
			lists[at] = body
		}
		places := slices.Sorted(maps.Keys(lists))
		t.Logf("%s: places %v", r.URL.Path, places)
		w.Header().Del("Content-Length")
		w.Write(lists[places[min(1, len(places)-1)]])
	})
}

// TestJoiners has players begin by the lists that an edge gives who joins with everybody
// else: further behind the live edge, and without a stall.
func TestJoiners(t *testing.T) {
	needBrowser(t)
	const join, further = 45 * time.Second, 15 * time.Second
	s := start(t, scenario.Options{}, func(e *live.Event) { e.JoinMS = join.Milliseconds() })
	front := httptest.NewServer(secondPlace(t, s.EdgeURL()))
	defer front.Close()
	select { // until there is as much as is asked for
	case <-time.After(24 * time.Second):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
	screens := []*screen{of(s, "hls", live.HLSName), of(s, "shaka", live.MPDName)}
	edge := 0.0 // where the live edge is in the end, by the first of them, since the start of the event
	for _, w := range screens {
		w.URL = front.URL + strings.TrimPrefix(w.URL, s.EdgeURL())
		w.faults = func(report []byte, _ *play) (out []string, err error) {
			var r struct {
				seen
				Time float64
			}
			if err := json.Unmarshal(report, &r); err != nil {
				return nil, err
			}
			if edge == 0 {
				edge = r.Time + r.Latency
			}
			if len(r.Fatal)+len(r.Stalls)+len(r.Jumps) > 0 || r.Progress < 5 {
				out = append(out, fmt.Sprintf("fatal %v, stalls %v, jumps %v, played %.1f s of 10", r.Fatal, r.Stalls, r.Jumps, r.Progress))
			}
			if behind := edge - r.Time; behind < further.Seconds() {
				out = append(out, fmt.Sprintf("it is %.1f s behind, and was to begin %v further behind than others", behind, further))
			}
			return out, nil
		}
	}
	for i, bad := range watch(t, play{Seconds: 10, Together: true, Patience: 40, Screens: screens, situation: "joiners"}, func(context.Context) {}) {
		if len(bad) > 0 {
			t.Errorf("%s of %s: %v", screens[i].Player, screens[i].URL, bad)
		}
	}
}
