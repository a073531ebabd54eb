package blobs

import "github.com/prometheus/client_golang/prometheus"

// An outcome is how asking a server ended. Counters share the names.
type outcome int

const (
	done     outcome = iota
	missed           // a read: it does not have all of it
	wrong            // a read: what it has is not what was asked for
	refused          // a write: it did not take all of it
	away             // it was left alone, after it failed before
	busy             // all connections were in use for as long as there was time
	late             // it did not answer in time, and is left alone
	failed           // it could not be reached, or broke off, and is left alone
	dropped          // a write that is not worth it: too many fills were under way, or it has expired
	unwanted         // the caller left
	outcomes
)

func (o outcome) String() string {
	return [...]string{"done", "missed", "wrong", "refused", "away", "busy", "late", "failed", "dropped", "unwanted"}[o]
}

// counts is a counter for each outcome in each zone.
type counts struct{ *prometheus.CounterVec }

func (c counts) of(z *zone, o outcome) prometheus.Counter {
	return c.WithLabelValues(z.name, o.String())
}

// metrics is what a Cache counts.
type metrics struct {
	reads, writes, fills counts
	storeReads           prometheus.Counter
	read, written        *prometheus.CounterVec
	ejections, returns   *prometheus.CounterVec
}

func newMetrics(c *Cache) *metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "headwater_cache_" + name, Help: help}, append([]string{"zone"}, labels...))
	}
	m := &metrics{
		reads:      counts{vec("reads_total", "Reads of segments' bytes that a zone was asked for.", "outcome")},
		writes:     counts{vec("writes_total", "Writes beside the store's.", "outcome")},
		fills:      counts{vec("fills_total", "Writes of what a read had missed.", "outcome")},
		read:       vec("read_bytes_total", "Bytes read from the zone."),
		written:    vec("written_bytes_total", "Bytes written to the zone."),
		ejections:  vec("ejections_total", "Servers that were left alone after a failure."),
		returns:    vec("returns_total", "Servers that were taken back."),
		storeReads: prometheus.NewCounter(prometheus.CounterOpts{Name: "headwater_cache_store_reads_total", Help: "Segments read from the store because no zone had them."}),
	}
	for _, z := range c.zones {
		for o := range outcomes {
			for _, v := range []counts{m.reads, m.writes, m.fills} {
				v.of(z, o)
			}
		}
		for _, v := range []*prometheus.CounterVec{m.read, m.written, m.ejections, m.returns} {
			v.WithLabelValues(z.name)
		}
	}
	return m
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.reads, m.writes, m.fills, m.storeReads, m.read, m.written, m.ejections, m.returns}
}

var (
	descServers = prometheus.NewDesc("headwater_cache_servers", "Servers of the zone.", []string{"zone"}, nil)
	descUp      = prometheus.NewDesc("headwater_cache_servers_up", "Servers of the zone that are not left alone.", []string{"zone"}, nil)
	descConns   = prometheus.NewDesc("headwater_cache_connections", "Connections to the servers of the zone.", []string{"zone"}, nil)
)

// Describe implements prometheus.Collector.
func (c *Cache) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics.all() {
		m.Describe(ch)
	}
	ch <- descServers
	ch <- descUp
	ch <- descConns
}

// Collect implements prometheus.Collector.
func (c *Cache) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c.metrics.all() {
		m.Collect(ch)
	}
	for _, z := range c.zones {
		up, conns := 0, 0
		for _, s := range z.servers {
			n, ok := s.state()
			if conns += n; ok {
				up++
			}
		}
		for desc, v := range map[*prometheus.Desc]int{descServers: len(z.servers), descUp: up, descConns: conns} {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(v), z.name)
		}
	}
}
