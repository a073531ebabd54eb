package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"headwater/store"
)

// Each log file has a twin beside it, in another directory: the heads of its
// records as they are in the log, and the values of those that are small. What is
// in it was durable in the log before. So
//
//   - a start reads twins, and of a log no more than what its twin does not tell
//     of, which is the end of the file that was written last;
//   - that a log has lost something, and what, is known outside it;
//   - control items are there twice: each copy mends the other.
//
// A twin begins with a header as a log does, with a magic of its own and in bytes
// 12 to 15 the size up to which values are in it. A log that an older version wrote
// has none: it is made at the start. A cache has no twins.
const (
	twinMagic  = "HWTRTWN\n"
	twinDir    = "twins"
	twinSuffix = ".twin"

	// What of media is small: journals, not segments.
	mediaTwinValue = 4 << 10
)

func twinName(namespace string, seq, id uint64) string {
	return fmt.Sprintf("%s-%016x-%016x%s", namespace, seq, id, twinSuffix)
}

func parseTwinName(name, namespace string) (seq, id uint64, ok bool) {
	n, err := fmt.Sscanf(name, namespace+"-%016x-%016x"+twinSuffix, &seq, &id)
	return seq, id, n == 2 && err == nil && name == twinName(namespace, seq, id)
}

// twinValue is the size up to which values are in twins.
func twinValue(namespace string) int64 {
	if namespace == store.Control {
		return store.MaxValueBytes
	}
	return mediaTwinValue
}

func twinHeader(id uint64, namespace string) []byte {
	b := fileHeader(id, 0, namespace)
	copy(b, twinMagic)
	binary.LittleEndian.PutUint32(b[12:], uint32(twinValue(namespace)))
	return binary.LittleEndian.AppendUint32(b[:60], checksum(b[:60]))
}

// An entry is a record as its twin has it.
type entry struct {
	record
	raw []byte // the head, and the value where it is in the twin
}

// twinEntry returns the entry of a record whose head and, where that is to be in
// it, value are b.
func twinEntry(r record, b []byte) entry {
	r.meta = nil
	return entry{r, b}
}

func (e *entry) end() int64 { return e.offset + e.len() }

// whole reports whether the value is in the entry, too.
func (e *entry) whole() bool { return int64(len(e.raw)) == e.len() }

// twin is what was read of one.
type twin struct {
	there   bool
	clean   bool    // all of it is readable
	sealed  bool    // it tells of all of a file that is whole
	entries []entry // without the seal, in the order of their offsets
	seal    entry
	end     int64 // where in the log what it tells of ends, the seal aside
}

// parseTwin reads the twin of a file of that id.
func parseTwin(b []byte, id uint64, namespace string) twin {
	t := twin{there: true, end: fileHeaderSize}
	le := binary.LittleEndian
	if len(b) < fileHeaderLen || string(b[:8]) != twinMagic || checksum(b[:60]) != le.Uint32(b[60:]) || le.Uint64(b[16:]) != id {
		return t // nothing in it can be told from another's
	}
	limit := int64(le.Uint32(b[12:]))
	t.clean = le.Uint32(b[8:]) == fileVersion
	last := ""
	for at := fileHeaderLen; at < len(b); {
		r, err := parseHead(b[at:])
		n := r.len()
		if err == nil && r.size > limit {
			n = int64(r.headLen())
		}
		if err != nil || r.fileID != id || n > int64(len(b)-at) {
			t.clean = false
			next := bytes.Index(b[at+1:], []byte(recordMagic))
			if next < 0 {
				break
			}
			at += 1 + next
			continue
		}
		r.twin = int64(at)
		raw := b[at : at+int(n) : at+int(n)]
		at += int(n)
		if r.id == last {
			r.id = last // one string for all
		}
		last = r.id
		switch e := twinEntry(r, raw); {
		case e.whole() && checksum(raw[r.headLen():]) != r.valueSum:
			// The head still tells what there was.
			e.raw = raw[:r.headLen()]
			t.clean = false
			t.entries, t.end = append(t.entries, e), max(t.end, e.end())
		case r.kind == kindSeal:
			t.sealed, t.seal = at == len(b), e
		default:
			t.entries, t.end = append(t.entries, e), max(t.end, e.end())
		}
	}
	if !slices.IsSortedFunc(t.entries, byOffset) {
		slices.SortFunc(t.entries, byOffset)
	}
	return t
}

func byOffset(a, b entry) int { return int(min(max(a.offset-b.offset, -1), 1)) }

// readTwin reads a file's twin. What cannot be read is not there.
func (l *log) readTwin(f *logFile) twin {
	if f.twin == nil { // of one that was postponed it is open
		file, size, err := l.fs.Open(f.twinPath)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				l.logger.Error("the twin of a log file cannot be opened", "file", f.twinPath, "error", err)
			}
			return twin{end: fileHeaderSize}
		}
		f.twin = file
		f.twinEnd.Store(size)
	}
	size := f.twinEnd.Load()
	b := make([]byte, size)
	n, _ := f.twin.ReadAt(b, 0)
	t := parseTwin(b[:n], f.id, l.namespace)
	t.clean = t.clean && int64(n) == size
	return t
}

// writeTwin puts a twin with these entries and a seal in place of what there is,
// and says of each where it is.
func (l *log) writeTwin(f *logFile, entries []entry, seal []byte) error {
	b := twinHeader(f.id, l.namespace)
	for i := range entries {
		entries[i].twin = int64(len(b))
		b = append(b, entries[i].raw...)
	}
	b = append(b, seal...)
	file, err := replaceFile(l.fs, f.twinPath, b)
	if err != nil {
		for i := range entries {
			entries[i].twin = 0
		}
		return err
	}
	l.mu.Lock() // RANGES may be written meanwhile
	f.twin = file
	l.mu.Unlock()
	f.twinEnd.Store(int64(len(b)))
	return nil
}

// replaceFile puts a file with that content in the place of one, durably.
func replaceFile(fsys FS, path string, b []byte) (File, error) {
	temporary := path + ".new"
	_ = fsys.Remove(temporary) // of a crash
	f, err := fsys.Create(temporary)
	if err != nil {
		return nil, err
	}
	f.Retire()
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = fsys.Rename(temporary, path)
	}
	if err == nil {
		err = fsys.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// note enters into the twin what is now durable in the log. For control the twin is
// made durable, too: the items of that are there twice before anybody is told so.
// Where it cannot be written the log goes on alone, and the next start makes it anew.
func (l *log) note(f *logFile, ops []*op) {
	if f.twin == nil || f.twinBroken {
		return
	}
	var b []byte
	for _, o := range ops {
		if o.file == f && !o.retire {
			o.record.twin = f.twinEnd.Load() + int64(len(b))
			b = append(b, o.note...)
			f.records++
		}
	}
	_, err := f.twin.WriteAt(b, f.twinEnd.Load())
	if err == nil && l.namespace == store.Control {
		err = f.twin.Sync()
	}
	if err != nil {
		f.twinBroken = true
		l.counters.writeErrors.Add(1)
		l.logger.Error("the twin of a log file could not be written", "file", f.twinPath, "error", err)
		for _, o := range ops {
			o.record.twin = 0
		}
		return
	}
	f.twinEnd.Add(int64(len(b)))
}

// noteSeal ends the twin of a file that was sealed with that head, and reports
// whether all of it is durable.
func (l *log) noteSeal(f *logFile, head []byte) bool {
	if f.twin == nil || f.twinBroken {
		return false
	}
	_, err := f.twin.WriteAt(head, f.twinEnd.Load())
	if err == nil {
		err = f.twin.Sync()
	}
	if err != nil {
		l.logger.Warn("the twin of a log file could not be ended", "file", f.twinPath, "error", err)
		return false
	}
	f.twinEnd.Add(int64(len(head)))
	return true
}

// twinReader reads entries of twins, of which many are asked for one after the other:
// those of neighbouring keys lie close together, though not in order.
type twinReader struct {
	chunks [16]twinChunk
	next   int // the one to be read over
}

type twinChunk struct {
	file *logFile
	at   int64
	buf  []byte
}

// A chunk begins at a multiple of twinChunkSize, and goes on into the next as far as
// entries usually are long.
const (
	twinChunkSize = 64 << 10
	twinOverlap   = 8 << 10
)

// bytes returns n bytes of f's twin at off, or fewer, until it is called again.
func (t *twinReader) bytes(f *logFile, off int64, n int) []byte {
	at := off / twinChunkSize * twinChunkSize
	if off+int64(n) > at+twinChunkSize+twinOverlap {
		b := make([]byte, n)
		got, _ := f.twin.ReadAt(b, off)
		return b[:got]
	}
	for _, c := range t.chunks {
		if c.file == f && c.at == at {
			return c.bytes(off, n)
		}
	}
	c := &t.chunks[t.next]
	t.next = (t.next + 1) % len(t.chunks)
	if c.buf == nil {
		c.buf = make([]byte, twinChunkSize+twinOverlap)
	}
	got, _ := f.twin.ReadAt(c.buf[:cap(c.buf)], at)
	c.file, c.at, c.buf = f, at, c.buf[:got]
	return c.bytes(off, n)
}

func (c twinChunk) bytes(off int64, n int) []byte {
	from := min(off-c.at, int64(len(c.buf)))
	to := min(from+int64(n), int64(len(c.buf)))
	return c.buf[from:to:to]
}

// inTwin is how many bytes of a record are in the twin.
func (l *log) inTwin(r *record) int64 {
	if r.size > twinValue(l.namespace) {
		return int64(r.headLen())
	}
	return r.len()
}
