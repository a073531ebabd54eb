package front

import (
	"bytes"
	"time"

	"headwater/edge/exchange"
	"headwater/edge/front/h2"
)

// streamBytes is how much one stream may write before the others of its connection
// have their turn.
const streamBytes = 128 << 10

// A stream is one request of HTTP/2 and its answer: for a loop what conn is for
// HTTP/1.1, with the same races (see there).
type stream struct {
	m        *mux
	s        *h2.Stream
	state    connState
	q        exchange.Request // nil: none that has waited
	waitsFor exchange.Awaited // with waiting,
	until    time.Time        // and until then; zero: without end
	odd      *oddAnswer       // of what a handler of net/http answers

	pre     []byte // frames that go before what is next of the body
	text    []byte // the body, where it is short
	size    int64  // of what is left of the body; -1: not known
	over    bool   // the last frame is in pre, or written
	left    int    // bytes that may be written in this turn
	taken   int    // since counted
	counted time.Time
}

// newStream takes one that is over.
func (l *loop) newStream() *stream {
	n := len(l.streams)
	if n == 0 {
		return new(stream)
	}
	st := l.streams[n-1]
	l.streams = l.streams[:n-1]
	*st = stream{}
	return st
}

// Wake is called by what a request waits for.
func (st *stream) Wake() { st.m.c.loop.post(post{what: awoken, conn: st.m.c, stream: st}) }

// awoken goes on with a request that waited.
func (st *stream) awoken() {
	if st.state != waiting {
		return
	}
	defer st.m.c.recover()
	st.waitsFor = nil
	st.counted, st.taken = time.Now(), 0 // it was not the viewer who was slow
	st.m.c.left = turnBytes
	st.resume()
	st.m.after()
}

// resume goes on with an answer.
func (st *stream) resume() {
	if st.odd != nil {
		st.odd.push()
		return
	}
	st.drive(st.q)
}

// drive goes on with the walk of a request.
func (st *stream) drive(q exchange.Request) {
	st.state, st.left = running, streamBytes
	for {
		l := st.m.c.loop
		l.walks = q
		p := q.Walk(st)
		l.walks = nil
		switch p.Why {
		case exchange.Finished:
			st.finish()
			return
		case exchange.Cut:
			st.abort()
			return
		case exchange.Full:
			st.keep(q)
			st.block()
			return
		}
		st.keep(q)
		q = st.q
		if p.On.Park(st, p.Seen) {
			st.state, st.waitsFor, st.until = waiting, p.On, p.Until
			return
		}
	}
}

// block says that the viewer takes no more just now, or others have their turn.
func (st *stream) block() {
	st.state = blocked
	if m := st.m; !m.sock.full() && (st.left <= 0 || m.c.left <= 0) {
		m.c.soon()
	}
}

// keep makes a request that waits, and what is to be sent, the stream's own.
func (st *stream) keep(q exchange.Request) {
	if st.q == nil {
		st.q = q.Keep()
		st.text = bytes.Clone(st.text)
	}
	st.pre = bytes.Clone(st.pre)
}

// finish ends an answer that is sent.
func (st *stream) finish() {
	m := st.m
	kept := st.q != nil || st.odd != nil
	st.state, st.q, st.pre, st.text = ended, nil, nil, nil
	m.c.since = m.c.loop.now
	m.h.End(st.s)
	// Who has waited may be woken once more.
	if l := m.c.loop; !kept && len(l.streams) < 256 {
		l.streams = append(l.streams, st)
	}
}

// abort ends an answer that cannot be whole.
func (st *stream) abort() {
	st.state, st.q = ended, nil
	st.m.c.since = st.m.c.loop.now
	st.m.h.Abort(st.s, h2.InternalError)
}

// leave ends a request whose viewer has left, or is let go.
func (st *stream) leave() {
	if st.state == ended {
		return
	}
	st.state = ended
	st.m.c.since = st.m.c.loop.now
	if st.waitsFor != nil {
		st.waitsFor.Unpark(st)
		st.waitsFor = nil
	}
	if st.odd != nil {
		st.odd.gone()
	}
	if q := st.q; q != nil {
		if st.q = nil; st.m.c.loop.walks == q {
			st.m.c.loop.walks = nil // it has failed
		}
		q.Leave()
	}
}

// short answers with a status and nothing else.
func (st *stream) short(status int) {
	f := st.Fields(status, st.m.c.loop.now)
	f.Number("Content-Length", 0)
	st.Begin(nil, 0)
	if all, _ := st.End(); all {
		st.finish()
	} else {
		st.leave()
		st.m.h.Abort(st.s, h2.EnhanceYourCalm)
	}
}

// last reports whether only the end of the answer is left, which needs no window.
func (st *stream) last() bool { return st.size == 0 || st.odd != nil && st.odd.done }

// Fields is where the head of an answer is made.
func (st *stream) Fields(status int, now time.Time) *exchange.Fields {
	f := &st.m.c.loop.packed
	f.Bytes = append(f.Bytes[:0], make([]byte, h2.FrameSize)...)
	f.Begin(status, now)
	return f
}

// Begin ends the head.
func (st *stream) Begin(text []byte, size int64) {
	m := st.m
	s, f := m.c.loop.srv, &m.c.loop.packed
	if alt := s.altSvc.Load(); alt != nil {
		f.Put("Alt-Svc", *alt)
	}
	if s.draining.Load() && !m.away {
		m.away = true
		m.h.GoAway(false)
	}
	if st.text, st.size = text, size; len(text) > 0 {
		st.size = int64(len(text))
	}
	st.over = st.size == 0
	st.pre = m.h.AppendHead(st.s, f.Bytes, st.over)
}

// Write writes what the viewer takes of a piece of the body: what his windows have
// room for, and his connection.
func (st *stream) Write(piece []byte) (n int, err error) {
	m := st.m
	for n < len(piece) && m.control() && !m.sock.full() && st.left > 0 && m.c.left > 0 {
		room := m.h.Room(st.s, min(len(piece)-n, max(h2.MaxData-len(st.pre), 1)))
		if room == 0 {
			if len(st.pre) > 0 { // the head need not wait
				err = st.put(nil)
			}
			return n, err
		}
		st.over = st.size == int64(room)
		st.pre = m.h.AppendData(st.pre, st.s, room, st.over)
		if st.size >= 0 {
			st.size -= int64(room)
		}
		if err = st.put(piece[n : n+room]); err != nil {
			return n, err
		}
		n += room
		st.left -= room
		m.c.left -= room
		m.c.loop.spent(room)
		if st.taken += room; st.taken >= writePiece {
			st.taken, st.counted = 0, time.Now()
		}
	}
	return n, nil
}

// put puts what is in pre, and then p, where there is room.
func (st *stream) put(p []byte) error {
	err := st.m.sock.put(st.pre, p)
	st.pre = st.pre[:0]
	return err
}

// End writes what is left.
func (st *stream) End() (all bool, err error) {
	for len(st.text) > 0 {
		n, err := st.Write(st.text)
		if st.text = st.text[n:]; err != nil || n == 0 {
			return false, err
		}
	}
	if !st.m.control() || st.m.sock.full() {
		return false, nil
	}
	if !st.over {
		st.pre, st.over = st.m.h.AppendData(st.pre, st.s, 0, true), true
	}
	if len(st.pre) > 0 {
		err = st.put(nil)
	}
	return err == nil, err
}
