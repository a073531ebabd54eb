package live

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"strings"
	"time"
)

// Schemes of event messages that carry a splice_info_section (ANSI/SCTE 214-1 and 214-3):
// as it is, and in base64 in a Signal of XML.
const (
	SpliceBinary = "urn:scte:scte35:2013:bin"
	SpliceXML    = "urn:scte:scte35:2014:xml+bin"
)

// SpliceSection is the splice_info_section in the data of an event message; ok is false
// where its scheme is of something else.
func SpliceSection(scheme string, data []byte) (section []byte, ok bool, err error) {
	switch scheme {
	case SpliceBinary:
		return data, true, nil
	case SpliceXML:
		if len(data) > 4*MaxNotificationData {
			return nil, true, fmt.Errorf("%d bytes", len(data))
		}
		var signal struct {
			Binary string `xml:"Binary"`
		}
		if err := xml.Unmarshal(data, &signal); err != nil {
			return nil, true, err
		}
		section, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(signal.Binary), ""))
		return section, true, err
	}
	return nil, false, nil
}

// A Splice is one thing that a splice_info_section says to players.
type Splice struct {
	// Type is TypeSCTE35Out or TypeSCTE35In of what leaves the programme and comes back,
	// else TypeSCTE35.
	Type string
	// Name is the same for the way out and back: of splice_event_id, or of
	// segmentation_event_id and the type that it begins with.
	Name   string
	Cancel bool          // it takes back what was said of Name
	Length time.Duration // as it is planned; 0: not said
}

// ParseSplice reads a splice_info_section (ANSI/SCTE 35, 9.6), of which the CRC_32 must
// be right: what its splice_insert, or each segmentation descriptor of its time_signal,
// says. When that is, whatever carries the section says. Commands that concern no player
// say nothing; what is encrypted or private is handed on as it is.
func ParseSplice(b []byte) ([]Splice, error) {
	if err := checkSplice(b); err != nil {
		return nil, err
	}
	r := sectionReader{b: b[4 : len(b)-4]}
	encrypted := r.u8()&0x80 != 0
	r.take(4 + 1) // pts_adjustment, cw_index
	length := int(r.u24() & 0xfff)
	command := r.u8()
	if encrypted {
		return []Splice{opaque(b)}, nil
	}
	var out []Splice
	body := &r
	if length != 0xfff {
		body = &sectionReader{b: r.take(length)}
	}
	switch command {
	case 0x05:
		out = append(out, body.spliceInsert())
	case 0x06:
		if body.u8()&0x80 != 0 { // time_specified_flag
			body.take(4)
		}
	case 0xff:
		return []Splice{opaque(b)}, nil
	default: // null, schedule, bandwidth reservation
		return nil, r.err
	}
	descriptors := sectionReader{b: r.take(int(r.u16()))}
	for err := error(nil); command == 0x06 && len(descriptors.b) > 0 && err == nil; err = descriptors.err {
		tag, d := descriptors.u8(), sectionReader{}
		d.b = descriptors.take(int(descriptors.u8()))
		if d.u32() != 0x43554549 || tag != 0x02 { // CUEI, segmentation_descriptor
			continue
		}
		out = append(out, d.segmentation())
		descriptors.err = firstOf(descriptors.err, d.err)
	}
	if command == 0x06 && len(out) == 0 {
		out = append(out, opaque(b))
	}
	return out, firstOf(body.err, r.err, descriptors.err)
}

// opaque is what is said by what cannot be looked into: its own CRC names it.
func opaque(b []byte) Splice {
	return Splice{Type: TypeSCTE35, Name: fmt.Sprintf("scte35-%x", b[len(b)-4:])}
}

// spliceInsert is 9.7.3.
func (r *sectionReader) spliceInsert() (s Splice) {
	s.Name, s.Type = fmt.Sprintf("splice-%d", r.u32()), TypeSCTE35In
	if s.Cancel = r.u8()&0x80 != 0; s.Cancel {
		return s
	}
	flags := r.u8()
	timed := func() {
		if flags&0x10 == 0 && r.u8()&0x80 != 0 { // splice_immediate_flag, time_specified_flag
			r.take(4)
		}
	}
	if flags&0x80 != 0 {
		s.Type = TypeSCTE35Out
	}
	if flags&0x40 != 0 { // program_splice_flag
		timed()
	} else {
		for range r.u8() {
			r.u8()
			timed()
		}
	}
	if flags&0x20 != 0 { // duration_flag
		s.Length = ticks90(int64(r.u8()&1)<<32 | int64(r.u32()))
	}
	r.take(2 + 1 + 1)
	return s
}

// segmentation is 10.3.3, after its identifier.
func (r *sectionReader) segmentation() (s Splice) {
	id := r.u32()
	if s.Cancel = r.u8()&0x80 != 0; s.Cancel {
		s.Name = fmt.Sprintf("segment-%d", id)
		return s
	}
	flags := r.u8()
	if flags&0x80 == 0 { // program_segmentation_flag
		r.take(6 * int(r.u8()))
	}
	if flags&0x40 != 0 { // segmentation_duration_flag
		s.Length = ticks90(int64(r.u8())<<32 | int64(r.u32()))
	}
	r.u8()
	r.take(int(r.u8())) // upid
	typ := r.u8()
	s.Type = TypeSCTE35
	switch begins := typ &^ 1; {
	case begins == 0x22, begins >= 0x30 && begins <= 0x36, begins == 0x3c, begins == 0x3e, begins == 0x44, begins == 0x46:
		// Breaks, advertisements, opportunities and promotions: their ends are odd.
		if s.Type = TypeSCTE35Out; typ != begins {
			s.Type = TypeSCTE35In
		}
		typ = begins
	}
	s.Name = fmt.Sprintf("segment-%d-%d", id, typ)
	return s
}

// AppendSpliceInsert makes a splice_info_section: a splice_insert (ANSI/SCTE 35, 9.7.3) out of the programme, or
// back, as soon as what carries it says. A length of 0 is not said.
func AppendSpliceInsert(dst []byte, id uint32, out bool, length time.Duration) []byte {
	be := binary.BigEndian
	start := len(dst)
	dst = append(dst, 0xfc, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xf0, 0, 0x05)
	command := len(dst)
	dst = append(be.AppendUint32(dst, id), 0x7f)
	flags := byte(0x5f) // program_splice_flag, splice_immediate_flag, reserved
	if out {
		flags |= 0x80
	}
	if length > 0 {
		flags |= 0x20
		t := min(length.Milliseconds()*90, 1<<33-1)
		dst = be.AppendUint32(append(dst, flags, 0x7e|0x80|byte(t>>32)), uint32(t)) // auto_return
	} else {
		dst = append(dst, flags)
	}
	dst = append(dst, 0, 1, 0, 0) // unique_program_id, avail_num, avails_expected
	be.PutUint16(dst[command-3:], 0xf000|uint16(len(dst)-command))
	dst = append(dst, 0, 0) // no descriptors
	be.PutUint16(dst[start+1:], 0x3000|uint16(len(dst)+4-start-3))
	return be.AppendUint32(dst, crcMPEG(dst[start:]))
}

func ticks90(t int64) time.Duration { return time.Duration(t) * time.Millisecond / 90 }

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// A sectionReader reads fields; what is not there is 0, and an error.
type sectionReader struct {
	b   []byte
	err error
}

func (r *sectionReader) take(n int) []byte {
	if n > len(r.b) {
		r.err = fmt.Errorf("a field of %d bytes where %d are left", n, len(r.b))
		r.b = nil
		return make([]byte, min(n, 8))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *sectionReader) u8() byte    { return r.take(1)[0] }
func (r *sectionReader) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *sectionReader) u24() uint32 {
	b := r.take(3)
	return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
}
func (r *sectionReader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }

// checkSplice reports what is wrong with a splice_info_section (ANSI/SCTE 35, 9.6): its
// table_id, that it is as long as it says and no longer, and its CRC_32. What it commands
// is for players, and may be encrypted.
func checkSplice(b []byte) error {
	const (
		tableID = 0xfc
		least   = 3 + 11 + 2 + 4 // up to splice_command_type, an empty loop of descriptors, the CRC
	)
	if len(b) == 0 || b[0] != tableID {
		return fmt.Errorf("it does not begin with table_id 0xFC")
	}
	if len(b) < least {
		return fmt.Errorf("%d bytes, at least %d", len(b), least)
	}
	if b[1]&0xc0 != 0 {
		return fmt.Errorf("section_syntax_indicator or private_indicator is set")
	}
	if n := 3 + int(binary.BigEndian.Uint16(b[1:])&0xfff); n != len(b) {
		return fmt.Errorf("it says that it has %d bytes, and has %d", n, len(b))
	}
	if b[3] != 0 {
		return fmt.Errorf("protocol_version %d, where there is none but 0", b[3])
	}
	if crcMPEG(b) != 0 {
		return fmt.Errorf("its CRC_32 is wrong")
	}
	return nil
}

// crcMPEG is the CRC_32 of ISO/IEC 13818-1, annex A: of a section with its own at the
// end it is 0.
func crcMPEG(b []byte) uint32 {
	crc := ^uint32(0)
	for _, x := range b {
		crc ^= uint32(x) << 24
		for range 8 {
			top := crc >> 31
			crc = crc<<1 ^ top*0x04c11db7
		}
	}
	return crc
}
