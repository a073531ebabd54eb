package front

import (
	"context"
	"errors"
	"time"
)

// LingerFor changes Linger while it serves: for how long is known when the end has come.
func (s *Server) LingerFor(d time.Duration) {
	s.init()
	s.linger.Store(int64(d))
}

// Shutdown takes no more connections and lets what is held or being sent come
// to its end. Answers from now on end their connections. Those that are idle
// are kept for Linger: on a connection that is kept alive a request may be on
// its way, and to close it would lose that. When ctx ends first the rest is cut
// off, and its error returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.drain()
	s.accepts.Wait()
	s.seal()
	linger := time.NewTimer(time.Duration(s.linger.Load()))
	defer linger.Stop()
	select {
	case <-linger.C:
	case <-s.none:
	case <-ctx.Done():
	}
	s.closing.Store(true)
	for _, l := range s.all() {
		l.call(func() {
			l.each((*conn).endIdle)
		})
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
}

// seal says that no connection comes any more.
func (s *Server) seal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sealed {
		return
	}
	s.sealed = true
	if s.total == 0 {
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
	s.closing.Store(true) // what is idle from now on ends by itself
	cut := s.total
	s.mu.Unlock()
	for range cut {
		s.drop(dropCut)
	}
	s.cancel()
	for _, l := range s.all() {
		l.post(post{what: stop})
	}
	err := s.std.Close()
	s.accepts.Wait()
	s.tasks.Wait()
	for _, l := range s.all() {
		if l.poller != nil {
			l.poller.close()
		}
	}
	return err
}
