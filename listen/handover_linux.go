package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func closeOnExec(fd int) { syscall.CloseOnExec(fd) }

// inherit asks the process that has the path, where there is one, for its sockets.
func (s *Sockets) inherit(ctx context.Context) error {
	c, err := new(net.Dialer).DialContext(ctx, "unixpacket", s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil // nobody, or somebody who died
	case err != nil:
		return fmt.Errorf("listen: hand-over: %w", err)
	}
	old := c.(*net.UnixConn)
	if err := s.receive(ctx, old); err != nil {
		old.Close()
		return err
	}
	s.old = old
	s.log.Info("sockets taken over", "from", s.path, "sockets", len(s.inherited))
	return nil
}

func (s *Sockets) receive(ctx context.Context, old *net.UnixConn) error {
	if err := sameUser(old); err != nil {
		return err
	}
	text, oob := make([]byte, 256), make([]byte, unix.CmsgSpace(4*2*maxSockets))
	// Where a third process is being served this waits until that is over.
	defer context.AfterFunc(ctx, func() { old.Close() })()
	n, oobn, flags, _, err := old.ReadMsgUnix(text, oob)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("listen: hand-over: %w", ctx.Err())
	case err != nil || n == 0:
		return ErrBusy
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return fmt.Errorf("listen: hand-over: %w", err)
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			closeOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "socket "+strconv.Itoa(fd)))
		}
	}
	var sockets int
	var number uint16
	if _, err := fmt.Sscanf(string(text[:n]), greeting, &sockets, &number); err != nil || flags&unix.MSG_CTRUNC != 0 || sockets > len(files) {
		for _, f := range files {
			f.Close()
		}
		return errors.New("listen: hand-over: the running process speaks another language")
	}
	s.number = number + 1
	ways := files[sockets:]
	for _, f := range files[:sockets] {
		i := inherited{File: f}
		if typ, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_TYPE); err == nil && typ == unix.SOCK_DGRAM && len(ways) > 0 {
			i.older, ways = ways[0], ways[1:]
		}
		s.inherited = append(s.inherited, i)
	}
	return nil
}

// sameUser refuses strangers: sockets are worth having.
func sameUser(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("listen: hand-over: %w", err)
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || cerr != nil {
		return fmt.Errorf("listen: hand-over: %w", errors.Join(err, cerr))
	}
	if uid := os.Getuid(); int(cred.Uid) != uid && cred.Uid != 0 {
		return fmt.Errorf("listen: hand-over: the other process is of user %d, not %d", cred.Uid, uid)
	}
	return nil
}

// awaitSuccessor listens at the path. It is put in its place whole: whoever
// connects before finds the predecessor, and after finds us. Needs mu.
func (s *Sockets) awaitSuccessor() error {
	temporary := s.path + "." + strconv.Itoa(os.Getpid())
	os.Remove(temporary)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: temporary, Net: "unixpacket"})
	if err != nil {
		return fmt.Errorf("listen: hand-over: %w", err)
	}
	l.SetUnlinkOnClose(false)
	err = os.Chmod(temporary, 0o600)
	if err == nil {
		err = os.Rename(temporary, s.path)
	}
	if err != nil {
		l.Close()
		os.Remove(temporary)
		return fmt.Errorf("listen: hand-over: %w", err)
	}
	s.successor = l
	s.tasks.Go(func() { s.giveAway(l) })
	return nil
}

// giveAway gives copies of the sockets to whoever comes, one after the other,
// until one of them serves.
func (s *Sockets) giveAway(l *net.UnixListener) {
	defer l.Close()
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.talking = c
		s.mu.Unlock()
		took, err := s.give(c)
		c.Close()
		s.mu.Lock()
		s.talking = nil
		closed := s.closed
		s.mu.Unlock()
		switch {
		case closed:
			return
		case took:
			close(s.taken)
			return
		default:
			s.log.Warn("a process that took the sockets over does not serve: going on", "err", err)
		}
	}
}

// give sends the sockets, and waits until the successor serves or ends.
func (s *Sockets) give(c *net.UnixConn) (took bool, err error) {
	if err := sameUser(c); err != nil {
		return false, err
	}
	s.mu.Lock()
	open, packets := append([]socket(nil), s.open...), append([]*Packets(nil), s.packets...)
	s.mu.Unlock()
	ways, theirs, err := newWays(len(packets))
	defer func() {
		for _, fd := range theirs {
			unix.Close(fd)
		}
		if !took {
			for _, w := range ways {
				w.Close()
			}
		}
	}()
	if err == nil {
		err = withDescriptors(open, nil, func(fds []int) error {
			_, _, err := c.WriteMsgUnix(fmt.Appendf(nil, greeting, len(fds), s.number), unix.UnixRights(append(fds, theirs...)...), nil)
			return err
		})
	}
	if err != nil {
		return false, fmt.Errorf("listen: hand-over: %w", err)
	}
	word := make([]byte, 64)
	var resume func()
	for said := ""; said != serving; {
		n, err := c.Read(word)
		switch said = string(word[:n]); said {
		case serving:
		case claiming:
			if s.Yield != nil && resume == nil {
				resume = s.Yield()
				c.SetReadDeadline(time.Now().Add(s.patience))
			}
			c.Write([]byte(yielded))
		default:
			if resume != nil {
				resume()
			}
			return false, err
		}
	}
	s.mu.Lock()
	s.given = true // before it can put its own socket at the path
	s.mu.Unlock()
	for i, p := range packets {
		p.pass(ways[i])
	}
	c.Write([]byte(draining))
	return true, nil
}

// newWays makes ways to pass packets on: the ends that are ours, and the
// descriptors of the others.
func newWays(n int) (ours []*net.UnixConn, theirs []int, err error) {
	for range n {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return ours, theirs, err
		}
		theirs = append(theirs, pair[1])
		f := os.NewFile(uintptr(pair[0]), "packets")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			return ours, theirs, err
		}
		ours = append(ours, c.(*net.UnixConn))
	}
	return ours, theirs, nil
}

// withDescriptors calls f while all sockets are kept open.
func withDescriptors(list []socket, fds []int, f func([]int) error) error {
	if len(list) == 0 {
		return f(fds)
	}
	raw, err := list[0].SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := raw.Control(func(fd uintptr) { ferr = withDescriptors(list[1:], append(fds, int(fd)), f) }); err != nil {
		return err
	}
	return ferr
}
