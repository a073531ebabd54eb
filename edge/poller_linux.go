package edge

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// A poller watches connections that have no goroutine: a descriptor of epoll,
// and one goroutine that waits on it. Each event is reported once; then the
// connection must be armed again.
type poller struct {
	epoll  int
	pipe   [2]int
	wake   func(id uint64)
	events [256]syscall.EpollEvent
}

func newPoller(wake func(id uint64)) (*poller, error) {
	p := &poller{wake: wake}
	var err error
	if p.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if err = syscall.Pipe2(p.pipe[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		syscall.Close(p.epoll)
		return nil, err
	}
	// Connections are counted from 1: 0 is the pipe that ends it.
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN}
	if err = syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_ADD, p.pipe[0], &ev); err != nil {
		syscall.Close(p.epoll)
		syscall.Close(p.pipe[0])
		syscall.Close(p.pipe[1])
		return nil, err
	}
	return p, nil
}

// What a connection may wait for. That it broke is always told.
const (
	pollIn   = syscall.EPOLLIN | pollGone // something to read
	pollOut  = syscall.EPOLLOUT           // room to write
	pollGone = syscall.EPOLLRDHUP         // the other side's leaving

	epollOneShot = 1 << 30
)

// arm watches a descriptor for one event.
func (p *poller) arm(fd int, id uint64, watched *bool, events uint32) error {
	ev := syscall.EpollEvent{Events: epollOneShot | events, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))}
	op := syscall.EPOLL_CTL_MOD
	if !*watched {
		op, *watched = syscall.EPOLL_CTL_ADD, true
	}
	return syscall.EpollCtl(p.epoll, op, fd, &ev)
}

// disarm forgets a descriptor that somebody else takes over.
func (p *poller) disarm(fd int) { syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_DEL, fd, nil) }

func (p *poller) run() {
	for {
		n, err := syscall.EpollWait(p.epoll, p.events[:], -1)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return
		}
		for _, ev := range p.events[:max(n, 0)] {
			id := uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
			if id == 0 {
				return
			}
			p.wake(id)
		}
	}
}

// close ends run.
func (p *poller) close() { syscall.Close(p.pipe[1]) }

// writev writes what fits into the socket's buffer, without waiting.
func writev(fd uintptr, pieces [][]byte) (int, error) {
	for {
		n, err := unix.Writev(int(fd), pieces)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return max(n, 0), nil
		default:
			return max(n, 0), err
		}
	}
}

// pending reports whether there is something on a connection that was not read.
func pending(raw syscall.RawConn) bool {
	n := 0
	if raw == nil || raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) }) != nil {
		return false
	}
	return n > 0
}

// temporary reports whether accepting may work again soon.
func temporary(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// release gives the descriptors back, when nobody arms any more.
func (p *poller) release() {
	syscall.Close(p.epoll)
	syscall.Close(p.pipe[0])
}
