package edge

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"headwater/live"
)

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
