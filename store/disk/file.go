package disk

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"
)

// logFile is one file of a log. It is appended to by the log's writer until it
// is retired, then sealed by the syncer, and at last dropped by the janitor.
type logFile struct {
	seq  uint64
	id   uint64
	path string
	f    File

	until   time.Time    // when its bucket ends; the writer's
	size    atomic.Int64 // bytes appended; written by the writer, and by the syncer once retired
	durable atomic.Int64 // bytes known to be on disk; written by the syncer
	broken  atomic.Bool  // a sync failed: what is beyond durable is not to be trusted, nor a later sync

	failure error // the syncer's own: what it answers once broken is set

	// users counts who may read or write f: the store itself, and each read.
	users atomic.Int32

	// Guarded by the log's mu.
	sealed  bool  // nothing is appended any more
	refs    int   // entries in the index that came from this file
	live    int64 // bytes of records that refs counts
	shadows bool  // a record of it replaced or deleted something, which must not return when it goes
	damaged bool  // holds unreadable records that were not moved elsewhere
}

// location is where a record is, as the index holds it.
type location struct {
	file   *logFile
	offset int64
	size   int64 // of the value
	head   int32
	meta   uint32
	pad    uint16 // zero bytes behind it
}

func (l *location) len() int64 { return int64(l.head) + l.size }

// footprint is what the record takes of its file.
func (l *location) footprint() int64 { return l.len() + int64(l.pad) }

// release gives up one use; the last one closes the file.
func (f *logFile) release() {
	if f.users.Add(-1) == 0 {
		f.f.Close()
	}
}

const (
	fileSuffix    = ".log"
	damagedSuffix = ".damaged" // set aside: a person may still want what is in it
)

func fileName(seq, id uint64) string { return fmt.Sprintf("%016x-%016x%s", seq, id, fileSuffix) }

func parseFileName(name string) (seq, id uint64, ok bool) {
	n, err := fmt.Sscanf(name, "%016x-%016x"+fileSuffix, &seq, &id)
	return seq, id, n == 2 && err == nil && name == fileName(seq, id)
}

// createFile makes the next file, whose name is durable when it returns.
func createFile(fsys FS, dir, namespace string, seq, id uint64, now time.Time) (*logFile, error) {
	lf := &logFile{seq: seq, id: id, path: filepath.Join(dir, fileName(seq, id))}
	f, err := fsys.Create(lf.path)
	if err != nil {
		return nil, err
	}
	block := newBlocks(fileHeaderSize)
	copy(block, fileHeader(id, now.UnixMilli(), namespace))
	if err = f.WriteBlocks(0, block); err == nil {
		err = fsys.SyncDir(dir)
	}
	if err != nil {
		f.Close()
		// Best effort: what remains holds no records and goes at the next start.
		_ = fsys.Remove(lf.path)
		return nil, err
	}
	lf.f = f
	lf.size.Store(fileHeaderSize)
	lf.users.Store(1)
	return lf, nil
}
