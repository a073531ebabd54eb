package through

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Stats is what a Store counted since it was made.
type Stats struct {
	StoreReads  int64 // values read from the store
	StoreChecks int64 // looks at the store's metadata to see whether an entry is still the newest
	Joined      int64 // Gets that joined one under way
	Zones       []ZoneStats
}

// ZoneStats is what was counted of one zone.
type ZoneStats struct {
	Name          string
	Hits, Misses  int64 // reads it answered; reads that had to ask elsewhere
	Puts          int64 // writes whose item it took
	Refills       int64 // fills after a miss, of items or of chunks
	Overtaken     int64 // fills that came to nothing, because the key had changed
	Owed, Repairs int64 // mutations it did not answer in time; and those it was told of later
	Timeouts      int64 // exchanges it did not answer in time
	Failures      int64 // connections that could not be made, or broke
	Ejections     int64 // servers left alone
	Returns       int64 // servers taken back
	BytesRead     int64 // of values
	BytesWritten  int64
	Servers       int // of its servers, how many
	Up            int // are not ejected
	Connections   int
}

type counters struct{ storeReads, checks, joined atomic.Int64 }

type zoneCounters struct {
	hits, misses, puts, refills, overtaken, owed, repairs,
	timeouts, failures, ejections, returns, read, written atomic.Int64
}

// Stats returns the figures. It is cheap, but not a snapshot.
func (s *Store) Stats() Stats {
	out := Stats{StoreReads: s.count.storeReads.Load(), StoreChecks: s.count.checks.Load(), Joined: s.count.joined.Load()}
	for _, z := range s.zones {
		c := &z.count
		zs := ZoneStats{
			Name: z.name, Hits: c.hits.Load(), Misses: c.misses.Load(), Puts: c.puts.Load(), Refills: c.refills.Load(),
			Overtaken: c.overtaken.Load(), Owed: c.owed.Load(), Repairs: c.repairs.Load(), Timeouts: c.timeouts.Load(),
			Failures: c.failures.Load(), Ejections: c.ejections.Load(), Returns: c.returns.Load(),
			BytesRead: c.read.Load(), BytesWritten: c.written.Load(), Servers: len(z.nodes),
		}
		for _, n := range z.nodes {
			if up, _ := n.srv.Up(); up {
				zs.Up++
			}
			zs.Connections += n.srv.Conns()
		}
		out.Zones = append(out.Zones, zs)
	}
	return out
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("headwater_cache_"+name, help, labels, nil)
}

var (
	descStoreReads  = desc("store_reads_total", "Values read from the store behind the cache.")
	descStoreChecks = desc("store_checks_total", "Looks at the store's metadata to see whether a cached item is still the newest.")
	descJoined      = desc("joined_total", "Reads that joined one under way.")
	descOf          = []struct {
		desc *prometheus.Desc
		kind prometheus.ValueType
		of   func(ZoneStats) int64
	}{
		{desc("hits_total", "Reads that the zone answered.", "zone"), prometheus.CounterValue, func(z ZoneStats) int64 { return z.Hits }},
		{desc("misses_total", "Reads that had to ask elsewhere.", "zone"), prometheus.CounterValue, func(z ZoneStats) int64 { return z.Misses }},
		{desc("puts_total", "Writes whose item the zone took.", "zone"), prometheus.CounterValue, func(z ZoneStats) int64 { return z.Puts }},
		{desc("refills_total", "Fills after a miss.", "zone"), prometheus.CounterValue, func(z ZoneStats) int64 { return z.Refills }},
		{desc("overtaken_total", "Fills that came to nothing because the item had changed.", "zone"), prometheus.CounterValue, func(z ZoneStats) int64 { return z.Overtaken }},
		{desc("owed_total", "Changes that the zone did not answer in time.", "zone"), prometheus.CounterValue, func(z ZoneStats) int64 { return z.Owed }},
		{desc("repairs_total", "Changes that it was told of later.", "zone"), prometheus.CounterValue, func(z ZoneStats) int64 { return z.Repairs }},
		{desc("timeouts_total", "Exchanges that were not answered in time.", "zone"), prometheus.CounterValue, func(z ZoneStats) int64 { return z.Timeouts }},
		{desc("failures_total", "Connections that could not be made, or broke.", "zone"), prometheus.CounterValue, func(z ZoneStats) int64 { return z.Failures }},
		{desc("ejections_total", "Servers that were left alone after failures.", "zone"), prometheus.CounterValue, func(z ZoneStats) int64 { return z.Ejections }},
		{desc("returns_total", "Servers that were taken back.", "zone"), prometheus.CounterValue, func(z ZoneStats) int64 { return z.Returns }},
		{desc("read_bytes_total", "Bytes of values read from the zone.", "zone"), prometheus.CounterValue, func(z ZoneStats) int64 { return z.BytesRead }},
		{desc("written_bytes_total", "Bytes of values written to the zone.", "zone"), prometheus.CounterValue, func(z ZoneStats) int64 { return z.BytesWritten }},
		{desc("servers", "Servers of the zone.", "zone"), prometheus.GaugeValue, func(z ZoneStats) int64 { return int64(z.Servers) }},
		{desc("servers_up", "Servers of the zone that are being used.", "zone"), prometheus.GaugeValue, func(z ZoneStats) int64 { return int64(z.Up) }},
		{desc("connections", "Connections to the servers of the zone.", "zone"), prometheus.GaugeValue, func(z ZoneStats) int64 { return int64(z.Connections) }},
	}
)

// Describe implements prometheus.Collector: a Store can be registered.
func (s *Store) Describe(ch chan<- *prometheus.Desc) {
	ch <- descStoreReads
	ch <- descStoreChecks
	ch <- descJoined
	for _, d := range descOf {
		ch <- d.desc
	}
}

// Collect implements prometheus.Collector.
func (s *Store) Collect(ch chan<- prometheus.Metric) {
	st := s.Stats()
	ch <- prometheus.MustNewConstMetric(descStoreReads, prometheus.CounterValue, float64(st.StoreReads))
	ch <- prometheus.MustNewConstMetric(descStoreChecks, prometheus.CounterValue, float64(st.StoreChecks))
	ch <- prometheus.MustNewConstMetric(descJoined, prometheus.CounterValue, float64(st.Joined))
	for _, z := range st.Zones {
		for _, d := range descOf {
			ch <- prometheus.MustNewConstMetric(d.desc, d.kind, float64(d.of(z)), z.Name)
		}
	}
}
