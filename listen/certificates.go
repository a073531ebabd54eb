package listen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"headwater/internal/reread"
)

// Certificates are a certificate and its key, and those who may sign clients'
// certificates, read again when their files change. What is new and broken
// changes nothing but the log.
type Certificates struct {
	certFile, keyFile, clientCA string
	log                         *slog.Logger
	files                       *reread.Files
	now                         atomic.Pointer[pair]
	failures                    atomic.Int64
}

// A pair is what a connection is begun with.
type pair struct {
	cert    *tls.Certificate
	clients *x509.CertPool // nil: clients are not asked for certificates
}

// ReadCertificates reads the files for the first time. clientCA is one of
// certificates (PEM) that sign those of clients; "": clients need none.
func ReadCertificates(certFile, keyFile, clientCA string, log *slog.Logger) (*Certificates, error) {
	names := []string{certFile, keyFile}
	if clientCA != "" {
		names = append(names, clientCA)
	}
	c := &Certificates{certFile: certFile, keyFile: keyFile, clientCA: clientCA, log: log}
	var err error
	c.files, err = reread.Of(c.read, names...)
	return c, err
}

// Config is for servers: it gives each connection the newest certificate, and
// verifies that of a client where it sends one. HTTP/2 is offered before HTTP/1.1.
func (c *Certificates) Config() *tls.Config {
	base := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.now.Load().cert, nil
		},
	}
	if c.clientCA == "" {
		return base
	}
	out := base.Clone()
	out.ClientAuth = tls.VerifyClientCertIfGiven
	out.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := out.Clone()
		now.GetConfigForClient, now.ClientCAs = nil, c.now.Load().clients
		// Sessions that are resumed would keep whom an older CA signed for.
		now.SessionTicketsDisabled = true
		return now, nil
	}
	return out
}

// Expires is when the certificate in use does.
func (c *Certificates) Expires() time.Time { return c.now.Load().cert.Leaf.NotAfter }

// Failures counts what was new and broken.
func (c *Certificates) Failures() int64 { return c.failures.Load() }

// Run looks at the files until ctx ends, and at once when reload says so.
func (c *Certificates) Run(ctx context.Context, reload <-chan os.Signal) {
	c.files.Run(ctx, reload, func() {
		c.log.Info("certificate read", "file", c.certFile, "expires", c.Expires())
	}, func(err error) {
		c.failures.Add(1)
		c.log.Error("the new certificate is not usable: the old one stays", "err", err, "expires", c.Expires())
	})
}

func (c *Certificates) read() error {
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("listen: certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	if cert.Leaf == nil {
		return errors.New("listen: certificate without a leaf")
	}
	p := &pair{cert: &cert}
	if c.clientCA != "" {
		if p.clients, err = ReadPool(c.clientCA); err != nil {
			return err
		}
	}
	c.now.Store(p)
	return nil
}

// ReadPool reads certificates (PEM) that sign others.
func ReadPool(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("listen: %s has no certificate in PEM", file)
	}
	return pool, nil
}
