package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"headwater/internal/need"
	"headwater/live"
)

// TestTokensOverHTTP3: viewers show their tokens by HTTP/3 in every way that there is, and nobody
// watches without one, or with one that has ended.
func TestTokensOverHTTP3(t *testing.T) {
	need.Long(t, "starts an edge")
	t.Parallel()
	dir, binary := t.TempDir(), build(t)
	origin := newClockwork(t, func(e *live.Event) { e.Viewers = &live.Viewers{Tokens: true} })
	keys := filepath.Join(dir, "keys.json")
	headwater := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(binary, args...).Output()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	headwater("keys", "viewers", "--viewer-keys", keys, "--key", "k1", "--tenant", "t")
	mint := func(form, life string) string {
		return headwater("keys", "token", "t/e", "--viewer-keys", keys, "--form", form, "--for", life)
	}
	addr := freePort(t)
	certFile, keyFile, pool := pair(t, dir)
	edge := startEdge(t, filepath.Join(dir, "log"), binary, "edge", "--listen", freePort(t), "--tls-listen", addr, "--tls-cert", certFile, "--tls-key", keyFile, "--http3",
		"--parent", origin.URL, "--viewer-keys", keys)
	edge.logged(t, "listening.*http3", 1)
	rt := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer rt.Close()
	ask := func(n live.Number, query string, header ...string) (status int, body, cache string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+addr+"/t/e/v/"+live.SegmentName(n)+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b), resp.Header.Get("Cache-Control")
	}
	n := origin.next() - 2
	for _, form := range []string{"cwt", "jwt", "url"} {
		good := mint(form, "1h")
		for name, way := range map[string][]string{
			"query": {"?CAT=" + good}, "header": {"", "CTA-Common-Access-Token", good}, "bearer": {"", "Authorization", "Bearer " + good}, "cookie": {"", "Cookie", "a=b; CTA-Common-Access-Token=" + good},
		} {
			if form == "url" && name != "query" && name != "cookie" {
				continue
			}
			if status, body, cache := ask(n, way[0], way[1:]...); status != 200 || body != string(clockworkBody(n)) || !strings.HasPrefix(cache, "private") {
				t.Errorf("%s by %s: %d %.100q %q", form, name, status, body, cache)
			}
		}
	}
	old := mint("cwt", "1s")
	for name, way := range map[string][]string{"none": {""}, "nonsense": {"?CAT=x"}, "a changed one": {"?CAT=" + mint("cwt", "1h")[1:]}, "of another scheme": {"", "Authorization", "Basic eDp4"}} {
		if status, body, cache := ask(n, way[0], way[1:]...); status != 403 || !strings.Contains(body, "token-refused") || !strings.Contains(cache, "no-store") {
			t.Errorf("%s: %d %.200q %q", name, status, body, cache)
		}
	}
	// One that has ended.
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if status, _, _ := ask(n, "?CAT="+old); status == 403 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a token that has ended still opens")
		}
	}
}
