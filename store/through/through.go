// Package through is a write-through cache in front of any store: zones of
// memcached servers, each of which holds everything. A write goes to the store
// and to every zone, a read to the local zone, then to the others, then to the
// store, and fills what missed. Only the media namespace is cached.
//
// # What is where
//
// An item's value is split into chunks below memcached's limit. A chunk's key
// has the item's token in it, so a chunk never changes and can never be stale.
// What can be stale is the entry, the small item that names the token: all care
// goes into entries.
//
// Three items of one server decide whether an entry counts, and are read in one
// round trip: the server's generation, made by chance whenever there is none;
// the record's mark, whose CAS number changes with every range delete; and the
// entry itself, which repeats both as they were when it was made. An entry of
// another generation or mark is as good as none. So a server that was emptied,
// or that has lost a part, has lost it for good.
//
// # Rules
//
//   - An entry is only ever set by CAS, against what was there before its value
//     was known to be the newest: before the store was read, or before the
//     write began. Whatever happens to the key in between makes it fail, a
//     request that comes late included.
//   - An acknowledged mutation has, at every server that answered in time, left
//     an entry of its own token or newer: the item itself, or a fence, which
//     says only that what is older is not to be believed.
//   - A mutation that a server did not answer is owed to it, and told as soon
//     as it answers; a server that is owed too much gets a new generation
//     instead. Meanwhile this process believes no zone that says otherwise.
//   - An entry is believed for Config.FreshFor after it was known to be the
//     newest, then its token is compared with the store's.
//
// # What a reader sees
//
// On the process that wrote: its own acknowledged writes and deletes, always,
// whatever happens to the caches. On others: every mutation that all zones
// answered, as soon as it is acknowledged. Where a server did not answer (it
// hung, or was cut off from the writer and not from the reader), others may
// find there what was before, until it is told, which is tried at once and then
// every second, and at most for FreshFor. A server that was ejected is not
// believed until Config.Rejoin after its return, so that all who owe it
// something can tell it first. A Get that joins one that is under way sees what
// was there when that one began.
package through

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"headwater/store"
	"headwater/store/through/internal/memcache"
)

// Zone is a set of memcached servers that holds everything once.
type Zone struct {
	Name    string
	Servers []string // host:port, written the same on every node: keys are placed by the names
}

// Config says how a Store behaves. The zero value of each field but Zones is its default.
type Config struct {
	Zones []Zone // at least one
	Local string // the zone that is read first; the default is the first one

	// Timeout bounds what a zone may add to an operation, for each 4 MiB of a
	// value. The default is 50 ms.
	Timeout time.Duration

	// FreshFor is how long an entry is believed without asking the store. The
	// default is 1 minute.
	FreshFor time.Duration

	// Settle is how long a server must have its generation before a write puts
	// its item there; before, it only leaves a fence. It covers the difference
	// between the clocks of the nodes. The default is 5 s; negative is none.
	Settle time.Duration

	// Rejoin is how long a server that was ejected is not believed after its
	// return. The default is 1.5 s; negative is none.
	Rejoin time.Duration

	// ReadTimeout bounds one read of the store on behalf of all who wait for
	// it. The default is 30 s.
	ReadTimeout time.Duration

	// ChunkBytes is the size of a chunk, from 1 KiB to 1,000,000 bytes; the default is 256 KiB.
	// MaxItemBytes is the largest value that is cached; the default is 32 MiB.
	ChunkBytes, MaxItemBytes int

	// MaxConns bounds the connections to each server. The default is 8, the least 1.
	MaxConns int

	// Prefix is what all keys begin with: it tells installations apart that
	// share servers. The default is "hw".
	Prefix string

	Dial func(ctx context.Context, addr string) (net.Conn, error) // the default is TCP
	Log  *slog.Logger                                             // the default is silence
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Timeout, 50*time.Millisecond)
	def(&c.FreshFor, time.Minute)
	def(&c.Settle, 5*time.Second)
	def(&c.Rejoin, 1500*time.Millisecond)
	def(&c.ReadTimeout, 30*time.Second)
	if c.ChunkBytes == 0 {
		c.ChunkBytes = 256 << 10
	}
	if c.MaxItemBytes == 0 {
		c.MaxItemBytes = 32 << 20
	}
	if c.MaxConns == 0 {
		c.MaxConns = 8
	}
	if c.Prefix == "" {
		c.Prefix = "hw"
	}
	if c.Local == "" && len(c.Zones) > 0 {
		c.Local = c.Zones[0].Name
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate returns an error that names the first impossible field.
func (c Config) Validate() error {
	c = c.withDefaults()
	if err := validZones(c.Zones, c.Local); err != nil {
		return err
	}
	switch {
	case c.Timeout < time.Millisecond:
		return fmt.Errorf("through: Timeout is %v, at least 1ms", c.Timeout)
	case c.FreshFor < time.Second:
		return fmt.Errorf("through: FreshFor is %v, at least 1s", c.FreshFor)
	case c.ReadTimeout < time.Millisecond:
		return fmt.Errorf("through: ReadTimeout is %v, at least 1ms", c.ReadTimeout)
	case c.ChunkBytes < 1<<10 || c.ChunkBytes > 1_000_000:
		return fmt.Errorf("through: ChunkBytes is %d, 1024 to 1000000", c.ChunkBytes)
	case c.MaxItemBytes < 0 || c.MaxItemBytes > store.MaxValueBytes:
		return fmt.Errorf("through: MaxItemBytes is %d, at most %d", c.MaxItemBytes, store.MaxValueBytes)
	case c.MaxConns < 1:
		return fmt.Errorf("through: MaxConns is %d, at least 1", c.MaxConns)
	case len(c.Prefix) > 32 || !printable(c.Prefix):
		return fmt.Errorf("through: Prefix %q is not 1 to 32 printable ASCII characters", c.Prefix)
	}
	return nil
}

// Store implements store.Store and store.Opener. Lock order: mu, then node.mu;
// no I/O under either.
type Store struct {
	below store.Store
	cfg   Config
	zones []*zone // the local one first
	count counters

	doubts doubts

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // flights, repairs, fences
	ops    sync.WaitGroup // calls under way; Add only under mu

	mu      sync.Mutex
	closed  bool           // guarded by mu
	flights map[id]*flight // guarded by mu
}

// New returns s behind the zones. They are connected to when they are first
// used, and may be down. The Store closes s when it is closed.
func New(s store.Store, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t := &Store{below: s, cfg: cfg.withDefaults(), flights: make(map[id]*flight)}
	t.doubts.freshFor = t.cfg.FreshFor
	t.ctx, t.cancel = context.WithCancel(context.Background())
	for _, z := range t.cfg.Zones {
		if z.Name == t.cfg.Local {
			t.zones = append([]*zone{t.newZone(z)}, t.zones...)
		} else {
			t.zones = append(t.zones, t.newZone(z))
		}
	}
	for _, z := range t.zones {
		for _, n := range z.nodes {
			t.tasks.Go(func() { n.repair(t.ctx) })
		}
	}
	return t, nil
}

// enter begins a call; leave it with ops.Done.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	s.ops.Add(1)
	return nil
}

// Close waits for calls under way, breaks off what is done on the side, and
// closes the store below.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("through: close: %w", store.ErrClosed)
	}
	s.closed = true
	s.mu.Unlock()
	s.ops.Wait()
	s.cancel()
	s.tasks.Wait()
	for _, z := range s.zones {
		for _, n := range z.nodes {
			n.srv.Close()
		}
	}
	return s.below.Close()
}

// Scan passes to the store: a page is made of what is, not of what is cached.
func (s *Store) Scan(ctx context.Context, r store.Record, opt store.ScanOptions) (store.Page, error) {
	if err := s.enter(ctx); err != nil {
		return store.Page{}, fmt.Errorf("through: scan %v: %w", r, err)
	}
	defer s.ops.Done()
	return s.below.Scan(ctx, r, opt)
}

// cached reports whether the cache has to do with a record.
func cached(r store.Record) bool { return r.Namespace == store.Media && r.Validate() == nil }

// budget is how long a zone may take over a value of n bytes.
func (s *Store) budget(n int) time.Duration { return s.cfg.Timeout * time.Duration(1+n/(4<<20)) }

// newZone returns a zone without its repairs begun.
func (s *Store) newZone(z Zone) *zone {
	out := &zone{name: z.Name, s: s}
	for _, addr := range z.Servers {
		n := &node{zone: out, addr: addr, wake: make(chan struct{}, 1), owed: make(map[string]debt)}
		n.srv = memcache.NewServer(addr, memcache.Config{
			Dial: s.cfg.Dial, MaxConns: s.cfg.MaxConns, PingTimeout: s.cfg.Timeout, Event: n.event,
		})
		out.nodes = append(out.nodes, n)
	}
	out.place()
	return out
}

// definite reports whether an error of a mutation says that it has had no effect.
func definite(err error) bool {
	for _, e := range []error{store.ErrInvalid, store.ErrTooLarge, store.ErrTokenDrift, store.ErrFull, store.ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
