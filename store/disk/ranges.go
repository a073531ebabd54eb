package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
)

// RANGES says of each sealed file of media which keys are in it. With that a start need
// not read what is in a file before somebody asks for one of them (postpone.go). It is
// written anew when a file is sealed, and believed as far as files are as it says: without
// it, or where it is damaged or older than a file, a start reads the file.
//
//	 0  magic "HWTRRNG\n"
//	 8  format version, 4 bytes
//	12  crc32c of all that follows
//	16  of each file: id, size, offset of its seal and size of its twin, 8 bytes each;
//	    how many records, 4 bytes; and of each record the lengths of its id, first and
//	    last key, 2 bytes each, 1 byte whether it ends with no key, and the three
//
// All integers are little-endian.
const (
	rangesName    = "RANGES"
	rangesMagic   = "HWTRRNG\n"
	rangesVersion = 1
	rangesHeader  = 16
)

// A keyRange is from a first key to a last one, or with open to the end of a record.
type keyRange struct {
	first, last string
	open        bool
}

// meets reports whether a key of [from, to] is in it; to "" is the end of the record.
func (k keyRange) meets(from, to string) bool {
	return (to == "" || k.first <= to) && (k.open || from <= k.last)
}

// cover has f's ranges hold what r names. A delete is of all that a record has. The log's
// mu is held.
func (f *logFile) cover(r *record) {
	k, there := f.ranges[r.id]
	switch {
	case r.kind == kindDelete:
		k = keyRange{open: true}
	case !there:
		k = keyRange{first: r.key, last: r.key}
	case r.key < k.first:
		k.first = r.key
	case r.key > k.last:
		k.last = r.key
	default:
		return
	}
	if f.ranges == nil {
		f.ranges = make(map[string]keyRange)
	}
	f.ranges[r.id] = k
}

// A sealedFile is what RANGES has of a file.
type sealedFile struct {
	id                   uint64
	size, sealAt, twinAt int64 // twinAt is where the twin ends
	ranges               map[string]keyRange
}

func encodeRanges(files []sealedFile) []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, 4096), rangesMagic...)
	b = le.AppendUint32(b, rangesVersion)
	b = append(b, 0, 0, 0, 0)
	for _, f := range files {
		for _, n := range [...]uint64{f.id, uint64(f.size), uint64(f.sealAt), uint64(f.twinAt)} {
			b = le.AppendUint64(b, n)
		}
		b = le.AppendUint32(b, uint32(len(f.ranges)))
		for id, k := range f.ranges {
			for _, s := range [...]string{id, k.first, k.last} {
				b = le.AppendUint16(b, uint16(len(s)))
			}
			open := byte(0)
			if k.open {
				open = 1
			}
			b = append(b, open)
			b = append(append(append(b, id...), k.first...), k.last...)
		}
	}
	le.PutUint32(b[12:], checksum(b[rangesHeader:]))
	return b
}

func parseRanges(b []byte) (map[uint64]sealedFile, error) {
	le := binary.LittleEndian
	if len(b) < rangesHeader || string(b[:8]) != rangesMagic || le.Uint32(b[8:]) != rangesVersion || checksum(b[rangesHeader:]) != le.Uint32(b[12:]) {
		return nil, fmt.Errorf("%w: ranges", errBadRecord)
	}
	files := make(map[uint64]sealedFile)
	for b = b[rangesHeader:]; len(b) > 0; {
		if len(b) < 36 {
			return nil, fmt.Errorf("%w: ranges of a file", errBadRecord)
		}
		f := sealedFile{id: le.Uint64(b), size: int64(le.Uint64(b[8:])), sealAt: int64(le.Uint64(b[16:])), twinAt: int64(le.Uint64(b[24:])), ranges: make(map[string]keyRange)}
		n := le.Uint32(b[32:])
		b = b[36:]
		for range n {
			if len(b) < 7 {
				return nil, fmt.Errorf("%w: range", errBadRecord)
			}
			id, first, last, open := int(le.Uint16(b)), int(le.Uint16(b[2:])), int(le.Uint16(b[4:])), b[6]
			if b = b[7:]; len(b) < id+first+last || open > 1 {
				return nil, fmt.Errorf("%w: range", errBadRecord)
			}
			f.ranges[string(b[:id])] = keyRange{string(b[id : id+first]), string(b[id+first : id+first+last]), open == 1}
			b = b[id+first+last:]
		}
		files[f.id] = f
	}
	return files, nil
}

func (l *log) rangesPath() string { return filepath.Join(filepath.Dir(l.dir), twinDir, rangesName) }

// readRanges reads RANGES: nothing where it cannot be believed.
func (l *log) readRanges() map[uint64]sealedFile {
	f, size, err := l.fs.Open(l.rangesPath())
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.logger.Warn("what is known of files cannot be opened: they are read", "file", l.rangesPath(), "error", err)
		}
		return nil
	}
	defer f.Close()
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		n = 0
	}
	files, err := parseRanges(b[:n])
	if err != nil {
		l.logger.Warn("what is known of files is damaged, or of another version: they are read", "file", l.rangesPath(), "error", err)
	}
	return files
}

// writeRanges writes RANGES anew. It is no loss where that fails: the next start reads more.
func (l *log) writeRanges() {
	if !l.postpones() || l.manifest.standing() != nil {
		return
	}
	l.rangesTurn.Lock()
	defer l.rangesTurn.Unlock()
	var files []sealedFile
	l.mu.RLock()
	for _, f := range l.files {
		if f.sealed && f.sealAt > 0 && f.twin != nil && !f.gone {
			files = append(files, sealedFile{f.id, f.size.Load(), f.sealAt, f.twinEnd.Load(), f.ranges})
		}
	}
	l.mu.RUnlock()
	f, err := replaceFile(l.fs, l.rangesPath(), encodeRanges(slices.Clip(files)))
	if err != nil {
		l.logger.Warn("what is known of files could not be written: the next start reads them", "error", err)
		return
	}
	f.Close()
}
