package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/live"
)

// Config is what an edge is built from. Zero values take the defaults.
type Config struct {
	// Parents are the base URLs of what the edge fills from, in order of
	// preference: origins or other edges. At least one.
	Parents []string
	// Name is what Cache-Status and CDN-Loop call this node. Default "headwater".
	Name string
	// MemoryBytes bounds the objects kept. Default 1 GiB.
	MemoryBytes int64
	// Disk is a directory for what does not fit in memory, which is there after
	// a restart. Default: none.
	Disk string
	// DiskBytes bounds what is kept there. Default 10 GiB.
	DiskBytes int64
	// MaxObjectBytes bounds one object. Default 64 MiB.
	MaxObjectBytes int64
	// MaxEvents bounds the events known, and the unknown ones remembered. Default 10,000.
	MaxEvents int
	// EventIdle is how long an event nobody asks for is followed. Default 5 min.
	EventIdle time.Duration
	// WriteTimeout is how long a viewer may take for each 256 KiB of an answer:
	// slower ones are let go. Default 30 s, which is 8 kB/s.
	WriteTimeout time.Duration
	// Dial opens connections to parents. Default: TCP, at most a second.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Log     *slog.Logger
	Metrics *prometheus.Registry

	openDisk func() (diskStore, error) // of tests
}

func (c *Config) setDefaults() {
	def(&c.Name, "headwater")
	def(&c.MemoryBytes, 1<<30)
	def(&c.DiskBytes, 10<<30)
	def(&c.MaxObjectBytes, 64<<20)
	def(&c.MaxEvents, 10_000)
	def(&c.EventIdle, 5*time.Minute)
	def(&c.WriteTimeout, 30*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
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
	if len(c.Parents) == 0 {
		return errors.New("edge: no parents")
	}
	for i, p := range c.Parents {
		if slices.Contains(c.Parents[:i], p) {
			return fmt.Errorf("edge: parent %q is there twice", p)
		}
		u, err := url.Parse(p)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" {
			return fmt.Errorf("edge: parent %q is not a URL like http://host:7002", p)
		}
	}
	if c.Name != "" && !live.ValidName(c.Name) {
		return fmt.Errorf("edge: name %q is not a name", c.Name)
	}
	for _, f := range []struct {
		name string
		v    int64
	}{{"MemoryBytes", c.MemoryBytes}, {"DiskBytes", c.DiskBytes}, {"MaxObjectBytes", c.MaxObjectBytes}, {"MaxEvents", int64(c.MaxEvents)}, {"EventIdle", int64(c.EventIdle)}, {"WriteTimeout", int64(c.WriteTimeout)}} {
		if f.v < 0 {
			return fmt.Errorf("edge: %s is negative", f.name)
		}
	}
	return nil
}
