package origin

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

func lifetimes(h http.Header) (plain, heeded time.Duration) {
	plain, heeded, _ = live.ParseLifetimes(h.Values("Cache-Control"))
	return plain, heeded
}

// TestLifetimesOfSegments: only what is clean lasts for the DVR window, and only
// for those who hear of what operators do.
func TestLifetimesOfSegments(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{}, func(ev *live.Event) { ev.DVRSeconds = 4 * 3600 })
		r.putInits("a", "b")
		n := r.next()
		expect := func(n live.Number, wantPlain, wantHeeded time.Duration) {
			t.Helper()
			w := r.want(r.getSegment("v", n), 200, "")
			if plain, heeded := lifetimes(w.Header()); plain != wantPlain.Truncate(time.Millisecond) || heeded != wantHeeded.Truncate(time.Millisecond) {
				t.Errorf("%d: %v and %v, want %v and %v (%s)", n, plain, heeded, wantPlain, wantHeeded, w.Header().Get("Cache-Control"))
			}
		}
		r.putSegment("a", "v", n, take{}, 201)
		expect(n, 10*time.Minute, time.Until(r.tl.GoneAt(n)))

		until(r.tl.Deadline(n + 1).Add(time.Millisecond))
		r.putSegment("a", "v", n+1, take{lose: 30}, 201)
		expect(n+1, r.tl.Segment(), r.tl.Segment())
		r.putSegment("b", "v", n+1, take{}, 201) // with all its media, but late
		expect(n+1, 10*time.Minute, time.Until(r.tl.GoneAt(n+1)))

		until(r.tl.Expected(n + 2))
		r.want(r.put("a/v/"+live.SegmentName(n+2), r.m.segment(r.tl, "v", n+2, take{}), "Live-Defects", "overlap"), 201, "")
		until(r.tl.Decide(n + 2))
		expect(n+2, 10*time.Minute, 10*time.Minute) // b may still publish in time

		if plain, heeded := lifetimes(r.want(r.get("v/init.mp4"), 200, "").Header()); plain != time.Minute || heeded != 4*time.Hour {
			t.Errorf("init: %v and %v", plain, heeded)
		}
		until(r.tl.GoneAt(n).Add(-time.Minute))
		w := r.want(r.getSegment("v", n), 200, "")
		if strings.Contains(w.Header().Get("Cache-Control"), "live-max-age-ms") {
			t.Errorf("both are the same, and it says %s", w.Header().Get("Cache-Control"))
		}
		expect(n, time.Minute, time.Minute)
	})
}

// TestMaskedWhileBeingRead: bytes that are masked between the choice and the
// answer say the version of the choice, so that caches drop them.
func TestMaskedWhileBeingRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		slow := storetest.NewSlow(memory.New(memory.Options{}), func(op storetest.Op, rec store.Record) (time.Duration, time.Duration) {
			if op == storetest.Get && rec.Namespace == store.Media {
				return time.Second, 0
			}
			return 0, 0
		})
		r := newRig(t, Config{Store: slow, MemoryBytes: 1}) // all is read from the store
		r.putInits("a", "b")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		r.putSegment("b", "v", n, take{}, 201)
		ch := r.ask(t.Context(), fmt.Sprintf("v/%d.m4s", n))
		time.Sleep(500 * time.Millisecond)
		r.want(r.control("POST", "/masks", fmt.Sprintf(`{"pipeline": "a", "from": %d}`, n)), 200, "")
		version := r.o.book.Get(testID).View().Config().Version
		time.Sleep(time.Second)
		w := answered(ch)
		if w == nil || w.Code != 200 {
			t.Fatalf("%v", w)
		}
		made, err := live.ParseVersion(w.Header().Get("Live-Version"))
		if err != nil || served(w) == "a;region=east" && made >= version {
			t.Errorf("%s, masked in version %d, is said to be of version %d", served(w), version, made)
		}
	})
}
