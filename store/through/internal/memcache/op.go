// Package memcache is a client of memcached's meta protocol: batches of
// commands go out together on one of a few connections and their answers come
// back in order, without waiting for those of others. A server that does not
// answer is left alone for a while and probed.
package memcache

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

var (
	ErrTimeout = errors.New("memcache: no answer in time")
	ErrEjected = errors.New("memcache: the server is left alone after failures")
	ErrBusy    = errors.New("memcache: too many requests are waiting for the server")
	ErrClosed  = errors.New("memcache: closed")
	errReply   = errors.New("memcache: unexpected answer")
)

// The limits of what a server may send.
const (
	MaxValueBytes = 1 << 20
	maxLineBytes  = 2 << 10
	maxKeyBytes   = 250
)

// Kind is what an Op does.
type Kind uint8

// The kinds.
const (
	Get   Kind = iota // mg
	Set               // ms
	Touch             // mn: nothing, but answered
)

// Status is how an Op ended.
type Status uint8

// The statuses.
const (
	None      Status = iota // no answer yet
	Hit                     // Get: there it is
	Miss                    // Get: it is not there
	Stored                  // Set
	NotStored               // Set with Add: there is one already
	Exists                  // Set with a CAS: it has changed
	NotFound                // Set with a CAS: it is gone
	Done                    // Touch
	Refused                 // the server said SERVER_ERROR
)

// Op is one command and its answer.
type Op struct {
	Kind  Kind
	Key   string        // 1 to 250 printable ASCII characters without space
	Value []byte        // Set: not to be modified until Do returns
	TTL   time.Duration // Set, and of what Vivify makes: whole seconds, rounded up; 0 keeps it
	CAS   uint64        // Set: only if the item is still this one; 0 does not ask
	Add   bool          // Set: only if there is none

	// Vivify has a Get that misses make an empty item, and win it.
	Vivify bool
	// Dst is where a Get's value goes if it has this length; a value of
	// another length is a Miss. Without it, the value is allocated. After an
	// error of Do it may still be written to, and is of no use any more.
	Dst []byte

	Status Status
	Got    []byte // Get
	GotCAS uint64 // Get
	Won    bool   // Get: this very command made the item
}

func validKey(key string) error {
	if len(key) == 0 || len(key) > maxKeyBytes {
		return fmt.Errorf("memcache: key of %d bytes", len(key))
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return fmt.Errorf("memcache: key %q is not printable", key)
		}
	}
	return nil
}

// appendHead appends the command line.
func (o *Op) appendHead(b []byte) []byte {
	switch o.Kind {
	case Touch:
		return append(b, "mn\r\n"...)
	case Get:
		b = append(b, "mg "...)
		b = append(b, o.Key...)
		b = append(b, " v c"...)
		if o.Vivify {
			b = append(b, " N"...)
			b = strconv.AppendInt(b, seconds(o.TTL), 10)
		}
	case Set:
		b = append(b, "ms "...)
		b = append(b, o.Key...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(len(o.Value)), 10)
		if o.TTL > 0 {
			b = append(b, " T"...)
			b = strconv.AppendInt(b, seconds(o.TTL), 10)
		}
		if o.CAS != 0 {
			b = append(b, " C"...)
			b = strconv.AppendUint(b, o.CAS, 10)
		}
		if o.Add {
			b = append(b, " ME"...)
		}
	}
	return append(b, "\r\n"...)
}

// maxTTL is what memcached still takes for a length of time; more is a date.
const maxTTL = 30 * 24 * time.Hour

func seconds(d time.Duration) int64 {
	return int64((min(d, maxTTL) + time.Second - 1) / time.Second)
}

// reader is what answers are read from.
type reader interface {
	ReadSlice(delim byte) ([]byte, error)
	Read(p []byte) (int, error)
	Discard(n int) (int, error)
}

// readReply reads one answer into o. An error means that the connection cannot
// be used any more.
func (o *Op) readReply(r reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(line) > maxLineBytes || len(line) < 4 || line[len(line)-2] != '\r' {
		return fmt.Errorf("%w: %.40q", errReply, line)
	}
	line = line[:len(line)-2]
	code, rest, _ := bytes.Cut(line, []byte{' '})
	o.Status = None
	switch string(code) {
	case "SERVER_ERROR":
		// What it refuses it has read, the value too.
		o.Status = Refused
		return nil
	case "EN":
		o.Status = pick(o.Kind == Get, Miss)
	case "VA":
		if o.Kind == Get {
			return o.readValue(r, rest)
		}
	case "HD":
		o.Status = pick(o.Kind == Set, Stored)
	case "NS":
		o.Status = pick(o.Kind == Set, NotStored)
	case "EX":
		o.Status = pick(o.Kind == Set, Exists)
	case "NF":
		o.Status = pick(o.Kind == Set, NotFound)
	case "MN":
		o.Status = pick(o.Kind == Touch, Done)
	}
	if o.Status == None {
		return fmt.Errorf("%w: %.40q", errReply, line)
	}
	return nil
}

func pick(ok bool, s Status) Status {
	if ok {
		return s
	}
	return None
}

// readValue reads the rest of a VA answer: SIZE FLAGS, and the bytes.
func (o *Op) readValue(r reader, rest []byte) error {
	field, rest, _ := bytes.Cut(rest, []byte{' '})
	size, err := strconv.ParseUint(string(field), 10, 32)
	if err != nil || size > MaxValueBytes {
		return fmt.Errorf("%w: a value of %.20q bytes", errReply, field)
	}
	for len(rest) > 0 {
		field, rest, _ = bytes.Cut(rest, []byte{' '})
		switch {
		case len(field) == 0:
		case field[0] == 'c':
			if o.GotCAS, err = strconv.ParseUint(string(field[1:]), 10, 64); err != nil {
				return fmt.Errorf("%w: cas %.30q", errReply, field)
			}
		case field[0] == 'W':
			o.Won = true
		}
	}
	o.Status = Hit
	switch {
	case o.Dst == nil:
		o.Got = make([]byte, size)
	case len(o.Dst) == int(size):
		o.Got = o.Dst
	default:
		o.Status = Miss
		if _, err := r.Discard(int(size)); err != nil {
			return err
		}
	}
	for n := 0; n < len(o.Got); {
		m, err := r.Read(o.Got[n:])
		if err != nil {
			return err
		}
		n += m
	}
	var end [2]byte
	for n := 0; n < 2; {
		m, err := r.Read(end[n:])
		if err != nil {
			return err
		}
		n += m
	}
	if string(end[:]) != "\r\n" {
		return fmt.Errorf("%w: a value without its end", errReply)
	}
	return nil
}
