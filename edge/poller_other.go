//go:build !linux

package edge

import (
	"errors"
	"syscall"
)

// A poller is only there on Linux; elsewhere net/http serves every connection.
type poller struct{}

func newPoller(func(id uint64)) (*poller, error) {
	return nil, errors.New("edge: waiting without a goroutine is for Linux alone")
}

const pollIn, pollOut, pollGone = 1, 2, 4

func (*poller) arm(int, uint64, *bool, uint32) error { return errors.ErrUnsupported }
func (*poller) disarm(int)                           {}
func (*poller) run()                                 {}
func (*poller) close()                               {}
func (*poller) release()                             {}

func writev(uintptr, [][]byte) (int, error) { return 0, errors.ErrUnsupported }

func pending(syscall.RawConn) bool { return false }

func temporary(error) bool { return false }
