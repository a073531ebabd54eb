package memcache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Server is one memcached. It is safe for concurrent use.
type Server struct {
	addr   string
	cfg    Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // goroutines of the server and its connections

	mu       sync.Mutex
	conns    []*conn       // guarded by mu, like all below
	dialing  int           // attempts under way
	changed  chan struct{} // closed, and replaced, when conns grows or a dial fails
	dialErr  error         // of the last attempt
	failures int           // in a row
	failing  time.Time     // when the first of them was
	ejected  bool
	returned time.Time // when it last came back; zero if it was never away
	lastGood time.Time // the last answer
	closed   bool
}

// NewServer returns the server at addr. It connects when it is first used.
func NewServer(addr string, cfg Config) *Server {
	s := &Server{addr: addr, cfg: cfg.withDefaults(), changed: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.tasks.Go(s.watch)
	return s
}

// Up reports whether the server is being used, and since when it has been back.
func (s *Server) Up() (up bool, returned time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ejected && !s.closed, s.returned
}

// Conns returns the number of connections.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Close breaks all connections off and waits for their goroutines.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	conns := s.conns
	s.mu.Unlock()
	s.cancel()
	for _, c := range conns {
		c.kill(ErrClosed)
	}
	s.tasks.Wait()
}

// Do sends the commands in one go and waits for all answers, at most for the
// timeout. With a nil error each Op has a Status; otherwise nothing is known of
// any, the Ops must not be looked at again, and a Set may still take effect
// later. The values are the caller's again in any case.
func (s *Server) Do(ctx context.Context, timeout time.Duration, ops []Op) error {
	for i := range ops {
		if err := validKey(ops[i].Key); err != nil && ops[i].Kind != Touch {
			return err
		}
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	c, b, err := s.begin(ctx, timer, ops)
	if err != nil {
		return s.outcome(ctx, nil, err)
	}
	select {
	case <-b.done:
		err = b.err
	case <-c.dead:
		err = c.err
	case <-timer.C:
		err = ErrTimeout
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		select {
		case <-b.done: // and something else at the same time
			err = b.err
		default:
		}
	}
	if err != nil {
		c.cancel(b)
		return s.outcome(ctx, c, err)
	}
	// All is answered; a server that answers before it has read is not left
	// with the caller's bytes.
	select {
	case <-b.released:
	case <-timer.C:
		c.cancel(b)
	}
	return s.outcome(ctx, c, nil)
}

// begin gives the ops to a connection.
func (s *Server) begin(ctx context.Context, timer *time.Timer, ops []Op) (*conn, *batch, error) {
	b := newBatch(ops)
	for {
		s.mu.Lock()
		switch {
		case s.closed:
			s.mu.Unlock()
			return nil, nil, ErrClosed
		case s.ejected:
			s.mu.Unlock()
			return nil, nil, ErrEjected
		}
		c := s.pick()
		changed := s.changed
		s.mu.Unlock()
		if c != nil {
			if c.offer(b) {
				return c, b, nil
			}
			select {
			case <-c.dead:
				s.remove(c)
				continue
			default:
				return nil, nil, ErrBusy
			}
		}
		select {
		case <-changed:
			s.mu.Lock()
			err := s.dialErr
			none := len(s.conns) == 0
			s.mu.Unlock()
			if none && err != nil {
				return nil, nil, err
			}
		case <-timer.C:
			return nil, nil, ErrTimeout
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// pick returns the least busy connection, nil if there is none yet, and has
// another one made where that is worth it. mu is held.
func (s *Server) pick() *conn {
	var best *conn
	for _, c := range s.conns {
		if best == nil || c.waiting.Load() < best.waiting.Load() {
			best = c
		}
	}
	if (best == nil || best.waiting.Load() > int64(s.cfg.GrowAt)) && s.dialing == 0 && len(s.conns) < s.cfg.MaxConns {
		s.dialing++
		s.dialErr = nil
		s.tasks.Go(s.dial)
	}
	return best
}

// dial makes a connection and runs it.
func (s *Server) dial() {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.DialTimeout)
	nc, err := s.cfg.Dial(ctx, s.addr)
	cancel()
	var c *conn
	if err == nil {
		c = newConn(nc)
	}
	s.mu.Lock()
	s.dialing--
	switch {
	case err != nil:
		s.dialErr = fmt.Errorf("memcache: %w", err)
	case s.closed:
		c.kill(ErrClosed)
	default:
		s.conns = append(s.conns, c)
	}
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if err != nil {
		if s.ctx.Err() == nil {
			s.failed(Failed)
		}
		return
	}
	s.cfg.Event(Dialed)
	c.run()
	s.remove(c)
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, have := range s.conns {
		if have == c {
			// A new slice: Close may be walking the old one.
			s.conns = append(append(make([]*conn, 0, len(s.conns)), s.conns[:i]...), s.conns[i+1:]...)
			return
		}
	}
}

// outcome learns from how an exchange ended, and names its error.
func (s *Server) outcome(ctx context.Context, c *conn, err error) error {
	switch {
	case err == nil:
		s.mu.Lock()
		s.failures, s.lastGood = 0, time.Now()
		s.mu.Unlock()
		return nil
	case ctx.Err() != nil && context.Cause(ctx) == ErrTimeout:
		err = ErrTimeout // the caller's own measure of what is in time
		s.failed(TimedOut)
	case ctx.Err() != nil || err == ErrEjected || err == ErrBusy || err == ErrClosed:
		// Says nothing about the server.
	case err == ErrTimeout:
		s.failed(TimedOut)
	case c != nil:
		s.failed(Failed)
	} // a dial that failed has said so itself
	return fmt.Errorf("%s: %w", s.addr, err)
}

// failed counts a failure, and ejects the server after too many.
func (s *Server) failed(e Event) {
	s.cfg.Event(e)
	s.mu.Lock()
	now := time.Now()
	if s.failures++; s.failures == 1 {
		s.failing = now
	}
	var drop []*conn
	eject := s.failures >= s.cfg.EjectAfter && now.Sub(s.failing) >= 2*s.cfg.PingTimeout && !s.ejected && !s.closed
	if eject {
		s.ejected = true
		drop, s.conns = s.conns, nil
	}
	s.mu.Unlock()
	for _, c := range drop {
		c.kill(ErrEjected)
	}
	if eject {
		s.cfg.Event(Ejected)
	}
}

// watch probes the server while it is ejected, pings it while it is idle, so
// that a hang is noticed by all who use it, and closes idle connections.
func (s *Server) watch() {
	wait := s.cfg.ProbeEvery
	for {
		// Jitter, so that the nodes do not all come at once.
		timer := time.NewTimer(wait - time.Duration(rand.Int64N(int64(wait)/4+1)))
		select {
		case <-s.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		s.mu.Lock()
		ejected := s.ejected
		idle := len(s.conns) > 0 && time.Since(s.lastGood) >= s.cfg.ProbeEvery
		s.mu.Unlock()
		switch {
		case ejected && s.probe():
			wait = s.cfg.ProbeEvery
			s.cfg.Event(Returned)
		case ejected:
			wait = min(2*wait, s.cfg.ProbeAtMost)
		default:
			wait = s.cfg.ProbeEvery
			if idle {
				s.Do(s.ctx, s.cfg.PingTimeout, []Op{{Kind: Touch}})
			}
			s.shrink()
		}
	}
}

// probe asks an ejected server on a connection of its own, which is kept if it answers.
func (s *Server) probe() bool {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.DialTimeout)
	defer cancel()
	nc, err := s.cfg.Dial(ctx, s.addr)
	if err != nil {
		return false
	}
	c := newConn(nc)
	s.tasks.Go(func() { c.run(); s.remove(c) })
	b := newBatch([]Op{{Kind: Touch}})
	c.offer(b)
	timer := time.NewTimer(s.cfg.PingTimeout)
	defer timer.Stop()
	ok := false
	select {
	case <-b.done:
		ok = b.err == nil
	case <-c.dead:
	case <-timer.C:
	case <-s.ctx.Done():
	}
	if !ok {
		c.kill(ErrEjected)
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.kill(ErrClosed)
		return false
	}
	s.ejected, s.failures, s.returned, s.lastGood = false, 0, time.Now(), time.Now()
	s.conns = append(s.conns, c)
	return true
}

// shrink closes one connection that has not been used for long, unless it is the last.
func (s *Server) shrink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) < 2 {
		return
	}
	for _, c := range s.conns {
		// Under mu nobody picks it, and who has picked it is counted or finds it dead.
		if c.waiting.Load() == 0 && time.Since(time.Unix(0, c.lastUsed.Load())) > s.cfg.IdleAfter {
			c.kill(ErrClosed)
			return
		}
	}
}
