// Package plain reads the heads of plain requests, in place, and writes how answers begin:
// for those who answer very many without net/http, which gets all other requests.
//
// A plain request is a GET or HEAD of HTTP/1.1 of which no two readers could take anything
// in two ways (RFC 9112, 11.2): no body, no folded lines, no bare LF, one Host.
package plain

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"net/textproto"
)

// A Kind says what to do with the first bytes on a connection.
type Kind uint8

const (
	Part  Kind = iota // more must come
	Plain             // a plain GET or HEAD
	Other             // anything else, malformed or not: net/http answers it
)

// A Head is read from its request line, which has been, to its last field. It lies in the
// bytes that were read.
type Head struct {
	Method string
	Target []byte // path and query, as they came
	Close  bool   // the connection ends with the answer. Known after the last field
	Length int    // bytes of the whole head

	Name, Value []byte // of the field that Next has found

	fields, rest []byte
	hosts        int
	other        bool // it is not plain
}

var (
	crlf    = []byte("\r\n")
	headEnd = []byte("\r\n\r\n")
)

// Begin reads the request line of a head at the beginning of b. One of which it says that
// it is Plain still may be another, by its fields: call Next until it is false, then Kind.
func Begin(b []byte) (h Head, kind Kind) {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		if bytes.HasPrefix(crlf, b) {
			return h, Part // an empty line before it, or part of one
		}
		// What cannot become plain need not be waited for.
		for i := range min(len(b), 5) {
			if b[i] != "GET /"[i] && b[i] != "HEAD "[i] {
				return h, Other
			}
		}
		if bytes.Contains(b, []byte("\n\n")) || bytes.Contains(b, []byte("\n\r\n")) {
			return h, Other
		}
		return h, Part
	}
	h.Length = end + len(headEnd)
	rest := b[:end+2]
	eol := bytes.IndexByte(rest, '\r')
	if rest[eol+1] != '\n' || !h.begin(rest[:eol]) {
		return h, Other
	}
	h.fields = rest[eol+2:]
	h.rest = h.fields
	return h, Plain
}

// begin reads the request line.
func (h *Head) begin(line []byte) bool {
	const version = " HTTP/1.1"
	switch {
	case bytes.HasPrefix(line, []byte("GET ")):
		h.Method, line = http.MethodGet, line[4:]
	case bytes.HasPrefix(line, []byte("HEAD ")):
		h.Method, line = http.MethodHead, line[5:]
	default:
		return false
	}
	target, ok := bytes.CutSuffix(line, []byte(version))
	h.Target = target
	return ok && isValue(target) && bytes.IndexByte(target, ' ') < 0 && bytes.IndexByte(target, '\t') < 0
}

// Next goes on to the next field that is not about the connection, and reports whether
// there is one.
func (h *Head) Next() bool {
	for len(h.rest) > 0 && !h.other {
		eol := bytes.IndexByte(h.rest, '\r')
		if h.rest[eol+1] != '\n' {
			h.other = true
			return false
		}
		line := h.rest[:eol]
		h.rest = h.rest[eol+2:]
		colon := bytes.IndexByte(line, ':')
		if colon < 0 || !isToken(line[:colon]) || !isValue(line[colon+1:]) {
			h.other = true
			return false
		}
		h.Name, h.Value = line[:colon], textproto.TrimBytes(line[colon+1:])
		if !h.aboutConnection() {
			return !h.other
		}
	}
	return false
}

// aboutConnection reads a field that says how the request is framed, or what becomes of
// its connection.
func (h *Head) aboutConnection() bool {
	name := h.Name
	switch len(name) {
	case 2:
		h.other = Is(name, "te")
	case 4:
		if Is(name, "host") {
			h.hosts++
			h.other = !isHost(h.Value)
			return true
		}
	case 6:
		h.other = Is(name, "expect")
	case 7:
		h.other = Is(name, "upgrade") || Is(name, "trailer")
	case 10:
		if Is(name, "connection") {
			switch {
			case Is(h.Value, "keep-alive"):
			case Is(h.Value, "close"):
				h.Close = true
			default:
				h.other = true
			}
			return true
		}
	case 14:
		h.other = Is(name, "content-length")
	case 17:
		h.other = Is(name, "transfer-encoding")
	}
	return false
}

// Kind is what the head is, once Next is false.
func (h *Head) Kind() Kind {
	if h.other || h.hosts != 1 {
		return Other
	}
	return Plain
}

// Has reports whether a plain head has a field, by its name in lower case.
func (h *Head) Has(name string) bool {
	again := *h
	for again.rest = again.fields; again.Next(); {
		if Is(again.Name, name) {
			return true
		}
	}
	return false
}

// CutQuery cuts off a target's query, such as a player's metrics (CTA-5004): it is no part
// of the name.
func CutQuery(target []byte) (path, query []byte, ok bool) {
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		return target[:i], target[i+1:], true
	}
	return target, nil, false
}

// WellFormed reports whether an absolute path has nothing in it that makes the request
// malformed (RFC 3986, 2.1).
func WellFormed(path []byte) bool {
	if len(path) == 0 || path[0] != '/' {
		return false
	}
	for i, c := range path {
		if c <= ' ' || c > '~' || c == '%' && (len(path)-i < 3 || !isHex(path[i+1]) || !isHex(path[i+2])) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

// Is compares a name with one in lower case.
func Is(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := range len(name) {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != name[i] {
			return false
		}
	}
	return true
}

// What octets may be where: in tokens (RFC 9110, 5.6.2), and in values, of which
// only printable ASCII and tabs are taken. Other octets are allowed but rare.
const (
	inToken = 1 << iota
	inValue
	inHost
)

var octets = func() (t [256]uint8) {
	for c := range 256 {
		alnum := c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
		if alnum || c < 128 && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), byte(c)) >= 0 {
			t[c] |= inToken
		}
		if c == '\t' || c >= ' ' && c <= '~' {
			t[c] |= inValue
		}
		if alnum || bytes.IndexByte([]byte("-._:[]"), byte(c)) >= 0 {
			t[c] |= inHost
		}
	}
	return t
}()

func all(b []byte, kind uint8) bool {
	for _, c := range b {
		if octets[c]&kind == 0 {
			return false
		}
	}
	return true
}

func isToken(b []byte) bool { return len(b) > 0 && all(b, inToken) }

// isValue looks at eight octets at once, as long as all of them are printable.
func isValue(b []byte) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ 0x7f*each // an octet of 0x7f is 0
		if (x|(x-' '*each)|(del-each))&high != 0 && !all(b[:8], inValue) {
			return false
		}
		b = b[8:]
	}
	return all(b, inValue)
}

func isHost(b []byte) bool { return len(b) > 0 && all(b, inHost) }
