package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// Limits of a connection of HTTP/3. Viewers send requests and nothing else.
const (
	quicHandshake = 5 * time.Second
	quicIdle      = 30 * time.Second // nothing is heard at all, not even of pings
	quicPing      = 15 * time.Second // so that held requests are not idle
	quicStream    = 16 << 10         // bytes of a request that wait to be read
	quicConn      = 64 << 10
	quicFarewell  = 2 * time.Second // from the last answer to the end of its connection
	// altSvcLife is how long browsers remember that there is HTTP/3.
	altSvcLife = time.Hour
)

// An identifier tells whose a packet is by its connection ID: of this process
// or of the one before (package listen).
type identifier interface{ NewID() []byte }

type quicIDs struct {
	identifier
	length int
}

func (q quicIDs) GenerateConnectionID() (quic.ConnectionID, error) {
	return quic.ConnectionIDFromBytes(q.NewID()), nil
}
func (q quicIDs) ConnectionIDLen() int { return q.length }

// ServeHTTP3 serves HTTP/3 on a UDP socket, and has answers over TLS tell of
// it. It returns when the server is shut down, with http.ErrServerClosed, or
// when the socket fails. The socket is closed.
func (s *Server) ServeHTTP3(pc net.PacketConn, cfg *tls.Config) error {
	s.init()
	defer pc.Close()
	tr := &quic.Transport{
		Conn: pc, MaxTokenAge: time.Hour,
		// To see the client's address answer costs a round trip: only in a rush.
		VerifySourceAddress: func(net.Addr) bool { return s.rush() },
	}
	if ids, ok := pc.(identifier); ok {
		tr.ConnectionIDGenerator = quicIDs{ids, len(ids.NewID())}
	}
	l, err := tr.Listen(http3.ConfigureTLSConfig(cfg), &quic.Config{
		HandshakeIdleTimeout: quicHandshake, MaxIdleTimeout: quicIdle, KeepAlivePeriod: quicPing, MaxIncomingStreams: int64(s.MaxStreams), MaxIncomingUniStreams: 8,
		InitialStreamReceiveWindow: quicStream, MaxStreamReceiveWindow: quicStream,
		InitialConnectionReceiveWindow: quicConn, MaxConnectionReceiveWindow: quicConn,
	})
	if err != nil {
		return fmt.Errorf("front: HTTP/3: %w", err)
	}
	defer tr.Close()
	defer l.Close()
	active := &active{none: make(chan struct{})}
	h3 := &http3.Server{
		MaxHeaderBytes: s.MaxHeaderBytes, IdleTimeout: s.IdleTimeout,
		Handler: s.front(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			active.begin()
			defer active.done()
			s.Handler.ServeHTTP(w, r)
		})),
	}
	stop := &stopper{c: make(chan struct{})}
	if !s.begin(stop) {
		return http.ErrServerClosed
	}
	if a, ok := pc.LocalAddr().(*net.UDPAddr); ok {
		alt := fmt.Sprintf(`h3=":%d"; ma=%d`, a.Port, int(altSvcLife.Seconds()))
		s.altSvc.Store(&alt)
	}
	failed := make(chan error, 1)
	s.tasks.Go(func() { failed <- h3.ServeListener(admitting{l, s}) })
	select {
	case err := <-failed:
		s.accepts.Done()
		h3.Close()
		if errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return fmt.Errorf("front: HTTP/3: %w", err)
	case <-stop.c:
	}
	// GOAWAY: clients send what comes next to somebody else. What they have
	// asked for they get; then they are told that it is over.
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	done := make(chan struct{})
	s.tasks.Go(func() { defer close(done); h3.Shutdown(ctx) })
	<-failed
	l.Close()
	s.accepts.Done()
	linger := time.NewTimer(min(time.Duration(s.linger.Load()), time.Second)) // GOAWAY has to get there
	defer linger.Stop()
	select {
	case <-linger.C:
		active.end()
	case <-done:
		return http.ErrServerClosed
	}
	select {
	case <-active.none:
	case <-done:
		return http.ErrServerClosed
	}
	// The ends of answers are still on their way, and would be lost with the
	// connections. Most clients close theirs.
	last := time.AfterFunc(quicFarewell, cancel)
	defer last.Stop()
	<-done
	return http.ErrServerClosed
}

// A stopper is a listener for drain.
type stopper struct{ c chan struct{} }

func (s *stopper) Close() error { close(s.c); return nil }

// An active counts requests, and tells when there are none after the end.
type active struct {
	mu    sync.Mutex // guards the following
	n     int
	ended bool
	none  chan struct{}
	once  sync.Once
}

func (a *active) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n++
}

func (a *active) done() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n--
	a.tellLocked()
}

func (a *active) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	a.tellLocked()
}

func (a *active) tellLocked() {
	if a.ended && a.n == 0 {
		a.once.Do(func() { close(a.none) })
	}
}

// admitting lets in what the limits allow. Connections come when their
// handshake is over, so their addresses are not forged.
type admitting struct {
	*quic.Listener
	s *Server
}

func (a admitting) Accept(ctx context.Context) (*quic.Conn, error) {
	for {
		c, err := a.Listener.Accept(ctx)
		if err != nil {
			return nil, err
		}
		addr := addressOf(c.RemoteAddr())
		if reason := a.s.admit(addr); reason != "" {
			a.s.drop(reason)
			c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), reason)
			continue
		}
		context.AfterFunc(c.Context(), func() {
			a.s.mu.Lock()
			defer a.s.mu.Unlock()
			a.s.release(addr)
		})
		return c, nil
	}
}

// rush reports whether half of the connections there may be are there.
func (s *Server) rush() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.MaxConns > 0 && s.total > s.MaxConns/2
}
