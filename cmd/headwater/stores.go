package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/store"
	"headwater/store/disk"
	"headwater/store/memory"
)

// An opening is what opening a store takes besides its address.
type opening struct {
	yielding *[]*yieldingStore // gets the disk stores; nil: nobody asks for them
	existing bool              // a disk store has to be there already
	now      func() time.Time  // nil: time.Now
	disk     disk.Options
	log      *slog.Logger
	metrics  prometheus.Registerer // for the store's own metrics
}

// openStores opens the store at the address, and the one for control where
// that is another.
func openStores(ctx context.Context, address, control string, o opening) (store.Store, error) {
	st, err := openStore(ctx, "store", address, o)
	if err != nil {
		return nil, err
	}
	if control != "" {
		c, err := openStore(ctx, "control-store", control, o)
		if err != nil {
			return nil, errors.Join(err, st.Close())
		}
		st = store.Split(st, c)
	}
	if _, ok := st.(store.Signaller); ok && o.metrics != nil {
		o.metrics.MustRegister(storeSignals{st})
	}
	return st, nil
}

// openStore opens the store that a flag gave the address of.
func openStore(ctx context.Context, flag, address string, o opening) (store.Store, error) {
	a, err := store.ParseAddress(address)
	if err != nil {
		return nil, usagef("--%s: %w", flag, err)
	}
	switch a.Scheme {
	case store.SchemeMemory:
		return memory.New(memory.Options{MaxBytes: o.disk.MaxBytes, Now: o.now}), nil
	case store.SchemeDisk:
		y := &yieldingStore{reopen: func(ctx context.Context) (*disk.Store, error) { return openDisk(ctx, a, o) }}
		if err := y.resume(ctx); err != nil {
			return nil, err
		}
		if o.metrics != nil {
			o.metrics.MustRegister(diskFigures{flag, y})
		}
		if o.yielding != nil {
			*o.yielding = append(*o.yielding, y)
		}
		return y, nil
	case store.SchemeCassandra:
		return awaitStore(ctx, o.log, address, func() (store.Store, error) { return openCassandra(ctx, flag, a, o) })
	case store.SchemeS3:
		return openS3(flag, a, o)
	}
	return nil, usagef("--%s: this build has no %s store: use disk:DIR, cassandra://HOST,.../KEYSPACE, s3://BUCKET or memory:", flag, a.Scheme)
}

func closeStore(st store.Store, log *slog.Logger) {
	if err := st.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
		log.Error("closing the store", "err", err)
	}
}

var storeCommand = &command{
	name: "store", summary: "look after a store at rest",
	usage: "init|check --store STORE",
	about: `
init creates what a Cassandra store needs in its cluster, or migrates it from an
older version. It may be repeated, and run by several at once. The address says
how many copies each data centre keeps, and how long media is usually kept:
  cassandra://h1,h2,h3/live?dc=dc1&replication=dc1:3,dc2:3&retention=24h

It creates the bucket of an S3 store where there is none. Credentials are those
of the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
  s3://bucket/prefix?endpoint=http://127.0.0.1:7070&region=us-east-1

check reads everything in a store and verifies every checksum; it names what is
bad, and exits 1 where anything is. The origin that owns a disk store must not be
running, and what its start would mend is mended: what is torn is cut off, control
is copied from its twin, and a damaged file set aside. What is served does not
change by it. The origins of a Cassandra store may be running.`,
}

func init() { storeCommand.run = runStore }

type storeFlags struct {
	store  string
	accept bool
}

func (f *storeFlags) register(o *options) {
	o.String(&f.store, "store", "disk:headwater-data", "`STORE`: disk:DIR, cassandra://HOST,.../KEYSPACE?dc=NAME or s3://BUCKET/PREFIX?endpoint=URL")
	o.Bool(&f.accept, "accept-losses", "check: what a disk store has lost of events and masks, and what nothing tells of, is told this once more, and not again")
}

func runStore(ctx context.Context, env *environment, args []string) error {
	var f storeFlags
	o := newOptions("store")
	f.register(o)
	verb, rest, err := o.parseVerb(env, args, "init or check")
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usagef("%s: %q: takes only flags", verb, rest[0])
	}
	a, err := store.ParseAddress(f.store)
	if err != nil {
		return usagef("--store: %w", err)
	}
	switch {
	case verb == "init" && a.Scheme == store.SchemeCassandra:
		return initCassandra(ctx, env, a)
	case verb == "init" && a.Scheme == store.SchemeS3:
		return initS3(ctx, env, a)
	case verb == "init":
		return usagef("--store: a %s store needs no init", a.Scheme)
	case a.Scheme == store.SchemeDisk:
		return checkDisk(ctx, env, a, f.accept)
	case a.Scheme == store.SchemeCassandra:
		return checkCassandra(ctx, env, a)
	case a.Scheme == store.SchemeS3:
		return checkS3(ctx, env, a)
	}
	return usagef("--store: a %s store has nothing at rest to check", a.Scheme)
}
