package edge

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"headwater/live"
)

// A connState says who has a connection.
type connState uint8

const (
	running connState = iota // the goroutine that serves it, or net/http
	idle                     // the poller: it waits for a request
	held                     // the poller and an object: its request waits for the object
	ended
)

// A conn is one connection of a viewer. While it is idle or held there is no
// goroutine: whoever moves state to running under mu owns it, and serves it or
// closes it.
//
// Lock order: conn.mu, then Server.mu or object.mu.
type conn struct {
	srv  *Server
	nc   net.Conn
	id   uint64
	addr netip.Addr
	fd   int // valid until ended; used under mu

	mu      sync.Mutex // guards the following
	state   connState
	watched bool      // the poller knows fd
	since   time.Time // of state idle

	// What is held, and belongs to whoever owns the connection.
	q    *request
	head []byte // of the held request
	rest []byte // that came after it
}

// buffers hold what is read, up to the end of a head.
var buffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// watch learns the descriptor, and reports whether there is one.
func (c *conn) watch(tcp *net.TCPConn) bool {
	raw, err := tcp.SyscallConn()
	return err == nil && raw.Control(func(fd uintptr) { c.fd = int(fd) }) == nil
}

// wait leaves an idle connection to the poller.
func (c *conn) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.since = idle, time.Now()
	// Looked at after state was set: whoever drains sees it idle, or is seen here.
	if c.srv.draining.Load() {
		c.endLocked()
		return
	}
	if err := c.srv.poller.arm(c.fd, c.id, &c.watched, true); err != nil {
		c.srv.Log.Warn("poller", "err", err)
		c.endLocked()
	}
}

// hold leaves a request to the object it waits for, and its connection to the
// poller, which sees when the viewer leaves. It reports false where the object
// is there already.
func (c *conn) hold(q *request, head, rest []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.q, c.head, c.rest = q, head, rest
	if !q.object.park(c) {
		c.q, c.head, c.rest = nil, nil, nil
		return false
	}
	// From here on the object may wake it; it gets as far as mu.
	c.state = held
	if q.outcome == Hold {
		c.srv.Edge.metrics.holding.Inc()
	}
	if err := c.srv.poller.arm(c.fd, c.id, &c.watched, false); err != nil {
		c.srv.Log.Warn("poller", "err", err)
		c.departLocked()
	}
	return true
}

// wake is called by the object that a held request waits for.
func (c *conn) wake() {
	c.mu.Lock()
	if c.state != held {
		c.mu.Unlock()
		return
	}
	c.state = running
	c.mu.Unlock()
	if !c.srv.spawn(c.resume) {
		c.drop()
	}
}

// readable is called by the poller.
func (c *conn) readable() {
	c.mu.Lock()
	switch c.state {
	case idle:
		c.state = running
		c.mu.Unlock()
		if !c.srv.spawn(func() { c.serve(nil) }) {
			c.end()
		}
		return
	case held:
		// The viewer has gone: no other event is armed.
		c.departLocked()
	}
	c.mu.Unlock()
}

// departLocked ends a held connection. It needs mu.
func (c *conn) departLocked() {
	q := c.q
	c.endLocked()
	q.object.unpark(c)
	c.srv.Edge.leave(q)
}

// drop ends a connection whose held request nobody will answer.
func (c *conn) drop() {
	q := c.q
	c.end()
	c.srv.Edge.leave(q)
}

// closeIdle ends the connection if it has been idle since before t.
func (c *conn) closeIdle(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == idle && !c.since.After(t) {
		c.endLocked()
	}
}

// kill cuts the connection off, whatever it does.
func (c *conn) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.state {
	case idle:
		c.endLocked()
	case held:
		c.departLocked()
	case running:
		c.nc.Close() // its owner sees that
	}
}

func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked()
}

func (c *conn) endLocked() {
	c.state = ended
	c.q, c.head, c.rest = nil, nil, nil
	c.nc.Close()
	c.srv.forget(c)
}

// handOver leaves the connection to net/http, with what was read from it.
func (c *conn) handOver(first []byte) {
	c.mu.Lock()
	if c.watched {
		c.srv.poller.disarm(c.fd)
		c.watched = false
	}
	c.mu.Unlock()
	nc := c.nc
	if len(first) > 0 {
		nc = &handedConn{Conn: nc, first: first}
	}
	c.srv.mu.Lock()
	c.srv.away[nc] = c
	c.srv.mu.Unlock()
	select {
	case c.srv.handed.conns <- nc:
	case <-c.srv.handed.closed:
		nc.Close()
		c.srv.returned(nc, http.StateClosed)
	}
}

// serve reads and answers requests, beginning with what was read before, until
// there is nothing to do for a goroutine.
func (c *conn) serve(in []byte) {
	defer c.recover()
	buf := buffers.Get().(*[4 << 10]byte)
	defer buffers.Put(buf)
	in = append(buf[:0], in...)
	timed := false
	for {
		h, kind := parseHead(in)
		switch {
		case kind == headOther:
			c.nc.SetReadDeadline(time.Time{})
			c.handOver(append([]byte(nil), in...))
			return
		case kind == headOurs:
			if timed {
				c.nc.SetReadDeadline(time.Time{})
				timed = false
			}
			rest := in[h.length:]
			if !c.answer(&h, in[:h.length], rest) {
				return
			}
			in = in[:copy(in, rest)]
			if len(in) == 0 {
				c.wait()
				return
			}
			continue
		case len(in) >= c.srv.MaxHeaderBytes:
			c.reject(http.StatusRequestHeaderFieldsTooLarge)
			return
		case !timed:
			c.nc.SetReadDeadline(time.Now().Add(c.srv.HeaderTimeout))
			timed = true
		}
		if len(in) == cap(in) {
			in = append(make([]byte, 0, 2*cap(in)), in...)
		}
		n, err := c.nc.Read(in[len(in):cap(in)])
		in = in[:len(in)+n]
		switch {
		case n > 0:
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.reject(http.StatusRequestTimeout)
			return
		case err != nil:
			c.end()
			return
		}
	}
}

// reject answers what is not even a request, and ends the connection.
func (c *conn) reject(status int) {
	c.nc.SetWriteDeadline(time.Now().Add(time.Second))
	fmt.Fprintf(c.nc, "HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status, http.StatusText(status))
	c.end()
}

// answer serves one request. It reports whether the connection is there for
// the next one; where it is not, it has ended or its request is held.
func (c *conn) answer(h *head, raw, rest []byte) bool {
	r := h.request(c.srv.ctx, c.addr.String())
	w := c.response(h)
	q := &request{w: w, r: r, arrived: time.Now()}
	ed := c.srv.Edge
	done, err := ed.find(q)
	switch {
	case done || err != nil:
	case !q.object.isReady():
		// While it is held all that is kept of the request is its head.
		q.w, q.r = nil, nil
		if c.hold(q, append([]byte(nil), raw...), append([]byte(nil), rest...)) {
			return false
		}
		q.w, q.r = w, r
		err = ed.deliver(q)
	default:
		err = ed.deliver(q)
	}
	ed.conclude(q, err)
	if !w.finish() {
		c.end()
		return false
	}
	return true
}

// resume answers the request that was held.
func (c *conn) resume() {
	defer c.recover()
	q, raw, rest := c.q, c.head, c.rest
	c.q, c.head, c.rest = nil, nil, nil
	ed := c.srv.Edge
	if q.outcome == Hold {
		ed.metrics.holding.Dec()
	}
	h, _ := parseHead(raw)
	w := c.response(&h)
	q.w, q.r = w, h.request(c.srv.ctx, c.addr.String())
	live.AllowCORS(w.header)
	ed.conclude(q, ed.deliver(q))
	switch {
	case !w.finish():
		c.end()
	case len(rest) > 0:
		c.serve(rest)
	default:
		c.wait()
	}
}

func (c *conn) response(h *head) *response {
	return &response{
		nc: c.nc, header: make(http.Header, 16), bodyless: h.method == http.MethodHead, close: h.close || c.srv.draining.Load(),
	}
}

// recover ends a connection whose answer broke off.
func (c *conn) recover() {
	x := recover()
	if x == nil {
		return
	}
	if x != http.ErrAbortHandler {
		c.srv.Log.Error("panic", "panic", x, "stack", string(debug.Stack()))
	}
	c.end()
}
