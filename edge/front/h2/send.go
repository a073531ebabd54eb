package h2

import (
	"encoding/binary"
	"slices"
)

// FrameSize is what AppendHead leaves room for.
const FrameSize = headerSize

// MaxData is how much of a body one frame takes at most: with its header, as much
// as a record of TLS.
const MaxData = maxFrame - headerSize

// AppendHead makes frames of a header block. block begins with FrameSize bytes that
// are not of it; the result begins where it does.
func (c *Conn) AppendHead(s *Stream, block []byte, end bool) []byte {
	if c.shrunk {
		// RFC 7541, 4.2. None of our fields is in a table, so none at all will do.
		block, c.shrunk = slices.Insert(block, headerSize, 0x20), false
	}
	flags := byte(0)
	if end {
		flags = flagEnd
	}
	size := len(block) - headerSize
	if size <= maxFrame {
		appendFrame(block[:0], size, frameHeaders, flags|flagWhole, s.ID)
		return block
	}
	out := appendFrame(nil, maxFrame, frameHeaders, flags, s.ID)
	out = append(out, block[headerSize:headerSize+maxFrame]...)
	for rest := block[headerSize+maxFrame:]; len(rest) > 0; {
		n := min(len(rest), maxFrame)
		whole := byte(0)
		if n == len(rest) {
			whole = flagWhole
		}
		out = append(appendFrame(out, n, frameContinuation, whole, s.ID), rest[:n]...)
		rest = rest[n:]
	}
	return out
}

// Room is how many of n bytes of a body may be sent next, in one frame.
func (c *Conn) Room(s *Stream, n int) int {
	return int(max(min(int64(n), s.window, c.window, MaxData), 0))
}

// AppendData begins a frame with n bytes of a body, which Room has allowed.
func (c *Conn) AppendData(b []byte, s *Stream, n int, end bool) []byte {
	s.window -= int64(n)
	c.window -= int64(n)
	c.earn(n / creditBytes)
	flags := byte(0)
	if end {
		flags = flagEnd
	}
	return appendFrame(b, n, frameData, flags, s.ID)
}

// End says that all of an answer has been sent. A request whose body has not come
// whole is not waited for.
func (c *Conn) End(s *Stream) {
	if c.resets = max(c.resets-1, 0); !s.ended {
		c.reset(s.ID, NoError)
	}
	c.forget(s)
}

// Abort ends a stream whose answer cannot be whole.
func (c *Conn) Abort(s *Stream, code Code) {
	c.reset(s.ID, code)
	c.forget(s)
}

// Ping asks whether the client is there.
func (c *Conn) Ping() { c.Out = append(appendFrame(c.Out, 8, framePing, 0, 0), "headwatr"...) }

// GoAway tells the client to ask elsewhere. Where it is not the last word, what is
// on its way is taken on all the same.
func (c *Conn) GoAway(last bool) {
	if last {
		c.goneAway = c.last
	}
	c.Out = appendFrame(c.Out, 8, frameGoAway, 0, 0)
	c.Out = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(c.Out, c.goneAway), uint32(NoError))
}
