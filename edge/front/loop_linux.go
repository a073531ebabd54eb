package front

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A poller tells a loop what happens to its sockets: a descriptor of epoll. Each
// socket is entered once, and each change reported once (EPOLLET).
type poller struct {
	epoll, event int  // descriptors; event is an eventfd that wakes
	calm         bool // little happened when it was waited for last
	list         [256]unix.EpollEvent
}

func newPoller() (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("front: epoll: %w", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: -1})
	}
	if err != nil {
		unix.Close(epoll)
		unix.Close(event)
		return nil, fmt.Errorf("front: epoll: %w", err)
	}
	return &poller{epoll: epoll, event: event}, nil
}

func (p *poller) wake() {
	one := [8]byte{1}
	unix.Write(p.event, one[:])
}

func (p *poller) close() {
	unix.Close(p.epoll)
	unix.Close(p.event)
}

// busy is how much happens at once where it is worth looking before waiting.
const busy = 4

// wait collects what has happened. Only where that is nothing it waits, in a
// system call that Go's scheduler knows of: else the collector would wait too.
func (p *poller) wait(l *loop, timeout time.Duration) {
	n := uintptr(0)
	if !p.calm || timeout == 0 {
		n, _, _ = syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.list)), uintptr(len(p.list)), 0, 0, 0)
	}
	if int(n) <= 0 && timeout != 0 {
		ms := -1
		if timeout > 0 {
			ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
		}
		m, err := unix.EpollWait(p.epoll, p.list[:], ms)
		if err != nil {
			m = 0
		}
		n, p.calm = uintptr(m), m < busy
	}
	for i := range max(int(n), 0) {
		ev := &p.list[i]
		if ev.Fd < 0 {
			var eight [8]byte
			unix.Read(p.event, eight[:])
			continue
		}
		// A slot may be another's by now: then its socket has this descriptor no more.
		if c := l.conns[ev.Fd]; c != nil && c.turns == ev.Pad {
			l.events = append(l.events, happening{c, eventsOf(ev.Events)})
		}
	}
}

func eventsOf(e uint32) (is events) {
	if e&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		is |= eventIn
	}
	if e&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		is |= eventOut
	}
	if e&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		is |= eventGone
	}
	return is
}

// An fdSocket is a TCP socket. Its system calls never wait, so the scheduler
// need not know of them.
type fdSocket struct {
	fd   int
	loop *loop
}

// newSocket takes a connection out of the hands of package net, which has it
// watched for every change: that would cost more than to answer a request.
func newSocket(tcp *net.TCPConn) socket {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	fd := -1
	if cerr := raw.Control(func(was uintptr) { fd, err = unix.FcntlInt(was, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil || err != nil {
		return nil
	}
	tcp.Close()
	return &fdSocket{fd: fd}
}

func (s *fdSocket) watch(l *loop, c *conn) error {
	s.loop = l
	l.turn++
	c.turns = l.turn
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(c.slot), Pad: c.turns}
	return unix.EpollCtl(l.poller.epoll, unix.EPOLL_CTL_ADD, s.fd, &ev)
}

func (s *fdSocket) read(p []byte) (got int, more bool, err error) {
	for {
		n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case e == unix.EINTR:
		case e == unix.EAGAIN:
			return 0, false, errWait
		case e != 0:
			return 0, false, e
		case n == 0:
			return 0, false, io.EOF
		default:
			return int(n), int(n) == len(p), nil
		}
	}
}

func (s *fdSocket) write(a, b []byte) (int, error) {
	if len(b) == 0 {
		return s.send(a)
	}
	iov := [2]unix.Iovec{{Base: unsafe.SliceData(a)}, {Base: unsafe.SliceData(b)}}
	iov[0].SetLen(len(a))
	iov[1].SetLen(len(b))
	msg := unix.Msghdr{Iov: &iov[0]}
	msg.SetIovlen(2)
	for {
		n, _, e := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		switch {
		case e == unix.EINTR:
		case e == unix.EAGAIN:
			return 0, nil
		case e != 0:
			return 0, e
		default:
			return int(n), nil
		}
	}
}

// send is write for one piece, of which the kernel has less to look at.
func (s *fdSocket) send(p []byte) (int, error) {
	for {
		n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
		switch {
		case e == unix.EINTR:
		case e == unix.EAGAIN:
			return 0, nil
		case e != 0:
			return 0, e
		default:
			return int(n), nil
		}
	}
}

func (s *fdSocket) flush() (bool, error) { return true, nil }
func (s *fdSocket) closeWrite()          { unix.Shutdown(s.fd, unix.SHUT_WR) }
func (s *fdSocket) close()               { unix.Close(s.fd) }

func (s *fdSocket) handOver() (net.Conn, error) {
	if s.loop != nil {
		// Another descriptor of it goes on: it must be told of no more.
		unix.EpollCtl(s.loop.poller.epoll, unix.EPOLL_CTL_DEL, s.fd, nil)
	}
	f := os.NewFile(uintptr(s.fd), "viewer")
	defer f.Close()
	s.fd = -1 // f closes it, and its number may be another's at once
	return net.FileConn(f)
}

// temporary reports whether accepting may work again soon.
func temporary(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ECONNABORTED, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
