package edge

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/edge/exchange"
	"headwater/live"
)

// pressed has an edge be told that viewers wait for so long until they are looked at.
func (r *rig) pressed(late *time.Duration) {
	r.ed.Watch(func() exchange.Load { return exchange.Load{Late: *late} })
}

// halfAnHour of an event has passed, and its DVR window has all of it.
func (r *rig) halfAnHour() {
	r.parent.configure(func(c *live.Config) { c.DVRSeconds = 3600 })
	r.know()
	r.at(30 * time.Minute)
}

// tenth is what happens in 100 ms: viewers get the newest segment, some more often than
// others read the DVR window. It returns how many of each were refused.
func (r *rig) tenth(n *int, viewers, readers int) (live, dvr int) {
	r.Helper()
	newest := int(time.Since(r.began)/(2*time.Second)) - 2
	refused := func(path string) int {
		v := r.get(path)
		switch {
		case v.status() == 200:
			return 0
		case v.status() != 503 || !strings.Contains(v.text(), "overloaded"):
			r.Fatalf("%s: %d %s", path, v.status(), v.text())
		}
		return 1
	}
	for range viewers {
		live += refused(segmentPath(newest))
	}
	for range readers {
		*n++
		dvr += refused(segmentPath(1 + *n%500))
	}
	r.at(time.Since(r.began).Truncate(100*time.Millisecond) + 100*time.Millisecond)
	return live, dvr
}

func TestDVRMakesRoomAtAnEdge(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.halfAnHour()
		for _, class := range []string{"live", "dvr", "rest"} {
			if shed, share := r.metric("shed_total", "class", class), r.metric("shed_ratio", "class", class); shed != 0 || share != 0 {
				t.Errorf("%s: %v shed, share %v from the start", class, shed, share)
			}
		}
		late, n := 0*time.Millisecond, 0
		r.pressed(&late)
		for range 20 {
			if l, d := r.tenth(&n, 1, 4); l+d > 0 {
				t.Fatalf("%d and %d are refused without a reason", l, d)
			}
		}

		late = 25 * time.Millisecond // with four fifths of what is sent of the DVR window: twice what may be
		refused, share, highest := 0, 0.0, 0.0
		for range 60 {
			l, d := r.tenth(&n, 1, 4)
			if l > 0 {
				t.Fatal("a live viewer is refused")
			}
			refused += d
			now := r.metric("shed_ratio", "class", "dvr")
			if now > share+0.2 || now > r.metric("shed_ratio", "class", "rest") {
				t.Errorf("not by degrees, the lowest class first: of the DVR window %v, then %v", share, now)
			}
			share, highest = now, max(highest, r.metric("pressure", "signal", "late"))
		}
		if share < 0.25 || highest < 1.5 || highest > 2.5 {
			t.Errorf("of the DVR window %v, at a pressure of up to %v", share, highest)
		}
		if got := r.metric("shed_total", "class", "dvr"); refused < 10 || got != float64(refused) || r.metric("shed_total", "class", "live") != 0 {
			t.Errorf("%d were refused, %v counted", refused, got)
		}

		late = 0
		for range 3 { // until it is sure of it
			r.tenth(&n, 1, 4)
		}
		before := r.metric("shed_ratio", "class", "dvr")
		for range 100 {
			l, _ := r.tenth(&n, 1, 4)
			now := r.metric("shed_ratio", "class", "dvr")
			if l > 0 || now > before {
				t.Fatalf("more is refused when the pressure is over: %v, then %v", before, now)
			}
			before = now
		}
		if _, d := r.tenth(&n, 1, 4); before > 0 || d > 0 {
			t.Errorf("%v of the DVR window, %d are refused ten seconds after", before, d)
		}
	})
}

// What is refused stays so for a while, for all, and costs no parent anything.
func TestRefusalAtAnEdgeStands(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.halfAnHour()
		late, n := 100*time.Millisecond, 0
		r.pressed(&late)
		for range 20 {
			r.tenth(&n, 0, 4)
		}
		for k := 500; ; k++ {
			path := segmentPath(k)
			v := r.get(path)
			if v.status() == 200 {
				continue
			}
			v.expect(503, 5*time.Second)
			if v.got("Retry-After") != "5" || !strings.Contains(v.text(), "of the dvr class make room") || v.got("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%q, %s", v.got("Retry-After"), v.text())
			}
			if v := r.get(path, method("HEAD")); v.status() != 503 || v.text() != "" {
				t.Errorf("HEAD: %d", v.status())
			}
			if r.parent.asks(path) != 0 {
				t.Error("a parent was asked for what is refused")
			}
			break
		}
		// Who waits for another configuration has one, and goes first.
		v := r.get("/t/e/event.json")
		if v.status() != 200 {
			t.Fatalf("event.json: %d", v.status())
		}
		after := "/t/e/event.json?after=" + strings.Trim(v.got("Etag"), `"`)
		for try := 1; ; try++ {
			// A hundredth is let in, and held: then others are.
			if w := r.get(after); w.status() != 200 || try == 3 {
				w.expect(503, 5*time.Second)
				break
			}
		}
		if n := r.metric("shed_total", "class", "rest"); n != 1 {
			t.Errorf("%v of the rest are counted", n)
		}
		for _, path := range []string{"/t/e/main.m3u8", "/t/e/manifest.mpd", "/t/e/v/init.mp4", "/t/e/v/media.m3u8"} {
			if v := r.get(path); v.status() != 200 {
				t.Errorf("%s: %d, and nobody watches without it", path, v.status())
			}
		}
	})
}

// Where a crowd at the live edge makes a node late the few others are not to blame.
func TestCrowdAtTheLiveEdgeShedsNobody(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.halfAnHour()
		late, n := 50*time.Millisecond, 0
		r.pressed(&late)
		for range 30 {
			if l, d := r.tenth(&n, 9, 1); l+d > 0 {
				t.Fatalf("%d and %d are refused", l, d)
			}
		}
		// One that joins is a crowd too, though lists are made for it in memory.
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			serveBytes(w, q, segment(q))
		})
		for range 30 {
			for range 30 {
				r.get("/t/e/main.m3u8", with("Accept-Encoding", "gzip"))
			}
			if _, d := r.tenth(&n, 0, 1); d > 0 {
				t.Fatal("a reader is refused for those who join")
			}
		}
	})
}

// Who waited for the event to be known comes when it is, and not when he asked: how
// things are is looked at ten times a second, whoever comes.
func TestWhoWaitedIsLetInNow(t *testing.T) {
	runBy(t, blocks, 1, func(r *rig) {
		looks := 0
		r.ed.Watch(func() exchange.Load { looks++; return exchange.Load{} })
		v := r.ask("/t/e/main.m3u8")
		time.Sleep(450 * time.Millisecond)
		if v.over() {
			t.Fatalf("%d before the event is known", v.status())
		}
		r.ed.admission.Signals(time.Now())
		if <-v.closed; v.status() != 200 || looks != 1 {
			t.Errorf("%d after %d looks", v.status(), looks)
		}
	}, func(c *Config) {
		dial := c.Dial
		ready := time.Now().Add(500 * time.Millisecond)
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			time.Sleep(time.Until(ready))
			return dial(ctx, network, addr)
		}
	})
}

// Live segments that take longer to be sent than they play say that there is not
// enough to send them by, where much else is sent.
func TestSlowSendingShedsDVR(t *testing.T) {
	for _, c := range []struct {
		name          string
		slow, readers int
		want          bool
	}{
		{"half of them", 30, 8, true},
		{"a few", 6, 8, false},
		{"half of them, and nothing else is sent", 30, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			runBy(t, blocks, 1, func(r *rig) {
				r.halfAnHour()
				newest := segmentPath(int(time.Since(r.began)/(2*time.Second)) - 2)
				r.get(newest)
				take := make(chan struct{})
				var viewers []*viewer
				for i := range 60 {
					if i < c.slow {
						viewers = append(viewers, r.ask(newest, stuck(take)))
					} else {
						viewers = append(viewers, r.ask(newest))
					}
				}
				synctest.Wait()
				time.Sleep(3 * time.Second)
				close(take)
				for _, v := range viewers {
					<-v.closed
				}
				n, most := 0, 0.0
				for range 30 {
					r.tenth(&n, 0, c.readers)
					most = max(most, r.metric("pressure", "signal", "egress"))
				}
				if got := r.metric("shed_ratio", "class", "rest") > 0; got != c.want || most > 1 != c.want {
					t.Errorf("sheds: %v, pressure %v", got, most)
				}
			})
		})
	}
}

// A refusal of a parent to make room is everybody's for exactly as long as it says, so
// a surge of readers costs the parent one request for each object and 5 s.
func TestParentsRefusalIsKept(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.halfAnHour()
		r.parent.script(func(w http.ResponseWriter, q *http.Request) { live.ErrShed.With("those of the dvr class").Write(w, q) })
		surge := func() {
			t.Helper()
			var all []*viewer
			for n := range 5 {
				for range r.crowd(100) / 5 {
					all = append(all, r.ask(segmentPath(1+n)))
				}
			}
			left := 5*time.Second - time.Since(r.began)%(5*time.Second)
			for _, v := range all {
				<-v.closed
				v.expect(503, left)
				if v.got("Retry-After") != strconv.Itoa(int((left+time.Second-1)/time.Second)) || !strings.Contains(v.text(), "overloaded") {
					t.Errorf("%q, %s", v.got("Retry-After"), v.text())
				}
			}
		}
		for round := 1; round <= 3; round++ {
			for _, after := range []time.Duration{0, 2500 * time.Millisecond, 4999 * time.Millisecond} {
				r.at(30*time.Minute + time.Duration(round-1)*5*time.Second + after)
				surge()
				for n := range 5 {
					if asked := r.parent.asks(segmentPath(1 + n)); asked != round {
						t.Fatalf("segment %d was asked for %d times in %v of round %d", 1+n, asked, after, round)
					}
				}
			}
		}
		if n := r.metric("shed_total", "class", "dvr"); n != 0 {
			t.Errorf("%v are counted as shed by this node", n)
		}
	})
}
