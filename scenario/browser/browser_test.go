// Package browser has real players watch a real edge in a real browser.
package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/live"
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
	Ended    bool
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

// start builds a system with our page beside the edge. Players' pages come from elsewhere, so
// the event says where there is a clock: some players resolve a relative URL against their page.
func start(t *testing.T, opt scenario.Options, edit func(*live.Event)) *scenario.System {
	t.Helper()
	page := http.StripPrefix("/-/player", player.Handler())
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opt.EdgeAddr = free.Addr().String()
	free.Close()
	opt.Edit = func(ev *live.Event) {
		ev.TimeURL = "http://" + opt.EdgeAddr + "/time"
		edit(ev)
	}
	beside := opt.EdgeHandler
	opt.EdgeHandler = func(edge http.Handler) http.Handler {
		if beside != nil {
			edge = beside(edge)
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/-/player/") {
				page.ServeHTTP(w, r)
				return
			}
			edge.ServeHTTP(w, r)
		})
	}
	s, err := scenario.Start(t.Context(), opt)
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
	Player     string  `json:"player"`
	URL        string  `json:"url"`
	Screenshot string  `json:"screenshot,omitempty"`
	License    string  `json:"license,omitempty"` // where ClearKey licenses are to be had
	Clock      float64 `json:"clock,omitempty"`   // by how many seconds the viewer's clock is wrong
	// faults says what of its report a person would have noticed that need not be.
	faults func(report []byte, p *play) ([]string, error)
}

// name is what docs/players.md calls the player.
func (w *screen) name() string {
	if w.Player == "shaka" && strings.HasSuffix(w.URL, live.HLSName) {
		return "shaka-hls"
	}
	return w.Player
}

// A play is for how long screens are watched, and how they are opened: all at once, or
// one after the other, each with patience seconds to begin. watch.mjs reads it.
type play struct {
	Seconds  int       `json:"seconds"`
	Together bool      `json:"together,omitempty"`
	Patience int       `json:"patience"`
	Screens  []*screen `json:"screens"`
	Seeks    []seek    `json:"seeks,omitempty"`

	situation string // what records call it
	try       int
	lost      int       // how many segments nobody has
	ends      bool      // the event, meanwhile
	begins    time.Time // the event, where players come before
}

// A seek is when viewers go elsewhere, and how far, in seconds.
type seek struct {
	At int `json:"at"`
	By int `json:"by"`
}

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
		var is struct {
			Failed string
			Record record
			Ads    []string
		}
		if err := json.Unmarshal(report, &is); err != nil {
			t.Fatal(err)
		}
		if is.Failed != "" {
			noticed[i] = []string{is.Failed}
		} else if noticed[i], err = screens[i].faults(report, &p); err != nil {
			t.Fatalf("%v: %s", err, report)
		}
		for _, k := range is.Record.Seeks {
			if k.Took == nil {
				noticed[i] = append(noticed[i], fmt.Sprintf("no picture after a seek by %.0f s", k.By))
			}
		}
		r := is.Record
		r.Situation, r.Player, r.Try, r.Seconds, r.Failed, r.Ads = p.situation, screens[i].name(), max(p.try, 1), p.Seconds, is.Failed, is.Ads
		if !p.begins.IsZero() {
			r.Start = r.StartedAt/1000 - float64(p.begins.UnixMilli())/1000
		}
		leave(t, r)
	}
	return noticed
}

// watchAgain fails where something is noticed three times. Decoding in software on
// a shared machine has hiccups of its own; what is wrong with the media goes wrong
// each time.
func watchAgain(t *testing.T, p play, whilePlaying func(ctx context.Context)) {
	t.Helper()
	for p.try = 1; p.try <= 3; p.try++ {
		var again []*screen
		for i, bad := range watch(t, p, whilePlaying) {
			if len(bad) == 0 {
				continue
			}
			w := p.Screens[i]
			t.Logf("%s of %s, time %d: noticed %v", w.Player, w.URL, p.try, bad)
			if again = append(again, w); p.try == 3 {
				t.Errorf("%s of %s: %v", w.Player, w.URL, bad)
			}
		}
		if p.Screens = again; len(again) == 0 {
			return
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

// faults says what a person would have noticed that need not be.
func (r *seen) faults(p *play) (out []string) {
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
	if r.Progress < float64(p.Seconds-4) && len(p.Seeks) == 0 && !p.ends {
		out = append(out, fmt.Sprintf("played %.1f s of %d", r.Progress, p.Seconds))
	}
	if p.ends && !r.Ended {
		out = append(out, "it knows of no end")
	}
	if len(r.Jumps) > 0 {
		out = append(out, fmt.Sprintf("the picture jumped: %v", r.Jumps))
	}
	return out
}

// of is a screen with a player that is not ours.
func of(s *scenario.System, player, file string) *screen {
	return &screen{Player: player, URL: s.EdgeURL() + "/" + s.Event.String() + "/" + file, faults: func(report []byte, p *play) ([]string, error) {
		var r seen
		err := json.Unmarshal(report, &r)
		return r.faults(p), err
	}}
}

// ours is one with our own page.
func ours(t *testing.T, s *scenario.System, picture string) *screen {
	shot, err := filepath.Abs("../../build/" + picture + ".png")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(shot), 0o755); err != nil {
		t.Fatal(err)
	}
	return &screen{Player: "page", URL: s.PageURL(), Screenshot: shot, faults: func(report []byte, p *play) (bad []string, err error) {
		var r struct {
			Live   bool
			Record record
		}
		if err := json.Unmarshal(report, &r); err != nil {
			return nil, err
		}
		is := r.Record
		if len(p.Seeks) == 0 && !p.ends && (is.Progress < float64(p.Seconds-4) || !r.Live) {
			bad = append(bad, fmt.Sprintf("played %.1f s of %d, live %v", is.Progress, p.Seconds, r.Live))
		}
		if p.ends && !is.Ended {
			bad = append(bad, "it knows of no end")
		}
		// It stays closer to the live edge than to have what stands in for a lost one
		// in time: it waits for that, or goes on with the one after.
		if is.Jumps+is.Stalls > p.lost || is.Stalled > 2*float64(p.lost) {
			bad = append(bad, fmt.Sprintf("jumped %d gaps and stood still %d times, for %.1f s: %d segments were lost", is.Jumps, is.Stalls, is.Stalled, p.lost))
		}
		if info, err := os.Stat(shot); err != nil || info.Size() < 10_000 {
			bad = append(bad, fmt.Sprintf("screenshot: %v", err))
		}
		return bad, nil
	}}
}
