package exchange

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"headwater/edge/front/h2"
	"headwater/listen/plain"
	"headwater/live"
)

// Fields are the fields of an answer's head on their way to a viewer: bytes of
// HTTP/1.1 or of HTTP/2, or what net/http makes of them.
type Fields struct {
	Header http.Header // nil: bytes
	Bytes  []byte
	Packed bool   // as HTTP/2 has them
	Value  []byte // is made here, for Made
}

// Begin puts status line and date.
func (f *Fields) Begin(status int, now time.Time) {
	switch {
	case f.Header != nil: // net/http does
	case f.Packed:
		f.Bytes = h2.AppendField(h2.AppendStatus(f.Bytes, status), "Date", plain.Date(now))
	default:
		f.Bytes = plain.AppendStart(f.Bytes, status, now)
	}
}

// Put adds a field.
func (f *Fields) Put(name, value string) {
	if f.Header != nil {
		f.Header[name] = append(f.Header[name], value)
		return
	}
	if f.Packed {
		f.Bytes = h2.AppendField(f.Bytes, name, value)
		return
	}
	f.Bytes = appendField(f.Bytes, name, value)
}

// Made adds a field whose value is in f.Value.
func (f *Fields) Made(name string) {
	if f.Header != nil {
		f.Header[name] = append(f.Header[name], string(f.Value))
		return
	}
	if f.Packed {
		f.Bytes = h2.AppendField(f.Bytes, name, f.Value)
		return
	}
	f.Bytes = append(append(append(append(f.Bytes, name...), ": "...), f.Value...), "\r\n"...)
}

// Number adds a field that is one.
func (f *Fields) Number(name string, n int64) {
	f.Value = strconv.AppendInt(f.Value[:0], n, 10)
	f.Made(name)
}

// appendField keeps what was in a value from becoming another field.
func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	begins := len(b)
	b = append(b, value...)
	if strings.IndexByte(value, '\r') >= 0 || strings.IndexByte(value, '\n') >= 0 {
		for i, c := range b[begins:] {
			if c == '\r' || c == '\n' {
				b[begins+i] = ' '
			}
		}
	}
	return append(b, "\r\n"...)
}

// Shared is a part of heads that many answers have in common: fields for net/http,
// and the same as bytes. It is never changed once an answer has it.
type Shared struct {
	header       http.Header
	wire, packed []byte
}

// Put adds a field.
func (p *Shared) Put(name string, values ...string) {
	if p.header == nil {
		p.header = make(http.Header)
	}
	p.header[name] = append(p.header[name], values...)
	for _, v := range values {
		p.wire, p.packed = appendField(p.wire, name, v), h2.AppendField(p.packed, name, v)
	}
}

// Add adds what is shared.
func (f *Fields) Add(p *Shared) {
	switch {
	case f.Packed:
		f.Bytes = append(f.Bytes, p.packed...)
		return
	case f.Header == nil:
		f.Bytes = append(f.Bytes, p.wire...)
		return
	}
	for name, v := range p.header {
		f.Header[name] = v[:len(v):len(v)]
	}
}

// One is a single field that many answers have in common.
func One(name, value string) *Shared {
	p := new(Shared)
	p.Put(name, value)
	return p
}

// CORS is on every answer: any page may read it.
func CORS() *Shared {
	h := make(http.Header)
	live.AllowCORS(h)
	p := new(Shared)
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Timing-Allow-Origin"} {
		p.Put(name, h[name]...)
	}
	return p
}
