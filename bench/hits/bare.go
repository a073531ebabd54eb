//go:build linux

package main

import (
	"bytes"
	"fmt"
	"log"
	"net"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

const bareName = "bare"

// bare is a row of reference: what a loop of Go does that looks at nothing. Its
// answers have prepared heads of the size that an edge's have.
func bare(addr string) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		log.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close() // it would be closed when nobody has it
	runtime.LockOSThread()
	type answer struct{ head, body []byte }
	answers := make(map[string]answer)
	for _, s := range sizes {
		head := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Fields: %s\r\n\r\n", s.bytes, strings.Repeat("x", 830))
		answers[s.name] = answer{head, bytes.Repeat([]byte("0123456789abcdef"), s.bytes/16)}
	}
	type viewer struct {
		iov  [2]unix.Iovec
		left int
	}
	listener := int(f.Fd())
	unix.SetNonblock(listener, true)
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		log.Fatal(err)
	}
	watch := func(fd int, events uint32) {
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
			log.Fatal(err)
		}
	}
	watch(listener, unix.EPOLLIN)
	viewers := make(map[int32]*viewer)
	buf := make([]byte, 16<<10)
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(epoll, events, -1)
		if err != nil && err != unix.EINTR {
			log.Fatal(os.NewSyscallError("epoll_wait", err))
		}
		for _, ev := range events[:max(n, 0)] {
			if int(ev.Fd) == listener {
				if fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == nil {
					unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
					viewers[int32(fd)] = new(viewer)
					watch(fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLET)
				}
				continue
			}
			v := viewers[ev.Fd]
			for v != nil {
				if v.left == 0 {
					n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(ev.Fd), pointer(buf), uintptr(len(buf)))
					if e == unix.EAGAIN {
						break
					}
					if e != 0 || n == 0 {
						unix.Close(int(ev.Fd))
						delete(viewers, ev.Fd)
						break
					}
					parts := bytes.SplitN(buf[:n], []byte("/"), 5)
					a := answers[string(parts[min(3, len(parts)-1)])]
					v.iov = [2]unix.Iovec{{Base: &a.head[0]}, {Base: &a.body[0]}}
					v.iov[0].SetLen(len(a.head))
					v.iov[1].SetLen(len(a.body))
					v.left = len(a.head) + len(a.body)
				}
				wrote, _, e := unix.RawSyscall(unix.SYS_WRITEV, uintptr(ev.Fd), vector(&v.iov), 2)
				if e == unix.EAGAIN {
					break
				}
				if e != 0 {
					unix.Close(int(ev.Fd))
					delete(viewers, ev.Fd)
					break
				}
				v.left -= int(wrote)
				for i := range v.iov {
					n := min(int(v.iov[i].Len), int(wrote))
					wrote -= uintptr(n)
					if v.iov[i].SetLen(int(v.iov[i].Len) - n); v.iov[i].Len > 0 { // else it would point behind its end
						v.iov[i].Base = advance(v.iov[i].Base, n)
					}
				}
				if v.left > 0 {
					break
				}
			}
		}
	}
}

func pointer(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

func vector(v *[2]unix.Iovec) uintptr { return uintptr(unsafe.Pointer(v)) }

func advance(p *byte, n int) *byte { return (*byte)(unsafe.Add(unsafe.Pointer(p), n)) }
