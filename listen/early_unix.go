//go:build unix

package listen

import (
	"io"
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
	n         int    // and what came of it
	failed    error
	pull, see func(fd uintptr) bool
	answer    []byte // what put writes
	put       func(fd uintptr) bool
}

// A limitKind says what a deadline is for.
type limitKind uint8

const (
	notMine limitKind = iota // net/http's stands
	forNext                  // for the next request to begin
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
		e.n, e.failed = retry(func() (int, error) { return syscall.Read(int(fd), e.into) })
		return e.failed != syscall.EAGAIN
	}
	var one [1]byte
	e.see = func(fd uintptr) bool {
		e.n, e.failed = retry(func() (int, error) {
			n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
			return n, err
		})
		return e.failed != syscall.EAGAIN && (e.failed != nil || e.n == 0)
	}
	e.put = func(fd uintptr) bool {
		e.n, e.failed = retry(func() (int, error) { return syscall.Write(int(fd), e.answer) })
		return true
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

// answers have room for an answer each, while it is made and written.
var answers = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

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
		for n > 0 {
			h, kind := plain.Begin(p[:n])
			if kind == plain.Plain {
				for h.Next() {
				}
				kind = h.Kind()
			}
			if kind == plain.Other || kind == plain.Part && n == len(p) {
				e.work(false)
				e.passOn(p[:n])
				return n, nil
			}
			if kind == plain.Part {
				break
			}
			e.begun = true
			refused, err := e.refuse(&h)
			if err != nil {
				return 0, err
			}
			if !refused {
				e.keep(p[h.Length:n])
				return h.Length, nil
			}
			n = copy(p, p[h.Length:n])
			e.limit = forNext // a head that begins behind it has its time anew
		}
		e.setLimit(n > 0)
	}
}

// fill reads more into p, behind the n bytes that are there.
func (e *early) fill(p []byte, n int) (int, error) {
	if len(e.rest) > 0 {
		k := copy(p[n:], e.rest)
		e.keep(e.rest[k:])
		return n + k, nil
	}
	e.c.TakeTurn().Give()
	e.into = p[n:]
	err := e.raw.Read(e.pull)
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

// refuse answers a request, where that is refused at once.
func (e *early) refuse(h *plain.Head) (refused bool, err error) {
	if h.Close {
		e.work(false)
		return false, nil // net/http knows how to close
	}
	e.work(true)
	b := answers.Get().(*[]byte)
	defer answers.Put(b)
	*b = e.c.of.Refuse((*b)[:0], h)
	if len(*b) == 0 {
		e.work(false)
		return false, nil
	}
	// It nearly always goes at once; else there is a deadline, and a turn for it.
	e.answer = *b
	n := 0
	if e.raw.Write(e.put) == nil && e.failed == nil {
		n = e.n
	}
	e.answer = nil
	e.c.wrote(n)
	if n < len(*b) {
		_, err = e.c.Write((*b)[n:])
	}
	return true, err
}

// setLimit sees to it that what has been answered, or has begun, has the time that
// net/http would give it.
func (e *early) setLimit(part bool) {
	kind, length := forNext, IdleTimeout
	switch {
	case part && e.begun:
		kind, length = forHead, HeaderTimeout
	case e.limit == notMine:
		return
	}
	now := time.Now()
	if kind == e.limit && (kind == forHead || now.Add(length).Sub(e.until) < time.Second) {
		return
	}
	e.limit, e.until = kind, now.Add(length)
	e.c.SetReadDeadline(e.until)
}
