package edge

import (
	"bytes"
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"headwater/live"
)

// A headKind says what to do with the first bytes on a connection.
type headKind uint8

const (
	headPart  headKind = iota // more must come
	headOurs                  // a plain GET or HEAD of a file of an event
	headOther                 // anything else, malformed or not: net/http answers it
)

// A head is the head of a request, as much of it as is needed to serve it.
type head struct {
	method string
	target string // without the query
	query  string
	path   live.Path
	lines  []byte // the header fields, each line with its CR LF
	host   string
	close  bool // the connection ends with the answer
	plain  bool // a GET of which all is said by path and close
	length int  // bytes of the whole head
}

var headEnd = []byte("\r\n\r\n")

// parseHead reads a request's head from the beginning of b. It is for the one
// kind of request that viewers send in crowds, and takes nothing that two
// readers could understand in two ways (RFC 9112, 11.2): no body, no folded
// lines, no bare LF, one Host. The rest it leaves to net/http.
func parseHead(b []byte) (head, headKind) {
	var h head
	end := bytes.Index(b, headEnd)
	if end < 0 {
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
	line, rest, _ := bytes.Cut(b[:end+2], []byte("\r\n"))
	method, line, _ := bytes.Cut(line, []byte(" "))
	target, proto, _ := bytes.Cut(line, []byte(" "))
	switch {
	case string(method) == http.MethodGet:
		h.method = http.MethodGet
	case string(method) == http.MethodHead:
		h.method = http.MethodHead
	default:
		return h, headOther
	}
	if string(proto) != "HTTP/1.1" {
		return h, headOther
	}
	if !isValue(target) || bytes.IndexByte(target, '\t') >= 0 {
		return h, headOther
	}
	// A query, such as a player's metrics (CTA-5004), is no part of the name.
	h.target, h.query, _ = strings.Cut(string(target), "?")
	var err error
	if h.path, err = live.ParsePath(h.target); err != nil || h.path.File == live.FileConfig {
		return h, headOther
	}
	h.lines = rest
	h.plain = h.method == http.MethodGet
	hosts := 0
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(name) || !isValue(value) {
			return h, headOther
		}
		switch value := textproto.TrimBytes(value); {
		case is(name, "host"):
			hosts++
			h.host = string(value)
		case is(name, "connection"):
			switch {
			case is(value, "keep-alive"):
			case is(value, "close"):
				h.close = true
			default:
				return h, headOther
			}
		case is(name, "content-length"), is(name, "transfer-encoding"), is(name, "expect"),
			is(name, "upgrade"), is(name, "trailer"), is(name, "te"):
			return h, headOther
		case is(name, "range"), is(name, "cdn-loop"), len(name) > 3 && is(name[:3], "if-"):
			h.plain = false
		}
	}
	if hosts != 1 || !isHost(h.host) {
		return h, headOther
	}
	return h, headOurs
}

// request is the head as net/http has it.
func (h *head) request(ctx context.Context, remote string) *http.Request {
	r := &http.Request{
		Method: h.method, URL: &url.URL{Path: h.target, RawQuery: h.query}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header, 8), Body: http.NoBody, Host: h.host, RemoteAddr: remote, RequestURI: h.target, Close: h.close,
	}
	if h.query != "" {
		r.RequestURI += "?" + h.query
	}
	for rest := h.lines; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		if !is(name, "host") {
			key := textproto.CanonicalMIMEHeaderKey(string(name))
			r.Header[key] = append(r.Header[key], string(textproto.TrimBytes(value)))
		}
	}
	return r.WithContext(ctx)
}

// plainRequest is a request as net/http has it, of what is known of a plain one.
func plainRequest(ctx context.Context, p live.Path, close bool) *http.Request {
	target := p.String()
	r := &http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: target}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: http.NoBody, RequestURI: target, Close: close,
	}
	return r.WithContext(ctx)
}

// is compares with a lower-case name.
func is(b []byte, name string) bool { return len(b) == len(name) && strings.EqualFold(string(b), name) }

// isToken is RFC 9110, 5.6.2.
func isToken(b []byte) bool {
	for _, c := range b {
		alnum := c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
		if !alnum && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return len(b) > 0
}

// isValue takes printable ASCII and tabs. Other octets are allowed but rare.
func isValue(b []byte) bool {
	for _, c := range b {
		if c != '\t' && (c < ' ' || c > '~') {
			return false
		}
	}
	return true
}

func isHost(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
		if !alnum && strings.IndexByte("-._:[]", c) < 0 {
			return false
		}
	}
	return s != ""
}
