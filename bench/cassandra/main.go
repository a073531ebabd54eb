// Command cassandra measures the Cassandra store beside the bare driver, on a
// three-node cluster of its own on this machine, and prints a table:
//
//	go run ./cassandra
//
// Both write the same values of 1.5 MB in chunks of 256 KiB with a quorum of three copies.
// The driver does nothing else: no row that commits, no checksum, no hedge.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"headwater/store"
	"headwater/store/cassandra"
	"headwater/store/cassandra/cassandratest"
)

func main() {
	hosts := flag.String("hosts", "", "nodes of a running cluster (data centre dc1), with commas; default is to start one")
	size := flag.Int("size", 1_500_000, "value size in bytes")
	writers := flag.String("writers", "1,4,8", "writers at once, with commas")
	each := flag.Duration("for", 10*time.Second, "time of each measurement, half of it writing")
	heap := flag.Int("heap", 512, "Java heap of each node in MiB")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *hosts, *writers, *size, *heap, *each); err != nil {
		fmt.Fprintln(os.Stderr, "cassandra:", err)
		os.Exit(1)
	}
}

// contender keeps values.
type contender interface {
	put(ctx context.Context, key string, value []byte) error
	get(ctx context.Context, key string) (int, error)
	said() string // about hedges and the like, since the last time
	Close() error
}

func run(ctx context.Context, out io.Writer, hosts, writers string, size, heap int, each time.Duration) (err error) {
	list := strings.Split(hosts, ",")
	if hosts == "" {
		c, err := cassandratest.Start(ctx, cassandratest.Options{HeapMB: heap})
		if err != nil {
			return err
		}
		defer c.Close()
		list = c.Hosts()
	}
	opt := cassandra.Options{Hosts: list, Keyspace: "bench", DC: "dc1", Replication: map[string]int{"dc1": 3}}
	if err := cassandra.Init(ctx, opt, func(string) {}); err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "values of %d bytes, three nodes, LOCAL_QUORUM\t\t\t\t\t\t\t\t\n", size)
	fmt.Fprint(table, "writers\tcontender\twrite p50 ms\tp99 ms\tMB/s\tread p50 ms\tp99 ms\trequests\t\n")
	for w := range strings.SplitSeq(writers, ",") {
		n, err := strconv.Atoi(w)
		if err != nil || n < 1 {
			return fmt.Errorf("-writers: %q is no number", w)
		}
		for _, c := range []struct {
			name string
			open func() (contender, error)
		}{
			{"driver", func() (contender, error) { return openDriver(opt, size) }},
			{"store", func() (contender, error) { return openStore(ctx, opt) }},
		} {
			s, err := c.open()
			if err != nil {
				return err
			}
			// Once unmeasured, for the nodes' compilers and the store's percentiles.
			if _, err := measure(ctx, s, n, size, each/4); err != nil {
				return errors.Join(err, s.Close())
			}
			s.said()
			r, err := measure(ctx, s, n, size, each)
			if err != nil {
				return errors.Join(err, s.Close())
			}
			fmt.Fprintf(table, "%d\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%s\t\n", n, c.name, at(r.writes, 50), at(r.writes, 99),
				float64(len(r.writes))*float64(size)/1e6/(each/2).Seconds(), at(r.reads, 50), at(r.reads, 99), s.said())
			if err := s.Close(); err != nil {
				return err
			}
		}
	}
	return table.Flush()
}

type result struct{ writes, reads []time.Duration }

// at is in milliseconds.
func at(sorted []time.Duration, percent int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[(len(sorted)-1)*percent/100]) / 1e6
}

func measure(ctx context.Context, c contender, workers, size int, each time.Duration) (result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var r result
	keys := make([][]string, workers)
	phase := func(into *[]time.Duration, one func(w, n int) error) {
		var wg sync.WaitGroup
		end := time.Now().Add(each / 2)
		for w := range workers {
			wg.Go(func() {
				var own []time.Duration
				for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
					began := time.Now()
					if err := one(w, n); err != nil {
						cancel(err)
						return
					}
					own = append(own, time.Since(began))
				}
				mu.Lock()
				*into = append(*into, own...)
				mu.Unlock()
			})
		}
		wg.Wait()
		slices.Sort(*into)
	}
	run := rand.IntN(1 << 20)
	values := make([][]byte, workers)
	for w := range values {
		values[w] = make([]byte, size)
		rand.NewChaCha8([32]byte{byte(w), byte(run)}).Read(values[w])
	}
	phase(&r.writes, func(w, n int) error {
		key := fmt.Sprintf("%08d%08d/%d", run, n, w)
		if err := c.put(ctx, key, values[w]); err != nil {
			return err
		}
		keys[w] = append(keys[w], key)
		return nil
	})
	phase(&r.reads, func(w, n int) error {
		got, err := c.get(ctx, keys[w][n%len(keys[w])])
		if err == nil && got != size {
			err = fmt.Errorf("read %d bytes of %d", got, size)
		}
		return err
	})
	return r, context.Cause(ctx)
}

type storeContender struct {
	*cassandra.Store
	tokens *store.Tokens
	last   map[string]store.Signal
}

func openStore(ctx context.Context, opt cassandra.Options) (contender, error) {
	s, err := cassandra.Open(ctx, opt)
	return &storeContender{s, store.NewTokens(), make(map[string]store.Signal)}, err
}

var record = store.Record{Namespace: store.Media, ID: "bench"}

func (s *storeContender) put(ctx context.Context, key string, value []byte) error {
	return s.Put(ctx, record, store.Item{Key: key, Token: s.tokens.Next(), Value: value, Expires: time.Now().Add(time.Hour)})
}

func (s *storeContender) get(ctx context.Context, key string) (int, error) {
	item, err := s.Get(ctx, record, key)
	return len(item.Value), err
}

func (s *storeContender) said() string {
	var ops, hedges, retries uint64
	for _, sig := range s.Signals() {
		was := s.last[sig.Op]
		ops, hedges, retries = ops+sig.Operations-was.Operations, hedges+sig.Hedges-was.Hedges, retries+sig.Retries-was.Retries
		s.last[sig.Op] = sig
	}
	return fmt.Sprintf("%d requests, %d hedges, %d retries", ops, hedges, retries)
}

// driver writes chunks and nothing else.
type driver struct {
	session *gocql.Session
	size    int
}

const chunk = 256 << 10

func openDriver(opt cassandra.Options, size int) (contender, error) {
	c := gocql.NewCluster(opt.Hosts...)
	c.Consistency = gocql.LocalQuorum
	c.Timeout = 10 * time.Second
	c.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.DCAwareRoundRobinPolicy(opt.DC), gocql.ShuffleReplicas())
	s, err := c.CreateSession()
	if err != nil {
		return nil, err
	}
	err = s.Query(`CREATE TABLE IF NOT EXISTS bench_media.bare (key text, idx int, data blob, PRIMARY KEY ((key, idx))) WITH compression = {'enabled': 'false'}`).Exec()
	return driver{s, size}, err
}

func (d driver) chunks(n int, f func(i int) error) error {
	errs := make([]error, (n+chunk-1)/chunk)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (d driver) put(ctx context.Context, key string, value []byte) error {
	return d.chunks(len(value), func(i int) error {
		return d.session.Query("INSERT INTO bench_media.bare (key, idx, data) VALUES (?, ?, ?)", key, i, value[i*chunk:min((i+1)*chunk, len(value))]).ExecContext(ctx)
	})
}

func (d driver) get(ctx context.Context, key string) (int, error) {
	var mu sync.Mutex
	total := 0
	err := d.chunks(d.size, func(i int) error {
		var data []byte
		err := d.session.Query("SELECT data FROM bench_media.bare WHERE key = ? AND idx = ?", key, i).ScanContext(ctx, &data)
		mu.Lock()
		total += len(data)
		mu.Unlock()
		return err
	})
	return total, err
}

func (driver) said() string { return "" }

func (d driver) Close() error {
	d.session.Close()
	return nil
}
