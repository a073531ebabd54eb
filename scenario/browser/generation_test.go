package browser

import (
	"context"
	"net/http"
	"testing"
	"time"

	"headwater/live"
	"headwater/scenario"
)

// renewable has encoders that come back with other pictures be taken.
func renewable(ev *live.Event) {
	ev.OnNewInit = live.NewInitGeneration
	for i := range ev.Renditions { // which nobody plays who only watches
		ev.Renditions[i].KeyFrames = ev.Renditions[i].Type == live.Video
	}
}

// renew has the encoder of a come back otherwise, an operator begin a generation with
// that, and the encoder of b do the same a little later.
func renew(ctx context.Context, t *testing.T, s *scenario.System) {
	wait(ctx, 3*time.Second)
	begin(ctx, t, s)
	wait(ctx, 6*time.Second)
	s.Pipelines[1].Renew()
}

// begin has the encoder of a come back otherwise, and an operator begin a generation with
// that. It returns when that has begun.
func begin(ctx context.Context, t *testing.T, s *scenario.System) {
	s.Pipelines[0].Renew()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var g live.Generation
	for { // until its init segment was refused
		wait(ctx, 500*time.Millisecond)
		err := s.Control(ctx, http.MethodPost, "/generations", map[string]any{}, &g)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Errorf("no generation is begun: %v", err)
			return
		}
	}
	begins := time.Until(time.Unix(2*int64(g.From), 0))
	t.Logf("generation %d of %d renditions in %.1f s", g.Index, len(g.Renditions), begins.Seconds())
	wait(ctx, begins)
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
