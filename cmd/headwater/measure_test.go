package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"headwater/live"
)

// BenchmarkHeldViewers says what a held viewer costs the edge by each protocol:
// resident memory of its process, just after the handshakes. For 2,000 of them:
//
//	go test -run '^$' -bench HeldViewers -benchtime 2000x ./cmd/headwater
func BenchmarkHeldViewers(b *testing.B) {
	dir := b.TempDir()
	binary, origin := build(b), newClockwork(b, func(e *live.Event) { e.HoldMS = 60_000 })
	certFile, keyFile, pool := pair(b, dir)
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
		b.Run(c.name, func(b *testing.B) {
			n := max(b.N/c.streams, 1) * c.streams
			plain, secure := freePort(b), freePort(b)
			p := startEdge(b, filepath.Join(dir, "log"+strconv.Itoa(c.streams)+plain), binary, "edge", "--listen", plain, "--parent", origin.URL,
				"--tls-listen", secure, "--tls-cert", certFile, "--tls-key", keyFile, "--http3", "--header-timeout", "30s", "--metrics", "viewers")
			p.logged(b, "for=http3", 1)
			base := "http://" + plain
			if c.tls {
				base = "https://" + secure
			}
			waitFor(b, "http://"+plain+"/t/e/event.json")
			before := resident(b, p)
			ctx, stop := context.WithCancel(b.Context())
			url := base + "/t/e/v/" + live.SegmentName(origin.next()+live.Number(100))
			var viewers sync.WaitGroup
			for range n / c.streams {
				tr := c.client()
				for range c.streams {
					viewers.Go(func() {
						for ctx.Err() == nil {
							req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
							if err != nil {
								b.Error(err)
								return
							}
							resp, err := tr.RoundTrip(req)
							if err == nil {
								body, _ := io.ReadAll(resp.Body)
								b.Errorf("%s %s", resp.Status, body)
								resp.Body.Close()
								return
							}
							// quic-go refuses who comes while 32 wait to be accepted.
							var refused *quic.TransportError
							if ctx.Err() == nil && (!errors.As(err, &refused) || refused.ErrorCode != quic.ConnectionRefused) {
								b.Error(err)
								return
							}
						}
					})
				}
			}
			awaitMetric(b, plain, "headwater_edge_holding "+strconv.Itoa(n))
			time.Sleep(time.Second) // what the handshakes took is given back
			b.ReportMetric(float64(resident(b, p)-before)/float64(n), "kB/viewer")
			stop()
			viewers.Wait()
			p.Process.Kill()
			<-p.done
		})
	}
}

// resident is a process's resident memory in kB.
func resident(t testing.TB, p *edgeProcess) int {
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
