// Origin measures an origin over each of its stores: PUT to 201 and GET to the
// last byte of 1.5 MB segments at 1, 4 and 8 clients; how many of 10,000 reads
// reach Cassandra behind memcached; what many events at once cost; what a storm of readers does to publishing; and
// how soon a crowd has the next segment. Clients are on the same machine.
//
//	cd bench && go run ./origin
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headwater/live"
)

func main() {
	stores := flag.String("stores", "memory,disk,cassandra,cached,s3", "`STORES` to measure")
	count := flag.Int("count", 200, "`NUMBER` of segments for each figure")
	size := flag.Int("size", 1_500_000, "`BYTES` of a segment")
	parts := flag.String("parts", "latency,reads,storm,crowd,events", "`PARTS` to run")
	read := flag.String("read", "", "be readers of this `URL` prefix")
	rate := flag.Float64("rate", 0, "GETs a second of the readers")
	segments := flag.String("numbers", "", "`NUMBERS` that the readers read")
	flag.Parse()
	if *read != "" {
		beReaders(*read, *rate, strings.Split(*segments, ","))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, strings.Split(*stores, ","), strings.Split(*parts, ","), *count, *size); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stores, parts []string, count, size int) error {
	// Not below /tmp, which may be memory.
	dir, err := os.MkdirTemp("/var/tmp", "headwater-origin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := &rigs{dir: dir, bin: filepath.Join(dir, "headwater")}
	defer r.close()
	build := exec.Command("go", "build", "-o", r.bin, "./cmd/headwater")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	fmt.Printf("Segments of %.1f MB, %d for each figure; %s, %d CPUs, clients on the same.\n", float64(size)/1e6, count, runtime.Version(), runtime.NumCPU())
	if slices.Contains(parts, "latency") {
		fmt.Println("\n| store | clients | PUT p50 ms | PUT p99 ms | PUT MB/s | GET p50 ms | GET p99 ms | GET MB/s |")
		fmt.Println("|---|---|---|---|---|---|---|---|")
		for _, name := range stores {
			if err := r.latency(ctx, name, count, size); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if slices.Contains(parts, "reads") {
		if err := r.reads(ctx, size); err != nil {
			return err
		}
	}
	if slices.Contains(parts, "crowd") {
		if err := r.crowd(ctx, size); err != nil {
			return err
		}
	}
	if slices.Contains(parts, "events") {
		if err := r.events(ctx); err != nil {
			return err
		}
	}
	if slices.Contains(parts, "storm") {
		if err := r.storm(ctx, size); err != nil {
			return err
		}
	}
	return nil
}

// latency prints the rows of one store. The origin's window in memory holds
// next to nothing, so that GETs are answered by the store.
func (r *rigs) latency(ctx context.Context, name string, count, size int) error {
	b, err := r.open(ctx, name)
	if err != nil {
		return err
	}
	o, err := newOrigin(r.dir, r.bin, b.env, append(b.flags, "--memory", "2MiB"), false, "latency-"+name)
	if err != nil {
		return err
	}
	defer o.close()
	if _, _, err := together(4, 20, func(int) (time.Duration, error) { _, d, err := o.put(size); return d, err }); err != nil {
		return err
	}
	for _, clients := range []int{1, 4, 8} {
		var mu sync.Mutex
		var numbers []live.Number
		puts, putTime, err := together(clients, count, func(int) (time.Duration, error) {
			n, d, err := o.put(size)
			mu.Lock()
			numbers = append(numbers, n)
			mu.Unlock()
			return d, err
		})
		if err != nil {
			return err
		}
		rand.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
		gets, getTime, err := together(clients, count, func(i int) (time.Duration, error) { return o.get(numbers[i]) })
		if err != nil {
			return err
		}
		rate := func(d time.Duration) float64 { return float64(count) * float64(size) / 1e6 / d.Seconds() }
		fmt.Printf("| %s | %d | %.1f | %.1f | %.0f | %.1f | %.1f | %.0f |\n", b.name, clients,
			puts.at(0.5), puts.at(0.99), rate(putTime), gets.at(0.5), gets.at(0.99), rate(getTime))
	}
	return nil
}

// storeReads is how many values delivery has read from Cassandra.
func (o *origin) storeReads() (float64, error) {
	return metric(o.deliver, "headwater_cache_store_reads_total", o.deliverClient...)
}

// reads prints how many of 10,000 reads of 100 segments reach Cassandra.
func (r *rigs) reads(ctx context.Context, size int) error {
	b, err := r.open(ctx, "cached")
	if err != nil {
		return err
	}
	fmt.Println("\n| 10,000 GETs of 100 segments | reads of Cassandra | share |")
	fmt.Println("|---|---|---|")
	for _, w := range []struct{ what, memory string }{{"nothing in the origin's memory, all in memcached", "2MiB"}, {"live window (the origin's memory)", "256MiB"}} {
		o, err := newOrigin(r.dir, r.bin, b.env, append(b.flags, "--memory", w.memory), false, "reads-"+strings.ToLower(w.memory))
		if err != nil {
			return err
		}
		err = func() error {
			defer o.close()
			var numbers []live.Number
			for range 100 {
				n, _, err := o.put(size)
				if err != nil {
					return err
				}
				numbers = append(numbers, n)
			}
			before, err := o.storeReads()
			if err != nil {
				return err
			}
			if _, _, err := together(8, 10_000, func(int) (time.Duration, error) { return o.get(numbers[rand.IntN(len(numbers))]) }); err != nil {
				return err
			}
			after, err := o.storeReads()
			if err != nil {
				return err
			}
			fmt.Printf("| %s | %.0f | %.2f %% |\n", w.what, after-before, (after-before)/100)
			return nil
		}()
		if err != nil {
			return err
		}
	}
	return nil
}

// storm prints what PUTs take while readers take half of what the deliver
// role can give, and what they take without.
func (r *rigs) storm(ctx context.Context, size int) error {
	b, err := r.open(ctx, "cached")
	if err != nil {
		return err
	}
	o, err := newOrigin(r.dir, r.bin, b.env, b.flags, true, "storm")
	if err != nil {
		return err
	}
	defer o.close()
	var numbers []live.Number
	for range 60 {
		n, _, err := o.put(size)
		if err != nil {
			return err
		}
		numbers = append(numbers, n)
	}
	any := func(int) (time.Duration, error) { return o.get(numbers[rand.IntN(len(numbers))]) }
	if _, _, err := together(16, 200, any); err != nil {
		return err
	}
	const most = 2000
	_, took, err := together(16, most, any)
	if err != nil {
		return err
	}
	all := float64(most) / took.Seconds()
	before, err := o.storeReads()
	if err != nil {
		return err
	}
	fmt.Printf("\nThe deliver role gives %.0f GETs a second at most. PUTs: 10 a second. The deliver role and its readers run at nice 19.\n\n", all)
	fmt.Println("| readers | GETs a second | PUT p50 ms | PUT p99 ms | PUT max ms |")
	fmt.Println("|---|---|---|---|---|")
	for round := range 2 {
		quiet, err := o.paced(10, 20*time.Second, size)
		if err != nil {
			return err
		}
		readers, err := o.readers(all/2, numbers)
		if err != nil {
			return err
		}
		begun := time.Now()
		loaded, err := o.paced(10, 20*time.Second, size)
		length := time.Since(begun)
		got, e := readers()
		if err = errors.Join(err, e); err != nil {
			return err
		}
		fmt.Printf("| none | 0 | %.1f | %.1f | %.1f |\n", quiet.at(0.5), quiet.at(0.99), quiet.at(1))
		fmt.Printf("| storm | %.0f | %.1f | %.1f | %.1f |\n", float64(got)/length.Seconds(), loaded.at(0.5), loaded.at(0.99), loaded.at(1))
		fmt.Fprintf(os.Stderr, "round %d: p99 ratio %.2f\n", round+1, loaded.at(0.99)/quiet.at(0.99))
	}
	after, err := o.storeReads()
	if err != nil {
		return err
	}
	fmt.Printf("\nReads of Cassandra in that time: %.0f.\n", after-before)
	return nil
}

// readers starts a process that reads at a rate, behind everything else in the
// queue for a core, as if on another machine. What is returned ends it and says
// how much it has read.
func (o *origin) readers(rate float64, numbers []live.Number) (func() (int, error), error) {
	var list []string
	for _, n := range numbers {
		list = append(list, n.String())
	}
	cmd := exec.Command("nice", "-n", "19", os.Args[0], "-read", fmt.Sprintf("%s/%s/%s/%s/", o.deliver, tenant, o.event, rendition),
		"-rate", fmt.Sprint(rate), "-numbers", strings.Join(list, ","))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() (n int, err error) {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			return 0, err
		}
		_, err = fmt.Sscan(out.String(), &n)
		return n, err
	}, nil
}

func beReaders(prefix string, rate float64, numbers []string) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var done atomic.Int64
	pace(ctx, rate, func() {
		resp, err := client.Get(prefix + numbers[rand.IntN(len(numbers))] + ".m4s")
		if err != nil {
			return
		}
		defer resp.Body.Close()
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{resp.Body}, *buf); err == nil && resp.StatusCode == 200 {
			done.Add(1)
		}
	})
	fmt.Println(done.Load())
}

// paced publishes so many segments a second.
func (o *origin) paced(rate float64, length time.Duration, size int) (times, error) {
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	var mu sync.Mutex
	var all times
	var failed error
	pace(ctx, rate, func() {
		_, d, err := o.put(size)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed = err
			return
		}
		all = append(all, d)
	})
	slices.Sort(all)
	return all, failed
}

// pace does op at a rate, whether or not the one before has ended, and returns
// how often when all have.
func pace(ctx context.Context, rate float64, op func()) int {
	var wg sync.WaitGroup
	begun, n := time.Now(), 0
	slots := make(chan struct{}, 256)
	for ctx.Err() == nil {
		due := begun.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		slots <- struct{}{}
		n++
		wg.Go(func() {
			defer func() { <-slots }()
			op()
		})
	}
	wg.Wait()
	return n
}
