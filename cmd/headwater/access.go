package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/access"
	"headwater/listen"
)

// accessFlags say who may use an origin's listeners.
type accessFlags struct {
	credentials                  string
	publishTokens                []string
	controlToken                 string
	hosts                        []string
	insecure, private            bool
	tlsCert, tlsKey, tlsClientCA string
}

func (f *accessFlags) register(o *options) {
	o.String(&f.credentials, "credentials", "", "`FILE` of who may publish, control and fill (headwater keys makes it). It is read again when it changes, and on SIGHUP; a broken one changes nothing")
	o.SecretList(&f.publishTokens, "publish-token", "`TENANT=SECRET` or TENANT/PIPELINE=SECRET that packagers must send (Bearer, or Basic's password)")
	o.Secret(&f.controlToken, "control-token", "`SECRET` that control clients must send (Bearer): with the right admin")
	o.List(&f.hosts, "control-host", "`NAME` with a dot under which browsers and certificates reach the control listener")
	o.Bool(&f.insecure, "insecure", "listen beyond this machine though nobody must say who they are")
	o.Bool(&f.private, "private", "deliver events only to who has the right deliver; those that want tokens of viewers are in any case, where there are credentials")
	o.String(&f.tlsCert, "tls-cert", "", "`FILE` of the certificate chain (PEM) of all listeners, which then speak TLS 1.2 or later. It is read again when it changes, and on SIGHUP")
	o.String(&f.tlsKey, "tls-key", "", "`FILE` of the certificate's key (PEM)")
	o.String(&f.tlsClientCA, "tls-client-ca", "", "`FILE` of the certificates (PEM) that sign those of clients; --credentials says who these are")
}

// wanted reports whether credentials are.
func (f *accessFlags) wanted() bool {
	return f.credentials != "" || len(f.publishTokens) > 0 || f.controlToken != ""
}

// safe refuses listeners by which anybody on the network could publish or control.
func (f *accessFlags) safe(listeners map[string]string) error {
	switch {
	case (f.tlsCert == "") != (f.tlsKey == ""):
		return usagef("--tls-cert and --tls-key go together")
	case f.tlsClientCA != "" && f.tlsCert == "":
		return usagef("--tls-client-ca: give --tls-cert and --tls-key as well")
	case f.wanted() || f.insecure:
		return nil
	}
	for _, role := range []string{"publish", "control", "ingest"} {
		if addr := listeners[role]; addr != "" && !loopback(addr) {
			return usagef("--%s %s would let anybody who reaches it %s: give --credentials FILE (headwater keys init makes one), or --%s 127.0.0.1:%s, or --insecure",
				role, addr, role, role, portOf(addr))
		}
	}
	return nil
}

func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// loopback reports whether only this machine reaches an address to listen on.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// guard is who may do what; nil where nobody has to say who they are.
func (f *accessFlags) guard(log *slog.Logger, reg prometheus.Registerer) (*access.Guard, error) {
	if !f.wanted() {
		return nil, nil
	}
	var fixed []access.Credential
	for _, t := range f.publishTokens {
		whose, secret, ok := strings.Cut(t, "=")
		g, err := access.ParseGrant("publish:" + whose)
		if !ok || secret == "" || err != nil || g.Tenant == "" {
			return nil, usagef("--publish-token: a value is not TENANT=SECRET or TENANT/PIPELINE=SECRET")
		}
		fixed = append(fixed, access.Credential{Name: g.String(), Secrets: []string{access.Hash(secret)}, Grants: []string{g.String()}})
	}
	if f.controlToken != "" {
		fixed = append(fixed, access.Credential{Name: "control", Secrets: []string{access.Hash(f.controlToken)}, Grants: []string{string(access.Admin)}})
	}
	g, err := access.NewGuard(f.credentials, fixed, log, reg)
	if err != nil {
		return nil, usagef("--credentials: %w", err)
	}
	return g, nil
}

// certificates are those of the listeners; nil without TLS.
func (f *accessFlags) certificates(log *slog.Logger) (*listen.Certificates, error) {
	if f.tlsCert == "" {
		return nil, nil
	}
	c, err := listen.ReadCertificates(f.tlsCert, f.tlsKey, f.tlsClientCA, log)
	if err != nil {
		return nil, usagef("--tls-cert: %w", err)
	}
	return c, nil
}

// clientFlags say who a client is, and whom it trusts.
type clientFlags struct {
	token, tokenFile string
	ca, cert, key    string

	flag string // the name of the flag with the secret
}

// register registers the flags; the secret's is called flag, and its file's
// flag-file.
func (f *clientFlags) register(o *options, flag string) { f.registerAs(o, flag, "") }

// registerAs is register with something before the names of the other flags.
func (f *clientFlags) registerAs(o *options, flag, prefix string) {
	f.flag = flag
	o.Secret(&f.token, flag, "`SECRET` to send as a Bearer token")
	o.String(&f.tokenFile, flag+"-file", "", "`FILE` of the secret to send as a Bearer token")
	o.String(&f.ca, prefix+"tls-ca", "", "`FILE` of the certificates (PEM) that sign servers'; default those of the system")
	o.String(&f.cert, prefix+"tls-cert", "", "`FILE` of the certificate (PEM) to show to servers that ask for one")
	o.String(&f.key, prefix+"tls-key", "", "`FILE` of its key (PEM)")
}

// names are those of the flags, for verbs that take some only.
func (f *clientFlags) names() []string {
	return []string{f.flag, f.flag + "-file", "tls-ca", "tls-cert", "tls-key"}
}

// maxSecretFile bounds a file with one secret, in bytes.
const maxSecretFile = 16 << 10

// secret is what to send, "" for nothing.
func (f *clientFlags) secret() (string, error) {
	switch {
	case f.tokenFile == "":
		return f.token, nil
	case f.token != "":
		return "", usagef("--%s-file: there is --%s too", f.flag, f.flag)
	}
	s, err := readSecret(f.tokenFile)
	if err != nil {
		return "", usagef("--%s-file: %w", f.flag, err)
	}
	return s, nil
}

// readSecret reads a file of one line.
func readSecret(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxSecretFile))
	s := strings.TrimSpace(string(b))
	if err == nil && (s == "" || strings.ContainsAny(s, "\r\n")) {
		err = errors.New("is not one line with a secret")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// tls is how to speak TLS; nil where nothing is said.
func (f *clientFlags) tls() (*tls.Config, error) {
	if f.ca == "" && f.cert == "" && f.key == "" {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.ca != "" {
		pool, err := listen.ReadPool(f.ca)
		if err != nil {
			return nil, usagef("--tls-ca: %w", err)
		}
		cfg.RootCAs = pool
	}
	if f.cert != "" || f.key != "" {
		if _, err := tls.LoadX509KeyPair(f.cert, f.key); err != nil {
			return nil, usagef("--tls-cert: %w", err)
		}
		// Certificates are renewed under their names.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(f.cert, f.key)
			return &c, err
		}
	}
	return cfg, nil
}

// client is for requests of a command.
func (f *clientFlags) client() (*http.Client, error) {
	cfg, err := f.tls()
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = cfg
	return &http.Client{Transport: t}, nil
}

// reread lets what was read from files look at them, now and then and on SIGHUP,
// until stop is called.
func reread(run ...func(context.Context, <-chan os.Signal)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	for _, f := range run {
		reload := make(chan os.Signal, 1)
		if hangup != nil {
			signal.Notify(reload, hangup)
		}
		tasks.Go(func() {
			defer signal.Stop(reload)
			f(ctx, reload)
		})
	}
	return func() { cancel(); tasks.Wait() }
}
