package front

import (
	"errors"
	"net/http"
	"time"

	"headwater/edge/exchange"
	"headwater/edge/front/h2"
	"headwater/listen/plain"
	"headwater/live"
)

// A mux is a connection of HTTP/2. Its streams are walked like connections of
// HTTP/1.1, and what they write is flushed together at the end of a turn. All of it
// is its loop's.
type mux struct {
	c      *conn
	sock   *sealed
	h      *h2.Conn
	away   bool // it was told that others serve what comes next
	pinged bool
	next   int // stream that has its turn first
	heard  time.Time
}

// How long a connection is silent while requests of it wait, before it is asked
// whether anybody is there, and before nobody is.
const (
	pingAfter = 30 * time.Second
	deadAfter = 45 * time.Second
)

// open begins it, on its loop.
func (m *mux) open() {
	l := m.c.loop
	m.h, m.heard = h2.New(&l.limits, &l.shared, m), l.now
	m.c.state = muxed
	m.after()
}

// happened is told of events of the socket.
func (m *mux) happened(is events) {
	if m.c.left = turnBytes; is&eventOut != 0 {
		m.resume()
	}
	if m.c.state == muxed && m.c.readable {
		m.receive()
	}
	m.after()
}

// receive takes what has come.
func (m *mux) receive() {
	c, l := m.c, m.c.loop
	in := c.takeIn()
	left := turnReads
	for c.readable {
		if left <= 0 {
			c.soon()
			break
		}
		had := copy(l.buf, in)
		n, more, err := m.sock.read(l.buf[had:])
		left -= n
		begins := n > 0 && !m.h.Partial(had)
		if n > 0 {
			m.heard, m.pinged = l.now, false
		}
		in = l.buf[:had+n]
		m.h.Whole = false
		used, wrong := m.h.Receive(in)
		if begins || m.h.Whole {
			c.since = l.now // what is not whole began after this
		}
		if c.state == ended {
			return
		}
		if in = in[used:]; used > 0 {
			c.fresh = false
		}
		switch {
		case wrong != nil:
			m.fail(wrong)
			return
		case err == errWait:
			c.readable = false
		case err != nil:
			c.end()
			return
		case !more && !c.gone:
			c.readable = false
		}
	}
	if len(in) > 0 {
		c.keepIn(in)
	}
}

// fail ends a connection that does harm.
func (m *mux) fail(err error) {
	if e := (*h2.Error)(nil); errors.As(err, &e) {
		m.c.loop.srv.drop(string(e.Reason))
	}
	m.c.loop.srv.Log.Debug("HTTP/2", "viewer", m.c.addr, "err", err)
	m.part()
}

// part says goodbye, where that is possible, and ends the streams.
func (m *mux) part() {
	m.leaveAll()
	if m.control() {
		m.sock.flush()
	}
	m.c.part()
}

// control puts what the connection has to say itself before what comes next.
func (m *mux) control() bool {
	if m.sock.full() {
		return false
	}
	if len(m.h.Out) > 0 {
		if m.sock.put(m.h.Out, nil); cap(m.h.Out) > 256 {
			m.h.Out = nil
		}
		m.h.Out = m.h.Out[:0]
	}
	return true
}

// after ends a turn.
func (m *mux) after() {
	c := m.c
	for c.state == muxed && m.h.Opened {
		m.h.Opened = false
		m.resume()
	}
	if c.state != muxed {
		return
	}
	m.control()
	all, err := m.sock.flush()
	if err != nil {
		c.end()
		return
	}
	// What was written and not taken yet is not taken back by a goodbye.
	if all && len(m.h.Streams()) == 0 && (m.away || c.loop.srv.closing.Load()) && len(c.in) == 0 {
		m.h.GoAway(true)
		m.part()
	}
}

// resume goes on with answers that were blocked, as long as the viewer takes them.
func (m *mux) resume() {
	if all, err := m.sock.flush(); err != nil || !all {
		if err != nil {
			m.c.end()
		}
		return
	}
	l := m.c.loop
	list := l.turns[:0]
	for _, s := range m.h.Streams() {
		if st, ok := s.Answer.(*stream); ok && st.state == blocked {
			list = append(list, st)
		}
	}
	l.turns = list[:0]
	m.next++
	for i := range list {
		st := list[(i+m.next)%len(list)]
		if m.c.state != muxed || m.sock.full() || m.c.left <= 0 {
			break
		}
		if st.state == blocked && (len(st.pre) > 0 || m.h.Room(st.s, 1) > 0 || st.last()) {
			st.resume()
		}
	}
	if m.c.state == muxed && m.c.left <= 0 && !m.sock.full() {
		m.c.soon()
	}
	clear(list)
}

// Request is a request that has come.
func (m *mux) Request(s *h2.Stream, r *h2.Request) {
	l := m.c.loop
	st := l.newStream()
	st.m, st.s, st.state = m, s, running
	s.Answer = st
	if r.TooLarge {
		l.srv.drop(dropSize)
		st.short(http.StatusRequestHeaderFieldsTooLarge)
		return
	}
	asked, ours := askedBy(r)
	if !ours || asked.Target != "" && l.srv.Edge.OfNode(asked.Target) {
		st.leaveTo(r)
		return
	}
	asked.Arrived = l.askedAt()
	l.packedSaid = packedSaid{r, m.c.addr}
	asked.Said = &l.packedSaid
	st.counted = asked.Arrived
	l.q.Begin(asked)
	st.drive(l.q)
}

// askedBy reads a request of the kind that viewers send in crowds.
func askedBy(r *h2.Request) (a exchange.Asked, ours bool) {
	switch {
	case !r.End:
		return a, false
	case string(r.Method) == http.MethodGet:
		a.Method = http.MethodGet
	case string(r.Method) == http.MethodHead:
		a.Method = http.MethodHead
	default:
		return a, false
	}
	target, query, ok := plain.CutQuery(r.Path)
	a.Skip = ok && exchange.TakesSkip(query)
	path := text(target)
	var fault live.PathFault
	if a.Path, fault = live.ReadPath(path); fault.Is() {
		if a.Target = path; !plain.WellFormed(target) {
			return a, false
		}
	}
	if a.Path.File == live.FileConfig {
		if ok {
			return a, false
		}
		a.More = new(exchange.More)
	}
	for _, f := range r.Fields {
		name := f.Name
		switch {
		case len(name) == 8 && string(name) == "cdn-loop":
			if a.More == nil {
				a.More = new(exchange.More)
			}
			a.More.Loop = a.More.Loop.Add(string(f.Value))
		case len(name) == 13 && string(name) == "authorization":
			if a.More == nil {
				a.More = new(exchange.More)
			}
			a.More.Authorization = string(f.Value)
		case len(name) == 10 && string(name) == "live-names":
			if a.More == nil {
				a.More = new(exchange.More)
			}
			a.More.Names = true
		case len(name) == 5 && string(name) == "range", len(name) > 3 && string(name[:3]) == "if-":
			if a.More == nil {
				a.More = new(exchange.More)
			}
			a.More.Set(name, string(f.Value))
		case len(name) == 15 && string(name) == "accept-encoding":
			if a.Path.File != live.FileSegment {
				a.Coding = exchange.BestCoding(f.Value)
			}
		case len(name) == 6 && string(name) == "expect":
			return a, false
		}
	}
	return a, true
}

// Body is more of what a request carries.
func (m *mux) Body(s *h2.Stream, p []byte, end bool) {
	if st, ok := s.Answer.(*stream); ok {
		st.carry(p, end)
	}
}

// Reset is a request that is taken back.
func (m *mux) Reset(s *h2.Stream) {
	if st, ok := s.Answer.(*stream); ok {
		st.leave()
	}
}

// leaveAll ends all requests without an answer.
func (m *mux) leaveAll() {
	if m.h == nil {
		return
	}
	for _, s := range m.h.Streams() {
		if st, ok := s.Answer.(*stream); ok {
			st.leave()
		}
	}
}

// sweep ends what has been still for too long, and says why.
func (m *mux) sweep(now time.Time) (reason string) {
	c, s := m.c, m.c.loop.srv
	since := now.Sub(c.since)
	waits := false
	for i := 0; i < len(m.h.Streams()); i++ {
		st, ok := m.h.Streams()[i].Answer.(*stream)
		if !ok {
			continue
		}
		switch {
		case st.state == blocked && now.Sub(st.counted) > s.WriteTimeout && m.sock.full():
			c.end()
			return dropSlow
		case st.state == blocked && now.Sub(st.counted) > s.WriteTimeout:
			s.drop(dropSlow)
			st.leave()
			m.h.Abort(st.s, h2.Cancel)
			i--
		case st.state == carrying && now.Sub(st.counted) > s.HeaderTimeout:
			st.late()
		case st.state == waiting && !st.until.IsZero() && now.After(st.until):
			st.waitsFor.Unpark(st)
			st.awoken()
			i--
		case st.state == waiting:
			waits = true
		}
	}
	switch {
	case c.state != muxed: // a walk failed
		return ""
	case c.fresh && since >= s.HeaderTimeout:
		c.end()
		return dropSilent
	case m.h.Partial(len(c.in)) && since >= s.HeaderTimeout:
		c.end()
		return dropHeader
	case len(m.h.Streams()) == 0 && m.sock.full() && since >= s.WriteTimeout:
		c.end() // the end of the last answer is not read
		return dropSlow
	case waits && m.pinged && now.Sub(m.heard) > deadAfter:
		c.end()
		return string(h2.Deaf)
	case waits && !m.pinged && now.Sub(m.heard) > pingAfter:
		m.pinged = true
		m.h.Ping()
	case len(m.h.Streams()) == 0 && since >= s.IdleTimeout:
		m.h.GoAway(true)
		m.part()
		return dropIdle
	}
	m.after()
	return ""
}
