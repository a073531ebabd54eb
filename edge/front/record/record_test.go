package record

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"headwater/internal/selfsigned"
)

// A link is a real client of crypto/tls and our end of its connection.
type link struct {
	client *tls.Conn
	nc     net.Conn
	done   *Done
	err    error
}

func connect(t testing.TB, s *Server, cfg *tls.Config) link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out := make(chan link, 1)
	go func() {
		nc, err := l.Accept()
		if err != nil {
			out <- link{err: err}
			return
		}
		d, err := s.Handshake(context.Background(), nc)
		out <- link{nc: nc, done: d, err: err}
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), cfg)
	li := <-out
	li.client, li.err = c, errors.Join(err, li.err)
	t.Cleanup(func() {
		if c != nil {
			c.Close()
		}
		if li.nc != nil {
			li.nc.Close()
		}
	})
	return li
}

// read opens what comes until n bytes have.
func (l *link) read(t testing.TB, n int) []byte {
	t.Helper()
	var got []byte
	came := l.done.Came
	buf := make([]byte, 64<<10)
	for {
		for len(came) > 0 {
			plain, m, err := l.done.Conn.Open(came)
			if errors.Is(err, ErrPart) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, plain...)
			came = came[m:]
		}
		if len(got) >= n {
			l.done.Came = came
			return got
		}
		m, err := l.nc.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		came = append(came, buf[:m]...)
	}
}

func TestRealClientOfEachSuite(t *testing.T) {
	cert, pool := selfsigned.New()
	s := NewServer(&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}})
	for id := range suites {
		t.Run(tls.CipherSuiteName(id), func(t *testing.T) {
			client, server := make([]byte, 32), make([]byte, 32)
			if id == tls.TLS_AES_256_GCM_SHA384 {
				client, server = make([]byte, 48), make([]byte, 48)
			}
			rand.Read(client)
			rand.Read(server)
			us, err := New(id, client, server)
			if err != nil {
				t.Fatal(err)
			}
			them, _ := New(id, server, client)
			for _, n := range []int{1, MaxPlain, MaxPlain + 1, 100_000} {
				want := make([]byte, n)
				rand.Read(want)
				b := us.Seal(nil, want[:n/3], want[n/3:])
				if most := n + (n+MaxPlain-1)/MaxPlain*Overhead; len(b) != most {
					t.Errorf("%d bytes sealed are %d, want %d", n, len(b), most)
				}
				var got []byte
				for len(b) > 0 {
					plain, m, err := them.Open(b)
					if err != nil {
						t.Fatal(err)
					}
					got, b = append(got, plain...), b[m:]
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%d bytes come back wrong", n)
				}
			}
		})
	}
	cache := tls.NewLRUClientSessionCache(4)
	for i := range 3 {
		l := connect(t, s, &tls.Config{RootCAs: pool, ServerName: "localhost", NextProtos: []string{"http/1.1"}, ClientSessionCache: cache})
		if l.err != nil {
			t.Fatal(l.err)
		}
		if got := l.client.ConnectionState().DidResume; got != (i > 0) {
			t.Errorf("connection %d resumed: %v", i, got)
		}
		if l.done.Protocol != "http/1.1" || l.done.Conn == nil {
			t.Fatalf("%q, %v", l.done.Protocol, l.done.Conn)
		}
		io.WriteString(l.client, "hello")
		if got := l.read(t, 5); string(got) != "hello" {
			t.Errorf("%q", got)
		}
		text := strings.Repeat("0123456789", 10_000)
		go l.nc.Write(l.done.Conn.Seal(nil, []byte("head"), []byte(text)))
		got := make([]byte, 4+len(text))
		if _, err := io.ReadFull(l.client, got); err != nil || string(got) != "head"+text {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		l.nc.Write(l.done.Conn.Alert(nil, CloseNotify))
		if n, err := l.client.Read(got); n > 0 || err != io.EOF {
			t.Errorf("after close_notify: %d, %v", n, err)
		}
		l.client.CloseWrite()
		b := make([]byte, 100)
		n, _ := l.nc.Read(b)
		if _, _, err := l.done.Conn.Open(b[:n]); err != io.EOF {
			t.Errorf("close_notify of the client: %v", err)
		}
	}
}

// What a client sends right behind its Finished is not lost.
func TestEagerClient(t *testing.T) {
	cert, pool := selfsigned.New()
	s := NewServer(&tls.Config{Certificates: []tls.Certificate{cert}})
	a, b := net.Pipe()
	defer a.Close()
	together := &gathering{Conn: a}
	go func() {
		c := tls.Client(together, &tls.Config{RootCAs: pool, ServerName: "localhost"})
		c.Handshake()
		together.let = true
		io.WriteString(c, "at once")
	}()
	d, err := s.Handshake(context.Background(), b)
	if err != nil {
		t.Fatal(err)
	}
	if plain, _, err := d.Conn.Open(d.Came); string(plain) != "at once" {
		t.Errorf("%q, %v", plain, err)
	}
}

// A gathering writes the second flight of a client together with what follows.
type gathering struct {
	net.Conn
	writes int
	held   []byte
	let    bool
}

func (g *gathering) Write(p []byte) (int, error) {
	if g.writes++; g.writes == 1 {
		return g.Conn.Write(p)
	}
	g.held = append(g.held, p...)
	if g.let {
		if _, err := g.Conn.Write(g.held); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func TestOldVersionsStayWithTLS(t *testing.T) {
	cert, pool := selfsigned.New()
	s := NewServer(&tls.Config{Certificates: []tls.Certificate{cert}})
	l := connect(t, s, &tls.Config{RootCAs: pool, ServerName: "localhost", MaxVersion: tls.VersionTLS12})
	if l.err != nil || l.done.Other == nil || l.done.Conn != nil {
		t.Fatalf("%+v, %v", l.done, l.err)
	}
	io.WriteString(l.client, "hello")
	b := make([]byte, 5)
	if _, err := io.ReadFull(l.done.Other, b); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
}

// Each connection can have a configuration of its own, as with crypto/tls.
func TestConfigurationForClient(t *testing.T) {
	cert, pool := selfsigned.New()
	s := NewServer(&tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}}, nil
	}})
	if l := connect(t, s, &tls.Config{RootCAs: pool, ServerName: "localhost", NextProtos: []string{"h2"}}); l.err != nil || l.done.Protocol != "h2" {
		t.Errorf("%+v, %v", l.done, l.err)
	}
}

// pair makes both ends of a connection.
func pair(t testing.TB) (us, them *Conn) {
	t.Helper()
	a, b := make([]byte, 32), make([]byte, 32)
	a[0], b[0] = 1, 2
	us, err := New(tls.TLS_AES_128_GCM_SHA256, a, b)
	if err != nil {
		t.Fatal(err)
	}
	them, err = New(tls.TLS_AES_128_GCM_SHA256, b, a)
	if err != nil {
		t.Fatal(err)
	}
	return us, them
}

func TestRecordsThatAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		make func(them *Conn) []byte
		want error
	}{
		"part":                     {func(c *Conn) []byte { b := c.Seal(nil, []byte("x"), nil); return b[:len(b)-1] }, ErrPart},
		"part of a header":         {func(*Conn) []byte { return []byte{23, 3} }, ErrPart},
		"changed":                  {func(c *Conn) []byte { b := c.Seal(nil, []byte("x"), nil); b[7] ^= 1; return b }, Alert(alertBadRecordMAC)},
		"another length":           {func(c *Conn) []byte { b := c.Seal(nil, []byte("x"), nil); b[4]--; return b }, Alert(alertBadRecordMAC)},
		"too long":                 {func(*Conn) []byte { return []byte{23, 3, 3, 0x41, 1} }, Alert(alertRecordOverflow)},
		"in the clear":             {func(*Conn) []byte { return []byte{22, 3, 3, 0, 1, 0} }, Alert(alertUnexpectedMessage)},
		"change of cipher":         {func(*Conn) []byte { return []byte{20, 3, 3, 0, 1, 1} }, Alert(alertUnexpectedMessage)},
		"only padding":             {func(c *Conn) []byte { return c.seal(nil, 0, make([]byte, 8), nil) }, Alert(alertUnexpectedMessage)},
		"more than may be in it":   {func(c *Conn) []byte { return c.seal(nil, kindData, make([]byte, MaxPlain+1), nil) }, Alert(alertRecordOverflow)},
		"another handshake":        {func(c *Conn) []byte { return c.seal(nil, kindHandshake, []byte{1, 0, 0, 0}, nil) }, Alert(alertDecodeError)},
		"a KeyUpdate in pieces":    {func(c *Conn) []byte { return c.seal(nil, kindHandshake, []byte{24, 0, 0, 1}, nil) }, Alert(alertDecodeError)},
		"close_notify":             {func(c *Conn) []byte { return c.Alert(nil, CloseNotify) }, io.EOF},
		"an alert":                 {func(c *Conn) []byte { return c.Alert(nil, alertDecodeError) }, io.EOF},
		"an alert of three octets": {func(c *Conn) []byte { return c.seal(nil, kindAlert, []byte{1, 0, 0}, nil) }, Alert(alertDecodeError)},
		"a kind that is not there": {func(c *Conn) []byte { return c.seal(nil, 99, []byte{1}, nil) }, Alert(alertUnexpectedMessage)},
	} {
		us, them := pair(t)
		if plain, n, err := us.Open(test.make(them)); err != test.want {
			t.Errorf("%s: %q, %d, %v, want %v", name, plain, n, err, test.want)
		}
	}
}

func TestKeyUpdates(t *testing.T) {
	us, them := pair(t)
	open := func(c *Conn, b []byte, want string) {
		t.Helper()
		var got []byte
		for len(b) > 0 {
			plain, n, err := c.Open(b)
			if err != nil {
				t.Fatal(err)
			}
			got, b = append(got, plain...), b[n:]
		}
		if string(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	// They renew theirs, and ask for ours.
	b := them.seal(nil, kindHandshake, []byte{24, 0, 0, 1, 1}, nil)
	them.suite.next(&them.out)
	open(us, them.Seal(b, []byte("a"), nil), "a")
	before := us.out.aead
	b = us.Seal(nil, []byte("b"), nil)
	if us.out.aead == before {
		t.Error("ours were not renewed")
	}
	open(them, b, "b")
	// Ours are renewed when they were used for long.
	us.out.seq, them.in.seq = keyRecords, keyRecords
	before = us.out.aead
	open(them, us.Seal(nil, []byte("c"), nil), "c")
	if us.out.aead == before || us.out.seq != 1 {
		t.Error("ours were not renewed after many records")
	}
}

// Who sends nothing but what is useless is cut off.
func TestUselessRecords(t *testing.T) {
	for name, useless := range map[string]func(*Conn) []byte{
		"empty": func(c *Conn) []byte { return c.seal(nil, kindData, nil, nil) },
		"keys": func(c *Conn) []byte {
			b := c.seal(nil, kindHandshake, []byte{24, 0, 0, 1, 0}, nil)
			c.suite.next(&c.out)
			return b
		},
		"warnings": func(c *Conn) []byte { return c.Alert(nil, alertUserCanceled) },
	} {
		us, them := pair(t)
		for i := range maxUseless + 1 {
			_, _, err := us.Open(useless(them))
			if want := i == maxUseless; (err != nil) != want {
				t.Errorf("%s: record %d: %v", name, i, err)
			}
		}
	}
}

func TestSealAndOpenDoNotAllocate(t *testing.T) {
	us, them := pair(t)
	buf, a, b := make([]byte, 0, 64<<10), make([]byte, 900), make([]byte, 30_000)
	if n := testing.AllocsPerRun(100, func() {
		buf = us.Seal(buf[:0], a, b)
		for rest := buf; len(rest) > 0; {
			_, n, err := them.Open(rest)
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzOpen(f *testing.F) {
	_, them := pair(f)
	f.Add(them.Seal(nil, []byte("hello"), nil))
	f.Add([]byte{23, 3, 3, 0, 17})
	f.Fuzz(func(t *testing.T, b []byte) {
		us, _ := pair(t)
		plain, n, err := us.Open(b)
		if err == nil && (n < headerSize || n > len(b)) || len(plain) > MaxPlain {
			t.Errorf("%d of %d, %d", n, len(b), len(plain))
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	us, _ := pair(b)
	buf, piece := make([]byte, 0, 256<<10), make([]byte, 96<<10)
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	for b.Loop() {
		buf = us.Seal(buf[:0], nil, piece)
	}
}
