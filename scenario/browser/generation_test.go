package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"headwater/scenario"
)

// TestGeneration has an encoder come back with other pictures while players play, and
// an operator begin a generation with it: they go on without a stall, and nobody loads
// anything anew.
func TestGeneration(t *testing.T) {
	needBrowser(t)
	s := start(t, func(ev *live.Event) { ev.OnNewInit = live.NewInitGeneration })
	settled(t, s)
	page := ours(t, s)
	for _, screens := range [][]*screen{
		{of(s, "hls", live.HLSName), of(s, "dash", live.MPDName), of(s, "shaka", live.MPDName)},
		{of(s, "videojs", live.HLSName), of(s, "shaka", live.HLSName), page},
	} {
		for _, w := range screens {
			w.faults = crossed(w == page)
		}
		for try := 0; len(screens) > 0; try++ { // a machine has hiccups of its own
			var again []*screen
			for i, bad := range watch(t, play{Seconds: crossing, Patience: 40, Screens: screens}, func(ctx context.Context) { renew(ctx, t, s) }) {
				if len(bad) == 0 {
					continue
				}
				t.Logf("%s of %s, time %d: noticed %v", screens[i].Player, screens[i].URL, try+1, bad)
				if again = append(again, screens[i]); try == 2 {
					t.Errorf("%s of %s: %v", screens[i].Player, screens[i].URL, bad)
				}
			}
			if screens = again; try == 2 {
				break
			}
		}
	}
}

// crossing is for how many seconds is watched: the generation begins after nine, and
// players are up to ten behind.
const crossing = 22

// crossed says what a person would have noticed.
func crossed(page bool) func(report []byte) ([]string, error) {
	return func(report []byte) (bad []string, err error) {
		var r seen
		if page {
			var own struct {
				Progress, StallMS float64
				Stalls, Jumps     int
			}
			err = json.Unmarshal(report, &own)
			r.Progress = own.Progress
			if own.Stalls+own.Jumps > 0 {
				bad = append(bad, fmt.Sprintf("stood still %d times, for %.0f ms, and jumped %d times", own.Stalls, own.StallMS, own.Jumps))
			}
		} else {
			err = json.Unmarshal(report, &r)
			bad = r.faults()
			bad = slices.DeleteFunc(bad, func(s string) bool { return strings.HasPrefix(s, "played") })
		}
		if r.Progress < crossing-3 {
			bad = append(bad, fmt.Sprintf("played %.1f s of %d", r.Progress, crossing))
		}
		return bad, err
	}
}

// renew has the encoder of a come back otherwise, an operator begin a generation with
// that, and the encoder of b do the same a little later.
func renew(ctx context.Context, t *testing.T, s *scenario.System) {
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	wait(3 * time.Second)
	s.Pipelines[0].Renew()
	var g live.Generation
	for ctx.Err() == nil { // until its init segment was refused
		wait(500 * time.Millisecond)
		if s.Control(ctx, http.MethodPost, "/generations", map[string]any{}, &g) == nil {
			break
		}
	}
	begins := time.Until(time.Unix(2*int64(g.From), 0))
	t.Logf("generation %d of %d renditions in %.1f s", g.Index, len(g.Renditions), begins.Seconds())
	wait(begins + 6*time.Second)
	s.Pipelines[1].Renew()
}
