package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"headwater/live"
)

// TestNodesByCertificates: two nodes of a site know each other by certificates, as
// processes; who has none, another authority's or one that is no node's learns nothing of
// the site and is not answered, and nobody learns of it from the viewers' listeners.
func TestNodesByCertificates(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "authority"), newAuthority(t, "another")
	binary := build(t)
	certs := map[string]*tls.Certificate{"none": nil}
	for _, name := range []string{"node-a", "node-b", "encoder"} {
		c := ca.sign(name, ca.cert)
		certs[name] = &c
		ca.write(name, c)
	}
	stranger := other.sign("node-b", other.cert)
	certs["stranger"] = &stranger
	credentials := ca.file("credentials.json")
	if err := os.WriteFile(credentials, []byte(`{"credentials":[{"name":"site","certificates":["node-a","node-b"],"grants":["peer"]},{"name":"e","certificates":["encoder"],"grants":["publish:t"]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	asked, answer := make(chan bool, 1), make(chan bool)
	parent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/t/held/event.json" {
			select {
			case asked <- true:
			default:
			}
			select {
			case <-answer:
			case <-r.Context().Done():
			}
		}
		live.ErrNoEvent.Write(w, r)
	}))
	defer parent.Close()
	viewers := map[string]string{"a": freePort(t), "b": freePort(t)}
	nodes := map[string]string{"a": freePort(t), "b": freePort(t)}
	site := fmt.Sprintf("a=https://%s,b=https://%s", nodes["a"], nodes["b"])
	processes := make(map[string]*process)
	for name := range nodes {
		p := &process{t: t, args: append([]string{"edge", "--name", name, "--site", site, "--listen", viewers[name], "--parent", parent.URL, "--metrics", "viewers", "--credentials", credentials,
			"--peer-listen", nodes[name], "--peer-tls-cert", ca.file("node-" + name + ".pem"), "--peer-tls-key", ca.file("node-" + name + ".key"), "--peer-tls-client-ca", ca.file("ca.pem")},
			ca.flags("parent-", "node-"+name)...)}
		p.start(binary)
		processes[name] = p
		t.Cleanup(func() {
			p.kill()
			if t.Failed() {
				t.Logf("%.4000s", p.log.String())
			}
		})
	}
	// greet asks for the time as a node does, and returns what is said of the site.
	greet := func(url, who string) (status int, said []string) {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.client(certs[who])}}
		defer c.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+live.TimePath, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(live.HeaderSite, live.SiteNode{Name: "b", ID: "x"}.Header())
		resp, err := c.Do(req)
		if err != nil {
			return 0, nil
		}
		drain(resp)
		return resp.StatusCode, resp.Header.Values(live.HeaderSite)
	}
	// Each sees the other.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for name := range nodes {
		for {
			_, said := greet("https://"+nodes[name], "node-b")
			if n, err := live.ParseSiteNode(said); err == nil && n.Name == name && slices.ContainsFunc(n.Sees, func(s live.Sight) bool { return s.Name != name }) {
				break
			}
			select {
			case <-ctx.Done():
				t.Fatalf("%s says %q", name, said)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	for _, c := range []struct {
		url, who string
		want     int
		told     bool
	}{
		{"https://" + nodes["a"], "node-b", 200, true},
		{"https://" + nodes["a"], "encoder", 403, false},
		{"https://" + nodes["a"], "none", 401, false},
		{"https://" + nodes["a"], "stranger", 0, false},
		{"http://" + viewers["a"], "none", 200, false},
	} {
		if status, said := greet(c.url, c.who); status != c.want || len(said) > 0 != c.told {
			t.Errorf("%s at %s: %d, of the site %q", c.who, c.url, status, said)
		}
	}

	// A new certificate is shown to who comes from then on, and who is connected stays so.
	kept := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.client(certs["node-b"]), MaxConnsPerHost: 1}}
	defer kept.CloseIdleConnections()
	reused := false
	ask := func(ctx context.Context, path string) (int, error) {
		trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodGet, "https://"+nodes["a"]+path, nil)
		if err != nil {
			return 0, err
		}
		resp, err := kept.Do(req)
		if err != nil {
			return 0, err
		}
		drain(resp)
		return resp.StatusCode, nil
	}
	if status, err := ask(t.Context(), live.TimePath); status != 200 {
		t.Fatal(status, err)
	}
	renewed := ca.sign("node-a", ca.cert)
	ca.write("node-a", renewed)
	if err := processes["a"].cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the new certificate is shown", func() bool { return ca.serial(nodes["a"]) == renewed.Leaf.SerialNumber.Int64() })
	if status, err := ask(t.Context(), live.TimePath); status != 200 || !reused {
		t.Errorf("a connection from before: %d, %v, reused: %v", status, err, reused)
	}

	// Who drains takes no more connections, and answers what it has.
	done := make(chan string, 1)
	go func() {
		status, err := ask(t.Context(), "/t/held/event.json")
		done <- fmt.Sprint(status, err)
	}()
	select {
	case <-asked:
	case got := <-done:
		t.Fatalf("what is to be held: %s", got)
	}
	if err := processes["a"].cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "no node can connect", func() bool { return ca.serial(nodes["a"]) < 0 })
	close(answer)
	if got := <-done; got != "404 <nil>" {
		t.Errorf("what was held: %s", got)
	}
	if err := processes["a"].cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// waitUntil waits for what must become so, for a minute.
func waitUntil(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// TestNearOnly: a site without secrets is told to who asks on its machine.
func TestNearOnly(t *testing.T) {
	for from, want := range map[string]string{"127.0.0.1:1": "x", "[::1]:1": "x", "[::ffff:127.0.0.1]:1": "x", "192.0.2.1:1": "", "[2001:db8::1]:1": "", "nonsense": ""} {
		r := httptest.NewRequest(http.MethodGet, live.TimePath, nil)
		r.RemoteAddr = from
		r.Header.Set(live.HeaderSite, "x")
		nearOnly(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get(live.HeaderSite); got != want {
				t.Errorf("%s: %q", from, got)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	}
}

func TestNodeFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--peer-tls-cert x", "--peer-listen"},
		{"--peer-listen :1 --peer-tls-cert x --peer-tls-key y --peer-tls-client-ca z", "--credentials"},
		{"--peer-listen :1 --credentials x", "--peer-tls-cert"},
	} {
		code, _, errs := invoke(t, t.Context(), nil, "", append([]string{"edge", "--parent", "http://127.0.0.1:1"}, strings.Fields(c.args)...)...)
		if code != exitUsage || !strings.Contains(errs, c.want) {
			t.Errorf("%s: %d %s", c.args, code, errs)
		}
	}
}
