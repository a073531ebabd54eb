package manifest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"headwater/live"
)

// What Media lists as gaps is read again.
func TestGaps(t *testing.T) {
	cfg := &live.Config{Event: live.Default()}
	cfg.Start = time.Unix(1_800_000_000, 0).UTC()
	cfg.Pipelines = []live.Pipeline{{Name: "a"}}
	cfg.Renditions = []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1, Codecs: "avc1.64001f"}}
	tl := cfg.Event.Timeline()
	for _, want := range [][]live.Number{nil, {1}, {3, 4, 7}, {9}, {1, 2, 3, 4, 5, 6, 7, 8, 9}} {
		list, err := Media(Input{Config: cfg, Now: tl.Expected(9), Published: func(string) (live.Number, bool) { return 9, true },
			Lost: func(_ string, n live.Number) bool { return slices.Contains(want, n) }}, "v")
		if err != nil {
			t.Fatal(err)
		}
		if gaps, last, ok := Gaps(list); !slices.Equal(gaps, want) || last != 9 || !ok {
			t.Errorf("%v up to %d (%v), want %v:\n%s", gaps, last, ok, want, list)
		}
	}
	for _, list := range []string{"", "\n", "#EXTM3U\n", "#EXTM3U\n#EXT-X-GAP\n", "#EXTM3U\n#EXT-X-GAP\nx.m4s\n", "#EXTM3U\n" + strings.Repeat("9", 40) + ".m4s"} {
		if gaps, last, ok := Gaps([]byte(list)); gaps != nil || last != 0 || ok {
			t.Errorf("%q: %v up to %d", list, gaps, last)
		}
	}
}
