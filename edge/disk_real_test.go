package edge

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/edge/front"
	"headwater/internal/need"
	"headwater/live"
)

// childEnv makes the test binary an edge: its value is its parent and its disk.
const childEnv = "EDGE_TEST_CHILD"

func TestMain(m *testing.M) {
	if parent, dir, ok := strings.Cut(os.Getenv(childEnv), " "); ok {
		fmt.Fprintln(os.Stderr, beEdge(parent, dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// beEdge serves until it is killed, and says where.
func beEdge(parent, dir string) error {
	ed, err := New(Config{Parents: []string{parent}, Disk: dir, MemoryBytes: 128 << 20, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	return http.Serve(l, front.Handler(ed))
}

// childEdge starts an edge as a process of its own.
func childEdge(t *testing.T, parent, dir string) (base string, kill func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), childEnv+"="+parent+" "+dir)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() { c.Process.Kill(); c.Wait() }
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line), kill
}

// TestDiskAfterKill: what an edge wrote before kill -9 is served by the next,
// without any parent.
func TestDiskAfterKill(t *testing.T) {
	begun := time.Now()
	e := live.Default()
	e.Start = begun.Add(-10 * time.Minute).UTC().Truncate(time.Second)
	e.DVRSeconds = 3600
	e.Pipelines = []live.Pipeline{{Name: "a"}}
	e.Renditions = []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1_000_000}}
	parent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Live-Version", "1")
		switch p, err := live.ParsePath(r.URL.Path); {
		case r.URL.Path == live.TimePath:
			live.ServeTime(w, r, time.Now())
		case err != nil:
			http.NotFound(w, r)
		case p.File == live.FileConfig:
			if r.URL.Query().Get("after") != "" {
				<-r.Context().Done()
				return
			}
			b, _ := live.Config{Event: e, Version: 1}.MarshalJSON()
			w.Header().Set("Cache-Control", "max-age=1")
			w.Write(b)
		default:
			lasting(time.Hour)(w, r)
		}
	}))
	defer parent.Close()
	dir := t.TempDir()
	base, kill := childEdge(t, parent.URL, dir)
	get := func(path string) (string, string) {
		t.Helper()
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Cache-Status")), string(body)
	}
	const many = 100
	paths := []string{"/t/e/v/init.mp4"}
	for n := 1; n <= many; n++ {
		paths = append(paths, segmentPath(n))
	}
	for _, path := range paths {
		if status, body := get(path); !strings.HasPrefix(status, "200 ") || body != bodyOf(path) {
			t.Fatalf("%s: %s", path, status)
		}
	}
	for _, metrics := get("/metrics"); !strings.Contains(metrics, fmt.Sprintf("disk_writes_total %d", many+1)); _, metrics = get("/metrics") {
		if time.Since(begun) > time.Minute {
			t.Fatal("not all is written")
		}
		time.Sleep(10 * time.Millisecond)
	}
	kill()
	parent.Close()

	base, kill = childEdge(t, parent.URL, dir)
	defer kill()
	for _, path := range paths {
		status, body := get(path)
		for range 3 { // a disk that takes too long is passed over
			if !strings.HasPrefix(status, "503 ") {
				break
			}
			status, body = get(path)
		}
		if !strings.HasPrefix(status, "200 ") || !strings.HasSuffix(status, ";detail=hit;disk") || body != bodyOf(path) {
			t.Errorf("%s after the kill: %s", path, status)
		}
	}
	if status, _ := get(segmentPath(many + 1)); !strings.HasPrefix(status, "503 ") {
		t.Errorf("what was never filled: %s", status)
	}
}

// TestFullDisk fills a real file system and makes room on it again.
func TestFullDisk(t *testing.T) {
	need.Disk(t, 80<<20, func(dir string) {
		run(t, 1, func(r *rig) {
			r.parent.configure(func(c *live.Config) { c.DVRSeconds = 3600 })
			r.parent.script(lasting(time.Hour))
			r.know()
			r.at(600 * time.Second)
			r.seen(1, 30)
			// All but the reserve, and of that some too.
			ballast := filepath.Join(dir, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 30<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			r.get(segmentPath(31))
			synctest.Wait()
			r.ready("store: full")
			if r.metric("disk_up") != 0 {
				t.Error("it is said to be up")
			}
			for n := 32; n <= 50; n++ {
				r.get(segmentPath(n)).expect(200, 10*time.Minute)
			}
			r.get(segmentPath(1)).isDiskHit(bodyOf(segmentPath(1)))
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * diskRetry)
			r.ready("")
			r.seen(51, 60)
			if n := r.metric("disk_up"); n != 1 {
				t.Errorf("up: %v", n)
			}
		}, onDisk(filepath.Join(dir, "cache")))
	})
}
