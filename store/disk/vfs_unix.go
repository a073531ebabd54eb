//go:build linux || darwin || freebsd

package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const lockFile = "LOCK"

func (osFS) Free(dir string) (int64, error) {
	var st unix.Statfs_t
	for {
		if err := unix.Statfs(dir, &st); err != unix.EINTR {
			return int64(st.Bavail) * int64(st.Bsize), err
		}
	}
}

// Lock takes an advisory lock, which the kernel releases when the process ends
// in whatever way, of the directory itself: that cannot be taken away from under
// us, as a file can. The file LOCK is locked beside it, for programs that know only
// of that, and tells a person who holds it.
func (osFS) Lock(dir string) (io.Closer, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := flock(d); err != nil {
		holder, _ := os.ReadFile(filepath.Join(dir, lockFile))
		d.Close()
		if errors.Is(err, ErrLocked) {
			err = fmt.Errorf("%w (process %s)", err, strings.TrimSpace(string(holder)))
		}
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return d, nil
	} else if err == nil {
		err = flock(f)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	// On a full disk the number may be missing; the lock holds all the same.
	if f.Truncate(0) == nil {
		fmt.Fprintln(f, os.Getpid())
	}
	return closers{f, d}, nil
}

func flock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case err == syscall.EWOULDBLOCK:
		return ErrLocked
	case err != nil:
		return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return nil
}

type closers []io.Closer

func (c closers) Close() (err error) {
	for _, one := range c {
		err = errors.Join(err, one.Close())
	}
	return err
}
