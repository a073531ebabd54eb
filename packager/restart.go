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
	at, found := s.begins(p[:n])
	if !found {
		s.passed += int64(n)
		s.tail = append(s.tail, p[max(0, n-(beginning-1)):n]...)
		s.tail = append(s.tail[:0], s.tail[max(0, len(s.tail)-(beginning-1)):]...)
		return n, nil
	}
	// What of the beginning was passed on before it was known is repeated.
	again := append([]byte(nil), s.tail[len(s.tail)+min(at, 0):]...)
	s.pending = append(append(again, p[max(at, 0):n]...), s.pending...)
	s.ended = true
	if at <= 0 {
		return 0, io.EOF
	}
	return at, nil
}

// begins finds where in b another stream begins. It is negative for a
// beginning of which b has only the end, after what was passed on before. The
// very first bytes of a stream are its own beginning.
func (s *streams) begins(b []byte) (at int, found bool) {
	var buf [2 * (beginning - 1)]byte
	seam := append(append(buf[:0], s.tail...), b[:min(len(b), beginning-1)]...)
	for at := range len(s.tail) {
		if s.passed-int64(len(s.tail)-at) > 0 && begin(seam[at:]) {
			return at - len(s.tail), true
		}
	}
	for from := 4; from < len(b); {
		i := bytes.Index(b[from:], []byte("ftyp"))
		if i < 0 {
			break
		}
		if at := from + i - 4; s.passed+int64(at) > 0 && begin(b[at:]) {
			return at, true
		}
		from += i + 1
	}
	return 0, false
}

func begin(b []byte) bool {
	return len(b) >= beginning && b[0] == 0 && b[1] == 0 && b[2] == 0 && b[3] >= 16 && string(b[4:8]) == "ftyp" && known(b[8:12])
}

func known(brand []byte) bool {
	for _, b := range brands {
		if string(brand) == b {
			return true
		}
	}
	return false
}
