package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os/exec"
	"sync"
	"testing"

	"headwater/ingest"
	"headwater/live"
	"headwater/packager"
	"headwater/scenario"
)

// TestEncoderComesBack has a real encoder end and come back under the same name with a larger
// picture, by CMAF ingest: by the event's policy a generation begins, what lies between is
// filled, and players go on and show the larger picture.
func TestEncoderComesBack(t *testing.T) {
	needBrowser(t)
	t.Parallel() // it is small
	s := start(t, scenario.Options{Encoder: "none"}, func(e *live.Event) {
		e.OnNewInit = live.NewInitGeneration
		e.Pipelines = e.Pipelines[:1]
		e.Renditions = []live.Rendition{{Name: "video", Type: live.Video, Bandwidth: 500_000}}
	})
	in, err := ingest.New(ingest.Config{
		Packager: packager.Config{To: []string{s.PublishURL()}, EventURL: s.DeliverURL(), Log: slog.New(slog.DiscardHandler)},
		Log:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(in)
	var encoders sync.WaitGroup
	// encode sends a picture of a size, until it is told to end.
	encode := func(size string) (end func()) {
		ctx, cancel := context.WithCancel(t.Context())
		encoders.Go(func() {
			out, err := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc2=rate=25:size="+size,
				"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "50", "-sc_threshold", "0",
				"-f", "mp4", "-movflags", "+cmaf+frag_keyframe+empty_moov+default_base_moof+skip_trailer", "-method", "POST", front.URL+"/"+s.Event.String()+"/a/Streams(video.cmfv)").CombinedOutput()
			if ctx.Err() == nil {
				t.Errorf("ffmpeg: %v: %s", err, out)
			}
		})
		return cancel
	}
	first := encode("320x180")
	ended := func() {}
	defer func() {
		first()
		ended()
		encoders.Wait()
		in.Drain()
		front.Close()
	}()
	settled(t, s)
	screens := []*screen{of(s, "hls", live.HLSName), of(s, "shaka", live.MPDName), of(s, "dash", live.MPDName), of(s, "rx", live.MPDName)}
	for _, w := range screens {
		w.faults = func(report []byte, p *play) (bad []string, err error) {
			var r struct {
				seen
				Record record
			}
			if err := json.Unmarshal(report, &r); err != nil {
				return nil, err
			}
			for _, f := range r.Fatal {
				bad = append(bad, "fatal: "+f)
			}
			if is := r.Record; is.Height != 360 || is.Still > 5 || is.Progress < float64(p.Seconds)/2 {
				bad = append(bad, fmt.Sprintf("played %.1f s of %d, and shows a picture %d high that has stood for %.1f s", is.Progress, p.Seconds, is.Height, is.Still))
			}
			return bad, nil
		}
	}
	for i, bad := range watch(t, play{Seconds: 34, Together: true, Patience: 40, Screens: screens, situation: "encoder"}, func(ctx context.Context) {
		first()
		ended = encode("640x360")
	}) {
		if len(bad) > 0 {
			t.Errorf("%s of %s: %v", screens[i].Player, screens[i].URL, bad)
		}
	}
}
