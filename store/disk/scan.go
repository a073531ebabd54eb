package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
)

// scanner walks over a file's records by their heads.
type scanner struct {
	r   io.ReaderAt
	id  uint64
	end int64 // of the file, or of what shall be looked at

	buf   []byte // what was read last,
	start int64  // and where in the file it begins
	ahead int    // how much to read at once: more while records are small
}

const (
	minRead    = 4 << 10
	maxRead    = 256 << 10
	resyncRead = 256 << 10
)

func newScanner(r io.ReaderAt, id uint64, end int64) *scanner {
	return &scanner{r: r, id: id, end: end, ahead: minRead}
}

// bytes returns the n bytes at off, or fewer where the file ends or cannot be read.
func (s *scanner) bytes(off int64, n int) []byte {
	n = int(max(0, min(int64(n), s.end-off)))
	if n == 0 {
		return nil
	}
	if off < s.start || off+int64(n) > s.start+int64(len(s.buf)) {
		want := int(min(int64(max(n, s.ahead)), s.end-off))
		if cap(s.buf) < want {
			s.buf = make([]byte, want)
		}
		s.start = off
		got, _ := s.r.ReadAt(s.buf[:want], off)
		s.buf = s.buf[:got]
	}
	b := s.buf[off-s.start:]
	return b[:min(n, len(b))]
}

// record returns the record at off, if a whole one of this file is there. Its
// metadata is valid until the next call.
func (s *scanner) record(off int64) (record, bool) {
	// Cheap and not to be forged: a value full of magics costs little.
	if b := s.bytes(off, headSize); len(b) < headSize ||
		binary.LittleEndian.Uint64(b[48:]) != s.id || binary.LittleEndian.Uint64(b[56:]) != uint64(off) {
		return record{}, false
	}
	n := headSize
	for {
		b := s.bytes(off, n)
		r, err := parseHead(b)
		var short shortError
		if errors.As(err, &short) && len(b) == n && int(short) > n {
			n = int(short)
			continue
		}
		if err != nil || off+r.len() > s.end {
			return record{}, false
		}
		if r.len() < maxRead/8 {
			s.ahead = min(2*s.ahead, maxRead)
		} else {
			s.ahead = minRead
		}
		return r, true
	}
}

// resync returns the offset of the first record after off, or the end.
func (s *scanner) resync(off int64) int64 {
	window := make([]byte, resyncRead)
	for at := off + 1; at < s.end; {
		n := int(min(int64(len(window)), s.end-at))
		got, err := s.r.ReadAt(window[:n], at)
		for i := 0; ; i++ {
			j := bytes.Index(window[i:got], []byte(recordMagic))
			if j < 0 {
				break
			}
			i += j
			if _, ok := s.record(at + int64(i)); ok {
				return at + int64(i)
			}
		}
		switch {
		case got == n && at+int64(n) == s.end:
			return s.end
		case got == n:
			at += int64(n - len(recordMagic) + 1)
		case err != nil && !errors.Is(err, io.EOF):
			// An unreadable sector: go on behind it.
			at = (at+int64(got))/minRead*minRead + minRead
		default:
			return s.end
		}
	}
	return s.end
}

// walk calls visit for each record from off on, and bad for each stretch
// between records that holds none. Either ends the walk by returning an error.
func (s *scanner) walk(ctx context.Context, off int64, visit func(record) error, bad func(from, to int64) error) error {
	for off < s.end {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, ok := s.record(off)
		if !ok {
			if block := min(roundUp(off), s.end); off < block && s.padding(off, block) {
				off = block
				continue
			}
			next := s.resync(off)
			if err := bad(off, next); err != nil {
				return err
			}
			off = next
			continue
		}
		// The length first: visit may let the scanner read on.
		next := off + r.len()
		if err := visit(r); err != nil {
			return err
		}
		off = next
	}
	return nil
}

// padding reports whether there are only zero bytes in [from, to), which is
// within a block.
func (s *scanner) padding(from, to int64) bool {
	b := s.bytes(from, int(to-from))
	return len(b) == int(to-from) && len(bytes.TrimLeft(b, "\x00")) == 0
}

// valueGood reads the value of r and reports whether its checksum holds. An
// error that is not the end of the file counts as bad bytes: nobody can serve them.
func valueGood(f io.ReaderAt, r record, buf []byte) bool {
	var sum uint32
	off, left := r.offset+int64(r.headLen()), r.size
	for left > 0 {
		b := buf[:min(int64(len(buf)), left)]
		if n, _ := f.ReadAt(b, off); n < len(b) {
			return false
		}
		sum = updateSum(sum, b)
		off, left = off+int64(len(b)), left-int64(len(b))
	}
	return sum == r.valueSum
}
