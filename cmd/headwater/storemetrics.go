package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"headwater/store"
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
