package browser

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/live"
	"headwater/packager"
	"headwater/scenario"
)

// A tool is a player of the command line that plays for a while what is at a URL. It says
// how many seconds of media it got.
type tool struct {
	name string
	play func(ctx context.Context, dir, url string, seconds int) float64
}

var tools = []tool{
	{"ffmpeg", func(ctx context.Context, dir, url string, seconds int) float64 {
		out := output(ctx, dir, seconds, "ffmpeg", "-nostdin", "-v", "error", "-i", url, "-map", "0:v:0", "-map", "0:a:0", "-c", "copy", "-f", "null", "-progress", "pipe:1", "-")
		return lastOf(out, `out_time_us=(\d+)`) / 1e6
	}},
	{"mpv", func(ctx context.Context, dir, url string, seconds int) float64 {
		out := output(ctx, dir, seconds, "mpv", "--no-config", "--vo=null", "--ao=null", "--term-status-msg=at=${=time-pos}\n", url)
		return lastOf(out, `at=([\d.]+)`) - firstOf(out, `at=([\d.]+)`)
	}},
	{"cvlc", func(ctx context.Context, dir, url string, seconds int) float64 {
		output(ctx, dir, seconds, "cvlc", "--no-interact", "--sout", "#std{access=file,mux=ts,dst=played}", url)
		return lengthOf(ctx, filepath.Join(dir, "played"))
	}},
	{"gst-launch-1.0", func(ctx context.Context, dir, url string, seconds int) float64 {
		out := output(ctx, dir, seconds, "gst-launch-1.0", "-v", "playbin3", "uri="+url, "audio-sink=fakesink sync=true", "video-sink=fpsdisplaysink text-overlay=false video-sink=fakesink")
		return lastOf(out, `rendered: (\d+)`) / 30
	}},
	{"streamlink", func(ctx context.Context, dir, url string, seconds int) float64 {
		protocol := "hls://"
		if strings.HasSuffix(url, live.MPDName) {
			protocol = "dash://"
		}
		output(ctx, dir, seconds, "streamlink", "--force", "-o", "played", protocol+url, "best")
		return lengthOf(ctx, filepath.Join(dir, "played"))
	}},
	{"yt-dlp", func(ctx context.Context, dir, url string, seconds int) float64 {
		output(ctx, dir, seconds, "yt-dlp", "--no-part", "--hls-use-mpegts", "--downloader", "ffmpeg", "-o", "played", url)
		return lengthOf(ctx, filepath.Join(dir, "played"))
	}},
}

// output runs a program in a directory, interrupts it after a while as a person would, and
// returns what it said.
func output(ctx context.Context, dir string, seconds int, name string, arg ...string) []byte {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, arg...)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 && name == "cvlc" { // which refuses to be run by root
		os.Chmod(dir, 0o777)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534} // nobody
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Run()
	if cmd.Process != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	return out.Bytes()
}

// firstOf is the first number of what was printed that a pattern finds, 0 without one.
func firstOf(out []byte, pattern string) float64 {
	var line []byte
	for rest := out; len(rest) > 0; {
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if v := lastOf(line, pattern); v > 0 {
			return v
		}
	}
	return 0
}

// lengthOf is how many seconds of video a file has.
func lengthOf(ctx context.Context, file string) float64 {
	if matches, _ := filepath.Glob(file + "*"); len(matches) > 0 {
		file = matches[0]
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-select_streams", "v:0", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", file).Output()
	if err != nil {
		return 0
	}
	frames, _ := strconv.Atoi(strings.Trim(string(bytes.TrimSpace(bytes.SplitN(out, []byte("\n"), 2)[0])), ","))
	return float64(frames) / 30
}

// TestTools has players of the command line play what is healthy, and what was lost in both
// pipelines. Where the table of players is made all of them do, otherwise ffmpeg.
func TestTools(t *testing.T) {
	need.Long(t, "plays in real time")
	of, situations, seconds := tools, []string{"healthy", "lost"}, 24
	if !long() {
		t.Parallel()
		need.Program(t, tools[0].name)
		of, situations, seconds = tools[:1], []string{"lost"}, 10
	}
	s, err := scenario.Start(t.Context(), scenario.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	settled(t, s)
	for _, what := range situations {
		ctx, cancel := context.WithCancel(t.Context())
		if what == "lost" {
			go every(ctx, 8*time.Second, func() {
				n := live.Number(time.Now().Unix()/2) + 1
				for _, p := range s.Pipelines {
					if err := p.Break(packager.Fault{Kind: packager.FaultDrop, From: n, To: n}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for _, list := range []string{live.MPDName, live.HLSName} {
			var playing sync.WaitGroup
			for _, tool := range of {
				playing.Go(func() {
					base, asked := counted(t, s)
					r := record{Situation: "tool " + what + " " + list, Player: tool.name, Seconds: seconds, Try: 1}
					if _, err := exec.LookPath(tool.name); err != nil {
						t.Logf("%s is not installed", tool.name)
						return
					}
					dir, err := os.MkdirTemp("", "tool") // its parent may be entered by all
					if err != nil {
						t.Error(err)
						return
					}
					defer os.RemoveAll(dir)
					r.Progress = tool.play(ctx, dir, base+"/"+s.Event.String()+"/"+list, seconds)
					r.Refused = asked.refused.Load()
					t.Logf("%s %s, %s: %.1f s in %d s, %d segments, %d refused", what, list, tool.name, r.Progress, r.Seconds, asked.segments.Load(), r.Refused)
					leave(t, r)
					if tool.name == "ffmpeg" && (r.Progress < float64(seconds)/4 || r.Refused > 20) {
						t.Errorf("%s %s: %+v", what, list, r)
					}
				})
			}
			playing.Wait()
		}
		cancel()
	}
}

// every does something again and again, first at once.
func every(ctx context.Context, d time.Duration, do func()) {
	for ctx.Err() == nil {
		do()
		wait(ctx, d)
	}
}
