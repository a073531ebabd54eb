package main

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"headwater/live"
)

// A crowd is many viewers in one thread: a connection each, one epoll, one
// buffer for all. It runs on the cores of what it measures; one thread with no
// goroutine per viewer is the least that costs.
type crowd struct {
	addr  netip.AddrPort
	poll  time.Duration // between the retries of a refusal
	path  func(live.Number) string
	ask   func(viewer int, n live.Number) time.Time // when a viewer first asks
	first live.Number
	last  live.Number
	until time.Time // when those who have not got everything give up
	held  func()    // is called once, when every viewer waits for its first answer; may be nil
	sums  func(live.Number) [32]byte

	epoll   int
	viewers []*viewer
	due     schedule
	buf     []byte
	left    int // viewers who are not done
	asked   int
	out     tally
}

// A tally is what viewers saw.
type tally struct {
	delays   []time.Duration // from publication to the last byte, of each segment and viewer
	statuses map[int]int
	missed   int // segments that viewers did not get
	broken   int // connections that ended early
	wrong    int // bodies that were not what was published
}

type viewer struct {
	index int
	fd    int
	n     live.Number // the segment that it is at
	busy  bool        // asked, and not completely answered

	head      []byte // of an answer, what has come, until it is complete
	inBody    bool
	remaining int64
	status    int
	published time.Time
	hash      []byte // of one viewer in fifty the body
}

// schedule is a heap of viewers by when they ask.
type schedule []turn
type turn struct {
	at time.Time
	v  *viewer
}

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)        { *s = append(*s, x.(turn)) }
func (s *schedule) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

// connect opens the connections of all viewers.
func (c *crowd) connect(n int) error {
	var err error
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	c.buf = make([]byte, 256<<10)
	c.out.statuses = make(map[int]int)
	for i := range n {
		v := &viewer{index: i, fd: -1, n: c.first}
		c.viewers = append(c.viewers, v)
		if err := c.dial(v); err != nil {
			return err
		}
	}
	return nil
}

func (c *crowd) dial(v *viewer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(c.addr.Port()), Addr: c.addr.Addr().As4()}); err != nil {
		unix.Close(fd)
		return fmt.Errorf("connect: %w", err)
	}
	unix.SetNonblock(fd, true)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(v.index)}
	if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		unix.Close(fd)
		return fmt.Errorf("epoll: %w", err)
	}
	v.fd = fd
	return nil
}

func (c *crowd) close() {
	for _, v := range c.viewers {
		if v.fd >= 0 {
			unix.Close(v.fd)
		}
	}
	unix.Close(c.epoll)
}

// again has the same viewers watch other segments, and forgets what they saw.
func (c *crowd) again(first, last live.Number) {
	c.first, c.last, c.due = first, last, nil
	c.out = tally{statuses: make(map[int]int)}
	for _, v := range c.viewers {
		v.n = first
		if v.busy {
			// Its answer comes no more.
			unix.Close(v.fd)
			v.fd, v.busy = -1, false
		}
	}
}

// run lets the viewers watch from the first segment to the last.
func (c *crowd) run(ctx context.Context) (*tally, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c.left = len(c.viewers)
	for _, v := range c.viewers {
		heap.Push(&c.due, turn{c.ask(v.index, v.n), v})
	}
	events := make([]unix.EpollEvent, 512)
	for c.left > 0 && ctx.Err() == nil {
		now := time.Now()
		if now.After(c.until) {
			for _, v := range c.viewers {
				c.out.missed += int(max(c.last-v.n+1, 0))
			}
			break
		}
		// A few at a time: answers are not kept waiting by questions.
		for range 64 {
			if len(c.due) == 0 || c.due[0].at.After(now) {
				break
			}
			if err := c.request(heap.Pop(&c.due).(turn).v); err != nil {
				return nil, err
			}
		}
		wait := 100 * time.Millisecond
		if len(c.due) > 0 {
			wait = min(max(time.Until(c.due[0].at), 0), wait)
		}
		n, err := unix.EpollWait(c.epoll, events, int((wait+time.Millisecond-1)/time.Millisecond))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("epoll: %w", err)
		}
		for _, ev := range events[:n] {
			if err := c.readable(c.viewers[ev.Fd]); err != nil {
				return nil, err
			}
		}
	}
	return &c.out, ctx.Err()
}

func (c *crowd) request(v *viewer) error {
	if v.fd < 0 {
		if err := c.dial(v); err != nil {
			return err
		}
	}
	b := fmt.Appendf(c.buf[:0], "GET %s HTTP/1.1\r\nHost: edge\r\n\r\n", c.path(v.n))
	v.busy, v.inBody, v.head = true, false, nil
	if n, err := unix.Write(v.fd, b); err != nil || n < len(b) {
		return c.lostConnection(v)
	}
	if c.asked++; c.asked == len(c.viewers) && c.held != nil {
		go c.held()
	}
	return nil
}

// lostConnection has the viewer ask again over another connection.
func (c *crowd) lostConnection(v *viewer) error {
	unix.Close(v.fd)
	v.fd = -1
	if v.busy {
		c.out.broken++
		v.busy = false
		heap.Push(&c.due, turn{time.Now().Add(10 * time.Millisecond), v})
	}
	return nil
}

func (c *crowd) readable(v *viewer) error {
	if v.fd < 0 {
		return nil
	}
	for {
		// Of a body that is not verified the kernel throws away what it has
		// (MSG_TRUNC): a viewer's own machine would copy it, not this one.
		b, flags := c.buf, unix.MSG_TRUNC
		if !v.inBody {
			b, flags = c.buf[:2<<10], 0
		} else if v.verifies() {
			flags = 0
		}
		n, _, err := unix.Recvfrom(v.fd, b, flags)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || n == 0:
			return c.lostConnection(v)
		}
		if err := c.take(v, b[:n]); err != nil {
			return err
		}
		if n < len(b) && v.inBody {
			return nil // the next event tells of more
		}
	}
}

func (c *crowd) take(v *viewer, b []byte) error {
	if !v.inBody {
		if len(v.head) > 0 {
			b = append(v.head, b...)
		}
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			v.head = bytes.Clone(b)
			return nil
		}
		if err := v.readHead(b[:end]); err != nil {
			return err
		}
		v.head, v.inBody, b = nil, true, b[end+4:]
	}
	if v.verifies() && v.status == 200 {
		v.hash = append(v.hash, b...)
	}
	if v.remaining -= int64(len(b)); v.remaining > 0 {
		return nil
	}
	if v.remaining < 0 {
		return fmt.Errorf("%d bytes after an answer's end", -v.remaining)
	}
	c.complete(v, time.Now())
	return nil
}

// verifies reports whether the viewer looks at what it gets: one in fifty does.
func (v *viewer) verifies() bool { return v.index%50 == 0 }

func (v *viewer) readHead(b []byte) error {
	line, rest, _ := bytes.Cut(b, []byte("\r\n"))
	if len(line) < 12 {
		return fmt.Errorf("not HTTP: %q", line)
	}
	v.status, _ = strconv.Atoi(string(line[9:12]))
	v.remaining, v.published = -1, time.Time{}
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			v.remaining, _ = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
		case bytes.EqualFold(name, []byte(live.HeaderPublished)):
			v.published, _ = live.ParsePublished(string(bytes.TrimSpace(value)))
		}
	}
	if v.remaining < 0 {
		return fmt.Errorf("no Content-Length in an answer %d", v.status)
	}
	return nil
}

// complete is the end of an answer.
func (c *crowd) complete(v *viewer, now time.Time) {
	v.busy, v.inBody = false, false
	c.out.statuses[v.status]++
	if v.status != 200 {
		heap.Push(&c.due, turn{now.Add(c.poll), v})
		return
	}
	c.out.delays = append(c.out.delays, now.Sub(v.published))
	if v.hash != nil {
		if sha256.Sum256(v.hash) != c.sums(v.n) {
			c.out.wrong++
		}
		v.hash = nil
	}
	if v.n++; v.n > c.last {
		c.left--
		return
	}
	heap.Push(&c.due, turn{c.ask(v.index, v.n), v})
}
