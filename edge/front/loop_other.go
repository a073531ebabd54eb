//go:build !linux

package front

import (
	"errors"
	"net"
	"time"
)

// A poller is only there on Linux; elsewhere net/http serves every connection.
type poller struct{}

func newPoller() (*poller, error) {
	return nil, errors.New("front: waiting without a goroutine is for Linux alone")
}

func (*poller) wake()                     {}
func (*poller) close()                    {}
func (*poller) wait(*loop, time.Duration) {}

func newSocket(*net.TCPConn) socket { return nil }

func temporary(error) bool { return false }
