package scenario

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/access"
	"headwater/edge"
	"headwater/edge/front"
	"headwater/live"
	"headwater/origin"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// documented reads the table of problem types in docs/protocol.md.
func documented(t *testing.T) map[string]int {
	t.Helper()
	b, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]int)
	row := regexp.MustCompile("^\\| `([a-z0-9-]+)` \\| ([0-9]{3}) \\|")
	for line := range strings.SplitSeq(string(b), "\n") {
		if m := row.FindStringSubmatch(line); m != nil {
			out[m[1]], _ = strconv.Atoi(m[2])
		}
	}
	return out
}

// TestProblemsAreDocumented: document and code list the same problems.
func TestProblemsAreDocumented(t *testing.T) {
	inCode := make(map[string]int)
	for _, p := range live.Problems {
		inCode[p.Code] = p.Status
	}
	doc := documented(t)
	for code, status := range inCode {
		if doc[code] != status {
			t.Errorf("docs/protocol.md: %s is %d, in the code it is %d", code, doc[code], status)
		}
	}
	for code := range doc {
		if inCode[code] == 0 {
			t.Errorf("docs/protocol.md: there is no %s in the code", code)
		}
	}
}

// tenantStatuses are those of a tenant that has as much as it may.
func tenantStatuses(t *testing.T) *bench {
	b := newBench(t, func(c *origin.Config) { c.TenantEvents, c.TenantRate, c.TenantBytes = 1, 1, 1 })
	ev := testEvent(nil)
	b.create("t/e", ev)
	body, err := json.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	b.want(403, "quota", "PUT", b.control+"/v1/events/t/another", body)
	m := newMedium(t, live.Video)
	b.want(201, "", "PUT", b.publish+"/t/e/a/v/init.mp4", m.init)
	b.want(429, "publish-rate", "PUT", b.publish+"/t/e/b/v/init.mp4", m.init)
	full := newBench(t, func(c *origin.Config) { c.TenantBytes = 1 })
	full.create("t/e", ev)
	tl := ev.Timeline()
	n := tl.Edge(time.Now())
	full.want(201, "", "PUT", full.publish+"/t/e/a/v/init.mp4", m.init)
	full.want(201, "", "PUT", fmt.Sprintf("%s/t/e/a/v/%d.m4s", full.publish, n), m.segment(&ev, n, 1))
	full.want(507, "tenant-full", "PUT", fmt.Sprintf("%s/t/e/b/v/%d.m4s", full.publish, n), []byte("x"))
	maps.Copy(b.seen, full.seen)
	return b
}

// A bench is real listeners of an origin and an edge that tests ask.
type bench struct {
	t                               *testing.T
	origin                          *origin.Origin
	store                           *storetest.Faulty
	publish, deliver, control, edge string
	seen                            map[string]int // problems by code
}

func newBench(t *testing.T, edit func(*origin.Config)) *bench {
	t.Helper()
	b := &bench{t: t, store: storetest.NewFaulty(memory.New(memory.Options{})), seen: make(map[string]int)}
	cfg := origin.Config{Store: b.store}
	if edit != nil {
		edit(&cfg)
	}
	org, err := origin.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.origin = org
	serve := func(h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	b.publish, b.deliver, b.control = serve(org.PublishHandler()), serve(org.DeliverHandler()), serve(org.ControlHandler())
	ed, err := edge.New(edge.Config{Parents: []string{b.deliver}})
	if err != nil {
		t.Fatal(err)
	}
	b.edge = serve(front.Handler(ed))
	t.Cleanup(func() { org.Drain(); ed.Close() })
	return b
}

// want makes a request and checks status and, for an error, problem type.
func (b *bench) want(status int, code, method, url string, body []byte, header ...string) *http.Response {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if strings.HasPrefix(url, b.control+"/") && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	b.check(resp, status, code, method+" "+url)
	return resp
}

func (b *bench) check(resp *http.Response, status int, code, what string) {
	b.t.Helper()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Errorf("%s: %v", what, err)
	}
	if resp.StatusCode != status {
		b.t.Errorf("%s: %d, want %d: %s", what, resp.StatusCode, status, data)
		return
	}
	if status < 400 {
		return
	}
	var p live.Problem
	if ct := resp.Header.Get("Content-Type"); ct != live.ProblemType {
		b.t.Errorf("%s: Content-Type %q", what, ct)
	} else if err := json.Unmarshal(data, &p); err != nil {
		b.t.Errorf("%s: %v: %s", what, err, data)
	} else if p.Code != code || p.Status != status || p.Detail == "" || p.Title == "" {
		b.t.Errorf("%s: got %s %d, want %s: %s", what, p.Code, p.Status, code, data)
	}
	b.seen[p.Code] = status
}

// event is one that began a minute ago, so that there are segments of every place.
func testEvent(edit func(*live.Event)) live.Event {
	e := live.Default()
	e.Start = time.Now().UTC().Truncate(2 * time.Second).Add(-time.Minute)
	e.DVRSeconds = 20
	e.Pipelines = []live.Pipeline{{Name: "a", Region: "east"}, {Name: "b"}}
	e.Renditions = []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1e6}}
	if edit != nil {
		edit(&e)
	}
	return e
}

func (b *bench) create(name string, e live.Event) {
	b.t.Helper()
	body, err := json.Marshal(e)
	if err != nil {
		b.t.Fatal(err)
	}
	b.want(http.StatusCreated, "", "PUT", b.control+"/v1/events/"+name, body)
}

// TestEveryStatus gets every status and problem type of docs/protocol.md from
// running servers.
func TestEveryStatus(t *testing.T) {
	seen := make(map[string]int)
	for _, f := range []struct {
		name string
		run  func(t *testing.T) *bench
	}{{"publish", publishStatuses}, {"credentials", credentialStatuses}, {"deliver", deliverStatuses}, {"limits", limitStatuses}, {"control", controlStatuses}, {"tenants", tenantStatuses}, {"edge", edgeStatuses}} {
		t.Run(f.name, func(t *testing.T) { maps.Copy(seen, f.run(t).seen) })
	}
	for code := range documented(t) {
		if seen[code] == 0 {
			t.Errorf("%s is documented, and no server gave it", code)
		}
	}
}

func publishStatuses(t *testing.T) *bench {
	b := newBench(t, func(c *origin.Config) { c.MaxSegmentBytes = 1 << 20; c.BodyTimeout = 200 * time.Millisecond })
	ev := testEvent(func(e *live.Event) { e.End = e.Start.Add(40 * time.Minute) })
	b.create("t/e", ev)
	m := newMedium(t, live.Video)
	tl := ev.Timeline()
	n := tl.Edge(time.Now())
	seg := func(pipeline string, n live.Number) string {
		return fmt.Sprintf("%s/t/e/%s/v/%d.m4s", b.publish, pipeline, n)
	}
	whole := m.segment(&ev, n, 1)

	b.want(412, "init-missing", "PUT", seg("a", n), whole)
	b.want(201, "", "PUT", b.publish+"/t/e/a/v/init.mp4", m.init)
	b.want(200, "", "PUT", b.publish+"/t/e/a/v/init.mp4", m.init)
	b.want(412, "init-differs", "PUT", b.publish+"/t/e/b/v/init.mp4", newMedium(t, live.Audio).init)

	// One that comes back otherwise is refused, until a generation begins with it; then its
	// segments are of that, and not of what is before.
	anew := bytes.Clone(m.init)
	anew[bytes.Index(anew, []byte("mdhd"))+4+15]++ // the timescale
	b.want(412, "init-differs", "PUT", b.publish+"/t/e/b/v/init.mp4", anew)
	b.want(200, "", "POST", b.control+"/v1/events/t/e/generations", []byte(`{"rendition": "v"}`), "Content-Type", "application/json")
	b.want(409, "other-generation", "PUT", seg("b", n), whole)

	r := b.want(201, "", "PUT", seg("a", n), whole, live.HeaderContentDigest, live.DigestOf(whole).String())
	if r.Header.Get(live.HeaderPublished) == "" || r.Header.Get(live.HeaderDefects) != "" {
		t.Errorf("headers of a clean 201: %v", r.Header)
	}
	b.want(200, "", "POST", seg("a", n), whole)
	b.want(404, "not-found", "PUT", seg("b", n), nil, live.HeaderQuality, "black;ms=2000")
	b.want(400, "bad-header", "PUT", seg("a", n), nil, live.HeaderQuality, "black=2000")
	if r = b.want(200, "", "PUT", seg("a", n), nil, live.HeaderQuality, "black;ms=2000, score=50"); r.Header.Get(live.HeaderQuality) != "black;ms=2000, score=50" {
		t.Errorf("headers of a verdict: %v", r.Header)
	}
	b.want(409, "conflict", "PUT", seg("a", n), m.segment(&ev, n, 2))
	r = b.want(201, "", "PUT", seg("a", n-1), m.segment(&ev, n-1, 1, 20, 32))
	if d := r.Header.Get(live.HeaderDefects); !strings.HasPrefix(d, "missing-samples;ms=400;n=12") {
		t.Errorf("Live-Defects: %q", d)
	}
	b.want(409, "conflict", "PUT", seg("a", n-1), m.segment(&ev, n-1, 1, 20, 40))
	b.want(200, "", "PUT", seg("a", n-1), m.segment(&ev, n-1, 1))

	b.want(400, "bad-path", "PUT", b.publish+"/t/e/a/v/007.m4s", whole)
	b.want(400, "malformed-media", "PUT", seg("a", n-2), whole[:len(whole)-3])
	b.want(400, "bad-header", "PUT", seg("a", n-2), whole, live.HeaderDefects, "short;ms=-")
	b.want(400, "digest-mismatch", "PUT", seg("a", n-2), whole, live.HeaderContentDigest, live.DigestOf(nil).String())
	b.want(400, "number-in-future", "PUT", seg("a", n+100), whole)
	b.want(404, "no-such-event", "PUT", b.publish+"/t/other/a/v/1.m4s", whole)
	b.want(404, "no-such-pipeline", "PUT", seg("z", n), whole)
	b.want(404, "no-such-rendition", "PUT", b.publish+"/t/e/a/other/1.m4s", whole)
	b.want(404, "outside-event", "PUT", seg("a", 0), whole)
	b.want(404, "outside-event", "PUT", seg("a", 1_000_000), whole)
	b.want(404, "outside-event", "PUT", seg("a", 1), whole) // has left the DVR window
	b.want(405, "method-not-allowed", "GET", seg("a", n), nil)
	b.want(413, "too-large", "PUT", seg("a", n-2), make([]byte, 2<<20))
	b.want(415, "not-cmaf", "PUT", seg("a", n-2), bytes.Repeat([]byte("G@\x11\x10"+strings.Repeat("\xff", 184)), 20))
	b.want(415, "not-cmaf", "PUT", seg("a", n-2), whole, "Content-Type", "video/mp2t")
	b.want(200, "", "PUT", b.publish+"/t/e/a/manifest.mpd", []byte("<MPD/>"))
	b.want(200, "", "DELETE", seg("a", n), nil)

	// A body that stops: too slow, or cut off.
	b.raw(seg("a", n-2), false, 408, "body-timeout")
	b.raw(seg("a", n-2), true, 400, "incomplete-body")

	b.store.Add(storetest.Fault{Op: storetest.Put, Namespace: store.Media, Err: store.ErrFull})
	b.want(503, "not-stored", "PUT", seg("a", n-2), m.segment(&ev, n-2, 1))
	b.want(200, "", "GET", b.deliver+fmt.Sprintf("/t/e/v/%d.m4s", n), nil)
	b.store.Clear()
	b.want(201, "", "PUT", seg("a", n-2), m.segment(&ev, n-2, 1))
	return b
}

// raw sends a request whose body does not come to its end.
func (b *bench) raw(url string, cut bool, status int, code string) {
	b.t.Helper()
	host, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	c, err := net.Dial("tcp", host)
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "PUT /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc", path)
	if cut {
		c.(*net.TCPConn).CloseWrite()
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		b.t.Fatalf("%s: %v", code, err)
	}
	defer resp.Body.Close()
	b.check(resp, status, code, "half a body")
}

func credentialStatuses(t *testing.T) *bench {
	b := newBench(t, func(c *origin.Config) {
		var list []access.Credential
		for secret, grant := range map[string]string{"secret": "publish:t", "other": "publish:u", "control": "admin"} {
			list = append(list, access.Credential{Name: grant, Secrets: []string{access.Hash(secret)}, Grants: []string{grant}})
		}
		var err error
		if c.Access, err = access.NewGuard("", list, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err != nil {
			t.Fatal(err)
		}
	})
	b.want(401, "unauthorized", "GET", b.control+"/v1/events", nil)
	b.want(200, "", "GET", b.control+"/v1/events", nil, "Authorization", "Bearer control")
	url := b.publish + "/t/e/a/v/1.m4s"
	b.want(401, "unauthorized", "PUT", url, []byte("x"))
	b.want(401, "unauthorized", "PUT", url, []byte("x"), "Authorization", "Bearer wrong")
	b.want(403, "forbidden", "PUT", url, []byte("x"), "Authorization", "Bearer other")
	b.want(404, "no-such-event", "PUT", url, []byte("x"), "Authorization", "Bearer secret")
	b.want(404, "no-such-event", "PUT", url, []byte("x"), "Authorization", "Basic bWU6c2VjcmV0") // me:secret
	return b
}

func deliverStatuses(t *testing.T) *bench {
	b := newBench(t, func(c *origin.Config) { c.MemoryBytes = 1 }) // everything comes from the store
	ev := testEvent(func(e *live.Event) { e.End = e.Start.Add(40 * time.Minute); e.BudgetMS = 200 })
	b.create("t/e", ev)
	m := newMedium(t, live.Video)
	tl := ev.Timeline()
	n := tl.Edge(time.Now())
	b.want(404, "no-init", "GET", b.deliver+"/t/e/v/init.mp4", nil)
	b.want(201, "", "PUT", b.publish+"/t/e/a/v/init.mp4", m.init)
	whole := m.segment(&ev, n, 1)
	b.want(201, "", "PUT", fmt.Sprintf("%s/t/e/a/v/%d.m4s", b.publish, n), whole)

	for _, base := range []string{b.deliver, b.edge} {
		seg := func(n live.Number) string { return fmt.Sprintf("%s/t/e/v/%d.m4s", base, n) }
		r := b.want(200, "", "GET", seg(n), nil)
		for _, h := range []string{live.HeaderPipeline, live.HeaderPublished, live.HeaderContentDigest, live.HeaderVersion, live.HeaderEdge, "Etag", "Cache-Control"} {
			if r.Header.Get(h) == "" {
				t.Errorf("%s: no %s", base, h)
			}
		}
		if got := r.Header.Get(live.HeaderContentDigest); got != live.DigestOf(whole).String() {
			t.Errorf("Content-Digest: %s", got)
		}
		b.want(304, "", "GET", seg(n), nil, "If-None-Match", r.Header.Get("ETag"))
		part := b.want(206, "", "GET", seg(n), nil, "Range", "bytes=0-9")
		if part.Header.Get("Content-Range") != fmt.Sprintf("bytes 0-9/%d", len(whole)) {
			t.Errorf("Content-Range: %q", part.Header.Get("Content-Range"))
		}
		b.want(200, "", "HEAD", seg(n), nil)
		b.want(204, "", "OPTIONS", seg(n), nil)
		for _, name := range []string{"init.mp4", "media.m3u8"} {
			b.want(200, "", "GET", base+"/t/e/v/"+name, nil)
		}
		for _, name := range []string{"manifest.mpd", "main.m3u8", "event.json"} {
			b.want(200, "", "GET", base+"/t/e/"+name, nil)
		}
		b.want(200, "", "GET", base+"/time", nil)
		b.want(404, "never", "GET", seg(0), nil)
		b.want(404, "never", "GET", seg(1_000_000), nil)
		r = b.want(404, "early", "GET", seg(n+10), nil)
		d, ok := live.ParseLifetime(r.Header.Values("Cache-Control"))
		if left := time.Until(tl.Due(n + 10)); !ok || d <= 0 || d > left+5*time.Second || d < left-5*time.Second {
			t.Errorf("early is fresh for %v, due in %v", d, left)
		}
		b.want(404, "no-such-event", "GET", base+"/t/other/v/1.m4s", nil)
		b.want(404, "no-such-tenant", "GET", base+"/other/e/v/1.m4s", nil)
		b.want(404, "no-such-rendition", "GET", base+"/t/e/other/1.m4s", nil)
		b.want(404, "no-key-frame", "GET", base+"/t/e/v/k1.m4s", nil)
		b.want(404, "not-found", "GET", base+"/favicon.ico", nil)
		b.want(405, "method-not-allowed", "POST", seg(n), nil)
		b.want(410, "lost", "GET", seg(n-2), nil)
		b.want(410, "gone", "GET", seg(1), nil)
	}

	b.store.Add(storetest.Fault{Op: storetest.Get, Err: store.ErrUnavailable})
	b.want(503, "store-unavailable", "GET", fmt.Sprintf("%s/t/e/v/%d.m4s", b.deliver, n), nil)
	b.store.Clear()
	b.store.Add(storetest.Fault{Op: storetest.Get, Err: errors.New("an error that no store has")})
	b.want(500, "internal", "GET", fmt.Sprintf("%s/t/e/v/%d.m4s", b.deliver, n), nil)
	return b
}

func limitStatuses(t *testing.T) *bench {
	b := newBench(t, func(c *origin.Config) { c.MaxHolds = 1 })
	ev := testEvent(func(e *live.Event) { e.Start = time.Now().UTC(); e.HoldMS = 60_000 })
	b.create("t/e", ev)
	url := b.deliver + "/t/e/v/1.m4s"
	held := make(chan *http.Response, 1)
	go func() {
		resp, err := http.Get(url)
		if err != nil {
			t.Error(err)
		}
		held <- resp
	}()
	// The first is held; the second finds no place, once the first is.
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) && len(b.seen) == 0 {
		if holding(t, b.control) == 1 {
			b.want(503, "overloaded", "GET", url, nil)
		}
	}
	b.origin.Drain()
	resp := <-held
	defer resp.Body.Close()
	b.check(resp, 503, "draining", "a held request")
	return b
}

// holding reads how many requests the origin holds.
func holding(t *testing.T, control string) int {
	t.Helper()
	resp, err := http.Get(control + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "headwater_origin_holding "); ok {
			n, _ := strconv.Atoi(v)
			return n
		}
	}
	t.Fatal("there is no headwater_origin_holding")
	return 0
}

func controlStatuses(t *testing.T) *bench {
	b := newBench(t, nil)
	ev := testEvent(nil)
	url := b.control + "/v1/events/t/e"
	b.want(404, "no-such-event", "GET", url, nil)
	b.create("t/e", ev)
	body, err := json.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	b.want(200, "", "PUT", url, body)
	b.want(200, "", "GET", url, nil)
	b.want(400, "bad-event", "PUT", url, []byte(`{"start":"2026-11-23T20:00:00Z","colour":1}`))
	b.want(415, "not-json", "POST", url+"/flush", []byte(`{}`), "Content-Type", "text/plain")
	b.want(403, "forbidden", "POST", url+"/flush", nil, "Origin", "http://elsewhere.example")
	b.want(400, "bad-request", "POST", url+"/notifications", []byte(`{"type":"x"}`))
	b.want(200, "", "POST", url+"/notifications", []byte(`{"type":"ad-break","id":"b1","from":3,"data":"e30="}`))
	r := b.want(410, "gone", "GET", b.deliver+"/t/e/v/1.m4s", nil)
	if h := r.Header.Get(live.HeaderNotifications); h != `1, ad-break;id="b1";from=3;data=:e30=:` {
		t.Errorf("Live-Notifications: %s", h)
	}
	b.want(200, "", "POST", url+"/notifications", []byte(`{"id":"b1","withdraw":true}`))
	b.want(404, "not-found", "DELETE", url+"/masks/none", nil)
	b.want(200, "", "POST", url+"/flush?yes=true", nil)
	b.want(413, "too-large", "PUT", url, bytes.Repeat([]byte(" "), 2<<20))

	m := newMedium(t, live.Video)
	tl := ev.Timeline()
	n := tl.Edge(time.Now())
	b.want(201, "", "PUT", b.publish+"/t/e/a/v/init.mp4", m.init)
	b.want(201, "", "PUT", fmt.Sprintf("%s/t/e/a/v/%d.m4s", b.publish, n), m.segment(&ev, n, 1))
	b.want(200, "", "GET", url+"/segments", nil)
	ev.Start = ev.Start.Add(2 * time.Second)
	if body, err = json.Marshal(ev); err != nil {
		t.Fatal(err)
	}
	b.want(409, "event-started", "PUT", url, body)
	ev.Start = ev.Start.Add(-2 * time.Second)
	ev.Pipelines = ev.Pipelines[1:]
	if body, err = json.Marshal(ev); err != nil {
		t.Fatal(err)
	}
	b.want(409, "in-use", "PUT", url, body)
	b.want(200, "", "PUT", url+"?replace=true&dry_run=true", body)
	b.want(200, "", "POST", url+"/masks", []byte(`{"pipeline":"a","from":"-1m"}`))
	b.want(409, "blackout", "POST", url+"/masks", []byte(`{"pipeline":"b","from":"now"}`))
	b.want(200, "", "GET", url+"/masks", nil)
	b.want(204, "", "DELETE", url+"?yes=true", nil)
	b.want(404, "no-such-event", "GET", b.deliver+"/t/e/v/1.m4s", nil)
	return b
}

func edgeStatuses(t *testing.T) *bench {
	b := newBench(t, nil)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	ed, err := edge.New(edge.Config{Parents: []string{"http://" + dead.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(front.Handler(ed))
	defer s.Close()
	defer ed.Close()
	b.want(503, "upstream-unavailable", "GET", s.URL+"/t/e/v/1.m4s", nil)

	// A parent that asks the edge what the edge asks it.
	var below string
	parent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != live.TimePath {
			b.want(508, "loop", "GET", below+r.URL.Path, nil, live.HeaderCDNLoop, r.Header.Get(live.HeaderCDNLoop))
		}
		http.NotFound(w, r)
	}))
	defer parent.Close()
	child, err := edge.New(edge.Config{Parents: []string{parent.URL}})
	if err != nil {
		t.Fatal(err)
	}
	loop := httptest.NewServer(front.Handler(child))
	defer loop.Close()
	defer child.Close()
	below = loop.URL
	b.want(404, "no-such-event", "GET", below+"/t/e/v/1.m4s", nil)
	// An event of which viewers must show tokens.
	b.create("t/e", testEvent(func(e *live.Event) { e.Viewers = &live.Viewers{Tokens: true} }))
	guarded, err := edge.New(edge.Config{Parents: []string{b.deliver}})
	if err != nil {
		t.Fatal(err)
	}
	door := httptest.NewServer(front.Handler(guarded))
	defer door.Close()
	defer guarded.Close()
	b.want(403, "token-refused", "GET", door.URL+"/t/e/v/1.m4s", nil)
	if codes := slices.Collect(maps.Keys(b.seen)); len(codes) != 4 {
		t.Errorf("seen: %v", codes)
	}
	return b
}
