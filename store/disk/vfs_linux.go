package disk

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// openDirect opens an existing file for writes around the page cache, or
// returns nil where there are none.
func openDirect(path string) *os.File {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil
	}
	return f
}

func syncData(f *os.File) error {
	defer runtime.KeepAlive(f)
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
