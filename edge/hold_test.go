package edge

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
)

// publishes answers segments from the instant on, d after the beginning.
func (r *rig) publishes(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		t := time.NewTimer(time.Until(r.began.Add(d)))
		defer t.Stop()
		select {
		case <-t.C:
			serveBytes(w, q, segment(q))
		case <-q.Context().Done():
		}
	}
}

// nginx's waiters for a lock look every 500 ms (nginx issue 1189); Varnish lets
// them go in a rush that waits for the whole delivery (varnish-cache 2978, 3058).
func TestHoldReleasesAllAtOnceForOneRequest(t *testing.T) {
	run(t, 1, func(r *rig) {
		const path = "/t/e/v/3.m4s"
		r.know()
		r.parent.script(r.publishes(6123 * time.Millisecond))
		r.at(5 * time.Second)
		viewers := make([]*viewer, r.crowd(500))
		for i := range viewers {
			viewers[i] = r.ask(path)
		}
		synctest.Wait()
		if n := r.metric("holding"); n != float64(len(viewers)) {
			t.Errorf("%v are held", n)
		}
		for _, v := range viewers {
			<-v.closed
		}
		holds := 0
		for _, v := range viewers {
			if d := v.ended.Sub(r.began); d != 6123*time.Millisecond || v.status() != 200 || v.text() != bodyOf(path) || !v.complete() {
				t.Fatalf("after %v: %d, %d bytes", d, v.status(), len(v.text()))
			}
			if s := v.got("Server-Timing"); s != "hold;dur=1123.0" {
				t.Fatalf("Server-Timing %q", s)
			}
			if strings.Contains(v.got("Cache-Status"), "collapsed") {
				holds++
			}
		}
		if holds != len(viewers)-1 {
			t.Errorf("%d of %d say that they were collapsed", holds, len(viewers))
		}
		if n := r.parent.asks(path); n != 1 {
			t.Errorf("the parent was asked %d times", n)
		}
		if n := r.metric("origin_requests_total", "event", "t/e", "rendition", "v"); n != 1 {
			t.Errorf("%v origin requests were counted", n)
		}
		if n := r.metric("requests_total", "outcome", "hold"); int(n) != len(viewers) {
			t.Errorf("%v holds were counted", n)
		}
		if n := r.metric("holding"); n != 0 {
			t.Errorf("%v are still held", n)
		}
	})
}

// In nginx nobody can read a response while it fills (nginx issue 237).
func TestFollowersReadWhileItFills(t *testing.T) {
	run(t, 1, func(r *rig) {
		const path = "/t/e/v/1.m4s"
		r.know()
		body := bodyOf(path)
		rest := make(chan struct{})
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.Header().Set("Content-Digest", live.DigestOf([]byte(body)).String())
			w.Header().Set("Cache-Control", "max-age=600")
			w.Write([]byte(body[:len(body)/2]))
			w.(http.Flusher).Flush()
			<-rest
			w.Write([]byte(body[len(body)/2:]))
		})
		r.at(3 * time.Second)
		first := r.ask(path)
		synctest.Wait()
		second, head := r.ask(path), r.ask(path, method("HEAD"))
		part := r.ask(path, with("Range", "bytes=10-19"))
		same := r.ask(path, with("If-None-Match", "*"))
		tail := r.ask(path, with("Range", "bytes=-5"))
		synctest.Wait()
		for i, v := range []*viewer{first, second} {
			if v.text() != body[:len(body)/2] || v.over() {
				t.Errorf("viewer %d has %d of %d bytes", i, len(v.text()), len(body))
			}
		}
		if !head.over() || head.status() != 200 || head.got("Content-Length") != strconv.Itoa(len(body)) {
			t.Errorf("HEAD while it fills: %d %v", head.status(), head.sent)
		}
		if part.status() != 206 || part.text() != body[10:20] || !part.complete() {
			t.Errorf("a range that is there: %d %q", part.status(), part.text())
		}
		if !same.over() {
			t.Error("a comparison waits for the body")
		}
		if tail.over() || tail.text() != "" {
			t.Errorf("a range that is not there: %q", tail.text())
		}
		close(rest)
		for i, v := range []*viewer{first, second} {
			if <-v.closed; v.text() != body || !v.complete() {
				t.Errorf("viewer %d has %d of %d bytes", i, len(v.text()), len(body))
			}
		}
		if <-tail.closed; tail.status() != 206 || tail.text() != body[len(body)-5:] {
			t.Errorf("the tail: %d %q", tail.status(), tail.text())
		}
		if n := r.parent.asks(path); n != 1 {
			t.Errorf("the parent was asked %d times", n)
		}
	})
}

// A leader that leaves takes nobody with it.
func TestWhoBeganTheFillLeaves(t *testing.T) {
	for _, when := range []string{"before", "during"} {
		t.Run(when, func(t *testing.T) {
			run(t, 1, func(r *rig) {
				const path = "/t/e/v/1.m4s"
				r.know()
				body := bodyOf(path)
				head, rest := make(chan struct{}), make(chan struct{})
				r.parent.script(func(w http.ResponseWriter, q *http.Request) {
					<-head
					w.Header().Set("Content-Length", strconv.Itoa(len(body)))
					w.Header().Set("Cache-Control", "max-age=600")
					w.Write([]byte(body[:100]))
					w.(http.Flusher).Flush()
					<-rest
					w.Write([]byte(body[100:]))
				})
				r.at(1 * time.Second)
				leader := r.ask(path)
				synctest.Wait()
				follower := r.ask(path)
				synctest.Wait()
				if when == "during" {
					close(head)
					synctest.Wait()
				}
				leader.leave()
				<-leader.closed
				if when == "before" {
					close(head)
				}
				close(rest)
				if <-follower.closed; follower.text() != body || !follower.complete() {
					t.Errorf("the follower has %d of %d bytes", len(follower.text()), len(body))
				}
				if n := r.parent.asks(path); n != 1 {
					t.Errorf("the parent was asked %d times", n)
				}
			})
		})
	}
}

// A fill at the live edge goes on with nobody waiting, one of the DVR ends.
func TestFillThatNobodyWaitsFor(t *testing.T) {
	for _, c := range []struct {
		path string
		ends bool
	}{{"/t/e/v/45.m4s", false}, {"/t/e/v/25.m4s", true}} {
		run(t, 1, func(r *rig) {
			r.know()
			var gone atomic.Bool
			wait := make(chan struct{})
			r.parent.script(func(w http.ResponseWriter, q *http.Request) {
				select {
				case <-wait:
					serveBytes(w, q, segment(q))
				case <-q.Context().Done():
					gone.Store(true)
				}
			})
			r.at(91 * time.Second)
			a, b := r.ask(c.path), r.ask(c.path)
			synctest.Wait()
			a.leave()
			synctest.Wait()
			if gone.Load() {
				t.Fatalf("%s: ended while somebody waits", c.path)
			}
			b.leave()
			synctest.Wait()
			if gone.Load() != c.ends {
				t.Errorf("%s: ended: %v, want %v", c.path, gone.Load(), c.ends)
			}
			close(wait)
			synctest.Wait()
			if v := r.get(c.path); v.status() != 200 {
				t.Errorf("%s afterwards: %d", c.path, v.status())
			}
		})
	}
}

// A slow viewer delays the fill for all in Envoy (envoy 34595).
func TestSlowReaderHarmsNobody(t *testing.T) {
	run(t, 1, func(r *rig) {
		const path = "/t/e/v/1.m4s"
		r.know()
		r.at(1 * time.Second)
		r.parent.script(r.publishes(2 * time.Second))
		block := make(chan struct{})
		slow := r.ask(path, stuck(block))
		synctest.Wait()
		fast := make([]*viewer, 20)
		for i := range fast {
			fast[i] = r.ask(path)
		}
		for _, v := range fast {
			if <-v.closed; !v.complete() || v.text() != bodyOf(path) || v.ended.Sub(r.began) != 2*time.Second {
				t.Fatalf("%d bytes after %v", len(v.text()), v.ended.Sub(r.began))
			}
		}
		if slow.over() {
			t.Fatal("the slow reader is over")
		}
		close(block)
		if <-slow.closed; slow.text() != bodyOf(path) {
			t.Errorf("the slow reader has %d bytes", len(slow.text()))
		}
	})
}

// 5,000 viewers who leave at once leave nothing behind.
func TestAllLeave(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.at(1 * time.Second)
		r.parent.script(r.publishes(2 * time.Second))
		synctest.Wait()
		before := runtime.NumGoroutine()
		viewers := make([]*viewer, r.crowd(1000))
		for i := range viewers {
			viewers[i] = r.ask("/t/e/v/1.m4s")
		}
		synctest.Wait()
		for _, v := range viewers {
			v.leave()
		}
		synctest.Wait()
		for _, v := range viewers {
			if !v.over() {
				t.Fatal("a viewer is still there")
			}
		}
		if n := r.metric("clients_left_total"); int(n) != len(viewers) {
			t.Errorf("%v left", n)
		}
		r.at(3 * time.Second)
		if after := runtime.NumGoroutine(); after > before+4 { // the connection that was opened stays
			t.Errorf("%d goroutines, %d before", after, before)
		}
		if a := r.get("/t/e/v/1.m4s"); !strings.Contains(a.got("Cache-Status"), ";hit;") {
			t.Errorf("Cache-Status %q", a.got("Cache-Status"))
		}
	})
}

func TestOriginRestartsInMidHold(t *testing.T) {
	run(t, 1, func(r *rig) {
		const path = "/t/e/v/3.m4s"
		r.know()
		r.at(5 * time.Second)
		r.parent.script(r.publishes(7 * time.Second))
		viewers := make([]*viewer, r.crowd(100))
		for i := range viewers {
			viewers[i] = r.ask(path)
		}
		r.at(5200 * time.Millisecond)
		r.parent.stop()
		r.at(6400 * time.Millisecond)
		for _, v := range viewers {
			if v.over() {
				t.Fatalf("a viewer was answered %d", v.status())
			}
		}
		r.parent.start()
		for _, v := range viewers {
			if <-v.closed; v.status() != 200 || v.text() != bodyOf(path) {
				t.Fatalf("%d %s", v.status(), firstLine(v.text()))
			}
		}
		if d := viewers[0].ended.Sub(r.began); d != 7*time.Second {
			t.Errorf("answered after %v", d)
		}
		if n := r.parent.asks(path); n != 2 {
			t.Errorf("the parent was asked %d times", n)
		}
	})
}
