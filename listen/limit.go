package listen

import (
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"headwater/admit"
	"headwater/listen/plain"
)

// Limits are what those who connect to a listener may take of a process.
type Limits struct {
	// Conns bounds the connections, PerAddress those from one IPv4 address or IPv6
	// /64. Those over it are answered 503 and closed. 0 is no bound.
	Conns, PerAddress int
	// Room reports whether there is memory for one more. Nil: there always is.
	Room func() bool
	// WriteTimeout is how long the other side may take for each 256 KiB that it is
	// sent. 0 is no bound.
	WriteTimeout time.Duration
	// Turns are those in which connections work: from when one has read something until
	// it reads again, or its handler says otherwise (Conn.TakeTurn); and for each piece
	// that it writes. Nil: whoever can works.
	Turns *admit.Turns
	// Reads is the class in which connections read, before it is known what for.
	Reads admit.Class
	// Refuse appends the answer to a plain request that is refused without asking
	// anybody, and nothing where net/http is to have the request. Nil: it has all.
	Refuse func(b []byte, h *plain.Head) []byte
	// Open is kept at the number of connections. Optional.
	Open *atomic.Int64
	// Dropped is told why a connection was. Optional.
	Dropped func(reason string)
}

// Why connections are dropped.
const (
	DropConns   = "max-conns"
	DropAddress = "max-conns-per-address"
	DropMemory  = "memory"
	DropSlow    = "slow-reader"
)

// Drops lists every reason, for counters.
var Drops = []string{DropConns, DropAddress, DropMemory, DropSlow}

// A Limited is a listener with limits.
type Limited struct {
	net.Listener
	Limits
	refusing chan struct{} // one slot per connection that is told so

	mu      sync.Mutex // guards the following
	total   int
	perAddr map[netip.Addr]int
}

// Limit puts limits to a listener's connections. TLS goes above it.
func Limit(l net.Listener, limits Limits) *Limited {
	if limits.Dropped == nil {
		limits.Dropped = func(string) {}
	}
	if limits.Open == nil {
		limits.Open = new(atomic.Int64)
	}
	return &Limited{Listener: l, Limits: limits, refusing: make(chan struct{}, 16), perAddr: make(map[netip.Addr]int)}
}

// Accept returns the next connection for which there is room.
func (l *Limited) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := Address(nc.RemoteAddr())
		if reason := l.admit(addr); reason != "" {
			l.Dropped(reason)
			l.refuse(nc)
			continue
		}
		c := &Conn{Conn: nc, of: l, addr: addr}
		if l.Refuse != nil {
			c.early = newEarly(c)
		}
		return c, nil
	}
}

// admit counts a connection, or says why it is one too many.
func (l *Limited) admit(addr netip.Addr) (reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.Conns > 0 && l.total >= l.Conns:
		return DropConns
	case l.PerAddress > 0 && l.perAddr[addr] >= l.PerAddress:
		return DropAddress
	case l.Room != nil && !l.Room():
		return DropMemory
	}
	l.total++
	l.Limits.Open.Add(1)
	l.perAddr[addr]++
	return ""
}

func (l *Limited) release(addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	l.Limits.Open.Add(-1)
	if l.perAddr[addr]--; l.perAddr[addr] <= 0 {
		delete(l.perAddr, addr)
	}
}

// refusal is the answer to a connection that is one too many, whatever it wants.
const refusal = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nCache-Control: no-store\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// refuse answers without waiting for the request: one of TLS takes it for nonsense.
func (l *Limited) refuse(nc net.Conn) {
	select {
	case l.refusing <- struct{}{}:
	default:
		nc.Close() // too many to be polite
		return
	}
	go func() { // ends by its deadlines
		defer func() { <-l.refusing }()
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(time.Second))
		io.WriteString(nc, refusal)
		// To close while something unread has come resets the connection, and the
		// answer may be lost.
		if half, ok := nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			nc.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			io.CopyN(io.Discard, nc, 64<<10)
		}
	}()
}

// Address is what connections are counted by: an IPv4 address or an IPv6 /64, which
// one client has to itself. What is no address of IP counts as one.
func Address(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if addr.Is6() {
		p, _ := addr.Prefix(64)
		return p.Addr()
	}
	return addr
}

// A Conn is a connection of a Limited.
type Conn struct {
	net.Conn
	of   *Limited
	addr netip.Addr
	once sync.Once

	class   atomic.Int32 // of what it is sent now
	tenant  atomic.Pointer[string]
	turn    atomic.Pointer[admit.Turn] // of what it has read
	refused atomic.Int64               // when it was refused last, as Unix nanoseconds
	inARow  atomic.Int32
	length  lengthSeen
	early   *early // nil: net/http has every request

	writing sync.Mutex // guards the following: who writes
	since   time.Time  // of the piece that the other side has to read in time
	sent    int        // of it
}

// slowBytes are what the other side has the write time-out for.
const slowBytes = 256 << 10

// pieceBytes are written in one turn: some tens of microseconds.
const pieceBytes = 64 << 10

// Serve says of which class and tenant the answer is that is sent from now on; no
// tenant: of the one before.
func (c *Conn) Serve(class admit.Class, tenant string) {
	if c == nil {
		return
	}
	c.class.Store(int32(class))
	if tenant != "" && tenant != c.taker().Tenant {
		c.tenant.Store(&tenant)
	}
}

// taker is who takes turns.
func (c *Conn) taker() admit.Taker {
	who := admit.Taker{Address: c.addr}
	if name := c.tenant.Load(); name != nil {
		who.Tenant = *name
	}
	return who
}

// TakeTurn is the turn in which its request was read, from now on the caller's; nil
// where there is none.
func (c *Conn) TakeTurn() *admit.Turn {
	if c == nil {
		return nil
	}
	return c.turn.Swap(nil)
}

// work takes a turn for what it has read, instead of the one before. It keeps it
// until it reads again, or somebody takes it over.
func (c *Conn) work() {
	if c.of == nil || c.of.Turns == nil {
		return
	}
	c.TakeTurn().Give()
	who := c.taker()
	if c.of.Reads > admit.Publish {
		who.Tenant = "" // of the next request it is not known
	}
	c.turn.Swap(c.of.Turns.Take(context.Background(), c.of.Reads, who)).Give()
}

// Refuse notes that a request was refused at now, and returns for how long the
// answer is to be kept back.
func (c *Conn) Refuse(now time.Time) time.Duration {
	if c == nil {
		return 0
	}
	if now.Sub(time.Unix(0, c.refused.Swap(now.UnixNano()))) > admit.Period {
		c.inARow.Store(0)
	}
	return admit.Delay(int(c.inARow.Add(1)), rand.Float64())
}

// Address is the address that it counts for.
func (c *Conn) Address() netip.Addr {
	if c == nil {
		return netip.Addr{}
	}
	return c.addr
}

// Write writes in turns, and gives up on who reads too slowly.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for n < len(p) || len(p) == 0 {
		if c.of.WriteTimeout > 0 {
			// What it was sent before, it has had the time to read.
			if now := time.Now(); c.sent == 0 || c.sent >= slowBytes || now.Sub(c.since) > c.of.WriteTimeout {
				c.since, c.sent = now, 0
				c.SetWriteDeadline(now.Add(c.of.WriteTimeout))
			}
		}
		k, err := c.piece(p[n:min(len(p), n+pieceBytes)])
		n += k
		c.sent += k
		if err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				c.of.Dropped(DropSlow)
			}
			return n, err
		}
		if len(p) == 0 {
			break
		}
	}
	return n, nil
}

// wrote counts what went at once, without Write: who has read as much is not slow.
func (c *Conn) wrote(n int) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.sent > 0 {
		c.sent += n
	}
}

// piece writes some of p in one turn.
func (c *Conn) piece(p []byte) (int, error) {
	c.TakeTurn().Give()
	class := admit.Class(c.class.Load())
	if c.of.Turns == nil || class == admit.Publish {
		return c.Conn.Write(p)
	}
	return writeTurn(c.Conn, p, func() *admit.Turn { return c.of.Turns.Take(context.Background(), class, c.taker()) })
}

// Close closes it, and makes room for another.
func (c *Conn) Close() error {
	c.once.Do(func() { c.of.release(c.addr) })
	c.TakeTurn().Give()
	return c.Conn.Close()
}

// CloseWrite is for those who let the other side read the last answer.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type connKey struct{}

// WithConn is for http.Server's ConnContext: handlers find the connection by ConnOf.
func WithConn(ctx context.Context, nc net.Conn) context.Context {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if c, ok := nc.(*Conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// ConnOf is the connection that a request came by; nil where it has no limits. Its
// methods are for nil, too.
func ConnOf(ctx context.Context) *Conn {
	c, _ := ctx.Value(connKey{}).(*Conn)
	return c
}
