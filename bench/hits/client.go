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
	requests int
	bytes    int64
	length   time.Duration
	cpu      time.Duration // of the cache
	p50, p99 time.Duration
}

func (r result) rate() float64      { return float64(r.requests) / r.length.Seconds() }
func (r result) gigabytes() float64 { return float64(r.bytes) / 1e9 / r.length.Seconds() }
func (r result) perCPU() float64    { return float64(r.requests) / max(r.cpu.Seconds(), 0.01) }
func (r result) cpuPerGB() float64  { return r.cpu.Seconds() / (float64(r.bytes) / 1e9) }

// A viewer is one connection: it asks, reads the answer, and asks again.
type viewer struct {
	fd     int
	next   int // of the paths
	asked  time.Time
	inBody bool
	left   int // bytes of the body
	head   []byte
}

// ask has so many connections ask for paths for a while. One thread with epoll is
// all of them; bodies are thrown away in the kernel (MSG_TRUNC).
func ask(addr string, paths []string, conns int, length time.Duration, status int) (res result, err error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return res, err
	}
	var requests [][]byte
	for _, p := range paths {
		requests = append(requests, fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: hits/1\r\nAccept: */*\r\n\r\n", p, addr))
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return res, err
	}
	defer unix.Close(epoll)
	viewers := make([]*viewer, conns)
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
		viewers[i] = &viewer{fd: fd, next: i % len(paths)}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
			return res, fmt.Errorf("connect: %w", err)
		}
		unix.SetNonblock(fd, true)
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			return res, err
		}
	}
	want := []byte("HTTP/1.1 " + strconv.Itoa(status) + " ")
	delays := make([]time.Duration, 0, 1<<20)
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 16<<10)
	began := time.Now()
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
	for time.Since(began) < length {
		n, err := unix.EpollWait(epoll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return res, err
		}
		for _, ev := range events[:max(n, 0)] {
			v := viewers[ev.Fd]
			done, n, err := v.read(buf, want)
			res.bytes += int64(n)
			if err != nil {
				return res, err
			}
			if done {
				res.requests++
				delays = append(delays, time.Since(v.asked))
				if err := send(v); err != nil {
					return res, err
				}
			}
		}
	}
	res.length = time.Since(began)
	if len(delays) == 0 {
		return res, errors.New("no answer came")
	}
	slices.Sort(delays)
	res.p50, res.p99 = delays[len(delays)/2], delays[len(delays)*99/100]
	return res, nil
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
