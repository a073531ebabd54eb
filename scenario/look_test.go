package scenario

import (
	"net/http"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/live"
	"headwater/packager"
)

// TestBlackPicture: pipeline a sends whole segments of black, its own packager watches
// and says so, and viewers get b: from the segment after the first of which it is known,
// in every rendition of video, while a goes on to be heard.
func TestBlackPicture(t *testing.T) {
	s, err := Start(t.Context(), Options{Look: need.Program(t, "ffmpeg")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var cfg live.Config
	if err := s.Control(t.Context(), "GET", "", nil, &cfg); err != nil {
		t.Fatal(err)
	}
	tl := cfg.Event.Timeline()
	black := tl.At(time.Now()) + 2
	if err := s.Pipeline("a").Break(packager.Fault{Kind: packager.FaultBlack, From: black}); err != nil {
		t.Fatal(err)
	}
	get := func(rendition string, n live.Number) (pipeline string) {
		resp, err := http.Get(s.EdgeURL() + "/" + s.Event.String() + "/" + rendition + "/" + live.SegmentName(n))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if d := resp.Header[live.HeaderDefects]; resp.StatusCode != 200 || len(d) > 0 {
			t.Errorf("%s %d: %d %v", rendition, n, resp.StatusCode, d)
		}
		from, _ := live.ParseSource(resp.Header.Get(live.HeaderPipeline))
		return from.Pipeline
	}
	const known = 4 // segments of black by which it must have been noticed
	for n := black - 1; n < black+known+3; n++ {
		select {
		case <-time.After(time.Until(tl.End(n))):
		case <-t.Context().Done():
			return
		}
		for _, rendition := range []string{"v720", "v180", "a-en"} {
			from := get(rendition, n)
			t.Log(rendition, n-black, from)
			switch {
			case rendition == "a-en" && from != "a", n < black && from != "a":
				t.Errorf("%s %d is pipeline %s's", rendition, n, from)
			case rendition != "a-en" && n >= black+known && from != "b":
				t.Errorf("%s %d is still black", rendition, n)
			}
		}
	}
}
