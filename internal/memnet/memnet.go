// Package memnet connects the nodes of a test in memory, by host:port. A write
// ends when it has been read, so that who does not read is noticed at once; all
// waiting is of the kind that testing/synctest sees.
package memnet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A Network is a set of hosts that listen.
type Network struct {
	mu    sync.Mutex // guards the following
	hosts map[string]*listener
}

// New makes a network without hosts.
func New() *Network { return &Network{hosts: make(map[string]*listener)} }

// Listen has a host listen, in the place of who listened there before.
func (n *Network) Listen(host string) net.Listener {
	l := &listener{host: host, conns: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[host] = l
	return l
}

// Dial connects to a host. It has the form of net.Dialer.DialContext.
func (n *Network) Dial(ctx context.Context, _, host string) (net.Conn, error) {
	n.mu.Lock()
	l := n.hosts[host]
	n.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	if l == nil {
		return nil, refused
	}
	a, b := Pipe()
	select {
	case l.conns <- b:
		return a, nil
	case <-l.closed:
		return nil, refused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type listener struct {
	host   string
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
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: l.host} }

// A Conn is one end of a connection. Beside what net.Conn can do it can be used
// without waiting, as a socket that does not block: TryRead, TryWrite, Notify.
type Conn struct{ in, out *way }

// Pipe makes a connection.
func Pipe() (a, b *Conn) {
	x, y := newWay(), newWay()
	return &Conn{x, y}, &Conn{y, x}
}

// A way is one direction. One reads and one writes at a time.
type way struct {
	mu     sync.Mutex // guards the following
	cond   *sync.Cond
	offer  []byte // by a writer who waits
	want   []byte // by a reader who waits
	got    int    // what it was given
	ended  bool   // by the writer: nothing more comes
	broken bool   // by the reader: nobody takes any more
	news   [2]func()
	until  [2]time.Time // deadlines
	timers [2]*time.Timer
}

const (
	reading = 0
	writing = 1
)

func newWay() *way {
	w := &way{}
	w.cond = sync.NewCond(&w.mu)
	return w
}

// tell needs mu. It tells the side that does not wait that there is news.
func (w *way) tell(side int) {
	if f := w.news[side]; f != nil {
		f()
	}
}

func (w *way) late(side int) bool {
	return !w.until[side].IsZero() && !time.Now().Before(w.until[side])
}

func (w *way) read(p []byte, wait bool) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		switch {
		case w.broken:
			return 0, io.ErrClosedPipe
		case len(w.offer) > 0:
			n := copy(p, w.offer)
			w.offer = w.offer[n:]
			w.cond.Broadcast()
			return n, nil
		case w.ended:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		case !wait:
			return 0, ErrWait
		case w.late(reading):
			return 0, os.ErrDeadlineExceeded
		}
		w.want, w.got = p, 0
		w.tell(writing)
		w.cond.Wait()
		w.want = nil
		if n := w.got; n > 0 {
			w.got = 0
			return n, nil
		}
	}
}

func (w *way) write(p []byte, wait bool) (n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(p) > 0 {
		switch {
		case w.ended, w.broken:
			return n, io.ErrClosedPipe
		case wait && w.late(writing):
			return n, os.ErrDeadlineExceeded
		case len(w.want) > 0:
			w.got = copy(w.want, p)
			w.want = nil
			p, n = p[w.got:], n+w.got
			w.cond.Broadcast()
			continue
		case !wait:
			return n, nil
		}
		w.offer = p
		w.tell(reading)
		w.cond.Wait()
		n += len(p) - len(w.offer)
		p, w.offer = w.offer, nil
	}
	return n, nil
}

// end says that nothing more comes, or that nobody takes any more.
func (w *way) end(side int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if side == writing {
		w.ended = true
	} else {
		w.broken = true
	}
	w.cond.Broadcast()
	w.tell(reading)
	w.tell(writing)
}

func (w *way) deadline(side int, t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until[side] = t
	if w.timers[side] != nil {
		w.timers[side].Stop()
		w.timers[side] = nil
	}
	if !t.IsZero() {
		w.timers[side] = time.AfterFunc(time.Until(t), w.cond.Broadcast)
	}
	w.cond.Broadcast()
}

// ErrWait says that there is nothing to read yet.
var ErrWait = errors.New("memnet: nothing to read yet")

// TryRead reads what is there: ErrWait where that is nothing.
func (c *Conn) TryRead(p []byte) (int, error) { return c.in.read(p, false) }

// TryWrite writes what a reader waits for.
func (c *Conn) TryWrite(p []byte) (int, error) { return c.out.write(p, false) }

// Notify has f called when there may be something to read or room to write. It
// must not use the connection.
func (c *Conn) Notify(f func()) {
	for side, w := range []*way{reading: c.in, writing: c.out} {
		w.mu.Lock()
		w.news[side] = f
		w.mu.Unlock()
	}
}

// Ended reports whether the other side sends nothing more.
func (c *Conn) Ended() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.ended && len(c.in.offer) == 0
}

func (c *Conn) Read(p []byte) (int, error)  { return c.in.read(p, true) }
func (c *Conn) Write(p []byte) (int, error) { return c.out.write(p, true) }

// CloseWrite ends the way out.
func (c *Conn) CloseWrite() error { c.out.end(writing); return nil }

// Close ends both ways.
func (c *Conn) Close() error {
	c.out.end(writing)
	c.in.end(reading)
	c.deadline(time.Time{}, reading, writing)
	return nil
}

func (c *Conn) deadline(t time.Time, sides ...int) error {
	for _, side := range sides {
		w := c.in
		if side == writing {
			w = c.out
		}
		w.deadline(side, t)
	}
	return nil
}

// SetDeadline is that of net.Conn, like the others.
func (c *Conn) SetDeadline(t time.Time) error      { return c.deadline(t, reading, writing) }
func (c *Conn) SetReadDeadline(t time.Time) error  { return c.deadline(t, reading) }
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.deadline(t, writing) }

func (c *Conn) LocalAddr() net.Addr  { return &net.UnixAddr{Name: "memory"} }
func (c *Conn) RemoteAddr() net.Addr { return &net.UnixAddr{Name: "memory"} }
