// Package blobs keeps the bytes of segments close: beside the store, in zones of
// memcached servers, each of which holds everything.
//
// What is kept is named by its digest and by nothing else, so it can never be
// out of date: there is no rule about who may write what when, and nothing to
// take back. A server that was away, was emptied, or answers with other bytes
// costs a read of another zone or of the store, and no more: whatever a server
// sends counts only if it has the digest that was asked for.
//
// A write goes to the store, and at the same time to every zone. A read goes to
// the local zone, else to the others, else to the store, and fills the zones that
// were asked and had nothing. Reads of the same bytes at once are the caller's to
// join. A server that fails or is late, and has answered nobody else meanwhile, is
// left alone from then on, and probed until it answers.
package blobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/live"
	"headwater/store"
)

// ErrOther is what Get returns where the store has other bytes than were asked
// for under the key: the item comes with it.
var ErrOther = errors.New("blobs: the store has other bytes")

// Config says how a Cache behaves. The zero value of each field but Zones is its default.
type Config struct {
	Zones []Zone // at least one
	Local string // the zone that is read first; the default is the first one

	// Timeout bounds what a zone may add to an operation, for each 4 MiB. The
	// default is 50 ms.
	Timeout time.Duration

	// MaxConns bounds the connections to each server. The default is 16.
	MaxConns int

	Dial    func(ctx context.Context, addr string) (net.Conn, error) // the default is TCP
	Log     *slog.Logger                                             // the default is silence
	Metrics prometheus.Registerer                                    // the default is none
}

func (c *Config) setDefaults() {
	if c.Timeout == 0 {
		c.Timeout = 50 * time.Millisecond
	}
	if c.MaxConns == 0 {
		c.MaxConns = 16
	}
	if c.Dial == nil {
		d := new(net.Dialer)
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Local == "" && len(c.Zones) > 0 {
		c.Local = c.Zones[0].Name
	}
}

// Validate returns an error that names the first impossible field.
func (c Config) Validate() error {
	c.setDefaults()
	switch {
	case c.Timeout < time.Millisecond:
		return fmt.Errorf("blobs: Timeout is %v, at least 1ms", c.Timeout)
	case c.MaxConns < 1:
		return fmt.Errorf("blobs: MaxConns is %d, at least 1", c.MaxConns)
	}
	return validZones(c.Zones, c.Local)
}

// Cache is the zones. A nil Cache keeps nothing: what is put goes to the store,
// and what is got comes from there. It is safe for concurrent use.
type Cache struct {
	cfg     Config
	zones   []*zone // the local one first
	metrics *metrics

	ctx    context.Context // of fills; ends with Close
	cancel context.CancelFunc
	fills  chan struct{} // one for each under way

	mu     sync.Mutex // guards the following
	closed bool
	tasks  sync.WaitGroup // Add under mu while not closed
}

// zone is a set of servers that holds everything once.
type zone struct {
	name    string
	servers []*server
}

const (
	maxBytes = 32 << 20 // of what is kept
	maxFills = 16       // at once; more are left for the next reader
	maxKeep  = 24 * time.Hour
)

// New returns a cache of the zones. Servers are connected to when they are first
// used, and may be down.
func New(cfg Config) (*Cache, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	c := &Cache{cfg: cfg, fills: make(chan struct{}, maxFills)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	for _, z := range cfg.Zones {
		own := &zone{name: z.Name}
		for _, addr := range z.Servers {
			own.servers = append(own.servers, newServer(c, z.Name, addr))
		}
		if z.Name == cfg.Local {
			c.zones = append([]*zone{own}, c.zones...)
		} else {
			c.zones = append(c.zones, own)
		}
	}
	c.metrics = newMetrics(c)
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("blobs: %w", err)
		}
	}
	return c, nil
}

// Close breaks off what is done on the side, and closes all connections. Calls
// under way end as if all servers were away.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	for _, z := range c.zones {
		for _, s := range z.servers {
			s.close()
		}
	}
	c.tasks.Wait()
}

// spawn runs f beside the calls, unless the cache is closed.
func (c *Cache) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.tasks.Go(f)
	}
	return !c.closed
}

// Put stores an item, whose value has the digest, and beside that writes the
// value to every zone. What it returns is what the store returned.
func (c *Cache) Put(ctx context.Context, st store.Store, r store.Record, item store.Item, d live.Digest) error {
	if c == nil || len(item.Value) > maxBytes {
		return st.Put(ctx, r, item)
	}
	// What comes to be in a zone and not in the store is asked for by nobody.
	beside, cancel := context.WithCancel(ctx)
	defer cancel()
	keep := keepFor(item)
	var zones sync.WaitGroup
	for _, z := range c.zones {
		zones.Go(func() { c.metrics.writes.of(z, z.server(d).put(beside, d, item.Value, keep)).Inc() })
	}
	err := st.Put(ctx, r, item)
	if err != nil {
		cancel()
	}
	stored := time.Now()
	zones.Wait()
	store.Trace(ctx, "zones", time.Since(stored))
	return err
}

// Get returns the item of a key with the bytes that have the digest, of that
// size. Where a zone has the bytes, the item has nothing beside key, value and
// size. The errors are those of the store, and ErrOther.
func (c *Cache) Get(ctx context.Context, st store.Store, r store.Record, key string, d live.Digest, size int64) (store.Item, error) {
	var lack []*zone
	if c != nil && size > 0 && size <= maxBytes {
		for _, z := range c.zones {
			value, left, out := z.server(d).get(ctx, d, size)
			if err := ctx.Err(); err != nil {
				return store.Item{}, fmt.Errorf("blobs: get %v, key %q: %w", r, key, err)
			}
			c.metrics.reads.of(z, out).Inc()
			switch out {
			case done:
				c.fill(lack, d, value, left)
				return store.Item{Key: key, Value: value, Size: size}, nil
			case missed, wrong:
				lack = append(lack, z)
			}
		}
		c.metrics.storeReads.Inc()
	}
	item, err := st.Get(ctx, r, key)
	if err != nil {
		return item, err
	}
	if DigestOf(ctx, item.Value) != d {
		return item, fmt.Errorf("%w: %v, key %q", ErrOther, r, key)
	}
	c.fill(lack, d, item.Value, keepFor(item))
	return item, nil
}

// fill puts bytes where they were missing, beside the call that found it.
func (c *Cache) fill(zones []*zone, d live.Digest, value []byte, keep time.Duration) {
	for _, z := range zones {
		out := dropped
		select {
		case c.fills <- struct{}{}:
			if c.spawn(func() {
				defer func() { <-c.fills }()
				c.metrics.fills.of(z, z.server(d).put(c.ctx, d, value, keep)).Inc()
			}) {
				continue
			}
			<-c.fills
		default:
		}
		c.metrics.fills.of(z, out).Inc()
	}
}

// keepFor is how long memcached is told to keep a value: it may throw it out before.
func keepFor(item store.Item) time.Duration {
	if item.Expires.IsZero() {
		return maxKeep
	}
	return min(time.Until(item.Expires), maxKeep)
}

// budget is how long a zone may take over so many bytes.
func (c *Cache) budget(n int64) time.Duration {
	return c.cfg.Timeout * time.Duration(1+n/(4<<20))
}

// server is where a zone has a digest's bytes: of all servers the one with the
// highest score, so that one more or one less moves only what is its own. One
// that is away keeps its place: what it has is still good when it returns.
func (z *zone) server(d live.Digest) *server {
	best, most := z.servers[0], uint64(0)
	for _, s := range z.servers {
		if score := s.score(d); score >= most {
			best, most = s, score
		}
	}
	return best
}
