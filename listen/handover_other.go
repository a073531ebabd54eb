//go:build !linux

package listen

import (
	"context"
	"errors"
)

func closeOnExec(int) {}

// Sockets are handed over on Linux alone.
func (s *Sockets) inherit(context.Context) error {
	return errors.New("listen: hand-over is for Linux alone")
}

func (s *Sockets) awaitSuccessor() error { return errors.ErrUnsupported }
