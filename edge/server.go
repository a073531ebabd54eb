package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A Server serves viewers. Each connection that waits, for its next request or
// for a segment that is held, costs no goroutine and no buffer, so that tens of
// thousands of them fit in little memory. That is for plain GET and HEAD of the
// files of events by HTTP/1.1 over TCP, on Linux; all else goes to net/http:
// TLS and HTTP/2 too. HTTP/3 is by quic-go.
//
// Set the fields before Serve. Their zero values take the defaults.
type Server struct {
	// Edge answers what viewers ask of events.
	Edge *Edge
	// Handler answers all that Server leaves to net/http. Default Edge.
	Handler http.Handler
	// HeaderTimeout is how long a request's head may take, from its first byte
	// on, and how long a new connection may say nothing. Default 5 s.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request. Default 2 min.
	IdleTimeout time.Duration
	// MaxHeaderBytes bounds a request's head: larger ones are answered 431. Default 32 KiB.
	MaxHeaderBytes int
	// MaxStreams bounds the requests at once on one connection of HTTP/2 or
	// HTTP/3. Default 100.
	MaxStreams int
	// MaxConns bounds the connections of all kinds. MaxConnsPerAddress bounds
	// those from one IPv4 address or IPv6 /64. Those over it are answered 503
	// and closed. Default 0: no bound; many viewers may share an address.
	MaxConns, MaxConnsPerAddress int
	// Linger is how long Shutdown keeps idle connections, since a request may be
	// on its way on them: it is answered. Default 1 s.
	Linger time.Duration
	Log    *slog.Logger

	once     sync.Once
	std      *http.Server
	handed   *handedListener
	poller   *poller
	writers  writers
	ctx      context.Context // of requests; ends with Close
	cancel   context.CancelFunc
	draining atomic.Bool // answers end their connections; set under mu
	closing  atomic.Bool // idle connections end
	altSvc   atomic.Pointer[string]
	tasks    sync.WaitGroup // connections being served, the sweeper, net/http, the poller
	accepts  sync.WaitGroup // loops of Serve and ServeHTTP3
	refusing chan struct{}  // one slot per connection that is told so

	mu        sync.Mutex // guards the following
	listeners map[io.Closer]struct{}
	conns     map[uint64]*conn
	away      map[net.Conn]*conn // those that net/http has, by what it has
	total     int                // connections of all kinds
	perAddr   map[netip.Addr]int
	last      uint64
	sealed    bool // no loop accepts any more
	closed    bool
	none      chan struct{} // closed when sealed and no connection is left
}

func (s *Server) init() {
	s.once.Do(func() {
		def(&s.HeaderTimeout, 5*time.Second)
		def(&s.IdleTimeout, 2*time.Minute)
		def(&s.MaxHeaderBytes, 32<<10)
		def(&s.MaxStreams, 100)
		def(&s.Linger, time.Second)
		if s.Handler == nil {
			s.Handler = s.Edge
		}
		if s.Log == nil {
			s.Log = s.Edge.log
		}
		s.listeners, s.perAddr = map[io.Closer]struct{}{}, map[netip.Addr]int{}
		s.conns, s.away = map[uint64]*conn{}, map[net.Conn]*conn{}
		s.none, s.refusing = make(chan struct{}), make(chan struct{}, 16)
		s.writers.srv = s
		s.ctx, s.cancel = context.WithCancel(context.Background())
		s.handed = &handedListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		s.std = &http.Server{
			Handler: s.front(s.Handler), ReadHeaderTimeout: s.HeaderTimeout, IdleTimeout: s.IdleTimeout,
			MaxHeaderBytes: s.MaxHeaderBytes, ConnState: s.returned, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
			// Pings find those who left without a word while their requests are held.
			HTTP2: &http.HTTP2Config{
				MaxConcurrentStreams: s.MaxStreams, MaxReadFrameSize: 16 << 10, SendPingTimeout: 30 * time.Second,
				PingTimeout: 15 * time.Second, WriteByteTimeout: s.Edge.cfg.WriteTimeout,
				MaxReceiveBufferPerConnection: 64 << 10, MaxReceiveBufferPerStream: 16 << 10, MaxDecoderHeaderTableSize: 4 << 10,
			},
		}
		s.tasks.Go(func() { s.std.Serve(s.handed) })
		var err error
		if s.poller, err = newPoller(s.wake); err != nil {
			// Connections then keep a goroutine each: net/http serves them.
			s.Log.Warn("no poller", "err", err)
			return
		}
		s.tasks.Go(s.poller.run)
		s.tasks.Go(s.sweep)
	})
}

// ServeTLS is Serve for HTTP/1.1 and HTTP/2 over TLS.
func (s *Server) ServeTLS(l net.Listener, cfg *tls.Config) error {
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"h2", "http/1.1"}
	return s.Serve(tls.NewListener(l, cfg))
}

// Serve accepts connections until the listener fails, or the server is shut
// down: then it returns http.ErrServerClosed.
func (s *Server) Serve(l net.Listener) error {
	s.init()
	if !s.begin(l) {
		return http.ErrServerClosed
	}
	defer s.accepts.Done()
	defer l.Close()
	pause := 5 * time.Millisecond
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = 5 * time.Millisecond
			s.accept(nc)
			continue
		}
		if s.draining.Load() {
			return http.ErrServerClosed
		}
		var ne net.Error
		if !errors.As(err, &ne) || !temporary(err) {
			return err
		}
		// Out of descriptors, most likely: some will come free.
		s.drop(dropAccept)
		s.Log.Warn("accept", "err", err)
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return http.ErrServerClosed
		}
		pause = min(2*pause, time.Second)
	}
}

// begin enters a loop that accepts connections.
func (s *Server) begin(l io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.listeners[l] = struct{}{}
	s.accepts.Add(1)
	return true
}

// admit counts a connection, or says why it is one too many.
func (s *Server) admit(addr netip.Addr) (reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return dropCut
	case s.MaxConns > 0 && s.total >= s.MaxConns:
		return dropConns
	case s.MaxConnsPerAddress > 0 && s.perAddr[addr] >= s.MaxConnsPerAddress:
		return dropAddress
	}
	s.total++
	s.perAddr[addr]++
	return ""
}

// release is the opposite of admit. It needs mu.
func (s *Server) release(addr netip.Addr) {
	s.total--
	if s.perAddr[addr]--; s.perAddr[addr] <= 0 {
		delete(s.perAddr, addr)
	}
	if s.sealed && s.total == 0 {
		close(s.none)
	}
}

// accept takes on a connection. Also one that was in the queue when draining
// began: its client has been let in.
func (s *Server) accept(nc net.Conn) {
	addr := addressOf(nc.RemoteAddr())
	if reason := s.admit(addr); reason != "" {
		s.drop(reason)
		s.refuse(nc)
		return
	}
	c := &conn{srv: s, nc: nc, addr: addr, fresh: true, since: time.Now()}
	s.mu.Lock()
	s.last++
	c.id = s.last
	s.conns[c.id] = c
	s.mu.Unlock()
	tcp, ok := nc.(*net.TCPConn)
	if !ok || s.poller == nil || !c.watch(tcp) {
		c.state = running
		c.handOver(nil)
		return
	}
	c.wait()
}

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

// wake is called by the poller: there is something to read, or the end.
func (s *Server) wake(id uint64) {
	s.mu.Lock()
	c := s.conns[id]
	s.mu.Unlock()
	if c != nil {
		c.ready()
	}
}

// forget takes a connection out.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[c.id] != c {
		return
	}
	delete(s.conns, c.id)
	s.release(c.addr)
}

// returned is told by net/http what becomes of the connections it has.
func (s *Server) returned(nc net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	s.mu.Lock()
	c := s.away[nc]
	delete(s.away, nc)
	s.mu.Unlock()
	if c == nil {
		return
	}
	if t, ok := nc.(*tls.Conn); ok && !t.ConnectionState().HandshakeComplete {
		s.drop(dropHandshake)
	}
	s.forget(c)
}

// spawn runs f with a goroutine of its own, which Close waits for.
func (s *Server) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.tasks.Go(f)
	return true
}

// all returns the connections that are there.
func (s *Server) all() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*conn, 0, len(s.conns))
	for _, c := range s.conns {
		all = append(all, c)
	}
	return all
}

// sweep closes connections that have been idle for too long, and those of
// viewers who do not read.
func (s *Server) sweep() {
	tick := time.NewTicker(max(min(s.IdleTimeout, s.HeaderTimeout, s.Edge.cfg.WriteTimeout)/4, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			now := time.Now()
			for _, c := range s.all() {
				s.drop(c.closeIdle(now.Add(-s.IdleTimeout), now.Add(-s.HeaderTimeout)))
				s.drop(c.closeSlow(now.Add(-s.Edge.cfg.WriteTimeout)))
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// A handedListener gives net/http the connections that are left to it.
type handedListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *handedListener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *handedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *handedListener) Addr() net.Addr { return &net.TCPAddr{} }

// A handedConn begins with bytes that were already read.
type handedConn struct {
	net.Conn
	first []byte
}

func (h *handedConn) Read(p []byte) (int, error) {
	if len(h.first) > 0 {
		n := copy(p, h.first)
		h.first = h.first[n:]
		return n, nil
	}
	return h.Conn.Read(p)
}
