package front

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/edge/exchange"
)

// A Server serves viewers. A few loops serve all connections, one for each of
// Go's threads; one that waits, for its next request or for a segment that is
// held, costs no goroutine and no buffer, so that tens of thousands of them fit
// in little memory. That is for plain GET and HEAD of the files of events by
// HTTP/1.1 over TCP, with TLS 1.3 or without, on Linux; all else goes to net/http.
// HTTP/3 is by quic-go.
//
// Set the fields before Serve. Their zero values take the defaults.
type Server struct {
	// Edge answers what viewers ask of events.
	Edge Edge
	// Handler answers all that Server leaves to net/http. Default Handler(Edge).
	Handler http.Handler
	// HeaderTimeout is how long a request's head may take, from its first byte
	// on, and how long a new connection may say nothing. Default 5 s.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request. Default 2 min.
	IdleTimeout time.Duration
	// WriteTimeout is how long a viewer may take for each 256 KiB of an answer:
	// slower ones are let go. Default 30 s, which is 8 kB/s.
	WriteTimeout time.Duration
	// MaxHeaderBytes bounds a request's head: larger ones are answered 431. Default 32 KiB.
	MaxHeaderBytes int
	// MaxStreams bounds the requests at once on one connection of HTTP/2 or
	// HTTP/3. Default 100.
	MaxStreams int
	// MaxConns bounds the connections of all kinds. MaxConnsPerAddress bounds
	// those from one IPv4 address or IPv6 /64. Those over it are answered 503
	// and closed. Default 0: no bound; many viewers may share an address.
	MaxConns, MaxConnsPerAddress int
	// Let reports whether there is memory for one connection more, Room whether there is
	// for so many bytes of a head that does not come at once. Those for which there is
	// none are answered 503 and closed. Default: there always is.
	Let  func() bool
	Room func(bytes int64) bool
	// Linger is how long Shutdown keeps idle connections, since a request may be
	// on its way on them: it is answered. Default 1 s.
	Linger time.Duration
	Log    *slog.Logger
	// Metrics has the counters of what is dropped.
	Metrics *prometheus.Registry

	once     sync.Once
	linger   atomic.Int64           // Linger, once it serves
	drops    *prometheus.CounterVec // of connections and requests, by reason
	std      *http.Server
	handed   *handedListener
	memory   *loop           // of connections that are none of the system's
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	draining atomic.Bool  // answers end their connections; set under mu
	closing  atomic.Bool  // idle connections end
	heads    atomic.Int64 // bytes of those that have not come whole
	altSvc   atomic.Pointer[string]
	tasks    sync.WaitGroup // the loops, net/http, refusals
	accepts  sync.WaitGroup // loops of Serve and ServeHTTP3
	refusing chan struct{}  // one slot per connection that is told so

	mu        sync.Mutex // guards the following
	listeners map[io.Closer]struct{}
	loops     []*loop                 // one for each of Go's threads
	away      map[net.Conn]netip.Addr // connections that net/http has
	total     int                     // connections of all kinds
	perAddr   map[netip.Addr]int
	sealed    bool // no loop accepts any more
	closed    bool
	none      chan struct{} // closed when sealed and no connection is left
	asked     time.Time     // when load was asked last
}

func (s *Server) init() {
	s.once.Do(func() {
		s.HeaderTimeout = cmp.Or(s.HeaderTimeout, 5*time.Second)
		s.IdleTimeout = cmp.Or(s.IdleTimeout, 2*time.Minute)
		s.WriteTimeout = cmp.Or(s.WriteTimeout, 30*time.Second)
		s.MaxHeaderBytes = cmp.Or(s.MaxHeaderBytes, 32<<10)
		s.MaxStreams = cmp.Or(s.MaxStreams, 100)
		s.linger.Store(int64(cmp.Or(s.Linger, time.Second)))
		s.Log = cmp.Or(s.Log, slog.New(slog.DiscardHandler))
		s.Metrics = cmp.Or(s.Metrics, prometheus.NewRegistry())
		s.drops = newDrops(s.Metrics)
		if s.Handler == nil {
			s.Handler = Handler(s.Edge)
		}
		s.listeners, s.perAddr = map[io.Closer]struct{}{}, map[netip.Addr]int{}
		s.away = map[net.Conn]netip.Addr{}
		s.none, s.refusing = make(chan struct{}), make(chan struct{}, 16)
		s.ctx, s.cancel = context.WithCancel(context.Background())
		s.handed = &handedListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		s.std = &http.Server{
			Handler: s.front(s.Handler), ReadHeaderTimeout: s.HeaderTimeout, IdleTimeout: s.IdleTimeout,
			MaxHeaderBytes: s.MaxHeaderBytes, ConnState: s.returned, ConnContext: connContext, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
			// Pings find those who left without a word while their requests are held.
			HTTP2: &http.HTTP2Config{
				MaxConcurrentStreams: s.MaxStreams, MaxReadFrameSize: 16 << 10, SendPingTimeout: 30 * time.Second,
				PingTimeout: 15 * time.Second, WriteByteTimeout: s.WriteTimeout,
				MaxReceiveBufferPerConnection: 64 << 10, MaxReceiveBufferPerStream: 16 << 10, MaxDecoderHeaderTableSize: 4 << 10,
			},
		}
		s.tasks.Go(func() { s.std.Serve(s.handed) })
		s.memory, s.asked = newLoop(s, nil), time.Now()
		s.tasks.Go(s.memory.run)
		s.Edge.Watch(s.load)
	})
}

// startLoops starts those of the system's connections, with the first of these.
func (s *Server) startLoops() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.loops) > 0 {
		return
	}
	for range runtime.GOMAXPROCS(0) {
		p, err := newPoller()
		if err != nil {
			// Connections then have a goroutine each: net/http serves them.
			s.Log.Warn("no poller", "err", err)
			return
		}
		l := newLoop(s, p)
		s.loops = append(s.loops, l)
		s.tasks.Go(l.run)
	}
}

// all are all loops.
func (s *Server) all() []*loop {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(slices.Clone(s.loops), s.memory)
}

// load says how connections are served since it was last asked. Who asks at any time
// comes into a round of his loop the likelier the longer it is, waits for half of it in
// the mean, and is looked at in the middle of the next: so long is what is in a sum of
// squares over the time.
func (s *Server) load() (l exchange.Load) {
	loops := s.all()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	passed := max(now.Sub(s.asked).Microseconds(), 1)
	s.asked = now
	for _, loop := range loops {
		l.Late = max(l.Late, time.Duration(loop.rounds.Swap(0)/passed)*time.Microsecond)
	}
	if s.MaxConns > 0 {
		l.Connections = float64(s.total) / float64(s.MaxConns)
	}
	return l
}

// every is how often loops look for what has been still for too long.
func (s *Server) every() time.Duration {
	return max(min(s.IdleTimeout, s.HeaderTimeout, s.WriteTimeout)/4, 10*time.Millisecond)
}

// Serve accepts connections until the listener fails, or the server is shut
// down: then it returns http.ErrServerClosed.
func (s *Server) Serve(l net.Listener) error { return s.serve(l, s.plain, s.refuse) }

// serve gives take the connections that are let in, and refuse the others.
func (s *Server) serve(l net.Listener, take func(net.Conn, netip.Addr), refuse func(net.Conn)) error {
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
			s.accept(nc, take, refuse)
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
	case s.Let != nil && !s.Let():
		return dropMemory
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
func (s *Server) accept(nc net.Conn, take func(net.Conn, netip.Addr), refuse func(net.Conn)) {
	addr := addressOf(nc.RemoteAddr())
	if reason := s.admit(addr); reason != "" {
		s.drop(reason)
		refuse(nc)
		return
	}
	take(nc, addr)
}

// plain takes on a connection without TLS.
func (s *Server) plain(nc net.Conn, addr netip.Addr) {
	l, sock := s.socketOf(nc)
	if sock == nil {
		s.handOver(nc, addr, nil)
		return
	}
	s.open(l, &conn{sock: sock, addr: addr})
}

// socketOf makes a socket of a connection, for a loop; nil where none can have it.
func (s *Server) socketOf(nc net.Conn) (*loop, socket) {
	switch nc := nc.(type) {
	case trier:
		return s.memory, trySocket{nc}
	case *net.TCPConn:
		if l := s.least(); l != nil {
			return l, newSocket(nc)
		}
	}
	return nil, nil
}

// open gives a loop a connection.
func (s *Server) open(l *loop, c *conn) {
	c.loop, c.fresh = l, true
	l.count.Add(1)
	if !l.post(post{what: opened, conn: c}) {
		c.sock.close()
		s.forget(c.addr)
	}
}

// least is the loop with the fewest connections.
func (s *Server) least() (best *loop) {
	s.startLoops()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.loops {
		if best == nil || l.count.Load() < best.count.Load() {
			best = l
		}
	}
	return best
}

// Heads are the bytes of heads that have not come whole, and of requests that wait for
// those before them.
func (s *Server) Heads() int64 { return s.heads.Load() }

// forget counts a connection out.
func (s *Server) forget(addr netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(addr)
}

// handOver leaves a connection to net/http, with what was read from it.
func (s *Server) handOver(nc net.Conn, addr netip.Addr, first []byte) {
	if len(first) > 0 {
		nc = &handedConn{Conn: nc, first: first}
	}
	s.mu.Lock()
	s.away[nc] = addr
	s.mu.Unlock()
	gone := func() {
		nc.Close()
		s.returned(nc, http.StateClosed)
	}
	if !s.spawn(func() {
		select {
		case s.handed.conns <- nc:
		case <-s.handed.closed:
			gone()
		}
	}) {
		gone()
	}
}

// returned is told by net/http what becomes of the connections it has.
func (s *Server) returned(nc net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	s.mu.Lock()
	addr, was := s.away[nc]
	delete(s.away, nc)
	s.mu.Unlock()
	if !was {
		return
	}
	s.forget(addr)
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
