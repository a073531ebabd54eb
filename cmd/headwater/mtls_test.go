package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"headwater/internal/need"
	"headwater/internal/selfsigned"
	"headwater/live"
	"headwater/viewer"
)

// An authority signs certificates for 127.0.0.1, which it writes to files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	c := a.sign(name, nil)
	a.cert, a.key = c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)
	a.write("ca", c)
	return a
}

// sign makes a certificate with a name; without an authority yet, its own.
func (a *authority) sign(name string, parent *x509.Certificate) tls.Certificate {
	a.t.Helper()
	a.n++
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	signer := key
	if parent == nil {
		parent, c.IsCA, c.BasicConstraintsValid, c.KeyUsage = c, true, true, x509.KeyUsageCertSign
	} else {
		signer = a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// write puts a certificate and its key where they may be read at any time: each at once.
func (a *authority) write(name string, c tls.Certificate) {
	a.t.Helper()
	cert, key := selfsigned.PEM(c)
	for suffix, b := range map[string][]byte{".key": key, ".pem": cert} {
		if err := os.WriteFile(a.file(name+suffix+".new"), b, 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	for _, suffix := range []string{".key", ".pem"} {
		if err := os.Rename(a.file(name+suffix+".new"), a.file(name+suffix)); err != nil {
			a.t.Fatal(err)
		}
	}
}

// flags are those of a client with a name, which may be after a prefix.
func (a *authority) flags(prefix, name string) []string {
	return []string{"--" + prefix + "tls-ca", a.file("ca.pem"), "--" + prefix + "tls-cert", a.file(name + ".pem"), "--" + prefix + "tls-key", a.file(name + ".key")}
}

// client is one that shows a certificate with a name; "" none.
func (a *authority) client(c *tls.Certificate) *tls.Config {
	cfg := &tls.Config{RootCAs: x509.NewCertPool()}
	cfg.RootCAs.AddCert(a.cert)
	if c != nil {
		// Also where the server says that it trusts others.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }
	}
	return cfg
}

// serial is that of the certificate which a listener shows now.
func (a *authority) serial(addr string) int64 {
	c, err := tls.Dial("tcp", addr, a.client(nil))
	if err != nil {
		return -1
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// TestMutualTLS: publishing, filling and controlling by certificates, as processes; and all
// certificates of the servers change while packagers publish and viewers watch: no request fails.
func TestMutualTLS(t *testing.T) {
	need.Long(t, "plays in real time")
	t.Parallel()
	ca, other := newAuthority(t, "authority"), newAuthority(t, "another")
	binary := build(t)
	publish, deliver, control, plain, secure := freePort(t), freePort(t), freePort(t), freePort(t), freePort(t)
	certs := map[string]*tls.Certificate{"none": nil}
	for _, name := range []string{"origin", "viewers", "encoder", "cache", "person"} {
		c := ca.sign(name, ca.cert)
		certs[name] = &c
		ca.write(name, c)
	}
	stranger := other.sign("person", other.cert)
	certs["stranger"] = &stranger
	credentials := ca.file("credentials.json")
	if err := os.WriteFile(credentials, []byte(`{"credentials":[
		{"name":"e","certificates":["encoder"],"grants":["publish:t"]},{"name":"c","certificates":["cache"],"grants":["deliver"]},{"name":"p","certificates":["person"],"grants":["admin"]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	origin := &process{t: t, args: []string{"origin", "--publish", publish, "--deliver", deliver, "--control", control, "--store", "memory:", "--private", "--credentials", credentials,
		"--tls-cert", ca.file("origin.pem"), "--tls-key", ca.file("origin.key"), "--tls-client-ca", ca.file("ca.pem")}}
	edge := &process{t: t, args: append([]string{"edge", "--listen", plain, "--tls-listen", secure, "--tls-cert", ca.file("viewers.pem"), "--tls-key", ca.file("viewers.key"), "--http3",
		"--metrics", "viewers", "--parent", "https://" + deliver}, ca.flags("parent-", "cache")...)}
	all := []*process{origin, edge}
	for _, name := range []string{"a", "b"} {
		all = append(all, &process{t: t, args: append([]string{"packager", "--event", "t/e", "--pipeline", name, "--clip", "--to", "https://" + publish, "--event-url", "https://" + deliver}, ca.flags("", "encoder")...)})
	}
	for _, p := range all {
		p.start(binary)
		t.Cleanup(func() {
			p.kill()
			if t.Failed() {
				t.Logf("%.40v: %.4000s", p.args, p.log.String())
			}
		})
	}
	renditions, err := exec.Command(binary, "packager", "--clip", "--print-renditions").Output()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now().UTC().Truncate(2 * time.Second)
	event := ca.file("event.json")
	if err := os.WriteFile(event, fmt.Appendf(nil, `{"start":%q,"first_number":%d,"pipelines":[{"name":"a"},{"name":"b"}],"renditions":%s}`, start.Format(time.RFC3339), start.Unix()/2, renditions), 0o600); err != nil {
		t.Fatal(err)
	}
	create := append([]string{"event", "create", "t/e", "-f", event, "--control", "https://" + control}, ca.flags("", "person")...)
	var out []byte
	for range 50 { // the origin may still be starting
		if out, err = exec.Command(binary, create...).CombinedOutput(); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("event create: %v: %s", err, out)
	}
	waitFor(t, "http://"+plain+"/t/e/main.m3u8")

	// Viewers begin behind the edge: by then there is something.
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		resp, err := http.Get("http://" + plain + "/t/e/v720/media.m3u8")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if list := string(b); strings.Count(list, ".m4s")-strings.Count(list, "#EXT-X-GAP") >= 4 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("nothing is published: %s", b)
		}
	}

	// Who may do what.
	ask := func(who, method, url string) int {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.client(certs[who])}}
		defer c.CloseIdleConnections()
		req, err := http.NewRequest(method, url, strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := c.Do(req)
		if err != nil {
			return 0
		}
		drain(resp)
		return resp.StatusCode
	}
	segment, config, flush := "https://"+publish+"/t/e/a/v720/1.m4s", "https://"+deliver+"/t/e/event.json", "https://"+control+"/v1/events/t/e/flush?dry_run=true"
	for _, c := range []struct {
		who, method, url string
		want             int
	}{
		{"none", "PUT", segment, 401}, {"cache", "PUT", segment, 403}, {"person", "PUT", segment, 403}, {"stranger", "PUT", segment, 0},
		{"none", "GET", config, 401}, {"cache", "GET", config, 200}, {"stranger", "GET", config, 0},
		{"none", "POST", flush, 401}, {"encoder", "POST", flush, 403}, {"cache", "POST", flush, 403}, {"person", "POST", flush, 200}, {"stranger", "POST", flush, 0},
	} {
		if got := ask(c.who, c.method, c.url); got != c.want {
			t.Errorf("%s: %s %s: %d, want %d", c.who, c.method, c.url, got, c.want)
		}
	}

	// All go on while the certificates change, on connections that there are and on new ones.
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	var mu sync.Mutex
	asked, failed := map[string]int{}, []string{}
	loop := func(name string, rt http.RoundTripper, base string, anew bool) {
		others.Go(func() {
			for ctx.Err() == nil {
				req, _ := http.NewRequest("GET", base+"/t/e/event.json", nil)
				resp, err := rt.RoundTrip(req)
				mu.Lock()
				if asked[name]++; err != nil {
					failed = append(failed, name+": "+err.Error())
				} else if resp.StatusCode != 200 {
					failed = append(failed, name+": "+resp.Status)
				}
				mu.Unlock()
				if err == nil {
					drain(resp)
				}
				if x, ok := rt.(*http.Transport); ok && anew {
					x.CloseIdleConnections()
				}
				select {
				case <-ctx.Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	}
	cache := certs["cache"]
	three := &http3.Transport{TLSClientConfig: ca.client(nil)}
	defer three.Close()
	loop("deliver", &http.Transport{TLSClientConfig: ca.client(cache)}, "https://"+deliver, false)
	loop("deliver, new connections", &http.Transport{TLSClientConfig: ca.client(cache)}, "https://"+deliver, true)
	loop("edge", &http.Transport{TLSClientConfig: ca.client(nil), ForceAttemptHTTP2: true}, "https://"+secure, false)
	loop("edge, new connections", &http.Transport{TLSClientConfig: ca.client(nil)}, "https://"+secure, true)
	loop("edge by HTTP/3", three, "https://"+secure, false)
	others.Go(func() {
		for i, p := range []*process{origin, edge, origin, edge} {
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
				return
			}
			name, addr := []string{"origin", "viewers"}[i%2], []string{publish, secure}[i%2]
			c := ca.sign(name, ca.cert)
			ca.write(name, c)
			p.cmd.Process.Signal(syscall.SIGHUP)
			for end := time.Now().Add(10 * time.Second); ca.serial(addr) != c.Leaf.SerialNumber.Int64(); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Errorf("%s shows certificate %d, not %v", name, ca.serial(addr), c.Leaf.SerialNumber)
					return
				}
			}
		}
	})
	report, err := viewer.Run(ctx, viewer.Config{Edges: []string{"http://" + plain}, Event: live.EventID{Tenant: "t", Name: "e"}, Viewers: 4, Duration: 12 * time.Second})
	stop()
	others.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if len(failed) > 0 || len(asked) != 5 {
		t.Errorf("%d failed of %v: %.2000v", len(failed), asked, failed)
	}
	if report.Segments == 0 || len(report.Errors) > 0 || report.Stalls > 0 || report.Gaps > 0 || report.Refusals > 0 || report.Reconnects > 0 {
		b, _ := json.MarshalIndent(report, "", " ")
		t.Errorf("viewers saw it: %.3000s", b)
	}
	for _, p := range all[2:] {
		if p.cmd.ProcessState != nil {
			t.Errorf("%.40v ended", p.args)
		}
	}
	if got := ask("person", "GET", "https://"+control+"/v1/events/t/e"); got != 200 {
		t.Errorf("nobody can control any more: %d", got)
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.client(certs["person"])}}
	resp, err := c.Get("https://" + control + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, _ := io.ReadAll(resp.Body)
	for line := range bytes.Lines(metrics) {
		if bytes.HasPrefix(line, []byte("headwater_origin_refusals_total{")) && bytes.Contains(line, []byte(`side="publish"`)) && !bytes.HasSuffix(line, []byte(" 0\n")) &&
			!bytes.Contains(line, []byte(`"unauthorized"`)) && !bytes.Contains(line, []byte(`"forbidden"`)) {
			t.Errorf("a publication was refused: %s", line)
		}
	}
}

func drain(resp *http.Response) {
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
}
