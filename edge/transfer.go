package edge

import (
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"headwater/live"
)

// turnBytes is how much one connection may write before others have their turn.
const turnBytes = 1 << 20

// A transfer is a plain answer on its way: the head, and a whole body of known
// length. It is written as far as the viewer's socket takes it; then it waits
// for the viewer, or for more of the body, without a goroutine.
type transfer struct {
	head []byte // what it has in common with the answers to others; never changed
	own  []byte // the rest of the head
	sent int    // bytes of head and body

	counted time.Time // when sent was last a writePiece further
	mark    int       // what it was then
}

// body is how much of the body is sent.
func (t *transfer) body() int { return max(t.sent-len(t.head)-len(t.own), 0) }

// slow reports whether less than a writePiece was taken since at.
func (t *transfer) slow(at time.Time) bool { return t.counted.Before(at) }

// progress counts what was taken.
func (t *transfer) progress(n int) {
	if t.sent += n; t.sent-t.mark >= writePiece {
		t.mark, t.counted = t.sent, time.Now()
	}
}

// rest says that the viewer has taken all that there was.
func (t *transfer) rest() { t.mark, t.counted = t.sent, time.Now() }

// pieces appends what is to be written, given what is there of the body.
func (t *transfer) pieces(list [][]byte, data []byte) [][]byte {
	skip, room := t.sent, turnBytes
	for _, p := range [3][]byte{t.head, t.own, data} {
		if skip >= len(p) {
			skip -= len(p)
			continue
		}
		p = p[skip:min(len(p), skip+room)]
		skip, room = 0, room-len(p)
		if len(p) > 0 {
			list = append(list, p)
		}
	}
	return list
}

// A progress says what became of an answer.
type progress uint8

const (
	unfit  progress = iota // nothing was sent: another way must answer
	sent                   // all of it; the connection is there for the next
	parted                 // it waits, or the connection has ended: it is another's
)

// transfer goes on with the answer to c.q, or begins it.
func (c *conn) transfer() progress {
	if c.out == nil && !c.begin() {
		return unfit
	}
	t, o := c.out, c.q.object
	for {
		data, done, _, err := o.view()
		if err != nil {
			// It must not look complete.
			if t.sent == 0 {
				c.out = nil
				return unfit
			}
			c.finish()
			c.end()
			return parted
		}
		list := t.pieces(make([][]byte, 0, 3), data)
		if len(list) == 0 {
			if done {
				return c.complete()
			}
			if c.starve() {
				return parted
			}
			continue
		}
		want := 0
		for _, p := range list {
			want += len(p)
		}
		var n int
		var werr error
		if rerr := c.raw.Write(func(fd uintptr) bool { n, werr = writev(fd, list); return true }); rerr != nil {
			werr = rerr
		}
		before := t.body()
		t.progress(n)
		c.srv.Edge.metrics.bytes.Add(float64(t.body() - before))
		switch {
		case werr != nil:
			c.srv.Edge.metrics.left.Inc()
			c.finish()
			c.end()
			return parted
		case n < want:
			c.block()
			return parted
		case n >= turnBytes:
			c.srv.writers.add(c)
			return parted
		}
	}
}

// begin makes the head of the answer. It reports false where the answer is not
// a plain one.
func (c *conn) begin() bool {
	q := c.q
	o := q.object
	if o.err != nil || o.size < 0 {
		return false
	}
	if _, _, _, err := o.view(); err != nil {
		return false
	}
	c.srv.Edge.met(q)
	now := time.Now()
	closes := c.close || c.srv.draining.Load()
	own := make([]byte, 0, 64)
	own = append(own, live.HeaderServerTiming+": "...)
	own = append(own, q.step()...)
	own = append(own, ";dur="...)
	own = strconv.AppendFloat(own, float64(now.Sub(q.arrived))/float64(time.Millisecond), 'f', 1, 64)
	if closes {
		own = append(own, "\r\nConnection: close"...)
	}
	own = append(own, headEnd...)
	c.close = closes
	c.srv.Edge.metrics.answered(q, o.status, o.problem)
	c.out = &transfer{head: c.srv.Edge.commonHead(q, now), own: own, counted: now}
	return true
}

// complete ends an answer that is sent.
func (c *conn) complete() progress {
	c.finish()
	if c.close {
		c.hangUp(len(c.rest) > 0)
		return parted
	}
	c.letGo()
	return sent
}

// finish gives back what the request held, and counts it.
func (c *conn) finish() {
	q := c.q
	c.srv.Edge.release(q)
	c.srv.Edge.conclude(q, nil)
}

// A commonHead is the head of an answer but for what is each viewer's own. A
// crowd that is released together shares it: to make it takes longer than to
// send it.
type commonHead struct {
	of    headKey
	bytes []byte
}

// A headKey is all that a commonHead depends on.
type headKey struct {
	milli   int64 // of Unix time
	view    *view
	told    int64
	outcome Outcome
	disk    bool
	began   bool
}

type sharedHead = atomic.Pointer[commonHead]

// commonHead returns the head for a viewer of q's object: the same for a
// millisecond, while nothing else is to be told.
func (ed *Edge) commonHead(q *request, now time.Time) []byte {
	o := q.object
	key := headKey{milli: now.UnixMilli(), view: q.view, told: q.event.told.Load(), outcome: q.outcome, disk: q.fromDisk, began: q.began}
	if h := o.heads.Load(); h != nil && h.of == key {
		return h.bytes
	}
	w := &response{header: make(http.Header, 24)}
	q.w = w
	live.AllowCORS(w.header)
	// By the end of the millisecond, so that nobody is told too long a life.
	ed.describe(q, endOfMilli(now))
	q.w = nil
	delete(w.header, live.HeaderServerTiming)
	w.header.Set("Content-Length", strconv.FormatInt(o.size, 10))
	h := &commonHead{key, appendHead(make([]byte, 0, 1<<10), o.status, w.header, now)}
	o.heads.Store(h)
	return h.bytes
}

// endOfMilli keeps the monotonic clock in t, which Truncate would strip: else a
// step of the system's clock would lengthen lives.
func endOfMilli(t time.Time) time.Time {
	return t.Add(time.Millisecond - time.Duration(t.Nanosecond())%time.Millisecond)
}

// writers go on with answers that waited: a few goroutines for any crowd, since
// none of them waits for a viewer.
type writers struct {
	srv *Server

	mu    sync.Mutex // guards the following
	queue []*conn    // that run, each with an answer to go on with
	count int        // goroutines
}

// add takes over a connection that runs.
func (ws *writers) add(c *conn) {
	ws.mu.Lock()
	ws.queue = append(ws.queue, c)
	more := ws.count < runtime.GOMAXPROCS(0)
	if more {
		ws.count++
	}
	ws.mu.Unlock()
	if more && !ws.srv.spawn(ws.work) {
		ws.work() // the server is closing: they end at once
	}
}

func (ws *writers) work() {
	for {
		ws.mu.Lock()
		if len(ws.queue) == 0 {
			ws.queue = nil
			ws.count--
			ws.mu.Unlock()
			return
		}
		batch := ws.queue[:min(len(ws.queue), 16)]
		ws.queue = ws.queue[len(batch):]
		ws.mu.Unlock()
		for i, c := range batch {
			batch[i] = nil
			c.resume()
		}
	}
}
