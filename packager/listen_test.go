package packager

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/internal/need"
	"headwater/live"
)

// listening starts a listener. stop ends it when it has answered all.
func listening(t *testing.T, log *slog.Logger) (url string, stop func()) {
	t.Helper()
	p, err := New(Config{Event: "acme/final", Pipeline: "a", To: []string{"http://127.0.0.1:7001"}, Listen: "127.0.0.1:0", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.serve(ctx, l) }()
	return "http://" + l.Addr().String(), func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestListenAnswersEncoders(t *testing.T) {
	url, stop := listening(t, quiet())
	defer stop()
	for _, c := range []struct {
		method, path string
		status       int
		code, detail string
	}{
		{"PUT", "/acme/final/a/manifest.mpd", 200, "", ""},
		{"PUT", "/acme/final/a/v720/media.m3u8", 200, "", ""},
		{"DELETE", "/acme/final/a/v720/7.m4s", 200, "", ""},
		{"PUT", "/acme/final/a/v720/7.m4s", 501, "no-ingest", "standard input"},
		{"POST", "/acme/final/a/v720/init.mp4", 501, "no-ingest", "publish listener"},
		{"PUT", "/acme/final/a/v720/chunk-stream0-00001.m4s", 400, "bad-path", "-media_seg_name '$Number$.m4s'"},
		{"PUT", "/live/stream", 400, "bad-path", "/TENANT/EVENT"},
		{"PUT", "/acme/other/a/v720/7.m4s", 404, "no-such-event", "acme/final, not acme/other"},
		{"PUT", "/acme/final/b/v720/7.m4s", 404, "no-such-pipeline", "pipeline a, not b"},
		{"GET", "/acme/final/a/v720/7.m4s", 405, "method-not-allowed", "PUT, POST and DELETE"},
	} {
		req, err := http.NewRequest(c.method, url+c.path, io.MultiReader(bytes.NewReader(make([]byte, 1<<20)))) // chunked
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%s %s: %s", c.method, c.path, resp.Status)
		}
		if c.code == "" {
			continue
		}
		var p live.Problem
		if err := json.Unmarshal(body, &p); err != nil || p.Code != c.code || p.Status != c.status || !strings.Contains(p.Detail, c.detail) ||
			resp.Header.Get("Content-Type") != live.ProblemType {
			t.Errorf("%s %s: %s", c.method, c.path, body)
		}
	}
}

// A body may come in real time: it is given up when it pauses, or never ends.
func TestListenToABodyInRealTime(t *testing.T) {
	for _, c := range []struct {
		name   string
		pieces int
		pause  time.Duration
		status string
		took   time.Duration
	}{
		{"a minute long", 7, 10 * time.Second, "501", 60 * time.Second},
		{"with a pause", 3, 31 * time.Second, "400", 30 * time.Second},
		{"without an end", 100, time.Second, "400", 90 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, err := New(Config{Event: "acme/final", Pipeline: "a", To: []string{"http://origin:7001"}, Listen: "x:1", Log: quiet()})
				if err != nil {
					t.Fatal(err)
				}
				l := newMemoryListener()
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- p.serve(ctx, l) }()
				conn, err := l.dial(ctx)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				var encoder sync.WaitGroup
				encoder.Go(func() {
					io.WriteString(conn, "PUT /acme/final/a/v720/7.m4s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
					for i := range c.pieces {
						if i > 0 {
							time.Sleep(c.pause)
						}
						if _, err := io.WriteString(conn, "5\r\nhello\r\n"); err != nil {
							return
						}
					}
					io.WriteString(conn, "0\r\n\r\n")
				})
				line, _, err := bufio.NewReader(conn).ReadLine()
				if took := time.Since(began); err != nil || !strings.Contains(string(line), c.status) || took != c.took {
					t.Errorf("%s after %v, %v", line, took, err)
				}
				conn.Close()
				encoder.Wait()
				cancel()
				<-ended
			})
		})
	}
}

// ffmpeg's DASH muxer does not look at the answers to its PUTs (5.1), so that
// it must not hang is all that it can show; the packager's own log says what is
// wrong.
func TestListenAndFFmpegDash(t *testing.T) {
	ffmpeg := need.Program(t, "ffmpeg")
	log := lockedBuffer{wrote: make(chan struct{}, 1)}
	url, stop := listening(t, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, ffmpeg, "-nostdin", "-hide_banner", "-loglevel", "error",
		"-f", "lavfi", "-i", "testsrc2=size=64x36:rate=30", "-t", "4", "-c:v", "libx264", "-g", "60", "-preset", "ultrafast", "-b:v", "50k",
		"-f", "dash", "-method", "PUT", "-http_persistent", "1", "-seg_duration", "2",
		"-init_seg_name", "v720/init.mp4", "-media_seg_name", "v720/$Number$.m4s", url+"/acme/final/a/manifest.mpd").CombinedOutput()
	if err != nil {
		t.Errorf("ffmpeg: %v: %s", err, out)
	}
	for _, want := range []string{"path=/acme/final/a/v720/init.mp4 status=501", "path=/acme/final/a/v720/1.m4s status=501", "standard input"} {
		// It has ended without waiting for the answers.
		for !strings.Contains(log.String(), want) {
			select {
			case <-log.wrote:
			case <-ctx.Done():
				t.Fatalf("the log does not say %q:\n%s", want, log.String())
			}
		}
	}
	stop()
}

// A lockedBuffer is a log that is read while others still write it.
type lockedBuffer struct {
	wrote chan struct{} // capacity 1

	mu sync.Mutex // guards the following
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.wrote <- struct{}{}:
	default:
	}
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
