//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A reader is one connection of a crowd: it asks, throws the answer away, and asks
// again; or, if it heeds what it is told, when it may.
type reader struct {
	fd    int
	slot  int
	k     int // requests so far
	head  []byte
	left  int // bytes of the body; -1: the head is read
	until time.Time
	ends  bool // the connection, with this answer
	free  bool // among those that may ask
	life  string
}

// elsewhere is the address that storms come from; those of a rate come from so many
// from there on.
var elsewhere = [4]byte{127, 0, 0, 2}

const addresses = 32

// crowd has so many connections ask for paths: each again when it has its answer, or,
// where there is a rate, whichever is free when a request is due. One thread with epoll
// is all of them; bodies are thrown away in the kernel (MSG_TRUNC).
func (b *blower) crowd(conns int, heed bool, path func(conn, k int) string) error {
	at, err := netip.ParseAddrPort(b.target)
	if err != nil {
		return err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(epoll)
	if b.rate < 0 {
		conns, heed = 16, false
	}
	b.Conns = conns
	var free []*reader // those that may ask, where there is a rate
	due := 0           // requests so far
	readers := make([]*reader, conns)
	connect := func(r *reader) error {
		if r.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			return err
		}
		from := elsewhere
		if b.rate > 0 {
			from[3] += byte(r.slot % addresses)
		}
		if err := unix.Bind(r.fd, &unix.SockaddrInet4{Addr: from}); err != nil {
			return err
		}
		r.head, r.left, r.ends, r.until = r.head[:0], -1, false, time.Time{}
		if err := unix.Connect(r.fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil && !errors.Is(err, unix.EINPROGRESS) {
			return err
		}
		return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, r.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET | unix.EPOLLRDHUP, Fd: int32(r.slot)})
	}
	asking := make([]bool, conns) // a request is under way
	send := func(r *reader, path string) {
		req := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, b.target)
		if _, err := unix.Write(r.fd, req); err == nil {
			r.k++
			asking[r.slot] = true
		}
	}
	ask := func(r *reader) {
		if b.rate > 0 {
			if !r.free {
				r.free, free = true, append(free, r)
			}
			return
		}
		if b.rate < 0 { // the same requests as at a rate
			send(r, path(due, due/8))
			due++
			return
		}
		send(r, path(r.slot, r.k))
	}
	// pace has those ask that are due.
	pace := func() {
		for until := int(time.Since(b.began).Seconds() * b.rate); due < until; due++ {
			if len(free) == 0 {
				b.Waited++
				continue
			}
			r := free[0]
			free, r.free = free[1:], false
			send(r, path(due, due/8))
		}
	}
	again := func(r *reader, why string) error {
		b.Failures[why]++
		unix.Close(r.fd)
		asking[r.slot] = false
		return connect(r)
	}
	for i := range readers {
		readers[i] = &reader{slot: i}
		if err := connect(readers[i]); err != nil {
			return err
		}
	}
	defer func() {
		for _, r := range readers {
			unix.Close(r.fd)
		}
	}()
	patience := 20 // ms
	if b.rate > 0 {
		patience = 1
	}
	events, buf := make([]unix.EpollEvent, 256), make([]byte, 16<<10)
	swept := time.Now()
	for time.Since(b.began) < b.length {
		pace()
		n, err := unix.EpollWait(epoll, events, patience)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, ev := range events[:max(n, 0)] {
			r := readers[ev.Fd]
			if ev.Events&unix.EPOLLOUT != 0 && !asking[r.slot] && r.until.IsZero() {
				ask(r)
			}
			for {
				status, wait, err := r.read(buf, &b.Bytes)
				if errors.Is(err, unix.EAGAIN) {
					break
				}
				if err != nil {
					if err := again(r, err.Error()); err != nil {
						return err
					}
					break
				}
				b.Requests++
				b.Statuses[status]++
				if status == "503" {
					b.Lives[r.life]++
				}
				asking[r.slot] = false
				if r.ends {
					if err := again(r, "closed, as was said"); err != nil {
						return err
					}
					break
				}
				if heed && wait > 0 {
					r.until = time.Now().Add(wait)
					break
				}
				ask(r)
			}
		}
		if now := time.Now(); now.Sub(swept) > 20*time.Millisecond {
			swept = now
			for _, r := range readers {
				if !r.until.IsZero() && now.After(r.until) {
					r.until = time.Time{}
					ask(r)
				}
			}
		}
	}
	return nil
}

// read reads what has come, until an answer ends.
func (r *reader) read(buf []byte, bytesRead *int64) (status string, wait time.Duration, err error) {
	for {
		var n int
		if r.left >= 0 {
			got, _, e := unix.Syscall6(unix.SYS_RECVFROM, uintptr(r.fd), 0, uintptr(max(r.left, 1)), unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
			if e != 0 {
				return "", 0, e
			}
			n = int(got)
			r.left -= n
		} else {
			if n, _, err = unix.Recvfrom(r.fd, buf, unix.MSG_DONTWAIT); err != nil {
				return "", 0, err
			}
			r.head = append(r.head, buf[:n]...)
		}
		if n == 0 {
			return "", 0, errors.New("closed")
		}
		*bytesRead += int64(n)
		if r.left < 0 {
			end := bytes.Index(r.head, []byte("\r\n\r\n"))
			if end < 0 {
				continue
			}
			length, _ := strconv.Atoi(field(r.head[:end+2], "content-length"))
			r.left = end + 4 + length - len(r.head)
		}
		if r.left <= 0 {
			status = string(r.head[9:min(12, len(r.head))])
			if after, err := strconv.Atoi(field(r.head, "retry-after")); err == nil {
				wait = time.Duration(after) * time.Second
			}
			r.life = field(r.head, "cache-control") + ", Retry-After " + field(r.head, "retry-after")
			r.ends = field(r.head, "connection") == "close"
			r.head, r.left = r.head[:0], -1
			return status, wait, nil
		}
	}
}

// field is a header's value.
func field(head []byte, name string) string {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		k, v, ok := bytes.Cut(line, []byte(":"))
		if ok && len(k) == len(name) && bytes.EqualFold(k, []byte(name)) {
			return string(bytes.TrimSpace(v))
		}
	}
	return ""
}
