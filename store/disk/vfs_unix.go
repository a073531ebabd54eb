//go:build linux || darwin || freebsd

package disk

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func (osFS) free(dir string) (int64, error) {
	var st unix.Statfs_t
	for {
		if err := unix.Statfs(dir, &st); err != unix.EINTR {
			return int64(st.Bavail) * int64(st.Bsize), err
		}
	}
}

// lock takes an advisory lock, which the kernel releases when the process ends
// in whatever way. The file tells a person who holds it.
func (osFS) lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		if err == syscall.EWOULDBLOCK {
			return nil, fmt.Errorf("%w (process %s)", errLocked, strings.TrimSpace(string(holder)))
		}
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	// On a full disk the number may be missing; the lock holds all the same.
	if f.Truncate(0) == nil {
		fmt.Fprintln(f, os.Getpid())
	}
	return f, nil
}
