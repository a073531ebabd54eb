//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A second is what the origin said of itself at one time.
type second struct {
	At         time.Duration      `json:"at_ns"`
	Shed       map[string]float64 `json:"shed"`               // by class, in all
	Answered   map[string]float64 `json:"answered"`           // by class, in all
	Level      map[string]float64 `json:"level,omitempty"`    // share that is refused, by class
	Pressure   map[string]float64 `json:"pressure,omitempty"` // by signal
	StoreReads float64            `json:"store_reads"`
	RSS        int64              `json:"rss_bytes"`
	EdgeRSS    int64              `json:"edge_rss_bytes"`
	EdgeMemory map[string]float64 `json:"edge_memory,omitempty"` // what it is of, every tenth second
	CPU        time.Duration      `json:"cpu_ns"`
	Late       time.Duration      `json:"scrape_ns"` // how long it took to say so
}

// watch asks the origin every second until ctx ends.
func (s *system) watch(ctx context.Context, r *result) {
	client := &http.Client{Timeout: 3 * time.Second}
	seconds := 0
	s.tasks.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			x := second{At: time.Since(r.Began), Shed: map[string]float64{}, Answered: map[string]float64{}, Level: map[string]float64{}, Pressure: map[string]float64{}}
			for _, p := range s.origins {
				x.RSS += resident(p.PID())
				x.CPU += processor(p.PID())
			}
			x.EdgeRSS = resident(s.edge.PID())
			if resp, err := client.Get(s.metricsURL); err == nil {
				x.read(resp.Body)
				resp.Body.Close()
			} else {
				r.unwatched()
			}
			if seconds++; seconds%10 == 1 {
				if resp, err := client.Get("http://" + s.edgeAddr + "/metrics"); err == nil {
					x.EdgeMemory = memoryOf(resp.Body)
					resp.Body.Close()
					log.Printf("edge: %d MB resident; in MB: %s", x.EdgeRSS/1e6, inMB(x.EdgeMemory))
				}
			}
			x.Late = time.Since(r.Began) - x.At
			r.second(x)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

// read takes the counters from the text form of Prometheus.
func (x *second) read(body io.Reader) {
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		metric, labels, _ := strings.Cut(name, "{")
		switch metric {
		case "headwater_origin_shed_total":
			x.Shed[label(labels, "class")] += v
		case "headwater_origin_shed_ratio":
			x.Level[label(labels, "class")] += v
		case "headwater_origin_pressure":
			x.Pressure[label(labels, "signal")] = v
		case "headwater_origin_store_reads_total":
			x.StoreReads += v
		}
	}
}

// memoryMetrics are what the memory of an edge is made of, by the names in results.
var memoryMetrics = map[string]string{
	"go_memstats_heap_alloc_bytes": "heap, garbage included", "go_memstats_heap_inuse_bytes": "heap spans", "go_memstats_heap_idle_bytes": "idle spans",
	"go_memstats_heap_released_bytes": "of them given back", "go_memstats_stack_inuse_bytes": "stacks", "go_memstats_sys_bytes": "all of Go's",
	"headwater_edge_memory_bytes": "objects",
}

func memoryOf(metrics io.Reader) map[string]float64 {
	m := make(map[string]float64)
	lines := bufio.NewScanner(metrics)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if says := memoryMetrics[name]; says != "" {
			m[says], _ = strconv.ParseFloat(value, 64)
		}
	}
	return m
}

func inMB(m map[string]float64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %.0f", name, m[name]/1e6))
	}
	return strings.Join(parts, ", ")
}

func label(labels, name string) string {
	_, rest, _ := strings.Cut(labels, name+`="`)
	v, _, _ := strings.Cut(rest, `"`)
	return v
}

// resident is the memory of a process, in bytes.
func resident(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if f := strings.Fields(string(b)); len(f) > 1 {
		pages, _ := strconv.ParseInt(f[1], 10, 64)
		return pages * int64(os.Getpagesize())
	}
	return 0
}

// processor is how long a process has run.
func processor(pid int) (sum time.Duration) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	if f := strings.Fields(rest); len(f) > 12 {
		for _, ticks := range f[11:13] {
			n, _ := strconv.ParseInt(ticks, 10, 64)
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}

// metrics is all that the origin says of itself.
func (s *system) metrics(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.metricsURL, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}
