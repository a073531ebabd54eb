package browser

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"headwater/live"
	"headwater/scenario"
)

// dayOf is how long an event has run for which players go back: nearly a day where the table
// of players is made, and otherwise a while.
func dayOf() time.Duration {
	if long() {
		return 24 * time.Hour
	}
	return 10 * time.Minute
}

// a day of the built-in clip would be 25 GB. small is eight seconds of a picture and of
// silence of some kilobytes.
func small(t *testing.T) map[string][][]byte {
	t.Helper()
	source := filepath.Join(t.TempDir(), "small.mp4")
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-hide_banner", "-loglevel", "error",
		"-f", "lavfi", "-i", "testsrc=size=160x90:rate=10:duration=8.5", "-f", "lavfi", "-i", "anullsrc=r=48000:cl=mono:d=8.5",
		"-c:v", "libx264", "-preset", "veryfast", "-crf", "40", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "20", "-keyint_min", "20", "-sc_threshold", "0", "-video_track_timescale", "30000",
		"-c:a", "aac", "-b:a", "16k", "-use_editlist", "0", "-bsf:a", "setts=ts=N*1024", source).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return packaged(t, source, "video")
}

// aDay is an event that has run for so long: what it would have published is published at
// once, and goes on in real time.
func aDay(t *testing.T, long time.Duration) *scenario.System {
	t.Helper()
	files := small(t)
	var event live.Event
	s := start(t, scenario.Options{Encoder: "none"}, func(e *live.Event) {
		e.MediaTime = live.MediaStart
		e.Start = e.Start.Add(-long)
		e.FirstNumber -= live.Number(long / (2 * time.Second))
		e.DVRSeconds = int64((long + 10*time.Minute) / time.Second)
		e.Renditions = []live.Rendition{{Name: "v360", Type: live.Video, Bandwidth: 100_000}, {Name: "a-en", Type: live.Audio, Bandwidth: 20_000, Language: "en"}}
		event = *e
	})
	began := time.Now()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	put := func(name, file string, body []byte) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.PublishURL()+"/"+s.Event.String()+"/a/"+name+"/"+file, bytes.NewReader(body))
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if late := resp.Header.Get(live.HeaderDefects); resp.StatusCode >= 300 || late != "" && late != string(live.Late) {
			return fmt.Errorf("%s of %s: %s %v", file, name, resp.Status, resp.Header)
		}
		return nil
	}
	for name, media := range files {
		if err := put(name, live.InitName, media[0]); err != nil {
			t.Fatal(err)
		}
	}
	filmed := func() uint32 { return uint32(time.Since(event.Start) / (2 * time.Second)) }
	from := uint32(0)
	for to := filmed(); from < to; to = filmed() { // while this is published the event goes on
		ks := make(chan uint32)
		var senders sync.WaitGroup
		for range 48 {
			senders.Go(func() {
				for k := range ks {
					for name, media := range files {
						if err := put(name, (event.FirstNumber+live.Number(k)).String()+".m4s", segmentOf(name, media, k)); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		for ; from < to && !t.Failed(); from++ {
			ks <- from
		}
		close(ks)
		if senders.Wait(); t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d segments of %d renditions in %v", from, len(files), time.Since(began).Round(time.Second))
	ctx, cancel := context.WithCancel(t.Context())
	var sender sync.WaitGroup
	sender.Go(func() { publish(ctx, t, s, event.Start, event.FirstNumber, from, files, renewal{}) })
	t.Cleanup(func() { cancel(); sender.Wait() }) // before s is closed
	return s
}

// TestSeek has viewers go back by a minute, and by much of what there is, and on to the live edge.
func TestSeek(t *testing.T) {
	needBrowser(t)
	if !long() {
		t.Parallel() // it is small
	}
	day := dayOf()
	s := aDay(t, day)
	far := []int{-60, -int(day.Seconds()) / 24, -int(day.Seconds()) + 300}
	screens := slices.Concat(groups(t, s, "page-seek")...)
	if !long() {
		far, screens = far[:1], []*screen{screens[0], screens[len(screens)-1]}
	}
	var seeks []seek
	for i, by := range far { // each from the live edge
		seeks = append(seeks, seek{3 + 12*i, by}, seek{9 + 12*i, -by})
	}
	watchAgain(t, play{Seconds: 12*len(far) + 6, Patience: 40, Screens: screens, Seeks: seeks, situation: "seek"}, func(context.Context) {})
}
