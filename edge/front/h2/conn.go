// Package h2 is the server's side of HTTP/2 (RFC 9113) as a state machine: octets
// go in, and requests come out; answers go in, and frames come out. It waits for
// nothing and reads no clock, and between requests a connection is a few hundred
// bytes. Whatever a client may send without end is counted, and bounded: see
// Reason.
package h2

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// A Code is why a stream or a connection ends (RFC 9113, 7).
type Code uint32

const (
	NoError             Code = 0x0
	ProtocolError       Code = 0x1
	InternalError       Code = 0x2
	FlowControlError    Code = 0x3
	StreamClosed        Code = 0x5
	FrameSizeError      Code = 0x6
	RefusedStream       Code = 0x7
	Cancel              Code = 0x8
	CompressionError    Code = 0x9
	EnhanceYourCalm     Code = 0xb
	frameSettings            = 0x4
	headerSize               = 9
	maxFrame                 = 16 << 10 // what either side takes at least, and we send and take at most
	initialWindow            = 65535
	maxWindow                = 1<<31 - 1
	streamWindow             = 16 << 10 // of what a request may carry, before it is taken
	Preface                  = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	settingTable             = 1
	settingPush              = 2
	settingStreams           = 3
	settingWindow            = 4
	settingFrame             = 5
	settingList              = 6
	settingNoPriorities      = 9
	anyStream                = maxWindow
)

// A Reason says for what a connection was ended that does harm. Each has a counter.
type Reason string

const (
	Malformed Reason = "h2-protocol" // frames that are wrong
	Resets    Reason = "h2-resets"   // requests that are taken back, again and again
	Flood     Reason = "h2-flood"    // frames that bring nothing: settings, pings, tiny windows, empty ones
	Headers   Reason = "h2-headers"  // a header block without end
	Deaf      Reason = "h2-deaf"     // what it must be told is not read
)

// Reasons are all there are.
var Reasons = []Reason{Malformed, Resets, Flood, Headers, Deaf}

// An Error ends a connection. The GOAWAY that says so is in Out.
type Error struct {
	Code   Code
	Reason Reason
	Detail string
}

func (e *Error) Error() string {
	return fmt.Sprintf("h2: %s: %s (%#x)", e.Reason, e.Detail, uint32(e.Code))
}

func wrong(c Code, detail string) *Error { return &Error{c, Malformed, detail} }

// Limits are those of a connection.
type Limits struct {
	Streams     int // at once
	HeaderBytes int // of a request's head, as they come and as they are
}

// What a client may do that brings nothing. It is earned by requests and by what is
// sent to it, so a long answer may be followed by many small windows.
const (
	creditFirst   = 400
	creditMost    = 4000
	creditRequest = 20
	creditBytes   = 256 // sent, for each
	resetsMost    = 100 // requests taken back, beyond those that were answered
	outMost       = 16 << 10
	blockFrames   = 32 // of one header block
)

// Events are what comes of what was received.
type Events interface {
	// Request is a new one. What r says is valid until Request returns.
	Request(s *Stream, r *Request)
	// Body is more of what a request carries, or its end.
	Body(s *Stream, p []byte, end bool)
	// Reset says that a stream is no more.
	Reset(s *Stream)
}

// A Request is the head of one.
type Request struct {
	Method, Path, Scheme, Authority []byte
	Fields                          []Field // the others
	End                             bool    // it carries nothing
	TooLarge                        bool    // the rest is not known then
}

// A Stream is one request and its answer.
type Stream struct {
	ID     uint32
	Answer any // the driver's

	window  int64 // bytes that may be sent
	receive int64 // bytes that may come
	left    int64 // bytes that were announced and have not come; -1: nothing was announced
	ended   bool  // all of the request has come
}

// A Shared is what connections use while they are at work, one at a time.
type Shared struct {
	request Request
	fields  []Field
	arena   arena
	free    []*Stream
}

// A Conn is one connection. One uses it at a time.
type Conn struct {
	// Out is what is to be written next.
	Out []byte
	// Opened says that there is room in windows where there was none.
	Opened bool
	// Whole says that a frame or a header block has come whole.
	Whole bool

	limits  *Limits
	events  Events
	shared  *Shared
	table   table
	streams []*Stream

	window   int64 // bytes that may be sent
	receive  int64 // bytes that may come
	initial  int64 // window of new streams
	most     int   // bytes of a frame's payload that it takes
	last     uint32
	goneAway uint32 // streams up to this are taken on
	ours     [8]uint32
	oursNext int

	begun   bool // its preface has come,
	greeted bool // and its settings
	known   bool // it has acknowledged ours
	shrunk  bool // its table is smaller than is assumed: our next head must say so

	block       []byte // of headers, not whole
	blockStream uint32
	blockFlags  byte
	blockFrames int

	credit int
	resets int
}

// New makes a connection. Out begins with our settings.
func New(l *Limits, sh *Shared, e Events) *Conn {
	c := &Conn{
		limits: l, shared: sh, events: e, window: initialWindow, receive: initialWindow, initial: initialWindow, most: maxFrame,
		goneAway: anyStream, credit: creditFirst,
	}
	c.table.max = tableBytes
	c.Out = appendFrame(make([]byte, 0, 40), 24, frameSettings, 0, 0)
	for _, s := range [][2]int{{settingStreams, l.Streams}, {settingWindow, streamWindow}, {settingList, l.HeaderBytes}, {settingNoPriorities, 1}} {
		c.Out = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(c.Out, uint16(s[0])), uint32(s[1]))
	}
	return c
}

func appendFrame(b []byte, size int, kind, flags byte, stream uint32) []byte {
	return append(b, byte(size>>16), byte(size>>8), byte(size), kind, flags, byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

// Streams are those that are not over.
func (c *Conn) Streams() []*Stream { return c.streams }

// Receive takes whole frames from the beginning of b. It returns how many bytes
// they are; the rest is to be given again, with what follows it. An error is an
// *Error: what is in Out is the last to be written.
func (c *Conn) Receive(b []byte) (n int, err error) {
	if !c.begun {
		if len(b) < len(Preface) {
			if !bytes.HasPrefix([]byte(Preface), b) {
				return 0, c.fail(wrong(ProtocolError, "this is no preface"))
			}
			return 0, nil
		}
		if string(b[:len(Preface)]) != Preface {
			return 0, c.fail(wrong(ProtocolError, "this is no preface"))
		}
		c.begun, n = true, len(Preface)
	}
	for len(b)-n >= headerSize {
		h := b[n:]
		size := int(h[0])<<16 | int(h[1])<<8 | int(h[2])
		if size > maxFrame {
			return n, c.fail(wrong(FrameSizeError, "a frame is too long"))
		}
		if len(h) < headerSize+size {
			break
		}
		n += headerSize + size
		f := frame{kind: h[3], flags: h[4], stream: binary.BigEndian.Uint32(h[5:]) & maxWindow, payload: h[headerSize : headerSize+size : headerSize+size]}
		if e := c.take(f); e != nil {
			return n, c.fail(e)
		}
		c.Whole = c.Whole || c.blockStream == 0
		if len(c.Out) > outMost {
			return n, c.fail(&Error{EnhanceYourCalm, Deaf, "what it asks for is not read"})
		}
	}
	return n, nil
}

// Partial reports whether something has begun to come that is not whole: a frame
// that begins with what was left of the last Receive, or a header block.
func (c *Conn) Partial(left int) bool { return left > 0 || c.blockStream != 0 || !c.greeted }

// fail ends the connection.
func (c *Conn) fail(e *Error) error {
	c.Out = appendFrame(c.Out, 8, frameGoAway, 0, 0)
	c.Out = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(c.Out, min(c.last, c.goneAway)), uint32(e.Code))
	return e
}

// spend takes what a frame costs that brings nothing.
func (c *Conn) spend(n int, what string) *Error {
	if c.credit -= n; c.credit < 0 {
		return &Error{EnhanceYourCalm, Flood, what}
	}
	return nil
}

func (c *Conn) earn(n int) { c.credit = min(c.credit+n, creditMost) }

// find returns an open stream.
func (c *Conn) find(id uint32) *Stream {
	for _, s := range c.streams {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// open makes a stream.
func (c *Conn) open(id uint32, ended bool) *Stream {
	var s *Stream
	if n := len(c.shared.free); n > 0 {
		s = c.shared.free[n-1]
		c.shared.free = c.shared.free[:n-1]
	} else {
		s = new(Stream)
	}
	*s = Stream{ID: id, window: c.initial, receive: initialWindow, left: -1, ended: ended}
	if c.known {
		s.receive = streamWindow
	}
	c.streams = append(c.streams, s)
	return s
}

// freeStreams is how many streams that are over are kept for others.
const freeStreams = 256

// forget ends a stream.
func (c *Conn) forget(s *Stream) {
	for i, o := range c.streams {
		if o == s {
			c.streams[i] = c.streams[len(c.streams)-1]
			c.streams[len(c.streams)-1] = nil
			c.streams = c.streams[:len(c.streams)-1]
			break
		}
	}
	if s.Answer = nil; len(c.shared.free) < freeStreams {
		c.shared.free = append(c.shared.free, s)
	}
}

// reset tells the client that a stream is over, and remembers it for what is on its
// way.
func (c *Conn) reset(id uint32, code Code) {
	c.Out = binary.BigEndian.AppendUint32(appendFrame(c.Out, 4, frameReset, 0, id), uint32(code))
	c.ours[c.oursNext] = id
	c.oursNext = (c.oursNext + 1) % len(c.ours)
}

// wasOurs reports whether we have reset a stream, not long ago.
func (c *Conn) wasOurs(id uint32) bool {
	for _, o := range c.ours {
		if o == id {
			return true
		}
	}
	return false
}
