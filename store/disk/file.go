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

	// The twin. The syncer's own while the file is active; then it is only read.
	// twin is nil where there is none.
	twinPath   string
	twin       File
	twinEnd    atomic.Int64 // bytes in it
	twinBroken bool         // it is not written to any more
	records    int          // in it

	ragged atomic.Bool // a write that failed left something behind its end

	failure error // the syncer's own: what it answers once broken is set

	// users counts who may read or write f: the store itself, and each read.
	users atomic.Int32

	// Guarded by the log's mu.
	sealed  bool  // nothing is appended any more
	refs    int   // entries in the index that came from this file
	live    int64 // bytes of records that refs counts
	shadows bool  // a record of it replaced or deleted something, which must not return when it goes
	damaged bool  // holds unreadable records that were not moved elsewhere
	gone    bool  // there is no such file, or it cannot be opened: f is nil
	lost    []Loss
	ranges  map[string]keyRange // of what is in it by record, where the log keeps that
	sealAt  int64               // where its seal is; 0: there is none
	unread  chan struct{}       // closed once it is read; nil: it was read at the start
	wanted  bool                // somebody waits for it to be read
}

// location is where a record is, as the index holds it.
type location struct {
	file   *logFile
	offset int64
	size   int64 // of the value
	head   int32
	meta   uint32
	pad    uint16 // zero bytes behind it
	twin   int64  // where it is in the file's twin; 0: it is not
}

func (l *location) len() int64 { return int64(l.head) + l.size }

// footprint is what the record takes of its file.
func (l *location) footprint() int64 { return l.len() + int64(l.pad) }

// release gives up one use; the last one closes the file.
func (f *logFile) release() {
	if f.users.Add(-1) == 0 {
		f.close()
	}
}

func (f *logFile) close() {
	for _, file := range [...]File{f.f, f.twin} {
		if file != nil {
			file.Close()
		}
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

// file names a log file and its twin.
func (l *log) file(seq, id uint64) *logFile {
	return &logFile{seq: seq, id: id, path: filepath.Join(l.dir, fileName(seq, id)),
		twinPath: filepath.Join(filepath.Dir(l.dir), twinDir, twinName(l.namespace, seq, id))}
}

// createFile makes the next file and its twin. Their names are durable when it
// returns, and the manifest has them.
func (l *log) createFile(id uint64, now time.Time) (*logFile, error) {
	lf := l.file(l.nextSeq, id)
	if err := l.create(lf, now); err != nil {
		lf.close()
		// Best effort: what remains holds no records and goes at the next start. What the
		// manifest may have must remain: a file that is listed and not there is a loss.
		if l.manifest.withdraw(l.namespace, lf.id) {
			_ = l.fs.Remove(lf.path)
			_ = l.fs.Remove(lf.twinPath)
		}
		return nil, err
	}
	lf.size.Store(fileHeaderSize)
	lf.users.Store(1)
	return lf, nil
}

func (l *log) create(lf *logFile, now time.Time) (err error) {
	if lf.f, err = l.fs.Create(lf.path); err != nil {
		return err
	}
	block := newBlocks(fileHeaderSize)
	copy(block, fileHeader(lf.id, now.UnixMilli(), l.namespace))
	if err = lf.f.WriteBlocks(0, block); err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err != nil || l.opt.Cache {
		return err
	}
	if lf.twin, err = l.fs.Create(lf.twinPath); err != nil {
		return err
	}
	lf.twin.Retire()
	header := twinHeader(lf.id, l.namespace)
	lf.twinEnd.Store(int64(len(header)))
	if _, err = lf.twin.WriteAt(header, 0); err == nil {
		err = l.fs.SyncDir(filepath.Dir(lf.twinPath))
	}
	if err == nil {
		err = l.manifest.change(func(m *manifest) { m.enter(listed{Namespace: l.namespace, Seq: lf.seq, ID: lf.id}) })
	}
	return err
}
