package record

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
)

// A Server makes handshakes.
type Server struct{ config *tls.Config }

// NewServer makes one. Certificates, tickets and ALPN are as cfg says.
func NewServer(cfg *tls.Config) *Server {
	cfg = cfg.Clone()
	choose := cfg.GetConfigForClient
	base := cfg.Clone()
	// The keys of tickets stay those of one configuration; a connection's own is for
	// its secrets only.
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		own := base
		if choose != nil {
			chosen, err := choose(hello)
			if err != nil {
				return nil, err
			}
			if chosen != nil {
				own = chosen
			}
		}
		own = own.Clone()
		log := own.KeyLogWriter
		w, ok := hello.Conn.(*wire)
		if !ok {
			return nil, errors.New("record: a connection of somebody else")
		}
		own.KeyLogWriter = keyLog{w, log}
		return own, nil
	}
	return &Server{cfg}
}

// A Done is a handshake that has been made.
type Done struct {
	Protocol string // by ALPN
	Conn     *Conn  // nil: Other
	Came     []byte // and was not opened yet
	// Other is the connection where only crypto/tls can go on with it: TLS 1.2.
	Other *tls.Conn
}

// Handshake makes one, until ctx ends.
func (s *Server) Handshake(ctx context.Context, nc net.Conn) (*Done, error) {
	w := &wire{Conn: nc}
	c := tls.Server(w, s.config)
	if err := c.HandshakeContext(ctx); err != nil {
		if e := (tls.RecordHeaderError{}); errors.As(err, &e) && e.Conn != nil && looksLikeHTTP(e.RecordHeader) {
			io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
		return nil, fmt.Errorf("record: handshake: %w", err)
	}
	state := c.ConnectionState()
	d := &Done{Protocol: state.NegotiatedProtocol}
	if state.Version != tls.VersionTLS13 || w.client == nil || w.server == nil || suites[state.CipherSuite] == nil {
		w.through, w.sent = true, nil
		d.Other = c
		return d, nil
	}
	rc, err := New(state.CipherSuite, w.client, w.server)
	if err != nil {
		return nil, err
	}
	rc.skip(w.sent)
	d.Conn, d.Came = rc, w.came
	return d, nil
}

func looksLikeHTTP(b [5]byte) bool {
	switch string(b[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// skip counts the records that crypto/tls has sealed with the keys of the
// connection: those with tickets. They are the ones that open.
func (c *Conn) skip(sent []byte) {
	var h half
	if c.suite.set(&h, c.out.secret) != nil {
		return
	}
	for len(sent) >= headerSize {
		n := headerSize + int(sent[3])<<8 + int(sent[4])
		if n > len(sent) {
			return
		}
		if sent[0] == kindData {
			if _, err := h.aead.Open(nil, h.number(), sent[headerSize:n], sent[:headerSize]); err != nil {
				h.seq--
			}
		}
		sent = sent[n:]
	}
	c.out.seq = h.seq
}

// A keyLog takes the secrets of one connection. It is called while they are made.
type keyLog struct {
	w    *wire
	next io.Writer
}

func (k keyLog) Write(line []byte) (int, error) {
	if f := bytes.Fields(line); len(f) == 3 {
		secret := make([]byte, hex.DecodedLen(len(f[2])))
		if _, err := hex.Decode(secret, f[2]); err != nil {
			return 0, fmt.Errorf("record: key log: %w", err)
		}
		switch string(f[0]) {
		case "CLIENT_TRAFFIC_SECRET_0":
			k.w.client = secret
		case "SERVER_TRAFFIC_SECRET_0":
			k.w.server = secret
		}
	}
	if k.next != nil {
		return k.next.Write(line)
	}
	return len(line), nil
}

// A wire gives crypto/tls one record at a time, so that what comes behind the
// handshake is not taken by it.
type wire struct {
	net.Conn
	came           []byte
	left           int    // bytes of the record that is being given
	through        bool   // the connection stays with crypto/tls
	sent           []byte // all that was written
	client, server []byte // secrets
}

func (w *wire) Read(p []byte) (int, error) {
	if w.through && len(w.came) == 0 {
		return w.Conn.Read(p)
	}
	for w.left == 0 {
		if len(w.came) >= headerSize {
			w.left = headerSize + int(w.came[3])<<8 + int(w.came[4])
			break
		}
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
	if len(w.came) == 0 {
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p[:min(len(p), w.left)], w.came)
	w.came = w.came[n:]
	w.left -= n
	return n, nil
}

func (w *wire) fill() error {
	if cap(w.came)-len(w.came) < 512 {
		w.came = append(make([]byte, 0, len(w.came)+4<<10), w.came...)
	}
	n, err := w.Conn.Read(w.came[len(w.came):cap(w.came)])
	w.came = w.came[:len(w.came)+n]
	if n > 0 {
		return nil
	}
	return err
}

func (w *wire) Write(p []byte) (int, error) {
	if !w.through {
		w.sent = append(w.sent, p...)
	}
	return w.Conn.Write(p)
}
