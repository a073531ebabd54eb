package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"

	"headwater/store"
)

// vfs is what the store needs of a file system. Tests put faults and power
// failures in its place.
type vfs interface {
	mkdir(dir string) error // with its parents, durably
	list(dir string) ([]string, error)
	create(path string) (file, error) // a new file, not yet durable in its directory
	open(path string) (f file, size int64, err error)
	rename(from, to string) error
	remove(path string) error
	syncDir(dir string) error
	free(dir string) (bytes int64, err error) // what this process may still write
	lock(path string) (io.Closer, error)      // errLocked if another one holds it
}

// file is a file that is read anywhere and appended to by one goroutine.
type file interface {
	io.ReaderAt
	io.Closer

	// writeAt writes whole blocks: off and len(b) are multiples of blockSize,
	// and b comes from newBlocks. An error may leave a part written.
	writeAt(off int64, b []byte) error
	sync() error // data and size, not times
	truncate(size int64) error
	retire() // no writeAt follows
}

var errLocked = errors.New("locked by another process")

// outcome returns err as one of the store's errors: that the disk is full,
// which a wait or an operator cures, is told from all else.
func outcome(err error) error {
	if err == nil || errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrUnavailable) {
		return err
	}
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, full) {
			return fmt.Errorf("%w: %w", store.ErrFull, err)
		}
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// osFS is the operating system's file system.
type osFS struct{}

func (osFS) mkdir(dir string) error {
	var missing []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil || d == filepath.Dir(d) {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		missing = append(missing, d)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, d := range missing {
		if err := (osFS{}).syncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

func (osFS) list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// osFile reads through the page cache. It writes around it where it can: the
// one copy of a value then goes to memory that is used again and again, and not
// to fresh pages that must be found, filled and written back by the kernel.
type osFile struct {
	*os.File
	direct *os.File // nil where the file system has no direct writes
}

func (osFS) create(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return &osFile{f, openDirect(path)}, nil
}

func (osFS) open(path string) (file, int64, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return &osFile{f, nil}, info.Size(), nil
}

func (f *osFile) writeAt(off int64, b []byte) error {
	if f.direct != nil {
		_, err := f.direct.WriteAt(b, off)
		if off > 0 || !errors.Is(err, syscall.EINVAL) {
			return err
		}
		// The first write of all: blocks of another size, or no direct writes
		// after all. Later the syncer uses direct, too.
		f.retire()
	}
	_, err := f.File.WriteAt(b, off)
	return err
}

func (f *osFile) sync() error {
	if f.direct != nil {
		return syncData(f.direct)
	}
	return syncData(f.File)
}

func (f *osFile) truncate(size int64) error { return f.Truncate(size) }

func (f *osFile) retire() {
	if f.direct != nil {
		f.direct.Close()
		f.direct = nil
	}
}

func (f *osFile) Close() error {
	f.retire()
	return f.File.Close()
}

func (osFS) rename(from, to string) error { return os.Rename(from, to) }
func (osFS) remove(path string) error     { return os.Remove(path) }

func (osFS) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

// blockSize is what direct writes are aligned to, in the file and in memory.
const blockSize = 4096

// newBlocks returns a buffer of n bytes that begins at a multiple of blockSize.
func newBlocks(n int) []byte {
	b := make([]byte, n+blockSize)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % blockSize)
	return b[skip : skip+n : skip+n]
}

func roundUp(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }
