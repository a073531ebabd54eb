// Package browser has real players watch a real edge in a real browser.
package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/live"
	"headwater/packager"
	"headwater/player"
	"headwater/scenario"
)

// seen is what watch.mjs reports of a player that is not ours.
type seen struct {
	Playing  bool
	Progress float64 // seconds of media played,
	Time     float64 // up to there
	Stalls   []moment
	Jumps    []moment
	Errors   []string
	Fatal    []string
	Console  []string
	Ads      []string
	Latency  float64 `json:"latencySeconds"`
}

// A moment is something in the picture, in seconds of media and of time.
type moment struct{ At, Seconds float64 }

// needBrowser is for what real players do.
func needBrowser(t *testing.T) {
	t.Helper()
	need.Long(t, "takes minutes, a browser and Node")
	need.Program(t, "node")
	need.Program(t, "chromium")
	if _, err := os.Stat("node_modules"); err != nil {
		t.Fatal("node_modules is missing: run npm ci here, or make test")
	}
}

func start(t *testing.T, edit func(*live.Event)) *scenario.System {
	t.Helper()
	page := http.StripPrefix("/-/player", player.Handler())
	s, err := scenario.Start(t.Context(), scenario.Options{Edit: edit, EdgeHandler: func(edge http.Handler) http.Handler {
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

// A screen is a player that is watched, and what it shows.
type screen struct {
	Player     string `json:"player"`
	URL        string `json:"url"`
	Screenshot string `json:"screenshot,omitempty"`
	License    string `json:"license,omitempty"` // where ClearKey licenses are to be had
	// faults says what of its report a person would have noticed that need not be.
	faults func(report []byte) ([]string, error)
}

// A play is for how long screens are watched, and how they are opened: all at once, or
// one after the other, each with patience seconds to begin. watch.mjs reads it.
type play struct {
	Seconds  int       `json:"seconds"`
	Together bool      `json:"together,omitempty"`
	Patience int       `json:"patience"`
	Screens  []*screen `json:"screens"`
}

// watched is for how many seconds a player is watched, once it plays.
const watched = 46

// watch has all screens play at once, calls whilePlaying when every picture moves,
// and returns what was noticed at each.
func watch(t *testing.T, p play, whilePlaying func(ctx context.Context)) [][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	screens := p.Screens
	asked, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "node", "watch.mjs", string(asked))
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
	var reports []json.RawMessage
	if err := json.Unmarshal([]byte(last), &reports); err != nil || len(reports) != len(screens) {
		t.Fatalf("%v: %s", err, last)
	}
	noticed := make([][]string, len(screens))
	for i, report := range reports {
		t.Logf("%s: %s", screens[i].Player, report)
		var failed struct{ Failed string }
		if err := json.Unmarshal(report, &failed); err != nil {
			t.Fatal(err)
		}
		if failed.Failed != "" {
			noticed[i] = []string{failed.Failed}
		} else if noticed[i], err = screens[i].faults(report); err != nil {
			t.Fatalf("%v: %s", err, report)
		}
	}
	return noticed
}

// watchAgain fails where something is noticed three times. Decoding in software on
// a shared machine has hiccups of its own; what is wrong with the media goes wrong
// each time.
func watchAgain(t *testing.T, s *scenario.System, screens ...*screen) {
	t.Helper()
	settled(t, s)
	for try := range 3 {
		var again []*screen
		for i, bad := range watch(t, play{Seconds: watched, Patience: 40, Screens: screens}, trouble(t, s)) {
			if len(bad) == 0 {
				continue
			}
			t.Logf("%s of %s, time %d: noticed %v", screens[i].Player, screens[i].URL, try+1, bad)
			if again = append(again, screens[i]); try == 2 {
				t.Errorf("%s of %s: %v", screens[i].Player, screens[i].URL, bad)
			}
		}
		if screens = again; len(screens) == 0 {
			return
		}
	}
}

// trouble is what happens while a player plays: a's segments lose frames, then
// a dies and comes back, one segment is lost in both pipelines, and the encoders come
// back with other pictures, with which an operator begins a generation.
func trouble(t *testing.T, s *scenario.System) func(ctx context.Context) {
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
			{3 * time.Second, func() error {
				n := live.Number(time.Now().Unix()/2) + 1
				for _, p := range s.Pipelines {
					if err := p.Break(packager.Fault{Kind: packager.FaultDrop, From: n, To: n}); err != nil {
						return err
					}
				}
				t.Logf("segment %d is lost", n)
				return nil
			}},
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
		renew(ctx, t, s)
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

// faults says what a person would have noticed that need not be.
func (r *seen) faults(watched float64) (out []string) {
	for _, f := range r.Fatal {
		out = append(out, "fatal: "+f)
	}
	for _, st := range r.Stalls {
		// Shaka begins with what it has, and may wait once more for what it just asked for.
		if begun := r.Time - r.Progress; st.At-begun < 1 && st.Seconds < 1 {
			continue
		}
		out = append(out, fmt.Sprintf("the picture stood still for %.1f s at %.1f", st.Seconds, st.At))
	}
	// Players slow down a little to keep their distance from the live edge.
	if r.Progress < watched-4 {
		out = append(out, fmt.Sprintf("played %.1f s of %.0f", r.Progress, watched))
	}
	if len(r.Jumps) > 0 {
		out = append(out, fmt.Sprintf("the picture jumped: %v", r.Jumps))
	}
	return out
}

// of is a screen with a player that is not ours.
func of(s *scenario.System, player, file string) *screen {
	return &screen{Player: player, URL: s.EdgeURL() + "/" + s.Event.String() + "/" + file, faults: func(report []byte) ([]string, error) {
		var r seen
		err := json.Unmarshal(report, &r)
		return r.faults(watched), err
	}}
}

// ours is one with our own page.
func ours(t *testing.T, s *scenario.System) *screen {
	shot, err := filepath.Abs("../../build/page.png")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(shot), 0o755); err != nil {
		t.Fatal(err)
	}
	return &screen{Player: "page", URL: s.PageURL(), Screenshot: shot, faults: func(report []byte) (bad []string, err error) {
		var r struct {
			Progress, StallMS float64
			Stalls, Jumps     int
			Live              bool
		}
		if err := json.Unmarshal(report, &r); err != nil {
			return nil, err
		}
		if r.Progress < watched-4 || !r.Live {
			bad = append(bad, fmt.Sprintf("played %.1f s of %d, live %v", r.Progress, watched, r.Live))
		}
		// It stays closer to the live edge than to have what stands in for the lost one
		// in time: it waits for that, or goes on with the one after.
		if r.Jumps+r.Stalls > 1 || r.StallMS > 2000 {
			bad = append(bad, fmt.Sprintf("jumped %d gaps and stood still %d times, for %.0f ms: 1 segment was lost", r.Jumps, r.Stalls, r.StallMS))
		}
		if info, err := os.Stat(shot); err != nil || info.Size() < 10_000 {
			bad = append(bad, fmt.Sprintf("screenshot: %v", err))
		}
		return bad, nil
	}}
}

// TestPlayers has nobody notice that a pipeline is corrupt, dies and comes back, that a
// segment is lost in both, and that encoders come back with other pictures.
func TestPlayers(t *testing.T) {
	needBrowser(t)
	s := start(t, renewable)
	watchAgain(t, s, of(s, "hls", live.HLSName), of(s, "dash", live.MPDName), of(s, "shaka", live.MPDName))
}

// TestMorePlayers is the same with others.
func TestMorePlayers(t *testing.T) {
	needBrowser(t)
	s := start(t, renewable)
	watchAgain(t, s, of(s, "videojs", live.HLSName), of(s, "shaka", live.HLSName), of(s, "rx", live.MPDName), ours(t, s))
}
