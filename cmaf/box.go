package cmaf

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
)

// A FourCC is a box type, a handler or a sample entry format: four bytes, big
// endian.
type FourCC uint32

// fourCC is for constants: fourCC("moof").
func fourCC(s string) FourCC {
	return FourCC(uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3]))
}

// Is reports whether c spells s, e.g. c.Is("moof").
func (c FourCC) Is(s string) bool { return len(s) == 4 && c == fourCC(s) }

// String is the four characters, or hexadecimal where they do not print.
func (c FourCC) String() string {
	if !c.printable() {
		return fmt.Sprintf("0x%08x", uint32(c))
	}
	return string([]byte{byte(c >> 24), byte(c >> 16), byte(c >> 8), byte(c)})
}

// printable reports whether all four bytes are within 0x20 to 0x7e, all at once:
// a byte that is not shows in a top bit.
func (c FourCC) printable() bool {
	return (c|(c-0x20202020)|(c+0x01010101))&0x80808080 == 0
}

// The boxes that this package knows (ISO/IEC 14496-12 and 23001-7).
const (
	boxEdts FourCC = 0x65647473
	boxElng FourCC = 0x656c6e67
	boxElst FourCC = 0x656c7374
	boxEmib FourCC = 0x656d6962
	boxEmsg FourCC = 0x656d7367
	boxFrma FourCC = 0x66726d61
	boxFree FourCC = 0x66726565
	boxFtyp FourCC = 0x66747970
	boxHdlr FourCC = 0x68646c72
	boxMdat FourCC = 0x6d646174
	boxMdhd FourCC = 0x6d646864
	boxMdia FourCC = 0x6d646961
	boxMeta FourCC = 0x6d657461
	boxMfhd FourCC = 0x6d666864
	boxMfra FourCC = 0x6d667261
	boxMinf FourCC = 0x6d696e66
	boxMoof FourCC = 0x6d6f6f66
	boxMoov FourCC = 0x6d6f6f76
	boxMvex FourCC = 0x6d766578
	boxMvhd FourCC = 0x6d766864
	boxPdin FourCC = 0x7064696e
	boxPrft FourCC = 0x70726674
	boxPssh FourCC = 0x70737368
	boxSaio FourCC = 0x7361696f
	boxSaiz FourCC = 0x7361697a
	boxSbgp FourCC = 0x73626770
	boxSchi FourCC = 0x73636869
	boxSchm FourCC = 0x7363686d
	boxSenc FourCC = 0x73656e63
	boxSgpd FourCC = 0x73677064
	boxSidx FourCC = 0x73696478
	boxSinf FourCC = 0x73696e66
	boxSkip FourCC = 0x736b6970
	boxSsix FourCC = 0x73736978
	boxStbl FourCC = 0x7374626c
	boxStsd FourCC = 0x73747364
	boxStsz FourCC = 0x7374737a
	boxStyp FourCC = 0x73747970
	boxTenc FourCC = 0x74656e63
	boxTfdt FourCC = 0x74666474
	boxTfhd FourCC = 0x74666864
	boxTkhd FourCC = 0x746b6864
	boxTraf FourCC = 0x74726166
	boxTrak FourCC = 0x7472616b
	boxTref FourCC = 0x74726566
	boxTrep FourCC = 0x74726570
	boxTrex FourCC = 0x74726578
	boxTrun FourCC = 0x7472756e
	boxUdta FourCC = 0x75647461
	boxUUID FourCC = 0x75756964
	boxWide FourCC = 0x77696465
)

// A Box is one box of a file (ISO/IEC 14496-12, 4.2).
type Box struct {
	Type   FourCC
	Offset int64  // of its first byte, in the bytes that were walked
	Header int    // bytes before the payload: 8, or 16 with a 64 bit size
	Data   []byte // the whole box, header included: a subslice of those bytes
}

// Payload is what follows the header. A uuid box's begins with its 16 byte
// user type, a full box's with version and flags.
func (x Box) Payload() []byte { return x.Data[x.Header:] }

// End is the offset of the first byte after the box.
func (x Box) End() int64 { return x.Offset + int64(len(x.Data)) }

// children walks the boxes in the payload after skip bytes of fields.
func (x *Box) children(skip int) scanner {
	p := x.Payload()
	skip = min(skip, len(p))
	return scanner{rest: p[skip:], at: x.Offset + int64(x.Header+skip)}
}

// Boxes walks the boxes that lie side by side in b; for those inside a box,
// walk its Payload. Depth is the caller's and so is bounded. A box that does
// not fit ends the walk with an error that wraps ErrMalformed.
//
// A size of 0 ("to the end of the file") is such an error: a segment has no
// end of file, and players refuse to append it.
func Boxes(b []byte) iter.Seq2[Box, error] {
	return func(yield func(Box, error) bool) {
		s := scanner{rest: b}
		for s.more() {
			x, err := s.next()
			if !yield(x, err) || err != nil {
				return
			}
		}
	}
}

// A scanner walks boxes without allocating.
type scanner struct {
	rest []byte
	at   int64 // offset of rest
}

func (s *scanner) more() bool { return len(s.rest) > 0 }

func (s *scanner) next() (x Box, err error) {
	h, err := parseHeader(s.rest, s.at)
	if err != nil {
		return x, err
	}
	if h.size > int64(len(s.rest)) {
		return x, malformed(s.at, "box of %d bytes runs %d past the end of what holds it", h.size, h.size-int64(len(s.rest))).in(h.typ)
	}
	x.Type, x.Offset, x.Header, x.Data = h.typ, s.at, h.len, s.rest[:h.size:h.size]
	s.rest = s.rest[h.size:]
	s.at += h.size
	return x, nil
}

type header struct {
	typ  FourCC
	len  int
	size int64
}

// parseHeader reads a box header from the start of b. The size it returns is a
// claim; it is at least that of the header and fits an int64.
func parseHeader(b []byte, at int64) (header, error) {
	if len(b) < 8 {
		return header{}, malformed(at, "%d bytes are too few for a box header", len(b))
	}
	h := header{typ: FourCC(be32(b[4:])), len: 8, size: int64(be32(b))}
	if !h.typ.printable() && h.typ>>24 != 0xa9 {
		return header{}, malformed(at, "%s is no box type", h.typ)
	}
	switch {
	case h.size == 1:
		if len(b) < 16 {
			return header{}, malformed(at, "%d bytes are too few for a box header with a 64 bit size", len(b)).in(h.typ)
		}
		large := be64(b[8:])
		if large < 16 || large > math.MaxInt64/2 {
			return header{}, malformed(at, "impossible box size %d", large).in(h.typ)
		}
		h.len, h.size = 16, int64(large)
	case h.size == 0:
		return header{}, malformed(at, "box without a size (to the end of the file)").in(h.typ)
	case h.size < 8:
		return header{}, malformed(at, "impossible box size %d", h.size).in(h.typ)
	}
	return h, nil
}

// fields returns the payload if it has at least n bytes.
func (x *Box) fields(n int) ([]byte, error) {
	p := x.Payload()
	if len(p) < n {
		return nil, malformed(x.Offset, "needs %d bytes after the header, has %d", n, len(p)).in(x.Type)
	}
	return p, nil
}

// full returns version, flags and what follows, at least n bytes of it.
func (x *Box) full(n int) (version byte, flags uint32, p []byte, err error) {
	p, err = x.fields(4 + n)
	if err != nil {
		return 0, 0, nil, err
	}
	return p[0], be32(p) & 0xffffff, p[4:], nil
}

// A boxError says what is wrong with which box.
type boxError struct {
	kind error
	path string // moof/traf/tfhd; "" at the top
	at   int64
	text string
}

func malformed(at int64, format string, args ...any) *boxError {
	return &boxError{kind: ErrMalformed, at: at, text: fmt.Sprintf(format, args...)}
}

func notCMAF(at int64, format string, args ...any) *boxError {
	return &boxError{kind: ErrNotCMAF, at: at, text: fmt.Sprintf(format, args...)}
}

// in puts a box type before the path.
func (e *boxError) in(t FourCC) *boxError {
	if e.path == "" {
		e.path = t.String()
	} else {
		e.path = t.String() + "/" + e.path
	}
	return e
}

// within is in for an error that may be nil or not of this package.
func within(t FourCC, err error) error {
	if e, ok := err.(*boxError); ok {
		return e.in(t)
	}
	return err
}

func (e *boxError) Error() string {
	if e.path == "" {
		return fmt.Sprintf("%v: at byte %d: %s", e.kind, e.at, e.text)
	}
	return fmt.Sprintf("%v: %s at byte %d: %s", e.kind, e.path, e.at, e.text)
}

func (e *boxError) Unwrap() error { return e.kind }

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
func be64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }
