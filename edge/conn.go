package edge

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"
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
