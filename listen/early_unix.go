//go:build unix

package listen

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"headwater/listen/plain"
)

// An early has a connection's requests looked at before net/http does: where that waits
// for the next one, those that are refused at once (Limits.Refuse) are answered, and the
// first other is given to it. For a storm of refusals net/http costs five times as much.
//
// That needs to know where a request begins. So net/http is given one head at a time, whole,
// while all that come are plain: such a request ends with its head. With the first other
// one, also where a head is larger than net/http's buffer, it is over, and net/http reads
// the connection to its end. The states, and what is read in each:
//
//	net/http                        reads              gets
//	waits for a request             into its buffer    a whole head, or the beginning of what is not plain
//	handles one, and watches for    one byte           nothing: whether the client is there is
//	the end of the connection                          looked at without taking what it sends
type early struct {
	c    *Conn
	raw  syscall.RawConn
	over bool // net/http reads by itself, what there is of rest and err first

	begun bool      // a request was taken from it
	rest  []byte    // of what was read: it came behind what net/http has
	err   error     // how reading ended, while net/http has a part of a head
	limit limitKind // of reading, as it was set here last
	until time.Time

	into      []byte // where pull reads to,
	n         int    // and what came of it and was not refused at once
	failed    error
	pull, see func(fd uintptr) bool
	first     bool // nothing has come yet of the head that comes next
	looked    bool // at the first head of what pull left: it is not refused
	inARow    int  // refused, since something else came
}

// aStorm is how many refusals in a row on a connection are one. Then the next request is
// waited for without looking whether it is there: nearly always it is not, and to look
// costs as much as a part of an answer. What that misses is the end of a connection which
// came together with its last request: it is looked for when nothing has come for a while.
const aStorm = 16

// mayHaveEnded is that while.
const mayHaveEnded = 5 * time.Second

// A limitKind says what a deadline is for.
type limitKind uint8

const (
	notMine limitKind = iota // net/http's stands
	forNext                  // for the next request to begin
	forMore                  // the same, or to look whether that is the end
	forHead                  // for the rest of a head
)

// newEarly returns nil for what is no socket.
func newEarly(c *Conn) *early {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	e := &early{c: c, raw: raw}
	e.pull = func(fd uintptr) bool {
		for {
			e.n, e.failed = retry(func() (int, error) { return syscall.Read(int(fd), e.into) })
			if e.failed == syscall.EAGAIN {
				return false
			}
			if e.failed != nil || e.n == 0 || !e.first {
				return true
			}
			whole := e.n < len(e.into)
			done, err := e.refuse(e.into[:e.n], func(b []byte) error { return e.put(fd, b) })
			e.n = copy(e.into, e.into[done:e.n])
			if e.failed, e.looked = err, true; err != nil || e.n > 0 {
				return true
			}
			e.c.TakeTurn().Give()
			if whole && e.inARow >= aStorm {
				e.setLimit(forMore)
				return false
			}
			e.setLimit(forNext)
		}
	}
	var one [1]byte
	e.see = func(fd uintptr) bool {
		e.n, e.failed = retry(func() (int, error) {
			n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
			return n, err
		})
		return e.failed != syscall.EAGAIN && (e.failed != nil || e.n == 0)
	}
	return e
}

func retry(f func() (int, error)) (n int, err error) {
	for {
		if n, err = f(); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// answers have room for answers, while they are made and written.
var answers = sync.Pool{New: func() any { b := make([]byte, 0, 2*answerBytes); return &b }}

// answerBytes of answers go at once, about.
const answerBytes = 8 << 10

func (e *early) read(p []byte) (n int, err error) {
	if e.over {
		n = copy(p, e.rest)
		e.c.length.scan(p[:n])
		if e.rest = e.rest[n:]; n == 0 {
			err = e.err
		}
		return n, err
	}
	if len(p) == 1 {
		return 0, e.watch()
	}
	e.limit = notMine
	for {
		if n, err = e.fill(p, n); err != nil {
			e.err = err
			if e.begun && n < 4 {
				n = 0 // net/http gives up on so little of a request that is not the first
			}
			if e.passOn(p[:n]); n == 0 {
				return 0, err
			}
			return n, nil
		}
		if !e.looked {
			done, err := e.refuse(p[:n], func(b []byte) error { _, err := e.c.Write(b); return err })
			if err != nil {
				return 0, err
			}
			if n = copy(p, p[done:n]); n == 0 {
				e.setLimit(forNext)
				continue
			}
		}
		switch h, kind := head(p[:n]); {
		case kind == plain.Other || kind == plain.Part && n == len(p):
			e.work(false)
			e.passOn(p[:n])
			return n, nil
		case kind == plain.Plain:
			e.work(false)
			e.begun, e.inARow = true, 0
			e.keep(p[h.Length:n])
			return h.Length, nil
		}
		e.setLimit(forHead)
	}
}

// head reads the first head of p.
func head(p []byte) (h plain.Head, kind plain.Kind) {
	if h, kind = plain.Begin(p); kind == plain.Plain {
		for h.Next() {
		}
		kind = h.Kind()
	}
	return h, kind
}

// fill reads more into p, behind the n bytes that are there.
func (e *early) fill(p []byte, n int) (int, error) {
	e.first, e.looked = n == 0, false
	if len(e.rest) > 0 {
		k := copy(p[n:], e.rest)
		e.keep(e.rest[k:])
		return n + k, nil
	}
	e.c.TakeTurn().Give()
	e.into = p[n:]
	err := e.raw.Read(e.pull)
	if e.limit == forMore && errors.Is(err, os.ErrDeadlineExceeded) {
		e.inARow = 0
		e.setLimit(forNext)
		err = e.raw.Read(e.pull)
	}
	e.into = nil
	switch {
	case err != nil:
		return n, err
	case e.failed != nil:
		return n, e.failed
	case e.n == 0:
		return n, io.EOF
	}
	return n + e.n, nil
}

// work takes a turn for what was read, where there is none yet. To refuse takes some
// microseconds, and to wait for a turn may cost as much again: so it is taken for that only
// while somebody publishes, before whom all others are to give way.
func (e *early) work(refusing bool) {
	if turns := e.c.of.Turns; turns != nil && e.c.turn.Load() == nil && !(refusing && turns.Calm()) {
		e.c.work()
	}
}

// keep notes what was read and is not looked at yet.
func (e *early) keep(rest []byte) {
	e.rest = append([]byte(nil), rest...)
}

// passOn leaves the connection to net/http, with what was read of it.
func (e *early) passOn(p []byte) {
	e.c.length.scan(p)
	e.over = true
}

// ended reports whether there is nothing to read from it any more.
func (e *early) ended() bool { return e.over && len(e.rest) == 0 && e.err == nil }

// watch waits for the end of the connection, or until net/http has it wait no more.
func (e *early) watch() error {
	if err := e.raw.Read(e.see); err != nil {
		return err
	}
	if e.failed != nil {
		return e.failed
	}
	return io.EOF
}

// refuse refuses what it can of p, from its beginning, and returns how much that was.
func (e *early) refuse(p []byte, put func(b []byte) error) (done int, err error) {
	room := answers.Get().(*[]byte)
	defer answers.Put(room)
	b := (*room)[:0]
	for done < len(p) && err == nil {
		h, kind := head(p[done:])
		if kind != plain.Plain || h.Close { // net/http knows how to close
			break
		}
		if done == 0 {
			e.work(true)
		}
		before := len(b)
		if b = e.c.of.Refuse(b, &h); len(b) == before {
			break
		}
		done += h.Length
		e.begun = true
		e.inARow++
		if e.limit != forMore {
			e.limit = forNext // a head that begins behind it has its time anew
		}
		if len(b) >= answerBytes {
			err = put(b)
			b = b[:0]
		}
	}
	*room = b
	if len(b) > 0 && err == nil {
		err = put(b)
	}
	return done, err
}

// put writes answers. They nearly always go at once; else there is a deadline, and a turn for it.
func (e *early) put(fd uintptr, b []byte) error {
	n, err := retry(func() (int, error) { return syscall.Write(int(fd), b) })
	if err != nil {
		n = 0
	}
	e.c.wrote(n)
	if n < len(b) {
		_, err = e.c.Write(b[n:])
		return err
	}
	return nil
}

// setLimit sees to it that what has been answered, or has begun, has the time that
// net/http would give it.
func (e *early) setLimit(kind limitKind) {
	length := IdleTimeout
	switch {
	case kind == forHead && !e.begun, kind != forHead && e.limit == notMine:
		return
	case kind == forHead:
		length = HeaderTimeout
	case kind == forMore:
		length = mayHaveEnded
	}
	now := time.Now()
	if kind == e.limit && (kind == forHead || now.Add(length).Sub(e.until) < time.Second) {
		return
	}
	e.limit, e.until = kind, now.Add(length)
	e.c.SetReadDeadline(e.until)
}
