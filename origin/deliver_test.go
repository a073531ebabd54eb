package origin

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headwater/origin/layout"

	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

func TestPlaces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{}, func(ev *live.Event) {
			ev.FirstNumber = 100
			ev.End = ev.Start.Add(20 * time.Minute)
			ev.Segment = live.Duration{Ticks: 2002, Timescale: 1000}
		})
		r.putInits("a")
		time.Sleep(1234567 * time.Nanosecond)
		n := r.next()

		// Early: to the millisecond, and not one longer.
		for ahead := range live.Number(5) {
			w := r.want(r.getSegment("v", n+3+ahead), 404, "early")
			due := time.Until(r.tl.Due(n + 3 + ahead))
			if lifetime(w) != due.Truncate(time.Millisecond) {
				t.Errorf("%d ahead: kept for %v, due in %v", 3+ahead, lifetime(w), due)
			}
			if !strings.Contains(problemOf(w).Detail, r.tl.Due(n+3+ahead).Format(live.TimeLayout)) {
				t.Errorf("%q does not say when it is due", problemOf(w).Detail)
			}
		}
		// A refusal that has run out is not followed by another.
		w := r.want(r.getSegment("v", n+6), 404, "early")
		time.Sleep(lifetime(w) + time.Millisecond)
		ch := r.ask(t.Context(), "v/"+live.SegmentName(n+6))
		if w := answered(ch); w != nil {
			t.Errorf("after its lifetime the refusal is repeated: %d", w.Code)
		}
		until(r.tl.Expected(n + 6))
		r.putSegment("a", "v", n+6, take{}, 201)
		r.want(<-ch, 200, "")

		// Never, before and after.
		if w := r.want(r.getSegment("v", 99), 404, "never"); lifetime(w) != time.Hour {
			t.Errorf("never: %v", lifetime(w))
		}
		if w := r.want(r.getSegment("v", 100+600), 404, "never"); lifetime(w) != time.Minute {
			t.Errorf("after an end that may move: %v", lifetime(w))
		}
		// Past.
		n = r.next() - 5
		if w := r.want(r.getSegment("v", n), 410, "lost"); lifetime(w) != r.tl.Segment().Truncate(time.Millisecond) {
			t.Errorf("lost: %v", lifetime(w))
		}
		r.putSegment("a", "v", n, take{}, 201)
		until(r.tl.GoneAt(n).Add(-500 * time.Millisecond))
		if w := r.want(r.getSegment("v", n), 200, ""); lifetime(w) != 500*time.Millisecond {
			t.Errorf("half a second before it is gone: %v", lifetime(w))
		}
		until(r.tl.GoneAt(n).Add(time.Nanosecond))
		if w := r.want(r.getSegment("v", n), 410, "gone"); lifetime(w) != time.Hour {
			t.Errorf("gone: %v", lifetime(w))
		}
	})
}

func TestRefusals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		for _, c := range []struct {
			path     string
			status   int
			code     string
			lifetime time.Duration
		}{
			{"/acme", 404, "not-found", time.Minute},
			{"/acme/final/v/01.m4s", 404, "not-found", time.Minute},
			{"/acme/final/v/1.mp4", 404, "not-found", time.Minute},
			{"/acme/other/v/1.m4s", 404, "no-such-event", 2 * time.Second},
			{"/acme/final/x/1.m4s", 404, "no-such-rendition", time.Minute},
			{"/acme/final/v/init.mp4", 404, "no-init", time.Second},
			{"/acme/final/v/media.m3u8", 404, "no-init", time.Second},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				w := serve(r.del, request(method, c.path, nil))
				if w.Code != c.status || lifetime(w) != c.lifetime || w.Header().Get("Access-Control-Allow-Origin") != "*" {
					t.Errorf("%s %s: %d, %v", method, c.path, w.Code, w.Header())
				}
				if method == "HEAD" {
					if w.Body.Len() > 0 {
						t.Errorf("HEAD %s has a body", c.path)
					}
					continue
				}
				if problemOf(w).Code != c.code {
					t.Errorf("%s: %q, want %q", c.path, problemOf(w).Code, c.code)
				}
			}
		}
		w := r.want(serve(r.del, request("POST", "/acme/final/v/1.m4s", nil)), 405, "method-not-allowed")
		if w.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("Allow: %q", w.Header().Get("Allow"))
		}
		w = serve(r.del, request("OPTIONS", "/acme/final/v/1.m4s", nil, "Origin", "https://player.example", "Access-Control-Request-Headers", "range"))
		if w.Code != 204 || !strings.HasPrefix(w.Header().Get("Access-Control-Allow-Headers"), "*, Authorization, ") || w.Header().Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("preflight: %d %v", w.Code, w.Header())
		}
		w = serve(r.del, request("GET", "/time", nil))
		if at, err := time.Parse(live.TimeLayout, w.Body.String()); err != nil || time.Since(at) >= time.Millisecond {
			t.Errorf("/time: %q", w.Body)
		}
	})
}

func TestParts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		all := r.want(r.getSegment("v", n), 200, "")
		body, digest := all.Body.Bytes(), all.Header().Get("Content-Digest")

		w := r.want(r.getSegment("v", n, "Range", "bytes=10-19"), 206, "")
		if !bytes.Equal(w.Body.Bytes(), body[10:20]) || w.Header().Get("Content-Range") != fmt.Sprintf("bytes 10-19/%d", len(body)) {
			t.Errorf("range: %v", w.Header())
		}
		if w.Header().Get("Content-Digest") != "" || w.Header().Get("Repr-Digest") != digest {
			t.Errorf("a part carries the digest of the whole as its own: %v", w.Header())
		}
		if w := r.getSegment("v", n, "Range", "bytes=10-19", "If-Range", `"other"`); w.Code != 200 || w.Header().Get("Content-Digest") != digest {
			t.Errorf("If-Range of something else: %d", w.Code)
		}
		if w := r.getSegment("v", n, "Range", "bytes=99999999-"); w.Code != 416 || w.Header().Get("Content-Digest") != "" {
			t.Errorf("beyond the end: %d %v", w.Code, w.Header())
		}
		w = r.getSegment("v", n, "If-None-Match", all.Header().Get("ETag"))
		if w.Code != 304 || w.Body.Len() > 0 || w.Header().Get("Live-Pipeline") != "a;region=east" || lifetime(w) < time.Minute {
			t.Errorf("If-None-Match: %d %v", w.Code, w.Header())
		}
		if w := r.getSegment("v", n, "If-Match", `"other"`); w.Code != 412 {
			t.Errorf("If-Match: %d", w.Code)
		}
		w = serve(r.del, request("HEAD", "/acme/final/v/"+live.SegmentName(n), nil))
		if w.Code != 200 || w.Body.Len() > 0 || w.Header().Get("Content-Length") != fmt.Sprint(len(body)) || w.Header().Get("Content-Digest") != digest {
			t.Errorf("HEAD: %d %v", w.Code, w.Header())
		}
		for _, path := range []string{"event.json", "v/init.mp4"} {
			w := r.want(r.get(path), 200, "")
			if w := r.get(path, "If-None-Match", w.Header().Get("ETag")); w.Code != 304 {
				t.Errorf("%s: If-None-Match: %d", path, w.Code)
			}
		}
	})
}

func TestManifests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n-5, take{}, 201)
		r.putSegment("a", "v", n, take{}, 201)
		// A packager whose clock is ahead: nobody is told of what cannot be had.
		r.putSegment("a", "v", n+8, take{}, 201)
		until(r.tl.Deadline(n - 1).Add(1))
		w := r.want(r.get("v/media.m3u8"), 200, "")
		list := w.Body.String()
		if strings.Contains(list, live.SegmentName(n+8)) || !strings.Contains(list, "\n"+live.SegmentName(n)+"\n") {
			t.Errorf("the playlist's segments are wrong:\n%s", list)
		}
		if strings.Contains(list, "#EXT-X-GAP\n"+live.SegmentName(n-5)+"\n") || !strings.Contains(list, "#EXT-X-GAP\n"+live.SegmentName(n-4)+"\n") {
			t.Errorf("the playlist's gaps are wrong:\n%s", list)
		}
		start, _ := r.tl.Media(n, 1)
		r.want(r.get(fmt.Sprintf("v/t%d.m4s", start)), 200, "")
		r.want(r.get(fmt.Sprintf("v/t%d.m4s", start+1)), 404, "not-found")
		edge, err := live.ParseNumber(w.Header().Get("Live-Edge"))
		if err != nil || edge < n || r.tl.Place(edge, time.Now()) == live.Early {
			t.Errorf("Live-Edge is %q, the newest to be had %d", w.Header().Get("Live-Edge"), n)
		}
		for path, ct := range map[string]string{"manifest.mpd": "application/dash+xml", "timeline.mpd": "application/dash+xml", "main.m3u8": "application/vnd.apple.mpegurl"} {
			w := r.want(r.get(path), 200, "")
			if w.Header().Get("Content-Type") != ct || lifetime(w) <= 0 || w.Header().Get("Live-Version") == "" {
				t.Errorf("%s: %v", path, w.Header())
			}
			if !strings.Contains(w.Body.String(), "avc1.") {
				t.Errorf("%s does not say the codecs that the init segment told", path)
			}
		}
		if b := r.get("main.m3u8").Body.String(); strings.Contains(b, "AVERAGE-BANDWIDTH") {
			t.Errorf("an average of what is not there yet:\n%s", b)
		}
		r.putSegment("a", "w", n, take{}, 201)
		r.putSegment("a", "a", n, take{}, 201)
		time.Sleep(time.Second) // pages are kept
		bits := func(rendition string) (bps int64) { return int64(len(r.getSegment(rendition, n).Body.Bytes())) * 8 / 2 }
		if b, v := r.get("main.m3u8").Body.String(), bits("v"); !strings.Contains(b, fmt.Sprintf("AVERAGE-BANDWIDTH=%d,", (v+149_999)/150_000*150_000+(bits("a")+6399)/6400*6400)) {
			t.Errorf("no average of %d:\n%s", v, b)
		}
		if cfg := r.o.book.Get(testID).View().Config(); cfg.Renditions[0].FrameRate != "30" || cfg.Renditions[0].Width == 0 {
			t.Errorf("learnt of the video: %+v", cfg.Renditions[0])
		}
	})
}

// served is which pipeline and findings a GET has.
func served(w *httptest.ResponseRecorder) string {
	s := w.Header().Get("Live-Pipeline")
	if d := w.Header().Get("Live-Defects"); d != "" {
		s += " " + d
	}
	return s
}

func TestSelection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		path := func(n live.Number) string { return "v/" + live.SegmentName(n) }

		// A clean b waits a little for a, which is preferred, and then serves, and
		// goes on to do so.
		n := r.next()
		r.putSegment("b", "v", n, take{}, 201)
		came := time.Now()
		ch := r.ask(t.Context(), path(n))
		if w := answered(ch); w != nil {
			t.Fatalf("%s is served while a may come", served(w))
		}
		if w := <-ch; served(w) != "b;region=west" || time.Since(came).Round(time.Millisecond) != 150*time.Millisecond {
			t.Fatalf("%s is served after %v", served(w), time.Since(came))
		}
		r.putSegment("a", "v", n, take{}, 201)
		if w := r.getSegment("v", n); served(w) != "b;region=west" {
			t.Errorf("with both, %s is served", served(w))
		}

		// A defective a waits for b, and b serves when it comes.
		n++
		until(r.tl.Expected(n))
		r.putSegment("a", "v", n, take{lose: 30}, 201)
		ch = r.ask(t.Context(), path(n))
		if w := answered(ch); w != nil {
			t.Fatalf("a defective candidate is served while b is owed: %s", served(w))
		}
		r.putSegment("b", "v", n, take{}, 201)
		if w := answered(ch); w == nil || served(w) != "b;region=west" {
			t.Errorf("b came, and %v is served", w)
		}

		// b does not come: at the decision time a is served as it is, for short.
		n++
		until(r.tl.Expected(n))
		r.putSegment("a", "v", n, take{lose: 30}, 201)
		ch = r.ask(t.Context(), path(n))
		until(r.tl.Decide(n).Add(-time.Millisecond))
		if w := answered(ch); w != nil {
			t.Fatalf("served before the decision time: %s", served(w))
		}
		until(r.tl.Decide(n))
		w := answered(ch)
		if w == nil || served(w) != "a;region=east short;ms=1000" || lifetime(w) != r.tl.Segment() {
			t.Fatalf("at the decision time: %v", w)
		}
		if !strings.Contains(w.Header().Get("Cmsd-Static"), "ht=1000") || !strings.Contains(w.Header().Get("Server-Timing"), "hold;dur=1000.0") {
			t.Errorf("the answer does not say how long it was held: %v", w.Header())
		}
		// Both bad: the least bad, at once, since nobody is owed.
		r.putSegment("b", "v", n, take{lose: 10}, 201)
		if w := r.getSegment("v", n); served(w) != "b;region=west short;ms=333" {
			t.Errorf("of two bad ones %s is served", served(w))
		}
		// Repaired: clean.
		r.putSegment("a", "v", n, take{mark: "repair"}, 200)
		if w := r.getSegment("v", n); served(w) != "a;region=east" || lifetime(w) < time.Minute {
			t.Errorf("after the repair %s is served, for %v", served(w), lifetime(w))
		}

		// A mask takes a out, also for those who wait, until it is taken away.
		n++
		until(r.tl.Expected(n))
		r.putSegment("a", "v", n, take{}, 201)
		mask := fmt.Sprintf(`{"id": "m1", "pipeline": "a", "from": %d, "to": %d}`, n, n+1)
		r.want(r.control("POST", "/masks", mask), 200, "")
		ch = r.ask(t.Context(), path(n))
		if w := answered(ch); w != nil {
			t.Fatalf("masked, and %s is served", served(w))
		}
		r.want(r.control("DELETE", "/masks/m1", ""), 200, "")
		if w := answered(ch); w == nil || served(w) != "a;region=east" {
			t.Errorf("unmasked, and %v is served", w)
		}
		r.want(r.control("POST", "/masks", mask), 200, "")
		until(r.tl.Deadline(n))
		r.want(r.getSegment("v", n), 410, "lost")
	})
}

// TestCorruptAtRest: bytes that have rotted are never served. The other
// pipeline's are, and the same bytes PUT again mend it.
func TestCorruptAtRest(t *testing.T) {
	for name, fault := range map[string]error{"checksum": store.ErrCorrupt, "gone": store.ErrNotFound, "other bytes": nil} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				faulty := storetest.NewFaulty(memory.New(memory.Options{}))
				r := newRig(t, Config{Store: faulty, MemoryBytes: 1}) // all is read from the store
				r.putInits("a", "b")
				n := r.next()
				r.putSegment("a", "v", n, take{}, 201)
				r.putSegment("b", "v", n, take{}, 201)
				if fault != nil {
					faulty.Add(storetest.Fault{Op: storetest.Get, Namespace: store.Media, Nth: 1, Err: fault})
				} else {
					item, err := faulty.Get(t.Context(), layout.Media(testID, "v"), layout.SegmentKey(n, "a"))
					if err != nil {
						t.Fatal(err)
					}
					item.Value = bytes.Clone(item.Value)
					item.Value[len(item.Value)/2] ^= 1
					item.Token = r.o.book.Tokens.Next()
					if err := faulty.Put(t.Context(), layout.Media(testID, "v"), item); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 {
					if w := r.want(r.getSegment("v", n), 200, ""); served(w) != "b;region=west" {
						t.Fatalf("%s is served", served(w))
					}
				}
				r.putSegment("a", "v", n, take{}, 200)
				if w := r.want(r.getSegment("v", n), 200, ""); served(w) != "b;region=west" {
					t.Errorf("mended, and %s is served in place of what viewers have", served(w))
				}
				r.want(r.control("POST", "/masks", fmt.Sprintf(`{"pipeline": "b", "from": %d}`, n)), 200, "")
				if w := r.want(r.getSegment("v", n), 200, ""); served(w) != "a;region=east" {
					t.Errorf("mended, and %s is served", served(w))
				}
				r.putSegment("a", "v", n, take{}, 200)
			})
		})
	}
}

// TestRepairedByAnother: what another node repaired without this one hearing
// of it is found where its bytes are read.
func TestRepairedByAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		one := newRig(t, Config{Store: st, MemoryBytes: 1})
		one.putInits("a")
		n := one.next()
		one.putSegment("a", "v", n, take{lose: 30}, 201)
		time.Sleep(time.Second)
		two := openRig(t, Config{Store: st})
		two.putSegment("a", "v", n, take{mark: "repair"}, 200)
		until(one.tl.Decide(n)) // b never comes
		// At once, without another look.
		w := answered(one.ask(t.Context(), "v/"+live.SegmentName(n)))
		if w == nil || w.Code != 200 || served(w) != "a;region=east" {
			t.Errorf("%v is served", w)
		}
	})
}

// TestCrowdReadsOnce: a segment that has left memory is read once for all who
// ask at the same time, and that counts once.
func TestCrowdReadsOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		slow := storetest.NewSlow(faulty, func(op storetest.Op, _ store.Record) (time.Duration, time.Duration) {
			if op == storetest.Get {
				return 100 * time.Millisecond, 0
			}
			return 0, 0
		})
		r := newRig(t, Config{Store: slow, MemoryBytes: 1, MaxReads: 1})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		r.putSegment("a", "v", n+1, take{}, 201)
		before := faulty.Count(storetest.Get)
		var answers []<-chan *httptest.ResponseRecorder
		for range 1000 {
			answers = append(answers, r.ask(t.Context(), "v/"+live.SegmentName(n)))
		}
		synctest.Wait()
		other := <-r.ask(t.Context(), "v/"+live.SegmentName(n+1)) // in its turn: the read of n has one for a moment
		if problemOf(other).Code != "overloaded" || other.Header().Get("Retry-After") != "5" || lifetime(other) != 5*time.Second {
			t.Errorf("one read too many: %v", other)
		}
		for _, ch := range answers {
			r.want(<-ch, 200, "")
		}
		if got := faulty.Count(storetest.Get) - before; got != 1 {
			t.Errorf("%d reads", got)
		}
		if r.o.look.Reads.Used() != 0 {
			t.Error("a read is still counted")
		}
	})
}

// TestStoreDown: while the store does not answer, what is in memory is
// delivered, and the rest is refused honestly.
func TestStoreDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		r := newRig(t, Config{Store: faulty})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		again := openRig(t, Config{Store: faulty}) // with empty memory
		faulty.Add(storetest.Fault{Err: store.ErrUnavailable})
		r.want(r.getSegment("v", n), 200, "")
		w := r.want(again.getSegment("v", n), 503, "store-unavailable")
		if lifetime(w) != time.Second || w.Header().Get("Retry-After") != "1" {
			t.Errorf("%v", w.Header())
		}
		// Whether a segment was lost is not known without a look.
		r.want(r.getSegment("v", n-5), 503, "store-unavailable")
		r.want(r.put("a/v/"+live.SegmentName(n+1), r.m.segment(r.tl, "v", n+1, take{})), 503, "not-stored")
		faulty.Clear()
		r.want(again.getSegment("v", n), 200, "")
		r.want(r.getSegment("v", n-5), 410, "lost")
		r.putSegment("a", "v", n+1, take{}, 201)
		faulty.Add(storetest.Fault{Op: storetest.Get, Namespace: store.Media, Err: errTest})
		third := openRig(t, Config{Store: faulty})
		r.want(third.getSegment("v", n), 500, "internal")
	})
}

var errTest = fmt.Errorf("no backend says this")

func TestLeavingWhileReading(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var delay atomic.Int64
		slow := storetest.NewSlow(memory.New(memory.Options{}), func(_ storetest.Op, rec store.Record) (time.Duration, time.Duration) {
			if rec.Namespace == store.Media {
				return time.Duration(delay.Load()), 0
			}
			return 0, 0
		})
		r := newRig(t, Config{Store: slow, MemoryBytes: 1})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		delay.Store(int64(time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		one, two := r.ask(ctx, "v/"+live.SegmentName(n)), r.ask(t.Context(), "v/"+live.SegmentName(n))
		synctest.Wait()
		cancel()
		if w := answered(one); w == nil || w.Body.Len() > 0 {
			t.Error("who left still waits, or was written to")
		}
		r.want(<-two, 200, "") // the one who began the read has left, the read goes on
	})
}

// A player is never told of a segment that may turn out to be a gap: one that
// is waited for ends the playlist, also when the next is there already.
func TestPlaylistEndsBeforeWhatIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		n := r.next()
		until(r.tl.Expected(n))
		r.putSegment("a", "v", n, take{}, 201)
		listed := func() string {
			t.Helper()
			list := r.want(r.get("v/media.m3u8"), 200, "").Body.String()
			return list[strings.LastIndex(list, "#EXT-X-PROGRAM-DATE-TIME"):]
		}
		end := func(m live.Number) string { return live.SegmentName(m) + "\n" }
		// n+1 comes from nobody, n+2 a little before n+1 is given up.
		until(r.tl.Deadline(n + 1).Add(-100 * time.Millisecond))
		r.putSegment("a", "v", n+2, take{}, 201)
		if list := listed(); !strings.HasSuffix(list, end(n)) {
			t.Errorf("while %d is waited for: %s", n+1, list)
		}
		until(r.tl.Deadline(n + 1).Add(time.Millisecond))
		if list := listed(); !strings.HasSuffix(list, end(n+2)) || !strings.Contains(list, "#EXT-X-GAP\n"+end(n+1)) {
			t.Errorf("when %d is given up: %s", n+1, list)
		}
		// One that is defective while another pipeline is owed is waited for too.
		until(r.tl.Expected(n + 3))
		r.putSegment("a", "v", n+3, take{hole: 12}, 201)
		if list := listed(); !strings.HasSuffix(list, end(n+2)) {
			t.Errorf("while a better %d is waited for: %s", n+3, list)
		}
		r.putSegment("b", "v", n+3, take{}, 201)
		if list := listed(); !strings.HasSuffix(list, end(n+3)) {
			t.Errorf("when it is there: %s", list)
		}
	})
}
