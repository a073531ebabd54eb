package viewer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// errStopped says that the run is over.
var errStopped = errors.New("viewer: stopped")

// An edge is one place to ask.
type edge struct {
	base    string // as it was given
	address string // host:port
	host    string // of the Host header
	prefix  string // of paths, without a slash at its end
	tls     *tls.Config
	// offset is the edge's clock minus ours, in nanoseconds. On loopback it is 0.
	offset   atomic.Int64
	loopback bool
}

func newEdge(base string, conf *tls.Config) (*edge, error) {
	u, err := parseEdge(base)
	if err != nil {
		return nil, err
	}
	e := &edge{base: base, host: u.Host, prefix: strings.TrimRight(u.EscapedPath(), "/"), loopback: isLoopback(u.Hostname())}
	port := u.Port()
	if u.Scheme == "https" {
		def(&port, "443")
		e.tls = &tls.Config{}
		if conf != nil {
			e.tls = conf.Clone()
		}
		def(&e.tls.ServerName, u.Hostname())
		e.tls.NextProtos = []string{"http/1.1"}
	}
	def(&port, "80")
	e.address = net.JoinHostPort(u.Hostname(), port)
	return e, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// now is the edge's time.
func (e *edge) now() time.Time { return time.Now().Add(time.Duration(e.offset.Load())) }

// local is when our clock shows what the edge's shows at t.
func (e *edge) local(t time.Time) time.Time { return t.Add(-time.Duration(e.offset.Load())) }

// A conn is one connection. Its owner is the track that opened it; only stop
// comes from elsewhere.
type conn struct {
	net.Conn
	// used: an answer has come over it, so that the edge may close it at any
	// time without this being a failure (RFC 9112, 9.3.1).
	used bool
	// first holds the first bytes of an answer, begun of them, so that a waiting
	// viewer keeps no buffer.
	first [16]byte
	begun int

	mu      sync.Mutex // guards stopped, and setting deadlines
	stopped bool
}

// deadline sets when reading and writing give up. After stop it does nothing.
func (c *conn) deadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.SetDeadline(t)
	}
}

// stop makes all reading and writing fail at once, and from now on.
func (c *conn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.SetDeadline(time.Unix(1, 0))
}

// A network opens connections, and stops those that are open when the run ends.
type network struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	timeout time.Duration
	token   string        // that viewers show; "": none
	dials   chan struct{} // a slot for each connection being opened
	crew    *crew

	mu      sync.Mutex // guards the following
	open    map[*conn]struct{}
	stopped bool
}

func newNetwork(c *Config) *network {
	return &network{dial: c.Dial, timeout: c.Timeout, token: c.Token, dials: make(chan struct{}, c.MaxDials), crew: newCrew(), open: map[*conn]struct{}{}}
}

// connect opens a connection. The error is errStopped when ctx is done.
func (n *network) connect(ctx context.Context, e *edge) (*conn, error) {
	select {
	case n.dials <- struct{}{}:
		defer func() { <-n.dials }()
	case <-ctx.Done():
		return nil, errStopped
	}
	dialCtx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	nc, err := n.dial(dialCtx, "tcp", e.address)
	if err == nil && e.tls != nil {
		t := tls.Client(nc, e.tls)
		if err = t.HandshakeContext(dialCtx); err != nil {
			nc.Close()
		}
		nc = t
	}
	if ctx.Err() != nil {
		if err == nil {
			nc.Close()
		}
		return nil, errStopped
	}
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc}
	n.mu.Lock()
	n.open[c] = struct{}{}
	stopped := n.stopped
	n.mu.Unlock()
	if stopped {
		c.stop()
	}
	return c, nil
}

// close closes a connection, at once: nothing is owed on it.
func (n *network) close(c *conn) {
	n.mu.Lock()
	delete(n.open, c)
	n.mu.Unlock()
	c.Close()
}

// stop stops every connection, those still being opened included.
func (n *network) stop() {
	n.mu.Lock()
	n.stopped = true
	var all []*conn
	for c := range n.open {
		all = append(all, c)
	}
	n.mu.Unlock()
	for _, c := range all {
		c.stop()
	}
}
