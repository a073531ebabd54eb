package packager

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"headwater/clock"
	"headwater/live"
)

// ErrConfig is wrapped by every error of Config.Validate.
var ErrConfig = errors.New("packager: configuration")

// A Config says what one packager does. Exactly one of Input, Clip and Feed
// is its source.
type Config struct {
	// Event is what is published, as TENANT/EVENT. Required.
	Event string
	// Pipeline is which of the event's pipelines this packager is. Required.
	Pipeline string
	// To are the base URLs of publish listeners, http://host:7001, the
	// preferred first: the others are for when it fails. Required.
	To []string
	// Token is sent as a bearer token (RFC 6750); empty: none.
	Token string
	// TLS is how to speak to https:// origins. Default: as the system says.
	TLS *tls.Config

	// Spec is the event's configuration. Nil: it is fetched from EventURL, and
	// followed there while the packager runs, so that an end of the event
	// reaches it.
	Spec *live.Event
	// EventURL is the base URL of a delivery listener, http://host:7002.
	// Default: the host of the first To, with its port number plus one.
	EventURL string
	// EventWait is how long the event may be unknown at the start: the origin
	// may start later than its packagers. Default 30 s, negative: not at all.
	EventWait time.Duration

	// AfterEnd is how long a packager that follows its event stays after the end
	// of it, once nothing more is waited for: an end that is taken back finds it
	// there. Default 5 min, negative: not at all.
	AfterEnd time.Duration

	// Input is fragmented MP4 (CMAF tracks, one or many), as an encoder writes
	// it to a pipe. If it is an io.Closer it is closed when Run ends. A Read
	// that does not return even then outlives Run.
	Input io.Reader
	// Clip plays the built-in clip for ever.
	Clip bool
	// ClipVersion is "a" or "b", which badge the picture shows. Default: "a"
	// for a pipeline of that name, else "b".
	ClipVersion string
	// Feed is what brings tracks each by itself: package ingest does.
	Feed *Feed

	// Tracks maps track IDs of the input to renditions; tracks it leaves out
	// are not published. Empty: by type, video in descending size (or bandwidth,
	// where the event tells no sizes), audio and text in the order in which
	// input and event list them; a type has as many tracks as renditions, or none.
	Tracks map[uint32]string
	// Clock says what places the input in time. Default ClockAuto.
	Clock ClockMode

	// BackfillBytes bounds the segments that missed their budget and wait to be
	// sent behind live ones, in bytes. Default 64 MiB.
	BackfillBytes int64
	// DrainFor is how long after the end of the source segments may still be
	// sent. Default 10 s, negative: not at all.
	DrainFor time.Duration

	// Look is the ffmpeg that watches what is sent, and says where the picture is
	// black or stands still or the sound is silent: its path. Empty: nobody watches.
	Look string
	// Watchers bounds how many of them run, of all packagers that have the same. Default:
	// each may have 8.
	Watchers Watchers

	// Faults are set from the start, in the form of ParseFault.
	Faults []string

	// Time says what time it is. Default: a NewClock.
	Time *clock.Clock

	// Log gets a line for each failure. Default slog.Default().
	Log *slog.Logger
	// Dial opens connections. Default: TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// withDefaults returns the configuration with defaults filled in.
func (c Config) withDefaults() Config {
	if c.EventWait == 0 {
		c.EventWait = 30 * time.Second
	}
	if c.AfterEnd == 0 {
		c.AfterEnd = 5 * time.Minute
	}
	if c.Clock == "" {
		c.Clock = ClockAuto
	}
	if c.BackfillBytes == 0 {
		c.BackfillBytes = 64 << 20
	}
	if c.DrainFor == 0 {
		c.DrainFor = 10 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.ClipVersion == "" {
		c.ClipVersion = "b"
		if c.Pipeline == "a" {
			c.ClipVersion = "a"
		}
	}
	if c.EventURL == "" && c.Spec == nil && len(c.To) > 0 {
		c.EventURL, _ = deliveryURL(c.To[0])
	}
	return c
}

// Validate reports the first impossible value, with the name of its field.
func (c Config) Validate() error {
	bad := func(field, format string, a ...any) error {
		return fmt.Errorf("%w: %s: %s", ErrConfig, field, fmt.Sprintf(format, a...))
	}
	if _, err := live.ParseEventID(c.Event); err != nil {
		return bad("Event", "%s", live.PathReason(err))
	}
	if !live.ValidName(c.Pipeline) {
		return bad("Pipeline", "%q is not a name", c.Pipeline)
	}
	sources := 0
	for _, has := range []bool{c.Input != nil, c.Clip, c.Feed != nil} {
		if has {
			sources++
		}
	}
	if sources != 1 {
		return bad("Input, Clip, Feed", "%d sources, exactly one is needed", sources)
	}
	if len(c.To) == 0 {
		return bad("To", "is required: the base URL of a publish listener, http://host:7001")
	}
	for _, to := range c.To {
		if _, err := newDestination(nil, to, nil); err != nil {
			return bad("To", "%v", err)
		}
	}
	if c.Spec != nil {
		if err := c.Spec.Validate(); err != nil {
			return bad("Spec", "%v", err)
		}
	} else if c.EventURL == "" {
		if _, err := deliveryURL(c.To[0]); err != nil {
			return bad("EventURL", "is required: %v", err)
		}
	} else if _, err := newDestination(nil, c.EventURL, nil); err != nil {
		return bad("EventURL", "%v", err)
	}
	if c.ClipVersion != "" && c.ClipVersion != "a" && c.ClipVersion != "b" {
		return bad("ClipVersion", "%q is neither \"a\" nor \"b\"", c.ClipVersion)
	}
	if c.Clock != "" && c.Clock != ClockAuto && c.Clock != ClockAbsolute && c.Clock != ClockPRFT {
		return bad("Clock", "%q is not auto, absolute or prft", c.Clock)
	}
	for id, name := range c.Tracks {
		if id == 0 || !live.ValidName(name) {
			return bad("Tracks", "%d=%q is not a track ID and a rendition", id, name)
		}
	}
	if c.BackfillBytes < 0 {
		return bad("BackfillBytes", "%d is negative", c.BackfillBytes)
	}
	for _, f := range c.Faults {
		if _, err := ParseFault(f); err != nil {
			return bad("Faults", "%v", err)
		}
	}
	return nil
}

// ParseTracks reads a map of track IDs to renditions, as in "1=v720,2=a-en".
func ParseTracks(text string) (map[uint32]string, error) {
	out := map[uint32]string{}
	for part := range strings.SplitSeq(text, ",") {
		id, name, ok := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.ParseUint(id, 10, 32)
		if !ok || err != nil || n == 0 || !live.ValidName(name) {
			return nil, fmt.Errorf("%w: %q is not TRACK=RENDITION, as in 1=v720", ErrConfig, part)
		}
		if _, twice := out[uint32(n)]; twice {
			return nil, fmt.Errorf("%w: track %d is there twice", ErrConfig, n)
		}
		out[uint32(n)] = name
	}
	return out, nil
}

// deliveryURL is where an origin that publishes at a base URL delivers, by the
// ports that it has unless told otherwise: 7001 and 7002.
func deliveryURL(publish string) (string, error) {
	u, err := url.Parse(publish)
	if err != nil {
		return "", err
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 65535 {
		return "", fmt.Errorf("%q has no port to derive it from", publish)
	}
	u.Host = net.JoinHostPort(u.Hostname(), strconv.FormatUint(port+1, 10))
	u.Path = ""
	return u.String(), nil
}
