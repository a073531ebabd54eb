package h2

import (
	"errors"

	"golang.org/x/net/http2/hpack"
)

// A Field is a name and a value of a head. Both lie in a buffer that is used again.
type Field struct{ Name, Value []byte }

var errCompression = errors.New("h2: wrong header block")

// tableBytes is how large a client's table may be (RFC 7541, 4): what is assumed
// where nobody says anything else.
const tableBytes = 4 << 10

// entryBytes is what an entry counts beside its octets.
const entryBytes = 32

// A table is the dynamic table of the blocks that one client sends, with the
// octets of all entries behind one another.
type table struct {
	max, size int
	octets    []byte
	from      uint32  // where octets begins, of all that were ever entered
	entries   []entry // the oldest first
}

type entry struct {
	at          uint32
	name, value uint16 // bytes
}

// get returns an entry by its index, from the newest on.
func (t *table) get(i int) (f Field, ok bool) {
	if i >= len(t.entries) {
		return f, false
	}
	e := t.entries[len(t.entries)-1-i]
	b := t.octets[e.at-t.from:]
	return Field{b[:e.name], b[e.name : int(e.name)+int(e.value)]}, true
}

// add enters a field, for which old ones make room.
func (t *table) add(f Field) {
	size := len(f.Name) + len(f.Value) + entryBytes
	if size > t.max {
		t.shrink(0)
		return
	}
	t.shrink(t.max - size)
	at := t.from + uint32(len(t.octets))
	t.octets = append(append(t.octets, f.Name...), f.Value...)
	t.entries = append(t.entries, entry{at, uint16(len(f.Name)), uint16(len(f.Value))})
	t.size += size
}

// shrink drops the oldest until the rest has no more than so many bytes.
func (t *table) shrink(to int) {
	n := 0
	for ; t.size > to; n++ {
		e := t.entries[n]
		t.size -= int(e.name) + int(e.value) + entryBytes
	}
	if n == 0 {
		return
	}
	t.entries = t.entries[:copy(t.entries, t.entries[n:])]
	if len(t.entries) == 0 {
		t.from += uint32(len(t.octets))
		t.octets = t.octets[:0]
		return
	}
	first := t.entries[0].at
	t.octets = t.octets[:copy(t.octets, t.octets[first-t.from:])]
	t.from = first
}

// An arena has the octets of the fields of one head.
type arena []byte

func (a *arena) Write(p []byte) (int, error) { *a = append(*a, p...); return len(p), nil }

// decode reads a header block. It returns the fields, of at most max bytes as RFC
// 9113 counts them (6.5.2); over reports that there were more. The table is right
// in either case.
func (t *table) decode(b []byte, fields []Field, a *arena, max int) (_ []Field, over bool, err error) {
	begun, size := false, 0
	for len(b) > 0 {
		var f Field
		var enter bool
		c := b[0]
		switch {
		case c&0x80 != 0:
			var i int
			if i, b, err = integer(b, 7); err != nil {
				return fields, over, err
			}
			if f, err = t.at(i); err != nil {
				return fields, over, err
			}
			if i > len(static) && !over {
				f = a.copy(f)
			}
		case c&0xe0 == 0x20:
			var n int
			if n, b, err = integer(b, 5); err != nil || begun || n > tableBytes {
				return fields, over, errCompression
			}
			t.max = n
			t.shrink(n)
			continue
		default:
			prefix := 4
			if c&0x40 != 0 {
				prefix, enter = 6, true
			}
			var i int
			if i, b, err = integer(b, prefix); err != nil {
				return fields, over, err
			}
			if i > 0 {
				if f, err = t.at(i); err != nil {
					return fields, over, err
				}
				if i > len(static) {
					f = a.copy(Field{Name: f.Name})
				}
			} else if f.Name, b, err = text(b, a); err != nil {
				return fields, over, err
			}
			if f.Value, b, err = text(b, a); err != nil {
				return fields, over, err
			}
			if enter {
				t.add(f)
			}
		}
		begun = true
		if size += len(f.Name) + len(f.Value) + entryBytes; size > max {
			over = true
		}
		if over {
			*a = (*a)[:0]
			continue
		}
		fields = append(fields, f)
	}
	return fields, over, nil
}

func (a *arena) copy(f Field) Field {
	at := len(*a)
	*a = append(append(*a, f.Name...), f.Value...)
	b := (*a)[at:]
	return Field{b[:len(f.Name):len(f.Name)], b[len(f.Name):]}
}

// at finds a field in both tables.
func (t *table) at(i int) (Field, error) {
	switch {
	case i == 0:
	case i <= len(static):
		return static[i-1], nil
	default:
		if f, ok := t.get(i - len(static) - 1); ok {
			return f, nil
		}
	}
	return Field{}, errCompression
}

// integer reads one with so many bits in the first octet (RFC 7541, 5.1).
func integer(b []byte, prefix int) (n int, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, errCompression
	}
	most := 1<<prefix - 1
	n = int(b[0]) & most
	if b = b[1:]; n < most {
		return n, b, nil
	}
	for shift := 0; len(b) > 0 && shift <= 21; shift += 7 {
		c := b[0]
		b = b[1:]
		if n += int(c&0x7f) << shift; c < 0x80 {
			return n, b, nil
		}
	}
	return 0, nil, errCompression
}

// text reads a string (RFC 7541, 5.2), in place where it is not compressed.
func text(b []byte, a *arena) (s, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errCompression
	}
	compressed := b[0]&0x80 != 0
	n, b, err := integer(b, 7)
	if err != nil || n > len(b) {
		return nil, nil, errCompression
	}
	s, rest = b[:n:n], b[n:]
	if compressed {
		at := len(*a)
		if _, err := hpack.HuffmanDecode(a, s); err != nil {
			return nil, nil, errCompression
		}
		s = (*a)[at:len(*a):len(*a)]
	}
	return s, rest, nil
}

// AppendStatus begins the header block of an answer.
func AppendStatus(b []byte, status int) []byte {
	for i, s := range statuses {
		if s == status {
			return append(b, 0x80|byte(8+i))
		}
	}
	return append(b, 0x08, 3, byte('0'+status/100%10), byte('0'+status/10%10), byte('0'+status%10))
}

var statuses = [...]int{200, 204, 206, 304, 400, 404, 500}

// AppendField adds a field that no table keeps, so that it means the same on every
// connection. The name may have upper case, which HTTP/2 has not.
func AppendField[T string | []byte](b []byte, name string, value T) []byte {
	if i := names[name]; i > 0 {
		b = appendInteger(b, 0, 4, i)
	} else {
		b = appendInteger(append(b, 0), 0, 7, len(name))
		for i := range len(name) {
			c := name[i]
			if 'A' <= c && c <= 'Z' {
				c |= 0x20
			}
			b = append(b, c)
		}
	}
	b = appendInteger(b, 0, 7, len(value))
	for i := range len(value) {
		c := value[i]
		if c < ' ' && c != '\t' || c == 0x7f {
			c = ' ' // it would end the field elsewhere
		}
		b = append(b, c)
	}
	return b
}

func appendInteger(b []byte, first byte, prefix, n int) []byte {
	most := 1<<prefix - 1
	if n < most {
		return append(b, first|byte(n))
	}
	b = append(b, first|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}
