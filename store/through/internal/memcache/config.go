package memcache

import (
	"context"
	"net"
	"time"
)

// Config says how a Server is talked to. The zero value of each field is its default.
type Config struct {
	// Dial connects; the default is TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// DialTimeout bounds one attempt to connect. The default is 1 s; those who
	// wait for it wait no longer than for anything else.
	DialTimeout time.Duration

	// MaxConns bounds the connections; the default is 8. A connection is added
	// when the least busy one has more than GrowAt batches waiting (default 2),
	// and taken away when it has not been used for IdleAfter (default 30 s).
	// One is kept.
	MaxConns  int
	GrowAt    int
	IdleAfter time.Duration

	// EjectAfter is how many failures in a row, with no answer between them
	// and over at least twice PingTimeout, eject the server: what many at once
	// suffer from one short stall is one failure. The default is 3.
	EjectAfter int

	// ProbeEvery is how often an ejected server is probed at first, and an
	// idle one asked whether it lives; ProbeAtMost is where the doubling ends.
	// The defaults are 250 ms and 1 s.
	ProbeEvery, ProbeAtMost time.Duration

	// PingTimeout is how long a probe waits for its answer. The default is 50 ms.
	PingTimeout time.Duration

	// Event, unless nil, is told what happens, from any goroutine. It must not block.
	Event func(Event)
}

// Event is something that happens to a server.
type Event uint8

// The events.
const (
	TimedOut Event = iota // a batch was not answered in time
	Failed                // a connection could not be made, or broke
	Ejected
	Returned
	Dialed // a connection was made
)

func (c Config) withDefaults() Config {
	if c.Dial == nil {
		d := new(net.Dialer)
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.DialTimeout, time.Second)
	def(&c.IdleAfter, 30*time.Second)
	def(&c.ProbeEvery, 250*time.Millisecond)
	def(&c.ProbeAtMost, time.Second)
	def(&c.PingTimeout, 50*time.Millisecond)
	if c.MaxConns == 0 {
		c.MaxConns = 8
	}
	if c.GrowAt == 0 {
		c.GrowAt = 2
	}
	if c.EjectAfter == 0 {
		c.EjectAfter = 3
	}
	if c.Event == nil {
		c.Event = func(Event) {}
	}
	return c
}
