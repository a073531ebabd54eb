package edge

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
)

// TestScanOfFourHoursOfDVR: readers all over the DVR window take nothing from
// those who watch live, however small the memory.
func TestScanOfFourHoursOfDVR(t *testing.T) {
	both(t, scanDVR)
}

func scanDVR(t *testing.T, d driver) {
	// What memory has beside the live window is read through twice for each segment.
	const first, segments, readers, rounds = 7200, 30, 12, 4
	runBy(t, d, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) { c.DVRSeconds = 4 * 3600 })
		r.know()
		r.parent.script(func(w http.ResponseWriter, q *http.Request) { serveBytes(w, q, segment(q)[:10_000]) })
		next := 1 // of the scan
		for n := first; n < first+segments; n++ {
			// Segment n is expected half a second after its end.
			r.at(time.Duration(n)*2*time.Second + 500*time.Millisecond)
			if v := r.get(segmentPath(n)); v.status() != 200 {
				t.Fatalf("segment %d: %d %s", n, v.status(), v.text())
			}
			for range rounds {
				var scan []*viewer
				for range readers {
					scan = append(scan, r.ask(segmentPath(200+next)))
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
		if n := r.metric("memory_evictions_total"); n < segments*readers*rounds-100 {
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
