package cassandra

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"headwater/store"
)

// Options says where the cluster is and how to use it. FromAddress fills it in;
// zero values are defaults.
type Options struct {
	Hosts    []string // HOST or HOST:PORT of nodes to learn the others from
	Keyspace string   // the keyspaces are KEYSPACE_media and KEYSPACE_control
	DC       string   // the data centre of this process: its quorum decides

	// Namespaces are those kept here, by default all. A cluster of its own for
	// control is a store of its own, with only that.
	Namespaces []string

	// Replication and Retention are for Init: how many copies of everything
	// each data centre keeps, and for how long media is usually kept (24 h by
	// default), which decides how large the windows are that compaction keeps
	// apart.
	Replication map[string]int
	Retention   time.Duration

	// Timeout bounds an operation whose caller gives it longer. Default 10 s.
	Timeout time.Duration

	// OrphanAge is how old a chunk must be for it not to be one of a put under
	// way. Default 10 minutes.
	OrphanAge time.Duration

	// ReplacedAge is for how long what an item of control was before it was
	// replaced stays. Default 30 seconds.
	ReplacedAge time.Duration

	// Now says what time it is. Default time.Now.
	Now func() time.Time

	Logger *slog.Logger // for the driver's warnings; none by default
}

// FromAddress returns the options of an address:
//
//	cassandra://HOST,.../KEYSPACE?dc=dc1&replication=dc1:3,dc2:3&retention=24h&namespaces=control
//
// dc may be left out where replication names one data centre, replication is
// for Init alone.
func FromAddress(a store.Address) (Options, error) {
	o := Options{Hosts: a.Hosts, Keyspace: a.Path}
	var err error
	for key := range a.Query {
		v := a.Query.Get(key)
		switch key {
		case "dc":
			o.DC = v
		case "replication":
			o.Replication, err = parseReplication(v)
		case "retention":
			if o.Retention, err = time.ParseDuration(v); err != nil {
				err = fmt.Errorf("retention %q is not a time like 24h", v)
			}
		case "namespaces":
			o.Namespaces = strings.Split(v, ",")
		default:
			err = fmt.Errorf("%q means nothing here: there are dc, replication, retention and namespaces", key)
		}
		if err != nil {
			return o, fmt.Errorf("%w %q: %w", store.ErrAddress, a, err)
		}
	}
	if o.DC == "" && len(o.Replication) == 1 {
		for dc := range o.Replication {
			o.DC = dc
		}
	}
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return o, fmt.Errorf("%w %q: %w", store.ErrAddress, a, err)
	}
	return o, nil
}

func parseReplication(s string) (map[string]int, error) {
	m := make(map[string]int)
	for part := range strings.SplitSeq(s, ",") {
		dc, factor, _ := strings.Cut(part, ":")
		n, err := strconv.Atoi(factor)
		if err != nil || n < 1 || n > 99 || !isDC(dc) || m[dc] != 0 {
			return nil, fmt.Errorf("replication %q: write DC:COPIES,... such as dc1:3,dc2:3", s)
		}
		m[dc] = n
	}
	return m, nil
}

// isDC keeps out what would need quoting in a statement.
func isDC(s string) bool {
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}

func (o Options) withDefaults() Options {
	if len(o.Namespaces) == 0 {
		o.Namespaces = []string{store.Media, store.Control}
	}
	if o.Retention == 0 {
		o.Retention = 24 * time.Hour
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.OrphanAge == 0 {
		o.OrphanAge = 10 * time.Minute
	}
	if o.ReplacedAge == 0 {
		o.ReplacedAge = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate returns what is wrong with the options, or nil.
func (o Options) Validate() error {
	o = o.withDefaults()
	if len(o.Hosts) == 0 {
		return errors.New("no host")
	}
	if o.Keyspace == "" || len(o.Keyspace) > 48-len("_control") {
		return fmt.Errorf("keyspace %q is not 1 to %d characters long", o.Keyspace, 48-len("_control"))
	}
	if !isDC(o.DC) {
		return errors.New("which data centre is this? Write dc=NAME, as nodetool status calls it")
	}
	for _, n := range o.Namespaces {
		if n != store.Media && n != store.Control {
			return fmt.Errorf("namespace %q is neither %s nor %s", n, store.Media, store.Control)
		}
	}
	if o.Replication != nil && o.Replication[o.DC] == 0 {
		return fmt.Errorf("data centre %q is not among the replication's: %v", o.DC, slices.Sorted(maps.Keys(o.Replication)))
	}
	if o.Retention < time.Minute || o.Timeout <= 0 || o.OrphanAge < 0 || o.ReplacedAge < 0 {
		return errors.New("retention is less than a minute, or a time is not positive")
	}
	return nil
}

// keyspace returns the keyspace of a namespace. Lower case, since Cassandra
// folds what is not quoted.
func (o Options) keyspace(namespace string) string {
	return strings.ToLower(o.Keyspace) + "_" + namespace
}
