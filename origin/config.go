package origin

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/access"
	"headwater/admit"
	"headwater/announce"
	"headwater/blobs"
	"headwater/budget"
	"headwater/clock"
	"headwater/store"
)

// Config is what an origin is built from. Zero values take the defaults.
type Config struct {
	// Clock says what time it is. Default: one by the system's clock.
	Clock *clock.Clock
	// Store keeps segments and events. Required; the origin does not close it.
	Store store.Store
	// DeliverStore is another client of the same store, for delivery alone:
	// then nothing that publishing waits for in Store is waited for behind a
	// reader. The origin does not close it. Default: Store.
	DeliverStore store.Store
	// Cache and DeliverCache keep segments' bytes close to Store and to
	// DeliverStore. The origin does not close them. Default: nothing is kept.
	Cache, DeliverCache *blobs.Cache
	// Bus carries announcements. Default: within this process.
	Bus announce.Bus
	// Region is what Live-Pipeline says answered. Default: the pipeline's own.
	Region string
	// Access knows who may publish, control, and fill. Default: everybody may do
	// everything.
	Access *access.Guard
	// Private says that only who has the right to fill may read events at all; of
	// events that want tokens of viewers that is so where there is Access.
	Private bool
	// ControlHosts are the names under which the control listener is reached,
	// besides addresses and names without a dot. Requests without a secret in the
	// header are refused under any other.
	ControlHosts []string

	// MaxSegmentBytes bounds one body. Default 32 MiB, at most 64 MiB.
	MaxSegmentBytes int64
	// PublishBytes bounds all bodies being read at once. Default 1 GiB.
	PublishBytes int64
	// BodyTimeout is how long a body may bring no byte; see bodyUntil for how long
	// it may take altogether. Default 10 s.
	BodyTimeout time.Duration
	// StoreTimeout bounds one store operation, and one change of an event.
	// Default 2 s, the retry budget.
	StoreTimeout time.Duration
	// FutureTolerance is how far a packager's clock may be ahead. Default 30 s.
	FutureTolerance time.Duration

	// Turns are those in which delivery works; listen.Limits has connections write in
	// them, too. They should be fewer than Go's threads: then who publishes finds one
	// free however many read. Default: as many turns as threads.
	Turns *admit.Turns
	// Budget is what the process may take of memory: bodies, and segments from the store,
	// for which there is no room are refused. Default: no bound.
	Budget *budget.Budget
	// MemoryBytes is the window of newest segments kept in memory. Default 256 MiB.
	MemoryBytes int64
	// MaxHolds bounds the requests held at once: those for event.json?after= to
	// half of it. Default 100,000.
	MaxHolds int64
	// MaxReads bounds the store reads under way for delivery: those of the DVR
	// window to three quarters of it. Default 256.
	MaxReads int64
	// EgressBytes bounds the segments being sent at once, each counted once and 256 KiB
	// for each further client of it; those of the DVR window
	// to three quarters of it. Default 2 GiB.
	EgressBytes int64
	// TenantPercent bounds what one tenant may take of MaxHolds, MaxReads,
	// EgressBytes and PublishBytes. Default 50; 100 is all of it.
	TenantPercent int
	// TenantEvents and TenantRenditions bound what one tenant may have configured, of
	// all its events. Default 1,000 each.
	TenantEvents, TenantRenditions int
	// TenantRate bounds what one tenant may publish in a second at this node, in bytes;
	// as much may come at once. Default 256 MiB.
	TenantRate int64
	// TenantBytes bounds the segments of one tenant that are stored, of all its
	// pipelines. Default 0: no bound.
	TenantBytes int64
	// Late is how late the process runs, as admit.Lateness says. Default: nobody knows.
	Late func() time.Duration
	// Connections is how near the connections of delivery are to their bound, 1
	// being where lower classes are shed. Default: they have none.
	Connections func() float64
	// ReadTarget is how long a store read for delivery should take at most.
	// Where many take longer, readers of the DVR window are shed. Default 500 ms.
	ReadTarget time.Duration
	// Fallback are delivery URLs of origins in other regions, like
	// http://host:7002, in order. They are asked for a segment that the store
	// does not have although it was announced, or that it takes longer than
	// FallbackAfter to bring. Default: none.
	Fallback []string
	// FallbackAfter: see Fallback. Default 300 ms.
	FallbackAfter time.Duration
	// GuardInterval is how often a held segment is looked for in the store, in
	// case an announcement was lost. Default 500 ms.
	GuardInterval time.Duration

	// Log is told what an operator should know. Default: silence.
	Log *slog.Logger
	// Metrics registers the origin's counters. Default: a registry of its own.
	Metrics *prometheus.Registry
}

func (c *Config) setDefaults() {
	def(&c.MaxSegmentBytes, 32<<20)
	def(&c.PublishBytes, 1<<30)
	def(&c.BodyTimeout, 10*time.Second)
	def(&c.StoreTimeout, 2*time.Second)
	def(&c.FutureTolerance, 30*time.Second)
	def(&c.MemoryBytes, 256<<20)
	def(&c.MaxHolds, 100_000)
	def(&c.MaxReads, 256)
	def(&c.EgressBytes, 2<<30)
	def(&c.TenantPercent, 50)
	def(&c.TenantEvents, 1000)
	def(&c.TenantRenditions, 1000)
	def(&c.TenantRate, 256<<20)
	def(&c.ReadTarget, 500*time.Millisecond)
	def(&c.FallbackAfter, 300*time.Millisecond)
	def(&c.GuardInterval, 500*time.Millisecond)
	if c.Clock == nil {
		c.Clock = clock.New(clock.Config{Log: c.Log})
	}
	if c.DeliverStore == nil {
		c.DeliverStore = c.Store
	}
	if c.Bus == nil {
		c.Bus = announce.NewLocal()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Turns == nil {
		c.Turns = admit.NewTurns(runtime.GOMAXPROCS(0), 2*time.Millisecond)
	}
	if c.Connections == nil {
		c.Connections = func() float64 { return 0 }
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Validate says what cannot be. Defaults count as set.
func (c *Config) Validate() error {
	if c.Store == nil {
		return errors.New("origin: no store")
	}
	if c.MaxSegmentBytes < 0 || c.MaxSegmentBytes > store.MaxValueBytes {
		return fmt.Errorf("origin: MaxSegmentBytes: %d is outside 1 to %d", c.MaxSegmentBytes, store.MaxValueBytes)
	}
	for _, f := range []struct {
		name string
		v    int64
	}{
		{"PublishBytes", c.PublishBytes}, {"BodyTimeout", int64(c.BodyTimeout)}, {"StoreTimeout", int64(c.StoreTimeout)},
		{"FutureTolerance", int64(c.FutureTolerance)}, {"MemoryBytes", c.MemoryBytes}, {"MaxHolds", c.MaxHolds},
		{"MaxReads", c.MaxReads}, {"GuardInterval", int64(c.GuardInterval)},
		{"EgressBytes", c.EgressBytes}, {"TenantPercent", int64(c.TenantPercent)},
		{"TenantEvents", int64(c.TenantEvents)}, {"TenantRenditions", int64(c.TenantRenditions)}, {"TenantRate", c.TenantRate}, {"TenantBytes", c.TenantBytes}, {"ReadTarget", int64(c.ReadTarget)}, {"FallbackAfter", int64(c.FallbackAfter)},
	} {
		if f.v < 0 {
			return fmt.Errorf("origin: %s is negative", f.name)
		}
	}
	if c.PublishBytes < c.MaxSegmentBytes {
		return fmt.Errorf("origin: PublishBytes: %d is less than MaxSegmentBytes, %d: such a segment could never be read", c.PublishBytes, c.MaxSegmentBytes)
	}
	if c.TenantPercent > 100 {
		return fmt.Errorf("origin: TenantPercent: %d is more than all", c.TenantPercent)
	}
	if share := c.PublishBytes * int64(c.TenantPercent) / 100; share < c.MaxSegmentBytes {
		return fmt.Errorf("origin: TenantPercent: %d%% of PublishBytes is less than MaxSegmentBytes, %d: such a segment could never be read", c.TenantPercent, c.MaxSegmentBytes)
	}
	if share := c.EgressBytes * int64(c.TenantPercent) / 100 * 3 / 4; share < c.MaxSegmentBytes {
		return fmt.Errorf("origin: EgressBytes: %d is too little to send MaxSegmentBytes, %d, of the DVR window", c.EgressBytes, c.MaxSegmentBytes)
	}
	for _, base := range c.Fallback {
		u, err := url.Parse(base)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
			return fmt.Errorf("origin: Fallback: %q is not http://HOST:PORT", base)
		}
	}
	return nil
}
