package deploy_test

import (
	"bytes"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headwater/deploy"
	"headwater/internal/need"
	"headwater/live"
)

// TestPeers: stock nginx and Varnish with what is shipped here, before a real
// origin and before a real edge, while a real packager publishes.
func TestPeers(t *testing.T) {
	need.Long(t, "needs nginx and varnish")
	t.Parallel()
	s := newSystem(t)
	for _, k := range kinds {
		for _, parent := range []struct {
			name    string
			handler http.Handler
		}{{"origin", s.origin}, {"edge", s.edge}} {
			t.Run(k.name+" before the "+parent.name, func(t *testing.T) {
				t.Parallel()
				counted := new(counter)
				p := k.run(t, serve(t, counted.wrap(parent.handler)))
				w := &watch{s: s, k: k, url: "http://" + p.Addr, parent: counted, hc: client(t)}
				for _, x := range []struct {
					name string
					f    func(*testing.T, *watch)
				}{{"held", held}, {"early", early}, {"lost", lost}, {"parts", parts}, {"configuration", configuration}, {"query", query}} {
					t.Run(x.name, func(t *testing.T) { t.Parallel(); x.f(t, w) })
				}
			})
		}
	}
}

type watch struct {
	s      *system
	k      kind
	url    string
	parent *counter
	hc     *http.Client
}

// held: a crowd that asks before a segment is published is answered when it is,
// and its parent is asked once.
func held(t *testing.T, w *watch) {
	tl := &w.s.timeline
	// A request is held from due to publication; the segment after the edge is
	// due soon, as the hold window is as long as a segment.
	n := tl.Edge(time.Now()) + 2
	wait(t, tl.Due(n))
	url := w.url + path("v720", n)
	const crowd = 100
	answers := make([]answer, crowd)
	var all sync.WaitGroup
	// Before them one asks for a part.
	all.Go(func() {
		if a, err := try(t.Context(), w.hc, http.MethodGet, url, "Range", "bytes=0-99"); err != nil || a.status != http.StatusPartialContent {
			t.Errorf("a part: %d %v", a.status, err)
		}
	})
	every(t, time.Millisecond, func() bool { return w.parent.of(path("v720", n)) == 0 })
	for i := range answers {
		all.Go(func() {
			var err error
			if answers[i], err = try(t.Context(), w.hc, http.MethodGet, url); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for i, a := range answers {
		if a.status != http.StatusOK {
			t.Fatalf("viewer %d: %d: %s", i, a.status, a.body)
		}
		digest, err := live.ParseDigest(a.header.Values(live.HeaderContentDigest))
		if err != nil || digest != live.DigestOf(a.body) || digest.IsZero() {
			t.Errorf("viewer %d: Content-Digest %v, the body's is %v: %v", i, digest, live.DigestOf(a.body), err)
		}
		at, err := live.ParsePublished(a.header.Get(live.HeaderPublished))
		if err != nil || !at.After(a.sent) {
			t.Errorf("viewer %d was not held: published %v, asked %v, %v", i, at, a.sent, err)
		}
		for _, name := range []string{live.HeaderPipeline, live.HeaderEdge, live.HeaderVersion, "Etag", "Last-Modified", "Date", "Cmsd-Static", "Access-Control-Expose-Headers"} {
			if a.header.Get(name) == "" {
				t.Errorf("viewer %d: no %s in %v", i, name, a.header)
			}
		}
		if a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Content-Type") != "video/mp4" {
			t.Errorf("viewer %d: %v", i, a.header)
		}
		if a.header.Get("X-Accel-Expires") != "" {
			t.Errorf("viewer %d sees the talk between the servers", i)
		}
	}
	if got := w.parent.of(path("v720", n)); got != 1 {
		t.Errorf("%d viewers cost %d requests, want 1", crowd, got)
	}
}

var mayAskFrom = regexp.MustCompile(`may be asked for from (\S+) on`)

// early: a segment that cannot be yet is refused from the cache, and neither the
// cache nor any behind it says so for longer than it is away.
func early(t *testing.T, w *watch) {
	tl := &w.s.timeline
	n := tl.Edge(time.Now()) + 5
	due := tl.Due(n)
	var asked, refused int
	every(t, 20*time.Millisecond, func() bool {
		a := ask(t, w.hc, http.MethodGet, w.url+path("v180", n))
		asked++
		if a.status == http.StatusOK {
			return false
		}
		p := a.problem(t)
		if a.status != http.StatusNotFound || p.Code != live.ErrEarly.Code {
			t.Fatalf("%d %s: %s", a.status, p.Code, p.Detail)
		}
		refused++
		// The origin may have seen the rendition to be late.
		if m := mayAskFrom.FindStringSubmatch(p.Detail); m == nil {
			t.Fatalf("detail: %q", p.Detail)
		} else if d, err := time.Parse(live.TimeLayout, m[1]); err != nil {
			t.Fatal(err)
		} else if d.After(due) {
			due = d.Add(time.Millisecond) // it is written without the rest
		}
		if !a.sent.Before(due) {
			t.Fatalf("refused as early %v after it was due: %v", a.sent.Sub(due), a.header)
		}
		if fine, coarse := a.staleBy(t); fine.After(due) || coarse.After(due) {
			t.Errorf("asked %v before it was due, and told to repeat the answer for longer: %v", due.Sub(a.sent), a.header)
		}
		return true
	})
	// Within the last seconds nginx keeps nothing.
	if got := w.parent.of(path("v180", n)); got >= refused/2 || w.k.fine && got > 4 {
		t.Errorf("%d refusals cost %d requests", refused, got)
	}
}

// lost: 410 comes at the deadline, to all, and is kept for less than it may be;
// what never was stays away.
func lost(t *testing.T, w *watch) {
	// On a machine that has much else to do an edge may find the origin late,
	// and say so: then once more.
	for tries := 1; !lostOnce(t, w); tries++ {
		if tries == 4 {
			t.Error("no crowd of four was told that a segment is lost")
			break
		}
	}
	never := path("v180", w.s.event.FirstNumber-1)
	for range 5 {
		if a := ask(t, w.hc, http.MethodGet, w.url+never); a.status != http.StatusNotFound || a.problem(t).Code != live.ErrNever.Code {
			t.Errorf("%d: %s", a.status, a.body)
		}
	}
	if got := w.parent.of(never); got != 1 {
		t.Errorf("what never was cost %d requests for 5", got)
	}
}

// lostOnce reports whether no parent was found to be away.
func lostOnce(t *testing.T, w *watch) bool {
	tl := &w.s.timeline
	n := tl.Edge(time.Now()) + 2
	wait(t, tl.Due(n))
	const crowd = 20
	var all sync.WaitGroup
	var away, kept atomic.Bool
	kept.Store(w.k.fine)
	for range crowd {
		all.Go(func() {
			a, err := try(t.Context(), w.hc, http.MethodGet, w.url+path(silent, n))
			if err != nil {
				t.Error(err)
				return
			}
			// nginx keeps what has at least so much left of its two seconds.
			if d, _ := live.ParseLifetime(a.header.Values("Cache-Control")); d >= 1900*time.Millisecond {
				kept.Store(true)
			}
			switch p := a.problem(t); {
			case p.Code == live.ErrUpstream.Code:
				away.Store(true)
			case a.status != http.StatusGone || p.Code != live.ErrLost.Code:
				t.Errorf("%d %s", a.status, p.Code)
			case a.got.Before(tl.Deadline(n)):
				t.Errorf("given up %v before the deadline", tl.Deadline(n).Sub(a.got))
			}
		})
	}
	all.Wait()
	if away.Load() {
		return false
	}
	if got := w.parent.of(path(silent, n)); got > 2 && kept.Load() {
		t.Errorf("%d viewers cost %d requests", crowd, got)
	}
	return true
}

// parts: ranges, comparisons, HEAD and the preflight.
func parts(t *testing.T, w *watch) {
	n := w.s.timeline.Edge(time.Now()) + 1
	url := w.url + path("v360", n)
	// The range comes first: it must not become what others get.
	part := ask(t, w.hc, http.MethodGet, url, "Range", "bytes=100-199")
	whole := ask(t, w.hc, http.MethodGet, url)
	if whole.status != http.StatusOK || len(whole.body) < 1000 {
		t.Fatalf("%d: %d bytes", whole.status, len(whole.body))
	}
	digest := whole.header.Get(live.HeaderContentDigest)
	for i, a := range []answer{part, ask(t, w.hc, http.MethodGet, url, "Range", "bytes=100-199")} {
		if a.status != http.StatusPartialContent || !bytes.Equal(a.body, whole.body[100:200]) || !strings.HasPrefix(a.header.Get("Content-Range"), "bytes 100-199/") {
			t.Errorf("range %d: %d, %d bytes, %v", i, a.status, len(a.body), a.header)
		}
		if a.header.Get(live.HeaderContentDigest) != "" || a.header.Get("Repr-Digest") != digest {
			t.Errorf("range %d: digests %v", i, a.header)
		}
	}
	if a := ask(t, w.hc, http.MethodGet, url, "If-None-Match", whole.header.Get("Etag")); a.status != http.StatusNotModified || len(a.body) > 0 {
		t.Errorf("If-None-Match: %d", a.status)
	}
	if a := ask(t, w.hc, http.MethodHead, url); a.status != http.StatusOK || len(a.body) > 0 || a.header.Get("Etag") != whole.header.Get("Etag") {
		t.Errorf("HEAD: %d", a.status)
	}
	if a := ask(t, w.hc, http.MethodGet, url, "Cookie", "session=1", "Authorization", "Basic eDp5"); a.status != http.StatusOK {
		t.Errorf("with a cookie: %d", a.status)
	}
	if got := w.parent.of(path("v360", n)); got != 1 {
		t.Errorf("the segment was asked for %d times", got)
	}
	if a := ask(t, w.hc, http.MethodOptions, url, "Origin", "http://page.example", "Access-Control-Request-Method", "GET"); a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Methods") == "" {
		t.Errorf("OPTIONS: %d %v", a.status, a.header)
	}
	if a := ask(t, w.hc, http.MethodPost, url); a.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", a.status)
	}
}

// configuration: event.json?after= is held, and keeps nobody else waiting;
// /time is the parent's.
func configuration(t *testing.T, w *watch) {
	url := w.url + "/" + eventID.String() + "/event.json"
	first := ask(t, w.hc, http.MethodGet, url)
	if first.status != http.StatusOK {
		t.Fatal(first.status)
	}
	waiting := make(chan answer, 1)
	go func() {
		a, err := try(t.Context(), w.hc, http.MethodGet, url+"?after="+strings.Trim(first.header.Get("Etag"), `"`))
		if err != nil {
			t.Error(err)
		}
		waiting <- a
	}()
	path := "/" + eventID.String() + "/event.json"
	before := w.parent.of(path)
	every(t, 10*time.Millisecond, func() bool { return w.parent.of(path) == before })
	if a := ask(t, w.hc, http.MethodGet, url); a.status != http.StatusOK {
		t.Errorf("while another waits: %d", a.status)
	}
	changing.Lock()
	w.s.event.LiveWindowSeconds++
	w.s.configure(t)
	changing.Unlock()
	if a := <-waiting; a.status != http.StatusOK || a.header.Get("Etag") == first.header.Get("Etag") || bytes.Equal(a.body, first.body) {
		t.Errorf("after the change: %d %v", a.status, a.header)
	}
	one := ask(t, w.hc, http.MethodGet, w.url+"/time")
	every(t, time.Millisecond, func() bool {
		return bytes.Equal(ask(t, w.hc, http.MethodGet, w.url+"/time").body, one.body)
	})
}

// changing is held by who changes the event.
var changing sync.Mutex

// query: what means nothing is not passed on, and does not get past the cache.
func query(t *testing.T, w *watch) {
	n := w.s.timeline.Edge(time.Now()) - 1
	if n < w.s.timeline.First() {
		n = w.s.timeline.First()
	}
	for _, q := range []string{"", "?after=1", "?x=1", "?", "?x=/event.json?after=1"} {
		if a := ask(t, w.hc, http.MethodGet, w.url+path("a-en", n)+q); a.status != http.StatusOK {
			t.Errorf("%q: %d", q, a.status)
		}
	}
	if got := w.parent.of(path("a-en", n)); got > 1 {
		t.Errorf("query strings cost %d requests", got)
	}
	// Another form of a URL is another URL, and must not stand for the right one.
	if a := ask(t, w.hc, http.MethodGet, w.url+"/"+path(silent, n)); a.status != http.StatusNotFound {
		t.Errorf("two slashes: %d", a.status)
	}
	p := strings.Replace(path("a-en", n), "a-en", "%61-en", 1)
	if a := ask(t, w.hc, http.MethodGet, w.url+p); a.status != http.StatusOK && a.status != http.StatusNotFound {
		t.Errorf("%s: %d", p, a.status)
	}
}

// wait waits until t has come.
func wait(t *testing.T, until time.Time) {
	t.Helper()
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// TestConfigurationsAreClean: the programs read what is shipped without complaint.
func TestConfigurationsAreClean(t *testing.T) {
	need.Long(t, "needs nginx and varnish")
	t.Parallel()
	for _, k := range kinds {
		if err := k.check(t.Context(), deploy.Options{Parent: "127.0.0.1:7002", Listen: "127.0.0.1:8080", Dir: t.TempDir()}); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
	}
}
