package edge

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
)

func TestUnknownEventCostsOneRequest(t *testing.T) {
	run(t, 1, func(r *rig) {
		const path = "/t/other/v/1.m4s"
		burst := make([]*viewer, r.crowd(500))
		for i := range burst {
			burst[i] = r.ask(path)
		}
		for _, v := range burst {
			<-v.closed
			v.expect(404, 2*time.Second)
		}
		r.at(1999 * time.Millisecond)
		r.get(path).expect(404, time.Millisecond)
		if n := r.parent.asks("/t/other/event.json"); n != 1 {
			t.Errorf("the parent was asked %d times", n)
		}
		r.at(2000 * time.Millisecond)
		r.get(path).expect(404, 2*time.Second)
		if n := r.parent.asks("/t/other/event.json"); n != 2 {
			t.Errorf("after the lifetime the parent was asked %d times", n)
		}
		if n := r.parent.asks(path); n != 0 {
			t.Errorf("the parent was asked for a segment of it %d times", n)
		}
	})
}

// A storm of made-up events of one made-up tenant is the first one's request.
func TestUnknownTenantCostsOneRequest(t *testing.T) {
	run(t, 1, func(r *rig) {
		asks := func() (n int) {
			for i := range 200 {
				n += r.parent.asks(fmt.Sprintf("/other/x%d/event.json", i))
			}
			return n
		}
		r.get("/other/x0/v/1.m4s").expect(404, 2*time.Second)
		r.at(time.Second)
		for i := range 199 {
			v := r.get(fmt.Sprintf("/other/x%d/v/1.m4s", i+1))
			v.expect(404, time.Second)
			if !strings.Contains(v.body.String(), live.ErrNoTenant.Code) {
				t.Fatalf("%q", v.body.String())
			}
		}
		if n := asks(); n != 1 {
			t.Errorf("the parent was asked %d times", n)
		}
		r.get("/t/other/v/1.m4s").expect(404, 2*time.Second)
		r.at(2000 * time.Millisecond)
		r.get("/other/x7/v/1.m4s").expect(404, 2*time.Second)
		if n := asks(); n != 2 {
			t.Errorf("after the lifetime the parent was asked %d times", n)
		}
	})
}

func TestUnknownEventsAreBounded(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		for i := range 100 {
			if v := r.get(fmt.Sprintf("/t/x%d/manifest.mpd", i)); v.status() != 404 {
				t.Fatalf("%d", v.status())
			}
		}
		if n := r.metric("events"); n > 10 {
			t.Errorf("%v events are remembered", n)
		}
		if r.get("/t/e/v/0.m4s"); r.parent.asks("/t/e/event.json") != 2 { // the first, and the held one
			t.Errorf("the known event was forgotten")
		}
		r.at(time.Minute)
		if n := r.metric("events"); n != 1 {
			t.Errorf("%v events are remembered after their refusals ran out", n)
		}
	}, func(c *Config) { c.MaxEvents = 10 })
}

func TestUnknownEventWhileTheOriginIsGone(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.parent.stop()
		v := r.get("/t/e/v/1.m4s")
		v.expect(503, time.Second)
		if d := v.ended.Sub(r.began); d > retryBudget+grace {
			t.Errorf("refused after %v", d)
		}
		r.parent.start()
		time.Sleep(time.Second)
		r.get("/t/e/v/1.m4s").expect(200, 10*time.Minute)
	})
}

func TestConfigurationIsFollowed(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.at(200 * time.Millisecond)
		first := r.get("/t/e/event.json")
		waiting := r.ask("/t/e/event.json?after=" + strings.ReplaceAll(first.got("ETag"), `"`, "%22"))
		bare := r.ask("/t/e/event.json?after=" + strings.Trim(first.got("ETag"), `"`))
		r.at(7 * time.Second)
		if waiting.over() || bare.over() {
			t.Fatal("the held form was answered although nothing changed")
		}
		if n := r.parent.asks("/t/e/event.json"); n != 2 {
			t.Errorf("the parent was asked %d times in 7 s", n)
		}
		r.parent.configure(func(c *live.Config) { c.HoldMS = 1000 })
		for _, v := range []*viewer{waiting, bare} {
			<-v.closed
			var c live.Config
			if err := json.Unmarshal([]byte(v.text()), &c); err != nil || c.HoldMS != 1000 || c.Version != 2 {
				t.Errorf("%v: %s", err, v.text())
			}
			if d := v.ended.Sub(r.began); d != 7*time.Second {
				t.Errorf("answered after %v", d)
			}
			if v.got("Live-Version") != "2" {
				t.Errorf("Live-Version %q", v.got("Live-Version"))
			}
		}
		// Segment 4 is due 1 s before 8.5 s now.
		r.get("/t/e/v/4.m4s").expect(404, 500*time.Millisecond)
		// A page of its own that asks for an old one has the new one at once.
		if v := r.get("/t/e/event.json?after=old"); v.status() != 200 {
			t.Errorf("%d", v.status())
		}
		if v := r.get("/t/e/event.json", with("If-None-Match", waiting.got("ETag"))); v.status() != 304 {
			t.Errorf("a comparison: %d", v.status())
		}
		// Held for so long and no longer.
		v := r.get("/t/e/event.json?after=" + strings.Trim(waiting.got("ETag"), `"`))
		if d := v.ended.Sub(r.began); v.status() != 200 || d != 7*time.Second+configHold {
			t.Errorf("%d after %v", v.status(), d)
		}
	})
}

// A version that any answer tells brings the configuration at once, even from
// a parent that does not answer the held form.
func TestVersionEndsTheHold(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.at(3 * time.Second)
		r.parent.mu.Lock()
		r.parent.config.Version = 5 // nobody is woken
		r.parent.config.HoldMS = 1000
		r.parent.mu.Unlock()
		r.get("/t/e/v/1.m4s").expect(200, 10*time.Minute)
		synctest.Wait()
		r.get("/t/e/v/2.m4s").expect(404, 500*time.Millisecond)
		if n := r.parent.asks("/t/e/event.json"); n > 4 {
			t.Errorf("the parent was asked %d times", n)
		}
	})
}

// A parent that does not hold, or lags behind what another told, is not asked
// without end.
func TestFollowerIsPatient(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.parent.set("Live-Version", "9")
		r.at(3 * time.Second)
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Live-Version", "9")
			serveBytes(w, q, segment(q))
		})
		r.get("/t/e/v/1.m4s")
		r.at(13 * time.Second)
		if n := r.parent.asks("/t/e/event.json"); n > 12 {
			t.Errorf("the parent was asked %d times in 10 s", n)
		}
		// In the end what all parents say is what there is.
		r.parent.script(func(w http.ResponseWriter, q *http.Request) { serveBytes(w, q, segment(q)) })
		r.at(40 * time.Second)
		before := r.parent.asks("/t/e/event.json")
		r.at(140 * time.Second)
		if n := r.parent.asks("/t/e/event.json") - before; n > 6 {
			t.Errorf("the parent was asked %d times in 100 s", n)
		}
	})
}

func TestOriginThatLostItsVersions(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) { c.Version = 7 })
		r.know()
		r.at(time.Second)
		r.parent.configure(func(c *live.Config) { c.Version = 2; c.HoldMS = 1000 })
		r.at(59 * time.Second)
		// Segment 30 is expected at 60.5 s.
		r.get("/t/e/v/30.m4s").expect(404, 500*time.Millisecond)
	})
}

func TestDeletedEvent(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		etag := strings.Trim(r.get("/t/e/event.json").got("ETag"), `"`)
		waiting := r.ask("/t/e/event.json?after=" + etag)
		r.at(time.Second)
		r.parent.mu.Lock()
		r.parent.events = false
		r.parent.mu.Unlock()
		r.parent.configure(func(*live.Config) {})
		<-waiting.closed
		waiting.expect(404, 2*time.Second)
		r.at(3 * time.Second)
		if v := r.get("/t/e/v/1.m4s"); v.status() != 404 {
			t.Errorf("%d", v.status())
		}
		r.parent.mu.Lock()
		r.parent.events = true
		r.parent.mu.Unlock()
		r.at(6 * time.Second)
		r.get("/t/e/v/1.m4s").expect(200, 10*time.Minute)
	})
}

func TestIdleEventIsForgotten(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.at(5 * time.Minute)
		n := r.parent.asks("/t/e/event.json")
		r.at(time.Hour)
		if more := r.parent.asks("/t/e/event.json") - n; more > 3 {
			t.Errorf("it was followed with %d requests in an hour", more)
		}
		r.know()
	}, func(c *Config) { c.EventIdle = time.Minute })
}

func TestNotificationsRideOnEveryAnswer(t *testing.T) {
	const older = `16, ad-break;id="b1";from=1`
	const newer = `17, ad-break;id="b1";from=1;to=9;data=:e30=:`
	run(t, 1, func(r *rig) {
		r.know()
		r.at(11 * time.Second)
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			switch {
			case strings.HasSuffix(q.URL.Path, "/1.m4s"):
				w.Header().Set("Live-Notifications", newer)
				w.Header().Set("Live-Edge", "5")
			case strings.HasSuffix(q.URL.Path, "/2.m4s"):
				// Overtaken on its way.
				w.Header().Set("Live-Notifications", older)
				w.Header().Set("Live-Edge", "4")
			case strings.HasSuffix(q.URL.Path, "/3.m4s"):
				w.Header().Set("Live-Notifications", `x,,`)
				w.Header().Set("Live-Edge", "many")
			case strings.HasSuffix(q.URL.Path, "/4.m4s"):
				live.ErrShed.Write(w, q)
				return
			}
			serveBytes(w, q, segment(q))
		})
		r.get("/t/e/v/1.m4s")
		for path, status := range map[string]int{
			"/t/e/v/1.m4s": 200, "/t/e/v/2.m4s": 200, "/t/e/v/3.m4s": 200, "/t/e/v/4.m4s": 503,
			"/t/e/v/0.m4s": 404, "/t/e/v/100.m4s": 404, "/t/e/nothing/1.m4s": 404, "/t/e/event.json": 200, "/t/e/v/init.mp4": 200,
		} {
			v := r.get(path)
			if v.status() != status || v.got("Live-Notifications") != newer || v.got("Live-Edge") != "5" || v.got("Live-Version") != "1" {
				t.Errorf("%s: %d, notifications %q, edge %q, version %q", path, v.status(),
					v.got("Live-Notifications"), v.got("Live-Edge"), v.got("Live-Version"))
			}
		}
	})
}

// Manifests say what viewers are told, so one of before it was told serves nobody after.
func TestManifestsAreOfWhatIsTold(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.at(11 * time.Second)
		set := `1, ad-break;id="b1";from=1`
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Live-Notifications", set)
			if strings.HasSuffix(q.URL.Path, ".m4s") {
				serveBytes(w, q, segment(q))
				return
			}
			w.Header().Set("Cache-Control", "max-age=60")
			io.WriteString(w, set)
		})
		r.get("/t/e/v/1.m4s")
		for _, path := range []string{"/t/e/manifest.mpd", "/t/e/timeline.mpd", "/t/e/main.m3u8", "/t/e/v/media.m3u8"} {
			r.get(path)
			if v := r.get(path); v.status() != 200 || v.got("Cache-Status") == "" || !strings.Contains(v.got("Cache-Status"), "hit") {
				t.Errorf("%s again: %d %s", path, v.status(), v.got("Cache-Status"))
			}
		}
		set = `2, ad-break;id="b2";from=3`
		r.get("/t/e/v/2.m4s")
		for _, path := range []string{"/t/e/manifest.mpd", "/t/e/timeline.mpd", "/t/e/main.m3u8", "/t/e/v/media.m3u8"} {
			if v := r.get(path); v.status() != 200 || !strings.Contains(v.body.String(), `"b2"`) {
				t.Errorf("%s once more was told: %d %s", path, v.status(), v.body.String())
			}
		}
		if v := r.get("/t/e/v/1.m4s"); !strings.Contains(v.got("Cache-Status"), "hit") {
			t.Errorf("a segment is what it was: %s", v.got("Cache-Status"))
		}
	})
}

func TestFlushIsOneNumber(t *testing.T) {
	run(t, 1, func(r *rig) {
		const path = "/t/e/v/1.m4s"
		r.know()
		r.at(3 * time.Second)
		r.get(path)
		r.parent.configure(func(c *live.Config) { c.HoldMS = 1500 }) // a version, and no flush
		synctest.Wait()
		r.get(path)
		if n := r.parent.asks(path); n != 1 {
			t.Errorf("asked %d times before the flush", n)
		}
		r.parent.configure(func(c *live.Config) { c.FlushVersion = 3 })
		synctest.Wait()
		r.get(path)
		r.get(path)
		if n := r.parent.asks(path); n != 2 {
			t.Errorf("asked %d times after the flush", n)
		}
	})
}

func TestInvalidations(t *testing.T) {
	for _, c := range []struct {
		name  string
		scope live.Scope
		gone  []string
	}{
		{"a range", live.Scope{From: 1, To: 1}, []string{"/t/e/v/1.m4s", "/t/e/s/1.m4s"}},
		{"a rendition", live.Scope{Rendition: "v"}, []string{"/t/e/v/1.m4s", "/t/e/v/2.m4s", "/t/e/v/init.mp4"}},
		{"a pipeline", live.Scope{Pipeline: "a", From: 2}, []string{"/t/e/v/2.m4s", "/t/e/s/2.m4s"}},
		{"another pipeline", live.Scope{Pipeline: "b"}, nil},
		{"a region", live.Scope{Region: "east", To: 1}, []string{"/t/e/v/1.m4s", "/t/e/s/1.m4s"}},
		{"another region", live.Scope{Region: "west"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, 1, func(r *rig) {
				all := []string{"/t/e/v/1.m4s", "/t/e/s/1.m4s", "/t/e/v/2.m4s", "/t/e/s/2.m4s", "/t/e/v/init.mp4", "/t/e/s/init.mp4"}
				r.know()
				r.at(5 * time.Second)
				for _, p := range all {
					r.get(p)
				}
				r.parent.configure(func(cfg *live.Config) {
					cfg.Invalidations = append(cfg.Invalidations, live.Invalidation{ID: "i", Version: 2, Scope: c.scope})
				})
				synctest.Wait()
				var gone []string
				for range 2 {
					for _, p := range all {
						r.get(p)
					}
				}
				for _, p := range all {
					switch n := r.parent.asks(p); n {
					case 1:
					case 2:
						gone = append(gone, p)
					default:
						t.Errorf("%s was asked for %d times", p, n)
					}
				}
				if len(gone) != len(c.gone) {
					t.Errorf("gone: %v, want %v", gone, c.gone)
				}
				for _, p := range c.gone {
					if r.parent.asks(p) != 2 {
						t.Errorf("%s was kept", p)
					}
				}
			})
		})
	}
}

// What was under way when the invalidation came is not for those who come after.
func TestInvalidationDuringAFill(t *testing.T) {
	run(t, 1, func(r *rig) {
		const path = "/t/e/v/1.m4s"
		r.know()
		r.at(1 * time.Second)
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Live-Version", "1")
			r.publishes(2*time.Second)(w, q)
		})
		before := r.ask(path)
		synctest.Wait()
		r.parent.configure(func(cfg *live.Config) {
			cfg.Invalidations = []live.Invalidation{{ID: "i", Version: 2, Scope: live.Scope{From: 1, To: 1, Pipeline: "a"}}}
		})
		synctest.Wait()
		r.parent.script(r.publishes(2 * time.Second))
		after := r.ask(path)
		<-before.closed
		<-after.closed
		if n := r.parent.asks(path); n != 2 {
			t.Errorf("the parent was asked %d times", n)
		}
		if v := r.get(path); !strings.Contains(v.got("Cache-Status"), "hit") {
			t.Errorf("Cache-Status %q", v.got("Cache-Status"))
		}
	})
}

// Drain tells load balancers, and lets go of those who wait for a change.
func TestDrainTells(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		etag := r.get("/t/e/event.json").got("Etag")
		waits := r.ask("/t/e/event.json?after=" + etag)
		r.at(time.Second)
		if waits.over() {
			t.Fatalf("not held: %d", waits.status())
		}
		if a := r.get("/readyz"); a.status() != 200 {
			t.Errorf("ready: %d", a.status())
		}
		r.ed.Drain()
		<-waits.closed
		if waits.status() != 200 || waits.got("Etag") != etag {
			t.Errorf("held for a change: %d %s", waits.status(), waits.got("Etag"))
		}
		for path, want := range map[string]int{"/readyz": 503, "/healthz": 200, "/t/e/event.json": 200, "/t/e/event.json?after=" + etag: 200} {
			if a := r.get(path); a.status() != want {
				t.Errorf("%s: %d, want %d", path, a.status(), want)
			}
		}
	})
}
