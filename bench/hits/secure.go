//go:build linux

package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sys/unix"
)

// A way is the keys of one direction of TLS 1.3 with AES-128-GCM: the client opens
// records by itself, since crypto/tls would cost it more than caches their answers.
type way struct {
	aead  cipher.AEAD
	iv    [12]byte
	nonce [12]byte
	seq   uint64
}

func newWay(secret []byte) (*way, error) {
	expand := func(label string, n int) []byte {
		info := append([]byte{0, byte(n), byte(6 + len(label))}, "tls13 "+label+"\x00"...)
		b, err := hkdf.Expand(sha256.New, secret, string(info), n)
		if err != nil {
			panic(err) // of constant lengths
		}
		return b
	}
	block, err := aes.NewCipher(expand("key", 16))
	if err != nil {
		return nil, err
	}
	w := new(way)
	copy(w.iv[:], expand("iv", 12))
	w.aead, err = cipher.NewGCM(block)
	return w, err
}

func (w *way) next() []byte {
	w.nonce = w.iv
	binary.BigEndian.PutUint64(w.nonce[4:], binary.BigEndian.Uint64(w.iv[4:])^w.seq)
	w.seq++
	return w.nonce[:]
}

func (w *way) seal(dst, plain []byte) []byte {
	at, n := len(dst), len(plain)+17
	dst = append(append(append(dst, 23, 3, 3, byte(n>>8), byte(n)), plain...), 23)
	return w.aead.Seal(dst[:at+5], w.next(), dst[at+5:], dst[at:at+5])
}

// open opens a record in place: what is in it, and its kind.
func (w *way) open(rec []byte) ([]byte, byte, error) {
	plain, err := w.aead.Open(rec[5:5], w.next(), rec[5:], rec[:5])
	if err != nil {
		return nil, 0, err
	}
	plain = bytes.TrimRight(plain, "\x00")
	if len(plain) == 0 {
		return nil, 0, errors.New("a record is empty")
	}
	return plain[:len(plain)-1], plain[len(plain)-1], nil
}

// A single gives crypto/tls one record at a time, so that it takes none behind its
// handshake, and has the secrets.
type single struct {
	net.Conn
	left           int
	head           []byte
	client, server []byte
}

func (s *single) Read(p []byte) (int, error) {
	if s.left == 0 && len(s.head) == 0 {
		var h [5]byte
		for n := 0; n < 5; {
			m, err := s.Conn.Read(h[n:])
			if err != nil {
				return 0, err
			}
			n += m
		}
		s.head, s.left = h[:], int(h[3])<<8+int(h[4])
	}
	if len(s.head) > 0 {
		n := copy(p, s.head)
		s.head = s.head[n:]
		return n, nil
	}
	n, err := s.Conn.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

// A keyLog takes the secrets.
type keyLog struct{ s *single }

func (k keyLog) Write(line []byte) (int, error) {
	f := bytes.Fields(line)
	if len(f) == 3 {
		secret, err := hex.DecodeString(string(f[2]))
		if err != nil {
			return 0, err
		}
		switch string(f[0]) {
		case "CLIENT_TRAFFIC_SECRET_0":
			k.s.client = secret
		case "SERVER_TRAFFIC_SECRET_0":
			k.s.server = secret
		}
	}
	return len(line), nil
}

// A secured is a connection of TLS, of HTTP/1.1 or of HTTP/2.
type secured struct {
	viewer
	in, out *way
	came    []byte // of a record that is not whole
	two     bool
	streams []asking // of HTTP/2
	id      uint32   // of its next
	frame   []byte   // the head of a frame, not whole
	skip    int      // bytes of a frame that are of no interest
	ends    uint32   // the stream that ends with them
	checked bool
	block   []byte // the first answer's head
	inBlock bool
	data    int // since the window was last opened
	send    []byte
}

type asking struct {
	id    uint32
	asked time.Time
}

// dialSecure makes a connection, and its handshake.
func dialSecure(addr, proto string) (*secured, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	s := &single{Conn: nc}
	c := tls.Client(s, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{proto}, KeyLogWriter: keyLog{s}})
	if err := c.Handshake(); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	state := c.ConnectionState()
	if state.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		return nil, fmt.Errorf("%s was chosen", tls.CipherSuiteName(state.CipherSuite))
	}
	if proto == "h2" && state.NegotiatedProtocol != "h2" {
		return nil, fmt.Errorf("%q was chosen", state.NegotiatedProtocol)
	}
	f, err := nc.(*net.TCPConn).File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	v := &secured{two: proto == "h2"}
	if v.fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	unix.SetNonblock(v.fd, true)
	if v.in, err = newWay(s.server); err == nil {
		v.out, err = newWay(s.client)
	}
	return v, err
}

// greet begins HTTP/2: windows as large as can be.
func (v *secured) greet() error {
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	fr := http2.NewFramer(&b, nil)
	fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	fr.WriteWindowUpdate(0, 1<<31-1-65535)
	v.id = 1
	return v.write(v.out.seal(nil, b.Bytes()))
}

func (v *secured) write(b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(v.fd, b)
		if err != nil {
			return fmt.Errorf("sending: %w", err)
		}
		b = b[n:]
	}
	return nil
}

// block is the head of a request for HTTP/2, as each may be sent on any connection.
func block(path, addr string) []byte {
	b := []byte{0x82, 0x87} // GET, https
	for _, f := range []struct {
		index int
		value string
	}{{1, addr}, {4, path}} {
		b = append(append(append(b, byte(f.index)), byte(len(f.value))), f.value...) // of under 127 bytes
	}
	return append(append(b, 0x0f, 0x2b, byte(len("hits/1"))), "hits/1"...)
}

// ask puts a request into what is sent next.
func (v *secured) ask(requests [][]byte) {
	r := requests[v.next]
	v.next = (v.next + 1) % len(requests)
	if !v.two {
		v.asked = time.Now()
		v.send = append(v.send, r...)
		return
	}
	v.streams = append(v.streams, asking{v.id, time.Now()})
	v.send = append(v.send, 0, byte(len(r)>>8), byte(len(r)), 1, 5, byte(v.id>>24), byte(v.id>>16), byte(v.id>>8), byte(v.id))
	v.send = append(v.send, r...)
	v.id += 2
}

// flush sends what was put.
func (v *secured) flush(buf []byte) error {
	if len(v.send) == 0 {
		return nil
	}
	b := v.out.seal(buf[:0], v.send)
	v.send = v.send[:0]
	return v.write(b)
}

// take reads what has come. done is called for each answer that ended.
func (v *secured) take(buf, want []byte, done func(asked time.Time)) (took int, err error) {
	n := copy(buf, v.came)
	v.came = v.came[:0]
	m, err := unix.Read(v.fd, buf[n:])
	switch {
	case errors.Is(err, unix.EAGAIN):
		m = 0
	case err != nil:
		return 0, err
	case m == 0:
		return 0, errors.New("the connection was closed")
	}
	b := buf[:n+m]
	for len(b) >= 5 {
		size := 5 + int(b[3])<<8 + int(b[4])
		if len(b) < size {
			break
		}
		plain, kind, err := v.in.open(b[:size])
		if err != nil {
			return took, err
		}
		b = b[size:]
		switch {
		case kind == 21:
			return took, errors.New("an alert came")
		case kind != 23: // a ticket
		case v.two:
			err = v.frames(plain, want, done)
		default:
			err = v.lines(plain, want, done)
		}
		if err != nil {
			return took, err
		}
	}
	v.came = append(v.came, b...)
	return m, nil
}

// lines is HTTP/1.1.
func (v *secured) lines(b, want []byte, done func(time.Time)) error {
	if v.inBody {
		v.left -= len(b)
	} else {
		v.head = append(v.head, b...)
		end := bytes.Index(v.head, []byte("\r\n\r\n"))
		if end < 0 {
			return nil
		}
		if !bytes.HasPrefix(v.head, want) {
			return fmt.Errorf("answered %.300s", v.head)
		}
		length, err := contentLength(v.head[:end+2])
		if err != nil {
			return err
		}
		v.inBody, v.left = true, end+4+length-len(v.head)
		v.head = v.head[:0]
	}
	if v.left == 0 {
		v.inBody = false
		done(v.asked)
	}
	return nil
}

// frames is HTTP/2.
func (v *secured) frames(b, want []byte, done func(time.Time)) error {
	for len(b) > 0 {
		if v.skip > 0 {
			n := min(v.skip, len(b))
			if v.inBlock && !v.checked {
				v.block = append(v.block, b[:n]...)
			}
			v.skip -= n
			if b = b[n:]; v.skip > 0 {
				return nil
			}
			if err := v.ended(want, done); err != nil {
				return err
			}
			continue
		}
		n := min(9-len(v.frame), len(b))
		v.frame = append(v.frame, b[:n]...)
		if b = b[n:]; len(v.frame) < 9 {
			return nil
		}
		h := v.frame
		v.frame = v.frame[:0]
		v.skip = int(h[0])<<16 | int(h[1])<<8 | int(h[2])
		kind, flags, id := http2.FrameType(h[3]), http2.Flags(h[4]), binary.BigEndian.Uint32(h[5:])
		v.ends, v.inBlock = 0, false
		switch kind {
		case http2.FrameData, http2.FrameHeaders:
			v.inBlock = kind == http2.FrameHeaders
			if flags&http2.FlagDataEndStream != 0 {
				v.ends = id
			}
			if kind == http2.FrameData {
				v.data += v.skip
			}
		case http2.FrameSettings:
			if flags&http2.FlagSettingsAck == 0 {
				v.send = append(v.send, 0, 0, 0, 4, 1, 0, 0, 0, 0)
			}
		case http2.FrameGoAway, http2.FrameRSTStream:
			return fmt.Errorf("%v came", kind)
		}
		if v.skip == 0 {
			if err := v.ended(want, done); err != nil {
				return err
			}
		}
	}
	return nil
}

// ended is the end of a frame.
func (v *secured) ended(want []byte, done func(time.Time)) error {
	if v.inBlock && !v.checked {
		v.checked = true
		status := ""
		d := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
			if f.Name == ":status" {
				status = f.Value
			}
		})
		if _, err := d.Write(v.block); err != nil || !bytes.Contains(want, []byte(" "+status+" ")) {
			return fmt.Errorf("answered %q, %w", status, err)
		}
	}
	if v.data > 1<<30 {
		v.send = append(v.send, 0, 0, 4, 8, 0, 0, 0, 0, 0)
		v.send = binary.BigEndian.AppendUint32(v.send, uint32(v.data))
		v.data = 0
	}
	if v.ends == 0 {
		return nil
	}
	for i, s := range v.streams {
		if s.id == v.ends {
			v.streams[i] = v.streams[len(v.streams)-1]
			v.streams = v.streams[:len(v.streams)-1]
			done(s.asked)
			break
		}
	}
	return nil
}

// askSecure is ask for TLS: HTTP/1.1, or HTTP/2 with so many streams at once. Bodies
// are decrypted, so the client works about as hard as the cache.
func askSecure(w work) (res result, err error) {
	proto := "http/1.1"
	var requests [][]byte
	for _, p := range w.paths {
		if w.streams > 0 {
			proto = "h2"
			requests = append(requests, block(p, w.addr))
		} else {
			requests = append(requests, requestFor(p, w.addr))
		}
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return res, err
	}
	defer unix.Close(epoll)
	viewers := make([]*secured, w.conns)
	defer func() {
		for _, v := range viewers {
			if v != nil {
				unix.Close(v.fd)
			}
		}
	}()
	for i := range viewers {
		v, err := dialSecure(w.addr, proto)
		if err != nil {
			return res, err
		}
		v.next = i % len(requests)
		viewers[i] = v
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, v.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			return res, err
		}
	}
	want := []byte("HTTP/1.1 " + strconv.Itoa(w.status) + " ")
	events := make([]unix.EpollEvent, 256)
	buf, out := make([]byte, 256<<10), make([]byte, 64<<10)
	w.before()
	m := newMeter(w)
	for _, v := range viewers {
		if v.two {
			if err := v.greet(); err != nil {
				return res, err
			}
		}
		for range max(w.streams, 1) {
			v.ask(requests)
		}
		if err := v.flush(out); err != nil {
			return res, err
		}
	}
	for !m.over() {
		n, err := unix.EpollWait(epoll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return res, err
		}
		for _, ev := range events[:max(n, 0)] {
			v := viewers[ev.Fd]
			took, err := v.take(buf, want, func(asked time.Time) {
				m.answered(asked)
				v.ask(requests)
			})
			m.Bytes += int64(took)
			if err == nil {
				err = v.flush(out)
			}
			if err != nil {
				return res, err
			}
		}
	}
	return m.end()
}
