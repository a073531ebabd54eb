package main

import (
	"errors"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestMemoryOfTheMachineOrItsGroup(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		want  int64
	}{
		{map[string]string{"/proc/meminfo": "MemTotal:       24000 kB\nMemFree:  1 kB\n", "/sys/fs/cgroup/memory.max": "max\n"}, 24000 << 10},
		{map[string]string{"/proc/meminfo": "MemTotal:       24000 kB\n", "/sys/fs/cgroup/memory.max": "1048576\n"}, 1 << 20},
		{map[string]string{"/proc/meminfo": "MemTotal:       24000 kB\n", "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 24000 << 10},
		{nil, 0},
	} {
		got := available(func(name string) ([]byte, error) {
			if s, ok := c.files[name]; ok {
				return []byte(s), nil
			}
			return nil, errors.New("not there")
		})
		if got != c.want {
			t.Errorf("%v: %d, want %d", c.files, got, c.want)
		}
	}
	for _, c := range []struct{ want, limit, least, is int64 }{{100, 0, 10, 100}, {100, 1000, 10, 100}, {100, 100, 10, 25}, {100, 100, 50, 50}} {
		if got := within(c.want, c.limit, c.least); got != c.is {
			t.Errorf("%v: %d", c, got)
		}
	}
}

// What connects to one listener leaves descriptors for the others, and for the store.
func TestListenersShareDescriptors(t *testing.T) {
	limits, _ := new(originFlags).limitConnections(400, nil, nil, prometheus.NewRegistry())
	sum := 0
	for role, l := range limits {
		sum += l.Conns
		if l.Conns < 20 || l.PerAddress != l.Conns/2 {
			t.Errorf("%s: %d connections, %d of an address", role, l.Conns, l.PerAddress)
		}
	}
	if sum > 360 {
		t.Errorf("listeners may take %d of 400 descriptors", sum)
	}
	f := originFlags{maxConns: 100, maxPerAddress: 80}
	if limits, _ := f.limitConnections(400, nil, nil, prometheus.NewRegistry()); limits["deliver"].Conns != 100 || limits["deliver"].PerAddress != 80 {
		t.Errorf("the flags are not heeded: %+v", limits["deliver"])
	}
	if limits, pressure := new(originFlags).limitConnections(0, nil, nil, prometheus.NewRegistry()); limits["deliver"].Conns != 0 || pressure() != 0 {
		t.Errorf("a bound where nothing is known: %+v", limits["deliver"])
	}
}

// TestMoreThreads: a second origin in one process gets no more threads than the first.
func TestMoreThreads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	none := func(string) string { return "" }
	cores := moreThreads(none)
	threads := runtime.GOMAXPROCS(0)
	if again := moreThreads(none); again != cores || runtime.GOMAXPROCS(0) != threads || threads != 2*cores+2 {
		t.Errorf("%d and %d processors, %d and %d threads", cores, again, threads, runtime.GOMAXPROCS(0))
	}
}
