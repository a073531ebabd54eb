package origin

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

// TestKeyFrames: the first key frame of a segment, or of its filler, is to be had alone where
// the event offers it. It is answered as the segment is, and no choice of the slot's.
func TestKeyFrames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{}, fills, func(ev *live.Event) { ev.Renditions[0].KeyFrames = true })
		r.putInits("a", "b")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		whole := r.want(r.getSegment("v", n), 200, "").Body.Bytes()
		w := r.want(r.get("v/k"+live.SegmentName(n)), 200, "")
		h, body := w.Header(), w.Body.Bytes()
		if len(body) >= len(whole) || h.Get("Content-Digest") != live.DigestOf(body).String() || h.Get("ETag") != live.DigestOf(body).ETag() ||
			h.Get("Content-Type") != "video/mp4" || h.Get("Live-Pipeline") == "" || h.Get("Live-Defects") != "" {
			t.Errorf("%d bytes of %d: %v", len(body), len(whole), h)
		}
		win := cmaf.Window{SegmentMS: r.tl.Segment().Milliseconds()}
		win.Start, win.End = r.tl.Media(n, int64(r.m.tracks["v"].Timescale))
		if x, err := cmaf.Inspect(body, r.m.tracks["v"], win); err != nil || x.Samples != 1 || !x.Keyframe {
			t.Errorf("%+v, %v", x, err)
		}
		r.want(r.get("v/k"+live.SegmentName(n), "If-None-Match", h.Get("ETag")), 304, "")
		r.want(r.get("v/k"+live.SegmentName(n), "Range", "bytes=0-99", "If-Range", h.Get("ETag")), 206, "")
		r.want(r.get("v/k"+live.SegmentName(n), "If-Match", live.DigestOf(whole).ETag()), 412, "")
		until(r.tl.Deadline(n + 1))
		w = r.want(r.get("v/k"+live.SegmentName(n+1)), 200, "")
		if got := w.Header().Get("Live-Defects"); got != "filled;ms=2000" {
			t.Errorf("of a filler: %q", got)
		}
		r.want(r.control("POST", "/masks?yes=true", fmt.Sprintf(`{"all": true, "from": %d, "to": %[1]d}`, n+1)), 200, "")
		r.want(r.get("v/k"+live.SegmentName(n+1)), 410, "lost")
		time.Sleep(time.Second) // what viewers got is written down
		if got := r.history("v", n+1); strings.Contains(got, "410") {
			t.Errorf("who asked for a key frame was refused the segment: %s", got)
		}
		r.want(r.getSegment("v", n+1), 410, "lost")
		time.Sleep(time.Second)
		if got := r.history("v", n+1); !strings.Contains(got, "410 lost 1 times") {
			t.Errorf("who asked for the segment: %s", got)
		}
		r.want(r.get("v/k"+live.SegmentName(n+9)), 404, "early")
		r.want(r.get("v/k0.m4s"), 404, "never")
		r.want(r.get("a/k"+live.SegmentName(n)), 404, "no-key-frame")
		r.want(r.get("a/iframes.m3u8"), 404, "no-key-frame")
		list := r.want(r.get("v/iframes.m3u8"), 200, "").Body.String()
		if !strings.Contains(list, "#EXT-X-I-FRAMES-ONLY\n") || !strings.Contains(list, "\nk"+live.SegmentName(n)) || strings.Contains(list, "\n"+live.SegmentName(n)) {
			t.Error(list)
		}
		if got := r.want(r.get("main.m3u8"), 200, "").Body.String(); !strings.Contains(got, `URI="v/iframes.m3u8"`) {
			t.Error(got)
		}
	})
}
