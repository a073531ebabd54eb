// Command store compares ways to make video segments durable on one disk: the
// project's log (store/disk), a file per object, and Pebble. It prints a table.
//
//	go run ./store -dir /var/tmp
//
// All write the same bytes from the same number of writers and return only when
// the bytes are synced. The line (device) is what the disk takes of unsynced
// direct writes: nothing synced can be faster. Contenders take turns in short rounds, each in a fresh
// directory, so that a disk whose speed drifts treats them alike; the figures
// are medians over the rounds, with the slowest and fastest in brackets.
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
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

func main() {
	dir := flag.String("dir", ".", "directory on the disk to measure; a temporary one is made in it")
	sizes := flag.String("sizes", "1500000,100000", "value sizes in bytes, with commas")
	writers := flag.Int("writers", 8, "concurrent writers")
	rounds := flag.Int("rounds", 5, "rounds of each contender and size")
	each := flag.Duration("for", 2*time.Second, "time of one round")
	only := flag.String("only", "", "contenders, with commas (default all)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *dir, *sizes, *writers, *rounds, *each, *only); err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, parent, sizeList string, writers, rounds int, each time.Duration, only string) error {
	var sizes []int
	for s := range strings.SplitSeq(sizeList, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("-sizes: %q is no size", s)
		}
		sizes = append(sizes, n)
	}
	chosen := contenders()
	if only != "" {
		chosen = slices.DeleteFunc(chosen, func(c contender) bool {
			return !slices.Contains(strings.Split(only, ","), c.name)
		})
	}
	if len(chosen) == 0 || writers < 1 || rounds < 1 {
		return errors.New("-only, -writers or -rounds leaves nothing to do")
	}
	dir, err := os.MkdirTemp(parent, "bench-store-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%d writers, all synced, %d rounds of %v\t\t\t\t\t\n", writers, rounds, each)
	fmt.Fprint(table, "value\tcontender\tMB/s\tp50 ms\tp99 ms\tof the first\t\n")
	for _, size := range sizes {
		results := make([][]result, len(chosen))
		for round := range rounds {
			for i := range chosen {
				// Another order each round: nobody always comes after the same one.
				c := (i + round) % len(chosen)
				r, err := measure(ctx, chosen[c], filepath.Join(dir, "round"), size, writers, each)
				if err != nil {
					return fmt.Errorf("%s: %w", chosen[c].name, err)
				}
				results[c] = append(results[c], r)
			}
		}
		first := median(results[0], rate)
		for c, rs := range results {
			fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%.2f\t\n", size, chosen[c].name,
				spread(rs, rate, "%.0f"), spread(rs, p50, "%.1f"), spread(rs, p99, "%.1f"), median(rs, rate)/first)
		}
	}
	return table.Flush()
}

type result struct {
	bytes     int64
	took      time.Duration
	latencies []time.Duration // sorted
}

func rate(r result) float64 { return float64(r.bytes) / r.took.Seconds() / 1e6 }
func p50(r result) float64  { return r.percentile(50) }
func p99(r result) float64  { return r.percentile(99) }

// percentile is in milliseconds.
func (r result) percentile(p int) float64 {
	return float64(r.latencies[(len(r.latencies)-1)*p/100]) / 1e6
}

func sorted(rs []result, f func(result) float64) []float64 {
	var v []float64
	for _, r := range rs {
		v = append(v, f(r))
	}
	slices.Sort(v)
	return v
}

func median(rs []result, f func(result) float64) float64 { return sorted(rs, f)[len(rs)/2] }

func spread(rs []result, f func(result) float64, format string) string {
	v := sorted(rs, f)
	return fmt.Sprintf(format+" ["+format+"-"+format+"]", v[len(v)/2], v[0], v[len(v)-1])
}

func measure(ctx context.Context, c contender, dir string, size, writers int, each time.Duration) (result, error) {
	defer os.RemoveAll(dir)
	db, err := c.open(dir)
	if err != nil {
		return result{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var r result
	var wg sync.WaitGroup
	start := time.Now()
	end := start.Add(each)
	for w := range writers {
		wg.Go(func() {
			// Bytes that do not compress, a value of its own for each writer.
			value := make([]byte, size)
			rand.NewChaCha8([32]byte{byte(w), byte(size)}).Read(value)
			var own []time.Duration
			for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
				begun := time.Now()
				if err := db.put(ctx, fmt.Sprintf("%08d/%d", n, w), value); err != nil {
					cancel(err)
					return
				}
				own = append(own, time.Since(begun))
			}
			mu.Lock()
			r.latencies = append(r.latencies, own...)
			mu.Unlock()
		})
	}
	wg.Wait()
	r.took = time.Since(start)
	r.bytes = int64(len(r.latencies)) * int64(size)
	slices.Sort(r.latencies)
	if err := context.Cause(ctx); err != nil {
		return r, errors.Join(err, db.Close())
	}
	if len(r.latencies) == 0 {
		return r, errors.Join(errors.New("not one value was written"), db.Close())
	}
	return r, db.Close()
}
