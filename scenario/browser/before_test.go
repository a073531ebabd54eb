package browser

import (
	"context"
	"testing"
	"time"

	"headwater/live"
	"headwater/scenario"
)

// TestBeforeTheStart has players come before the event begins: they begin by
// themselves with it.
func TestBeforeTheStart(t *testing.T) {
	needBrowser(t)
	const before = 7 // segments
	var begins time.Time
	s := start(t, scenario.Options{}, func(e *live.Event) {
		e.Start = e.Start.Add(before * 2 * time.Second)
		e.FirstNumber += before
		begins = e.Start
	})
	screens := []*screen{of(s, "hls", live.HLSName), of(s, "videojs", live.HLSName), of(s, "shaka", live.MPDName), of(s, "dash", live.MPDName), of(s, "rx", live.MPDName), ours(t, s, "before")}
	for _, w := range screens {
		w.faults = func([]byte, *play) ([]string, error) { return nil, nil } // that it plays is enough
	}
	for i, bad := range watch(t, play{Seconds: 2, Together: true, Patience: 40, Screens: screens, situation: "before", begins: begins}, func(context.Context) {}) {
		if len(bad) > 0 {
			t.Errorf("%s of %s: %v", screens[i].Player, screens[i].URL, bad)
		}
	}
}
