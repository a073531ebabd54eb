package edge

import "github.com/prometheus/client_golang/prometheus"

// diskMetrics are the counters of the cache on disk.
type diskMetrics struct {
	hits    prometheus.Counter
	reads   *prometheus.CounterVec // by result
	writes  prometheus.Counter
	written prometheus.Counter
	drops   *prometheus.CounterVec // by reason
}

// The results of reads, and why answers are not written.
var (
	diskResults = []string{"hit", "miss", "stale", "withdrawn", "corrupt", "error", "slow", "busy", "down", "left"}
	diskReasons = []string{"behind", "failing", "full", "error", "slow", "brief", "undigested", "closing"}
)

func newDiskMetrics(d *diskCache, one func(name, help string) prometheus.Counter,
	vec func(name, help string, labels ...string) *prometheus.CounterVec, gauge func(name, help string, f func() float64)) *diskMetrics {
	m := &diskMetrics{
		hits:    one("disk_hits_total", "Requests answered from the disk."),
		reads:   vec("disk_reads_total", "Look-ups on the disk by result.", "result"),
		writes:  one("disk_writes_total", "Segments and init segments written to the disk."),
		written: one("disk_written_bytes_total", "Bytes of their bodies."),
		drops:   vec("disk_drops_total", "Answers that were not written to the disk, by reason.", "reason"),
	}
	for _, r := range diskResults {
		m.reads.WithLabelValues(r)
	}
	for _, r := range diskReasons {
		m.drops.WithLabelValues(r)
	}
	gauge("disk_up", "Whether there is a disk and it works.", func() float64 {
		if d.open == nil || d.fault() != nil {
			return 0
		}
		return 1
	})
	gauge("disk_bytes", "Bytes that the cache takes on the disk.", func() float64 { b, _ := d.usage(); return float64(b) })
	gauge("disk_objects", "Objects on the disk.", func() float64 { _, n := d.usage(); return float64(n) })
	d.metrics = m
	return m
}

func (m *diskMetrics) drop(reason string) { m.drops.WithLabelValues(reason).Inc() }

func (d *diskCache) usage() (bytes int64, objects int) {
	d.mu.Lock()
	st := d.store
	d.mu.Unlock()
	if st == nil {
		return 0, 0
	}
	s := st.Stats().Media
	return s.Bytes, s.Items
}
