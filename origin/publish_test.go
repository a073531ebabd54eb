package origin

import (
	"bytes"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"headwater/live"
)

func TestPublishAndDeliver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{Region: "central"})
		r.putInits("a", "b")
		n := r.next()
		for _, rendition := range []string{"v", "a"} {
			body := r.m.segment(r.tl, rendition, n, take{mark: "a"})
			w := r.want(r.put("a/"+rendition+"/"+live.SegmentName(n), body, "Content-Digest", live.DigestOf(body).String()), 201, "")
			if w.Header().Get("Live-Defects") != "" {
				t.Errorf("%s: %v", rendition, w.Header())
			}
			if w.Header().Get("ETag") != live.DigestOf(body).ETag() || w.Header().Get("Content-Digest") != "" {
				t.Errorf("the acknowledgement's ETag is %q", w.Header().Get("ETag"))
			}
			w = r.want(r.getSegment(rendition, n), 200, "")
			if !bytes.Equal(w.Body.Bytes(), body) {
				t.Errorf("%s: other bytes", rendition)
			}
			for name, want := range map[string]string{
				"Live-Pipeline": "a;region=central", "Live-Defects": "", "Live-Edge": n.String(), "Content-Digest": live.DigestOf(body).String(),
				"Content-Type": map[string]string{"v": "video/mp4", "a": "audio/mp4"}[rendition], "Access-Control-Allow-Origin": "*",
				"Live-Published": live.FormatPublished(time.Now()), "Live-Version": w.Header().Get("Live-Version"), "Accept-Ranges": "bytes",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			// Ten minutes, or what is left of the DVR window.
			if left := time.Until(r.tl.GoneAt(n)); lifetime(w) != min(10*time.Minute, left.Truncate(time.Millisecond)) {
				t.Errorf("lifetime %v, %v left", lifetime(w), left)
			}
		}
		// Several fragments, and POST, and a chunked body.
		body := r.m.segment(r.tl, "v", n, take{mark: "b", fragments: 4})
		req := request("POST", "/acme/final/b/v/"+live.SegmentName(n), io.MultiReader(bytes.NewReader(body)))
		r.want(serve(r.pub, req), 201, "")
	})
}

// TestPublishStatuses has every refusal of the publish listener that needs no
// fault of the store or the network.
func TestPublishStatuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{MaxSegmentBytes: 100_000}, func(ev *live.Event) { ev.End = ev.Start.Add(20 * time.Minute) })
		r.putInits("a")
		n := r.next()
		seg := r.m.segment(r.tl, "v", n, take{})
		at := func(n live.Number) string { return "a/v/" + live.SegmentName(n) }
		large := r.m.segment(r.tl, "v", n, take{size: 200_000})
		for _, c := range []struct {
			name    string
			w       *httptest.ResponseRecorder
			status  int
			code    string
			details string // in the detail
		}{
			{"no such form", r.put("a/v", seg), 400, "bad-path", "PIPELINE/RENDITION"},
			{"no such file", r.put("a/v/chunk-1.m4s", seg), 400, "bad-path", "not a segment number"},
			{"ffmpeg's init", r.put("a/v/init-stream0.m4s", seg), 400, "bad-path", ""},
			{"leading zeros", r.put("a/v/00042.m4s", seg), 400, "bad-path", "leading zeros: write 42"},
			{"capitals", serve(r.pub, request("PUT", "/Acme/final/a/v/1.m4s", bytes.NewReader(seg))), 400, "bad-path", "tenant"},
			{"GET", serve(r.pub, request("GET", "/acme/final/a/v/1.m4s", nil)), 405, "method-not-allowed", "GET"},
			{"no event", serve(r.pub, request("PUT", "/acme/other/a/v/1.m4s", bytes.NewReader(seg))), 404, "no-such-event", "acme/other"},
			{"no pipeline", r.put("c/v/1.m4s", seg), 404, "no-such-pipeline", `"c"`},
			{"no rendition", r.put("a/x/1.m4s", seg), 404, "no-such-rendition", `"x"`},
			{"before the event", r.put("a/v/0.m4s", seg), 404, "outside-event", "first 1"},
			{"after the event", r.put(at(601), seg), 404, "outside-event", "last 600"},
			{"a minute ahead", r.put(at(n+30), seg), 400, "number-in-future", "clock"},
			{"no init segment", r.put("b/v/"+live.SegmentName(n), seg), 412, "init-missing", "init.mp4"},
			{"empty", r.put(at(n), nil), 400, "malformed-media", "empty"},
			{"truncated", r.put(at(n), seg[:len(seg)-10]), 400, "malformed-media", "mdat"},
			{"transport stream", r.put(at(n), transportStream), 415, "not-cmaf", ""},
			{"progressive", r.put("b/v/init.mp4", progressive()), 415, "not-cmaf", "progressive"},
			{"web page", r.put(at(n), webPage), 415, "not-cmaf", ""},
			{"content type", r.put(at(n), seg, "Content-Type", "text/html"), 415, "not-cmaf", "text/html"},
			{"gzip", r.put(at(n), seg, "Content-Encoding", "gzip"), 415, "not-cmaf", "gzip"},
			{"an init segment as a segment", r.put(at(n), r.m.inits["v"]), 415, "not-cmaf", ""},
			{"a segment as an init segment", r.put("b/v/init.mp4", seg), 400, "malformed-media", ""},
			{"audio as video", r.put("b/v/init.mp4", r.m.inits["a"]), 412, "init-differs", "video"},
			{"other timescale", r.put("b/v/init.mp4", r.m.otherTimescale("v")), 412, "init-differs", "timescale"},
			{"other picture", r.put("b/v/init.mp4", r.m.inits["w"]), 412, "init-differs", `"a"`},
			{"digest", r.put(at(n), seg, "Content-Digest", live.DigestOf(nil).String()), 400, "digest-mismatch", "arrived"},
			{"digest header", r.put(at(n), seg, "Content-Digest", "sha-256=x"), 400, "bad-header", "Content-Digest"},
			{"defects header", r.put(at(n), seg, "Live-Defects", "short;ms=x y"), 400, "bad-header", "Live-Defects"},
			{"many defects", r.put(at(n), seg, "Live-Defects", strings.Repeat("x, ", 16)+"x"), 400, "bad-header", "at most 16"},
			{"long defect", r.put(at(n), seg, "Live-Defects", strings.Repeat("x", 65)), 400, "bad-header", "64"},
			{"notifications header", r.put(at(n), seg, "Live-Notifications", "ad-break"), 400, "bad-header", "Live-Notifications"},
			{"a part", r.put(at(n), seg, "Content-Range", "bytes 0-9/100"), 400, "bad-header", "whole"},
			{"too large", r.put(at(n), large), 413, "too-large", "at most 100000"},
			{"too large, chunked", serve(r.pub, request("PUT", "/acme/final/"+at(n), io.MultiReader(bytes.NewReader(large)))), 413, "too-large", "longer than 100000"},
			{"large manifest", r.put("a/manifest.mpd", make([]byte, maxDropped+1)), 413, "too-large", ""},
			{"packager leaves", serve(r.pub, request("PUT", "/acme/final/"+at(n), io.MultiReader(bytes.NewReader(seg[:100]), failing{}))), 400, "incomplete-body", "100 bytes"},
		} {
			if p := problemOf(c.w); c.w.Code != c.status || p.Code != c.code || !strings.Contains(p.Detail, c.details) {
				t.Errorf("%s: %d %q %q, want %d %q %q", c.name, c.w.Code, p.Code, p.Detail, c.status, c.code, c.details)
			}
			if cc := c.w.Header().Get("Cache-Control"); c.status >= 400 && !strings.Contains(cc, "no-store") && c.code != "bad-path" && c.code != "method-not-allowed" {
				t.Errorf("%s: Cache-Control %q", c.name, cc)
			}
		}
		// None of it left anything behind.
		if w := r.o.publish.Bodies.Used(); w != 0 {
			t.Errorf("%d bytes of bodies are still counted", w)
		}
		r.putSegment("a", "v", n, take{}, 201)
	})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// TestWrongTrack: a segment whose track is another one's is not for this
// rendition.
func TestWrongTrack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next()
		seg := r.m.segment(r.tl, "v", n, take{})
		at := bytes.Index(seg, []byte("tfhd")) + 4 + 4
		seg[at+3] = 7
		r.want(r.put("a/v/"+live.SegmentName(n), seg), 412, "init-differs")
	})
}

func TestPublishAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next()
		first := r.putSegment("a", "v", n, take{}, 201)
		time.Sleep(time.Second)
		w := r.putSegment("a", "v", n, take{}, 200)
		if w.Header().Get("Live-Published") != first.Header().Get("Live-Published") {
			t.Error("the same bytes again have another time of publication")
		}
		r.want(r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{mark: "other"})), 409, "conflict")
		r.want(r.put("a/v/init.mp4", r.m.inits["v"]), 200, "")
		r.want(r.put("a/v/init.mp4", r.m.another("v")), 200, "")
		r.want(r.put("b/v/init.mp4", r.m.another("v")), 201, "")
		if w := r.get("v/init.mp4"); !bytes.Equal(w.Body.Bytes(), r.m.inits["v"]) {
			t.Error("viewers get another init segment than the first")
		}
	})
}

func TestRepair(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next()
		w := r.putSegment("a", "v", n, take{lose: 30}, 201)
		if got := w.Header().Get("Live-Defects"); got != "short;ms=1000" {
			t.Errorf("the acknowledgement says %q", got)
		}
		r.putSegment("a", "v", n, take{lose: 30}, 200) // the same
		r.want(r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{mark: "worse", lose: 40})), 409, "conflict")
		r.putSegment("a", "v", n, take{mark: "less bad", lose: 10}, 200)
		r.putSegment("a", "v", n, take{mark: "clean"}, 200)
		r.want(r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{mark: "late"})), 409, "conflict")
		if w := r.want(r.getSegment("v", n), 200, ""); !bytes.Equal(w.Body.Bytes(), r.m.segment(r.tl, "v", n, take{mark: "clean"})) || w.Header().Get("Live-Defects") != "" {
			t.Errorf("another take is served: %v", w.Header())
		}
	})
}

// TestClaims: what the packager knows to be wrong counts, bounded; its good
// word does not.
func TestClaims(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next()
		w := r.want(r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{lose: 15}),
			"Live-Defects", "gap;ms=900000000000000, black;ms=1, gap", "Live-Defects", "short;ms=10"), 201, "")
		if got := w.Header().Get("Live-Defects"); got != "gap;ms=2000, black;ms=1, short;ms=500" {
			t.Errorf("the acknowledgement says %q", got)
		}
		// As many as may be claimed, and what is found, can be read again.
		many := strings.Repeat("x, ", 15)
		for i := range 15 {
			many = strings.Replace(many, "x,", "k"+string(rune('a'+i))+";n=3,", 1)
		}
		r.want(r.put("a/v/"+live.SegmentName(n+1), r.m.segment(r.tl, "v", n+1, take{lose: 15, hole: 5, noKey: true}), "Live-Defects", many+"last"), 201, "")
		again := openRig(t, Config{Store: r.o.book.Store})
		if _, ok := again.o.book.Get(testID).Candidate("v", n+1, "a"); !ok {
			t.Error("a node that starts does not know the segment")
		}
	})
}

func TestLateBackfill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next()
		until(r.tl.Deadline(n).Add(time.Millisecond))
		r.want(r.getSegment("v", n), 410, "lost")
		if w := r.putSegment("a", "v", n, take{}, 201); w.Header().Get("Live-Defects") != "late" {
			t.Errorf("defects %q", w.Header().Get("Live-Defects"))
		}
		w := r.want(r.getSegment("v", n), 200, "")
		if w.Header().Get("Live-Defects") != "late" || lifetime(w) < time.Minute {
			t.Errorf("a late segment with all its media: %v", w.Header())
		}
		until(r.tl.GoneAt(n).Add(time.Millisecond))
		r.want(r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{})), 404, "outside-event")
	})
}

func TestDropped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{Access: guard(t, "s3=publish:acme")})
		auth := []string{"Authorization", "Bearer s3"}
		for _, path := range []string{"manifest.mpd", "a/master.m3u8", "a/v/media.m3u8"} {
			r.want(r.put(path, []byte("#EXTM3U"), auth...), 200, "")
		}
		r.want(serve(r.pub, request("DELETE", "/acme/final/a/v/1.m4s", nil, auth...)), 200, "")
		r.want(r.put("manifest.mpd", nil), 401, "unauthorized")
	})
}

func TestCredentials(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{Access: guard(t, "s3=publish:acme", "t4=publish:globex")})
		basic := func(secret string) string {
			req := request("PUT", "/", nil)
			req.SetBasicAuth("packager", secret)
			return req.Header.Get("Authorization")
		}
		for _, c := range []struct {
			auth   string
			status int
			code   string
		}{
			{"Bearer s3", 201, ""}, {"bearer s3", 200, ""}, {basic("s3"), 200, ""},
			{"Bearer t4", 403, "forbidden"}, {basic("t4"), 403, "forbidden"},
			{"Bearer x", 401, "unauthorized"}, {basic("x"), 401, "unauthorized"}, {"Bearer ", 401, "unauthorized"}, {"Digest s3", 401, "unauthorized"}, {"", 401, "unauthorized"},
		} {
			w := r.put("a/v/init.mp4", r.m.inits["v"], "Authorization", c.auth)
			if p := problemOf(w); w.Code != c.status || p.Code != c.code {
				t.Errorf("%q: %d %q, want %d %q", c.auth, w.Code, p.Code, c.status, c.code)
			}
			if c.status == 401 && w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%q: no WWW-Authenticate", c.auth)
			}
		}
	})
}
