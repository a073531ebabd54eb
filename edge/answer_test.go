package edge

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/andybalholm/brotli"

	"headwater/live"
	"headwater/manifest"
)

func TestAgeAndCacheStatus(t *testing.T) {
	run(t, 1, func(r *rig) {
		const path = "/t/e/v/1.m4s"
		r.know()
		r.at(6 * time.Second)
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", "max-age=20, max-age-ms=20500")
			w.Header().Set("Age", "3")
			w.Header().Set("Cache-Status", "shield;hit")
			serveBytes(w, q, segment(q))
		})
		for _, c := range []struct {
			after               time.Duration
			age, control, state string
		}{
			{0, "3", "max-age=20, max-age-ms=20500", "shield;hit, headwater;fwd=uri-miss;fwd-status=200;stored;detail=fill"},
			{999 * time.Millisecond, "3", "max-age=19, max-age-ms=19501", "headwater;hit;ttl=16;detail=hit"},
			{1500 * time.Millisecond, "4", "max-age=20, max-age-ms=20000", "headwater;hit;ttl=16;detail=hit"},
			{17499 * time.Millisecond, "20", "max-age=20, max-age-ms=20001", "headwater;hit;ttl=0;detail=hit"},
			{17500 * time.Millisecond, "3", "max-age=20, max-age-ms=20500", "shield;hit, headwater;fwd=uri-miss;fwd-status=200;stored;detail=fill"},
		} {
			r.at(6*time.Second + c.after)
			v := r.get(path)
			if state := strings.Join(v.sent["Cache-Status"], ", "); v.got("Age") != c.age || v.got("Cache-Control") != c.control || state != c.state {
				t.Errorf("after %v: Age %q, Cache-Control %q, Cache-Status %q", c.after, v.got("Age"), v.got("Cache-Control"), state)
			}
		}
	})
}

func TestCacheStatusQuotesANameThatIsNoToken(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		if s := r.get("/t/e/v/0.m4s").got("Cache-Status"); s != `"9-edge";detail=never` {
			t.Errorf("Cache-Status %q", s)
		}
	}, func(c *Config) { c.Name = "9-edge" })
}

func TestHitsOfEveryKind(t *testing.T) {
	run(t, 1, func(r *rig) {
		const path = "/t/e/v/1.m4s"
		r.know()
		r.at(3 * time.Second)
		body := bodyOf(path)
		digest, etag := live.DigestOf([]byte(body)).String(), live.DigestOf([]byte(body)).ETag()
		r.get(path)
		for _, c := range []struct {
			name   string
			opts   []option
			status int
			body   string
			header map[string]string
		}{
			{"GET", nil, 200, body, map[string]string{"Content-Digest": digest, "Etag": etag, "Accept-Ranges": "bytes", "Live-Pipeline": "a;region=east", "Content-Type": "video/mp4"}},
			{"HEAD", []option{method("HEAD")}, 200, "", map[string]string{"Content-Length": "52000", "Content-Digest": digest}},
			{"a range", []option{with("Range", "bytes=1-4")}, 206, body[1:5], map[string]string{"Content-Range": "bytes 1-4/52000", "Content-Digest": "", "Repr-Digest": digest}},
			{"the tail", []option{with("Range", "bytes=-3")}, 206, body[len(body)-3:], nil},
			{"a range of another", []option{with("Range", "bytes=1-4"), with("If-Range", `"x"`)}, 200, body, map[string]string{"Content-Digest": digest}},
			{"a range past the end", []option{with("Range", "bytes=52000-")}, 416, "", map[string]string{"Content-Range": "bytes */52000", "Content-Digest": ""}},
			{"many ranges", []option{with("Range", "bytes=0-1,3-4")}, 200, body, nil},
			{"the same", []option{with("If-None-Match", etag)}, 304, "", map[string]string{"Etag": etag}},
			{"another", []option{with("If-None-Match", `"x"`)}, 200, body, nil},
			{"HEAD of a range", []option{method("HEAD"), with("Range", "bytes=1-4")}, 206, "", map[string]string{"Content-Length": "4"}},
		} {
			v := r.get(path, c.opts...)
			text := v.text()
			if c.status == 416 {
				text = ""
			}
			if v.status() != c.status || text != c.body {
				t.Errorf("%s: %d, %d bytes", c.name, v.status(), len(v.text()))
			}
			for name, want := range c.header {
				if got := v.got(name); got != want {
					t.Errorf("%s: %s %q, want %q", c.name, name, got, want)
				}
			}
			if !strings.Contains(v.got("Cache-Status"), ";hit;") {
				t.Errorf("%s: Cache-Status %q", c.name, v.got("Cache-Status"))
			}
		}
		if n := r.parent.asks(path); n != 1 {
			t.Errorf("the parent was asked %d times", n)
		}
	})
}

func TestManifestIsWrittenHereWhenNobodyAnswers(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) {
			for i := range c.Renditions {
				c.Renditions[i].Codecs = []string{"avc1.64001f", "mp4a.40.2"}[i]
				c.Renditions[i].Timescale = 1000
			}
		})
		r.know()
		r.at(11 * time.Second)
		r.parent.stop()
		for path, has := range map[string]string{
			"/t/e/manifest.mpd": "<MPD", "/t/e/timeline.mpd": "<SegmentTimeline>", "/t/e/main.m3u8": "#EXTM3U", "/t/e/v/media.m3u8": "4.m4s",
		} {
			v := r.get(path)
			if v.status() != 200 || !strings.Contains(v.text(), has) || v.got("Live-Version") == "" {
				t.Errorf("%s: %d %s", path, v.status(), v.text())
			}
		}
		if v := r.get("/t/e/v/init.mp4"); v.status() != 503 {
			t.Errorf("an init segment: %d", v.status())
		}
	})
}

// Of one playlist that a parent gave viewers get what they take: compressed, or
// what is new of it, or both, each with a tag of its own.
func TestFormsOfPlaylists(t *testing.T) {
	run(t, 1, func(r *rig) {
		c := r.parent.config
		for i := range c.Renditions {
			c.Renditions[i].Codecs = "avc1.64001f"
		}
		c.DVRSeconds = 120
		in := manifest.Input{Config: &c, Now: c.Start.Add(119 * time.Second), DeltaUpdates: true}
		full, err := manifest.Media(in, "v")
		if err != nil {
			t.Fatal(err)
		}
		in.Skip = true
		delta, err := manifest.Media(in, "v")
		if err != nil || len(delta) >= len(full) {
			t.Fatalf("a delta of %d bytes of %d: %v", len(delta), len(full), err)
		}
		r.parent.script(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", manifest.HLSType)
			w.Header().Set("Etag", `"p"`)
			w.Header().Set("Cache-Control", "max-age=1, max-age-ms=1500")
			w.Write(full)
		})
		r.know()
		const path = "/t/e/v/media.m3u8"
		r.get(path)
		bytes, sent := r.metric("memory_bytes"), r.metric("sent_bytes_total")
		gzipped := with("Accept-Encoding", "gzip, deflate")
		for _, c := range []struct {
			name, path string
			opts       []option
			status     int
			want       string
			etag       string
			coded      bool
		}{
			{"as it is", path, nil, 200, string(full), `"p"`, false},
			{"compressed", path, []option{gzipped}, 200, string(full), `"p-gzip"`, true},
			{"compressed better", path, []option{with("Accept-Encoding", "gzip, br")}, 200, string(full), `"p-br"`, true},
			{"what is new", path + "?_HLS_skip=YES", nil, 200, string(delta), `"p-delta"`, false},
			{"what is new, compressed", path + "?_HLS_skip=YES", []option{gzipped}, 200, string(delta), `"p-gzip-delta"`, true},
			{"known", path, []option{gzipped, with("If-None-Match", `"p-gzip"`)}, 304, "", `"p-gzip"`, true},
			{"known in another form", path, []option{with("If-None-Match", `"p-gzip"`)}, 200, string(full), `"p"`, false},
			{"not compressed", path, []option{with("Accept-Encoding", "gzip;q=0")}, 200, string(full), `"p"`, false},
			{"another query", path + "?CMCD=ot%3Dm", nil, 200, string(full), `"p"`, false},
		} {
			v := r.get(c.path, c.opts...)
			text := v.text()
			if c.coded && c.status == 200 {
				var z io.Reader = brotli.NewReader(strings.NewReader(text))
				if v.got("Content-Encoding") == "gzip" {
					var err error
					if z, err = gzip.NewReader(strings.NewReader(text)); err != nil {
						t.Fatalf("%s: %v", c.name, err)
					}
				}
				b, err := io.ReadAll(z)
				if err != nil {
					t.Fatal(err)
				}
				text = string(b)
			}
			if v.status() != c.status || text != c.want || v.got("Etag") != c.etag || (v.got("Content-Encoding") != "") != c.coded || v.got("Vary") != "Accept-Encoding" {
				t.Errorf("%s: %d %s %q\n%s", c.name, v.status(), v.got("Etag"), v.got("Vary"), text)
			}
			if v.got("Cache-Control") != "max-age=1, max-age-ms=1500, s-maxage=2" {
				t.Errorf("%s: Cache-Control %s", c.name, v.got("Cache-Control"))
			}
		}
		if v := r.get(path, method("HEAD"), gzipped); v.status() != 200 || v.text() != "" || v.got("Content-Encoding") != "gzip" {
			t.Errorf("HEAD: %d %s", v.status(), v.got("Content-Encoding"))
		}
		// What is made is kept, and counts: each form once, however often it is sent.
		short := len(r.get(path, with("Accept-Encoding", "br")).text())
		for _, query := range []string{"", "?_HLS_skip=YES"} {
			short += len(r.get(path+query, gzipped).text())
		}
		synctest.Wait()
		if n, want := int(r.metric("memory_bytes")-bytes), len(delta)+short; n != want {
			t.Errorf("forms count for %d bytes of memory, want %d", n, want)
		}
		if n, want := int(r.metric("sent_bytes_total")-sent), 4*len(full)+len(delta)+2*short; n != want {
			t.Errorf("%d bytes were sent, want %d", n, want)
		}
		if n := r.parent.asks(path); n != 1 {
			t.Errorf("the parent was asked %d times", n)
		}
	})
}

// A segment has its time for a second name. The cache has it once, and what is
// called by a time is held as well.
func TestSegmentByItsTime(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.at(11 * time.Second)
		tl := r.parent.config.Event.Timeline()
		start, _ := tl.Media(3, 1)
		at := "/t/e/v/t" + strconv.FormatInt(start, 10) + ".m4s"
		for _, path := range []string{"/t/e/v/3.m4s", at} {
			if v := r.get(path); v.status() != 200 {
				t.Errorf("%s: %d %s", path, v.status(), v.text())
			}
		}
		if n := r.parent.asks("/t/e/v/3.m4s") + r.parent.asks(at); n != 1 {
			t.Errorf("the parent was asked %d times", n)
		}
		if v := r.get("/t/e/v/t" + strconv.FormatInt(start+1, 10) + ".m4s"); v.status() != 404 || !strings.Contains(v.text(), "not-found") {
			t.Errorf("between two segments: %d %s", v.status(), v.text())
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.at(59 * time.Second)
		for n := live.Number(1); n <= 20; n++ {
			r.get("/t/e/v/" + live.SegmentName(n))
			if b := r.metric("memory_bytes"); b > 300<<10 {
				t.Fatalf("%v bytes", b)
			}
		}
		if n := r.metric("objects"); n < 3 || n > 5 {
			t.Errorf("%v objects of 52 kB in 300 kB", n)
		}
		// What was used last is there, the rest is asked for again.
		for n, want := range map[live.Number]int{20: 1, 19: 1, 1: 2} {
			path := "/t/e/v/" + live.SegmentName(n)
			if r.get(path); r.parent.asks(path) != want {
				t.Errorf("segment %d was asked for %d times, want %d", n, r.parent.asks(path), want)
			}
		}
		r.parent.script(func(w http.ResponseWriter, q *http.Request) { live.ErrLost.For(time.Second).Write(w, q) })
		for n := live.Number(1); n <= 29; n++ {
			r.get("/t/e/s/" + live.SegmentName(n))
		}
		r.at(90 * time.Second)
		r.ed.cache.Sweep(time.Now())
		// Stale refusals are gone, and nothing is counted for them.
		if n, b := r.metric("objects"), r.metric("memory_bytes"); n > 5 || b > n*(60<<10) {
			t.Errorf("%v objects, %v bytes", n, b)
		}
	}, func(c *Config) { c.MemoryBytes = 300 << 10 })
}
