package edge

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
)

// onDisk gives an edge a disk, and lets memory hold only a few segments.
func onDisk(dir string) func(*Config) {
	return func(c *Config) { c.Disk, c.MemoryBytes = dir, 512<<10 }
}

// lasting answers as an origin does of which the DVR window is w.
func lasting(w time.Duration) http.HandlerFunc {
	return func(rw http.ResponseWriter, q *http.Request) {
		rw.Header().Set("Cache-Control", live.FormatLifetimes(10*time.Minute, w))
		serveBytes(rw, q, segment(q))
	}
}

// seen fills segments from to to, and the init segment, one after the other.
func (r *rig) seen(from, to int) {
	r.Helper()
	for n := from; n <= to; n++ {
		if v := r.get(segmentPath(n)); v.status() != 200 || v.text() != bodyOf(segmentPath(n)) {
			r.Fatalf("segment %d: %d, %d bytes", n, v.status(), len(v.text()))
		}
		synctest.Wait() // the writer keeps up
	}
	if v := r.get("/t/e/v/init.mp4"); v.status() != 200 {
		r.Fatalf("init: %d", v.status())
	}
	synctest.Wait()
}

// restart is another edge with the disk of the one before.
func (r *rig) restart(dir string, tune ...func(*Config)) {
	r.Helper()
	r.close()
	cfg := r.ed.cfg
	cfg.Metrics = nil
	cfg.openDisk = nil
	onDisk(dir)(&cfg)
	for _, f := range tune {
		f(&cfg)
	}
	cfg.setDefaults()
	r.reg = cfg.Metrics
	ed, err := New(cfg)
	if err != nil {
		r.Fatal(err)
	}
	r.serve(ed)
}

// isDiskHit checks that an answer came from the disk, whole.
func (v *viewer) isDiskHit(body string) {
	v.r.Helper()
	if s := v.got("Cache-Status"); v.status() != 200 || v.text() != body || !strings.Contains(s, "headwater;hit;ttl=") ||
		!strings.HasSuffix(s, ";detail=hit;disk") || !strings.HasPrefix(v.got("Server-Timing"), "disk;dur=") {
		v.r.Errorf("%d, %d of %d bytes, %q, %q", v.status(), len(v.text()), len(body), s, v.got("Server-Timing"))
	}
}

func TestDVRComesFromDisk(t *testing.T) {
	dir := t.TempDir()
	runBy(t, parks, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) { c.DVRSeconds = 3600 })
		r.parent.script(lasting(time.Hour))
		r.know()
		r.at(200 * time.Second)
		r.seen(1, 60)
		if n := r.metric("disk_writes_total"); n != 61 {
			t.Errorf("%v written", n)
		}
		asked := r.parent.asks(segmentPath(1))
		crowd := make([]*viewer, r.crowd(100))
		for i := range crowd {
			crowd[i] = r.ask(segmentPath(1))
		}
		hits := 0.0
		for _, v := range crowd {
			if <-v.closed; strings.HasSuffix(v.got("Cache-Status"), ";disk") {
				v.isDiskHit(bodyOf(segmentPath(1)))
				hits++
			} else if v.text() != bodyOf(segmentPath(1)) {
				t.Errorf("%d bytes", len(v.text()))
			}
		}
		if a, b := r.metric("disk_hits_total"), r.metric("disk_reads_total", "result", "hit"); a < 1 || a != hits || b != 1 {
			t.Errorf("%v hits, %v reads for a crowd", a, b)
		}
		if n := r.metric("requests_total", "outcome", "hit"); n != 100 {
			t.Errorf("%v of 100 are hits", n)
		}
		// Now it is in memory.
		if v := r.get(segmentPath(1)); !strings.HasSuffix(v.got("Cache-Status"), ";detail=hit") {
			t.Errorf("%q", v.got("Cache-Status"))
		}
		body := bodyOf(segmentPath(2))
		v := r.get(segmentPath(2), with("Range", "bytes=5-104"))
		if v.status() != 206 || v.text() != body[5:105] || v.got("Content-Range") == "" || !strings.Contains(v.got("Cache-Status"), ";disk") {
			t.Errorf("a range: %d, %d bytes, %q", v.status(), len(v.text()), v.got("Cache-Status"))
		}
		if v := r.get(segmentPath(3), with("If-None-Match", live.DigestOf([]byte(bodyOf(segmentPath(3)))).ETag())); v.status() != 304 {
			t.Errorf("a comparison: %d", v.status())
		}
		for n := range 3 {
			if a := r.parent.asks(segmentPath(n + 1)); a != asked {
				t.Errorf("segment %d was asked for %d times", n+1, a)
			}
		}
		if u := r.metric("disk_up"); u != 1 || r.metric("disk_objects") != 61 || r.metric("disk_bytes") < 60*50_000 {
			t.Errorf("up %v, %v objects, %v bytes", u, r.metric("disk_objects"), r.metric("disk_bytes"))
		}
	}, onDisk(dir))
}

// TestDiskAfterARestart: with all parents gone what is in the DVR window is
// served, exactly as long as it may be, by the wall clock.
func TestDiskAfterARestart(t *testing.T) {
	dir := t.TempDir()
	runBy(t, parks, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) {
			c.DVRSeconds = 3600
			c.Renditions[0].Codecs, c.Renditions[0].Timescale = "avc1.64001f", 90000
		})
		r.parent.script(lasting(20 * time.Minute))
		r.know()
		r.at(100 * time.Second)
		r.seen(1, 10)
		r.parent.stop()
		r.at(110 * time.Second)
		r.restart(dir)
		// The first request waits until no parent can be expected to tell of the event.
		v := r.get(segmentPath(1))
		v.isDiskHit(bodyOf(segmentPath(1)))
		if took := v.ended.Sub(r.began.Add(110 * time.Second)); took > retryBudget+grace {
			t.Errorf("it took %v", took)
		}
		if v.got("Live-Version") != "2" || v.got("Live-Pipeline") != "a;region=east" || v.got("Age") != "12" {
			t.Errorf("version %q of %q, %q old", v.got("Live-Version"), v.got("Live-Pipeline"), v.got("Age"))
		}
		plain, heeded, _ := live.ParseLifetimes([]string{v.got("Cache-Control")})
		if age := 12 * time.Second; plain-age != 10*time.Minute || heeded-age != r.began.Add(100*time.Second+20*time.Minute).Sub(v.ended) {
			t.Errorf("%v old, %s", age, v.got("Cache-Control"))
		}
		r.get("/t/e/v/init.mp4").isDiskHit(bodyOf("/t/e/v/init.mp4"))
		if v := r.get("/t/e/v/media.m3u8"); v.status() != 200 || !strings.Contains(v.text(), "/1.m4s") && !strings.Contains(v.text(), "\n1.m4s") {
			t.Errorf("a playlist: %d %s", v.status(), v.text())
		}
		r.get(segmentPath(30)).expect(503, time.Second)
		r.at(90*time.Second + 20*time.Minute)
		r.get(segmentPath(2)) // the event was forgotten meanwhile
		r.at(100*time.Second + 20*time.Minute - time.Millisecond)
		r.get(segmentPath(2)).expect(200, time.Millisecond)
		r.at(100*time.Second + 20*time.Minute)
		three, two := r.ask(segmentPath(3)), r.ask(segmentPath(2)) // on disk only, and in memory too
		<-three.closed
		three.expect(503, time.Second)
		<-two.closed
		two.expect(503, time.Second)
	}, onDisk(dir))
}

// TestDiskHeedsOperators: what was withdrawn or flushed is not served, neither
// from the disk nor after a restart; what was not, is.
func TestDiskHeedsOperators(t *testing.T) {
	dir := t.TempDir()
	runBy(t, parks, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) { c.DVRSeconds = 3600 })
		r.parent.script(lasting(time.Hour))
		r.know()
		r.at(100 * time.Second)
		r.seen(1, 30)
		r.parent.configure(func(c *live.Config) {
			c.Invalidations = []live.Invalidation{
				{ID: "x", Version: c.Version + 1, Scope: live.Scope{Pipeline: "a", From: 1, To: 3}},
				{ID: "y", Version: c.Version + 1, Scope: live.Scope{Pipeline: "b", From: 4}}}
		})
		r.at(101 * time.Second)
		asks := func(n, want int) {
			t.Helper()
			if v := r.get(segmentPath(n)); v.status() != 200 || r.parent.asks(segmentPath(n)) != want {
				t.Errorf("segment %d: %d, asked for %d times, want %d", n, v.status(), r.parent.asks(segmentPath(n)), want)
			}
			synctest.Wait()
		}
		asks(1, 2) // withdrawn
		asks(4, 1) // of another pipeline
		if n := r.metric("disk_reads_total", "result", "withdrawn"); n != 1 {
			t.Errorf("%v withdrawn", n)
		}
		r.restart(dir)
		asks(2, 2)
		asks(1, 2) // what was filled since may be served
		asks(5, 1)
		r.parent.configure(func(c *live.Config) { c.FlushVersion = c.Version + 1 })
		r.at(102 * time.Second)
		asks(5, 2)
		asks(5, 2)
		// The event is deleted: without parents there is nothing of it any more.
		r.parent.mu.Lock()
		r.parent.events = false
		close(r.parent.changed)
		r.parent.changed = make(chan struct{})
		r.parent.mu.Unlock()
		r.at(130 * time.Second)
		r.parent.stop()
		r.restart(dir)
		if v := r.get(segmentPath(5)); v.status() != 503 {
			t.Errorf("a deleted event: %d", v.status())
		}
	}, onDisk(dir))
}

// TestWhatIsNotWritten: only what is complete, known to be right, and lasts.
func TestWhatIsNotWritten(t *testing.T) {
	dir := t.TempDir()
	runBy(t, parks, 1, func(r *rig) {
		r.know()
		r.at(30 * time.Second)
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			switch p, _ := live.ParsePath(q.URL.Path); p.Number {
			case 1:
				w.Header().Set("Cache-Control", "max-age=600")
				w.Write(segment(q)) // without a digest
			case 2:
				w.Header().Set("Cache-Control", live.FormatLifetime(2*time.Second)) // defective
				serveBytes(w, q, segment(q))
			case 3:
				w.Header().Set("Cache-Control", "max-age=600")
				w.Header().Set("Content-Digest", live.DigestOf([]byte("other")).String())
				w.Write(segment(q))
			case 4:
				live.ErrLost.For(time.Minute).Write(w, q)
			default:
				serveBytes(w, q, segment(q))
			}
		})
		for n := 1; n <= 5; n++ {
			r.get(segmentPath(n))
		}
		r.get("/t/e/manifest.mpd")
		synctest.Wait()
		if n := r.metric("disk_writes_total"); n != 1 {
			t.Errorf("%v written, want 1", n)
		}
		if a, b := r.metric("disk_drops_total", "reason", "undigested"), r.metric("disk_drops_total", "reason", "brief"); a != 1 || b != 1 {
			t.Errorf("%v undigested, %v brief", a, b)
		}
	}, onDisk(dir))
}
