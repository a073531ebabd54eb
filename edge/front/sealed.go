package front

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"headwater/edge/front/record"
)

// How much is sealed before it is written: as much as a fast viewer takes with one
// system call, and little where the last was not taken whole, since what was sealed
// and not taken is kept.
const (
	burstLeast = record.MaxPlain
	burstMost  = 128 << 10
)

// A sealed is a socket over TLS 1.3. Between requests it has its keys and no more.
// What is put lies in its loop's buffer until it is flushed: whoever puts flushes
// before the loop turns to another connection.
type sealed struct {
	socket
	rec     *record.Conn
	loop    *loop
	came    []byte // the beginning of a record
	pending []byte // sealed, and not taken yet
	burst   int
	over    bool  // nothing is sealed any more
	wrong   error // with the record after which nothing more is read: its alert, or io.EOF
}

func (s *sealed) watch(l *loop, c *conn) error {
	s.loop = l
	return s.socket.watch(l, c)
}

// read opens the records that have come. p has room for a whole one.
func (s *sealed) read(p []byte) (n int, more bool, err error) {
	if s.wrong != nil {
		return 0, false, s.refuse()
	}
	raw := s.loop.raw
	had := copy(raw, s.came)
	s.came = nil
	for {
		m, again, err := s.socket.read(raw[had:min(len(raw), len(p)-n)])
		in := raw[:had+m]
		for {
			plain, size, e := s.rec.Open(in)
			if errors.Is(e, record.ErrPart) {
				break
			}
			if e != nil {
				if s.wrong = e; n > 0 {
					return n, true, nil // what came before it can still be answered
				}
				return 0, false, s.refuse()
			}
			n += copy(p[n:], plain)
			in = in[size:]
		}
		had = copy(raw, in)
		// What comes next may be a whole record.
		if room := len(p)-n > len(raw)/2; err != nil || !again || !room {
			if had > 0 {
				s.came = bytes.Clone(raw[:had])
			}
			if n > 0 && err != nil { // it will be there again
				return n, err != errWait, nil
			}
			return n, again, err
		}
	}
}

// refuse tells the viewer what is wrong with a record, behind all that was put.
func (s *sealed) refuse() error {
	if a := record.Alert(0); errors.As(s.wrong, &a) && !s.over {
		if all, err := s.flush(); all && err == nil {
			s.over = true
			s.socket.write(s.rec.Alert(nil, a), nil)
		}
	}
	return io.EOF
}

// full reports whether nothing may be put just now.
func (s *sealed) full() bool { return len(s.pending) > 0 || s.over }

// put seals all of a and b. It must not be full.
func (s *sealed) put(a, b []byte) error {
	l := s.loop
	if l.out = s.rec.Seal(l.out, a, b); len(l.out) < s.burst {
		return nil
	}
	_, err := s.flush()
	return err
}

// flush writes what was put, and reports whether all of it was taken.
func (s *sealed) flush() (all bool, err error) {
	l := s.loop
	if len(s.pending) > 0 {
		n, err := s.socket.write(s.pending, nil)
		if s.pending = s.pending[n:]; err != nil || len(s.pending) > 0 {
			return false, err
		}
		s.pending = nil
	}
	if len(l.out) == 0 {
		return true, nil
	}
	n, err := s.socket.write(l.out, nil)
	if n < len(l.out) {
		s.pending, s.burst = bytes.Clone(l.out[n:]), burstLeast
	} else {
		s.burst = min(2*s.burst, burstMost)
	}
	l.out = l.out[:0]
	return len(s.pending) == 0, err
}

// write writes as much of both as is taken at once.
func (s *sealed) write(a, b []byte) (n int, err error) {
	if all, err := s.flush(); !all || s.over {
		return 0, err
	}
	for n < len(a)+len(b) && !s.full() && err == nil {
		var p []byte // of b
		if n < len(a) {
			p = b[:min(len(b), max(s.burst-len(a), 0))]
			err = s.put(a, p)
			n = len(a) + len(p)
		} else {
			p = b[n-len(a):]
			p = p[:min(len(p), s.burst)]
			err = s.put(nil, p)
			n += len(p)
		}
	}
	if err == nil {
		_, err = s.flush()
	}
	return n, err
}

func (s *sealed) ended() bool {
	e, ok := s.socket.(interface{ ended() bool })
	return ok && e.ended()
}

func (s *sealed) closeWrite() {
	s.farewell()
	s.socket.closeWrite()
}

func (s *sealed) close() {
	s.farewell()
	s.socket.close()
}

// farewell says that nothing more comes, where there is room to say it.
func (s *sealed) farewell() {
	if s.loop != nil {
		s.loop.out = s.loop.out[:0]
	}
	if !s.full() {
		s.over = true
		s.socket.write(s.rec.Alert(nil, record.CloseNotify), nil)
	}
}

func (s *sealed) handOver() (net.Conn, error) {
	nc, err := s.socket.handOver()
	if err != nil {
		return nil, err
	}
	return &sealedConn{Conn: nc, rec: s.rec, came: s.came, ended: s.wrong != nil}, nil
}

// A sealedConn is the same as a connection of package net, for net/http.
type sealedConn struct {
	net.Conn
	rec   *record.Conn
	came  []byte // and was not opened
	plain []byte // opened and not read
	ended bool   // nothing more is read

	mu  sync.Mutex // guards the following
	out []byte
}

func (c *sealedConn) Read(p []byte) (int, error) {
	for len(c.plain) == 0 {
		if c.ended {
			return 0, io.EOF
		}
		plain, n, err := c.rec.Open(c.came)
		switch {
		case err == nil:
			c.plain, c.came = plain, c.came[n:]
			continue
		case !errors.Is(err, record.ErrPart):
			return 0, io.EOF
		}
		c.came = append(make([]byte, 0, len(c.came)+4<<10), c.came...)
		n, err = c.Conn.Read(c.came[len(c.came):cap(c.came)])
		if c.came = c.came[:len(c.came)+n]; n == 0 && err != nil {
			return 0, err
		}
	}
	n := copy(p, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

func (c *sealedConn) Write(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n < len(p) {
		piece := p[n:min(len(p), n+burstMost)]
		c.out = c.rec.Seal(c.out[:0], nil, piece)
		if _, err := c.Conn.Write(c.out); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

// Close waits for nobody: where something is being written there is nothing to say.
func (c *sealedConn) Close() error {
	if c.mu.TryLock() {
		c.SetWriteDeadline(time.Now().Add(farewellTime))
		c.farewell()
		c.mu.Unlock()
	}
	return c.Conn.Close()
}

// farewellTime is how long it may take to say that nothing more comes.
const farewellTime = 10 * time.Millisecond

// CloseWrite ends the way out.
func (c *sealedConn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.farewell()
}

// farewell needs mu.
func (c *sealedConn) farewell() error {
	c.Conn.Write(c.rec.Alert(nil, record.CloseNotify))
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
