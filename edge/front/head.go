package front

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"net/textproto"

	"headwater/edge/exchange"
	"headwater/live"
)

// A headKind says what to do with the first bytes on a connection.
type headKind uint8

const (
	headPart  headKind = iota // more must come
	headOurs                  // a plain GET or HEAD
	headOther                 // anything else, malformed or not: net/http answers it
)

// A head is the head of a request, as much of it as is needed to serve it.
type head struct {
	method string
	path   live.Path       // lies in the bytes that were read, and so does
	target string          // what is no path of an event's file, as it came; "": it is one
	more   *exchange.More  // what few requests say; nil: nothing
	coding exchange.Coding // how a manifest may be compressed
	skip   bool            // of a playlist only what is new
	close  bool            // the connection ends with the answer
	length int             // bytes of the whole head
}

var (
	crlf    = []byte("\r\n")
	headEnd = []byte("\r\n\r\n")
)

// parseHead reads a request's head from the beginning of b, in place. It is for
// the one kind of request that viewers send in crowds, and takes nothing that two
// readers could understand in two ways (RFC 9112, 11.2): no body, no folded
// lines, no bare LF, one Host. The rest it leaves to net/http.
func parseHead(b []byte) (h head, kind headKind) {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		if bytes.HasPrefix(crlf, b) {
			return h, headPart // an empty line before it, or part of one
		}
		// What cannot become ours need not be waited for.
		for i := range min(len(b), 5) {
			if b[i] != "GET /"[i] && b[i] != "HEAD "[i] {
				return h, headOther
			}
		}
		if bytes.Contains(b, []byte("\n\n")) || bytes.Contains(b, []byte("\n\r\n")) {
			return h, headOther
		}
		return h, headPart
	}
	h.length = end + len(headEnd)
	rest := b[:end+2]
	eol := bytes.IndexByte(rest, '\r')
	line := rest[:eol]
	if rest[eol+1] != '\n' || !h.parseLine(line) {
		return h, headOther
	}
	rest = rest[eol+2:]
	hosts := 0
	for len(rest) > 0 {
		eol := bytes.IndexByte(rest, '\r')
		if rest[eol+1] != '\n' {
			return h, headOther
		}
		line, rest = rest[:eol], rest[eol+2:]
		colon := bytes.IndexByte(line, ':')
		if colon < 0 || !isToken(line[:colon]) || !isValue(line[colon+1:]) {
			return h, headOther
		}
		name, value := line[:colon], textproto.TrimBytes(line[colon+1:])
		switch len(name) {
		case 2:
			if exchange.Is(name, "te") {
				return h, headOther
			}
		case 4:
			if exchange.Is(name, "host") {
				if hosts++; !isHost(value) {
					return h, headOther
				}
			}
		case 5:
			if exchange.Is(name, "range") {
				h.ask().Set(name, string(value))
			}
		case 6:
			if exchange.Is(name, "expect") {
				return h, headOther
			}
		case 7:
			if exchange.Is(name, "upgrade") || exchange.Is(name, "trailer") {
				return h, headOther
			}
		case 8:
			switch {
			case exchange.Is(name, "cdn-loop"):
				m := h.ask()
				m.Loop = m.Loop.Add(string(value))
			case exchange.Is(name, "if-range"), exchange.Is(name, "if-match"):
				h.ask().Set(name, string(value))
			}
		case 10:
			switch {
			case exchange.Is(name, "live-names"):
				h.ask().Names = true
			case !exchange.Is(name, "connection"), exchange.Is(value, "keep-alive"):
			case exchange.Is(value, "close"):
				h.close = true
			default:
				return h, headOther
			}
		case 13:
			switch {
			case exchange.Is(name, "authorization"):
				h.ask().Authorization = string(value)
			case exchange.Is(name, "if-none-match"):
				h.ask().Set(name, string(value))
			}
		case 14:
			if exchange.Is(name, "content-length") {
				return h, headOther
			}
		case 15:
			if exchange.Is(name, "accept-encoding") {
				if h.path.File != live.FileSegment {
					h.coding = exchange.BestCoding(value)
				}
			}
		case 17:
			if exchange.Is(name, "transfer-encoding") {
				return h, headOther
			}
			fallthrough
		default:
			if len(name) > 3 && exchange.Is(name[:3], "if-") {
				h.ask().Set(name, string(value))
			}
		}
	}
	if hosts != 1 {
		return h, headOther
	}
	return h, headOurs
}

// parseLine reads the request line.
func (h *head) parseLine(line []byte) bool {
	const version = " HTTP/1.1"
	switch {
	case bytes.HasPrefix(line, []byte("GET ")):
		h.method, line = http.MethodGet, line[4:]
	case bytes.HasPrefix(line, []byte("HEAD ")):
		h.method, line = http.MethodHead, line[5:]
	default:
		return false
	}
	target, ok := bytes.CutSuffix(line, []byte(version))
	if !ok || !isValue(target) || bytes.IndexByte(target, ' ') >= 0 || bytes.IndexByte(target, '\t') >= 0 {
		return false
	}
	target, query, ok := cutQuery(target)
	h.skip = ok && exchange.TakesSkip(query)
	// The path is read where it lies; who keeps it makes it its own.
	path := text(target)
	var fault live.PathFault
	if h.path, fault = live.ReadPath(path); fault.Is() {
		h.target = path
		return wellFormed(target)
	}
	if h.path.File == live.FileConfig {
		h.ask()
		return !ok // who asks for another than he has is held
	}
	return true
}

// cutQuery cuts off a query, such as a player's metrics (CTA-5004): it is no part of
// the name.
func cutQuery(target []byte) (path, query []byte, ok bool) {
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		return target[:i], target[i+1:], true
	}
	return target, nil, false
}

// wellFormed reports whether an absolute path has nothing in it that makes the request
// malformed (RFC 3986, 2.1).
func wellFormed(path []byte) bool {
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

func (h *head) ask() *exchange.More {
	if h.more == nil {
		h.more = new(exchange.More)
	}
	return h.more
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
