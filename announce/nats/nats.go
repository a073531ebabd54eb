// Package nats carries announcements between origin nodes over NATS.
//
// Announcing never waits: a bounded queue takes the message, one goroutine
// sends what is in it, and while no server is reached it stays there. Delivery
// is at most once, and what is lost is found: messages carry a number per node
// and event, beats tell the last one, and a gap, a silence or a new connection
// makes the bus say announce.Missed to its subscribers, who look in the store.
//
// Subjects are headwater.announce.TENANT.EVENT.
package nats

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"headwater/announce"
	"headwater/live"
)

// Config is what a bus is built from. Zero values take the defaults.
type Config struct {
	// Servers are URLs like nats://host:4222 or tls://host:4222. Required; one
	// that is reached tells of the others of its cluster.
	Servers []string
	// Credentials is a file of NATS user credentials. Default: none.
	Credentials string
	// Prefix begins every subject. Default: headwater.
	Prefix string
	// Queue is how many messages wait while no server is reached; beyond it the
	// oldest are dropped. Default 8192.
	Queue int
	// Received is how many messages that arrived may wait for the subscribers.
	// Default 65536.
	Received int

	// Log is told of what an operator should know. Default: silence.
	Log *slog.Logger
	// Metrics registers the bus's counters. Default: a registry of its own.
	Metrics *prometheus.Registry
}

// Times that rule how soon a loss is found.
const (
	beatEvery    = time.Second      // after an event's last message its place is told so often
	beatFor      = 10 * time.Second // and for so long
	silentAfter  = 3 * time.Second  // a node that should beat and does not has gone
	pingEvery    = time.Second      // two pings without an answer end a connection
	maxPings     = 2
	dialTimeout  = 2 * time.Second
	writeTimeout = time.Second
	reconnectMin = 50 * time.Millisecond // between two rounds over the servers
	reconnectMax = 500 * time.Millisecond
	closeTimeout = time.Second
)

// maxReceivedBytes bounds the messages that wait for the subscribers.
const maxReceivedBytes = 64 << 20

// Validate says what cannot be.
func (c *Config) Validate() error {
	if len(c.Servers) == 0 {
		return errors.New("nats: no servers")
	}
	for _, s := range c.Servers {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" {
			return fmt.Errorf("nats: server %q is not nats://HOST:PORT or tls://HOST:PORT", s)
		}
		if u.User != nil {
			return errors.New("nats: credentials do not belong in an address, which is logged")
		}
	}
	for token := range strings.SplitSeq(c.Prefix, ".") {
		if !live.ValidName(token) {
			return fmt.Errorf("nats: prefix %q", c.Prefix)
		}
	}
	if c.Queue < 0 || c.Received < 0 {
		return errors.New("nats: a negative queue")
	}
	return nil
}

func (c *Config) setDefaults() {
	if c.Prefix == "" {
		c.Prefix = "headwater"
	}
	if c.Queue == 0 {
		c.Queue = 8192
	}
	if c.Received == 0 {
		c.Received = 64 << 10
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
}

// A Bus is an announce.Bus over NATS. Close ends it.
type Bus struct {
	cfg     Config
	log     *slog.Logger
	local   *announce.Local // the subscribers of this process
	conn    *client.Conn
	sub     *client.Subscription
	queue   *queue
	sent    *sentLog
	seen    *seenLog
	metrics *metrics

	closing chan struct{} // closed by Close
	close   sync.Once
	tasks   sync.WaitGroup

	told   sync.RWMutex // guards closed; held for reading while subscribers are told of others
	closed bool

	mu      sync.Mutex // guards the following
	since   time.Time  // when the connection was lost, or the bus made; zero while there is one
	lastErr error      // why
	dropped int        // messages that the client library dropped so far
}

var _ announce.Bus = (*Bus)(nil)

// New returns a bus at once, whether a server is reached or not; it tries for
// as long as it lives.
func New(cfg Config) (*Bus, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Bus{cfg: cfg, log: cfg.Log, local: announce.NewLocal(), queue: newQueue(cfg.Queue), sent: newSentLog(), seen: newSeenLog(),
		closing: make(chan struct{}), since: time.Now(), lastErr: errors.New("no server was reached yet")}
	b.metrics = newMetrics(cfg.Metrics, b)
	opts := []client.Option{
		client.Name("headwater " + rand.Text()[:8]),
		client.NoEcho(), // subscribers here are told at once
		client.NoCallbacksAfterClientClose(),
		client.RetryOnFailedConnect(true), client.MaxReconnects(-1),
		client.CustomReconnectDelay(reconnectDelay),
		client.ReconnectBufSize(-1), // what waits, waits in our queue
		client.Timeout(dialTimeout), client.FlusherTimeout(writeTimeout),
		client.PingInterval(pingEvery), client.MaxPingsOutstanding(maxPings),
		client.ConnectHandler(func(nc *client.Conn) { b.connected(nc, false) }),
		client.ReconnectHandler(func(nc *client.Conn) { b.connected(nc, true) }),
		client.DisconnectErrHandler(func(_ *client.Conn, err error) { b.disconnected(err) }),
		client.ErrorHandler(func(_ *client.Conn, _ *client.Subscription, err error) { b.failed(err) }),
	}
	if cfg.Credentials != "" {
		opts = append(opts, client.UserCredentials(cfg.Credentials))
	}
	var err error
	if b.conn, err = client.Connect(strings.Join(cfg.Servers, ","), opts...); err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	if b.sub, err = b.conn.Subscribe(cfg.Prefix+".announce.>", b.receive); err == nil {
		err = b.sub.SetPendingLimits(cfg.Received, maxReceivedBytes)
	}
	if err != nil {
		b.conn.Close()
		return nil, fmt.Errorf("nats: subscribing: %w", err)
	}
	b.tasks.Go(b.send)
	b.tasks.Go(b.beat)
	return b, nil
}

// reconnectDelay is how long to wait before the servers are tried once more:
// longer each time, and never the same for all nodes.
func reconnectDelay(attempts int) time.Duration {
	d := min(reconnectMin<<min(max(attempts-1, 0), 10), reconnectMax)
	return d/2 + randomUpTo(d/2)
}

func (b *Bus) subject(id live.EventID) string {
	return b.cfg.Prefix + ".announce." + id.Tenant + "." + id.Name
}

// Announce tells the subscribers here, and queues the message for the others.
func (b *Bus) Announce(m announce.Message) error {
	_ = b.local.Announce(m) // it never fails
	select {
	case <-b.closing:
		b.metrics.dropped[dropClosed].Inc()
		return announce.ErrClosed
	default:
	}
	err := b.sent.next(m, func(w announce.Wire) error {
		data, err := announce.Encode(w)
		if err != nil {
			b.metrics.dropped[dropInvalid].Inc()
			return err
		}
		if b.queue.put(packet{b.subject(m.Event), data}) {
			b.metrics.dropped[dropFull].Inc()
			return fmt.Errorf("%w: the oldest of %d that wait", announce.ErrDropped, b.cfg.Queue)
		}
		return nil
	})
	return err
}

// Subscribe adds a subscriber, and tells it that it missed what was before.
func (b *Bus) Subscribe(f func(announce.Message)) (cancel func()) {
	cancel = b.local.Subscribe(f)
	f(announce.Message{Kind: announce.Missed, Since: time.Now()})
	return cancel
}

// Health says since when no server is reached.
func (b *Bus) Health() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.since.IsZero() {
		return nil
	}
	return fmt.Errorf("nats: no connection for %v: %w", time.Since(b.since).Round(time.Millisecond), b.lastErr)
}

// Close sends what waits, for up to a second, and ends the bus. Subscribers
// get nothing after it.
func (b *Bus) Close() error {
	err := announce.ErrClosed
	b.close.Do(func() {
		close(b.closing)
		b.tasks.Wait() // the sender empties the queue
		if err = b.sub.Unsubscribe(); errors.Is(err, client.ErrConnectionClosed) {
			err = nil
		}
		b.conn.Close()
		b.told.Lock() // what is being told is told
		b.closed = true
		b.told.Unlock()
	})
	return err
}
