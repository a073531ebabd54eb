package front

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"headwater/edge/exchange"
	"headwater/edge/front/h2"
)

// A loop drives the walks of many connections, with one goroutine that waits for
// none of them: all that it does to a connection either works at once, or is
// tried again when it is told of news. Nobody else touches its connections;
// others send it posts.
//
// Lock order: loop.mu is taken alone. Whoever wakes has let go of the object or
// the event before.
type loop struct {
	srv    *Server
	poller *poller // nil: all that happens comes by post
	count  atomic.Int32
	rounds atomic.Int64 // the squares of how long they took, summed up, in microseconds

	// Of the loop's goroutine alone.
	conns      []*conn // by slot; nil: free
	free       []int
	again      []*conn // that have had their turn
	now        time.Time
	asks       int // that have come since now
	swept      time.Time
	buf        []byte          // what was read last
	raw        []byte          // the same, before it was opened
	out        []byte          // what is sealed, and written next
	packed     exchange.Fields // f of HTTP/2
	limits     h2.Limits
	shared     h2.Shared
	streams    []*stream        // that are over
	turns      []*stream        // that go on now
	f          exchange.Fields  // the head that is being made
	q          exchange.Request // that is begun next
	walks      exchange.Request // that is at it just now
	said       headSaid         // of the request that is being taken up
	packedSaid packedSaid       // the same, of HTTP/2
	events     []happening
	turn       int32 // counts the sockets that were watched

	mu     sync.Mutex // guards the following
	posts  []post
	spare  []post
	asleep bool // or about to be: it must be woken
	ended  bool
	signal chan struct{} // capacity 1: wakes a loop without a poller
}

// A post is what others send a loop.
type post struct {
	what   news
	conn   *conn
	stream *stream // with awoken, where one waited
	event  events  // with happened
	do     func()  // with call
}

type news uint8

const (
	opened   news = iota // a connection is the loop's from now on
	awoken               // what it waited for is there
	happened             // to its socket
	call
	stop
)

// events are what may happen to a socket.
type events uint8

const (
	eventIn   events = 1 << iota // there is something to read, or the end
	eventOut                     // there is room to write
	eventGone                    // the other side sends nothing more, or the connection broke
)

type happening struct {
	conn *conn
	is   events
}

func newLoop(s *Server, p *poller) *loop {
	return &loop{srv: s, poller: p, buf: make([]byte, s.MaxHeaderBytes+40<<10), raw: make([]byte, 64<<10), packed: exchange.Fields{Packed: true}, limits: h2.Limits{Streams: s.MaxStreams, HeaderBytes: s.MaxHeaderBytes}, signal: make(chan struct{}, 1), now: time.Now(), swept: time.Now(), q: s.Edge.Request()}
}

// post sends a loop word. It reports false where the loop has ended.
func (l *loop) post(p post) bool {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return false
	}
	l.posts = append(l.posts, p)
	if l.asleep {
		l.asleep = false
		l.rouse()
	}
	l.mu.Unlock()
	return true
}

// rouse wakes the loop. It needs mu: a loop that has ended closes what it is woken by,
// and the descriptor's number may be another's at once. It waits for nothing.
func (l *loop) rouse() {
	if l.poller != nil {
		l.poller.wake()
		return
	}
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// call has the loop run f, and waits for that, or for the loop's end.
func (l *loop) call(f func()) {
	done := make(chan struct{})
	if l.post(post{what: call, do: func() { defer close(done); f() }}) {
		<-done
	}
}

// run is the loop's goroutine.
func (l *loop) run() {
	for {
		l.wait()
		began := time.Now()
		l.now, l.asks = began, 0
		for _, e := range l.events {
			e.conn.happened(e.is)
		}
		again := l.again
		l.again = nil
		for _, c := range again {
			c.turn = false
			c.happened(eventOut)
		}
		if l.read() {
			return
		}
		runtime.Gosched()
		took := time.Since(began).Microseconds()
		l.rounds.Add(took * took)
		if every := l.srv.every(); l.now.Sub(l.swept) >= every {
			l.swept = l.now
			l.sweep()
		}
	}
}

// asksAtOnce may come at one time: as many refusals take some tens of microseconds, and
// to look at the clock is a part of each that shows.
const asksAtOnce = 8

// askedAt is the time at which a request is taken up.
func (l *loop) askedAt() time.Time {
	if l.asks++; l.asks > asksAtOnce {
		l.now, l.asks = time.Now(), 1
	}
	return l.now
}

// spent has the loop look at the clock again where something has taken a while: to write
// so many bytes, or to let others go first.
func (l *loop) spent(bytes int) {
	if bytes >= 16<<10 {
		l.asks = asksAtOnce
	}
}

// wait waits until there is something to do.
func (l *loop) wait() {
	l.events = l.events[:0]
	l.mu.Lock()
	ready := len(l.posts) > 0 || len(l.again) > 0
	l.asleep = !ready
	l.mu.Unlock()
	timeout := time.Duration(-1)
	if l.count.Load() > 0 {
		timeout = max(l.srv.every()-l.now.Sub(l.swept), 0)
	}
	if ready {
		timeout = 0
	}
	if l.poller != nil {
		l.poller.wait(l, timeout)
	} else if timeout != 0 {
		var tick <-chan time.Time
		if timeout > 0 {
			t := time.NewTimer(timeout)
			defer t.Stop()
			tick = t.C
		}
		select {
		case <-l.signal:
		case <-tick:
		}
	}
	l.mu.Lock()
	l.asleep = false
	l.mu.Unlock()
}

// read does what was posted, and reports whether this is the end.
func (l *loop) read() (end bool) {
	l.mu.Lock()
	posts := l.posts
	l.posts, l.spare = l.spare[:0], nil
	l.mu.Unlock()
	for i := range posts {
		p := &posts[i]
		if i%64 == 63 {
			runtime.Gosched() // who fills what is sent here
			l.asks = asksAtOnce
		}
		switch p.what {
		case opened:
			l.open(p.conn)
		case awoken:
			if p.stream != nil {
				p.stream.awoken()
			} else {
				p.conn.awoken()
			}
		case happened:
			p.conn.happened(p.event)
		case call:
			p.do()
		case stop:
			end = true
		}
		*p = post{}
	}
	l.mu.Lock()
	if cap(posts) < 4<<10 {
		l.spare = posts[:0]
	}
	if end {
		end = len(l.posts) == 0
		if !end {
			l.posts = append(l.posts, post{what: stop})
		}
		l.ended = end
	}
	l.mu.Unlock()
	if end {
		l.each(func(c *conn) { c.kill() })
	}
	return end
}

// open takes on a connection.
func (l *loop) open(c *conn) {
	if n := len(l.free); n > 0 {
		c.slot = l.free[n-1]
		l.free = l.free[:n-1]
		l.conns[c.slot] = c
	} else {
		c.slot = len(l.conns)
		l.conns = append(l.conns, c)
	}
	c.state, c.since = idle, l.now
	if err := c.sock.watch(l, c); err != nil {
		l.srv.Log.Warn("poller", "err", err)
		c.end()
		return
	}
	if c.two != nil {
		c.two.open()
	}
}

// remove forgets a connection.
func (l *loop) remove(c *conn) {
	l.conns[c.slot] = nil
	l.free = append(l.free, c.slot)
	l.count.Add(-1)
}

// each does something to every connection; it ends those where that fails.
func (l *loop) each(f func(*conn)) {
	one := func(c *conn) {
		defer c.recover()
		f(c)
	}
	for _, c := range l.conns {
		if c != nil {
			one(c)
		}
	}
}

// sweep closes connections that have been idle for too long, and those of
// viewers who do not read.
func (l *loop) sweep() {
	l.each(func(c *conn) { l.srv.drop(c.sweep(l.now)) })
}
