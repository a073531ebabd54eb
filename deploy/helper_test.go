package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/deploy"
	"headwater/edge"
	"headwater/edge/front"
	"headwater/live"
	"headwater/origin"
	"headwater/packager"
	"headwater/store/memory"
)

// A kind is a program with its configuration.
type kind struct {
	name  string
	start func(context.Context, deploy.Options) (*deploy.Program, error)
	check func(context.Context, deploy.Options) error
	// fine programs count lifetimes in milliseconds, coarse ones in seconds.
	fine bool
}

var kinds = []kind{
	{"nginx", deploy.Nginx, deploy.CheckNginx, false},
	{"varnish", deploy.Varnish, deploy.CheckVarnish, true},
}

// run starts a program that fills from the parent, for as long as the test runs.
func (k kind) run(t *testing.T, parent string) *deploy.Program {
	t.Helper()
	p, err := k.start(t.Context(), deploy.Options{Parent: host(parent), Dir: t.TempDir()})
	if errors.Is(err, deploy.ErrMissing) {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		if t.Failed() && p.Log() != "" {
			t.Logf("%s wrote: %s", k.name, p.Log())
		}
	})
	return p
}

func host(url string) string { return strings.TrimPrefix(url, "http://") }

// A counter counts GETs by path.
type counter struct {
	mu sync.Mutex // guards n
	n  map[string]int
}

func (c *counter) of(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[path]
}

func (c *counter) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		if c.n == nil {
			c.n = make(map[string]int)
		}
		c.n[r.URL.Path]++
		c.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

// A system is an origin with an edge and a pipeline that plays the clip.
type system struct {
	event                      live.Event
	timeline                   live.Timeline
	origin, edge               http.Handler
	originMetrics, edgeMetrics *prometheus.Registry
	control                    string // URL
}

var eventID = live.EventID{Tenant: "acme", Name: "final"}

// The clip is published; nobody publishes "silent".
const silent = "silent"

func newSystem(t *testing.T) *system {
	t.Helper()
	s := &system{originMetrics: prometheus.NewRegistry(), edgeMetrics: prometheus.NewRegistry()}
	org, err := origin.New(t.Context(), origin.Config{Store: memory.New(memory.Options{}), Metrics: s.originMetrics})
	if err != nil {
		t.Fatal(err)
	}
	s.origin, s.control = org.DeliverHandler(), serve(t, org.ControlHandler())
	publish, deliver := serve(t, org.PublishHandler()), serve(t, s.origin)
	ed, err := edge.New(edge.Config{Parents: []string{deliver}, Metrics: s.edgeMetrics})
	if err != nil {
		t.Fatal(err)
	}
	s.edge = front.Handler(ed)
	t.Cleanup(func() { org.Drain(); ed.Close() })

	renditions, err := packager.ClipRenditions()
	if err != nil {
		t.Fatal(err)
	}
	s.event = live.Default()
	s.event.Start = time.Now().UTC().Truncate(2 * time.Second)
	s.event.FirstNumber = live.Number(s.event.Start.Unix() / 2)
	s.event.Pipelines = []live.Pipeline{{Name: "a"}}
	s.event.Renditions = append(renditions, live.Rendition{Name: silent, Type: live.Video, Bandwidth: 1000})
	s.configure(t)
	s.timeline = s.event.Timeline()

	cfg := packager.Config{Event: eventID.String(), Pipeline: "a", To: []string{publish}, EventURL: deliver, Clip: true, DrainFor: -1}
	pk, err := packager.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- pk.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("packager: %v", err)
		}
	})
	return s
}

func serve(t *testing.T, h http.Handler) string {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// configure creates or changes the event.
func (s *system) configure(t *testing.T) {
	t.Helper()
	b, err := json.Marshal(s.event)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.control+"/v1/events/"+eventID.String(), bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("configuring the event: %s: %s", resp.Status, b)
	}
}

func path(rendition string, n live.Number) string {
	return live.Path{Event: eventID, File: live.FileSegment, Rendition: rendition, Number: n}.String()
}

// An answer is one answer, read to its end.
type answer struct {
	sent, got time.Time // before it was asked for, when its head was there
	status    int
	header    http.Header
	body      []byte
}

// client keeps as many connections as a test opens, and decodes nothing.
func client(t *testing.T) *http.Client {
	tr := &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true, DialContext: (&net.Dialer{}).DialContext}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 40 * time.Second}
}

func ask(t *testing.T, hc *http.Client, method, url string, header ...string) answer {
	t.Helper()
	a, err := try(t.Context(), hc, method, url, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func try(ctx context.Context, hc *http.Client, method, url string, header ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	a := answer{sent: time.Now()}
	resp, err := hc.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	a.got, a.status, a.header = time.Now(), resp.StatusCode, resp.Header
	a.body, err = io.ReadAll(resp.Body)
	return a, err
}

// staleBy are the times by which the answer itself says that it may be
// repeated: to who counts in milliseconds, and to who counts in seconds.
func (a answer) staleBy(t *testing.T) (fine, coarse time.Time) {
	t.Helper()
	left := func(values ...string) time.Time {
		d, ok := live.ParseLifetime(values)
		if !ok {
			t.Fatalf("no lifetime: %v", a.header)
		}
		age := live.Number(0)
		if s := a.header.Get("Age"); s != "" {
			if err := json.Unmarshal([]byte(s), &age); err != nil {
				t.Fatalf("Age: %v", err)
			}
		}
		return a.sent.Add(d - time.Duration(age)*time.Second)
	}
	cc := a.header.Get("Cache-Control")
	seconds, _, _ := strings.Cut(cc, ",")
	return left(cc), left(seconds)
}

func (a answer) problem(t *testing.T) live.Problem {
	t.Helper()
	var p live.Problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatalf("status %d: not a problem: %q", a.status, a.body)
	}
	return p
}

// every calls f at short intervals until it returns false, at most for a minute.
func every(t *testing.T, d time.Duration, f func() bool) {
	t.Helper()
	tick := time.NewTicker(d)
	defer tick.Stop()
	end := time.After(time.Minute)
	for f() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("still so after a minute")
		}
	}
}
