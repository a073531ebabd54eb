//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A result is one round of one cache.
type result struct {
	Requests int
	Bytes    int64
	Length   time.Duration
	CPU      time.Duration // of the cache
	P50, P99 time.Duration
	Memory   float64 // MB
}

func (r result) rate() float64      { return float64(r.Requests) / r.Length.Seconds() }
func (r result) gigabytes() float64 { return float64(r.Bytes) / 1e9 / r.Length.Seconds() }
func (r result) perCPU() float64    { return float64(r.Requests) / max(r.CPU.Seconds(), 0.01) }
func (r result) cpuPerGB() float64  { return r.CPU.Seconds() / (float64(r.Bytes) / 1e9) }

// A viewer is one connection: it asks, reads the answer, and asks again.
type viewer struct {
	fd     int
	next   int // of the paths
	asked  time.Time
	inBody bool
	left   int // bytes of the body
	head   []byte
}

// A work is what is asked of one cache for a while.
type work struct {
	addr    string
	paths   []string
	conns   int
	streams int // at once on each, of HTTP/2; 0: HTTP/1.1
	length  time.Duration
	status  int
	before  func() // is called when all connections are there
}

// errSilent says that a cache has not answered anybody in the time of a round.
var errSilent = errors.New("no answer came")

// A meter counts answers.
type meter struct {
	result
	w      work
	began  time.Time
	delays []time.Duration
}

func newMeter(w work) *meter {
	return &meter{w: w, began: time.Now(), delays: make([]time.Duration, 0, 1<<20)}
}

func (m *meter) over() bool { return time.Since(m.began) >= m.w.length }

func (m *meter) answered(asked time.Time) {
	m.Requests++
	m.delays = append(m.delays, time.Since(asked))
}

func (m *meter) end() (result, error) {
	m.Length = time.Since(m.began)
	if len(m.delays) == 0 {
		return m.result, errSilent
	}
	slices.Sort(m.delays)
	m.P50, m.P99 = m.delays[len(m.delays)/2], m.delays[len(m.delays)*99/100]
	return m.result, nil
}

func requestFor(path, addr string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: hits/1\r\nAccept: */*\r\n\r\n", path, addr)
}

// ask has connections ask for paths. One thread with epoll is all of them; bodies
// are thrown away in the kernel (MSG_TRUNC).
func ask(w work) (res result, err error) {
	at, err := netip.ParseAddrPort(w.addr)
	if err != nil {
		return res, err
	}
	var requests [][]byte
	for _, p := range w.paths {
		requests = append(requests, requestFor(p, w.addr))
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return res, err
	}
	defer unix.Close(epoll)
	viewers := make([]*viewer, w.conns)
	defer func() {
		for _, v := range viewers {
			if v != nil {
				unix.Close(v.fd)
			}
		}
	}()
	for i := range viewers {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return res, err
		}
		viewers[i] = &viewer{fd: fd, next: i % len(requests)}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
			return res, fmt.Errorf("connect: %w", err)
		}
		unix.SetNonblock(fd, true)
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			return res, err
		}
	}
	want := []byte("HTTP/1.1 " + strconv.Itoa(w.status) + " ")
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 16<<10)
	w.before()
	m := newMeter(w)
	send := func(v *viewer) error {
		v.asked = time.Now()
		_, err := unix.Write(v.fd, requests[v.next])
		v.next = (v.next + 1) % len(requests)
		return err
	}
	for _, v := range viewers {
		if err := send(v); err != nil {
			return res, err
		}
	}
	for !m.over() {
		n, err := unix.EpollWait(epoll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return res, err
		}
		for _, ev := range events[:max(n, 0)] {
			v := viewers[ev.Fd]
			done, n, err := v.read(buf, want)
			m.Bytes += int64(n)
			if err != nil {
				return res, err
			}
			if done {
				m.answered(v.asked)
				if err := send(v); err != nil {
					return res, err
				}
			}
		}
	}
	return m.end()
}

// read reads what has come, and reports whether that is the end of an answer.
func (v *viewer) read(buf, want []byte) (done bool, took int, err error) {
	for {
		var n int
		if v.inBody {
			n, err = discard(v.fd, v.left)
		} else {
			n, _, err = unix.Recvfrom(v.fd, buf, unix.MSG_DONTWAIT)
		}
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false, took, nil
		case err != nil:
			return false, took, err
		case n == 0:
			return false, took, errors.New("the connection was closed")
		}
		took += n
		if v.inBody {
			v.left -= n
		} else {
			v.head = append(v.head, buf[:n]...)
			end := bytes.Index(v.head, []byte("\r\n\r\n"))
			if end < 0 {
				continue
			}
			if !bytes.HasPrefix(v.head, want) {
				return false, took, fmt.Errorf("answered %.300s", v.head)
			}
			length, err := contentLength(v.head[:end+2])
			if err != nil {
				return false, took, err
			}
			v.inBody, v.left = true, end+4+length-len(v.head)
			v.head = v.head[:0]
		}
		if v.left == 0 {
			v.inBody = false
			return true, took, nil
		}
	}
}

func contentLength(head []byte) (int, error) {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if len(name) == 14 && bytes.EqualFold(name, []byte("content-length")) {
			return strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	return 0, fmt.Errorf("no Content-Length: %s", head)
}

// discard has the kernel throw away so many bytes (tcp(7), MSG_TRUNC).
func discard(fd, n int) (int, error) {
	got, _, e := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(got), nil
}
