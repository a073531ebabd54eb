package viewer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"headwater/live"
)

// A Config says who watches what. Zero values take the defaults.
type Config struct {
	// Edges are base URLs, e.g. http://127.0.0.1:8080. Required. Viewers are
	// spread over them, and go to the next when theirs cannot be connected to.
	Edges []string
	// Event is what they watch. Required.
	Event live.EventID
	// Renditions limits what viewers choose from; each takes one rendition of
	// each type that is named. Default: one video and one audio rendition each,
	// all of the event's in turn.
	Renditions []string

	// Viewers is how many watch at a time. Default 1.
	Viewers int
	// Mix is how the viewers behave. Default: all steady.
	Mix Mix
	// Duration is for how long they watch. Default 0: until the context or the
	// event ends.
	Duration time.Duration
	// JoinOver is the time over which they arrive, evenly at random.
	// Default 2 s, and a second for each 2,000 viewers; negative: all at once.
	JoinOver time.Duration

	// Early is how long before a segment is expected a viewer asks for it. The
	// event's hold window bounds it. Default 1 s; negative: none.
	Early time.Duration
	// Jitter is by how much viewers differ in it: each has a margin of its own
	// within Early plus or minus this share. Default 0.25; negative: none.
	Jitter float64
	// Latency is how far behind the capture viewers at the live edge want to
	// play. Default: a segment, the event's allowance and its budget, so that
	// what is published by its deadline is in time, and a quarter of a segment.
	Latency time.Duration
	// Ahead is how much media a viewer has ready at most. Default 10 s.
	Ahead time.Duration
	// Poll is how often polling viewers retry a 404. Default 0: as soon as its
	// lifetime (max-age-ms) is over.
	Poll time.Duration

	// Heedless viewers join and come back when they like, whatever the edge's
	// Retry-After and the event's join window say.
	Heedless bool

	// Verify is the share of segments of which the SHA-256 is compared with
	// Content-Digest, 0 to 1, drawn at random. Default 1 for up to 500 viewers,
	// and 500/Viewers for more; negative: none. All bodies are read to the end
	// and their length is always checked.
	Verify float64
	// NoInspect leaves the media alone. By default one copy of each version of
	// each segment is inspected, and each viewer's successive segments are
	// compared in decode time.
	NoInspect bool

	// Timeout is how long an edge may take to answer what it need not hold,
	// to answer after the deadline of what it may, and then to send the body.
	// Default 10 s.
	Timeout time.Duration
	// GiveUp is how long a viewer tries to get a segment that should be there,
	// and how long an edge may be out of reach, before that is an error.
	// Default 30 s.
	GiveUp time.Duration
	// Arrive is how long they try to learn of the event at the beginning.
	// Default 3 s.
	Arrive time.Duration
	// MaxDials bounds the connections being opened at once. Default 128.
	MaxDials int
	// Token is what viewers show, as a Bearer token. Default: none.
	Token string
	// TLS is for https edges. Default: the system's roots.
	TLS *tls.Config
	// Dial opens connections. Default: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// OriginGets returns an edge's running total of requests to its origin, by
	// rendition; see Counters. Default: none, and the report has no
	// origin_gets_per_segment.
	OriginGets func(context.Context) (map[string]int64, error)

	// Seed makes the viewers' choices repeatable. Default 1.
	Seed uint64
	// Progress is called with the state of things every ProgressEvery
	// (default 1 s), from one goroutine.
	Progress      func(*Report)
	ProgressEvery time.Duration
	// Incident is told of each refusal, gap and defect of each viewer, from
	// many goroutines at once. May be nil.
	Incident func(Incident)
}

// A Behaviour is what a viewer does.
type Behaviour string

// The behaviours.
const (
	// Steady viewers join once and stay at the live edge.
	Steady Behaviour = "steady"
	// Join viewers stay for a few seconds to a minute, then others take their place.
	Join Behaviour = "join"
	// DVR viewers begin somewhere in the DVR window and watch from there.
	DVR Behaviour = "dvr"
	// Seek viewers jump around in the DVR window and back to the live edge.
	Seek Behaviour = "seek"
	// Poll viewers do not know the timeline: they ask for the next segment when
	// they have the last, and again when they are told 404.
	Poll Behaviour = "poll"
	// Leave viewers close their connections while a request is held, and come back.
	Leave Behaviour = "leave"
)

// Behaviours lists them all, in the order of the documentation.
var Behaviours = []Behaviour{Steady, Join, DVR, Seek, Poll, Leave}

// A Mix is how many viewers of each behaviour there are, in proportion.
type Mix map[Behaviour]float64

// ParseMix reads "steady=80,dvr=15,seek=5". A name alone is all of them.
func ParseMix(s string) (Mix, error) {
	m := Mix{}
	for part := range strings.SplitSeq(s, ",") {
		name, val, ok := strings.Cut(strings.TrimSpace(part), "=")
		share := 1.0
		if ok {
			var err error
			if share, err = strconv.ParseFloat(val, 64); err != nil {
				return nil, fmt.Errorf("viewer: mix: %q is not a number", val)
			}
		}
		if _, twice := m[Behaviour(name)]; twice {
			return nil, fmt.Errorf("viewer: mix: %s is there twice", name)
		}
		m[Behaviour(name)] = share
	}
	return m, m.validate()
}

// String is the form that ParseMix reads.
func (m Mix) String() string {
	var parts []string
	for _, b := range Behaviours {
		if m[b] > 0 {
			parts = append(parts, fmt.Sprintf("%s=%g", b, m[b]))
		}
	}
	return strings.Join(parts, ",")
}

func (m Mix) validate() error {
	var sum float64
	for _, b := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(Behaviours, b) {
			return fmt.Errorf("viewer: mix: %q is none of %v", b, Behaviours)
		}
		if !(m[b] >= 0 && m[b] <= 1e9) {
			return fmt.Errorf("viewer: mix: %s: %g is not a share", b, m[b])
		}
		sum += m[b]
	}
	if sum == 0 {
		return errors.New("viewer: mix: no viewers at all")
	}
	return nil
}

// of is the behaviour of viewer i: the golden ratio spreads each behaviour
// evenly, so that any first few viewers are mixed alike.
func (m Mix) of(i int) Behaviour {
	const golden = 0.6180339887498949
	var sum float64
	for _, b := range Behaviours {
		sum += m[b]
	}
	at := float64(i) * golden
	at = (at - float64(int(at))) * sum
	last := Steady
	for _, b := range Behaviours {
		if m[b] == 0 {
			continue
		}
		last = b
		if at -= m[b]; at < 0 {
			break
		}
	}
	return last
}

// verifyAll is up to how many viewers every segment is verified.
const verifyAll = 500

func (c *Config) setDefaults() {
	def(&c.Viewers, 1)
	if len(c.Mix) == 0 {
		c.Mix = Mix{Steady: 1}
	}
	def(&c.JoinOver, 2*time.Second+time.Duration(c.Viewers/2000)*time.Second)
	def(&c.Early, time.Second)
	def(&c.Jitter, 0.25)
	def(&c.Ahead, 10*time.Second)
	def(&c.Verify, min(1, verifyAll/float64(max(c.Viewers, 1))))
	def(&c.Timeout, 10*time.Second)
	def(&c.GiveUp, 30*time.Second)
	def(&c.Arrive, 3*time.Second)
	def(&c.MaxDials, 128)
	def(&c.Seed, 1)
	def(&c.ProgressEvery, time.Second)
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: c.Timeout}).DialContext
	}
	c.JoinOver, c.Early = max(c.JoinOver, 0), max(c.Early, 0)
	c.Jitter, c.Verify = max(c.Jitter, 0), max(c.Verify, 0)
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// maxViewers is what one process is meant for.
const maxViewers = 1_000_000

// Validate says what cannot be. Zero values are fine.
func (c *Config) Validate() error {
	if strings.ContainsAny(c.Token, " \r\n") {
		return errors.New("viewer: Token: is not one word")
	}
	if len(c.Edges) == 0 {
		return errors.New("viewer: Edges: none given")
	}
	for _, e := range c.Edges {
		if _, err := parseEdge(e); err != nil {
			return err
		}
	}
	if !live.ValidName(c.Event.Tenant) || !live.ValidName(c.Event.Name) {
		return fmt.Errorf("viewer: Event: %q is not TENANT/EVENT", c.Event)
	}
	if c.Viewers < 0 || c.Viewers > maxViewers {
		return fmt.Errorf("viewer: Viewers: %d is outside 1 to %d", c.Viewers, maxViewers)
	}
	if len(c.Mix) > 0 {
		if err := c.Mix.validate(); err != nil {
			return err
		}
	}
	if !(c.Jitter <= 1) {
		return fmt.Errorf("viewer: Jitter: %g is above 1", c.Jitter)
	}
	if !(c.Verify <= 1) {
		return fmt.Errorf("viewer: Verify: %g is above 1", c.Verify)
	}
	for _, f := range []struct {
		name string
		v    int64
	}{
		{"Duration", int64(c.Duration)}, {"Latency", int64(c.Latency)}, {"Ahead", int64(c.Ahead)}, {"Poll", int64(c.Poll)},
		{"Timeout", int64(c.Timeout)}, {"GiveUp", int64(c.GiveUp)}, {"Arrive", int64(c.Arrive)}, {"MaxDials", int64(c.MaxDials)},
		{"ProgressEvery", int64(c.ProgressEvery)},
	} {
		if f.v < 0 {
			return fmt.Errorf("viewer: %s is negative", f.name)
		}
	}
	return nil
}

// parseEdge reads the base URL of an edge.
func parseEdge(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("viewer: Edges: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("viewer: Edges: %q is not http://HOST:PORT", s)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("viewer: Edges: %q is more than scheme, host and path", s)
	}
	return u, nil
}
