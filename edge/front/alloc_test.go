package front

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"headwater/edge/front/record"
)

// A scriptedSocket has what a viewer sends, a piece for each read, and takes all.
type scriptedSocket struct {
	tirelessSocket
	pieces [][]byte
}

func (s *scriptedSocket) read(p []byte) (int, bool, error) {
	if len(s.pieces) == 0 {
		return 0, false, errWait
	}
	n := copy(p, s.pieces[0])
	s.pieces = s.pieces[1:]
	return n, false, nil
}

// secrets are those of a connection that had no handshake.
func secrets(t testing.TB) (server, client *record.Conn) {
	t.Helper()
	a, b := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	server, err := record.New(tls.TLS_AES_128_GCM_SHA256, a, b)
	if err != nil {
		t.Fatal(err)
	}
	if client, err = record.New(tls.TLS_AES_128_GCM_SHA256, b, a); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// A hit over TLS takes no memory either, by HTTP/1.1 or HTTP/2.
func TestSecureHitsDoNotAllocate(t *testing.T) {
	s := serveEdge(t)
	s.free()
	s.warm()
	const n = 300
	for name, path := range s.hits() {
		var frames bytes.Buffer
		fr := http2.NewFramer(&frames, nil)
		var head headerBlock
		enc := hpack.NewEncoder(&head)
		id := uint32(1)
		for proto, request := range map[string]func() []byte{
			"HTTP/1.1": func() []byte { return []byte(get(path, "User-Agent: a television")) },
			"HTTP/2": func() []byte {
				frames.Reset()
				if id == 1 {
					frames.WriteString(http2.ClientPreface)
					fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
					fr.WriteWindowUpdate(0, 1<<31-1-65535)
				}
				head = head[:0]
				for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "edge"}, {":path", path}, {"user-agent", "a television"}} {
					enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
				}
				fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head, EndStream: true, EndHeaders: true})
				id += 2
				return frames.Bytes()
			},
		} {
			server, client := secrets(t)
			sock := &scriptedSocket{}
			for range n + 50 {
				sock.pieces = append(sock.pieces, client.Seal(nil, request(), nil))
			}
			l := newLoop(s.srv, nil)
			l.now = time.Now()
			l.count.Add(1)
			seal := &sealed{socket: sock, rec: server, burst: burstLeast}
			c := &conn{loop: l, sock: seal, secure: true}
			if proto == "HTTP/2" {
				c.two = &mux{c: c, sock: seal}
			}
			l.open(c)
			ask := func() {
				took := sock.took
				if c.happened(eventIn); sock.took == took || c.state == ended {
					t.Fatalf("%s by %s: state %d, %d bytes", name, proto, c.state, sock.took)
				}
			}
			for range 20 {
				ask()
			}
			if got := testing.AllocsPerRun(n, ask); got > 0 {
				t.Errorf("%s by %s: %v allocations", name, proto, got)
			}
		}
	}
}

// A viewer of HTTP/2 whose windows are small gets his answer all the same, and what
// is not sent yet is not held for him.
func TestTinyWindows(t *testing.T) {
	s := serveEdge(t)
	s.free()
	x := s.secure()
	nc, fr, block := x.frames(s.path("s"))
	defer nc.Close()
	fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true})
	got := 0
	for want := len(bodyOf(s.path("s"))); got < want; {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatalf("after %d bytes: %v", got, err)
		}
		if data, ok := f.(*http2.DataFrame); ok {
			got += len(data.Data())
			if data.StreamEnded() {
				break
			}
			fr.WriteWindowUpdate(1, 5000)
			fr.WriteWindowUpdate(0, 5000)
		}
	}
	if want := len(bodyOf(s.path("s"))); got != want {
		t.Errorf("%d bytes of %d", got, want)
	}
}

// One who sends a request and then nothing but windows of a byte is let go.
func TestWindowsOfAByte(t *testing.T) {
	s := serveEdge(t)
	s.free()
	x := s.secure()
	nc, fr, block := x.frames(s.path("s"))
	defer nc.Close()
	fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true})
	go func() {
		var b []byte
		for range 100 {
			b = binary.BigEndian.AppendUint32(append(b, 0, 0, 4, 8, 0, 0, 0, 0, 1), 1)
		}
		for {
			if _, err := nc.Write(b); err != nil {
				return
			}
		}
	}()
	for {
		f, err := fr.ReadFrame()
		if g, ok := f.(*http2.GoAwayFrame); ok {
			if g.ErrCode != http2.ErrCodeEnhanceYourCalm {
				t.Errorf("%v", g)
			}
			break
		}
		if err != nil {
			break // what he still sends may take back what he was told
		}
	}
	s.dropped("h2-flood", 1)
}

// A stingySocket takes so many bytes and no more.
type stingySocket struct {
	scriptedSocket
	room int
	shut bool // nothing more is written
}

func (s *stingySocket) write(a, b []byte) (int, error) {
	n := min(len(a)+len(b), s.room)
	s.room -= n
	s.took += int64(n)
	return n, nil
}

func (s *stingySocket) closeWrite() { s.shut = true }

// The end of the last answer is waited for: a connection that ends does not take back
// what is still to be written.
func TestLastAnswerOfHTTP2IsWhole(t *testing.T) {
	s := serveEdge(t)
	s.free()
	d := s.dial()
	d.send(get(s.path("s")))
	d.read()
	server, client := secrets(t)
	var frames bytes.Buffer
	frames.WriteString(http2.ClientPreface)
	fr := http2.NewFramer(&frames, nil)
	fr.WriteSettings()
	var head headerBlock
	enc := hpack.NewEncoder(&head)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "edge"}, {":path", s.path("s")}} {
		enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head, EndStream: true, EndHeaders: true})
	sock := &stingySocket{room: len(bodyOf(s.path("s")))} // not the head
	sock.pieces = [][]byte{client.Seal(nil, frames.Bytes(), nil)}
	s.srv.drain()
	l := newLoop(s.srv, nil)
	l.now = time.Now()
	l.count.Add(1)
	seal := &sealed{socket: sock, rec: server, burst: burstMost}
	c := &conn{loop: l, sock: seal, secure: true}
	c.two = &mux{c: c, sock: seal}
	l.open(c)
	c.happened(eventIn)
	if len(c.two.h.Streams()) != 0 || !seal.full() || sock.shut {
		t.Fatalf("%d streams, full %v, shut %v", len(c.two.h.Streams()), seal.full(), sock.shut)
	}
	sock.room = 1 << 20
	c.happened(eventOut)
	if !sock.shut || c.state != parting {
		t.Errorf("shut %v, state %d", sock.shut, c.state)
	}
}
