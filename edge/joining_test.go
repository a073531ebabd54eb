package edge

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
)

// joins is with how much delay each of so many viewers is told to begin by main.m3u8.
func (r *rig) joins(n int, opts ...option) map[string]int {
	r.Helper()
	told := map[string]int{}
	for range n {
		time.Sleep(time.Millisecond)
		v := r.get("/t/e/main.m3u8", opts...)
		if v.status() != 200 || !v.complete() {
			r.Fatalf("%d %s", v.status(), v.text())
		}
		start := regexp.MustCompile(`^#EXTM3U\n#EXT-X-START:TIME-OFFSET=-([0-9.]+)\n`).FindStringSubmatch(v.text())
		if start == nil {
			told[""]++
			continue
		}
		told[start[1]]++
	}
	return told
}

// playlists has the parent answer as an origin does.
func (r *rig) playlists() {
	r.parent.script(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "max-age=1")
		w.Header().Set("ETag", `"list"`)
		w.Write([]byte("#EXTM3U\n#EXT-X-VERSION:8\n"))
	})
}

// Who joins while an event begins, while a node does, and after an outage, begins
// somewhere behind the live edge, each third somewhere else.
func TestJoinersBeginBehind(t *testing.T) {
	spread := func(r *rig, when string, opts ...option) {
		t.Helper()
		told := r.joins(60, opts...)
		for _, at := range []string{"", "8.000", "10.000", "12.000"} {
			if told[at] < 6 {
				t.Errorf("%s: %v", when, told)
			}
		}
	}
	together := func(r *rig, when string, opts ...option) {
		t.Helper()
		if told := r.joins(20, opts...); told[""] != 20 {
			t.Errorf("%s: %v", when, told)
		}
	}
	run(t, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) { c.JoinMS = 6000 })
		r.know()
		r.playlists()
		r.at(2500 * time.Millisecond)
		spread(r, "the event begins")
		spread(r, "nothing is to be compressed", with("Accept-Encoding", "gzip;q=0"))
		together(r, "another cache asks", with("CDN-Loop", "other"))
		r.at(8500 * time.Millisecond)
		together(r, "it has begun")
		if v := r.get("/t/e/main.m3u8"); v.got("Etag") != `"list"` {
			t.Errorf("ETag %s", v.got("Etag"))
		}
		r.parent.stop()
		r.at(20 * time.Second)
		for range 3 {
			if v := r.get("/t/e/main.m3u8"); v.status() != 503 { // the codecs are not known here
				t.Fatalf("%d", v.status())
			}
		}
		r.parent.start()
		r.at(24 * time.Second)
		spread(r, "after an outage")
		r.at(32 * time.Second)
		together(r, "well after it")
	})
}

func TestNobodyBeginsBehindWithoutAWindow(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.playlists()
		r.at(2500 * time.Millisecond)
		if told := r.joins(20); told[""] != 20 {
			t.Errorf("%v", told)
		}
	})
}

// Those who were refused together do not come back together.
func TestRetryAfterIsSpread(t *testing.T) {
	for window, most := range map[int64]int{0: 3, 10_000: 10} {
		run(t, 1, func(r *rig) {
			r.parent.configure(func(c *live.Config) { c.JoinMS = window })
			r.know()
			r.at(9 * time.Second)
			r.parent.script(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
			told := map[int]int{}
			for range 200 {
				v := r.ask(segmentPath(1))
				time.Sleep(17 * time.Millisecond)
				<-v.closed
				s, err := strconv.Atoi(v.got("Retry-After"))
				if v.status() != 503 || err != nil || s < 1 || s > most {
					t.Fatalf("%d, Retry-After %q", v.status(), v.got("Retry-After"))
				}
				told[s]++
			}
			for s := 1; s <= most; s++ {
				if told[s] < 200/most/3 {
					t.Errorf("window %d: %d of 200 come back after %d s", window, told[s], s)
				}
			}
		})
	}
}

// Nobody joins by a media playlist, so it is sent as it comes.
func TestMediaPlaylistsAreNotHeldForJoiners(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) { c.JoinMS = 6000 })
		r.know()
		const list = "#EXTM3U\n#EXT-X-VERSION:8\n"
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(list)))
			io.WriteString(w, list[:8])
			w.(http.Flusher).Flush()
			time.Sleep(200 * time.Millisecond)
			io.WriteString(w, list[8:])
		})
		r.at(2500 * time.Millisecond)
		v := r.ask("/t/e/v/media.m3u8")
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if v.text() != list[:8] {
			t.Errorf("%q has come", v.text())
		}
		if <-v.closed; v.text() != list {
			t.Errorf("%q", v.text())
		}
	})
}
