package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/internal/memnet"
	"headwater/internal/reread"
)

func newGuard(t *testing.T, file string, log *memnet.Log, fixed ...Credential) *Guard {
	t.Helper()
	g, err := NewGuard(file, fixed, slog.New(slog.NewTextHandler(log, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// identify is who sends a secret from an address, and how long that took.
func identify(g *Guard, from, secret string) (*Identity, time.Duration, *httptest.ResponseRecorder) {
	r := httptest.NewRequest("PUT", "/acme/final/a/v/1.m4s", nil)
	r.RemoteAddr = from
	if secret != "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	w := httptest.NewRecorder()
	began := time.Now()
	id := g.Identify(w, r)
	return id, time.Since(began), w
}

// TestGuessingIsSlow: who guesses waits longer each time, and only they; what is
// right is answered at once, also from their address.
func TestGuessingIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(memnet.Log)
		g := newGuard(t, "", log, Credential{Name: "a", Secrets: []string{Hash("right")}, Grants: []string{"publish"}})
		var took []time.Duration
		for i := range 12 {
			id, d, _ := identify(g, fmt.Sprintf("192.0.2.1:%d", 1000+i), fmt.Sprintf("guess-%d", i))
			if id != nil {
				t.Fatal(id)
			}
			took = append(took, d)
		}
		for i, d := range took {
			if i < free && d != 0 || i >= free && i > 0 && d < took[i-1] || d > mostDelay {
				t.Errorf("failure %d took %v: %v", i+1, d, took)
			}
		}
		if took[len(took)-1] != mostDelay {
			t.Errorf("the last took %v", took)
		}
		for _, from := range []string{"192.0.2.1:9", "192.0.2.2:9"} {
			if id, d, _ := identify(g, from, "right"); nameOf(id) != "a" || d != 0 {
				t.Errorf("%s: %v after %v", from, id, d)
			}
		}
		if _, d, _ := identify(g, "192.0.2.2:9", "wrong"); d != 0 {
			t.Errorf("another address waits %v", d)
		}
		if _, d, _ := identify(g, "192.0.2.1:9", ""); d != 0 {
			t.Errorf("who sends nothing waits %v", d)
		}
		time.Sleep(forgetAfter + time.Second)
		if _, d, _ := identify(g, "192.0.2.1:9", "wrong"); d != 0 {
			t.Errorf("after a while it still waits %v", d)
		}
		text := log.String()
		if n := strings.Count(text, "wrong credentials"); n != 6 { // 1, 2, 4, 8; the other's first; the first again
			t.Errorf("%d lines: %s", n, text)
		}
		if strings.Contains(text, "guess-") || strings.Contains(text, "right") {
			t.Error("a secret is in the log")
		}
	})
}

// TestGuessersCannotFillAnything: neither memory, nor the log, nor all goroutines.
func TestGuessersCannotFillAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(memnet.Log)
		g := newGuard(t, "", log)
		for i := range 3 * maxAddresses {
			identify(g, fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255), "wrong")
		}
		if n := len(g.failures.of); n > maxAddresses {
			t.Errorf("%d addresses are remembered", n)
		}
		if n := strings.Count(log.String(), "wrong credentials"); n > logLines {
			t.Errorf("%d lines", n)
		}
		for range free {
			identify(g, "192.0.2.1:1", "wrong")
		}
		var tasks sync.WaitGroup
		closed := make(chan bool, 4*maxSlow)
		for range 4 * maxSlow {
			tasks.Go(func() {
				_, d, w := identify(g, "192.0.2.1:1", "wrong")
				closed <- d == 0 && w.Header().Get("Connection") == "close"
			})
		}
		tasks.Wait()
		n := 0
		for range cap(closed) {
			if <-closed {
				n++
			}
		}
		if n != 3*maxSlow {
			t.Errorf("%d were cut, want %d", n, 3*maxSlow)
		}
	})
}

func TestAddressOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::", "[fe80::1%eth0]:80": "fe80::",
	} {
		if a := AddressOf(remote); a != netip.MustParseAddr(want) {
			t.Errorf("%s: %v, want %s", remote, a, want)
		}
	}
	if AddressOf("pipe").IsValid() {
		t.Error("a pipe has an address")
	}
}

// TestNobodyCanGetIn: a file without one credential is said in the log, unless
// there are others.
func TestNobodyCanGetIn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "credentials.json")
	one := Credential{Name: "a", Secrets: []string{Hash("one")}, Grants: []string{"publish"}}
	for _, c := range []struct {
		text  string
		fixed []Credential
		warns bool
	}{{`{}`, nil, true}, {`{"credentials": []}`, nil, true}, {`{}`, []Credential{one}, false},
		{`{"credentials": [{"name": "b", "secrets": ["` + Hash("two") + `"], "grants": ["read"]}]}`, nil, false}} {
		if err := os.WriteFile(name, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		log := new(memnet.Log)
		newGuard(t, name, log, c.fixed...)
		if said := log.String(); strings.Contains(said, "nobody can get in") != c.warns || strings.Contains(said, "level=WARN") != c.warns {
			t.Errorf("%s with %d others: %q", c.text, len(c.fixed), said)
		}
	}
}

// TestCredentialsAreReadAgain: a new secret is known and an old one is not, while
// the process runs; a file that is broken changes nothing.
func TestCredentialsAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "credentials.json")
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		file := func(secrets ...string) string {
			var hashes []string
			for _, s := range secrets {
				hashes = append(hashes, `"`+Hash(s)+`"`)
			}
			return `{"credentials": [{"name": "a", "secrets": [` + strings.Join(hashes, ",") + `], "grants": ["publish"]}]}`
		}
		write(file("one"))
		log := new(memnet.Log)
		g := newGuard(t, name, log, Credential{Name: "fixed", Secrets: []string{Hash("fixed")}, Grants: []string{"admin"}})
		var tasks sync.WaitGroup
		defer tasks.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		reload := make(chan os.Signal)
		tasks.Go(func() { g.Run(ctx, reload) })
		known := func(want string) {
			t.Helper()
			var is []string
			for _, s := range []string{"one", "two", "three", "fixed"} {
				if id, _, _ := identify(g, "192.0.2.1:1", s); id != nil {
					is = append(is, s)
				}
			}
			if got := strings.Join(is, " "); got != want {
				t.Errorf("known: %s, want %s\n%s", got, want, log)
			}
		}
		known("one fixed")
		write(file("one", "two"))
		time.Sleep(reread.Every + time.Second)
		known("one two fixed")
		write(`{"credentials": [`)
		time.Sleep(reread.Every + time.Second)
		known("one two fixed")
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * reread.Every)
		known("one two fixed")
		write(file("three"))
		reload <- os.Interrupt
		synctest.Wait()
		known("three fixed")
		if n := strings.Count(log.String(), "not usable"); n != 2 {
			t.Errorf("said %d times: %s", n, log)
		}
		if strings.Contains(log.String(), Hash("three")) {
			t.Error("a hash is in the log")
		}
	})
}

// TestCertificatesOfClients: only what was verified counts, and a secret that is
// sent is what counts.
func TestCertificatesOfClients(t *testing.T) {
	g := newGuard(t, "", new(memnet.Log),
		Credential{Name: "edge", Certificates: []string{"edge.example"}, Grants: []string{"deliver"}},
		Credential{Name: "a", Secrets: []string{Hash("s")}, Grants: []string{"publish"}})
	cert := &x509.Certificate{DNSNames: []string{"edge.example"}}
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	if id := g.Identify(httptest.NewRecorder(), r); id != nil {
		t.Errorf("who was not verified is %s", id.Name)
	}
	r.TLS.VerifiedChains = [][]*x509.Certificate{{cert}}
	if id := g.Identify(httptest.NewRecorder(), r); nameOf(id) != "edge" {
		t.Errorf("%v", id)
	}
	r.Header.Set("Authorization", "Bearer s")
	if id := g.Identify(httptest.NewRecorder(), r); nameOf(id) != "a" {
		t.Errorf("%v", id)
	}
	r.Header.Set("Authorization", "Bearer x")
	if id := g.Identify(httptest.NewRecorder(), r); id != nil {
		t.Errorf("%v", id)
	}
	if id := (*Guard)(nil).Identify(httptest.NewRecorder(), r); id != Anyone {
		t.Errorf("%v", id)
	}
}
