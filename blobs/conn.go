package blobs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"headwater/live"
)

// A value is cut into chunks below memcached's limit of an item, 1 MiB. A chunk's
// key is the digest of the whole value and the chunk's number.
const (
	chunkBytes = 256 << 10
	keyPrefix  = "hw:"
	maxAnswer  = 1 << 20 // bytes of a value that are read past
)

// errAnswer: the connection cannot be used any more.
var errAnswer = errors.New("blobs: unexpected answer")

// conn is a connection that speaks memcached's meta protocol, for one exchange
// at a time: its commands go out together, then the answers are read.
type conn struct {
	net.Conn
	r     *bufio.Reader
	head  []byte // of commands; used again and again
	spent bool   // its time is over: not to be used again
}

func newConn(nc net.Conn) *conn {
	return &conn{Conn: nc, r: bufio.NewReaderSize(nc, 4<<10)}
}

// within runs f until ctx ends: then what f waits for fails.
func (c *conn) within(ctx context.Context, f func(*conn) (outcome, error)) (outcome, error) {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer func() { c.spent = !stop() }()
	return f(c)
}

func (c *conn) key(command string, d live.Digest, i int) {
	c.head = append(c.head, command...)
	c.head = append(c.head, keyPrefix...)
	c.head = base64.RawURLEncoding.AppendEncode(c.head, d[:])
	c.head = append(c.head, ':')
	c.head = strconv.AppendInt(c.head, int64(i), 10)
}

// seconds is a time to live as memcached takes it: whole, and not none.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// set writes a value, and reports whether all of it was taken.
func (c *conn) set(d live.Digest, value []byte, keep time.Duration) (stored bool, err error) {
	c.head = c.head[:0]
	var ends []int // of each command in head
	for from := 0; from < len(value); from += chunkBytes {
		if from > 0 {
			c.head = append(c.head, "\r\n"...)
		}
		c.key("ms ", d, len(ends))
		c.head = append(c.head, ' ')
		c.head = strconv.AppendInt(c.head, int64(min(chunkBytes, len(value)-from)), 10)
		c.head = append(c.head, " T"...)
		c.head = strconv.AppendInt(c.head, seconds(keep), 10)
		c.head = append(c.head, "\r\n"...)
		ends = append(ends, len(c.head))
	}
	var out net.Buffers
	begin := 0
	for i, end := range ends {
		out = append(out, c.head[begin:end], value[i*chunkBytes:min((i+1)*chunkBytes, len(value))])
		begin = end
	}
	out = append(out, []byte("\r\n"))
	if _, err := out.WriteTo(c.Conn); err != nil {
		return false, err
	}
	stored = true
	for range ends {
		code, _, err := c.answer()
		switch {
		case err != nil:
			return false, err
		case code == "SERVER_ERROR": // it has read the value all the same
			stored = false
		case code != "HD":
			return false, fmt.Errorf("%w to a write: %q", errAnswer, code)
		}
	}
	return stored, nil
}

// get reads a value of that size, and how long it will be kept. What it found is
// whatever is there.
func (c *conn) get(d live.Digest, size int) (value []byte, left time.Duration, found bool, err error) {
	c.head = c.head[:0]
	n := (size + chunkBytes - 1) / chunkBytes
	for i := range n {
		c.key("mg ", d, i)
		c.head = append(c.head, " v t\r\n"...)
	}
	if _, err := c.Write(c.head); err != nil {
		return nil, 0, false, err
	}
	found, left = true, maxKeep
	for i := range n {
		code, rest, err := c.answer()
		switch {
		case err != nil:
			return nil, 0, false, err
		case code == "EN", code == "SERVER_ERROR":
			found = false
			continue
		case code != "VA":
			return nil, 0, false, fmt.Errorf("%w to a read: %q", errAnswer, code)
		}
		length, keep, err := parseValue(rest)
		if err != nil {
			return nil, 0, false, err
		}
		from, to := i*chunkBytes, min((i+1)*chunkBytes, size)
		if length != to-from {
			found = false
			if _, err := c.r.Discard(length); err != nil {
				return nil, 0, false, err
			}
		} else {
			if value == nil {
				value = make([]byte, size)
			}
			if _, err := io.ReadFull(c.r, value[from:to]); err != nil {
				return nil, 0, false, err
			}
			left = min(left, keep)
		}
		var end [2]byte
		if _, err := io.ReadFull(c.r, end[:]); err != nil {
			return nil, 0, false, err
		}
		if string(end[:]) != "\r\n" {
			return nil, 0, false, fmt.Errorf("%w: a value without its end", errAnswer)
		}
	}
	return value, left, found, nil
}

// ping asks for nothing.
func (c *conn) ping() error {
	if _, err := io.WriteString(c.Conn, "mn\r\n"); err != nil {
		return err
	}
	code, _, err := c.answer()
	if err == nil && code != "MN" {
		err = fmt.Errorf("%w to a ping: %q", errAnswer, code)
	}
	return err
}

// answer reads a line: what it begins with, and the rest of it, good until the
// next read.
func (c *conn) answer() (code string, rest []byte, err error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return "", nil, err
	}
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok {
		return "", nil, fmt.Errorf("%w: a line without its end", errAnswer)
	}
	word, rest, _ := bytes.Cut(line, []byte{' '})
	return string(word), rest, nil
}

// parseValue reads the length and the time left of a VA answer.
func parseValue(rest []byte) (length int, left time.Duration, err error) {
	field, rest, _ := bytes.Cut(rest, []byte{' '})
	n, err := strconv.ParseUint(string(field), 10, 32)
	if err != nil || n > maxAnswer {
		return 0, 0, fmt.Errorf("%w: a value of %.20q bytes", errAnswer, field)
	}
	left = maxKeep
	for flag := range bytes.FieldsSeq(rest) {
		if t, ok := bytes.CutPrefix(flag, []byte{'t'}); ok {
			if s, err := strconv.ParseInt(string(t), 10, 32); err == nil && s >= 0 { // -1 is for ever
				left = min(left, time.Duration(s)*time.Second)
			}
		}
	}
	return int(n), left, nil
}
