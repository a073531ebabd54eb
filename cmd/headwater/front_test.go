package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"headwater/internal/need"
	"headwater/internal/selfsigned"
	"headwater/live"
)

// A clockwork is an origin whose event has a segment each half second, there
// when it is expected.
type clockwork struct {
	*httptest.Server
	timeline live.Timeline
}

func newClockwork(t testing.TB, edit ...func(*live.Event)) *clockwork {
	e := live.Default()
	e.Start = time.Now().Add(-100 * time.Second).UTC()
	e.Segment.Ticks, e.Segment.Timescale = 1, 2
	e.AllowanceMS = 0
	e.Pipelines = []live.Pipeline{{Name: "a"}}
	e.Renditions = []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1}}
	for _, f := range edit {
		f(&e)
	}
	config := live.Config{Event: e, Version: 1}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	c := &clockwork{timeline: config.Timeline("v")}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == live.TimePath {
			live.ServeTime(w, r, time.Now())
			return
		}
		p, err := live.ParsePath(r.URL.Path)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		wait := time.Until(c.timeline.Expected(p.Number))
		if p.File == live.FileConfig {
			if wait = 0; r.URL.RawQuery != "" {
				wait = 20 * time.Second
			}
		}
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
			return
		}
		if p.File == live.FileConfig {
			w.Header().Set("ETag", `"1"`)
			w.Write(text)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		w.Write(clockworkBody(p.Number))
	}))
	t.Cleanup(c.Server.CloseClientConnections)
	return c
}

func clockworkBody(n live.Number) []byte { return bytes.Repeat([]byte(live.SegmentName(n)+"\n"), 8000) }

// next is the newest segment that is waited for.
func (c *clockwork) next() live.Number {
	return live.Number(c.timeline.Edge(time.Now()) + 1)
}

// An edgeProcess is an edge of its own, which logs to a file.
type edgeProcess struct {
	*exec.Cmd
	log  string
	done chan error
}

func startEdge(t testing.TB, log string, name string, args ...string) *edgeProcess {
	t.Helper()
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := &edgeProcess{exec.Command(name, args...), log, make(chan error, 1)}
	p.Stderr = f
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.Process.Kill()
		<-p.done
		if t.Failed() {
			b, _ := os.ReadFile(log)
			t.Logf("log: %s", b)
		}
	})
	return p
}

// logged waits for a line.
func (p *edgeProcess) logged(t testing.TB, pattern string, times int) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		b, _ := os.ReadFile(p.log)
		if all := re.FindAllStringSubmatch(string(b), -1); len(all) >= times {
			return all[times-1]
		}
		if time.Now().After(end) {
			t.Fatalf("not logged %d times: %s", times, pattern)
		}
	}
}

func (p *edgeProcess) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-p.done:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
		return nil
	}
}

// pair writes a certificate for 127.0.0.1.
func pair(t testing.TB, dir string) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	c, pool := selfsigned.New()
	certFile, keyFile = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	cert, key := selfsigned.PEM(c)
	for name, b := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, pool
}

// TestHandOverUnderViewers restarts the edge twice while viewers hold: one new
// process comes by itself, one by SIGUSR2. No request fails, by any protocol,
// on new connections or on those kept alive.
func TestHandOverUnderViewers(t *testing.T) {
	need.Long(t, "plays in real time")
	dir := t.TempDir()
	t.Parallel()
	binary, origin := build(t), newClockwork(t)
	certFile, keyFile, pool := pair(t, dir)
	plain, secure := freePort(t), freePort(t)
	args := []string{
		"edge", "--metrics", "viewers", "--listen", plain, "--parent", origin.URL, "--tls-listen", secure, "--tls-cert", certFile, "--tls-key", keyFile, "--http3",
		"--handover", filepath.Join(dir, "handover"),
	}
	log := filepath.Join(dir, "log")
	first := startEdge(t, log, binary, args...)
	first.logged(t, "for=http3", 1)

	// What ends soon after it started has taken nothing away but the
	// connections that it had accepted.
	for _, after := range []time.Duration{20 * time.Millisecond, 150 * time.Millisecond, 400 * time.Millisecond, 700 * time.Millisecond, time.Second} {
		brief := exec.Command(binary, append(args[:len(args):len(args)], "--drain-timeout", "20s")...)
		if err := brief.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after) // when it is killed is what is tried
		brief.Process.Kill()
		brief.Wait()
		if resp, err := http.Get("http://" + plain + "/readyz"); err != nil || resp.StatusCode != 200 {
			t.Errorf("killed after %v: %v, %+v", after, err, resp)
		} else {
			resp.Body.Close()
		}
	}

	ctx, stop := context.WithCancel(t.Context())
	var viewers sync.WaitGroup
	var requests, held atomic.Int64
	watch := func(name, base string, tr http.RoundTripper) {
		viewers.Go(func() {
			for n := origin.next(); ctx.Err() == nil; n++ {
				req, err := http.NewRequest(http.MethodGet, base+"/t/e/v/"+live.SegmentName(n), nil)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := tr.RoundTrip(req)
				var body []byte
				if err == nil {
					body, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				if err != nil || resp.StatusCode != 200 || !bytes.Equal(body, clockworkBody(n)) {
					t.Errorf("%s: segment %d: %v, %+v", name, n, err, resp)
					return
				}
				requests.Add(1)
				if strings.Contains(resp.Header.Get("Cache-Status"), "detail=hold") {
					held.Add(1)
				}
			}
		})
	}
	config := &tls.Config{RootCAs: pool}
	for range 20 {
		watch("HTTP/1.1", "http://"+plain, &http.Transport{})
		watch("HTTP/1.1, each on its own connection", "http://"+plain, &http.Transport{DisableKeepAlives: true})
		watch("HTTP/1.1 over TLS", "https://"+secure, &http.Transport{TLSClientConfig: config.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}})
		watch("HTTP/2", "https://"+secure, &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true})
	}
	for range 5 {
		tr := &http3.Transport{TLSClientConfig: config.Clone()}
		defer tr.Close()
		watch("HTTP/3", "https://"+secure, tr)
	}
	some := func(n int64) {
		t.Helper()
		for end, want := time.Now().Add(30*time.Second), requests.Load()+n; requests.Load() < want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("viewers do not go on")
			}
		}
	}
	some(300)
	second := startEdge(t, log, binary, args...)
	if err := first.ended(t); err != nil {
		t.Errorf("the first: %v", err)
	}
	some(300)
	second.Process.Signal(syscall.SIGUSR2)
	third, err := strconv.Atoi(second.logged(t, `started another process" pid=(\d+)`, 1)[1])
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(third, syscall.SIGKILL)
	if err := second.ended(t); err != nil {
		t.Errorf("the second: %v", err)
	}
	some(300)
	stop()
	viewers.Wait()
	syscall.Kill(third, syscall.SIGTERM)
	second.logged(t, "told to stop", 1)
	t.Logf("%d requests, %d of them held, through two restarts", requests.Load(), held.Load())
	if held.Load() == 0 {
		t.Error("none was held")
	}
}

// TestStopsInOrder: SIGTERM tells load balancers, answers what is held, and
// ends; a second signal ends at once.
func TestStopsInOrder(t *testing.T) {
	need.Long(t, "plays in real time")
	dir := t.TempDir()
	binary, origin := build(t), newClockwork(t)
	addr := freePort(t)
	p := startEdge(t, filepath.Join(dir, "log"), binary, "edge", "--metrics", "viewers", "--listen", addr, "--parent", origin.URL, "--drain-delay", "300ms")
	p.logged(t, "for=listen", 1)
	held := make(chan error, 1)
	n := origin.next() + 3
	go func() {
		resp, err := http.Get("http://" + addr + "/t/e/v/" + live.SegmentName(n))
		if err == nil {
			defer resp.Body.Close()
			var b []byte
			if b, err = io.ReadAll(resp.Body); err == nil && (resp.StatusCode != 200 || !bytes.Equal(b, clockworkBody(n))) {
				err = fmt.Errorf("%s, %d bytes", resp.Status, len(b))
			}
		}
		held <- err
	}()
	awaitMetric(t, addr, "headwater_edge_holding 1")
	p.Process.Signal(syscall.SIGTERM)
	p.logged(t, "told to stop", 1)
	if resp, err := http.Get("http://" + addr + "/readyz"); err != nil || resp.StatusCode != 503 {
		t.Errorf("ready: %v %v", resp, err)
	}
	if err := <-held; err != nil {
		t.Errorf("held: %v", err)
	}
	if err := p.ended(t); err != nil {
		t.Errorf("%v", err)
	}

	p = startEdge(t, filepath.Join(dir, "log2"), binary, "edge", "--metrics", "viewers", "--listen", addr, "--parent", origin.URL, "--drain-delay", "1h")
	p.logged(t, "for=listen", 1)
	p.Process.Signal(syscall.SIGTERM)
	p.logged(t, "told to stop", 1)
	// The second may come before the program has let go of the first.
	for over := false; !over; {
		p.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
			over = true
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func awaitMetric(t testing.TB, addr, line string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get("http://" + addr + "/metrics"); err == nil {
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if strings.Contains(string(b), line+"\n") {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("no %q", line)
		}
	}
}

// TestFewDescriptors: where the system gives few, those who are in go on, and
// the others are told.
func TestFewDescriptors(t *testing.T) {
	need.Long(t, "starts processes")
	dir := t.TempDir()
	binary, origin := build(t), newClockwork(t)
	for _, flag := range []string{"--max-conns=0", "--max-conns=1000"} {
		t.Run(flag, func(t *testing.T) {
			addr := freePort(t)
			p := startEdge(t, filepath.Join(dir, "log"+flag), "sh", "-c", `ulimit -n 128; exec "$@"`, "sh", binary, "edge", "--metrics", "viewers", "--listen", addr, "--parent", origin.URL, flag)
			p.logged(t, "for=listen", 1)
			in, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			r := bufio.NewReader(in)
			ask := func(path string) string {
				t.Helper()
				in.SetDeadline(time.Now().Add(20 * time.Second))
				fmt.Fprintf(in, "GET %s HTTP/1.1\r\nHost: edge\r\n\r\n", path)
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != 200 {
					t.Fatalf("%s: %s %v", path, resp.Status, err)
				}
				return string(b)
			}
			segment := func() string { return "/t/e/v/" + live.SegmentName(origin.next()) }
			ask(segment())
			var crowd []net.Conn
			defer func() {
				for _, nc := range crowd {
					nc.Close()
				}
			}()
			for range 150 {
				nc, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				crowd = append(crowd, nc)
			}
			// Some that are too many are told so; in a rush they are just closed.
			told := 0
			for _, nc := range crowd[70:] {
				nc.SetDeadline(time.Now().Add(20 * time.Second))
				b, err := io.ReadAll(nc)
				if err == nil && strings.HasPrefix(string(b), "HTTP/1.1 503 ") {
					told++
				}
			}
			if told == 0 {
				t.Error("nobody was told")
			}
			for range 3 {
				ask(segment())
			}
			if n := regexp.MustCompile(`drops_total{reason="accept"} (\d+)\n`).FindStringSubmatch(ask("/metrics")); len(n) != 2 || n[1] != "0" {
				t.Errorf("accepting failed: %v", n)
			}
		})
	}
}

// A file that sends viewers away is seen.
func TestExists(t *testing.T) {
	if exists("") != nil {
		t.Error("no file is looked for")
	}
	name := filepath.Join(t.TempDir(), "away")
	is := func(there bool) {
		t.Helper()
		ask := exists(name)
		if ask() != there {
			t.Errorf("the file is there: %v", !there)
		}
	}
	is(false)
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	is(true)
}
