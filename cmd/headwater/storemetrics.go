package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"headwater/store"
	"headwater/store/disk"
)

// storeSignals is a collector of what a store tells about itself.
type storeSignals struct{ store store.Store }

// storeGauges are the figures of a signal, each with the label op.
var storeGauges = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(store.Signal) float64
}{
	{storeDesc("operations_total", "Requests to the store's backend, hedges and retries not counted."), prometheus.CounterValue, func(s store.Signal) float64 { return float64(s.Operations) }},
	{storeDesc("errors_total", "Of them, those that failed in the end."), prometheus.CounterValue, func(s store.Signal) float64 { return float64(s.Errors) }},
	{storeDesc("retries_total", "Attempts after one that failed."), prometheus.CounterValue, func(s store.Signal) float64 { return float64(s.Retries) }},
	{storeDesc("hedges_total", "Attempts beside one that was late."), prometheus.CounterValue, func(s store.Signal) float64 { return float64(s.Hedges) }},
	{storeDesc("hedges_won_total", "Hedges that answered first."), prometheus.CounterValue, func(s store.Signal) float64 { return float64(s.HedgesWon) }},
	{storeDesc("hedges_held_total", "Hedges not made, because there were too many."), prometheus.CounterValue, func(s store.Signal) float64 { return float64(s.HedgesHeld) }},
	{storeDesc("seconds_total", "Time in all requests."), prometheus.CounterValue, func(s store.Signal) float64 { return s.SecondsSpent }},
	{storeDesc("p50_seconds", "Median of the last 10 s."), prometheus.GaugeValue, func(s store.Signal) float64 { return s.P50.Seconds() }},
	{storeDesc("p95_seconds", "95th percentile of the last 10 s; hedges are made after it."), prometheus.GaugeValue, func(s store.Signal) float64 { return s.P95.Seconds() }},
	{storeDesc("p99_seconds", "99th percentile of the last 10 s."), prometheus.GaugeValue, func(s store.Signal) float64 { return s.P99.Seconds() }},
	{storeDesc("goal_seconds", "Where the 99th percentile should be."), prometheus.GaugeValue, func(s store.Signal) float64 { return s.Goal.Seconds() }},
	{storeDesc("slow_share", "Share of the last 10 s that was slower than the goal."), prometheus.GaugeValue, func(s store.Signal) float64 { return s.Slow }},
	{storeDesc("failed_share", "Share of the last 10 s that failed."), prometheus.GaugeValue, func(s store.Signal) float64 { return s.Failed }},
}

func storeDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("headwater_store_"+name, help, []string{"op"}, nil)
}

// Describe implements prometheus.Collector.
func (c storeSignals) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range storeGauges {
		ch <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (c storeSignals) Collect(ch chan<- prometheus.Metric) {
	for _, s := range store.SignalsOf(c.store) {
		for _, g := range storeGauges {
			ch <- prometheus.MustNewConstMetric(g.desc, g.kind, g.value(s), s.Op)
		}
	}
}

// diskFigures is a collector of how a disk store is doing.
type diskFigures struct {
	flag  string // that named it
	store *yieldingStore
}

// diskGauges are the figures of each namespace.
var diskGauges = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(disk.NamespaceStats) float64
}{
	{diskDesc("bytes", "Bytes of the log files.", "namespace"), prometheus.GaugeValue, func(s disk.NamespaceStats) float64 { return float64(s.Bytes) }},
	{diskDesc("live_bytes", "Of them, bytes of what is there to be read.", "namespace"), prometheus.GaugeValue, func(s disk.NamespaceStats) float64 { return float64(s.LiveBytes) }},
	{diskDesc("items", "Items, some of which may have expired.", "namespace"), prometheus.GaugeValue, func(s disk.NamespaceStats) float64 { return float64(s.Items) }},
	{diskDesc("full_total", "Writes refused because the store was full.", "namespace"), prometheus.CounterValue, func(s disk.NamespaceStats) float64 { return float64(s.Refusals) }},
	{diskDesc("errors_total", "Writes and syncs that failed.", "namespace"), prometheus.CounterValue, func(s disk.NamespaceStats) float64 { return float64(s.WriteErrors + s.SyncErrors) }},
	{diskDesc("corrupt_total", "Damage found at the start, and reads whose checksum failed.", "namespace"), prometheus.CounterValue, func(s disk.NamespaceStats) float64 { return float64(s.CorruptRecords) }},
	{diskDesc("mended_total", "Records of which one of two copies was damaged, and the other was used.", "namespace"), prometheus.CounterValue, func(s disk.NamespaceStats) float64 { return float64(s.Mended) }},
	{diskDesc("lost_items", "Items that were stored and are not there any more, neither expired nor put again.", "namespace"), prometheus.GaugeValue, func(s disk.NamespaceStats) float64 { return float64(s.Lost) }},
}

var diskFree = diskDesc("free_bytes", "Bytes free on the file system, the store's reserve included.")

var diskWritable = diskDesc("writable", "1, or 0 where nothing may be written: the file system is read only, or another process has the directory.")

func diskDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("headwater_store_disk_"+name, help, append([]string{"store"}, labels...), nil)
}

// Describe implements prometheus.Collector. It describes nothing: there may be
// two of these, whose metrics differ in a label.
func (d diskFigures) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (d diskFigures) Collect(ch chan<- prometheus.Metric) {
	now := d.store.now()
	if now == nil {
		return
	}
	st := now.Stats()
	for namespace, s := range map[string]disk.NamespaceStats{store.Media: st.Media, store.Control: st.Control} {
		for _, g := range diskGauges {
			ch <- prometheus.MustNewConstMetric(g.desc, g.kind, g.value(s), d.flag, namespace)
		}
	}
	writable := 1.0
	if now.Writable() != nil {
		writable = 0
	}
	ch <- prometheus.MustNewConstMetric(diskWritable, prometheus.GaugeValue, writable, d.flag)
	// Where the file system does not say, there is no figure.
	if free, err := now.FreeBytes(); err == nil {
		ch <- prometheus.MustNewConstMetric(diskFree, prometheus.GaugeValue, float64(free), d.flag)
	}
}
