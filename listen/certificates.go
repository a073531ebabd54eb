package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Certificates are a certificate and its key, read again when their files
// change. A new pair that is broken changes nothing but the log.
type Certificates struct {
	certFile, keyFile string
	log               *slog.Logger
	now               atomic.Pointer[tls.Certificate]
	failures          atomic.Int64

	mu   sync.Mutex // guards the following
	seen [2]stamp   // of the files when they were read last
}

// A stamp changes when a file does.
type stamp struct {
	size     int64
	modified time.Time
}

// pollCertificates is how often the files are looked at.
const pollCertificates = 5 * time.Second

// ReadCertificates reads the pair for the first time.
func ReadCertificates(certFile, keyFile string, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{certFile: certFile, keyFile: keyFile, log: log}
	if _, err := c.read(true); err != nil {
		return nil, err
	}
	return c, nil
}

// Config is for servers: it gives each connection the newest certificate.
// HTTP/2 is offered before HTTP/1.1.
func (c *Certificates) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.now.Load(), nil
		},
	}
}

// Expires is when the certificate in use does.
func (c *Certificates) Expires() time.Time { return c.now.Load().Leaf.NotAfter }

// Failures counts the pairs that were broken.
func (c *Certificates) Failures() int64 { return c.failures.Load() }

// Run looks at the files until ctx ends, and at once when reload says so.
func (c *Certificates) Run(ctx context.Context, reload <-chan os.Signal) {
	tick := time.NewTicker(pollCertificates)
	defer tick.Stop()
	for {
		anyway := false
		select {
		case <-tick.C:
		case <-reload:
			anyway = true
		case <-ctx.Done():
			return
		}
		switch changed, err := c.read(anyway); {
		case err != nil:
			c.failures.Add(1)
			c.log.Error("the new certificate is not usable: the old one stays", "err", err, "expires", c.Expires())
		case changed:
			c.log.Info("certificate read", "file", c.certFile, "expires", c.Expires())
		}
	}
}

// read reads the pair where a file changed, or anyway. A pair that is broken
// is tried again when a file changes again: they are seldom written at once.
func (c *Certificates) read(anyway bool) (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var seen [2]stamp
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			if !anyway && c.seen[i] == (stamp{}) {
				return false, nil // it was said before
			}
			c.seen[i] = stamp{}
			return false, fmt.Errorf("listen: %w", err)
		}
		seen[i] = stamp{info.Size(), info.ModTime()}
	}
	if seen == c.seen && !anyway {
		return false, nil
	}
	c.seen = seen
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return false, fmt.Errorf("listen: certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	if pair.Leaf == nil {
		return false, errors.New("listen: certificate without a leaf")
	}
	c.now.Store(&pair)
	return true, nil
}
