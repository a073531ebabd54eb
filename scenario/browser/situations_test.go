package browser

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"headwater/live"
	"headwater/packager"
	"headwater/scenario"
)

// A situation is what may happen to an event while players play it.
type situation struct {
	name    string // as records call it
	seconds int    // for how long players are watched, once they play
	lost    int    // how many segments nobody has
	during  func(ctx context.Context, t *testing.T, s *scenario.System)
	clock   float64 // by how many seconds viewers' clocks are wrong
	ends    bool    // the event, in the end
}

// situations are those that have runs of their own for the table. make test has all that
// happens happen in one run, one after the other.
var situations = []situation{
	{name: "healthy", seconds: 20, during: nothing},
	{name: "damaged", seconds: 24, during: damaged},
	{name: "lost", seconds: 20, lost: 1, during: loses("")},
	{name: "lost-video", seconds: 20, lost: 1, during: loses("v720")},
	{name: "lost-audio", seconds: 20, lost: 1, during: loses("a-en")},
	{name: "generation", seconds: 30, during: renew},
	{name: "clock-fast", seconds: 16, during: nothing, clock: 30},
	{name: "clock-slow", seconds: 16, during: nothing, clock: -30},
	{name: "end", seconds: 24, during: ends, ends: true},
}

func nothing(context.Context, *testing.T, *scenario.System) {}

// trouble is all at once: a pipeline is corrupt, dies and comes back; segments are lost in
// both, and the encoders come back with other pictures, with which an operator begins a
// generation.
var trouble = situation{seconds: 52, lost: 3, during: func(ctx context.Context, t *testing.T, s *scenario.System) {
	for _, happens := range []func(context.Context, *testing.T, *scenario.System){damaged, loses(""), loses("v720"), loses("a-en"), renew} {
		happens(ctx, t, s)
	}
}}

// damaged has a's segments lose frames; then a dies, and comes back.
func damaged(ctx context.Context, t *testing.T, s *scenario.System) {
	corrupt, _ := scenario.FindFault("corrupt-a")
	kill, _ := scenario.FindFault("kill-a")
	for _, step := range []struct {
		fault  scenario.Fault
		active bool
	}{{corrupt, true}, {kill, true}, {corrupt, false}} {
		wait(ctx, 5*time.Second)
		if err := s.Set(step.fault, step.active); err != nil {
			t.Error(err)
		}
	}
	if err := s.Set(kill, false); err != nil {
		t.Error(err)
	}
}

// loses has a segment of one rendition, or of all, be lost in both pipelines.
func loses(rendition string) func(context.Context, *testing.T, *scenario.System) {
	return func(ctx context.Context, t *testing.T, s *scenario.System) {
		wait(ctx, 3*time.Second)
		n := live.Number(time.Now().Unix()/2) + 1
		for _, p := range s.Pipelines {
			if err := p.Break(packager.Fault{Kind: packager.FaultDrop, Rendition: rendition, From: n, To: n}); err != nil {
				t.Error(err)
			}
		}
		t.Logf("segment %d of %q is lost", n, rendition)
		wait(ctx, 4*time.Second) // it would have been published
	}
}

// ends has the event end.
func ends(ctx context.Context, t *testing.T, s *scenario.System) {
	wait(ctx, 2*time.Second)
	var ev live.Event
	if err := s.Control(ctx, http.MethodGet, "", nil, &ev); err != nil {
		t.Error(err)
		return
	}
	ev.End = time.Now().Add(6 * time.Second)
	if err := s.Control(ctx, http.MethodPut, "", ev, nil); err != nil {
		t.Error(err)
	}
}

// groups are the players, as many at once as a small machine can play.
func groups(t *testing.T, s *scenario.System, picture string) [][]*screen {
	return [][]*screen{
		{of(s, "hls", live.HLSName), of(s, "dash", live.MPDName), of(s, "shaka", live.MPDName)},
		{of(s, "videojs", live.HLSName), of(s, "shaka", live.HLSName), of(s, "rx", live.MPDName), ours(t, s, picture)},
	}
}

// happens has players be watched while the situation is.
func (is situation) happens(t *testing.T, s *scenario.System, screens []*screen) {
	t.Helper()
	for _, w := range screens {
		w.Clock = is.clock
	}
	p := play{Seconds: is.seconds, Patience: 40, Screens: screens, situation: is.name, lost: is.lost, ends: is.ends}
	watchAgain(t, p, func(ctx context.Context) { is.during(ctx, t, s) })
}

// TestPlayers has nobody notice that a pipeline is corrupt, dies and comes back, that
// segments are lost in both, and replaced by slates, and that encoders come back with other
// pictures.
func TestPlayers(t *testing.T) {
	needBrowser(t)
	if !long() {
		s := start(t, scenario.Options{}, slated)
		give(t, s)
		settled(t, s)
		trouble.happens(t, s, groups(t, s, "page")[0])
		wasSlated(t, s)
		return
	}
	s := start(t, scenario.Options{}, renewable)
	settled(t, s)
	for _, is := range situations {
		t.Run(is.name, func(t *testing.T) { is.happens(t, s, slices.Concat(groups(t, s, "page-"+is.name)...)) })
	}
}

// TestMorePlayers is the same with others, and what is lost is filled with what was before it.
func TestMorePlayers(t *testing.T) {
	needBrowser(t)
	if long() {
		return // TestPlayers has them
	}
	s := start(t, scenario.Options{}, renewable)
	settled(t, s)
	trouble.happens(t, s, groups(t, s, "page")[1])
}
