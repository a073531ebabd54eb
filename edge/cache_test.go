package edge

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"headwater/live"
)

// TestCacheKeepsTheLiveWindow does anything in any order. Bytes stay within the
// limit but for what is being filled or read, the sums are right, and what is of
// the live window stays while it is, as long as it fits in three quarters.
func TestCacheKeepsTheLiveWindow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, func(ctx context.Context) {
			t := rt
			const limit, liveKeys, most = 400 << 10, 10, 29 << 10
			c := newCache(limit)
			var filling, reading []*object
			until := map[key]time.Time{} // of what was filled for the live window
			keyOf := func(n int) key { return key{path: live.Path{File: live.FileSegment, Number: live.Number(n)}} }
			finish := func(o *object, size int64) {
				if o.ctx.Err() != nil {
					o.fail(context.Canceled)
					c.charge(o, 0)
				} else if o.received, o.lifetime = time.Now(), time.Hour; !c.charge(o, size) {
					c.refused(o)
					o.fail(live.ErrShed)
				} else {
					o.open()
					o.finish(make([]byte, size), nil)
					if now := time.Now(); now.Before(o.liveUntil) {
						until[o.key] = o.liveUntil
					}
				}
				c.filled(o)
			}
			take := func(list *[]*object) *object {
				if len(*list) == 0 {
					return nil
				}
				i := rapid.IntRange(0, len(*list)-1).Draw(t, "which")
				o := (*list)[i]
				*list = append((*list)[:i], (*list)[i+1:]...)
				return o
			}
			for range rapid.IntRange(1, 200).Draw(t, "operations") {
				switch rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7, 8, 8, 9}).Draw(t, "operation") {
				case 0, 1, 2: // somebody of the live window
					k := keyOf(rapid.IntRange(0, liveKeys-1).Draw(t, "live"))
					o, begin, err := c.lookUp(wanted{key: k, view: &view{}, now: time.Now(), liveUntil: time.Now().Add(time.Minute), keep: true, ctx: ctx})
					if err != nil {
						t.Fatalf("a live fill was refused: %v", err)
					}
					if begin {
						if u := until[k]; time.Now().Before(u) {
							t.Fatalf("%d left the cache %v before it left the live window", k.path.Number, time.Until(u))
						}
						filling = append(filling, o)
					}
					reading = append(reading, o)
				case 3, 4, 5, 6: // somebody of the DVR window
					k := keyOf(rapid.IntRange(100, 140).Draw(t, "dvr"))
					o, begin, err := c.lookUp(wanted{key: k, view: &view{}, now: time.Now(), ctx: ctx})
					if err != nil {
						continue
					}
					if begin {
						filling = append(filling, o)
					}
					reading = append(reading, o)
				case 7:
					if o := take(&filling); o != nil {
						finish(o, rapid.SampledFrom([]int64{most, most, most, most / 2, 0}).Draw(t, "size"))
					}
				case 8:
					if o := take(&reading); o != nil {
						c.release(o)
					}
				case 9:
					time.Sleep(time.Duration(rapid.IntRange(1, 10).Draw(t, "seconds")) * time.Second)
					c.sweep(time.Now())
				}
				checkCache(t, c, filling, reading)
			}
			for len(filling) > 0 {
				finish(take(&filling), 1)
			}
			for len(reading) > 0 {
				c.release(take(&reading))
			}
			checkCache(t, c, nil, nil)
			if u := c.usage(); u.bytes > limit || u.busy != 0 {
				t.Fatalf("with nobody there %+v", u)
			}
			time.Sleep(2 * time.Hour)
			if c.sweep(time.Now()); c.usage().bytes != 0 || len(c.window) != 0 || c.idle.len() != 0 {
				t.Fatalf("with nothing fresh %+v", c.usage())
			}
		})
	})
}

// inBubble runs f where time is a fake, and takes what it panics with out of there.
func inBubble(t *testing.T, f func(ctx context.Context)) {
	var thrown any
	synctest.Test(t, func(t *testing.T) {
		defer func() { thrown = recover() }()
		f(t.Context())
	})
	if thrown != nil {
		panic(thrown)
	}
}

// checkCache recomputes what the cache counts.
func checkCache(t *rapid.T, c *cache, lists ...[]*object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[*object]bool{}
	for _, o := range c.objects {
		all[o] = true
	}
	for _, list := range lists {
		for _, o := range list {
			all[o] = true
		}
	}
	var bytes, inWindow, busy, inFlight int64
	idle := 0
	for o := range all {
		bytes += o.charged
		switch {
		case o.listed && o.inWindow:
			inWindow += o.charged
		case o.busy():
			busy += o.charged
		default:
			idle++
		}
		if o.busy() {
			inFlight += o.charged
		}
	}
	if bytes != c.bytes || inWindow != c.liveBytes || busy != c.busyBytes || idle != c.idle.len() {
		t.Fatalf("counted %d, %d live, %d busy, %d idle; there are %d, %d, %d, %d",
			c.bytes, c.liveBytes, c.busyBytes, c.idle.len(), bytes, inWindow, busy, idle)
	}
	if bytes > c.limit+inFlight {
		t.Fatalf("%d bytes, %d of them in flight, at most %d", bytes, inFlight, c.limit)
	}
}

// TestScanOfFourHoursOfDVR: readers all over the DVR window take nothing from
// those who watch live, however small the memory.
func TestScanOfFourHoursOfDVR(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) { c.DVRSeconds = 4 * 3600 })
		r.know()
		r.parent.script(func(w http.ResponseWriter, q *http.Request) { serveBytes(w, q, segment(q)[:10_000]) })
		const first = 7200
		next := 1 // of the scan
		for n := first; n < first+100; n++ {
			// Segment n is expected half a second after its end.
			r.at(time.Duration(n)*2*time.Second + 500*time.Millisecond)
			if v := r.get(segmentPath(n)); v.status() != 200 {
				t.Fatalf("segment %d: %d %s", n, v.status(), v.text())
			}
			for range 6 {
				var scan []*viewer
				for range 12 {
					scan = append(scan, r.ask(segmentPath(200+next%6900)))
					next++
				}
				for _, v := range scan {
					if <-v.closed; v.status() != 200 {
						t.Fatalf("in the DVR window: %d %s", v.status(), firstLine(v.text()))
					}
				}
			}
			for back := max(first, n-13); back <= n; back++ {
				if v := r.get(segmentPath(back)); v.status() != 200 || !strings.Contains(v.got("Cache-Status"), ";hit") {
					t.Fatalf("live segment %d while %d is the newest: %d %s", back, n, v.status(), v.got("Cache-Status"))
				}
				if a := r.parent.asks(segmentPath(back)); a != 1 {
					t.Fatalf("live segment %d was asked for %d times", back, a)
				}
			}
			if b := r.metric("memory_bytes"); b > 400<<10 {
				t.Fatalf("%v bytes", b)
			}
		}
		if n := r.metric("memory_evictions_total"); n < 6000 {
			t.Errorf("only %v evictions", n)
		}
		if n := r.metric("memory_live_evictions_total"); n != 0 {
			t.Errorf("%v evictions from the live window", n)
		}
	}, func(c *Config) { c.MemoryBytes = 400 << 10 })
}

func segmentPath(n int) string { return "/t/e/v/" + live.SegmentName(live.Number(n)) }

// TestFillsBeyondMemoryAreRefused: when fills for the DVR window take all there
// is, further ones are refused for as long as the answer says, and live goes on.
func TestFillsBeyondMemoryAreRefused(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) { c.DVRSeconds = 3600 })
		r.know()
		r.at(20 * time.Minute)
		r.get(segmentPath(1)) // from here on the size of a body is known
		r.at(20*time.Minute + time.Second)
		free := make(chan struct{})
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			if p, _ := live.ParsePath(q.URL.Path); p.Number < 500 {
				<-free
			}
			serveBytes(w, q, segment(q))
		})
		var readers []*viewer
		for n := 2; n < 60; n++ {
			readers = append(readers, r.ask(segmentPath(n)))
		}
		synctest.Wait()
		refused := 0
		for _, v := range readers {
			if v.over() {
				v.expect(503, 5*time.Second)
				refused++
				if !strings.Contains(v.text(), "overloaded") || v.got("Retry-After") != "5" {
					t.Errorf("refused with %q, %s", v.got("Retry-After"), v.text())
				}
			}
		}
		if refused < 20 || refused > 55 {
			t.Errorf("%d of %d refused", refused, len(readers))
		}
		if n := r.metric("refusals_total", "problem", "overloaded"); n != float64(refused) {
			t.Errorf("%v refusals counted", n)
		}
		for n := 590; n < 600; n++ {
			r.get(segmentPath(n)).expect(200, 10*time.Minute)
		}
		close(free)
		for _, v := range readers {
			<-v.closed
		}
		time.Sleep(5 * time.Second) // for one that was larger than expected, and so refused by its head
		if v := r.get(segmentPath(59)); v.status() != 200 {
			t.Errorf("with room again: %d %s", v.status(), v.text())
		}
	}, func(c *Config) { c.MemoryBytes = 3 << 20 })
}

func (l *objectList) len() (n int) {
	for o := l.root.next; o != &l.root; o = o.next {
		n++
	}
	return n
}
