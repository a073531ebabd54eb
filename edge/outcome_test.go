package edge

import (
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/internal/memnet"
	"headwater/live"
)

// Every outcome has a counter, and says itself in Cache-Status and Server-Timing.
func TestEveryOutcomeSaysItself(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.at(13 * time.Second)
		r.get("/t/e/v/1.m4s")
		r.parent.script(func(w http.ResponseWriter, req *http.Request) {
			time.Sleep(100 * time.Millisecond)
			serveBytes(w, req, segment(req))
		})
		first := r.ask("/t/e/v/2.m4s") // begins the fill that another joins
		r.at(13*time.Second + 50*time.Millisecond)
		for _, c := range []struct {
			path   string
			want   Outcome
			timing string
		}{
			{"/t/e/v/0.m4s", Never, "never;dur=0.0"},
			{"/t/e/nothing/1.m4s", Never, "never;dur=0.0"},
			{"/t/e/v/99.m4s", Early, "early;dur=0.0"},
			{"/t/e/v/1.m4s", Hit, "hit;dur=0.0"},
			{"/t/e/v/2.m4s", Join, "join;dur=50.0"},
			{"/t/e/v/3.m4s", Fill, "fill;dur=100.0"},
			{"/t/e/v/6.m4s", Hold, "hold;dur=100.0"},
		} {
			synctest.Wait() // whoever else was answered just now is counted
			before := r.metric("requests_total", "outcome", string(c.want))
			v := r.get(c.path)
			synctest.Wait() // it is counted when all of it is sent
			if got := v.got("Cache-Status"); !strings.HasSuffix(got, "detail="+string(c.want)) {
				t.Errorf("%s: Cache-Status %q", c.path, got)
			}
			if got := v.got("Server-Timing"); got != c.timing {
				t.Errorf("%s: Server-Timing %q, want %q", c.path, got, c.timing)
			}
			if n := r.metric("requests_total", "outcome", string(c.want)) - before; n != 1 {
				t.Errorf("%s: %v requests counted as %s", c.path, n, c.want)
			}
		}
		<-first.closed
		r.at(70 * time.Second)
		if v := r.get("/t/e/v/1.m4s"); v.got("Server-Timing") != "gone;dur=0.0" || !strings.HasSuffix(v.got("Cache-Status"), "detail=gone") {
			t.Errorf("gone: %q, %q", v.got("Server-Timing"), v.got("Cache-Status"))
		}
		if n := r.metric("requests_total", "outcome", "gone"); n != 1 {
			t.Errorf("%v gone", n)
		}
	})
}

// An event that nobody asks for is forgotten, but not while no parent could
// tell of it anew: what is in memory would be lost with it.
func TestIdleEventIsKeptWhileTheOriginIsGone(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.at(13 * time.Second)
		r.get("/t/e/v/5.m4s")
		r.parent.stop()
		r.at(13*time.Second + 20*time.Minute)
		if v := r.get("/t/e/v/600.m4s"); v.status() != 503 || v.got("Live-Version") != "1" {
			t.Errorf("%d, Live-Version %q", v.status(), v.got("Live-Version"))
		}
		r.at(14*time.Minute + 20*time.Minute)
		r.parent.start()
		// Then it is followed again, and in the end forgotten.
		r.at(60 * time.Minute)
		asks := r.parent.asks("/t/e/event.json")
		r.at(90 * time.Minute)
		if n := r.parent.asks("/t/e/event.json") - asks; n != 0 {
			t.Errorf("an event that nobody wants is followed: %d requests", n)
		}
	})
}

// Who leaves in the middle of a body is counted, as who leaves before it is.
func TestLeavingInMidBodyIsCounted(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.parent.script(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Length", "2000")
			w.Write(make([]byte, 1000))
			http.NewResponseController(w).Flush()
			time.Sleep(time.Second)
			w.Write(make([]byte, 1000))
		})
		r.at(13 * time.Second)
		leaves, stays := r.ask("/t/e/v/5.m4s"), r.ask("/t/e/v/5.m4s")
		r.at(13*time.Second + 500*time.Millisecond)
		leaves.leave()
		<-leaves.closed
		<-stays.closed
		if n := r.metric("clients_left_total"); n != 1 || leaves.complete() || !stays.complete() {
			t.Errorf("%v left; complete: %v, %v", n, leaves.complete(), stays.complete())
		}
	})
}

// A fill that ends because nobody waits for it any more has not failed.
func TestAbandonedFillsAreNoErrors(t *testing.T) {
	log := new(memnet.Log)
	runBy(t, parks, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) { c.DVRSeconds = 3600 })
		r.know()
		ended := make(chan struct{})
		r.parent.script(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Length", "2000")
			w.Write(make([]byte, 1000))
			http.NewResponseController(w).Flush()
			<-req.Context().Done()
			close(ended)
		})
		r.at(20 * time.Minute)
		v := r.ask("/t/e/v/5.m4s")
		synctest.Wait()
		v.leave()
		<-ended
		synctest.Wait()
		if n := r.metric("fill_errors_total"); n != 0 || strings.Contains(log.String(), "fill") {
			t.Errorf("%v fills failed; the log has:\n%s", n, log)
		}
	}, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
}

// An event that was deleted while this node was away, or whose tenant is no
// more, does not come back from its disk: not then, nor when all parents are gone.
func TestEventDeletedWhileAwayIsNotRecalled(t *testing.T) {
	dir := t.TempDir()
	for name, refusal := range map[string]*live.Problem{"event": live.ErrNoEvent, "tenant": live.ErrNoTenant} {
		dir := filepath.Join(dir, name)
		t.Run(name, func(t *testing.T) {
			runBy(t, parks, 1, func(r *rig) {
				r.know()
				r.at(13 * time.Second)
				r.get("/t/e/v/5.m4s").expect(200, 10*time.Minute)
				synctest.Wait() // the writer keeps up
				r.parent.stop()
				r.restart(dir)
				if v := r.get("/t/e/v/99.m4s"); v.got("Live-Version") != "1" {
					t.Fatalf("it is not on the disk: %d", v.status())
				}
				gone := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					refusal.With("no").Write(w, req)
				})}
				l := r.net.Listen(r.parent.addr)
				go gone.Serve(l)
				r.restart(dir)
				if v := r.get("/t/e/v/5.m4s"); v.status() != 404 {
					t.Errorf("%d", v.status())
				}
				synctest.Wait()
				gone.Close()
				r.restart(dir)
				if v := r.get("/t/e/v/5.m4s"); v.status() != 503 || v.got("Live-Version") != "" {
					t.Errorf("with all parents gone: %d, Live-Version %q", v.status(), v.got("Live-Version"))
				}
			}, onDisk(dir))
		})
	}
}
