//go:build !linux

package edge

import "errors"

// A poller is only there on Linux; elsewhere net/http serves every connection.
type poller struct{}

func newPoller(func(id uint64)) (*poller, error) {
	return nil, errors.New("edge: waiting without a goroutine is for Linux alone")
}

func (*poller) arm(int, uint64, *bool, bool) error { return errors.ErrUnsupported }
func (*poller) disarm(int)                         {}
func (*poller) run()                               {}
func (*poller) close()                             {}
func (*poller) release()                           {}

func temporary(error) bool { return false }
