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

// FS is what the store needs of a file system. The default is the operating
// system's; whoever simulates a disk puts faults and power failures in its place.
// All of it is safe for concurrent use.
type FS interface {
	Mkdir(dir string) error                           // with its parents, durably; no error where it is there
	List(dir string) ([]string, error)                // names of the files in it, not of directories
	Create(path string) (File, error)                 // a new file, not yet durable in its directory
	Open(path string) (f File, size int64, err error) // to read and write; to read where it is read-only
	Rename(from, to string) error                     // in place of what is there
	Remove(path string) error
	SyncDir(dir string) error                 // makes the names in it durable
	Free(dir string) (bytes int64, err error) // what this process may still write
	Lock(dir string) (io.Closer, error)       // ErrLocked if another one holds it; it is given up with the process
}

// File is a file that is read anywhere and appended to by one goroutine.
type File interface {
	io.ReaderAt
	io.WriterAt // any bytes, of the files that are small
	io.Closer

	// WriteBlocks writes whole blocks: off and len(b) are multiples of 4096, and
	// so is the address of b, which is not kept. An error may leave a part written.
	WriteBlocks(off int64, b []byte) error
	Sync() error // data and size, not times
	Truncate(size int64) error
	Retire() // no WriteBlocks follows
}

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

func (osFS) Mkdir(dir string) error {
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
		if err := (osFS{}).SyncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

func (osFS) List(dir string) ([]string, error) {
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

func (osFS) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return &osFile{f, openDirect(path)}, nil
}

func (osFS) Open(path string) (File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, syscall.EROFS) {
		f, err = os.Open(path)
	}
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

func (f *osFile) WriteBlocks(off int64, b []byte) error {
	if f.direct != nil {
		_, err := f.direct.WriteAt(b, off)
		if off > 0 || !errors.Is(err, syscall.EINVAL) {
			return err
		}
		// The first write of all: blocks of another size, or no direct writes
		// after all. Later the syncer uses direct, too.
		f.Retire()
	}
	_, err := f.File.WriteAt(b, off)
	return err
}

func (f *osFile) Sync() error {
	if f.direct != nil {
		return syncData(f.direct)
	}
	return syncData(f.File)
}

func (f *osFile) Truncate(size int64) error { return f.File.Truncate(size) }

func (f *osFile) Retire() {
	if f.direct != nil {
		f.direct.Close()
		f.direct = nil
	}
}

func (f *osFile) Close() error {
	f.Retire()
	return f.File.Close()
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(path string) error     { return os.Remove(path) }

func (osFS) SyncDir(dir string) error {
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
