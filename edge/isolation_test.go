package edge

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/internal/memnet"
	"headwater/live"
)

// What a parent is asked for is the same whoever begins a fill, and however: so
// nothing of it decides what others get who join.
func TestNothingOfAViewerReachesAFill(t *testing.T) {
	long := strings.Repeat("x", 20<<10)
	ways := []struct {
		name  string
		query string
		opts  []option
	}{
		{"plainly", "", nil},
		{"with a query", "?after=1&notifications=2&x=" + strings.Repeat("y", 1000), nil},
		{"for the head", "", []option{method("HEAD")}},
		{"for a range", "", []option{with("Range", "bytes=5-9"), with("If-Range", `"x"`)}},
		{"for a range beyond", "", []option{with("Range", "bytes=900000000-")}},
		{"with conditions", "", []option{with("If-None-Match", "*"), with("If-Match", `"y"`), with("If-Modified-Since", "Mon, 04 May 2026 03:02:01 GMT"), with("If-Unmodified-Since", "Mon, 04 May 2020 03:02:01 GMT")}},
		{"from a loop", "", []option{with("CDN-Loop", "evil;node=n1, headwater;node=n2")}},
		{"from a long loop", "", []option{with("CDN-Loop", long)}},
		{"with credentials", "", []option{with("Authorization", "Bearer x"), with("Cookie", "a=b"), with("Proxy-Authorization", "Basic x")}},
		{"with a long field", "", []option{with("X-Field", long)}},
		{"for no cache", "", []option{with("Cache-Control", "no-cache, max-age=0"), with("Pragma", "no-cache")}},
		{"for an encoding", "", []option{with("Accept-Encoding", "gzip, br"), with("Accept", "text/html"), with("Accept-Language", "de")}},
		{"as a proxy", "", []option{with("Via", "1.1 x"), with("Forwarded", "for=1.2.3.4"), with("X-Forwarded-For", "1.2.3.4"), with("X-Forwarded-Host", "evil"), with("Max-Forwards", "0")}},
		{"as a node", "", []option{with("Live-Site", `"b";id="nb"`), with("Live-Version", "99"), with("Live-Edge", "99"), with("Live-Notifications", "99")}},
		{"with a priority", "", []option{with("Priority", "u=0"), with("Sec-Fetch-Mode", "cors"), with("Origin", "https://evil.example")}},
		{"to change the protocol", "", []option{with("Upgrade", "h2c"), with("Connection", "Upgrade"), with("Expect", "100-continue")}},
	}
	run(t, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) { c.DVRSeconds = 3600 })
		r.know()
		r.at(2 * time.Duration(len(ways)+2) * time.Second)
		var mu sync.Mutex
		got := map[string]string{}
		r.parent.script(func(w http.ResponseWriter, req *http.Request) {
			h := req.Header.Clone()
			text := req.Method + " " + req.Proto + " " + req.URL.RawQuery
			for _, name := range slices.Sorted(maps.Keys(h)) {
				text += fmt.Sprintf("\n%s: %q", name, h[name])
			}
			mu.Lock()
			got[req.URL.Path] = text
			mu.Unlock()
			serveBytes(w, req, segment(req))
		})
		for n, way := range ways {
			path := "/t/e/v/" + live.SegmentName(live.Number(n+1))
			if way.name == "to change the protocol" && r.driver != blocks {
				continue // the client of the test would not let it out
			}
			<-r.ask(path+way.query, way.opts...).closed
			mu.Lock()
			if plain := got["/t/e/v/1.m4s"]; got[path] != plain {
				t.Errorf("%s:\n%s\nand plainly:\n%s", way.name, got[path], plain)
			}
			mu.Unlock()
			// Who comes after has all of it.
			r.get(path).expect(200, 10*time.Minute)
		}
	})
}

// A parent's answer that is about who asks is nobody's: another parent is asked,
// and where there is none it is no more than a moment's failure.
func TestAnswersAboutTheAsker(t *testing.T) {
	for _, status := range []int{400, 401, 403, 405, 407, 408, 411, 413, 417, 426, 429, 431, 508, 302} {
		about := func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Cache-Control", "max-age=3600")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		}
		runBy(t, parks, 2, func(r *rig) {
			r.know()
			r.at(9 * time.Second)
			r.parents[0].script(about)
			r.get("/t/e/v/1.m4s").expect(200, 10*time.Minute)
			if a := r.parents[0].asks("/t/e/v/1.m4s"); a != 1 {
				t.Errorf("%d: the first parent was asked %d times", status, a)
			}
			if up := r.metric("parent_up", "parent", "http://p1:80"); up != 1 {
				t.Errorf("%d: it is taken to be down", status)
			}
			r.get("/t/e/v/0.m4s")
			if r.get("/t/e/v/3.m4s").expect(200, 10*time.Minute); r.parents[0].asks("/t/e/v/3.m4s") != 0 {
				t.Errorf("%d: the first parent is preferred all the same", status)
			}
			r.parents[1].script(about)
			r.get("/t/e/v/2.m4s").expect(503, time.Second)
			r.parents[1].script(func(w http.ResponseWriter, req *http.Request) { serveBytes(w, req, segment(req)) })
			time.Sleep(time.Second)
			r.get("/t/e/v/2.m4s").expect(200, 10*time.Minute)
		})
	}
}

// Only nodes that say who they are are believed where a request has been.
func TestWhoIsBelievedWhereItHasBeen(t *testing.T) {
	const way = "below;node=n1"
	run(t, 1, func(r *rig) {
		r.know()
		r.at(9 * time.Second)
		var loop string
		r.parent.script(func(w http.ResponseWriter, req *http.Request) {
			loop = req.Header.Get("CDN-Loop")
			serveBytes(w, req, segment(req))
		})
		own := string(r.ed.member)
		for i, c := range []struct {
			opts []option
			want string
		}{
			{nil, own},
			{[]option{with("CDN-Loop", way)}, own},
			{[]option{with("CDN-Loop", way), with("Authorization", "Bearer wrong")}, own},
			{[]option{with("CDN-Loop", way), with("Authorization", "Bearer right")}, way + ", " + own},
			{[]option{with("CDN-Loop", strings.Repeat("x", maxLoop+1)), with("Authorization", "Bearer right")}, own},
		} {
			if r.get("/t/e/v/"+live.SegmentName(live.Number(i)), c.opts...); i > 0 && loop != c.want {
				t.Errorf("%d: %q, want %q", i, loop, c.want)
			}
		}
	}, func(c *Config) { c.Peers = func(a string) bool { return a == "Bearer right" } })
}

// What a broken parent refuses does not last, and the size of what it says is bounded.
func TestBrokenParentsDoNotLast(t *testing.T) {
	run(t, 2, func(r *rig) {
		r.know()
		r.at(9 * time.Second)
		r.parent.script(func(w http.ResponseWriter, req *http.Request) { live.ErrGone.For(time.Hour).Write(w, req) })
		r.get("/t/e/v/1.m4s").expect(410, time.Minute)
		r.parent.script(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set(live.HeaderDefects, strings.Repeat("x", 70<<10))
			serveBytes(w, req, segment(req))
		})
		v := r.get("/t/e/v/2.m4s")
		v.expect(200, 10*time.Minute)
		if len(v.got(live.HeaderDefects)) > 0 || r.parents[1].asks("/t/e/v/2.m4s") != 1 {
			t.Error("what is too large was taken")
		}
		before := r.metric("memory_bytes")
		r.parents[0].stop()
		r.parents[1].script(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Cmsd-Static", strings.Repeat("x", 50<<10))
			serveBytes(w, req, segment(req)[:10])
		})
		r.get("/t/e/v/3.m4s").expect(200, 10*time.Minute)
		if b := r.metric("memory_bytes") - before; b < 100<<10 {
			t.Errorf("%v bytes for a head of 50 KiB, which is kept twice", b)
		}
	})
	run(t, 1, func(r *rig) {
		r.parent.mu.Lock()
		r.parent.refuses, r.parent.events = time.Hour, false
		r.parent.mu.Unlock()
		for path, code := range map[string]string{"/t/e/v/1.m4s": "no-such-event", "/u/e/v/1.m4s": "no-such-tenant"} {
			v := r.get(path)
			if d, _ := live.ParseLifetime([]string{v.got("Cache-Control")}); v.status() != 404 || d > 5*time.Second || !strings.Contains(v.text(), code) {
				t.Errorf("%s: %d, for %v: %s", path, v.status(), d, v.text())
			}
		}
	})
}

// An answer without a digest is not trusted where the event's others have one.
func TestMissingDigest(t *testing.T) {
	run(t, 2, func(r *rig) {
		r.know()
		r.at(9 * time.Second)
		bare := func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Cache-Control", "max-age=600")
			fmt.Fprint(w, "anything")
		}
		r.parents[0].script(bare)
		if v := r.get("/t/e/v/0.m4s"); v.status() != 404 {
			t.Fatal(v.status())
		}
		r.get("/t/e/v/1.m4s").expect(200, 10*time.Minute) // no other has one as far as is known
		r.parents[0].script(func(w http.ResponseWriter, req *http.Request) { serveBytes(w, req, segment(req)) })
		r.get("/t/e/v/2.m4s").expect(200, 10*time.Minute)
		r.parents[0].script(bare)
		if v := r.get("/t/e/v/3.m4s"); v.text() != bodyOf("/t/e/v/3.m4s") {
			t.Errorf("%d %.80s", v.status(), v.text())
		}
		r.parents[1].script(bare)
		r.get("/t/e/v/4.m4s").expect(503, time.Second)
		r.get("/t/e/main.m3u8").expect(200, 10*time.Minute) // these have none
		r.at(80 * time.Second)
		r.get("/t/e/v/36.m4s").expect(200, 10*time.Minute) // nobody has one any more
	})
}

// Why no parent told of an event is in the log, once for a while: a wrong secret is
// seen nowhere else.
func TestWhyNoParentTells(t *testing.T) {
	log := new(memnet.Log)
	runBy(t, parks, 1, func(r *rig) {
		r.parent.stop()
		for _, event := range []string{"e", "f"} {
			if a := r.get("/t/" + event + "/main.m3u8"); a.status() != 503 {
				t.Errorf("%s: %d %s", event, a.status(), a.text())
			}
		}
		if s := log.String(); strings.Count(s, "no parent told") != 1 || !strings.Contains(s, "event=t/e err=") {
			t.Errorf("the log has:\n%s", s)
		}
	}, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
}

// Two edges that fill from each other, and from nobody else, say so at once: each
// knows the other by what it says of itself. Between them nobody waits for nothing.
func TestEdgesThatFillFromEachOther(t *testing.T) {
	both(t, func(t *testing.T, d driver) {
		synctest.Test(t, func(t *testing.T) {
			n, log := memnet.New(), new(memnet.Log)
			client := viewing(n.Dial)
			defer client.CloseIdleConnections()
			for name, parent := range map[string]string{"a": "b", "b": "a"} {
				ed, err := New(Config{Name: name, Parents: []string{"http://" + parent + ":80"}, Dial: n.Dial, Log: slog.New(slog.NewTextHandler(log, nil))})
				if err != nil {
					t.Fatal(err)
				}
				defer ed.Close()
				srv := d.front(ed)
				defer srv.Close()
				go srv.Serve(n.Listen(name + ":80"))
			}
			time.Sleep(3 * time.Second) // each was probed
			began := time.Now()
			resp, err := client.Get("http://a:80/t/e/v/1.m4s")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if d := time.Since(began); resp.StatusCode != 503 || d > 50*time.Millisecond || !strings.Contains(log.String(), "508 Loop Detected") {
				t.Errorf("%s after %v; the log has:\n%s", resp.Status, d, log)
			}
		})
	})
}

// Whoever says that he has been at every parent gets what is there, and is refused
// what is not: nobody else is told that, and nothing is begun.
func TestWhoSaysThatHeHasBeenAtEveryParent(t *testing.T) {
	run(t, 2, func(r *rig) {
		for i, p := range r.parents {
			p.mu.Lock()
			p.clock = func(w http.ResponseWriter, req *http.Request) {
				w.Header().Set(live.HeaderCDNLoop, fmt.Sprintf("x;node=n9, edge;node=n%d", i))
				live.ServeTime(w, req, time.Now())
			}
			p.mu.Unlock()
		}
		r.at(2 * time.Second)
		const path = "/t/e/v/1.m4s"
		liar := with("CDN-Loop", "edge;node=n0, other;node=n1")
		refused := func(v *viewer) {
			t.Helper()
			if v.status() != 508 || v.got("Cache-Control") != "no-store" || !strings.Contains(v.text(), ":loop") {
				t.Errorf("%d, %s: %s", v.status(), v.got("Cache-Control"), v.text())
			}
		}
		refused(r.get(path, liar))
		r.know()
		r.at(9 * time.Second)
		refused(r.get(path, liar))
		if n := r.parent.asks(path) + r.parents[1].asks(path); n != 0 {
			t.Errorf("%d requests for who was refused", n)
		}
		r.parent.script(func(w http.ResponseWriter, req *http.Request) {
			time.Sleep(100 * time.Millisecond)
			serveBytes(w, req, segment(req))
		})
		other := r.ask(path)
		synctest.Wait()
		refused(r.get(path, liar))
		<-other.closed
		other.expect(200, 10*time.Minute)
		r.get(path, liar).expect(200, 10*time.Minute)
		// One parent is left.
		r.get("/t/e/v/2.m4s", with("CDN-Loop", "edge;node=n0")).expect(200, 10*time.Minute)
		if n := r.metric("memory_refused_fills_total"); n != 0 {
			t.Errorf("%v fills were refused for want of memory", n)
		}
	})
}
