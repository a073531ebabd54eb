package blobs

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"headwater/live"
)

// server is one memcached. An exchange has a connection to itself, so that its
// end, in time or not, is the end of all use of the caller's bytes.
type server struct {
	c    *Cache
	zone string
	addr string
	seed uint64
	busy chan struct{} // one for each connection in use

	mu       sync.Mutex // guards the following
	idle     []*conn
	open     int // connections, idle or in use
	down     bool
	closed   bool
	lastGood time.Time     // when an exchange last ended well
	pause    time.Duration // before the next probe
}

// How long a server is left alone: longer each time, unless an exchange ended
// well between.
const (
	firstPause = 25 * time.Millisecond
	mostPause  = 2 * time.Second
	probeTime  = time.Second // for one probe to connect
)

func newServer(c *Cache, zone, addr string) *server {
	h := fnv.New64a()
	h.Write([]byte(addr))
	return &server{c: c, zone: zone, addr: addr, seed: h.Sum64(), busy: make(chan struct{}, c.cfg.MaxConns), pause: firstPause}
}

// score orders the servers of a zone for a digest.
func (s *server) score(d live.Digest) uint64 {
	x := binary.BigEndian.Uint64(d[:]) ^ s.seed
	x ^= x >> 33 // mixes all bits into all (the finalizer of MurmurHash3)
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// get reads the bytes of a digest, and how long they will be kept.
func (s *server) get(ctx context.Context, d live.Digest, size int64) (value []byte, left time.Duration, out outcome) {
	out = s.exchange(ctx, size, func(c *conn) (outcome, error) {
		var found bool
		var err error
		value, left, found, err = c.get(d, int(size))
		if err != nil || !found {
			return missed, err
		}
		return done, nil
	})
	if out != done {
		return nil, 0, out
	}
	s.c.metrics.read.WithLabelValues(s.zone).Add(float64(size))
	if DigestOf(ctx, value) != d {
		return nil, 0, wrong
	}
	return value, left, done
}

// put writes the bytes of a digest.
func (s *server) put(ctx context.Context, d live.Digest, value []byte, keep time.Duration) outcome {
	if keep <= 0 || len(value) == 0 {
		return dropped
	}
	return s.exchange(ctx, int64(len(value)), func(c *conn) (outcome, error) {
		stored, err := c.set(d, value, keep)
		if err != nil || !stored {
			return refused, err
		}
		s.c.metrics.written.WithLabelValues(s.zone).Add(float64(len(value)))
		return done, nil
	})
}

// exchange runs f with a connection, in the time that so many bytes have. f may
// be run again, if a connection had died while nobody used it.
func (s *server) exchange(ctx context.Context, n int64, f func(*conn) (outcome, error)) outcome {
	if _, up := s.state(); !up {
		return away
	}
	began := time.Now()
	own, cancel := context.WithTimeout(ctx, s.c.budget(n))
	defer cancel()
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	default:
		select {
		case s.busy <- struct{}{}:
			defer func() { <-s.busy }()
		case <-own.Done():
			if ctx.Err() != nil {
				return unwanted
			}
			return busy
		}
	}
	for {
		c, used, err := s.take(own)
		out := failed
		if err == nil {
			out, err = c.within(own, f)
			s.give(c, err == nil && !c.spent)
		}
		switch {
		case err == nil:
			return out
		case ctx.Err() != nil:
			return unwanted // which says nothing of the server
		case own.Err() != nil:
			s.fail(began, late, err)
			return late
		case !used:
			s.fail(began, failed, err)
			return failed
		}
		s.forget() // the others have died with it
	}
}

// take returns an idle connection, or makes one.
func (s *server) take(ctx context.Context) (c *conn, used bool, err error) {
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		c, s.idle = s.idle[n-1], s.idle[:n-1]
	}
	s.mu.Unlock()
	if c != nil {
		return c, true, nil
	}
	nc, err := s.c.cfg.Dial(ctx, s.addr)
	if err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	s.open++
	s.mu.Unlock()
	return newConn(nc), false, nil
}

// give takes a connection back, unless it is of no more use.
func (s *server) give(c *conn, good bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if good {
		s.lastGood, s.pause = time.Now(), firstPause
	}
	if good && !s.closed && !s.down {
		s.idle = append(s.idle, c)
		return
	}
	s.open--
	c.Close()
}

// forget closes what is idle.
func (s *server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked()
}

func (s *server) forgetLocked() {
	s.open -= len(s.idle)
	for _, c := range s.idle {
		c.Close()
	}
	s.idle = nil
}

// fail leaves the server alone, and has it probed, after an exchange that began
// then: unless another one ended well since, so that one in a crowd which is too
// slow does not send all to the store.
func (s *server) fail(began time.Time, out outcome, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down || s.closed || s.lastGood.After(began) || !s.c.spawn(s.probe) {
		return
	}
	s.down = true
	s.forgetLocked()
	s.c.metrics.ejections.WithLabelValues(s.zone).Inc()
	s.c.cfg.Log.Warn("cache server left alone", "zone", s.zone, "server", s.addr, "outcome", out.String(), "err", err)
}

// probe asks the server until it answers. Only one does.
func (s *server) probe() {
	for {
		s.mu.Lock()
		wait := s.pause
		s.pause = min(2*s.pause, mostPause)
		s.mu.Unlock()
		// Not all nodes at once.
		timer := time.NewTimer(wait - rand.N(wait/4))
		select {
		case <-timer.C:
		case <-s.c.ctx.Done():
			timer.Stop()
			return
		}
		if s.answers() {
			break
		}
	}
	s.mu.Lock()
	s.down = false
	s.mu.Unlock()
	s.c.metrics.returns.WithLabelValues(s.zone).Inc()
	s.c.cfg.Log.Info("cache server is back", "zone", s.zone, "server", s.addr)
}

func (s *server) answers() bool {
	ctx, cancel := context.WithTimeout(s.c.ctx, probeTime)
	defer cancel()
	nc, err := s.c.cfg.Dial(ctx, s.addr)
	if err != nil {
		return false
	}
	defer nc.Close()
	ctx, cancel = context.WithTimeout(ctx, s.c.cfg.Timeout)
	defer cancel()
	_, err = newConn(nc).within(ctx, func(c *conn) (outcome, error) { return done, c.ping() })
	return err == nil
}

// state returns how many connections there are, and whether the server is used.
func (s *server) state() (conns int, up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open, !s.down && !s.closed
}

func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.forgetLocked()
}
