package browser

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"headwater/live"
	"headwater/packager/clip"
	"headwater/scenario"
)

// slated has what is lost replaced by a clip.
func slated(ev *live.Event) {
	renewable(ev)
	ev.OnLost = live.LostSlate
}

// give has the built-in clip stand in for what is lost of the picture, once its init
// segments are there. Sound has none, and is filled.
func give(t *testing.T, s *scenario.System) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var ev live.Config
	if err := s.Control(ctx, http.MethodGet, "", nil, &ev); err != nil {
		t.Fatal(err)
	}
	for _, r := range ev.Renditions {
		for r.Type == live.Video {
			err := upload(ctx, s, r.Name)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("%s: %v", r.Name, err)
			}
			wait(ctx, 500*time.Millisecond)
		}
	}
}

func upload(ctx context.Context, s *scenario.System, rendition string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.ControlURL()+"/v1/events/"+s.Event.String()+"/slates/"+rendition, bytes.NewReader(clip.B))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "video/mp4")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s %w", resp.Status, b, err)
	}
	return nil
}

// wasSlated fails where nothing was replaced by the clip: the players have seen none then.
func wasSlated(t *testing.T, s *scenario.System) {
	t.Helper()
	var list struct {
		Segments []struct {
			Served []struct{ Reason string }
		}
	}
	now := time.Now().Unix() / 2
	if err := s.Control(t.Context(), http.MethodGet, fmt.Sprintf("/segments?from=%d&to=%d&rendition=v720", now-90, now), nil, &list); err != nil {
		t.Fatal(err)
	}
	for _, x := range list.Segments {
		for _, y := range x.Served {
			if y.Reason == "slate" {
				return
			}
		}
	}
	t.Errorf("none of %d segments was replaced by the clip", len(list.Segments))
}
