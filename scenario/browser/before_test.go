package browser

import (
	"context"
	"testing"
	"time"

	"headwater/live"
)

// TestBeforeTheStart has players come before the event begins: they begin by
// themselves with it.
func TestBeforeTheStart(t *testing.T) {
	needBrowser(t)
	const before = 7 // segments
	s := start(t, func(e *live.Event) {
		e.Start = e.Start.Add(before * 2 * time.Second)
		e.FirstNumber += before
	})
	screens := []*screen{of(s, "hls", live.HLSName), of(s, "videojs", live.HLSName), of(s, "shaka", live.MPDName), of(s, "dash", live.MPDName), of(s, "rx", live.MPDName), ours(t, s)}
	for _, w := range screens {
		w.faults = func([]byte) ([]string, error) { return nil, nil } // that it plays is enough
	}
	for i, bad := range watch(t, play{Seconds: 2, Together: true, Patience: 40, Screens: screens}, func(context.Context) {}) {
		if len(bad) > 0 {
			t.Errorf("%s of %s: %v", screens[i].Player, screens[i].URL, bad)
		}
	}
}
