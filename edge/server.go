package edge

import (
	"context"
	"errors"
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
// TLS and HTTP/2 too.
//
// Set the fields before Serve. Their zero values take the defaults.
type Server struct {
	// Edge answers what viewers ask of events.
	Edge *Edge
	// Handler answers all that Server leaves to net/http. Default Edge.
	Handler http.Handler
	// HeaderTimeout is how long a request's head may take, from its first byte
	// on. Default 5 s.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request. Default 2 min.
	IdleTimeout time.Duration
	// MaxHeaderBytes bounds a request's head: larger ones are answered 431. Default 32 KiB.
	MaxHeaderBytes int
	// MaxConnsPerAddress bounds the connections from one address: those over it
	// are answered 503 and closed. Default 0: no bound, since many viewers share
	// an address.
	MaxConnsPerAddress int
	Log                *slog.Logger

	once     sync.Once
	std      *http.Server
	handed   *handedListener
	poller   *poller
	writers  writers
	ctx      context.Context // of requests; ends with Close
	cancel   context.CancelFunc
	draining atomic.Bool    // set under mu
	tasks    sync.WaitGroup // connections being served, the sweeper, net/http, the poller

	mu        sync.Mutex // guards the following
	listeners map[net.Listener]struct{}
	conns     map[uint64]*conn
	away      map[net.Conn]*conn // those that net/http has, by what it has
	perAddr   map[netip.Addr]int
	last      uint64
	closed    bool
	none      chan struct{} // closed when draining and no connection is left
}

func (s *Server) init() {
	s.once.Do(func() {
		def(&s.HeaderTimeout, 5*time.Second)
		def(&s.IdleTimeout, 2*time.Minute)
		def(&s.MaxHeaderBytes, 32<<10)
		if s.Handler == nil {
			s.Handler = s.Edge
		}
		if s.Log == nil {
			s.Log = s.Edge.log
		}
		s.listeners, s.perAddr = map[net.Listener]struct{}{}, map[netip.Addr]int{}
		s.conns, s.away = map[uint64]*conn{}, map[net.Conn]*conn{}
		s.none = make(chan struct{})
		s.writers.srv = s
		s.ctx, s.cancel = context.WithCancel(context.Background())
		s.handed = &handedListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		s.std = &http.Server{
			Handler: s.Handler, ReadHeaderTimeout: s.HeaderTimeout, IdleTimeout: s.IdleTimeout,
			MaxHeaderBytes: s.MaxHeaderBytes, ConnState: s.returned, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
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

// Serve accepts connections until the listener fails, or the server is shut
// down: then it returns http.ErrServerClosed.
func (s *Server) Serve(l net.Listener) error {
	s.init()
	s.mu.Lock()
	if s.draining.Load() {
		s.mu.Unlock()
		return http.ErrServerClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
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
		s.Log.Warn("accept", "err", err)
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return http.ErrServerClosed
		}
		pause = min(2*pause, time.Second)
	}
}

// accept takes on a connection.
func (s *Server) accept(nc net.Conn) {
	addr := addressOf(nc)
	s.mu.Lock()
	if s.draining.Load() {
		s.mu.Unlock()
		nc.Close()
		return
	}
	if s.MaxConnsPerAddress > 0 && s.perAddr[addr] >= s.MaxConnsPerAddress {
		s.mu.Unlock()
		refuseConn(nc)
		return
	}
	s.perAddr[addr]++
	s.last++
	c := &conn{srv: s, nc: nc, id: s.last, addr: addr, since: time.Now()}
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

func addressOf(nc net.Conn) netip.Addr {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		addr := a.AddrPort().Addr().Unmap()
		if addr.Is6() {
			// One subscriber has a whole /64.
			if p, err := addr.WithZone("").Prefix(64); err == nil {
				return p.Addr()
			}
		}
		return addr
	}
	return netip.Addr{}
}

// refuseConn answers a connection that is one too many. It does not wait for a
// request, nor for the answer to be read.
func refuseConn(nc net.Conn) {
	nc.SetWriteDeadline(time.Now().Add(time.Second))
	nc.Write([]byte("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nCache-Control: no-store\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	nc.Close()
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
	if s.perAddr[c.addr]--; s.perAddr[c.addr] <= 0 {
		delete(s.perAddr, c.addr)
	}
	if s.draining.Load() && len(s.conns) == 0 {
		close(s.none)
	}
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
	if c != nil {
		s.forget(c)
	}
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
	tick := time.NewTicker(max(min(s.IdleTimeout/8, writeTimeout/8), 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			now := time.Now()
			for _, c := range s.all() {
				c.closeIdle(now.Add(-s.IdleTimeout))
				c.closeSlow(now.Add(-writeTimeout))
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// Shutdown takes no more connections, closes those that are idle, and lets
// what is held or being sent come to its end. When ctx ends first the rest is
// cut off, and its error returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.drain()
	for _, c := range s.all() {
		c.closeIdle(time.Now())
	}
	err := s.std.Shutdown(ctx)
	select {
	case <-s.none:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return errors.Join(err, s.Close())
}

// drain closes the listeners; answers from now on end their connections.
func (s *Server) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return
	}
	s.draining.Store(true)
	for l := range s.listeners {
		l.Close()
	}
	if len(s.conns) == 0 {
		close(s.none)
	}
}

// Close cuts everything off, and waits for its end.
func (s *Server) Close() error {
	s.init()
	s.drain()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	for _, c := range s.all() {
		c.kill()
	}
	err := s.std.Close()
	if s.poller != nil {
		s.poller.close()
	}
	s.tasks.Wait()
	if s.poller != nil {
		s.poller.release()
	}
	return err
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
