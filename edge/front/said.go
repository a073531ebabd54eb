package front

import (
	"bytes"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
	"unsafe"

	"headwater/edge/front/h2"
	"headwater/listen/plain"
)

// What a request says besides is read where it lies, and only when an event wants to
// know: events that anybody may watch pay nothing for it.

// A headSaid is the head of a request of HTTP/1.1.
type headSaid struct {
	head   []byte
	addr   netip.Addr
	secure bool
}

func (s *headSaid) Field(name string) string {
	rest := s.head
	var found [][]byte
	for {
		_, after, ok := bytes.Cut(rest, []byte("\r\n"))
		if !ok || len(after) == 0 {
			break
		}
		rest = after
		if len(rest) > len(name) && rest[len(name)] == ':' && plain.Is(rest[:len(name)], name) {
			line, _, _ := bytes.Cut(rest, []byte("\r\n"))
			found = append(found, textproto.TrimBytes(line[len(name)+1:]))
		}
	}
	return joined(name, found)
}

func (s *headSaid) Query() string {
	line, _, _ := bytes.Cut(s.head, []byte("\r\n"))
	_, target, _ := bytes.Cut(line, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte(" "))
	_, query, _ := bytes.Cut(target, []byte("?"))
	return text(query)
}

func (s *headSaid) Host() string        { return s.Field("host") }
func (s *headSaid) Secure() bool        { return s.secure }
func (s *headSaid) Address() netip.Addr { return s.addr }

// A packedSaid is a request of HTTP/2.
type packedSaid struct {
	r    *h2.Request
	addr netip.Addr
}

func (s *packedSaid) Field(name string) string {
	var found [][]byte
	for _, f := range s.r.Fields {
		if string(f.Name) == name {
			found = append(found, f.Value)
		}
	}
	return joined(name, found)
}

func (s *packedSaid) Query() string {
	_, query, _ := bytes.Cut(s.r.Path, []byte("?"))
	return text(query)
}

func (s *packedSaid) Host() string        { return text(s.r.Authority) }
func (s *packedSaid) Secure() bool        { return true }
func (s *packedSaid) Address() netip.Addr { return s.addr }

// A httpSaid is a request that net/http has, or HTTP/3.
type httpSaid struct{ r *http.Request }

func (s httpSaid) Field(name string) string {
	return strings.Join(s.r.Header.Values(name), separator(name))
}
func (s httpSaid) Query() string { return s.r.URL.RawQuery }
func (s httpSaid) Host() string  { return s.r.Host }
func (s httpSaid) Secure() bool  { return s.r.TLS != nil }
func (s httpSaid) Address() netip.Addr {
	ap, _ := netip.ParseAddrPort(s.r.RemoteAddr)
	return ap.Addr().Unmap().WithZone("")
}

// separator is what stands between the values of a field that is there more than
// once (RFC 9110, 5.3, and of cookies RFC 9113, 8.2.3).
func separator(name string) string {
	if name == "cookie" {
		return "; "
	}
	return ", "
}

func joined(name string, values [][]byte) string {
	switch len(values) {
	case 0:
		return ""
	case 1:
		return text(values[0])
	}
	return string(bytes.Join(values, []byte(separator(name))))
}

// text is bytes that stay where they are.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
