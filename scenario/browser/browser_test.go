// Package browser has real players watch a real edge in a real browser.
package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"headwater/packager"
	"headwater/player"
	"headwater/scenario"
)

// seen is what watch.mjs reports of a player that is not ours.
type seen struct {
	Failed   string
	Playing  bool
	Progress float64 // seconds of media played
	Stalls   []moment
	Jumps    []moment
	Errors   []string
	Fatal    []string
	Console  []string
	Latency  float64 `json:"latencySeconds"`
}

// A moment is something in the picture, in seconds of media and of time.
type moment struct{ At, Seconds float64 }

// need fails the test where a program is missing: make test installs it.
func need(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes minutes, a browser and Node: make test runs it")
	}
	for _, name := range []string{"node", "chromium"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%v: make test installs what this needs", err)
		}
	}
	if _, err := os.Stat("node_modules"); err != nil {
		t.Fatal("node_modules is missing: run npm ci here, or make test")
	}
}

func start(t *testing.T) *scenario.System {
	t.Helper()
	page := http.StripPrefix("/-/player", player.Handler())
	s, err := scenario.Start(t.Context(), scenario.Options{EdgeHandler: func(edge http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/-/player/") {
				page.ServeHTTP(w, r)
				return
			}
			edge.ServeHTTP(w, r)
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// watch plays for so long, calls whilePlaying when the picture moves, and
// returns the report's JSON.
func watch(t *testing.T, name, url string, seconds string, screenshot string, whilePlaying func(ctx context.Context)) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	args := []string{"watch.mjs", name, url, seconds}
	if screenshot != "" {
		args = append(args, screenshot)
	}
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last string
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	done := make(chan struct{})
	close(done)
	for lines.Scan() {
		last = lines.Text()
		if last == "playing" {
			done = make(chan struct{})
			go func() {
				defer close(done)
				whilePlaying(ctx)
			}()
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, last)
	}
	<-done
	return []byte(last)
}

// trouble is what happens while a player plays: a's segments lose frames, then
// a dies and comes back, and, where loss is asked for, one segment is lost in
// both pipelines.
func trouble(t *testing.T, s *scenario.System, lose bool) func(ctx context.Context) {
	return func(ctx context.Context) {
		corrupt, _ := scenario.FindFault("corrupt-a")
		kill, _ := scenario.FindFault("kill-a")
		steps := []struct {
			after time.Duration
			do    func() error
		}{
			{5 * time.Second, func() error { return s.Set(corrupt, true) }},
			{5 * time.Second, func() error { return s.Set(kill, true) }},
			{5 * time.Second, func() error { return s.Set(corrupt, false) }},
			{0, func() error { return s.Set(kill, false) }},
		}
		if lose {
			steps = append(steps, struct {
				after time.Duration
				do    func() error
			}{3 * time.Second, func() error {
				n := live.Number(time.Now().Unix()/2) + 1
				for _, p := range s.Pipelines {
					if err := p.Break(packager.Fault{Kind: packager.FaultDrop, From: n, To: n}); err != nil {
						return err
					}
				}
				t.Logf("segment %d is lost", n)
				return nil
			}})
		}
		for _, step := range steps {
			select {
			case <-time.After(step.after):
			case <-ctx.Done():
				return
			}
			if err := step.do(); err != nil {
				t.Error(err)
			}
		}
	}
}

// settled waits until the event has run so long that players find what they
// want to have behind the live edge.
func settled(t *testing.T, s *scenario.System) {
	t.Helper()
	const history = 14 * time.Second
	select {
	case <-time.After(history):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// shakaMissing is how Shaka reports that it met EXT-X-GAP (SEGMENT_MISSING).
const shakaMissing = "shaka 1011"

// mostAtGap is how long a picture may stand still where two seconds are lost,
// in seconds: players wait for their own watchdogs before they jump.
const mostAtGap = 4

// faults says what a person would have noticed that need not be. Where media is
// lost the picture may stand still before the player jumps.
func (r *seen) faults(lose bool) (out []string) {
	for _, f := range r.Fatal {
		if lose && strings.HasPrefix(f, shakaMissing) {
			continue
		}
		out = append(out, "fatal: "+f)
	}
	for _, st := range r.Stalls {
		atGap := slices.ContainsFunc(r.Jumps, func(j moment) bool { return math.Abs(j.At-st.At) < 0.2 })
		if !lose || !atGap || st.Seconds > mostAtGap {
			out = append(out, fmt.Sprintf("the picture stood still for %.1f s at %.1f", st.Seconds, st.At))
		}
	}
	// Players slow down a little to keep their distance from the live edge.
	if r.Progress < 28 {
		out = append(out, fmt.Sprintf("played %.1f s of 32", r.Progress))
	}
	if !lose && len(r.Jumps) > 0 {
		out = append(out, fmt.Sprintf("the picture jumped: %v", r.Jumps))
	}
	return out
}

func TestPlayers(t *testing.T) {
	need(t)
	s := start(t)
	settled(t, s)
	for _, c := range []struct {
		name, player, file string
		lose               bool
	}{
		{"hls.js", "hls", live.HLSName, false},
		{"hls.js across a gap", "hls", live.HLSName, true},
		{"dash.js", "dash", live.MPDName, false},
		{"Shaka DASH", "shaka", live.MPDName, false},
		{"Shaka HLS across a gap", "shaka", live.HLSName, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Decoding in software on a shared machine has hiccups of its own;
			// what is wrong with the media goes wrong both times.
			var bad []string
			for range 2 {
				out := watch(t, c.player, s.EdgeURL()+"/"+s.Event.String()+"/"+c.file, "32", "", trouble(t, s, c.lose))
				var r seen
				if err := json.Unmarshal(out, &r); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				t.Logf("%s", out)
				if bad = r.faults(c.lose); len(bad) == 0 {
					return
				}
				t.Logf("noticed: %v", bad)
			}
			t.Error(bad)
		})
	}
}

func TestOwnPage(t *testing.T) {
	need(t)
	s := start(t)
	shot, err := filepath.Abs("../../build/page.png")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(shot), 0o755); err != nil {
		t.Fatal(err)
	}
	settled(t, s)
	var bad []string
	for range 2 {
		out := watch(t, "page", s.PageURL(), "32", shot, trouble(t, s, true))
		var r struct {
			Progress, StallMS float64
			Stalls, Jumps     int
			Live              bool
		}
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Logf("%s", out)
		bad = nil
		if r.Stalls > 0 {
			bad = append(bad, fmt.Sprintf("%d stalls of %.0f ms", r.Stalls, r.StallMS))
		}
		if r.Progress < 28 || !r.Live {
			bad = append(bad, fmt.Sprintf("played %.1f s of 32, live %v", r.Progress, r.Live))
		}
		if r.Jumps != 1 {
			bad = append(bad, fmt.Sprintf("jumped %d gaps, 1 segment was lost", r.Jumps))
		}
		if info, err := os.Stat(shot); err != nil || info.Size() < 10_000 {
			t.Errorf("screenshot: %v", err)
		}
		if len(bad) == 0 {
			return
		}
		t.Logf("noticed: %v", bad)
	}
	t.Error(bad)
}
