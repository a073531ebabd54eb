package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"headwater/live"
)

const (
	eventSegments = 10     // of each rendition, for each figure
	eventBytes    = 50_000 // of a segment
)

// events prints what a number of events of 20 renditions at once, and one event of 512, cost
// one origin over a disk store, each rendition published in real time by one pipeline.
func (r *rigs) events(ctx context.Context) error {
	fmt.Printf("\n| events | renditions | PUTs | PUT p50 ms | PUT p99 ms | CPU of the origin | CPU per 20 renditions | RSS MB |\n|---|---|---|---|---|---|---|---|\n")
	b, err := r.open(ctx, "disk")
	if err != nil {
		return err
	}
	for _, x := range []struct{ count, renditions int }{{1, 20}, {10, 20}, {50, 20}, {1, 512}} {
		if err := r.manyEvents(ctx, b, x.count, x.renditions); err != nil {
			return fmt.Errorf("%d events of %d renditions: %w", x.count, x.renditions, err)
		}
	}
	return nil
}

func (r *rigs) manyEvents(ctx context.Context, b backend, count, renditions int) error {
	o, err := newOrigin(r.dir, r.bin, b.env, append(slices.Clone(b.flags), "--tenant-renditions", "2000"), false, fmt.Sprintf("events-%d-%d", count, renditions))
	if err != nil {
		return err
	}
	defer o.close()
	ev := o.m.event
	ev.Start = time.Now().Add(16 * time.Second).Truncate(2 * time.Second).UTC()
	ev.DVRSeconds, ev.LiveWindowSeconds = 600, 30
	ev.Renditions = nil
	for i := range renditions {
		ev.Renditions = append(ev.Renditions, live.Rendition{Name: fmt.Sprintf("v%d", i), Type: live.Video, Bandwidth: int64(8*eventBytes/2 + i)})
	}
	body, err := json.Marshal(ev)
	if err != nil {
		return err
	}
	m := *o.m
	m.event, m.tl = ev, ev.Timeline()
	path := func(e, i int, name string) string {
		return fmt.Sprintf("%s/%s/many-%d-%d-%d/%s/v%d/%s", o.publish, tenant, count, renditions, e, pipeline, i, name)
	}
	for e := range count {
		if err := o.do(http.MethodPut, fmt.Sprintf("%s/v1/events/%s/many-%d-%d-%d", o.control, tenant, count, renditions, e), body); err != nil {
			return err
		}
	}
	// Init segments, as many at a time as an origin gets of encoders that begin.
	if _, _, err := together(8, count*renditions, func(i int) (time.Duration, error) {
		return 0, o.do(http.MethodPut, path(i/renditions, i%renditions, "init.mp4"), m.init)
	}); err != nil {
		return err
	}
	if wait := time.Until(ev.Start); wait > 0 {
		time.Sleep(wait)
	}
	pid := o.processes[0].PID()
	before, err := cpuOf(pid)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var all times
	var errs []error
	var wg sync.WaitGroup
	begun := time.Now()
	for e := range count {
		for i := range renditions {
			spread := rand.N(500 * time.Millisecond) // encoders end a segment within so long
			wg.Go(func() {
				for k := range live.Number(eventSegments) {
					n := m.tl.First() + k
					time.Sleep(time.Until(m.tl.End(n).Add(spread)))
					segment := m.segment(n, eventBytes)
					sent := time.Now()
					err := o.do(http.MethodPut, path(e, i, n.String()+".m4s"), segment)
					took := time.Since(sent)
					mu.Lock()
					if err != nil {
						errs = append(errs, err)
					} else {
						all = append(all, took)
					}
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	after, err := cpuOf(pid)
	if err != nil {
		return err
	}
	rss, err := rssOf(pid)
	if err != nil {
		return err
	}
	slices.Sort(all)
	share := (after - before).Seconds() / time.Since(begun).Seconds() * 100
	fmt.Printf("| %d | %d | %d | %.1f | %.1f | %.0f%% | %.2f%% | %d |\n", count, count*renditions, len(all), all.at(0.5), all.at(0.99), share, share/float64(count*renditions)*20, rss>>20)
	return nil
}

// cpuOf is what a process has taken of processors.
func cpuOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var sum int64
	for _, i := range []int{11, 12} { // utime, stime, in hundredths of a second
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond, nil
}

func rssOf(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}
