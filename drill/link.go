package drill

import (
	"context"
	"net"
	"sync"
	"time"
)

// A link is what stands between two processes: connections to one address are passed on
// to another. It can be cut, so that nothing comes through and nobody is told, slowed
// down, and have its connections broken.
type link struct {
	listener net.Listener
	to       string
	tasks    sync.WaitGroup

	mu      sync.Mutex    // guards the following
	cut     chan struct{} // closed when it is mended; nil: it is whole
	rate    int           // bytes a second, in each direction; 0: as fast as it goes
	free    [2]time.Time  // when each direction may pass on more
	conns   map[net.Conn]bool
	stopped bool
}

func newLink(to string) (*link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &link{listener: l, to: to, conns: make(map[net.Conn]bool)}
	k.tasks.Go(k.accept)
	return k, nil
}

// addr is the address that stands for the other's.
func (k *link) addr() string { return k.listener.Addr().String() }

func (k *link) accept() {
	for {
		c, err := k.listener.Accept()
		if err != nil {
			return
		}
		k.tasks.Go(func() { k.pass(c) })
	}
}

// pass passes on what comes by one connection until one side closes it.
func (k *link) pass(from net.Conn) {
	defer from.Close()
	if !k.keep(from) {
		return
	}
	defer k.forget(from)
	if k.wait(0, 0) != nil { // who connects through a cut link gets no further
		return
	}
	to, err := net.DialTimeout("tcp", k.to, 5*time.Second)
	if err != nil {
		return
	}
	defer to.Close()
	if !k.keep(to) {
		return
	}
	defer k.forget(to)
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.copy(to, from, 0)
	}()
	k.copy(from, to, 1)
	<-done
}

// copy passes on one direction, and says at its end that there is no more.
func (k *link) copy(to, from net.Conn, direction int) {
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && k.wait(direction, n) != nil {
			break
		}
		if n > 0 {
			if _, e := to.Write(buf[:n]); e != nil {
				break
			}
		}
		if err != nil {
			if c, ok := to.(*net.TCPConn); ok && k.wait(direction, 0) == nil {
				c.CloseWrite()
			}
			return
		}
	}
	// Neither side can go on without the other.
	to.Close()
	from.Close()
}

// wait is until so many bytes may go on.
func (k *link) wait(direction, bytes int) error {
	for {
		k.mu.Lock()
		cut, until := k.cut, time.Time{}
		if k.rate > 0 && cut == nil {
			now := time.Now()
			if k.free[direction].Before(now) {
				k.free[direction] = now
			}
			until = k.free[direction].Add(time.Duration(bytes) * time.Second / time.Duration(k.rate))
			k.free[direction] = until
		}
		stopped := k.stopped
		k.mu.Unlock()
		switch {
		case stopped:
			return net.ErrClosed
		case cut != nil:
			<-cut
		case until.IsZero():
			return nil
		default:
			time.Sleep(time.Until(until))
			return nil
		}
	}
}

func (k *link) keep(c net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return false
	}
	k.conns[c] = true
	return true
}

func (k *link) forget(c net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, c)
}

// setCut lets nothing through any more, or all that has waited.
func (k *link) setCut(cut bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case cut && k.cut == nil:
		k.cut = make(chan struct{})
	case !cut && k.cut != nil:
		close(k.cut)
		k.cut = nil
	}
}

func (k *link) setRate(bytesPerSecond int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rate = bytesPerSecond
}

// reset breaks all connections.
func (k *link) reset() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.conns {
		if t, ok := c.(*net.TCPConn); ok {
			t.SetLinger(0)
		}
		c.Close()
	}
}

func (k *link) close() {
	k.listener.Close()
	k.mu.Lock()
	k.stopped = true
	k.mu.Unlock()
	k.setCut(false)
	k.reset()
	k.tasks.Wait()
}

// sleep waits, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
