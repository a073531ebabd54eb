// Command through measures the memcached zones in front of a store: what they
// add to a Put, what a Get from them takes, and how many reads reach the store.
//
//	go run ./through -dir /var/tmp
//
// It starts two zones of two memcached servers on this machine, in front of a
// disk store. Alone and cached take turns with each round, so that a disk whose
// speed drifts treats them alike.
package main

import (
	"context"
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

	"headwater/store"
	"headwater/store/disk"
	"headwater/store/through"
)

func main() {
	dir := flag.String("dir", ".", "directory on the disk to measure; a temporary one is made in it")
	size := flag.Int("size", 1_500_000, "bytes of a segment")
	rounds := flag.Int("rounds", 5, "rounds of each number of writers and readers")
	each := flag.Int("each", 200, "operations of one round")
	reads := flag.Int("reads", 10_000, "reads of 100 segments")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *dir, *size, *rounds, *each, *reads); err != nil {
		fmt.Fprintln(os.Stderr, "through:", err)
		os.Exit(1)
	}
}

// counted counts what reaches the store.
type counted struct {
	store.Store
	gets, scans atomic.Int64
}

func (c *counted) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	c.gets.Add(1)
	return c.Store.Get(ctx, r, key)
}

func (c *counted) Scan(ctx context.Context, r store.Record, opt store.ScanOptions) (store.Page, error) {
	c.scans.Add(1)
	return c.Store.Scan(ctx, r, opt)
}

func run(ctx context.Context, out io.Writer, parent string, size, rounds, each, reads int) (err error) {
	zones, stop, err := startZones(ctx)
	defer stop()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(parent, "through-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d, err := disk.Open(dir, disk.Options{})
	if err != nil {
		return err
	}
	below := &counted{Store: d}
	cache, err := through.New(below, through.Config{Zones: zones})
	if err != nil {
		d.Close()
		return err
	}
	defer cache.Close()

	b := &bench{size: size, bytes: make([]byte, size), tokens: store.NewTokens()}
	rand.NewChaCha8([32]byte{}).Read(b.bytes)
	// A server that is new takes no writes for as long as clocks may differ.
	if err := b.put(ctx, cache, "first"); err != nil {
		return err
	}
	select {
	case <-time.After(6 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := b.latencies(ctx, out, d, cache, rounds, each); err != nil {
		return err
	}
	return b.reaching(ctx, out, below, cache, zones, reads)
}

// startZones starts two zones of two servers; stop ends what was started.
func startZones(ctx context.Context) (zones []through.Zone, stop func(), err error) {
	var started []*exec.Cmd
	stop = func() {
		for _, c := range started {
			c.Process.Kill()
			c.Wait()
		}
	}
	for _, name := range []string{"zone-a", "zone-b"} {
		z := through.Zone{Name: name}
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
	bytes  []byte
	tokens *store.Tokens
}

var record = store.Record{Namespace: store.Media, ID: "bench/through/v1080"}

func (b *bench) put(ctx context.Context, s store.Store, key string) error {
	return s.Put(ctx, record, store.Item{Key: key, Token: b.tokens.Next(), Meta: make([]byte, 200), Value: b.bytes,
		Expires: time.Now().Add(time.Hour)})
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

func (b *bench) latencies(ctx context.Context, out io.Writer, d, cache store.Store, rounds, each int) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%d bytes\tat once\tp50 ms\tp99 ms\n", b.size)
	for _, n := range []int{1, 4, 8} {
		took := map[string][]time.Duration{}
		var keys []string
		for r := range rounds {
			for name, s := range map[string]store.Store{"put, store alone": d, "put, through": cache} {
				got, err := measure(ctx, each, n, func(i int) error {
					return b.put(ctx, s, fmt.Sprintf("%s-%d-%d-%d", name, n, r, i))
				})
				if err != nil {
					return err
				}
				took[name] = append(took[name], got...)
			}
			// The zones hold what was put last.
			keys = keys[:0]
			for i := range min(each, 200) {
				keys = append(keys, fmt.Sprintf("put, through-%d-%d-%d", n, r, i))
			}
			for name, s := range map[string]store.Store{"get, store alone": d, "get, through": cache} {
				got, err := measure(ctx, each, n, func(i int) error {
					_, err := s.Get(ctx, record, keys[i%len(keys)])
					return err
				})
				if err != nil {
					return err
				}
				took[name] = append(took[name], got...)
			}
		}
		for _, name := range []string{"put, store alone", "put, through", "get, store alone", "get, through"} {
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
func (b *bench) reaching(ctx context.Context, out io.Writer, below *counted, cache *through.Store, zones []through.Zone, reads int) error {
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = fmt.Sprint("segment-", i)
		if err := b.put(ctx, cache, keys[i]); err != nil {
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
		gets, scans, began := below.gets.Load(), below.scans.Load(), time.Now()
		if _, err := measure(ctx, reads, 8, func(i int) error {
			_, err := cache.Get(ctx, record, keys[i%len(keys)])
			return err
		}); err != nil {
			return err
		}
		took := time.Since(began)
		fmt.Fprintf(out, "%s: of %d reads of %d segments by 8 readers %d reached the store (%.2f %%), and %d looks at metadata; %.0f MB/s\n",
			what, reads, len(keys), below.gets.Load()-gets, 100*float64(below.gets.Load()-gets)/float64(reads), below.scans.Load()-scans,
			float64(reads)*float64(b.size)/1e6/took.Seconds())
	}
	for _, z := range cache.Stats().Zones {
		fmt.Fprintf(out, "%+v\n", z)
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
