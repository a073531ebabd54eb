// Command blobs measures the memcached zones beside a store: what they add to a
// Put, what a Get from them takes, and how many reads reach the store.
//
//	go run ./blobs -dir /var/tmp
//
// It starts two zones of two memcached servers on this machine, beside a disk
// store. Alone and cached take turns with each round, so that a disk whose
// speed drifts treats them alike.
package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/blobs"
	"headwater/live"
	"headwater/store"
	"headwater/store/disk"
)

func main() {
	dir := flag.String("dir", ".", "directory on the disk to measure; a temporary one is made in it")
	size := flag.Int("size", 1_500_000, "bytes of a segment")
	rounds := flag.Int("rounds", 5, "rounds of each number of writers and readers")
	each := flag.Int("each", 100, "operations of one round")
	reads := flag.Int("reads", 10_000, "reads of 100 segments")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *dir, *size, *rounds, *each, *reads); err != nil {
		fmt.Fprintln(os.Stderr, "blobs:", err)
		os.Exit(1)
	}
}

// counted counts what reaches the store.
type counted struct {
	store.Store
	gets atomic.Int64
}

func (c *counted) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	c.gets.Add(1)
	return c.Store.Get(ctx, r, key)
}

func run(ctx context.Context, out io.Writer, parent string, size, rounds, each, reads int) (err error) {
	zones, stop, err := startZones(ctx)
	defer stop()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(parent, "blobs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d, err := disk.Open(dir, disk.Options{})
	if err != nil {
		return err
	}
	below := &counted{Store: d}
	defer d.Close()
	metrics := prometheus.NewRegistry()
	cache, err := blobs.New(blobs.Config{Zones: zones, Metrics: metrics})
	if err != nil {
		return err
	}
	defer cache.Close()

	b := &bench{size: size, tokens: store.NewTokens(), store: below}
	if err := b.latencies(ctx, out, cache, rounds, each); err != nil {
		return err
	}
	if err := b.reaching(ctx, out, below, cache, zones, reads); err != nil {
		return err
	}
	return tell(out, metrics)
}

// startZones starts two zones of two servers; stop ends what was started.
func startZones(ctx context.Context) (zones []blobs.Zone, stop func(), err error) {
	var started []*exec.Cmd
	stop = func() {
		for _, c := range started {
			c.Process.Kill()
			c.Wait()
		}
	}
	for _, name := range []string{"zone-a", "zone-b"} {
		z := blobs.Zone{Name: name}
		for range 2 {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, stop, err
			}
			addr := l.Addr().(*net.TCPAddr)
			l.Close()
			cmd := exec.Command("memcached", "-l", "127.0.0.1", "-p", strconv.Itoa(addr.Port), "-U", "0", "-m", "1024", "-u", "nobody")
			if err := cmd.Start(); err != nil {
				return nil, stop, err
			}
			started = append(started, cmd)
			z.Servers = append(z.Servers, addr.String())
			for {
				if c, err := net.Dial("tcp", addr.String()); err == nil {
					c.Close()
					break
				}
				if ctx.Err() != nil {
					return nil, stop, ctx.Err()
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		zones = append(zones, z)
	}
	return zones, stop, nil
}

type bench struct {
	size   int
	tokens *store.Tokens
	store  store.Store
}

var record = store.Record{Namespace: store.Media, ID: "bench/blobs/v1080"}

// segment is other bytes for each key: a cache keeps the same bytes once.
func (b *bench) segment(key string) []byte {
	v := make([]byte, b.size)
	rand.NewChaCha8(sha256.Sum256([]byte(key))).Read(v)
	return v
}

// A segment that was put.
type segment struct {
	key    string
	digest live.Digest
}

// put puts a segment, with a cache or, where that is nil, without.
func (b *bench) put(ctx context.Context, c *blobs.Cache, key string, value []byte, d live.Digest) error {
	return c.Put(ctx, b.store, record, store.Item{Key: key, Token: b.tokens.Next(), Meta: make([]byte, 200), Value: value,
		Expires: time.Now().Add(time.Hour)}, d)
}

func (b *bench) get(ctx context.Context, c *blobs.Cache, s segment) error {
	_, err := c.Get(ctx, b.store, record, s.key, s.digest, int64(b.size))
	return err
}

// each runs f n times from so many goroutines, and returns how long each took.
func measure(ctx context.Context, n, goroutines int, f func(i int) error) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	errs := make([]error, goroutines)
	var next atomic.Int64
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for errs[g] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				began := time.Now()
				errs[g] = f(i)
				took[i] = time.Since(began)
				if errs[g] == nil {
					errs[g] = ctx.Err()
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}

func (b *bench) latencies(ctx context.Context, out io.Writer, cache *blobs.Cache, rounds, each int) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%d bytes\tat once\tp50 ms\tp99 ms\n", b.size)
	for _, n := range []int{1, 4, 8} {
		took := map[string][]time.Duration{}
		for r := range rounds {
			segments := make([]segment, each)
			for name, c := range map[string]*blobs.Cache{"put, store alone": nil, "put, zones beside": cache} {
				values := make([][]byte, each)
				for i := range values {
					key := fmt.Sprintf("%s-%d-%d-%d", name, n, r, i)
					values[i] = b.segment(key)
					s := segment{key, live.DigestOf(values[i])}
					if c != nil {
						segments[i] = s
					}
				}
				got, err := measure(ctx, each, n, func(i int) error {
					key := fmt.Sprintf("%s-%d-%d-%d", name, n, r, i)
					return b.put(ctx, c, key, values[i], segments[i].digest)
				})
				if err != nil {
					return err
				}
				took[name] = append(took[name], got...)
			}
			for name, c := range map[string]*blobs.Cache{"get, store alone": nil, "get, zones beside": cache} {
				got, err := measure(ctx, each, n, func(i int) error { return b.get(ctx, c, segments[i]) })
				if err != nil {
					return err
				}
				took[name] = append(took[name], got...)
			}
		}
		for _, name := range []string{"put, store alone", "put, zones beside", "get, store alone", "get, zones beside"} {
			all := took[name]
			slices.Sort(all)
			fmt.Fprintf(t, "%s\t%d\t%.2f\t%.2f\n", name, n, ms(all[len(all)/2]), ms(all[len(all)*99/100]))
		}
	}
	return t.Flush()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// reaching counts the reads that reach the store: of what was just written, and
// of what the zones have lost.
func (b *bench) reaching(ctx context.Context, out io.Writer, below *counted, cache *blobs.Cache, zones []blobs.Zone, reads int) error {
	segments := make([]segment, 100)
	for i := range segments {
		key := fmt.Sprint("segment-", i)
		value := b.segment(key)
		segments[i] = segment{key, live.DigestOf(value)}
		if err := b.put(ctx, cache, key, value, segments[i].digest); err != nil {
			return err
		}
	}
	for _, what := range []string{"just written", "zones emptied"} {
		if what == "zones emptied" {
			for _, z := range zones {
				for _, s := range z.Servers {
					if err := flush(s); err != nil {
						return err
					}
				}
			}
		}
		gets, began := below.gets.Load(), time.Now()
		if _, err := measure(ctx, reads, 8, func(i int) error { return b.get(ctx, cache, segments[i%len(segments)]) }); err != nil {
			return err
		}
		took := time.Since(began)
		fmt.Fprintf(out, "%s: of %d reads of %d segments by 8 readers %d reached the store (%.2f %%); %.0f MB/s\n",
			what, reads, len(segments), below.gets.Load()-gets, 100*float64(below.gets.Load()-gets)/float64(reads),
			float64(reads)*float64(b.size)/1e6/took.Seconds())
	}
	return nil
}

// tell prints what the cache counted.
func tell(out io.Writer, metrics *prometheus.Registry) error {
	families, err := metrics.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			v := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if v == 0 {
				continue
			}
			fmt.Fprint(out, f.GetName())
			for _, l := range m.GetLabel() {
				fmt.Fprintf(out, " %s=%s", l.GetName(), l.GetValue())
			}
			fmt.Fprintf(out, " %.0f\n", v)
		}
	}
	return nil
}

func flush(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "flush_all\r\n"); err != nil {
		return err
	}
	answer := make([]byte, 4)
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "OK\r\n" {
		return fmt.Errorf("flush_all at %s: %q, %w", addr, answer, err)
	}
	return nil
}
