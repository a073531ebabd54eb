package browser

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/live"
	"headwater/scenario"
)

// counts are what those who watch by a proxy of an edge asked for.
type counts struct {
	segments, refused atomic.Int64
}

// counted is a proxy of a system's edge: plain requests pass no handler there.
func counted(t *testing.T, s *scenario.System) (base string, c *counts) {
	t.Helper()
	edge, err := url.Parse(s.EdgeURL())
	if err != nil {
		t.Fatal(err)
	}
	c = new(counts)
	proxy := httputil.NewSingleHostReverseProxy(edge)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // who leaves
	proxy.ModifyResponse = func(r *http.Response) error {
		if strings.HasSuffix(r.Request.URL.Path, ".m4s") {
			c.segments.Add(1)
		}
		if r.StatusCode >= http.StatusBadRequest {
			c.refused.Add(1)
		}
		return nil
	}
	srv := httptest.NewServer(proxy)
	t.Cleanup(srv.Close)
	return srv.URL, c
}

// read has ffmpeg decode so many seconds of what is at a URL, at most for a while, and
// returns how many it got.
func read(t *testing.T, url string, seconds int, within time.Duration) float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, need.Program(t, "ffmpeg"), "-nostdin", "-v", "warning", "-i", url,
		"-map", "0:v:0", "-map", "0:a:0", "-t", strconv.Itoa(seconds), "-c", "copy", "-f", "null", "-progress", "pipe:1", "-")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Logf("ffmpeg: %v: %.2000s", err, said.String())
	}
	return lastOf(out, `out_time_us=(\d+)`) / 1e6
}

// lastOf is the last number of what was printed that a pattern finds, 0 without one.
func lastOf(out []byte, pattern string) float64 {
	found := regexp.MustCompile(pattern).FindAllSubmatch(out, -1)
	if len(found) == 0 {
		return 0
	}
	v, _ := strconv.ParseFloat(string(found[len(found)-1][1]), 64)
	return v
}

// TestFFmpeg has ffmpeg follow the MPD, whose media times count from 1970, from the live
// edge on; then that of a generation that began meanwhile; and when the event has ended what
// is left of it, without asking for what never was.
func TestFFmpeg(t *testing.T) {
	need.Long(t, "plays in real time")
	need.Program(t, "ffmpeg")
	var ev live.Event
	edit := func(e *live.Event) {
		renewable(e)
		ev = *e
	}
	s, err := scenario.Start(t.Context(), scenario.Options{Edit: edit})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	base, asked := counted(t, s)
	url := base + "/" + s.Event.String() + "/" + live.MPDName
	playable(t, url)
	follow := func(when string) {
		t.Helper()
		before := asked.refused.Load()
		if got := read(t, url, 8, time.Minute); got < 7.5 {
			t.Errorf("%s: ffmpeg read %.1f s of 8", when, got)
		}
		// A busy machine may be asked for a segment after its deadline.
		if n := asked.refused.Load() - before; n > 20 {
			t.Errorf("%s: ffmpeg was refused %d times", when, n)
		}
	}
	follow("live")
	begin(t.Context(), t, s)
	follow("after a generation began")
	ev.End = time.Now().Add(4 * time.Second)
	if err := s.Control(t.Context(), http.MethodPut, "", ev, nil); err != nil {
		t.Fatal(err)
	}
	await(t, url, "the end of the event", func(_ int, mpd string) bool { return strings.Contains(mpd, `type="static"`) })
	follow("ended")
}

// An event of which numbers count from 1 and that is younger than its DVR window: ffmpeg
// reads each segment once.
func TestFFmpegFollowsAYoungEvent(t *testing.T) {
	need.Long(t, "plays in real time")
	need.Program(t, "ffmpeg")
	s, err := scenario.Start(t.Context(), scenario.Options{
		Edit: func(e *live.Event) { e.Start, e.FirstNumber = e.Start.Add(-24*time.Second), 1 },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	base, asked := counted(t, s)
	url := base + "/" + s.Event.String() + "/" + live.MPDName
	playable(t, url)
	if got := read(t, url, 8, time.Minute); got < 7.5 {
		t.Errorf("ffmpeg read %.1f s of 8", got)
	}
	// Five segments of four renditions, and what is begun besides; otherwise it is hundreds a second.
	if n := asked.segments.Load(); n > 60 {
		t.Errorf("ffmpeg asked for segments %d times", n)
	}
}

// playable waits until there is something to play.
func playable(t *testing.T, url string) {
	t.Helper()
	await(t, url, "something to play", func(status int, _ string) bool { return status == http.StatusOK })
	wait(t.Context(), 4*time.Second) // what players want to have behind the live edge
}

// await asks until there is what is waited for, for a minute.
func await(t *testing.T, url, what string, there func(status int, text string) bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; wait(t.Context(), 200*time.Millisecond) {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if there(resp.StatusCode, string(text)) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("in vain: %s: %s", what, text)
		}
	}
}
