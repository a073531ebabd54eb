// Package cassandra is a store on Apache Cassandra. Media and control lie in
// keyspaces of their own, which may be clusters of their own.
//
// # Tables
//
// An item is a row of items: partitioned by record and bucket (see bucketOf),
// in key order. Its metadata, and a small value, are in the row; a larger value is
// cut into chunks of 256 KiB, each a partition of its own, so that one segment
// is spread over the cluster. A chunk is named by the item's token, so it never
// changes. Chunks are staged first; the write of the one row commits.
//
// # Which write decides
//
// Cassandra keeps, of two writes of a cell, the one with the higher timestamp;
// where these are the same it looks at their time to live and their bytes, not
// at our nonce. Timestamps are the token's nanoseconds. So two tokens of one
// nanosecond must not meet in a cell: head and value are maps, token to bytes,
// each version a cell of its own. A write replaces the whole map, which removes,
// on every replica and in whichever order they arrive, all versions with a
// lower timestamp and none with the same; a reader takes the highest token of what is left,
// nearly always the only one.
//
// An item that has expired when it comes is a version like any other, marked
// dead, which ends by a time to live with jitter. The delete of a record is one
// tombstone in each of its buckets; of a put with the very nanosecond of such a
// delete the delete wins, whichever nonce is higher. Whoever first writes to a
// bucket lists it in buckets, and only then writes there.
//
// # What is left over
//
// Chunks of a put that broke off, and of an item that was replaced or deleted,
// are named by no row. Where the item expires they have its time to live. What a
// process leaves of a put that failed, and what an item of control was that it
// replaced, it removes; what processes left that ended before, of control, is swept: see
// leftover.go.
package cassandra

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"golang.org/x/sync/errgroup"

	"headwater/store"
)

// Store implements store.Store, store.Signaller and store.Timer.
type Store struct {
	*store.Front
	opt     Options
	session *gocql.Session
	policy  *policy
	spaces  map[string]*space

	putItem, getItem, scanItems, putChunk, getChunk, dropChunk, deleteBucket, directory *request

	left leftovers

	// attempts are those under way, which may outlast their operation.
	attempts sync.WaitGroup

	stop  context.CancelFunc // ends what is done on the side
	aside sync.WaitGroup
}

// Goals of latency for the slowest percent. An item is put in two rounds and
// read in two, and all of that within half a second.
const (
	goalRow   = 100 * time.Millisecond
	goalChunk = 200 * time.Millisecond
)

// Open connects and checks that the schema is there.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("cassandra store: %w", err)
	}
	session, policy, err := o.connect(attemptTimeout)
	if err != nil {
		return nil, err
	}
	s := &Store{
		opt: o, session: session, policy: policy, spaces: make(map[string]*space),
		putItem: newRequest("put item", goalRow), getItem: newRequest("get item", goalRow), scanItems: newRequest("scan items", goalRow),
		putChunk: newRequest("put chunk", goalChunk), getChunk: newRequest("get chunk", goalChunk), dropChunk: newRequest("drop chunk", goalChunk),
		deleteBucket: newRequest("delete record", goalRow), directory: newRequest("directory", goalRow),
	}
	s.Front = store.NewFront(store.Backend{Name: "cassandra store", Now: o.Now, Put: s.put, Get: s.get, Scan: s.scan, Delete: s.delete, Close: s.close})
	for _, namespace := range o.Namespaces {
		if err := checkVersion(ctx, session, o, namespace); err != nil {
			session.Close()
			return nil, err
		}
		s.spaces[namespace] = newSpace(o.keyspace(namespace))
	}
	aside, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.aside.Go(func() { s.sweep(aside) })
	s.aside.Go(func() { s.tidy(aside) })
	s.aside.Go(func() { s.askSuspects(aside) })
	return s, nil
}

// attemptTimeout is for one attempt: what is stuck on a node is let go.
const attemptTimeout = 5 * time.Second

// connect sets everything that the driver would decide by itself.
func (o Options) connect(attempt time.Duration) (*gocql.Session, *policy, error) {
	p := newPolicy(o.DC)
	c := gocql.NewCluster(o.Hosts...)
	c.ProtoVersion = 5
	c.NumConns = 4 // to each node
	c.Consistency = gocql.LocalQuorum
	c.SerialConsistency = gocql.LocalSerial
	c.Timeout, c.ConnectTimeout = attempt, attempt
	c.WriteTimeout = 2 * time.Second
	c.RetryPolicy = &gocql.SimpleRetryPolicy{NumRetries: 0}
	c.PoolConfig.HostSelectionPolicy = p
	c.HostFilter = gocql.DataCenterHostFilter(o.DC)
	c.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 1, Interval: 200 * time.Millisecond}
	c.ReconnectInterval = time.Second
	c.SocketKeepalive = 10 * time.Second
	c.DefaultTimestamp = false
	c.DefaultIdempotence = false // the driver neither retries nor speculates
	c.PageSize = scanRows
	c.NextPagePrefetch = 0
	c.WriteCoalesceWaitTime = 0
	c.MaxWaitSchemaAgreement = 2 * time.Minute
	c.Metadata.CacheMode = gocql.KeyspaceOnly
	c.Logger = driverLog{o.Logger}
	session, err := c.CreateSession()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: connecting to %s (data centre %s): %w", store.ErrUnavailable, strings.Join(o.Hosts, ", "), o.DC, err)
	}
	return session, p, nil
}

// driverLog passes on what is worth an operator's time.
type driverLog struct{ log *slog.Logger }

func (l driverLog) write(level slog.Level, msg string, fields []gocql.LogField) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	args := make([]any, 0, 2*len(fields))
	for _, f := range fields {
		args = append(args, f.Name, f.Value.String())
	}
	l.log.Log(context.Background(), level, "cassandra: "+strings.TrimSpace(msg), args...)
}

// A node that goes is not this process's error.
func (l driverLog) Error(msg string, f ...gocql.LogField)   { l.write(slog.LevelWarn, msg, f) }
func (l driverLog) Warning(msg string, f ...gocql.LogField) { l.write(slog.LevelWarn, msg, f) }
func (l driverLog) Info(msg string, f ...gocql.LogField)    { l.write(slog.LevelDebug, msg, f) }
func (l driverLog) Debug(string, ...gocql.LogField)         {}

// begin bounds an operation's time: end ends that, and maps the operation's error.
func (s *Store) begin(ctx context.Context, r store.Record) (own context.Context, sp *space, end func(*error), err error) {
	if sp = s.spaces[r.Namespace]; sp == nil {
		return nil, nil, nil, fmt.Errorf("%w: this store does not keep %s", store.ErrInvalid, r.Namespace)
	}
	own, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	limit, _ := own.Deadline()
	theirs, ok := ctx.Deadline()
	return own, sp, func(err *error) {
		cancel()
		// Only the caller's own context ends as such. A scan ends a little before.
		if (!ok || limit.Before(theirs)) && ctx.Err() == nil && errors.Is(*err, context.DeadlineExceeded) {
			*err = fmt.Errorf("%w: no answer within %v", store.ErrUnavailable, s.opt.Timeout)
		}
	}, nil
}

// Signals implements store.Signaller.
func (s *Store) Signals() []store.Signal {
	var all []store.Signal
	for _, r := range s.requests() {
		all = append(all, r.signal())
	}
	return all
}

// Time implements store.Timer: a node of this data centre says what its clock does.
func (s *Store) Time(ctx context.Context) (node string, t time.Time, err error) {
	end, err := s.Begin(ctx)
	if err != nil {
		return "", t, fmt.Errorf("cassandra store: time: %w", err)
	}
	defer end()
	return s.timeOf(ctx, "")
}

// timeOf asks one node, "" for any.
func (s *Store) timeOf(ctx context.Context, host string) (node string, t time.Time, err error) {
	rows := s.session.Query("SELECT currentTimestamp() FROM system.local").SetHostID(host).Consistency(gocql.LocalOne).IterContext(ctx)
	told := rows.Scan(&t)
	switch err := rows.Close(); {
	case err != nil:
		return "", t, fmt.Errorf("cassandra store: time: %w: %w", store.ErrUnavailable, err)
	case !told || rows.Host() == nil:
		return "", t, fmt.Errorf("cassandra store: time: %w: no node told it", store.ErrUnavailable)
	}
	return rows.Host().HostID(), t, nil
}

func (s *Store) requests() []*request {
	return []*request{s.putItem, s.getItem, s.scanItems, s.putChunk, s.getChunk, s.dropChunk, s.deleteBucket, s.directory}
}

func (s *Store) close() error {
	s.stop()
	s.aside.Wait()
	// Attempts that outlasted their operation end with their connections.
	s.session.Close()
	s.attempts.Wait()
	return nil
}

// each runs f for 0 to n-1, at most limit at once, and returns the first error.
func each(ctx context.Context, n, limit int, f func(ctx context.Context, i int) error) error {
	if n == 1 {
		return f(ctx, 0)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(limit)
	for i := range n {
		group.Go(func() error { return f(ctx, i) })
	}
	return group.Wait()
}
