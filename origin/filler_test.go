package origin

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/announce"
	"headwater/cmaf"
	"headwater/live"
)

// fills has what is lost filled.
func fills(ev *live.Event) { ev.OnLost = live.LostFill }

// isFiller checks that an answer stands in for segment n of v.
func (r *rig) isFiller(w *httptest.ResponseRecorder, rendition string, n live.Number) {
	r.Helper()
	r.want(w, 200, "")
	h := w.Header()
	if h.Get("Live-Defects") != "filled;ms=2000" || h.Get("Live-Published") != "" || h.Get("Last-Modified") != "" || h.Get("Live-Pipeline") == "" ||
		h.Get("Content-Digest") != live.DigestOf(w.Body.Bytes()).String() {
		r.Errorf("segment %d: %v", n, h)
	}
	if plain, heeded := lifetime(w), h.Get("Cache-Control"); plain != r.tl.Segment() || strings.Contains(heeded, "live-max-age-ms") {
		r.Errorf("segment %d is kept for %v: %s", n, plain, heeded)
	}
	t := r.m.tracks[rendition]
	win := cmaf.Window{SegmentMS: r.tl.Segment().Milliseconds()}
	win.Start, win.End = r.tl.Media(n, int64(t.Timescale))
	if x, err := cmaf.Inspect(w.Body.Bytes(), t, win); err != nil || !x.Findings.Clean() {
		r.Errorf("segment %d: %+v, %v", n, x, err)
	}
}

// TestLostIsFilled: at its deadline a held request of a segment that nobody
// published gets one made of that before; a backfill serves as soon as it is there,
// and the history tells both.
func TestLostIsFilled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{}, fills)
		r.putInits("a", "b")
		n := r.next()
		for _, name := range []string{"v", "a"} {
			r.putSegment("a", name, n, take{}, 201)
			until(r.tl.Due(n + 1))
			ch := r.ask(t.Context(), name+"/"+live.SegmentName(n+1))
			until(r.tl.Deadline(n + 1).Add(-1))
			if w := answered(ch); w != nil {
				t.Fatalf("%d before its deadline", w.Code)
			}
			until(r.tl.Deadline(n + 1))
			r.isFiller(answered(ch), name, n+1)
			n += 3
		}
		n -= 6
		playlist := func() string { return r.want(r.get("v/media.m3u8"), 200, "").Body.String() }
		if got := playlist(); strings.Contains(got, "#EXT-X-GAP\n"+live.SegmentName(n+1)) || !strings.Contains(got, "\n"+live.SegmentName(n+1)) {
			t.Errorf("%s", got)
		}
		// The same again and a run of them, from memory too; a part of it, and its head.
		for m := n + 1; m <= n+3; m++ {
			for range 2 {
				r.isFiller(r.getSegment("v", m), "v", m)
			}
		}
		if w := r.want(r.getSegment("v", n+1, "Range", "bytes=0-9"), 206, ""); w.Body.Len() != 10 {
			t.Errorf("%d bytes", w.Body.Len())
		}
		if got := r.history("v", n+1); got != "a filled filled;ms=2000 | serve a filled" {
			t.Errorf("%s", got)
		}
		if a, b := r.counted(`decisions_total{event="acme/final",reason="filled"}`), r.counted(`segments_served_total{event="acme/final",pipeline="a"}`); a != 9 || b != 0 {
			t.Errorf("%v are counted as filled, %v as of a", a, b)
		}
		r.putSegment("b", "v", n+1, take{}, 201)
		if w := r.want(r.getSegment("v", n+1), 200, ""); served(w) != "b;region=west late" {
			t.Errorf("%v", w.Header())
		}
		time.Sleep(gatherFor)
		synctest.Wait()
		if got := r.history("v", n+1); got != "a filled filled;ms=2000; b least-bad-time-up late | serve b pinned" {
			t.Errorf("%s", got)
		}
		// What follows is made of that from then on.
		if w := r.getSegment("v", n+2); served(w) != "b;region=west filled;ms=2000" {
			t.Errorf("%v", w.Header())
		}
	})
}

// TestGapsThatStay: what has nothing before it, is too far behind that, or was taken
// away by an operator is a gap, in playlists too; so is what nothing can be made of.
func TestGapsThatStay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{}, fills)
		r.putInits("a", "b")
		first := r.next()
		gaps := func() (out []live.Number) {
			lines := strings.Split(r.want(r.get("v/media.m3u8"), 200, "").Body.String(), "\n")
			for i, line := range lines {
				if line == "#EXT-X-GAP" {
					var n live.Number
					fmt.Sscanf(lines[i+1], "%d.m4s", &n)
					out = append(out, n)
				}
			}
			return out
		}
		r.putSegment("a", "v", first, take{}, 201)
		r.want(r.getSegment("v", first-3), 410, "lost")
		if g := gaps(); !slices.Contains(g, first-3) || g[len(g)-1] > first {
			t.Errorf("before the first there are gaps at %v", g)
		}
		last := first + live.Number(live.MaxFilled/r.tl.Segment())
		until(r.tl.Deadline(last + 3))
		r.isFiller(r.getSegment("v", last), "v", last)
		r.want(r.getSegment("v", last+1), 410, "lost")
		if g := gaps(); g[len(g)-1] != last+2 || g[len(g)-2] != last+1 || g[len(g)-3] >= first {
			t.Errorf("far behind it there are gaps at %v", g)
		}
		mask := func(scope string) { r.want(r.control("POST", "/masks?yes=true", scope), 200, "") }
		mask(fmt.Sprintf(`{"id": "m", "pipeline": "a", "from": %d, "to": %[1]d}`, first+2))
		r.isFiller(r.getSegment("v", first+2), "v", first+2)
		mask(fmt.Sprintf(`{"id": "m", "all": true, "from": %d, "to": %[1]d}`, first+2))
		r.want(r.getSegment("v", first+2), 410, "lost")
		r.isFiller(r.getSegment("v", first+3), "v", first+3)
		mask(fmt.Sprintf(`{"id": "m", "all": true, "from": %d, "to": %[1]d}`, first))
		r.want(r.getSegment("v", first+2), 410, "lost") // nothing is left to make it of
	})
}

// TestNodesFillAlike: two nodes make the same bytes of the same choice, whichever of
// them knows what before, and also after one was told nothing or starts anew.
func TestNodesFillAlike(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDuo(t, fills)
		n := d.one.next()
		d.one.putSegment("a", "v", n, take{lose: 3}, 201)
		d.one.putSegment("b", "v", n, take{}, 201)
		until(d.one.tl.Deadline(n + 2))
		one, two := d.one.getSegment("v", n+2), d.two.getSegment("v", n+2)
		d.one.isFiller(one, "v", n+2)
		if !bytes.Equal(one.Body.Bytes(), two.Body.Bytes()) || one.Header().Get("ETag") != two.Header().Get("ETag") {
			t.Error("two nodes differ")
		}
		if served(one) != "b;region=west filled;ms=2000" || served(d.one.getSegment("v", n)) != "b;region=west" {
			t.Errorf("it is made of %s", served(one))
		}
		// A node that nobody tells finds in the store what it is to be made of.
		deaf := openRig(t, Config{Store: d.one.o.look.Store, Bus: deaf{announce.NewLocal()}})
		n += 10
		until(d.one.tl.Expected(n))
		d.one.putSegment("b", "v", n, take{}, 201)
		until(d.one.tl.Deadline(n + 3))
		if three := deaf.getSegment("v", n+3); !bytes.Equal(three.Body.Bytes(), d.one.getSegment("v", n+3).Body.Bytes()) {
			t.Error("who is told nothing differs")
		}
	})
}
