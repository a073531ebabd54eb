package object

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// diskMetrics are the counters of the cache on disk.
type diskMetrics struct {
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

func newDiskMetrics(d *Disk, reg prometheus.Registerer) *diskMetrics {
	auto := promauto.With(reg)
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "headwater", Subsystem: "edge", Name: name, Help: help}
	}
	m := &diskMetrics{
		reads:   auto.NewCounterVec(prometheus.CounterOpts(opts("disk_reads_total", "Look-ups on the disk by result.")), []string{"result"}),
		writes:  auto.NewCounter(prometheus.CounterOpts(opts("disk_writes_total", "Segments and init segments written to the disk."))),
		written: auto.NewCounter(prometheus.CounterOpts(opts("disk_written_bytes_total", "Bytes of their bodies."))),
		drops:   auto.NewCounterVec(prometheus.CounterOpts(opts("disk_drops_total", "Answers that were not written to the disk, by reason.")), []string{"reason"}),
	}
	for _, r := range diskResults {
		m.reads.WithLabelValues(r)
	}
	for _, r := range diskReasons {
		m.drops.WithLabelValues(r)
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts(opts("disk_up", "Whether there is a disk and it works.")), func() float64 {
		if d.open == nil || d.fault() != nil {
			return 0
		}
		return 1
	})
	auto.NewGaugeFunc(prometheus.GaugeOpts(opts("disk_bytes", "Bytes that the cache takes on the disk.")), func() float64 { b, _ := d.usage(); return float64(b) })
	auto.NewGaugeFunc(prometheus.GaugeOpts(opts("disk_objects", "Objects on the disk.")), func() float64 { _, n := d.usage(); return float64(n) })
	return m
}

func (m *diskMetrics) drop(reason string) { m.drops.WithLabelValues(reason).Inc() }

func (d *Disk) usage() (bytes int64, objects int) {
	d.mu.Lock()
	st := d.store
	d.mu.Unlock()
	if st == nil {
		return 0, 0
	}
	s := st.Stats().Media
	return s.Bytes, s.Items
}
