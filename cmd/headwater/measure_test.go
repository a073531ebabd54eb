package main

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"headwater/live"
)

// TestMemoryOfHeldViewers prints what a held viewer costs the edge by each
// protocol: resident memory of its process. It is for a quiet machine:
//
//	MEASURE_HEADWATER=2000 go test -run TestMemoryOfHeldViewers -v ./cmd/headwater
func TestMemoryOfHeldViewers(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("MEASURE_HEADWATER"))
	if n == 0 {
		t.Skip("MEASURE_HEADWATER=2000 measures")
	}
	dir := t.TempDir()
	binary, origin := build(t), newClockwork(t, func(e *live.Event) { e.HoldMS = 60_000 })
	certFile, keyFile, pool := pair(t, dir)
	config := &tls.Config{RootCAs: pool}
	for _, c := range []struct {
		name    string
		tls     bool
		streams int
		client  func() http.RoundTripper
	}{
		{"HTTP/1.1", false, 1, func() http.RoundTripper { return &http.Transport{} }},
		{"HTTP/1.1 over TLS", true, 1, func() http.RoundTripper {
			return &http.Transport{TLSClientConfig: config.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
		}},
		{"HTTP/2, 1 stream per connection", true, 1, func() http.RoundTripper {
			return &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}
		}},
		{"HTTP/2, 100 streams per connection", true, 100, func() http.RoundTripper {
			return &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true, MaxConnsPerHost: 1}
		}},
		{"HTTP/3, 1 stream per connection", true, 1, func() http.RoundTripper { return &http3.Transport{TLSClientConfig: config.Clone()} }},
		{"HTTP/3, 100 streams per connection", true, 100, func() http.RoundTripper { return &http3.Transport{TLSClientConfig: config.Clone()} }},
	} {
		plain, secure := freePort(t), freePort(t)
		p := startEdge(t, filepath.Join(dir, "log"+strconv.Itoa(c.streams)+plain), binary, "edge", "--listen", plain, "--parent", origin.URL,
			"--tls-listen", secure, "--tls-cert", certFile, "--tls-key", keyFile, "--http3", "--header-timeout", "30s")
		p.logged(t, "for=http3", 1)
		base := "http://" + plain
		if c.tls {
			base = "https://" + secure
		}
		waitFor(t, "http://"+plain+"/t/e/event.json")
		before := resident(t, p)
		ctx, stop := context.WithCancel(t.Context())
		url := base + "/t/e/v/" + live.SegmentName(origin.next()+live.Number(100))
		var viewers sync.WaitGroup
		for range n / c.streams {
			tr := c.client()
			for range c.streams {
				viewers.Go(func() {
					req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
					if err != nil {
						t.Error(err)
						return
					}
					if resp, err := tr.RoundTrip(req); err == nil {
						b, _ := io.ReadAll(resp.Body)
						t.Errorf("%s: %s %s", c.name, resp.Status, b)
						resp.Body.Close()
					} else if ctx.Err() == nil {
						t.Errorf("%s: %v", c.name, err)
					}
				})
			}
		}
		awaitMetric(t, plain, "headwater_edge_holding "+strconv.Itoa(n/c.streams*c.streams))
		time.Sleep(time.Second) // what the handshakes took is given back
		t.Logf("%-36s %6.1f kB each", c.name, float64(resident(t, p)-before)/float64(n))
		stop()
		viewers.Wait()
		p.Process.Kill()
		<-p.done
	}
}

// resident is a process's resident memory in kB.
func resident(t *testing.T, p *edgeProcess) int {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.Process.Pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		t.Fatal("no VmRSS")
	}
	kb, _ := strconv.Atoi(string(m[1]))
	return kb
}
