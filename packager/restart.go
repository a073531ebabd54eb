package packager

import (
	"bytes"
	"io"
)

// A streams reads one input that may hold several streams end to end: an
// encoder which was killed, perhaps in the middle of a box, and started again
// into the same pipe. Each stream begins with ftyp. Read returns io.EOF at the
// end of each; next goes on with the one after.
//
// It holds nothing back: bytes pass as they come, and a beginning is known when
// its brand is there.
type streams struct {
	r       io.Reader
	pending []byte // read, and belonging to this stream or to those after it
	tail    []byte // the last bytes that were passed on
	passed  int64  // bytes of this stream
	ended   bool   // another begins with pending
	err     error  // of r
}

// beginning is how many bytes tell that a stream begins: size, "ftyp", brand.
const beginning = 12

// brands are the major brands with which encoders begin a fragmented file. A
// size and a brand together cannot be met by chance in media data.
var brands = [...]string{"iso4", "iso5", "iso6", "iso8", "iso9", "isom", "mp41", "mp42", "avc1", "cmfc", "cmf2", "dash", "msdh", "M4V ", "M4A ", "cwmf", "qt  "}

// next begins the stream after this one. It returns false at the end of the input.
func (s *streams) next() bool {
	if !s.ended {
		return false
	}
	s.ended, s.passed, s.tail = false, 0, s.tail[:0]
	return true
}

func (s *streams) Read(p []byte) (int, error) {
	if s.ended {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	var n int
	if len(s.pending) > 0 {
		n = copy(p, s.pending)
		s.pending = s.pending[n:]
	} else {
		if s.err != nil {
			return 0, s.err
		}
		n, s.err = s.r.Read(p)
		if n == 0 {
			return 0, s.err
		}
	}
	// Look at what was passed last and what comes now as one: a beginning may
	// lie across both, or end in what is pending.
	look := append(append(append([]byte(nil), s.tail...), p[:n]...), s.pending[:min(len(s.pending), beginning-1)]...)
	if at := s.begins(look, len(s.tail)+n); at >= 0 {
		keep := max(at-len(s.tail), 0)
		rest := append([]byte(nil), look[at:len(s.tail)+n]...)
		s.pending = append(rest, s.pending...)
		s.ended = true
		s.passed += int64(keep)
		if keep == 0 {
			return 0, io.EOF
		}
		return keep, nil
	}
	s.passed += int64(n)
	seen := look[:len(s.tail)+n]
	s.tail = append(s.tail[:0], seen[max(0, len(seen)-(beginning-1)):]...)
	return n, nil
}

// begins finds where another stream begins, before limit, or returns -1.
func (s *streams) begins(look []byte, limit int) int {
	for from := 0; ; {
		i := bytes.Index(look[from:], []byte("ftyp"))
		if i < 0 {
			return -1
		}
		at := from + i - 4
		from += i + 1
		if at < 0 || at >= limit || at+beginning > len(look) || s.passed-int64(len(s.tail))+int64(at) == 0 {
			continue
		}
		if look[at] == 0 && look[at+1] == 0 && look[at+2] == 0 && look[at+3] >= 16 && known(look[at+8:at+12]) {
			return at
		}
	}
}

func known(brand []byte) bool {
	for _, b := range brands {
		if string(brand) == b {
			return true
		}
	}
	return false
}
