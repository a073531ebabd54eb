package front

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
)

// A socket is a connection that is used without waiting. One loop has it.
type socket interface {
	// read returns errWait where there is nothing, io.EOF where nothing comes. more
	// says that it is worth reading again at once.
	read(p []byte) (n int, more bool, err error)
	// write writes as much of both as is taken at once.
	write(a, b []byte) (int, error)
	// flush reports whether all that write took has gone to the system.
	flush() (all bool, err error)
	closeWrite()
	close()
	// watch has the loop told of what happens to it, from now on.
	watch(l *loop, c *conn) error
	// handOver makes it a connection of package net, which is told of nothing.
	handOver() (net.Conn, error)
}

var errWait = errors.New("front: nothing has come")

// A trier is a connection that can be used without waiting although it is not of
// the system: those of package memnet, so that tests in virtual time go the way
// that viewers go.
type trier interface {
	net.Conn
	TryRead(p []byte) (int, error)
	TryWrite(p []byte) (int, error)
	Notify(func())
	Ended() bool
	CloseWrite() error
}

type trySocket struct{ trier }

func (s trySocket) read(p []byte) (n int, more bool, err error) {
	n, err = s.TryRead(p)
	if n == 0 && err != nil && !errors.Is(err, io.EOF) {
		err = errWait
	}
	return n, n == len(p), err
}

func (s trySocket) write(a, b []byte) (int, error) {
	if len(a) > 0 {
		b = append(bytes.Clone(a), b[:min(len(b), 64<<10)]...) // as one, like a socket
	}
	return s.TryWrite(b)
}

func (s trySocket) flush() (bool, error) { return true, nil }
func (s trySocket) ended() bool          { return s.Ended() }
func (s trySocket) closeWrite()          { s.CloseWrite() }
func (s trySocket) close()               { s.Notify(nil); s.Close() }

func (s trySocket) watch(l *loop, c *conn) error {
	tell := func() {
		l.post(post{conn: c, what: happened, event: eventIn | eventOut})
	}
	s.Notify(tell)
	tell()
	return nil
}

func (s trySocket) handOver() (net.Conn, error) { s.Notify(nil); return s.trier, nil }

// addressOf is whom a connection is counted for.
func addressOf(a net.Addr) netip.Addr {
	var addr netip.Addr
	switch a := a.(type) {
	case *net.TCPAddr:
		addr = a.AddrPort().Addr().Unmap()
	case *net.UDPAddr:
		addr = a.AddrPort().Addr().Unmap()
	}
	if addr.Is6() {
		// One subscriber has a whole /64.
		if p, err := addr.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}
