//go:build unix

package listen

import (
	"net"
	"syscall"

	"headwater/admit"
)

// writeTurn writes what goes at once of p, in a turn. To wait for the other side to
// read takes no turn.
func writeTurn(nc net.Conn, p []byte, take func() *admit.Turn) (n int, err error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nc.Write(p) // in memory
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		turn := take()
		defer turn.Give()
		for {
			n, failed = syscall.Write(int(fd), p)
			if failed != syscall.EINTR {
				break
			}
		}
		if failed == nil {
			return true
		}
		n = 0
		return failed != syscall.EAGAIN
	})
	if err == nil && failed != nil {
		err = &net.OpError{Op: "write", Net: "tcp", Source: nc.LocalAddr(), Addr: nc.RemoteAddr(), Err: failed}
	}
	return n, err
}
