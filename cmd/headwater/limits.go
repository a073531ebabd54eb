package main

import (
	"bytes"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/admit"
	"headwater/budget"
	"headwater/listen"
)

// parts of an origin's descriptors, and of its memory, that its listeners may take, in percent: whoever
// connects to one takes none from the others, and the store has the rest.
var parts = map[string]int{"publish": 20, "deliver": 60, "control": 5, "ingest": 5}

// limitConnections says what those who connect to an origin's listeners may take, of
// so many descriptors; 0 is not known. One address may take half of it, of the
// delivery's what the flags say.
func (f *originFlags) limitConnections(files int, turns *admit.Turns, mem *budget.Budget, reg *prometheus.Registry) (limits map[string]listen.Limits, pressure func() float64) {
	limits = make(map[string]listen.Limits)
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "headwater", Subsystem: "origin", Name: "dropped_connections_total",
		Help: "Connections that were refused or cut off, by listener and reason."}, []string{"listener", "reason"})
	reg.MustRegister(dropped)
	open := new(atomic.Int64)
	for role, percent := range parts {
		l := listen.Limits{Conns: files * percent / 100, WriteTimeout: writeTimeout, Dropped: func(reason string) { dropped.WithLabelValues(role, reason).Inc() }}
		if role != "control" { // who operates comes in
			l.Room = func() bool { return mem.Let(connBytes) }
		}
		if most := int(mem.Limit() / 100 * int64(percent) / connBytes); most > 0 && (l.Conns == 0 || most < l.Conns) {
			l.Conns = most
		}
		switch role {
		case "publish":
			l.Turns = turns // and reads as who publishes
		case "deliver":
			l.Turns, l.Reads, l.Open = turns, admit.Live, open
			if f.maxConns > 0 && (l.Conns == 0 || f.maxConns < l.Conns) {
				l.Conns = f.maxConns
			}
		}
		l.PerAddress = l.Conns / 2
		if role == "deliver" && f.maxPerAddress > 0 {
			l.PerAddress = f.maxPerAddress
		}
		limits[role] = l
		for _, reason := range listen.Drops {
			dropped.WithLabelValues(role, reason)
		}
	}
	return limits, func() float64 {
		most := limits["deliver"].Conns
		if most == 0 {
			return 0
		}
		return float64(open.Load()) / (float64(most) * 0.8)
	}
}

// limitMemory sets what Go's memory should stay below: what is given, else GOMEMLIMIT,
// else three quarters of what the machine or its control group has. It returns that; 0
// is not known.
func limitMemory(given int64, getenv func(string) string, log *slog.Logger) int64 {
	switch {
	case given > 0:
		// The program itself is in memory, too, and Go does not count it.
		debug.SetMemoryLimit(given - min(given/4, programBytes))
	case getenv("GOMEMLIMIT") == "":
		if all := available(os.ReadFile); all > 0 {
			debug.SetMemoryLimit(all / 4 * 3)
		}
	}
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return 0
	}
	log.Info("memory", "limit", limit)
	return limit
}

// programBytes are those of the program that are resident, about.
const programBytes = 32 << 20

// What one connection may take: of an origin, a head as long as heads may be, buffers and
// a goroutine; of an edge, which counts heads, buffers of TLS.
const (
	connBytes     = 64 << 10
	edgeConnBytes = 8 << 10
)

// budgetOf is the budget of a process that is to stay below limit, and its metrics.
func budgetOf(role string, limit int64, reg prometheus.Registerer) *budget.Budget {
	b := budget.New(limit)
	for _, g := range []struct {
		name, help string
		f          func() int64
	}{
		{"limit_bytes", "What all memory is to stay below; 0 is no bound.", b.Limit},
		{"counted_bytes", "Of memory: bodies and segments.", b.Counted},
		{"rest_bytes", "Of memory: all else that was in use when it was measured last.", b.Rest},
	} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "headwater", Subsystem: role, Name: "budget_" + g.name, Help: g.help}, func() float64 { return float64(g.f()) }))
	}
	return b
}

// available is what there is for this process (proc_meminfo(5), cgroups(7)).
func available(read func(name string) ([]byte, error)) (all int64) {
	b, _ := read("/proc/meminfo")
	for line := range bytes.Lines(b) {
		if f := strings.Fields(string(line)); len(f) > 1 && f[0] == "MemTotal:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			all = kb << 10
		}
	}
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, _ := read(name)
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 && (all == 0 || n < all) {
			all = n
		}
	}
	return all
}

// within is want, or less where that is too large a part of memory, but no less than
// least.
func within(want, limit, least int64) int64 {
	if limit == 0 {
		return want
	}
	return max(min(want, limit/4), least)
}
