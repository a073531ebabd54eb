package edge

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"headwater/live"
)

// A connState says who has a connection.
type connState uint8

const (
	running connState = iota // a goroutine that serves it, or net/http
	idle                     // the poller: it waits for a request
	held                     // the poller and an object: its request waits for the object's head
	starved                  // the poller and an object: its answer waits for more of the body
	blocked                  // the poller: its answer waits for the viewer to read
	ended
)

// A conn is one connection of a viewer. Unless it is running there is no
// goroutine: whoever moves state to running under mu owns it, and serves it or
// closes it.
//
// Lock order: conn.mu, then Server.mu or object.mu.
type conn struct {
	srv  *Server
	nc   net.Conn
	raw  syscall.RawConn
	id   uint64
	addr netip.Addr
	fd   int // valid until ended; used under mu

	mu      sync.Mutex // guards the following
	state   connState
	watched bool      // the poller knows fd
	since   time.Time // of state idle
	fresh   bool      // nothing has come on it yet

	// What is being answered, and belongs to whoever owns the connection.
	q     *request
	head  []byte    // of the request, where the answer depends on it
	close bool      // the connection ends with the answer
	rest  []byte    // that came after the head
	out   *transfer // the answer, once begun
}

// buffers hold what is read, up to the end of a head.
var buffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// watch learns the descriptor, and reports whether there is one.
func (c *conn) watch(tcp *net.TCPConn) bool {
	var err error
	c.raw, err = tcp.SyscallConn()
	return err == nil && c.raw.Control(func(fd uintptr) { c.fd = int(fd) }) == nil
}

// wait leaves an idle connection to the poller.
func (c *conn) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.since = idle, time.Now()
	// Looked at after state was set: whoever closes sees it idle, or is seen here.
	if c.srv.closing.Load() {
		c.endLocked()
		return
	}
	if err := c.srv.poller.arm(c.fd, c.id, &c.watched, pollIn); err != nil {
		c.srv.Log.Warn("poller", "err", err)
		c.endLocked()
	}
}

// hold leaves a request to the object it waits for, and its connection to the
// poller, which sees when the viewer leaves. It reports false where the object
// is there already.
func (c *conn) hold(q *request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !q.object.park(c, headOnly) {
		return false
	}
	// From here on the object may wake it; it gets as far as mu.
	c.state = held
	if q.outcome == Hold {
		c.srv.Edge.metrics.holding.Inc()
	}
	c.armLocked(pollGone)
	return true
}

// starve leaves an answer to the object that has no more of it yet. It reports
// false where there is more.
func (c *conn) starve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.q.object.park(c, c.out.body()) {
		return false
	}
	c.state = starved
	c.armLocked(pollGone)
	return true
}

// block leaves an answer until the viewer has read some of it.
func (c *conn) block() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = blocked
	c.armLocked(pollOut)
}

// armLocked needs mu. Where the poller fails the request ends.
func (c *conn) armLocked(events uint32) {
	if err := c.srv.poller.arm(c.fd, c.id, &c.watched, events); err != nil {
		c.srv.Log.Warn("poller", "err", err)
		c.departLocked()
	}
}

// wake is called by the object that a request waits for.
func (c *conn) wake() {
	c.mu.Lock()
	if c.state != held && c.state != starved {
		c.mu.Unlock()
		return
	}
	if c.state == starved {
		c.out.rest() // it was not the viewer who was slow
	}
	c.runLocked()
	c.mu.Unlock()
	c.srv.writers.add(c)
}

// runLocked needs mu.
func (c *conn) runLocked() {
	if c.state == held && c.q.outcome == Hold {
		c.srv.Edge.metrics.holding.Dec()
	}
	c.state = running
}

// ready is called by the poller.
func (c *conn) ready() {
	c.mu.Lock()
	switch c.state {
	case idle:
		c.state, c.fresh = running, false
		c.mu.Unlock()
		if !c.srv.spawn(func() { c.serve(nil) }) {
			c.end()
		}
		return
	case blocked:
		c.runLocked()
		c.mu.Unlock()
		c.srv.writers.add(c)
		return
	case held, starved:
		// The viewer has gone: no other event is armed.
		c.departLocked()
	}
	c.mu.Unlock()
}

// departLocked ends a connection with a request that waits. It needs mu.
func (c *conn) departLocked() {
	q, state := c.q, c.state
	c.runLocked()
	c.endLocked()
	if state != blocked {
		q.object.unpark(c)
	}
	c.srv.Edge.leave(q)
}

// drop ends a connection that runs, whose request nobody will answer.
func (c *conn) drop() {
	q := c.q
	c.end()
	c.srv.Edge.leave(q)
}

// closeSlow ends the connection if the viewer has read too little since t.
func (c *conn) closeSlow(t time.Time) (reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != blocked || !c.out.slow(t) {
		return ""
	}
	c.departLocked()
	return dropSlow
}

// closeIdle ends the connection if it has been idle since before t, or silent
// since before the other, and returns which.
func (c *conn) closeIdle(t, silent time.Time) (reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state != idle:
		return ""
	case c.fresh && !c.since.After(silent):
		reason = dropSilent
	case !c.fresh && !c.since.After(t):
		reason = dropIdle
	default:
		return ""
	}
	c.endLocked()
	return reason
}

// kill cuts the connection off, whatever it does.
func (c *conn) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.state {
	case idle:
		c.endLocked()
	case held, starved, blocked:
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
	c.q, c.head, c.rest, c.out = nil, nil, nil, nil
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
			c.reject(http.StatusRequestHeaderFieldsTooLarge, dropSize)
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
			c.reject(http.StatusRequestTimeout, dropHeader)
			return
		case err != nil:
			c.end()
			return
		}
	}
}

// reject answers what is not even a request, and ends the connection.
func (c *conn) reject(status int, reason string) {
	c.srv.drop(reason)
	c.nc.SetWriteDeadline(time.Now().Add(time.Second))
	fmt.Fprintf(c.nc, "HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status, http.StatusText(status))
	farewell(c.nc)
	c.end()
}

// answer serves one request. It reports whether the connection is there for
// the next one; where it is not, it has ended, or waits and is another's.
func (c *conn) answer(h *head, raw, rest []byte) bool {
	r := h.request(c.srv.ctx, c.addr.String())
	w := c.response(h)
	q := &request{w: w, r: r, arrived: time.Now()}
	ed := c.srv.Edge
	done, err := ed.find(q)
	if done || err != nil {
		return c.conclude(q, w, err)
	}
	c.q, c.close, c.rest = q, h.close, bytes.Clone(rest)
	if !h.plain {
		c.head = bytes.Clone(raw)
	}
	if !q.object.isReady() {
		// While it is held all that is kept of the request is its head.
		q.w, q.r = nil, nil
		if c.hold(q) {
			return false
		}
		q.w, q.r = w, r
	}
	if h.plain {
		switch c.transfer() {
		case sent:
			return true
		case parted:
			return false
		}
		q.w, q.r = w, r
	}
	c.letGo()
	return c.conclude(q, w, ed.deliver(q))
}

// conclude ends a request whose answer went through w.
func (c *conn) conclude(q *request, w *response, err error) bool {
	c.srv.Edge.conclude(q, err)
	if !w.finish() {
		if w.slow {
			c.srv.drop(dropSlow)
		}
		if w.err != nil {
			c.end()
		} else {
			c.hangUp(false)
		}
		return false
	}
	return true
}

// hangUp ends a connection whose last answer was sent. Where the viewer has sent
// more than was read the kernel would answer a close with a reset, and throw away
// what the viewer has not taken yet (RFC 9112, 9.6).
func (c *conn) hangUp(unread bool) {
	if unread || pending(c.raw) {
		if c.srv.spawn(func() { farewell(c.nc); c.end() }) {
			return
		}
	}
	c.end()
}

// letGo takes the request off the connection.
func (c *conn) letGo() (rest []byte) {
	rest = c.rest
	c.q, c.head, c.rest, c.out = nil, nil, nil, nil
	return rest
}

// resume goes on with a request that waited. It does not block.
func (c *conn) resume() {
	defer c.recover()
	if c.head == nil {
		switch rest := c.rest; c.transfer() {
		case sent:
			c.next(rest)
			return
		case parted:
			return
		}
	}
	if !c.srv.spawn(c.resumeByHandler) {
		c.drop()
	}
}

// resumeByHandler answers what is not a plain transfer, or not any more.
func (c *conn) resumeByHandler() {
	defer c.recover()
	q, h := c.q, head{method: http.MethodGet, close: c.close}
	if c.head != nil {
		h, _ = parseHead(c.head)
		q.r = h.request(c.srv.ctx, c.addr.String())
	} else {
		q.r = plainRequest(c.srv.ctx, q.path, h.close)
	}
	w := c.response(&h)
	q.w = w
	live.AllowCORS(w.header)
	rest := c.letGo()
	if c.conclude(q, w, c.srv.Edge.deliver(q)) {
		c.next(rest)
	}
}

// next goes on with what came after a request.
func (c *conn) next(rest []byte) {
	if len(rest) == 0 {
		c.wait()
		return
	}
	if !c.srv.spawn(func() { c.serve(rest) }) {
		c.end()
	}
}

func (c *conn) response(h *head) *response {
	return &response{
		nc: c.nc, header: make(http.Header, 16), bodyless: h.method == http.MethodHead, close: h.close || c.srv.draining.Load(),
		timeout: c.srv.Edge.cfg.WriteTimeout,
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
