package disk

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// writeAt hands the kernel the caller's bytes in place: the one copy of a
// value is the kernel's own.
func (f osFile) writeAt(off int64, bufs [][]byte) error {
	defer runtime.KeepAlive(f.File)
	for len(bufs) > 0 {
		n, err := unix.Pwritev(int(f.Fd()), bufs, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "pwritev", Path: f.Name(), Err: err}
		}
		off += int64(n)
		bufs = advance(bufs, n)
	}
	return nil
}

// advance returns bufs without their first n bytes and without empty ones at
// the front.
func advance(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}

func (f osFile) sync() error {
	defer runtime.KeepAlive(f.File)
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
}
