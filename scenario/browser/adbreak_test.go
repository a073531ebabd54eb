package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headwater/live"
	"headwater/scenario"
)

// adSeconds is how long the ad lasts, in whole segments of two seconds.
const adSeconds = 8

// makeAd is an ad as others make them: a playlist and a presentation of files.
func makeAd(t *testing.T) http.Handler {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-hide_banner", "-loglevel", "error",
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=320x180:rate=25:duration=%d", adSeconds), "-f", "lavfi", "-i", fmt.Sprintf("sine=duration=%d", adSeconds),
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50", "-keyint_min", "50", "-c:a", "aac",
		"-f", "dash", "-seg_duration", "2", "-hls_playlist", "1", filepath.Join(dir, "ad.mpd")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files := http.FileServer(http.Dir(dir))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		files.ServeHTTP(w, r)
	})
}

// TestAdBreak has players of HLS and of DASH go into an ad break that an operator
// announces while they play, and out of it, without a stall.
func TestAdBreak(t *testing.T) {
	needBrowser(t)
	ad := http.StripPrefix("/-/ad/", makeAd(t))
	s := start(t, scenario.Options{EdgeHandler: func(edge http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/-/ad/") {
				ad.ServeHTTP(w, r)
				return
			}
			edge.ServeHTTP(w, r)
		})
	}}, func(*live.Event) {})
	settled(t, s)
	announce := func(id string) error {
		data, err := json.Marshal(live.AdBreak{AssetURI: s.EdgeURL() + "/-/ad/master.m3u8", AssetMPD: s.EdgeURL() + "/-/ad/ad.mpd"})
		if err != nil {
			return err
		}
		return s.Control(t.Context(), http.MethodPost, "/notifications", map[string]any{
			"id": id, "type": live.TypeAdBreak, "from": "+2s", "to": fmt.Sprintf("+%ds", adSeconds), "data": data}, nil)
	}
	screens := []*screen{{Player: "hls", URL: live.HLSName}, {Player: "shaka", URL: live.HLSName}, {Player: "shaka", URL: live.MPDName}}
	for _, w := range screens {
		w.URL = s.EdgeURL() + "/" + s.Event.String() + "/" + w.URL
		w.faults = func(report []byte, _ *play) (bad []string, err error) {
			var r seen
			if err := json.Unmarshal(report, &r); err != nil {
				return nil, err
			}
			if !slices.Equal(r.Ads, []string{"started", "ended"}) {
				bad = append(bad, fmt.Sprintf("the ad: %v", r.Ads))
			}
			for _, f := range r.Fatal {
				bad = append(bad, "fatal: "+f)
			}
			for _, st := range r.Stalls {
				if st.Seconds < 0.5 { // from one picture to the other
					continue
				}
				bad = append(bad, fmt.Sprintf("the picture stood still for %.1f s at %.1f", st.Seconds, st.At))
			}
			return bad, nil
		}
	}
	for i, bad := range watch(t, play{Seconds: 32, Patience: 40, Screens: screens, situation: "ad"}, func(context.Context) {
		if err := announce("ad"); err != nil {
			t.Error(err)
		}
	}) {
		if len(bad) > 0 {
			t.Errorf("%s of %s: %v", screens[i].Player, screens[i].URL, bad)
		}
	}
}
