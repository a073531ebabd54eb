package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/access/token"
	"headwater/budget"
	"headwater/clock"
	"headwater/edge/object"
	"headwater/live"
)

// Config is what an edge is built from. Zero values take the defaults.
type Config struct {
	// Clock says what time it is here; what counts is the parents' time. Default: one by
	// the system's clock.
	Clock *clock.Clock
	// Parents are the base URLs of what the edge fills from, in order of
	// preference: origins or other edges. At least one.
	Parents []string
	// ParentRegions names the regions of parents, by their URL, where known.
	ParentRegions map[string]string
	// Region is that of this node: parents of it are preferred to others.
	Region string
	// Site are the base URLs of the nodes that fill each object once for all of
	// them, by name: this one, called Name, and its peers. Default: no other.
	Site map[string]string
	// Name is what Cache-Status and CDN-Loop call this node. Default "headwater".
	Name string
	// Pathway is which of an event's pathways this node is of (live.Pathway). Default:
	// of none, and it sends nobody elsewhere.
	Pathway string
	// Away says whether an operator wants viewers elsewhere. It is asked each time.
	// Default: he does not.
	Away func() bool
	// SteerEvery is after how long players ask again where to go on; a third of it while
	// some are to go elsewhere. Default 30 s.
	SteerEvery time.Duration
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
	// Peers says by its Authorization whether a request is of a node below this
	// one, or of its site: only such a one is believed where it has been. Default:
	// whoever knows the id of a running node of the site is one of it.
	Peers func(authorization string) bool
	// Tokens verifies what viewers show. It is asked for each time. Default: no key is
	// known, and so no token.
	Tokens func() *token.Verifier
	// ParentSecret is sent to parents, PeerSecret to the nodes of the site. Default: none.
	ParentSecret, PeerSecret string
	// TLS is how to speak to https:// parents and nodes. Default: as the system says.
	TLS *tls.Config
	// Late is how late the process runs, as admit.Lateness says. Default: nobody knows.
	Late func() time.Duration
	// Budget is what the process may take of memory. The cache has less where what is not
	// counted as its own takes more. Default: no bound.
	Budget *budget.Budget
	// HideMetrics leaves /metrics to another listener.
	HideMetrics bool
	// Dial opens connections to parents. Default: TCP, at most a second.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Log     *slog.Logger
	Metrics *prometheus.Registry

	openDisk func() (object.Store, error) // nil: there is no disk
}

func (c *Config) setDefaults() {
	def(&c.Name, "headwater")
	def(&c.MemoryBytes, 1<<30)
	def(&c.DiskBytes, 10<<30)
	def(&c.MaxObjectBytes, 64<<20)
	def(&c.MaxEvents, 10_000)
	def(&c.SteerEvery, 30*time.Second)
	def(&c.EventIdle, 5*time.Minute)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = clock.New(clock.OfEdge(c.Log))
	}
	if c.openDisk == nil && c.Disk != "" {
		c.openDisk = object.OpenDisk(c.Disk, c.DiskBytes, c.Clock.Now, c.Log)
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	if c.Tokens == nil {
		none := token.NewVerifier(new(token.Keys))
		c.Tokens = func() *token.Verifier { return none }
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
			return fmt.Errorf("edge: parent %q is there twice", redacted(p))
		}
		if !isBase(p) {
			return fmt.Errorf("edge: parent %q is not a URL like http://host:7002", redacted(p))
		}
	}
	if err := c.validateSite(); err != nil {
		return err
	}
	if c.Name != "" && !live.ValidName(c.Name) {
		return fmt.Errorf("edge: name %q is not a name", c.Name)
	}
	if c.Pathway != "" && !live.ValidName(c.Pathway) {
		return fmt.Errorf("edge: pathway %q is not a name", c.Pathway)
	}
	for _, f := range []struct {
		name string
		v    int64
	}{{"MemoryBytes", c.MemoryBytes}, {"DiskBytes", c.DiskBytes}, {"MaxObjectBytes", c.MaxObjectBytes}, {"MaxEvents", int64(c.MaxEvents)}, {"EventIdle", int64(c.EventIdle)}, {"SteerEvery", int64(c.SteerEvery)}} {
		if f.v < 0 {
			return fmt.Errorf("edge: %s is negative", f.name)
		}
	}
	return nil
}

// redacted is a URL as an error may have it.
func redacted(s string) string {
	if u, err := url.Parse(s); err == nil {
		return u.Redacted()
	}
	return s[strings.LastIndexByte(s, '@')+1:]
}

func isBase(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && (u.Path == "" || u.Path == "/")
}

func (c *Config) validateSite() error {
	if c.Region != "" && !live.ValidName(c.Region) {
		return fmt.Errorf("edge: region %q is not a name", c.Region)
	}
	for p, region := range c.ParentRegions {
		if !slices.Contains(c.Parents, p) || !live.ValidName(region) {
			return fmt.Errorf("edge: %q is not the region of a parent %q", region, p)
		}
	}
	if len(c.Site) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(c.Site))
	if len(names) > live.MaxSite {
		return fmt.Errorf("edge: %d nodes in a site, at most %d", len(names), live.MaxSite)
	}
	var urls []string
	for _, name := range names {
		base := c.Site[name]
		switch {
		case !live.ValidName(name):
			return fmt.Errorf("edge: %q is not the name of a node", name)
		case !isBase(base):
			return fmt.Errorf("edge: node %s: %q is not a URL like http://host:8080", name, base)
		case slices.Contains(urls, base):
			return fmt.Errorf("edge: node %s: %q is another node's too", name, base)
		case slices.Contains(c.Parents, base):
			return fmt.Errorf("edge: node %s is a parent too", name)
		}
		urls = append(urls, base)
	}
	if _, ok := c.Site[c.Name]; !ok {
		return fmt.Errorf("edge: name %q is not in the site: %s", c.Name, strings.Join(names, ", "))
	}
	return nil
}
