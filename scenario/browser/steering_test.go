package browser

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headwater/edge"
	"headwater/edge/front"
	"headwater/live"
	"headwater/scenario"
)

// seconds is for how long they are watched: until the first edge has been gone for longer
// than they have media for.
const seconds = 34

// TestSteering has players leave an edge that wants them elsewhere, for another, without a
// stall. Then the first goes away.
func TestSteering(t *testing.T) {
	needBrowser(t)
	t.Parallel() // it mostly waits
	// Of an edge HLS players change the host alone.
	listen := func(addr string) net.Listener {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	a := listen("127.0.0.1:0")
	addr := a.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	b := listen("127.0.0.2:" + port)
	a.Close() // the edge listens there
	var away atomic.Bool
	s, err := scenario.Start(t.Context(), scenario.Options{
		EdgeAddr:   addr,
		EdgeConfig: func(c *edge.Config) { c.Pathway, c.Away, c.SteerEvery = "a", away.Load, 6*time.Second },
		Edit: func(e *live.Event) {
			e.Pathways = []live.Pathway{{ID: "a", URL: "http://" + addr}, {ID: "b", URL: "http://" + b.Addr().String()}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	other, err := edge.New(edge.Config{Parents: []string{s.DeliverURL()}, Pathway: "b", SteerEvery: 6 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	viewers := &front.Server{Edge: other, Handler: front.Handler(other), Linger: 10 * time.Millisecond}
	go viewers.Serve(b)
	defer viewers.Close()
	settled(t, s)
	// Shaka takes no pathways of HLS that are clones, and video.js does not go to them.
	screens := []*screen{of(s, "hls", live.HLSName), of(s, "dash", live.MPDName), of(s, "shaka", live.MPDName), of(s, "rx", live.MPDName)}
	for _, w := range screens {
		w.faults = func(report []byte, p *play) ([]string, error) {
			var r seen
			err := json.Unmarshal(report, &r)
			slower := *p // so many together
			slower.Seconds = p.Seconds * 8 / 10
			return r.faults(&slower), err
		}
	}
	for try := 1; len(screens) > 0; try++ {
		var again []*screen
		for i, bad := range watch(t, play{Seconds: seconds, Patience: 40, Screens: screens}, func(ctx context.Context) {
			away.Store(true)
			select {
			case <-time.After(14 * time.Second): // all have asked
			case <-ctx.Done():
				return
			}
			t.Logf("%v steering manifests and %v objects of the other edge", count(t, other, "headwater_edge_steered_total"), count(t, other, "headwater_edge_requests_total"))
			if err := s.Edge.Close(); err != nil {
				t.Error(err)
			}
		}) {
			if len(bad) == 0 {
				continue
			}
			t.Logf("%s of %s, time %d: noticed %v", screens[i].Player, screens[i].URL, try, bad)
			if again = append(again, screens[i]); try == 3 {
				t.Errorf("%s of %s: %v", screens[i].Player, screens[i].URL, bad)
			}
		}
		if screens = again; try == 3 || len(screens) == 0 {
			break
		}
		away.Store(false)
		if err := s.StartEdge(); err != nil {
			t.Fatal(err)
		}
	}
}

// count is the sum of an edge's counters of that name.
func count(t *testing.T, ed *edge.Edge, name string) (n float64) {
	t.Helper()
	w := httptest.NewRecorder()
	ed.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if series, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(series, name+"{") {
			x, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Error(err)
			}
			n += x
		}
	}
	return n
}
