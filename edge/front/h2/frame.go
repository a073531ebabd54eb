package h2

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// Kinds of frames.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	framePush         = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9
)

// Flags of frames.
const (
	flagEnd      = 0x1 // of a stream
	flagAck      = 0x1
	flagWhole    = 0x4 // header block
	flagPadded   = 0x8
	flagPriority = 0x20
)

type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

// take does what a frame says.
func (c *Conn) take(f frame) *Error {
	switch {
	case !c.greeted && (f.kind != frameSettings || f.has(flagAck)):
		return wrong(ProtocolError, "it begins without settings")
	case c.blockStream != 0 && (f.kind != frameContinuation || f.stream != c.blockStream):
		return wrong(ProtocolError, "a header block is broken off")
	case f.stream != 0 && (f.kind == frameSettings || f.kind == framePing || f.kind == frameGoAway),
		f.stream == 0 && (f.kind <= frameReset || f.kind == frameContinuation):
		return wrong(ProtocolError, "that frame is not for that stream")
	}
	switch f.kind {
	case frameData:
		return c.data(f)
	case frameHeaders:
		return c.headers(f)
	case framePriority:
		return c.priority(f)
	case frameReset:
		return c.taken(f)
	case frameSettings:
		return c.settings(f)
	case framePush:
		return wrong(ProtocolError, "clients do not push")
	case framePing:
		return c.ping(f)
	case frameGoAway:
		if len(f.payload) < 8 {
			return wrong(FrameSizeError, "GOAWAY")
		}
	case frameWindow:
		return c.update(f)
	case frameContinuation:
		return c.continuation(f)
	}
	return c.spend(1, "frames of no use")
}

func (c *Conn) settings(f frame) *Error {
	if f.has(flagAck) {
		if len(f.payload) != 0 {
			return wrong(FrameSizeError, "SETTINGS")
		}
		c.known = true
		return c.spend(1, "settings")
	}
	if len(f.payload)%6 != 0 {
		return wrong(FrameSizeError, "SETTINGS")
	}
	for p := f.payload; len(p) > 0; p = p[6:] {
		v := int64(binary.BigEndian.Uint32(p[2:]))
		switch binary.BigEndian.Uint16(p) {
		case settingTable:
			c.shrunk = c.shrunk || v < tableBytes
		case settingPush:
			if v > 1 {
				return wrong(ProtocolError, "ENABLE_PUSH")
			}
		case settingWindow:
			if v > maxWindow {
				return wrong(FlowControlError, "INITIAL_WINDOW_SIZE")
			}
			for _, s := range c.streams {
				if s.window += v - c.initial; s.window > maxWindow {
					return wrong(FlowControlError, "a window became too large")
				}
			}
			c.Opened = c.Opened || v > c.initial
			c.initial = v
		case settingFrame:
			if v < maxFrame || v >= 1<<24 {
				return wrong(ProtocolError, "MAX_FRAME_SIZE")
			}
		}
	}
	cost := 4 + len(f.payload)/6
	if !c.greeted {
		c.greeted, cost = true, 0
	}
	c.Out = appendFrame(c.Out, 0, frameSettings, flagAck, 0)
	return c.spend(cost, "settings")
}

func (c *Conn) ping(f frame) *Error {
	if len(f.payload) != 8 {
		return wrong(FrameSizeError, "PING")
	}
	if !f.has(flagAck) {
		c.Out = append(appendFrame(c.Out, 8, framePing, flagAck, 0), f.payload...)
	}
	return c.spend(2, "pings")
}

func (c *Conn) priority(f frame) *Error {
	if len(f.payload) != 5 {
		return c.streamError(f.stream, FrameSizeError)
	}
	if binary.BigEndian.Uint32(f.payload)&maxWindow == f.stream {
		return c.streamError(f.stream, ProtocolError)
	}
	return c.spend(1, "priorities")
}

// idle reports whether no stream has had that number.
func (c *Conn) idle(id uint32) bool { return id > c.last || id%2 == 0 }

func (c *Conn) update(f frame) *Error {
	if len(f.payload) != 4 {
		return wrong(FrameSizeError, "WINDOW_UPDATE")
	}
	n := int64(binary.BigEndian.Uint32(f.payload) & maxWindow)
	if f.stream == 0 {
		if n == 0 {
			return wrong(ProtocolError, "a window grows by nothing")
		}
		c.Opened = c.Opened || c.window <= 0
		if c.window += n; c.window > maxWindow {
			return wrong(FlowControlError, "a window became too large")
		}
		return c.spend(1, "windows")
	}
	if c.idle(f.stream) {
		return wrong(ProtocolError, "a window of no stream")
	}
	s := c.find(f.stream)
	switch {
	case s == nil: // it is over
	case n == 0:
		return c.streamError(f.stream, ProtocolError)
	default:
		c.Opened = c.Opened || s.window <= 0
		if s.window += n; s.window > maxWindow {
			return c.streamError(f.stream, FlowControlError)
		}
	}
	return c.spend(1, "windows")
}

// taken is a request that is taken back.
func (c *Conn) taken(f frame) *Error {
	if len(f.payload) != 4 {
		return wrong(FrameSizeError, "RST_STREAM")
	}
	if c.idle(f.stream) {
		return wrong(ProtocolError, "no stream is reset")
	}
	s := c.find(f.stream)
	if s == nil {
		return c.spend(1, "resets")
	}
	c.events.Reset(s)
	c.forget(s)
	return c.back()
}

// back counts a request that was taken back, or was wrong.
func (c *Conn) back() *Error {
	if c.resets++; c.resets > resetsMost {
		return &Error{EnhanceYourCalm, Resets, "requests are taken back again and again"}
	}
	return nil
}

// streamError ends a stream.
func (c *Conn) streamError(id uint32, code Code) *Error {
	if s := c.find(id); s != nil {
		c.events.Reset(s)
		c.forget(s)
	}
	c.reset(id, code)
	return c.back()
}

// padding takes off what a frame is longer than it need be.
func (f *frame) padding() bool {
	if !f.has(flagPadded) {
		return true
	}
	if len(f.payload) == 0 || int(f.payload[0]) >= len(f.payload) {
		return false
	}
	f.payload = f.payload[1 : len(f.payload)-int(f.payload[0])]
	return true
}

func (c *Conn) data(f frame) *Error {
	if c.idle(f.stream) {
		return wrong(ProtocolError, "data of no stream")
	}
	size := int64(len(f.payload))
	if c.receive -= size; c.receive < 0 {
		return wrong(FlowControlError, "more came than may")
	}
	if !f.padding() {
		return wrong(ProtocolError, "padding")
	}
	// The connection's window is for all streams: none may keep it.
	if c.receive < initialWindow/2 {
		c.Out = binary.BigEndian.AppendUint32(appendFrame(c.Out, 4, frameWindow, 0, 0), uint32(initialWindow-c.receive))
		c.receive = initialWindow
	}
	if e := c.spend(1, "data"); e != nil {
		return e
	}
	s := c.find(f.stream)
	if s == nil || s.ended {
		if s == nil && c.wasOurs(f.stream) {
			return nil
		}
		return c.streamError(f.stream, StreamClosed)
	}
	if s.receive -= size; s.receive < 0 {
		return c.streamError(f.stream, FlowControlError)
	}
	if s.left >= 0 {
		if s.left -= int64(len(f.payload)); s.left < 0 || s.left > 0 && f.has(flagEnd) {
			return c.streamError(f.stream, ProtocolError)
		}
	}
	s.ended = f.has(flagEnd)
	c.events.Body(s, f.payload, s.ended)
	return nil
}

func (c *Conn) headers(f frame) *Error {
	if f.stream%2 == 0 {
		return wrong(ProtocolError, "clients have odd streams")
	}
	if !f.padding() {
		return wrong(ProtocolError, "padding")
	}
	if f.has(flagPriority) {
		if len(f.payload) < 5 {
			return wrong(FrameSizeError, "HEADERS")
		}
		if binary.BigEndian.Uint32(f.payload)&maxWindow == f.stream {
			return wrong(ProtocolError, "a stream depends on itself")
		}
		f.payload = f.payload[5:]
	}
	if !f.has(flagWhole) {
		c.block = append(c.block[:0], f.payload...)
		c.blockStream, c.blockFlags, c.blockFrames = f.stream, f.flags, 1
		return nil
	}
	return c.head(f.stream, f.payload, f.has(flagEnd))
}

func (c *Conn) continuation(f frame) *Error {
	if c.blockStream == 0 {
		return wrong(ProtocolError, "CONTINUATION of nothing")
	}
	if c.blockFrames++; c.blockFrames > blockFrames || len(c.block)+len(f.payload) > c.limits.HeaderBytes {
		return &Error{EnhanceYourCalm, Headers, "a header block has no end"}
	}
	c.block = append(c.block, f.payload...)
	if !f.has(flagWhole) {
		return nil
	}
	block, id := c.block, c.blockStream
	c.block, c.blockStream = nil, 0
	return c.head(id, block, c.blockFlags&flagEnd != 0)
}

// head takes a whole header block: a request, or what follows its body.
func (c *Conn) head(id uint32, block []byte, end bool) *Error {
	sh := c.shared
	sh.arena = sh.arena[:0]
	fields, over, err := c.table.decode(block, sh.fields[:0], &sh.arena, c.limits.HeaderBytes)
	if err != nil {
		return wrong(CompressionError, "a header block is wrong")
	}
	sh.fields = fields[:0]
	if id <= c.last {
		return c.trailers(id, fields, over, end)
	}
	c.last = id
	if id > c.goneAway {
		return nil // we have said that it is not taken on
	}
	if len(c.streams) >= c.limits.Streams {
		c.reset(id, RefusedStream)
		return c.back()
	}
	r := &sh.request
	*r = Request{End: end, TooLarge: over}
	length, ok := int64(-1), true
	if !over {
		length, ok = r.read(fields)
	}
	if !ok || end && length > 0 {
		return c.streamError(id, ProtocolError)
	}
	c.earn(creditRequest)
	s := c.open(id, end)
	s.left = length
	c.events.Request(s, r)
	return nil
}

func (c *Conn) trailers(id uint32, fields []Field, over, end bool) *Error {
	s := c.find(id)
	switch {
	case s == nil && c.wasOurs(id):
		return nil
	case s == nil:
		return wrong(StreamClosed, "headers of a stream that is over")
	case s.ended:
		return c.streamError(id, StreamClosed)
	case !end || over || s.left > 0:
		return c.streamError(id, ProtocolError)
	}
	for _, f := range fields {
		if !isName(f.Name) || !isValue(f.Value) {
			return c.streamError(id, ProtocolError)
		}
	}
	s.ended = true
	c.events.Body(s, nil, true)
	return nil
}

// read takes a head apart, and reports whether it is well formed (RFC 9113, 8.2 and
// 8.3).
func (r *Request) read(fields []Field) (length int64, ok bool) {
	length = -1
	n := 0
	for ; n < len(fields) && len(fields[n].Name) > 0 && fields[n].Name[0] == ':'; n++ {
		var into *[]byte
		switch string(fields[n].Name) {
		case ":method":
			into = &r.Method
		case ":path":
			into = &r.Path
		case ":scheme":
			into = &r.Scheme
		case ":authority":
			into = &r.Authority
		default:
			return length, false
		}
		if *into != nil || !isValue(fields[n].Value) {
			return length, false
		}
		*into = fields[n].Value
		if *into == nil {
			*into = []byte{}
		}
	}
	if len(r.Method) == 0 || string(r.Method) != "CONNECT" && (len(r.Path) == 0 || len(r.Scheme) == 0) {
		return length, false
	}
	for _, f := range fields[n:] {
		if !isName(f.Name) || !isValue(f.Value) {
			return length, false
		}
		switch string(f.Name) {
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			return length, false
		case "te":
			if string(f.Value) != "trailers" {
				return length, false
			}
		case "host":
			if r.Authority != nil && !bytes.EqualFold(r.Authority, f.Value) {
				return length, false
			}
		case "content-length":
			v, err := strconv.ParseUint(string(f.Value), 10, 62)
			if err != nil || length >= 0 && length != int64(v) {
				return length, false
			}
			length = int64(v)
		}
	}
	r.Fields = fields[n:]
	return length, true
}

// isName reports whether a name may be one: a token without upper case.
func isName(b []byte) bool {
	for _, c := range b {
		if !token[c] {
			return false
		}
	}
	return len(b) > 0
}

var token = func() (t [256]bool) {
	for c := range 128 {
		t[c] = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), byte(c)) >= 0
	}
	return t
}()

func isValue(b []byte) bool {
	if n := len(b); n > 0 && (b[0] == ' ' || b[0] == '\t' || b[n-1] == ' ' || b[n-1] == '\t') {
		return false
	}
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
