package front

import (
	"bytes"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"time"

	"headwater/edge/exchange"
	"headwater/listen/plain"
)

// A connState says what a connection waits for.
type connState uint8

const (
	idle     connState = iota // its next request, or the rest of one's head
	waiting                   // an object or an event, with a request
	blocked                   // its viewer to take more of an answer, or its next turn
	parting                   // its viewer to read the last answer, and to close
	running                   // nothing: the loop is at it
	muxed                     // its streams say
	carrying                  // the body of a request
	ended
)

// turnBytes is how much one connection may write before others have their turn.
const turnBytes = 1 << 20

// turnReads is how much of what it asks is read in one.
const turnReads = 256 << 10

// A conn is one connection of a viewer, between requests a few words of memory.
// Its loop has it: only the loop's goroutine touches it, so there is no lock.
// What it waits for, and its socket, send the loop posts.
//
// Races are settled where a post is read:
//
//	who                     does                      and meanwhile             the post is read, and
//	an object               wakes a request           the viewer has left       the state is ended: nothing
//	an object               wakes a request           it waits for another      it looks, and parks again
//	an object               gets its head             the request is parking    park says so: the walk goes on
//	the viewer              leaves                    his object wakes him      whichever is read first counts
//	Close                   ends the loop             an object wakes it        the loop has ended: nothing
type conn struct {
	loop  *loop
	sock  socket
	addr  netip.Addr
	slot  int   // in the loop,
	turns int32 // and the how manyth socket there

	state    connState
	fresh    bool // nothing has come on it yet
	secure   bool // over TLS
	two      *mux // of HTTP/2; nil: HTTP/1.1
	readable bool // there may be something to read
	gone     bool // the viewer sends nothing more, or the connection broke
	close    bool // it ends with the answer
	turn     bool // its turn comes again
	since    time.Time
	in       []byte // what came and was not taken up

	// The answer that is being sent.
	q        exchange.Request // nil: none that has waited
	waitsFor exchange.Awaited // with waiting,
	until    time.Time        // and until then; zero: without end
	answer
}

// An answer is how far an answer of HTTP/1.1 has gone.
type answer struct {
	pre     []byte    // goes before what is next of the body: head, or framing
	chunked bool      // the body has no length,
	chunk   int       // bytes left of the chunk that is being sent,
	over    bool      // its last chunk is in pre
	left    int       // bytes that may be written in this turn
	taken   int       // since counted
	counted time.Time // when a writePiece was taken last
}

// happened is told of events of the socket.
func (c *conn) happened(is events) {
	if is&eventIn != 0 {
		c.readable = true
	}
	if is&eventGone != 0 {
		c.gone = true
	}
	if s, ok := c.sock.(interface{ ended() bool }); ok && s.ended() {
		c.gone = true
	}
	defer c.recover()
	switch c.state {
	case idle:
		c.serve()
	case waiting:
		if c.secure && (c.overhear() || !c.push()) || c.gone {
			c.depart()
		}
	case blocked:
		if c.secure && c.overhear() {
			c.depart()
			return
		}
		if is&eventOut != 0 {
			c.resume()
		}
	case muxed:
		c.two.happened(is)
	case parting:
		c.farewell()
	}
}

// overhear reads what comes over TLS while a request waits, and reports whether that
// is the end: the viewer says so in a record, and may leave his connection open.
func (c *conn) overhear() (end bool) {
	if !c.readable || len(c.in) > 0 {
		return false
	}
	n, more, err := c.sock.read(c.loop.buf)
	c.keepIn(c.loop.buf[:n])
	c.readable = more
	return err != nil && err != errWait
}

// push writes what is left of what was written, and reports whether that works.
func (c *conn) push() bool {
	_, err := c.sock.flush()
	return err == nil
}

// awoken goes on with a request that waited.
func (c *conn) awoken() {
	if c.state != waiting {
		return
	}
	c.waitsFor = nil
	c.count(writePiece) // it was not the viewer who was slow
	defer c.recover()
	c.resume()
}

// Wake is called by what a request waits for.
func (c *conn) Wake() { c.loop.post(post{what: awoken, conn: c}) }

// resume goes on with the answer, and with what came after its request.
func (c *conn) resume() {
	c.drive(c.q)
	if c.state == idle {
		c.serve()
	}
}

// serve reads and answers requests until there is nothing to do without waiting.
func (c *conn) serve() {
	l := c.loop
	in := c.takeIn()
	left := turnReads
	for {
		for len(in) > 0 {
			if len(in) > len(crlf) {
				in = bytes.TrimPrefix(in, crlf) // one empty line is nothing (RFC 9112, 2.2)
			}
			h, kind := parseHead(in)
			if kind == plain.Other || h.target != "" && l.srv.Edge.OfNode(h.target) {
				c.handOver(in)
				return
			}
			if kind == plain.Part || h.length > l.srv.MaxHeaderBytes {
				break
			}
			c.fresh = false
			head := in[:h.length]
			in = in[h.length:]
			c.begin(&h, head)
			if c.state != idle {
				if len(in) > 0 && c.state != ended {
					c.keepIn(in)
				}
				return
			}
		}
		if len(in) >= l.srv.MaxHeaderBytes {
			c.reject(http.StatusRequestHeaderFieldsTooLarge, dropSize)
			return
		}
		if !c.readable {
			break
		}
		if left <= 0 {
			c.soon()
			break
		}
		had := copy(l.buf, in)
		n, more, err := c.sock.read(l.buf[had:])
		left -= n
		if had == 0 && n > 0 {
			c.since = l.now // when its head began
		}
		in = l.buf[:had+n]
		switch {
		case err == errWait:
			c.readable = false
		case err != nil:
			c.end()
			return
		case !more && !c.gone:
			c.readable = false // more is an event of its own
		}
	}
	if len(in) > 0 && !c.keepHead(in) {
		return
	}
	if len(in) == 0 && !c.readable && c.loop.srv.closing.Load() {
		c.end()
	}
}

// keepHead keeps a part of a head, where there is memory for it; else the connection ends.
func (c *conn) keepHead(in []byte) bool {
	if s := c.loop.srv; len(in) > smallHead && s.Room != nil && !s.Room(int64(len(in))) {
		c.reject(http.StatusServiceUnavailable, dropMemory)
		return false
	}
	c.keepIn(in)
	return true
}

// smallHead is what is kept of a head in any case, in bytes.
const smallHead = 1 << 10

// keepIn keeps what came and is not taken up.
func (c *conn) keepIn(in []byte) {
	c.takeIn()
	c.in = append(make([]byte, 0, len(in)), in...)
	c.loop.srv.heads.Add(int64(len(in)))
}

// takeIn is what was kept.
func (c *conn) takeIn() []byte {
	in := c.in
	c.in = nil
	c.loop.srv.heads.Add(-int64(len(in)))
	return in
}

// begin takes up a request whose head has come.
func (c *conn) begin(h *head, said []byte) {
	l := c.loop
	now := l.askedAt()
	l.said = headSaid{said, c.addr, c.secure}
	l.q.Begin(exchange.Asked{Method: h.method, Path: h.path, Target: h.target, More: h.more, Said: &l.said, Coding: h.coding, Skip: h.skip, Arrived: now})
	c.close = h.close
	c.answer = answer{counted: now}
	c.drive(l.q)
}

// drive goes on with the walk of a request.
func (c *conn) drive(q exchange.Request) {
	l := c.loop
	c.state, c.left = running, turnBytes
	for {
		l.walks = q
		p := q.Walk((*connAnswer)(c))
		l.walks = nil
		switch p.Why {
		case exchange.Finished:
			c.q, c.pre = nil, nil
			c.answered()
			return
		case exchange.Cut:
			c.end()
			return
		case exchange.Full:
			c.keep(q)
			c.state = blocked
			if c.left <= 0 {
				c.soon()
			}
			return
		}
		c.keep(q)
		q = c.q
		if p.On.Park(c, p.Seen) {
			c.state, c.waitsFor, c.until = waiting, p.On, p.Until
			if c.gone {
				c.depart()
			}
			return
		}
	}
}

// soon has the connection's turn come again, once.
func (c *conn) soon() {
	if !c.turn {
		c.turn = true
		c.loop.again = append(c.loop.again, c)
	}
}

// keep makes a request that waits, and what is to be sent, the connection's own:
// until then they lie where the next will.
func (c *conn) keep(q exchange.Request) {
	if c.q == nil {
		c.q = q.Keep()
	}
	c.pre = bytes.Clone(c.pre)
}

// answered ends an answer that is sent.
func (c *conn) answered() {
	if c.close {
		c.part()
		return
	}
	c.state, c.since = idle, c.loop.now
}

// depart ends a connection whose request will not be answered.
func (c *conn) depart() {
	if c.waitsFor != nil {
		c.waitsFor.Unpark(c)
		c.waitsFor = nil
	}
	q := c.q
	c.end()
	q.Leave()
}

// part ends a connection whose last answer was written. Where the viewer has sent
// more than was read the kernel would answer a close with a reset, and throw away
// what the viewer has not taken yet (RFC 9112, 9.6).
func (c *conn) part() {
	c.sock.closeWrite()
	c.takeIn()
	c.state, c.since, c.left = parting, c.loop.now, 256<<10
	c.farewell()
}

// farewell reads past what still comes.
func (c *conn) farewell() {
	for c.left > 0 {
		n, _, err := c.sock.read(c.loop.buf)
		if err == errWait {
			return
		}
		if err != nil {
			break
		}
		c.left -= n
	}
	c.end()
}

// partingTime is how long a connection may take to end.
const partingTime = 500 * time.Millisecond

// reject answers what is not even a request, and ends the connection.
func (c *conn) reject(status int, reason string) {
	c.loop.srv.drop(reason)
	c.sock.write([]byte("HTTP/1.1 "+strconv.Itoa(status)+" "+http.StatusText(status)+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), nil)
	c.part()
}

// sweep ends the connection where it has been still for too long, and says why.
func (c *conn) sweep(now time.Time) (reason string) {
	s := c.loop.srv
	since := now.Sub(c.since)
	switch {
	case c.state == muxed:
		return c.two.sweep(now)
	case c.state == idle && len(c.in) > 0 && since >= s.HeaderTimeout:
		c.reject(http.StatusRequestTimeout, dropHeader)
	case c.state == idle && c.fresh && since >= s.HeaderTimeout:
		c.end()
		return dropSilent
	case c.state == idle && len(c.in) == 0 && since >= s.IdleTimeout:
		c.end()
		return dropIdle
	case c.state == blocked && now.Sub(c.counted) > s.WriteTimeout:
		c.depart()
		return dropSlow
	case c.state == waiting && !c.until.IsZero() && now.After(c.until):
		c.waitsFor.Unpark(c)
		c.awoken()
	case c.state == parting && since >= partingTime:
		c.end()
	}
	return ""
}

// endIdle ends the connection where no request of it is on its way.
func (c *conn) endIdle() {
	switch {
	case c.state == idle && len(c.in) == 0:
		c.end()
	case c.state == muxed:
		c.two.after()
	}
}

// kill cuts the connection off, whatever it does.
func (c *conn) kill() {
	if c.q != nil {
		c.depart()
		return
	}
	c.end()
}

// end closes the connection.
func (c *conn) end() {
	if c.state == ended {
		return
	}
	c.sock.close()
	c.leave()
	c.loop.srv.forget(c.addr)
}

// leave takes the connection out of its loop.
func (c *conn) leave() {
	c.takeIn()
	c.state, c.q, c.pre = ended, nil, nil
	if c.two != nil {
		c.two.leaveAll()
	}
	c.loop.remove(c)
}

// recover ends a connection whose walk failed.
func (c *conn) recover() {
	x := recover()
	if x == nil {
		return
	}
	c.loop.srv.Log.Error("panic", "panic", x, "stack", string(debug.Stack()))
	c.end()
	if q := c.loop.walks; q != nil { // it holds what others may wait for
		c.loop.walks = nil
		q.Leave()
	}
}

// handOver leaves the connection to net/http, with what was read from it.
func (c *conn) handOver(first []byte) {
	first = bytes.Clone(first)
	nc, err := c.sock.handOver()
	if err != nil {
		c.loop.srv.Log.Warn("handing over", "err", err)
		c.end()
		return
	}
	c.leave()
	c.loop.srv.handOver(nc, c.addr, first)
}

// A connAnswer is the way of an answer on a connection of HTTP/1.1.
type connAnswer conn

// Fields is where the head of an answer is made.
func (c *connAnswer) Fields(status int, now time.Time) *exchange.Fields {
	f := &c.loop.f
	f.Bytes = f.Bytes[:0]
	f.Begin(status, now)
	return f
}

// Begin ends the head, and says how the body is framed.
func (c *connAnswer) Begin(text []byte, size int64) {
	f := &c.loop.f
	if c.chunked = size < 0; c.chunked {
		f.Bytes = append(f.Bytes, "Transfer-Encoding: chunked\r\n"...)
	}
	if c.close = c.close || c.loop.srv.draining.Load(); c.close {
		f.Bytes = append(f.Bytes, "Connection: close\r\n"...)
	}
	if c.secure {
		if alt := c.loop.srv.altSvc.Load(); alt != nil {
			f.Put("Alt-Svc", *alt)
		}
	}
	f.Bytes = append(append(f.Bytes, "\r\n"...), text...)
	c.pre = f.Bytes
}

// Write writes what the socket takes of a piece of the body, and of what goes
// before it.
func (c *connAnswer) Write(piece []byte) (n int, err error) {
	for n < len(piece) && c.left > 0 {
		p := piece[n:min(len(piece), n+c.left)]
		if c.chunked {
			if c.chunk == 0 {
				c.chunk = len(p)
				c.pre = append(strconv.AppendInt(c.pre, int64(c.chunk), 16), "\r\n"...)
			}
			p = p[:min(len(p), c.chunk)]
		}
		m, err := c.put(p)
		n += m
		if c.chunked && m > 0 {
			if c.chunk -= m; c.chunk == 0 {
				c.pre = append(c.pre[:0], "\r\n"...)
			}
		}
		if err != nil || m < len(p) {
			return n, err
		}
	}
	return n, nil
}

// put writes what is in pre and then p, and returns how much of p went.
func (c *connAnswer) put(p []byte) (int, error) {
	n, err := c.sock.write(c.pre, p)
	c.left -= n
	c.loop.spent(n)
	c.count(n)
	if n < len(c.pre) {
		c.pre = c.pre[n:]
		return 0, err
	}
	n -= len(c.pre)
	c.pre = c.pre[:0]
	return n, err
}

// End writes what is left.
func (c *connAnswer) End() (all bool, err error) {
	if c.chunked && !c.over {
		c.pre, c.over = append(c.pre, "0\r\n\r\n"...), true
	}
	if len(c.pre) > 0 {
		if _, err = c.put(nil); err != nil || len(c.pre) > 0 {
			return false, err
		}
	}
	return c.sock.flush()
}

// count notes how much the viewer has taken.
func (a *answer) count(n int) {
	if a.taken += n; a.taken >= writePiece {
		a.taken, a.counted = 0, time.Now()
	}
}
