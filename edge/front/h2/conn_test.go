package h2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A peer is both ends of a connection, the client's by x/net.
type peer struct {
	testing.TB
	c     *Conn
	log   []string
	heads int
	hold  bool // requests are not answered
	err   error

	out bytes.Buffer // what the client has sent
	fr  *http2.Framer
	enc *hpack.Encoder
	blk bytes.Buffer
}

func newPeer(t testing.TB) *peer {
	p := &peer{TB: t}
	p.c = New(&Limits{Streams: 4, HeaderBytes: 8 << 10}, new(Shared), p)
	p.fr = http2.NewFramer(&p.out, nil)
	p.fr.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.blk)
	return p
}

func (p *peer) Request(s *Stream, r *Request) {
	p.heads++
	p.log = append(p.log, fmt.Sprintf("request %d %s %s large=%v end=%v", s.ID, r.Method, r.Path, r.TooLarge, r.End))
	if !p.hold && r.End {
		p.answer(s, "body")
	}
}

func (p *peer) answer(s *Stream, body string) {
	b := append(make([]byte, FrameSize), AppendStatus(nil, 200)...)
	p.c.Out = append(p.c.Out, p.c.AppendHead(s, b, body == "")...)
	if body != "" {
		if n := p.c.Room(s, len(body)); n < len(body) {
			p.log = append(p.log, fmt.Sprintf("room for %d", n))
			return
		}
		p.c.Out = append(p.c.AppendData(p.c.Out, s, len(body), true), body...)
	}
	p.c.End(s)
}

func (p *peer) Body(s *Stream, b []byte, end bool) {
	p.log = append(p.log, fmt.Sprintf("body %d %q end=%v", s.ID, b, end))
	if end && !p.hold {
		p.answer(s, "body")
	}
}

func (p *peer) Reset(s *Stream) { p.log = append(p.log, fmt.Sprintf("reset %d", s.ID)) }

// block compresses a head.
func (p *peer) block(fields ...string) []byte {
	p.blk.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(p.blk.Bytes())
}

func (p *peer) get(id uint32, path string, more ...string) {
	p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: true,
		BlockFragment: p.block(append([]string{":method", "GET", ":scheme", "https", ":authority", "edge", ":path", path}, more...)...)})
}

// greet is what a client begins with.
func (p *peer) greet(s ...http2.Setting) {
	p.out.WriteString(Preface)
	p.fr.WriteSettings(s...)
}

// deliver gives the connection what the client has sent, in pieces, and returns what
// it says.
func (p *peer) deliver(piece int) string {
	p.Helper()
	in := bytes.Clone(p.out.Bytes())
	p.out.Reset()
	var rest []byte
	for len(in) > 0 && p.err == nil {
		k := min(piece, len(in))
		rest = append(rest, in[:k]...)
		in = in[k:]
		n, err := p.c.Receive(rest)
		rest, p.err = rest[n:], err
	}
	said := p.said()
	return strings.Join(append(p.log, said...), "\n")
}

func (p *peer) said() (lines []string) {
	fr := http2.NewFramer(io.Discard, bytes.NewReader(p.c.Out))
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			break
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			lines = append(lines, fmt.Sprintf("< GOAWAY %v after %d", f.ErrCode, f.LastStreamID))
		case *http2.RSTStreamFrame:
			lines = append(lines, fmt.Sprintf("< RST_STREAM %d %v", f.StreamID, f.ErrCode))
		case *http2.WindowUpdateFrame:
			lines = append(lines, fmt.Sprintf("< WINDOW_UPDATE %d %d", f.StreamID, f.Increment))
		case *http2.DataFrame:
			lines = append(lines, fmt.Sprintf("< DATA %d %q end=%v", f.StreamID, f.Data(), f.StreamEnded()))
		case *http2.PingFrame:
			lines = append(lines, fmt.Sprintf("< PING %q ack=%v", f.Data[:], f.IsAck()))
		case *http2.HeadersFrame:
			lines = append(lines, fmt.Sprintf("< HEADERS %d end=%v", f.StreamID, f.StreamEnded()))
		}
	}
	p.c.Out = nil
	return lines
}

func TestExchanges(t *testing.T) {
	for name, test := range map[string]struct {
		send func(p *peer)
		want string
	}{
		"a request": {func(p *peer) { p.greet(); p.get(1, "/a") }, "request 1 GET /a large=false end=true\n< HEADERS 1 end=false\n< DATA 1 \"body\" end=true"},
		"a request with a body and trailers": {func(p *peer) {
			p.greet()
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: p.block(":method", "POST", ":scheme", "https", ":path", "/p", "content-length", "3")})
			p.fr.WriteDataPadded(1, false, []byte("abc"), []byte("\x00\x00"))
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true, BlockFragment: p.block("x-sum", "1")})
		}, "request 1 POST /p large=false end=false\nbody 1 \"abc\" end=false\nbody 1 \"\" end=true\n< HEADERS 1 end=false\n< DATA 1 \"body\" end=true"},
		"a head in pieces": {func(p *peer) {
			p.greet()
			b := p.block(":method", "GET", ":scheme", "https", ":path", "/a")
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: b[:3]})
			p.fr.WriteContinuation(1, false, b[3:5])
			p.fr.WriteContinuation(1, true, b[5:])
		}, "request 1 GET /a large=false end=true\n< HEADERS 1 end=false\n< DATA 1 \"body\" end=true"},
		"no room": {func(p *peer) { p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3}); p.get(1, "/a") }, "request 1 GET /a large=false end=true\nroom for 3\n< HEADERS 1 end=false"},
		"a head that is too large": {func(p *peer) {
			p.greet()
			p.get(1, "/a", "x", strings.Repeat("x", 9<<10))
			p.get(3, "/b")
		}, "request 1   large=true end=true\nrequest 3 GET /b large=false end=true\n< HEADERS 1 end=false\n< DATA 1 \"body\" end=true\n< HEADERS 3 end=false\n< DATA 3 \"body\" end=true"},
		"a ping":                   {func(p *peer) { p.greet(); p.fr.WritePing(false, [8]byte{'8'}) }, `< PING "8\x00\x00\x00\x00\x00\x00\x00" ack=true`},
		"taken back":               {func(p *peer) { p.hold = true; p.greet(); p.get(1, "/a"); p.fr.WriteRSTStream(1, http2.ErrCodeCancel) }, "request 1 GET /a large=false end=true\nreset 1"},
		"taken back when answered": {func(p *peer) { p.greet(); p.get(1, "/a"); p.fr.WriteRSTStream(1, http2.ErrCodeCancel) }, "request 1 GET /a large=false end=true\n< HEADERS 1 end=false\n< DATA 1 \"body\" end=true"},
		"no preface":               {func(p *peer) { p.out.WriteString("GET / HTTP/1.1\r\n\r\n") }, "< GOAWAY PROTOCOL_ERROR after 0"},
		"no settings":              {func(p *peer) { p.out.WriteString(Preface); p.get(1, "/a") }, "< GOAWAY PROTOCOL_ERROR after 0"},
		"too many at once": {func(p *peer) {
			p.hold = true
			p.greet()
			p.get(1, "/")
			p.get(3, "/")
			p.get(5, "/")
			p.get(7, "/")
			p.get(9, "/")
		}, "request 1 GET / large=false end=true\nrequest 3 GET / large=false end=true\nrequest 5 GET / large=false end=true\nrequest 7 GET / large=false end=true\n< RST_STREAM 9 REFUSED_STREAM"},
		"an even stream":              {func(p *peer) { p.greet(); p.get(2, "/a") }, "< GOAWAY PROTOCOL_ERROR after 0"},
		"a stream of before":          {func(p *peer) { p.greet(); p.get(3, "/a"); p.get(1, "/a") }, "request 3 GET /a large=false end=true\n< HEADERS 3 end=false\n< DATA 3 \"body\" end=true\n< GOAWAY STREAM_CLOSED after 3"},
		"upper case":                  {func(p *peer) { p.greet(); p.get(1, "/a", "X-Y", "z") }, "< RST_STREAM 1 PROTOCOL_ERROR"},
		"a pseudo-field too late":     {func(p *peer) { p.greet(); p.get(1, "/a", "x", "y", ":path", "/b") }, "< RST_STREAM 1 PROTOCOL_ERROR"},
		"two paths":                   {func(p *peer) { p.greet(); p.get(1, "/a", ":path", "/b") }, "< RST_STREAM 1 PROTOCOL_ERROR"},
		"no path":                     {func(p *peer) { p.greet(); p.get(1, "") }, "< RST_STREAM 1 PROTOCOL_ERROR"},
		"a field of a connection":     {func(p *peer) { p.greet(); p.get(1, "/a", "connection", "close") }, "< RST_STREAM 1 PROTOCOL_ERROR"},
		"TE":                          {func(p *peer) { p.greet(); p.get(1, "/a", "te", "gzip") }, "< RST_STREAM 1 PROTOCOL_ERROR"},
		"another host":                {func(p *peer) { p.greet(); p.get(1, "/a", "host", "other") }, "< RST_STREAM 1 PROTOCOL_ERROR"},
		"a line in a value":           {func(p *peer) { p.greet(); p.get(1, "/a", "x", "a\r\nb: c") }, "< RST_STREAM 1 PROTOCOL_ERROR"},
		"a body that is announced":    {func(p *peer) { p.greet(); p.get(1, "/a", "content-length", "3") }, "< RST_STREAM 1 PROTOCOL_ERROR"},
		"a header block that is none": {func(p *peer) { p.greet(); p.fr.WriteRawFrame(http2.FrameHeaders, 5, 1, []byte{0xff}) }, "< GOAWAY COMPRESSION_ERROR after 0"},
		"broken off": {func(p *peer) {
			p.greet()
			p.fr.WriteRawFrame(http2.FrameHeaders, 0, 1, nil)
			p.fr.WritePing(false, [8]byte{})
		}, "< GOAWAY PROTOCOL_ERROR after 0"},
		"a window of nothing":        {func(p *peer) { p.greet(); p.fr.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, make([]byte, 4)) }, "< GOAWAY PROTOCOL_ERROR after 0"},
		"a window that is too large": {func(p *peer) { p.greet(); p.fr.WriteWindowUpdate(0, math.MaxInt32) }, "< GOAWAY FLOW_CONTROL_ERROR after 0"},
		"windows that get too large": {func(p *peer) {
			p.hold = true
			p.greet()
			p.get(1, "/a")
			p.fr.WriteWindowUpdate(1, math.MaxInt32-65535)
			p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65536})
		}, "request 1 GET /a large=false end=true\n< GOAWAY FLOW_CONTROL_ERROR after 1"},
		"a window of a stream that gets too large": {func(p *peer) { p.hold = true; p.greet(); p.get(1, "/a"); p.fr.WriteWindowUpdate(1, math.MaxInt32) }, "request 1 GET /a large=false end=true\nreset 1\n< RST_STREAM 1 FLOW_CONTROL_ERROR"},
		"more than a stream may carry": {func(p *peer) {
			p.greet()
			p.fr.WriteSettingsAck()
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: p.block(":method", "POST", ":scheme", "https", ":path", "/p")})
			p.fr.WriteData(1, false, bytes.Repeat([]byte("."), 1))
			p.fr.WriteData(1, false, bytes.Repeat([]byte("."), 16<<10))
			p.fr.WriteData(1, false, []byte("late"))
		}, "request 1 POST /p large=false end=false\nbody 1 \".\" end=false\nreset 1\n< RST_STREAM 1 FLOW_CONTROL_ERROR"},
		"more than was announced": {func(p *peer) {
			p.greet()
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: p.block(":method", "POST", ":scheme", "https", ":path", "/p", "content-length", "1")})
			p.fr.WriteData(1, true, []byte("ab"))
		}, "request 1 POST /p large=false end=false\nreset 1\n< RST_STREAM 1 PROTOCOL_ERROR"},
		"data of no stream":           {func(p *peer) { p.greet(); p.fr.WriteData(1, true, []byte("ab")) }, "< GOAWAY PROTOCOL_ERROR after 0"},
		"a push":                      {func(p *peer) { p.greet(); p.fr.WriteRawFrame(http2.FramePushPromise, 4, 1, make([]byte, 4)) }, "< GOAWAY PROTOCOL_ERROR after 0"},
		"a frame that is too long":    {func(p *peer) { p.greet(); p.fr.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 16<<10+1)) }, "< GOAWAY FRAME_SIZE_ERROR after 0"},
		"a kind that nobody knows":    {func(p *peer) { p.greet(); p.fr.WriteRawFrame(99, 0, 77, make([]byte, 3)) }, ""},
		"settings that cannot be":     {func(p *peer) { p.greet(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1}) }, "< GOAWAY PROTOCOL_ERROR after 0"},
		"a window that cannot be":     {func(p *peer) { p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}) }, "< GOAWAY FLOW_CONTROL_ERROR after 0"},
		"a table larger than allowed": {func(p *peer) { p.greet(); p.fr.WriteRawFrame(http2.FrameHeaders, 5, 1, []byte{0x3f, 0xe2, 0x1f}) }, "< GOAWAY COMPRESSION_ERROR after 0"},
	} {
		for _, piece := range []int{1, 1 << 20} {
			t.Run(fmt.Sprintf("%s/%d", name, piece), func(t *testing.T) {
				p := newPeer(t)
				test.send(p)
				if got := p.deliver(piece); got != test.want {
					t.Errorf("got\n%s\nwant\n%s", got, test.want)
				}
				if e := new(Error); strings.Contains(test.want, "GOAWAY") != errors.As(p.err, &e) {
					t.Errorf("error %v", p.err)
				}
			})
		}
	}
}

// What a client may send without end ends the connection, and says why.
func TestFloods(t *testing.T) {
	for name, test := range map[string]struct {
		begin func(p *peer)
		again func(p *peer, i uint32)
		want  Reason
	}{
		"pings":                   {nil, func(p *peer, _ uint32) { p.fr.WritePing(false, [8]byte{}) }, Flood},
		"pings back":              {nil, func(p *peer, _ uint32) { p.fr.WritePing(true, [8]byte{}) }, Flood},
		"settings":                {nil, func(p *peer, _ uint32) { p.fr.WriteSettings() }, Flood},
		"settings acks":           {nil, func(p *peer, _ uint32) { p.fr.WriteSettingsAck() }, Flood},
		"priorities":              {nil, func(p *peer, _ uint32) { p.fr.WritePriority(1, http2.PriorityParam{}) }, Flood},
		"unknown frames":          {nil, func(p *peer, _ uint32) { p.fr.WriteRawFrame(99, 0, 0, nil) }, Flood},
		"windows":                 {nil, func(p *peer, _ uint32) { p.fr.WriteWindowUpdate(0, 1) }, Flood},
		"windows of what is over": {func(p *peer) { p.get(1, "/a") }, func(p *peer, _ uint32) { p.fr.WriteWindowUpdate(1, 1) }, Flood},
		"empty data": {func(p *peer) {
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: p.block(":method", "POST", ":scheme", "https", ":path", "/p")})
		}, func(p *peer, _ uint32) { p.fr.WriteData(1, false, nil) }, Flood},
		"continuations":      {func(p *peer) { p.fr.WriteRawFrame(http2.FrameHeaders, 0, 1, nil) }, func(p *peer, _ uint32) { p.fr.WriteContinuation(1, false, nil) }, Headers},
		"long continuations": {func(p *peer) { p.fr.WriteRawFrame(http2.FrameHeaders, 0, 1, nil) }, func(p *peer, _ uint32) { p.fr.WriteContinuation(1, false, make([]byte, 4<<10)) }, Headers},
		"resets": {func(p *peer) { p.hold = true }, func(p *peer, i uint32) {
			p.get(2*i+1, "/a")
			p.fr.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		}, Resets},
		"requests that are wrong":   {nil, func(p *peer, i uint32) { p.get(2*i+1, "") }, Resets},
		"requests that are refused": {func(p *peer) { p.hold = true }, func(p *peer, i uint32) { p.get(2*i+1, "/a") }, Resets},
		"windows that are wrong": {func(p *peer) { p.hold = true }, func(p *peer, i uint32) {
			p.get(2*i+1, "/a")
			p.fr.WriteRawFrame(http2.FrameWindowUpdate, 0, 2*i+1, make([]byte, 4))
		}, Resets},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			p.greet()
			if test.begin != nil {
				test.begin(p)
			}
			for i := uint32(1); p.err == nil; i++ {
				if i > 2000 {
					t.Fatal("it goes on without end")
				}
				test.again(p, i)
				p.deliver(1 << 20)
			}
			if e := new(Error); !errors.As(p.err, &e) || e.Reason != test.want || e.Code != EnhanceYourCalm {
				t.Errorf("%v, want %s", p.err, test.want)
			}
		})
	}
	t.Run("does not read", func(t *testing.T) {
		p := newPeer(t)
		p.greet()
		p.c.credit = 1 << 20
		for range 2000 {
			p.fr.WritePing(false, [8]byte{})
		}
		_, err := p.c.Receive(p.out.Bytes())
		if e := new(Error); !errors.As(err, &e) || e.Reason != Deaf || len(p.c.Out) > outMost+100 {
			t.Errorf("%v, %d bytes", err, len(p.c.Out))
		}
	})
}

// Those who do what players do go on for ever.
func TestOrdinaryClientsAreNoFlood(t *testing.T) {
	p := newPeer(t)
	p.greet()
	for i := range uint32(20_000) {
		p.get(4*i+1, "/a")
		p.fr.WriteWindowUpdate(0, 4)
		if i%4 == 0 {
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 4*i + 3, EndHeaders: true, BlockFragment: p.block(":method", "POST", ":scheme", "https", ":path", "/p")})
			p.fr.WriteRSTStream(4*i+3, http2.ErrCodeCancel)
		}
		p.fr.WritePing(false, [8]byte{})
		p.deliver(1 << 20)
		if p.log = nil; p.err != nil {
			t.Fatalf("after %d: %v", i, p.err)
		}
	}
}

func TestGoAway(t *testing.T) {
	p := newPeer(t)
	p.hold = true
	p.greet()
	p.get(1, "/a")
	p.deliver(1 << 20)
	p.c.GoAway(false)
	p.get(3, "/b")
	if got := p.deliver(1 << 20); !strings.Contains(got, "request 3") || !strings.Contains(got, "GOAWAY NO_ERROR after 2147483647") {
		t.Error(got)
	}
	p.c.GoAway(true)
	p.get(5, "/c")
	if got := p.deliver(1 << 20); strings.Contains(got, "request 5") || !strings.Contains(got, "GOAWAY NO_ERROR after 3") || p.err != nil {
		t.Error(got, p.err)
	}
	if len(p.c.Streams()) != 2 {
		t.Errorf("%d streams", len(p.c.Streams()))
	}
}

// An answer that is larger than windows goes on when they open.
func TestWindows(t *testing.T) {
	p := newPeer(t)
	p.hold = true
	p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 20_000})
	p.get(1, "/a")
	p.deliver(1 << 20)
	s := p.c.Streams()[0]
	for _, want := range []int{MaxData, 20_000 - MaxData, 0} {
		n := p.c.Room(s, 100_000)
		if n != want {
			t.Errorf("room for %d, want %d", n, want)
		}
		p.c.AppendData(nil, s, n, false)
	}
	p.c.Opened = false
	p.fr.WriteWindowUpdate(1, 5)
	p.deliver(1 << 20)
	if n := p.c.Room(s, 100_000); n != 5 || !p.c.Opened {
		t.Errorf("room for %d, opened %v", n, p.c.Opened)
	}
	// Settings can make a window less than nothing (RFC 9113, 6.9.2).
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	p.deliver(1 << 20)
	if n := p.c.Room(s, 100_000); n != 0 || s.window != 5-20_000 {
		t.Errorf("room for %d, window %d", n, s.window)
	}
	p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 30_000})
	p.deliver(1 << 20)
	if n := p.c.Room(s, 100_000); n != 10_005 {
		t.Errorf("room for %d", n)
	}
}

// Heads that x/net compresses come out as they went in, whatever the tables hold.
func TestHeaderBlocks(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var buf bytes.Buffer
	enc := hpack.NewEncoder(&buf)
	tab := &table{max: tableBytes}
	var a arena
	for round := range 3000 {
		buf.Reset()
		if round%500 == 499 {
			enc.SetMaxDynamicTableSize(uint32(rnd.IntN(tableBytes)))
		}
		var want []string
		for range rnd.IntN(12) {
			f := hpack.HeaderField{Name: fmt.Sprintf("name-%d", rnd.IntN(40)), Value: strings.Repeat("vä~"[:1+rnd.IntN(3)], rnd.IntN(300)), Sensitive: rnd.IntN(5) == 0}
			if rnd.IntN(3) == 0 {
				f.Name = string(static[rnd.IntN(len(static))].Name)
			}
			want = append(want, f.Name+"="+f.Value)
			enc.WriteField(f)
		}
		a = a[:0]
		fields, over, err := tab.decode(buf.Bytes(), nil, &a, 1<<20)
		if err != nil || over {
			t.Fatal(round, err, over)
		}
		var got []string
		for _, f := range fields {
			got = append(got, string(f.Name)+"="+string(f.Value))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("round %d:\n%q\n%q", round, got, want)
		}
		if len(tab.octets) > tableBytes || tab.size > tab.max {
			t.Fatalf("%d octets, %d of %d", len(tab.octets), tab.size, tab.max)
		}
	}
}

// What we write x/net reads.
func TestHeads(t *testing.T) {
	p := newPeer(t)
	p.hold = true
	p.greet()
	p.get(1, "/a")
	p.deliver(1 << 20)
	long := strings.Repeat("l", 40_000)
	for _, status := range []int{200, 206, 404, 503} {
		b := AppendStatus(make([]byte, FrameSize), status)
		b = AppendField(b, "Content-Length", "5")
		b = AppendField(b, "X-Long", []byte(long))
		b = AppendField(b, "X-Bad", "a\r\nb")
		fr := http2.NewFramer(nil, bytes.NewReader(p.c.AppendHead(p.c.Streams()[0], b, true)))
		fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		fr.MaxHeaderListSize = 1 << 20
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		h := f.(*http2.MetaHeadersFrame)
		want := fmt.Sprint([]string{":status", fmt.Sprint(status), "content-length", "5", "x-long", long, "x-bad", "a  b"})
		var got []string
		for _, f := range h.Fields {
			got = append(got, f.Name, f.Value)
		}
		if fmt.Sprint(got) != want || !h.StreamEnded() {
			t.Errorf("%.300v, ended %v", got, h.StreamEnded())
		}
	}
}

// An idle connection is small, and a request takes nothing.
func TestRequestsDoNotAllocate(t *testing.T) {
	q := &quiet{buf: make([]byte, 0, 4096)}
	q.c = New(&Limits{Streams: 4, HeaderBytes: 8 << 10}, new(Shared), q)
	p := newPeer(t)
	p.greet()
	var requests [][]byte
	for i := range uint32(400) {
		p.get(2*i+1, fmt.Sprintf("/t/e/v/%d.m4s", i), "user-agent", "player/1.2 (a television)", "accept", "*/*", "origin", "https://player.example")
		requests = append(requests, bytes.Clone(p.out.Bytes()))
		p.out.Reset()
	}
	n := 0
	ask := func() {
		if _, err := q.c.Receive(requests[n]); err != nil {
			t.Fatal(err)
		}
		q.c.Out = q.c.Out[:0]
		n++
	}
	for range 10 {
		ask()
	}
	if got := testing.AllocsPerRun(300, ask); got > 0 {
		t.Errorf("%v allocations", got)
	}
	if q.n != n {
		t.Errorf("%d of %d", q.n, n)
	}
}

type quiet struct {
	c   *Conn
	n   int
	buf []byte
}

func (q *quiet) Request(s *Stream, r *Request) {
	q.n++
	b := AppendField(AppendStatus(q.buf[:FrameSize], 200), "age", "0")
	q.c.AppendHead(s, b, true)
	q.c.End(s)
}
func (q *quiet) Body(*Stream, []byte, bool) {}
func (q *quiet) Reset(*Stream)              {}

func FuzzReceive(f *testing.F) {
	p := newPeer(f)
	p.greet()
	p.get(1, "/a")
	p.fr.WriteWindowUpdate(1, 5)
	p.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	f.Add(p.out.Bytes()[len(Preface):], uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		p := newPeer(t)
		p.hold = piece%2 == 0
		p.out.WriteString(Preface)
		p.out.Write(b)
		p.deliver(int(piece) + 1)
		if len(p.c.Streams()) > 4 || len(p.c.block) > 8<<10+maxFrame || len(p.c.table.octets) > tableBytes {
			t.Errorf("%d streams, %d bytes of a block, %d of a table", len(p.c.Streams()), len(p.c.block), len(p.c.table.octets))
		}
	})
}

// A client that has made its table smaller is told that ours is, before it reads a
// field: some end the connection otherwise (RFC 7541, 4.2).
func TestSmallerTablesAreAcknowledged(t *testing.T) {
	for size, want := range map[uint32]byte{0: 0x20, 4095: 0x20, 4096: 0x88, 65536: 0x88} {
		p := newPeer(t)
		p.out.WriteString(Preface)
		p.fr.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: size})
		p.get(1, "/a")
		p.get(3, "/b")
		if _, err := p.c.Receive(p.out.Bytes()); err != nil {
			t.Fatal(err)
		}
		var heads []byte // the first octet of each
		fr := http2.NewFramer(nil, bytes.NewReader(p.c.Out))
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				break
			}
			if h, ok := f.(*http2.HeadersFrame); ok {
				heads = append(heads, h.HeaderBlockFragment()[0])
			}
		}
		if !bytes.Equal(heads, []byte{want, 0x88}) {
			t.Errorf("a table of %d: heads begin with %x", size, heads)
		}
	}
}
