package world

import (
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// window is how many bytes may be under way on a connection or wait to be read.
const window = 128 << 10

// A conn is one end of a connection. Like a socket it can be used without waiting
// too, as edges' loops do.
type conn struct {
	n       *network
	in, out *flow
	peer    *conn
	once    sync.Once
	closed  bool // guarded by n.mu
}

// A flow is one direction of a connection: it has packets that arrive in order.
type flow struct {
	n    *network
	way  link
	back *flow // the other direction

	mu      sync.Mutex // guards the following
	cond    *sync.Cond
	flying  []packet // in order; each has a timer, but for those that were lost
	lost    bool     // what flies waits for the link
	last    time.Time
	ready   []byte
	pending int  // bytes that were written and not read
	ended   bool // the writer's end has arrived
	shut    bool // the writer writes no more
	deaf    bool // the reader has closed its end
	unknown bool // as of another run: its machine knows nothing of it
	void    bool // nor can it say so: nobody answers what arrives
	broken  bool // reset: neither side has any use of it
	news    [2]func()
	until   [2]time.Time
	timers  [2]*time.Timer
}

type packet struct {
	b   []byte
	end bool
}

const (
	reading = iota
	writing
)

func newFlow(n *network, way link) *flow {
	f := &flow{n: n, way: way}
	f.cond = sync.NewCond(&f.mu)
	return f
}

// tell needs mu.
func (f *flow) tell() {
	f.cond.Broadcast()
	for _, news := range f.news {
		if news != nil {
			news()
		}
	}
}

// send needs mu. It puts a packet on its way.
func (f *flow) send(p packet) {
	f.flying = append(f.flying, p)
	if !f.lost {
		f.time()
	}
}

// time needs mu: it sets when the newest packet arrives. The delay is the
// network's, whose lock comes first: the flow's is let go meanwhile.
func (f *flow) time() {
	f.mu.Unlock()
	d, cut := f.n.delay(f.way)
	drip := f.n.dripping(f.way)
	f.mu.Lock()
	if cut || f.lost {
		f.lost = true
		return
	}
	at := time.Now().Add(d)
	if !at.After(f.last.Add(drip)) {
		at = f.last.Add(max(drip, time.Microsecond))
	}
	f.last = at
	time.AfterFunc(time.Until(at), f.arrive)
}

// arrive has the first packet that flies be there.
func (f *flow) arrive() {
	if f.arrived(f.n.lost(f.way)) {
		f.back.reset()
	}
}

// arrived reports whether who gets the packet knows nothing of the connection.
func (f *flow) arrived(cut bool) (unknown bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.flying) == 0 || f.broken {
		return false
	}
	if cut || f.lost {
		f.lost = true
		return false
	}
	p := f.flying[0]
	f.flying = f.flying[1:]
	if f.void {
		return false
	}
	if f.deaf && len(p.b) > 0 {
		// Nobody reads it: the writer is told so.
		f.broken = true
		unknown = f.unknown
	}
	f.ready = append(f.ready, p.b...)
	f.ended = f.ended || p.end
	f.tell()
	return unknown
}

// resume sends again what was lost.
func (f *flow) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.lost {
		return
	}
	f.lost = false
	for range f.flying {
		f.time()
	}
}

func (f *flow) late(side int) bool {
	return !f.until[side].IsZero() && !time.Now().Before(f.until[side])
}

func (f *flow) read(p []byte, wait bool) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.deaf:
			return 0, net.ErrClosed
		case f.broken:
			return 0, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		case len(f.ready) > 0:
			n := copy(p, f.ready)
			f.ready = f.ready[n:]
			f.pending -= n
			f.tell()
			return n, nil
		case f.ended:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		case !wait:
			return 0, errNothing
		case f.late(reading):
			return 0, os.ErrDeadlineExceeded
		}
		f.cond.Wait()
	}
}

func (f *flow) write(p []byte, wait bool) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(p) > 0 {
		switch {
		case f.shut:
			return n, net.ErrClosed
		case f.broken:
			return n, &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
		case wait && f.late(writing):
			return n, os.ErrDeadlineExceeded
		}
		if room := window - f.pending; room > 0 {
			most := min(room, len(p))
			if f.n.dripping(f.way) > 0 {
				most = min(most, 200)
			}
			part := slices.Clone(p[:most])
			f.pending += len(part)
			p, n = p[len(part):], n+len(part)
			f.send(packet{b: part})
			continue
		}
		if !wait {
			return n, nil
		}
		f.cond.Wait()
	}
	return n, nil
}

func (f *flow) shutdown() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.shut && !f.broken {
		f.shut = true
		f.send(packet{end: true})
		f.tell()
	}
}

func (f *flow) set(change func(f *flow)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
	for side := range f.timers {
		if f.timers[side] != nil && (f.broken || f.until[side].IsZero()) {
			f.timers[side].Stop()
			f.timers[side] = nil
		}
	}
	f.tell()
}

func (f *flow) deadline(side int, t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until[side] = t
	if f.timers[side] != nil {
		f.timers[side].Stop()
		f.timers[side] = nil
	}
	if !t.IsZero() {
		f.timers[side] = time.AfterFunc(time.Until(t), f.cond.Broadcast)
	}
	f.cond.Broadcast()
}

// reset breaks both ways at once.
func (c *conn) reset() {
	c.n.closed(c, true)
	c.in.reset()
	c.out.reset()
}

func (f *flow) reset() { f.set(func(f *flow) { f.broken = true }) }

// vanish ends this end without a word, as where its machine is without power: what it has
// sent may still arrive, nothing else is heard of it, and the other end is half open.
func (c *conn) vanish() {
	c.n.closed(c, false)
	c.out.set(func(f *flow) { f.shut, f.until[writing] = true, time.Time{} })
	c.in.set(func(f *flow) { f.deaf, f.unknown, f.void, f.until[reading] = true, true, true, time.Time{} })
}

// reappear has the machine of an end that vanished be there again: it knows nothing of the
// connection, and says so to whoever sends something, again or for the first time.
func (c *conn) reappear() {
	c.in.mu.Lock()
	again := c.in.void && c.in.pending > 0
	c.in.void = false
	c.in.mu.Unlock()
	if again {
		c.reset()
	}
}

func (c *conn) Read(p []byte) (int, error)     { return c.in.read(p, true) }
func (c *conn) Write(p []byte) (int, error)    { return c.out.write(p, true) }
func (c *conn) TryRead(p []byte) (int, error)  { return c.in.read(p, false) }
func (c *conn) TryWrite(p []byte) (int, error) { return c.out.write(p, false) }
func (c *conn) CloseWrite() error              { c.out.shutdown(); return nil }

// Notify has f called when there may be something to read or room to write. It
// must not use the connection.
func (c *conn) Notify(f func()) {
	c.in.mu.Lock()
	c.in.news[reading] = f
	c.in.mu.Unlock()
	c.out.mu.Lock()
	c.out.news[writing] = f
	c.out.mu.Unlock()
}

// Ended reports whether the other side sends nothing more.
func (c *conn) Ended() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.broken || c.in.ended && len(c.in.ready) == 0
}

func (c *conn) Close() error {
	c.once.Do(func() {
		c.n.closed(c, false)
		c.out.shutdown()
		c.in.set(func(f *flow) { f.deaf, f.until[reading] = true, time.Time{} })
		c.out.set(func(f *flow) { f.until[writing] = time.Time{} })
	})
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	c.in.deadline(reading, t)
	c.out.deadline(writing, t)
	return nil
}
func (c *conn) SetReadDeadline(t time.Time) error  { c.in.deadline(reading, t); return nil }
func (c *conn) SetWriteDeadline(t time.Time) error { c.out.deadline(writing, t); return nil }
func (c *conn) LocalAddr() net.Addr                { return address(c.out.way.from + ":1") }
func (c *conn) RemoteAddr() net.Addr               { return address(c.in.way.from + ":1") }
