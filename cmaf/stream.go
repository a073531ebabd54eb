package cmaf

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// Bounds of a stream's boxes, in bytes. Memory follows the bytes that arrive,
// not those that a size claims.
const (
	maxMovieBox    = 4 << 20   // ftyp, moov, moof, emsg, prft
	maxMediaBox    = 256 << 20 // mdat boxes of one fragment
	firstAllocated = 8 << 20   // at once for a claim, then by doubling
)

// A Part is one piece of a stream: an init segment, or a fragment.
type Part struct {
	// Init is the parsed init segment where this part is one, else nil. The
	// first part of a stream is; another follows where an encoder begins anew.
	Init *Init
	// Fragment is the parsed moof, nil for an init segment. Offsets of its
	// samples count from the start of Raw.
	Fragment *Fragment
	// Raw is ftyp and moov, or moof and its mdat boxes, as they came. It is the
	// caller's and never changes.
	Raw []byte
	// Producer are the prft boxes since the part before.
	Producer []ProducerTime
	// Events are what the emsg boxes since the part before say, as far as it can be read.
	Events []Event
	// Last says that it is of the last segment of its track: its styp has the
	// brand lmsg (ISO/IEC 23009-1, 7.3.1).
	Last bool
}

// Data is the bytes of a sample of this part, a subslice of Raw; nil where
// they lie outside of it.
func (p *Part) Data(s Sample) []byte {
	end := s.Offset + int64(s.Size)
	if s.Offset < 0 || end > int64(len(p.Raw)) {
		return nil
	}
	return p.Raw[s.Offset:end:end]
}

// A ProducerTime says when a sample was captured or encoded: prft, ISO/IEC
// 14496-12, 8.16.5.
type ProducerTime struct {
	TrackID uint32
	Flags   uint32    // what Time means: 0 encoder input, 1 output, 24 capture, ...
	Time    time.Time // UTC, to the nanosecond
	Media   int64     // decode time of that sample, in the track's timescale
}

// A Reader reads a fragmented MP4 stream, as an encoder writes it to a pipe.
// It skips sidx, mfra and what it does not know.
type Reader struct {
	r    *bufio.Reader
	at   int64 // bytes of the stream consumed
	init *Init

	ftyp     []byte
	producer []ProducerTime
	events   []Event
	last     bool
	err      error
}

// NewReader reads from r until its end.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 64<<10)} }

// NewSegmentReader reads from r what follows on an init segment that came before,
// by itself: media segments, or an init segment again. A nil one is none.
func NewSegmentReader(r io.Reader, in *Init) *Reader {
	out := NewReader(r)
	out.init = in
	return out
}

// Next returns the next part as soon as its last byte has arrived. At the end
// of the stream, between boxes, it returns io.EOF; inside of one, an error
// that wraps io.ErrUnexpectedEOF and ErrMalformed. Errors are final: they wrap
// those of ParseInit and ParseFragment, or of the reader below.
func (r *Reader) Next() (*Part, error) {
	if r.err != nil {
		return nil, r.err
	}
	p, err := r.next()
	if err != nil {
		r.err = err
		return nil, err
	}
	p.Producer, r.producer = r.producer, nil
	p.Events, r.events = r.events, nil
	p.Last = r.last
	return p, nil
}

func (r *Reader) next() (*Part, error) {
	for {
		h, err := r.header()
		if err != nil {
			return nil, err
		}
		switch h.typ {
		case boxFtyp:
			if r.ftyp, err = r.box(nil, h, maxMovieBox); err != nil {
				return nil, err
			}
		case boxMoov:
			return r.movie(h)
		case boxMoof:
			if r.init == nil {
				return nil, malformed(r.at, "a moof before any moov").in(boxMoof)
			}
			return r.fragment(h)
		default:
			if err := r.other(h); err != nil {
				return nil, err
			}
		}
	}
}

func (r *Reader) movie(h header) (*Part, error) {
	at := r.at - int64(len(r.ftyp))
	raw, err := r.box(r.ftyp, h, maxMovieBox)
	if err != nil {
		return nil, err
	}
	r.ftyp = nil
	in, err := ParseInit(raw)
	if err != nil {
		return nil, shift(err, at)
	}
	r.init = in
	return &Part{Init: in, Raw: raw}, nil
}

// fragment reads a moof and mdat boxes until all the data that it speaks of is
// there: to look for one more would be to wait for the next fragment.
func (r *Reader) fragment(h header) (*Part, error) {
	at := r.at
	raw, err := r.box(nil, h, maxMovieBox)
	if err != nil {
		return nil, err
	}
	length := len(raw)
	end, err := dataEnd(raw, r.init, at)
	if err != nil {
		return nil, shift(err, at)
	}
	for int64(len(raw)) < end {
		h, err := r.header()
		if err == io.EOF {
			err = fmt.Errorf("%w: %w: no data for a moof at byte %d", ErrMalformed, io.ErrUnexpectedEOF, at)
		}
		if err != nil {
			return nil, err
		}
		if h.typ == boxMoof || h.typ == boxMoov || h.typ == boxFtyp {
			break
		}
		// Offsets count all that lies between, so it is kept.
		if raw, err = r.box(raw, h, maxMediaBox); err != nil {
			return nil, err
		}
	}
	f, err := ParseFragment(raw[:length], r.init, at, int64(len(raw)-length))
	if err != nil {
		return nil, shift(err, at)
	}
	return &Part{Fragment: f, Raw: raw}, nil
}

// other skips a box, or remembers what it says of the next fragment.
func (r *Reader) other(h header) error {
	switch h.typ {
	case boxPrft, boxEmsg:
		at := r.at
		b, err := r.box(nil, h, maxMovieBox)
		if err != nil {
			return err
		}
		if len(r.producer)+len(r.events) >= MaxEvents {
			return nil // nothing takes them: a stream of only these must not fill memory
		}
		x := Box{Type: h.typ, Header: h.len, Data: b, Offset: at}
		if h.typ == boxEmsg {
			if e, ok, err := parseEvent(x); ok && err == nil {
				r.events = append(r.events, e) // of what is broken the media is not
			}
			return nil
		}
		p, err := parseProducerTime(x)
		if err != nil {
			return err
		}
		r.producer = append(r.producer, p)
		return nil
	case boxStyp:
		b, err := r.box(nil, h, maxMovieBox)
		if err != nil {
			return err
		}
		r.last = hasBrand(b[h.len:], "lmsg")
		return nil
	}
	n, err := io.CopyN(io.Discard, r.r, h.size)
	r.at += n
	return r.cut(err, h)
}

// hasBrand looks for one among the major and the compatible brands of an ftyp or
// a styp (ISO/IEC 14496-12, 4.3).
func hasBrand(b []byte, brand string) bool {
	for i := 0; i+4 <= len(b); i += 4 {
		if i != 4 && string(b[i:i+4]) == brand { // the second is the minor version
			return true
		}
	}
	return false
}

// ntpEpoch is 1900-01-01, in Unix seconds.
const ntpEpoch = -2208988800

func parseProducerTime(x Box) (ProducerTime, error) {
	version, flags, p, err := x.full(16)
	if err != nil {
		return ProducerTime{}, err
	}
	ntp := be64(p[4:])
	out := ProducerTime{
		TrackID: be32(p), Flags: flags, Media: int64(be32(p[12:])),
		Time: time.Unix(ntpEpoch+int64(ntp>>32), int64((ntp&math.MaxUint32)*1e9>>32)).UTC(),
	}
	if version > 0 {
		if len(p) < 20 {
			return out, malformed(x.Offset, "needs 20 bytes for version 1, has %d", len(p)).in(x.Type)
		}
		// ffmpeg writes times before 0 here, of the samples that prime a decoder.
		out.Media = int64(be64(p[12:]))
	}
	return out, nil
}

// header peeks at the next box. It returns io.EOF only between boxes.
func (r *Reader) header() (header, error) {
	b, err := r.r.Peek(8)
	if err == nil && be32(b) == 1 {
		b, err = r.r.Peek(16)
	}
	if len(b) < 8 {
		switch {
		case err == io.EOF && len(b) == 0:
			return header{}, io.EOF
		case err == io.EOF:
			return header{}, fmt.Errorf("%w: %w: %d bytes of a box header at byte %d", ErrMalformed, io.ErrUnexpectedEOF, len(b), r.at)
		}
		return header{}, err
	}
	if r.at == 0 {
		if err := Sniff(b); err != nil {
			return header{}, err
		}
	}
	return parseHeader(b, r.at)
}

// box appends a whole box to dst.
func (r *Reader) box(dst []byte, h header, limit int64) ([]byte, error) {
	if int64(len(dst))+h.size > limit {
		return nil, malformed(r.at, "box of %d bytes, more than %d", h.size, limit).in(h.typ)
	}
	for left := h.size; left > 0; {
		n := min(left, max(firstAllocated, int64(len(dst))))
		from := len(dst)
		if cap(dst)-from < int(n) {
			grown := make([]byte, from, from+int(n))
			copy(grown, dst)
			dst = grown
		}
		dst = dst[:from+int(n)]
		got, err := io.ReadFull(r.r, dst[from:])
		r.at += int64(got)
		left -= int64(got)
		if err != nil {
			return nil, r.cut(err, h)
		}
	}
	return dst, nil
}

// cut is the error for a stream that ended inside of a box.
func (r *Reader) cut(err error, h header) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: %w: in %s of %d bytes, at byte %d", ErrMalformed, io.ErrUnexpectedEOF, h.typ, h.size, r.at)
	}
	return err
}

// shift makes an offset in a part one in the stream.
func shift(err error, at int64) error {
	var e *boxError
	if errors.As(err, &e) {
		e.at += at
	}
	return err
}
