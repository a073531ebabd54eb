// Package record is the record protocol of TLS 1.3 (RFC 8446, 5) on the server's
// side, after a handshake that crypto/tls has made. It reads and writes bytes and
// does nothing else, so that a connection that waits costs its keys and no more:
// no goroutine, no buffer. Records are sealed into one buffer, for one system call.
//
// The traffic secrets come from crypto/tls by its key log (Handshake). They are what
// a kernel that does records by itself (kTLS) is given as well: there it would stand
// in the place of a Conn.
package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"
)

// Sizes in bytes.
const (
	headerSize = 5
	MaxPlain   = 16 << 10            // of a record
	maxSealed  = MaxPlain + 256      // of what is behind its header
	Overhead   = headerSize + 1 + 16 // what a record is longer than what is in it
)

// Kinds of records.
const (
	kindAlert     = 21
	kindHandshake = 22
	kindData      = 23
)

// Alerts (RFC 8446, 6).
const (
	alertCloseNotify       = 0
	alertUnexpectedMessage = 10
	alertBadRecordMAC      = 20
	alertRecordOverflow    = 22
	alertDecodeError       = 50
	alertUserCanceled      = 90
)

// ErrPart says that the rest of a record has not come.
var ErrPart = errors.New("record: not all of it has come")

// An Alert is why a connection ends: what the other side is told, where it sent
// what it must not.
type Alert uint8

func (a Alert) Error() string { return fmt.Sprintf("record: alert %d", uint8(a)) }

// maxUseless is how many records in a row may bring nothing.
const maxUseless = 16

// keyRecords is after how many records keys are renewed. AES-GCM is good for 2^24.5
// of full size (RFC 8446, 5.5).
const keyRecords = 1 << 24

// A Conn has the keys of both ways. One seals and one opens at a time.
type Conn struct {
	suite   *suite
	in, out half
	useless int
	answer  atomic.Bool // a KeyUpdate was asked for
}

// A half is one way.
type half struct {
	aead   cipher.AEAD
	secret []byte
	iv     [12]byte
	nonce  [12]byte
	seq    uint64
}

type suite struct {
	hash func() hash.Hash
	key  int
	aead func(key []byte) (cipher.AEAD, error)
}

func gcm(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

var suites = map[uint16]*suite{
	tls.TLS_AES_128_GCM_SHA256:       {sha256.New, 16, gcm},
	tls.TLS_AES_256_GCM_SHA384:       {sha512.New384, 32, gcm},
	tls.TLS_CHACHA20_POLY1305_SHA256: {sha256.New, 32, chacha20poly1305.New},
}

// New makes a connection from the traffic secrets of client and server.
func New(id uint16, client, server []byte) (*Conn, error) {
	c := &Conn{suite: suites[id]}
	if c.suite == nil {
		return nil, fmt.Errorf("record: cipher suite %#x", id)
	}
	return c, errors.Join(c.suite.set(&c.in, client), c.suite.set(&c.out, server))
}

// expand is HKDF-Expand-Label without a context (RFC 8446, 7.1).
func (s *suite) expand(secret []byte, label string, n int) ([]byte, error) {
	info := append([]byte{byte(n >> 8), byte(n), byte(len("tls13 ") + len(label))}, "tls13 "+label+"\x00"...)
	return hkdf.Expand(s.hash, secret, string(info), n)
}

// set gives one way the keys of a secret.
func (s *suite) set(h *half, secret []byte) error {
	key, err := s.expand(secret, "key", s.key)
	if err != nil {
		return fmt.Errorf("record: key: %w", err)
	}
	iv, err := s.expand(secret, "iv", len(h.iv))
	if err != nil {
		return fmt.Errorf("record: iv: %w", err)
	}
	if h.aead, err = s.aead(key); err != nil {
		return fmt.Errorf("record: key: %w", err)
	}
	h.secret, h.seq = secret, 0
	copy(h.iv[:], iv)
	return nil
}

// next renews the keys of one way (RFC 8446, 7.2).
func (s *suite) next(h *half) error {
	secret, err := s.expand(h.secret, "traffic upd", len(h.secret))
	if err != nil {
		return fmt.Errorf("record: key update: %w", err)
	}
	return s.set(h, secret)
}

// number is the nonce of the next record (RFC 8446, 5.3).
func (h *half) number() []byte {
	h.nonce = h.iv
	seq := binary.BigEndian.Uint64(h.iv[4:]) ^ h.seq
	binary.BigEndian.PutUint64(h.nonce[4:], seq)
	h.seq++
	return h.nonce[:]
}

// Seal appends records with a and then b. dst grows by Overhead for each begun
// MaxPlain of both.
func (c *Conn) Seal(dst, a, b []byte) []byte {
	if c.answer.Swap(false) || c.out.seq >= keyRecords {
		dst = c.seal(dst, kindHandshake, []byte{24, 0, 0, 1, 0}, nil)
		if c.suite.next(&c.out) != nil {
			panic("record: no next key") // of a length that worked before
		}
	}
	for len(a)+len(b) > 0 {
		n := min(len(a), MaxPlain)
		m := min(len(b), MaxPlain-n)
		dst = c.seal(dst, kindData, a[:n], b[:m])
		a, b = a[n:], b[m:]
	}
	return dst
}

func (c *Conn) seal(dst []byte, kind byte, a, b []byte) []byte {
	n := len(a) + len(b) + 1 + c.out.aead.Overhead()
	at := len(dst)
	dst = append(dst, kindData, 3, 3, byte(n>>8), byte(n))
	dst = append(append(append(dst, a...), b...), kind)
	body := at + headerSize
	return c.out.aead.Seal(dst[:body], c.out.number(), dst[body:], dst[at:body])
}

// Alert appends one. After it nothing is sealed any more.
func (c *Conn) Alert(dst []byte, a Alert) []byte {
	level := byte(2)
	if a == alertCloseNotify || a == alertUserCanceled {
		level = 1
	}
	return c.seal(dst, kindAlert, []byte{level, byte(a)}, nil)
}

// CloseNotify is the alert that says that nothing more comes.
const CloseNotify Alert = alertCloseNotify

// Open opens the first record of b where it lies. It returns what is in it, which
// may be nothing, and how long the record is. ErrPart says that more must come,
// io.EOF that nothing more does, an Alert what is wrong.
func (c *Conn) Open(b []byte) (plain []byte, n int, err error) {
	if len(b) < headerSize {
		return nil, 0, ErrPart
	}
	size := int(binary.BigEndian.Uint16(b[3:]))
	switch {
	case b[0] != kindData:
		return nil, 0, Alert(alertUnexpectedMessage)
	case size > maxSealed:
		return nil, 0, Alert(alertRecordOverflow)
	case len(b) < headerSize+size:
		return nil, 0, ErrPart
	}
	n = headerSize + size
	plain, err = c.in.aead.Open(b[headerSize:headerSize], c.in.number(), b[headerSize:n], b[:headerSize])
	if err != nil {
		return nil, 0, Alert(alertBadRecordMAC)
	}
	end := len(plain) - 1
	for end >= 0 && plain[end] == 0 {
		end-- // padding
	}
	if end < 0 {
		return nil, 0, Alert(alertUnexpectedMessage)
	}
	kind := plain[end]
	plain = plain[:end]
	if len(plain) > MaxPlain {
		return nil, 0, Alert(alertRecordOverflow)
	}
	if kind == kindData && len(plain) > 0 {
		c.useless = 0
		return plain, n, nil
	}
	if c.useless++; c.useless > maxUseless {
		return nil, 0, Alert(alertUnexpectedMessage)
	}
	switch {
	case kind == kindData:
		return nil, n, nil
	case kind == kindAlert && len(plain) == 2:
		if plain[1] == alertUserCanceled {
			return nil, n, nil
		}
		return nil, 0, io.EOF
	case kind == kindHandshake && len(plain) == 5 && plain[0] == 24 && plain[3] == 1 && plain[4] <= 1:
		if plain[4] == 1 {
			c.answer.Store(true)
		}
		if err := c.suite.next(&c.in); err != nil {
			return nil, 0, err
		}
		return nil, n, nil
	case kind == kindHandshake, kind == kindAlert:
		return nil, 0, Alert(alertDecodeError)
	}
	return nil, 0, Alert(alertUnexpectedMessage)
}
