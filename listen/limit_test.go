package listen

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"headwater/admit"
)

// limited is a listener with limits, and a way to connect to it.
func limited(t *testing.T, limits Limits) (l *Limited, dial func(from string) net.Conn) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	return Limit(tcp, limits), func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

func accept(t *testing.T, l net.Listener) *Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*Conn)
}

func TestConnectionsAreBounded(t *testing.T) {
	dropped := make(chan string, 8)
	l, dial := limited(t, Limits{Conns: 3, PerAddress: 2, Dropped: func(reason string) { dropped <- reason }})
	dial("127.0.0.1")
	first := accept(t, l)
	dial("127.0.0.1")
	accept(t, l)
	third := dial("127.0.0.1") // one too many of its address
	dial("127.0.0.2")
	if c := accept(t, l); c.Address() != netip.MustParseAddr("127.0.0.2") {
		t.Errorf("accepted one of %v", c.Address())
	}
	if got := <-dropped; got != DropAddress {
		t.Errorf("dropped for %s", got)
	}
	if b, err := io.ReadAll(third); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 503 ") || !strings.Contains(string(b), "Retry-After: 5\r\n") {
		t.Errorf("who is one too many reads %q, %v", b, err)
	}
	fourth := dial("127.0.0.3") // one too many of all
	again := make(chan *Conn)
	go func() { again <- accept(t, l) }()
	if got := <-dropped; got != DropConns {
		t.Errorf("dropped for %s", got)
	}
	if b, _ := io.ReadAll(fourth); !strings.HasPrefix(string(b), "HTTP/1.1 503 ") {
		t.Errorf("who is one too many reads %q", b)
	}
	first.Close()
	first.Close() // twice is once
	dial("127.0.0.3")
	if c := <-again; c.Address() != netip.MustParseAddr("127.0.0.3") || l.Open.Load() != 3 {
		t.Errorf("accepted %v, %d are open", c.Address(), l.Open.Load())
	}
}

func TestAddressesAreCountedTogether(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "fe80::1%eth0": "fe80::",
	} {
		a := netip.MustParseAddr(in)
		if got := Address(&net.TCPAddr{IP: a.AsSlice(), Zone: a.Zone()}); got != netip.MustParseAddr(want) {
			t.Errorf("%s counts as %v, want %s", in, got, want)
		}
	}
	if got := Address(&net.UnixAddr{Name: "x"}); got.IsValid() {
		t.Errorf("what is no address of IP counts as %v", got)
	}
}

// A reader that does not read is cut off, and takes no turn from others meanwhile.
func TestSlowReadersAreCut(t *testing.T) {
	dropped := make(chan string, 8)
	turns := admit.NewTurns(1, time.Hour)
	l, dial := limited(t, Limits{WriteTimeout: 200 * time.Millisecond, Turns: turns, Dropped: func(reason string) { dropped <- reason }})
	dial("127.0.0.1")
	c := accept(t, l)
	c.Serve(admit.DVR, "")
	ended := make(chan error)
	go func() {
		_, err := c.Write(make([]byte, 64<<20))
		ended <- err
	}()
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("to write what nobody reads ends with %v", err)
	}
	if got := <-dropped; got != DropSlow {
		t.Errorf("dropped for %s", got)
	}
	if turns.Take(t.Context(), admit.DVR, admit.Taker{}) == nil {
		t.Error("no turn for others")
	}
}

func TestWritesTakeTurns(t *testing.T) {
	turns := admit.NewTurns(1, time.Hour)
	l, dial := limited(t, Limits{Turns: turns})
	far := dial("127.0.0.1")
	c := accept(t, l)
	turn := turns.Take(t.Context(), admit.DVR, admit.Taker{})
	if _, err := c.Write([]byte("published ")); err != nil { // before it serves something
		t.Fatal(err)
	}
	c.Serve(admit.Live, "")
	sent := make(chan error)
	go func() {
		_, err := c.Write(make([]byte, 300_000))
		c.CloseWrite()
		sent <- err
	}()
	got := make([]byte, 10)
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "published " {
		t.Fatalf("%q, %v", got, err)
	}
	select {
	case err := <-sent:
		t.Errorf("wrote though it was another's turn: %v", err)
	default:
	}
	turn.Give()
	if b, err := io.ReadAll(far); err != nil || len(b) != 300_000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// What is read is worked at in a turn, which its handler may take over, and which ends
// before anything is waited for.
func TestReadsTakeTurns(t *testing.T) {
	turns := admit.NewTurns(1, time.Hour)
	l, dial := limited(t, Limits{Turns: turns, Reads: admit.Live})
	far := dial("127.0.0.1")
	c := accept(t, l)
	free := func() bool {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		x := turns.Take(ctx, admit.Publish, admit.Taker{}) // at once, or not
		x.Give()
		return x != nil
	}
	io.WriteString(far, "GET / HTTP/1.1\r\n")
	other, came := turns.Take(t.Context(), admit.DVR, admit.Taker{}), make(chan int)
	buf := make([]byte, 100)
	go func() {
		n, _ := c.Read(buf)
		came <- n
	}()
	select {
	case n := <-came:
		t.Fatalf("read %d bytes in another's turn", n)
	default:
	}
	other.Give()
	if n := <-came; n != 16 || free() {
		t.Fatalf("read %d bytes; it is nobody's turn: %v", n, free())
	}
	watched := make(chan struct{})
	go func() { // as net/http does while a handler works
		c.Read(make([]byte, 1))
		close(watched)
	}()
	if free() {
		t.Error("to watch for the end ends the turn")
	}
	x := c.TakeTurn()
	if x == nil || c.TakeTurn() != nil || free() {
		t.Error("the turn is not its handler's")
	}
	x.Give()
	if !free() {
		t.Error("the turn goes on")
	}
	io.WriteString(far, "xHost: y\r\n")
	<-watched
	if n, err := c.Read(buf); n == 0 || free() {
		t.Fatalf("read %d bytes, %v; it is nobody's turn: %v", n, err, free())
	}
	if _, err := c.Write([]byte("answer")); err != nil || !free() {
		t.Errorf("a turn after an answer (%v)", err)
	}
}

func TestWhoIsRefusedAgainWaits(t *testing.T) {
	now := time.Unix(1000, 0)
	var c Conn
	var delays []time.Duration
	for range 6 {
		delays = append(delays, c.Refuse(now))
		now = now.Add(time.Second)
	}
	if delays[0] != 0 || delays[1] == 0 || delays[5] < time.Second || delays[5] > 3*time.Second {
		t.Errorf("delays %v", delays)
	}
	now = now.Add(admit.Period)
	if d := c.Refuse(now); d != 0 {
		t.Errorf("%v for who heeded Retry-After", d)
	}
	if d := (*Conn)(nil).Refuse(now); d != 0 {
		t.Errorf("%v without a connection", d)
	}
}

func TestConnOfARequest(t *testing.T) {
	l, dial := limited(t, Limits{})
	dial("127.0.0.1")
	c := accept(t, l)
	if got := ConnOf(WithConn(context.Background(), c)); got != c {
		t.Errorf("found %v", got)
	}
	if got := ConnOf(WithConn(context.Background(), c.Conn)); got != nil {
		t.Errorf("found %v where there are no limits", got)
	}
}
