package memcache

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// batch is commands that go out together. Its fields but state and released
// belong to the connection until done is closed.
type batch struct {
	ops  []Op
	size int           // of the values that are sent, in bytes
	done chan struct{} // closed when all is answered, or err is set
	err  error

	state    state         // guarded by conn.mu
	released chan struct{} // closed when the values are looked at no more
}

type state uint8

const (
	queued state = iota
	sending
	sent
	canceled
)

func newBatch(ops []Op) *batch {
	b := &batch{ops: ops, done: make(chan struct{}), released: make(chan struct{})}
	for i := range ops {
		b.size += len(ops[i].Value)
	}
	return b
}

// maxWaiting is how many batches a connection takes at once.
const maxWaiting = 128

// conn is a connection. One goroutine sends, one receives; both end when it is
// dead, and its owner waits for them.
type conn struct {
	nc   net.Conn
	dead chan struct{} // closed by kill
	once sync.Once
	err  error // set before dead is closed

	waiting  atomic.Int64 // batches not yet answered
	lastUsed atomic.Int64 // Unix nanoseconds

	sendq chan *batch

	mu      sync.Mutex
	pending []*batch // sent, or being sent, and not answered; guarded by mu
}

func newConn(nc net.Conn) *conn {
	c := &conn{nc: nc, dead: make(chan struct{}), sendq: make(chan *batch, maxWaiting)}
	c.lastUsed.Store(time.Now().UnixNano())
	return c
}

func (c *conn) kill(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.dead)
		c.nc.Close()
	})
}

// offer queues a batch unless the connection is dead or has too many.
func (c *conn) offer(b *batch) bool {
	select {
	case <-c.dead:
		return false
	default:
	}
	if c.waiting.Add(1) > maxWaiting {
		c.waiting.Add(-1)
		return false
	}
	c.lastUsed.Store(time.Now().UnixNano())
	c.sendq <- b // never blocks: it has room for as many as may wait
	return true
}

// finish tells the batch's owner. Only the goroutines of the connection call it.
func (c *conn) finish(b *batch, err error) {
	c.waiting.Add(-1)
	b.err = err
	close(b.done)
}

// cancel gives up on the batch: when it returns nobody looks at the values.
func (c *conn) cancel(b *batch) {
	c.mu.Lock()
	was := b.state
	if was == queued {
		b.state = canceled
	}
	c.mu.Unlock()
	if was == sending && b.size > 0 {
		// The server does not take the bytes, which are the caller's again
		// from now on: half a command is the end of a connection.
		c.kill(fmt.Errorf("%w: the server does not read", ErrTimeout))
		<-b.released
	}
}

// send writes batches until the connection is dead, and then fails the rest.
func (c *conn) send() {
	var scratch []byte
	for {
		select {
		case <-c.dead:
			c.drain()
			return
		case b := <-c.sendq:
			c.mu.Lock()
			if b.state == canceled {
				c.mu.Unlock()
				close(b.released)
				c.finish(b, ErrTimeout)
				continue
			}
			b.state = sending
			c.pending = append(c.pending, b)
			c.mu.Unlock()
			var err error
			scratch, err = c.write(b, scratch)
			c.mu.Lock()
			b.state = sent
			c.mu.Unlock()
			close(b.released)
			if err != nil {
				c.kill(err)
			}
		}
	}
}

// copyUpTo is the size of a value that is cheaper to copy than to send apart.
const copyUpTo = 4 << 10

func (c *conn) write(b *batch, scratch []byte) ([]byte, error) {
	scratch = scratch[:0]
	var ends []int // of the parts of scratch that large values follow
	for i := range b.ops {
		op := &b.ops[i]
		scratch = op.appendHead(scratch)
		if op.Kind != Set {
			continue
		}
		if len(op.Value) <= copyUpTo {
			scratch = append(scratch, op.Value...)
		} else {
			ends = append(ends, len(scratch))
		}
		scratch = append(scratch, "\r\n"...)
	}
	if len(ends) == 0 {
		_, err := c.nc.Write(scratch)
		return scratch, err
	}
	parts := make(net.Buffers, 0, 2*len(ends)+1)
	from, n := 0, 0
	for i := range b.ops {
		if op := &b.ops[i]; op.Kind == Set && len(op.Value) > copyUpTo {
			parts = append(parts, scratch[from:ends[n]], op.Value)
			from = ends[n]
			n++
		}
	}
	parts = append(parts, scratch[from:])
	_, err := parts.WriteTo(c.nc)
	return scratch, err
}

// drain fails what waits after the connection has died. Both goroutines have
// left the batches alone by then: receive has ended before.
func (c *conn) drain() {
	for {
		select {
		case b := <-c.sendq:
			close(b.released)
			c.finish(b, c.err)
		default:
			return
		}
	}
}

// receive reads answers until the connection is dead, and then fails what was sent.
func (c *conn) receive() {
	r := bufio.NewReaderSize(c.nc, 32<<10)
	for {
		if _, err := r.Peek(1); err != nil {
			c.kill(err)
			break
		}
		c.mu.Lock()
		var b *batch
		if len(c.pending) > 0 {
			b = c.pending[0]
		}
		c.mu.Unlock()
		if b == nil {
			c.kill(fmt.Errorf("%w: nothing was asked", errReply))
			break
		}
		var err error
		for i := range b.ops {
			if err = b.ops[i].readReply(r); err != nil {
				break
			}
		}
		if err != nil {
			c.kill(err)
			break
		}
		c.mu.Lock()
		c.pending[0] = nil
		c.pending = c.pending[1:]
		c.mu.Unlock()
		c.finish(b, nil)
	}
}

// run sends and receives until the connection is dead; no batch is left waiting.
func (c *conn) run() {
	var wg sync.WaitGroup
	wg.Go(c.receive)
	c.send()
	wg.Wait()
	c.mu.Lock()
	pending := c.pending
	c.pending = nil
	c.mu.Unlock()
	for _, b := range pending {
		c.finish(b, c.err)
	}
	c.drain()
}
