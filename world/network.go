package world

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// A network connects the nodes of a world. A packet takes the latency of its link
// and a part that the seed decides, so that no two arrive at the same instant:
// their order is the seed's and not that of Go's scheduler.
//
// Lock order: network.mu, then a flow's.
type network struct {
	latency time.Duration

	mu        sync.Mutex // guards the following
	rng       *rand.Rand
	listeners map[string]*listener // by host:port
	conns     map[*conn]struct{}
	cuts      map[link]int   // how many acts cut it
	off       map[string]int // how many acts keep a machine without power
	slow      map[link]time.Duration
	drips     map[link]time.Duration // between small pieces
}

// A link is one direction from one node to another.
type link struct{ from, to string }

func newNetwork(rng *rand.Rand, latency time.Duration) *network {
	return &network{latency: latency, rng: rng, listeners: map[string]*listener{}, conns: map[*conn]struct{}{},
		cuts: map[link]int{}, off: map[string]int{}, slow: map[link]time.Duration{}, drips: map[link]time.Duration{}}
}

func (n *network) listen(node, port string) net.Listener {
	l := &listener{addr: node + ":" + port, conns: make(chan net.Conn, 64), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[l.addr] = l
	return l
}

// dialer is how a node connects to others.
func (n *network) dialer(node string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		there, back := link{node, host}, link{host, node}
		for _, way := range []link{there, back} {
			if err := n.pass(ctx, way); err != nil {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
			}
		}
		refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		n.mu.Lock()
		l := n.listeners[addr]
		if l == nil {
			n.mu.Unlock()
			return nil, refused
		}
		out, in := newFlow(n, there), newFlow(n, back)
		out.back, in.back = in, out
		here, other := &conn{n: n, in: in, out: out}, &conn{n: n, in: out, out: in}
		here.peer, other.peer = other, here
		n.conns[here], n.conns[other] = struct{}{}, struct{}{}
		n.mu.Unlock()
		select {
		case <-l.closed:
			here.reset()
			return nil, refused
		case l.conns <- other:
			return here, nil
		case <-ctx.Done():
			here.reset()
			return nil, ctx.Err()
		}
	}
}

// pass waits as long as the first packet of a connection takes, again and again
// where it is lost.
func (n *network) pass(ctx context.Context, way link) error {
	for again := 200 * time.Millisecond; ; again *= 2 {
		d, cut := n.delay(way)
		if cut = cut || n.isOff(way); cut {
			d = again
		}
		t := time.NewTimer(d)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		if !cut {
			return nil
		}
	}
}

// delay is how long a packet takes now; cut says that it does not arrive.
func (n *network) delay(way link) (d time.Duration, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d = n.latency + n.slow[way]
	if way.from == cacheName || way.to == cacheName { // it stands beside
		d = 500*time.Microsecond + n.slow[way]
	}
	d += time.Duration(n.rng.Int64N(int64(d)/2 + int64(100*time.Microsecond)))
	return d, n.cuts[way] > 0
}

// cut stops what goes that way, until it is called with -1 as often as with 1.
func (n *network) cut(way link, by int) {
	n.mu.Lock()
	n.cuts[way] += by
	var held []*conn
	if n.cuts[way] == 0 {
		for c := range n.conns {
			if c.out.way == way {
				held = append(held, c)
			}
		}
	}
	off := n.off[way.from] > 0
	n.mu.Unlock()
	for _, c := range held {
		if c.out.resume(); !off {
			c.reappear()
		}
	}
}

// slower has what goes that way take longer.
func (n *network) slower(way link, by time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slow[way] += by
}

// drip has what goes that way come in small pieces, each after so long.
func (n *network) drip(way link, every time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drips[way] = every
}

func (n *network) dripping(way link) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.drips[way]
}

// down ends a node as kill -9 does: nobody listens, and its connections are reset. Where
// nothing arrives at the other end, or the whole machine is gone, they are half open there.
func (n *network) down(node string) {
	n.mu.Lock()
	var gone, unheard []*conn
	for addr, l := range n.listeners {
		if host, _, _ := net.SplitHostPort(addr); host == node {
			l.Close()
			delete(n.listeners, addr)
		}
	}
	machine := n.off[node] > 0
	for c := range n.conns {
		switch {
		case c.out.way.from != node:
		case machine || n.cuts[c.out.way] > 0:
			unheard = append(unheard, c)
		default:
			gone = append(gone, c)
		}
	}
	n.mu.Unlock()
	for _, c := range gone {
		c.reset()
	}
	for _, c := range unheard {
		c.vanish()
	}
}

// power has a machine be without power, until it is called with -1 as often as with 1. Then
// it answers again, those too who are still connected with what ran on it.
func (n *network) power(node string, by int) {
	n.mu.Lock()
	var back []*conn
	if n.off[node] += by; n.off[node] == 0 {
		for c := range n.conns {
			if c.out.way.from == node {
				back = append(back, c)
			}
		}
	}
	n.mu.Unlock()
	for _, c := range back {
		c.reappear()
	}
}

// closed has a connection forgotten once both ends are closed, or for good.
func (n *network) closed(c *conn, both bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c.closed = true
	if both || c.peer.closed {
		delete(n.conns, c)
		delete(n.conns, c.peer)
	}
}

// isOff reports whether a machine at either end of a link is.
func (n *network) isOff(way link) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.off[way.from]+n.off[way.to] > 0
}

// lost reports whether what goes that way does not arrive now.
func (n *network) lost(way link) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cuts[way] > 0
}

type listener struct {
	addr   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr { return address(l.addr) }

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

var errNothing = errors.New("world: nothing to read yet")
