// Package metric makes the metrics of an origin. Each exists at zero from the
// start, and shares its label values with the names in the code; each part
// registers its own.
package metric

import "github.com/prometheus/client_golang/prometheus"

// Name is a metric's full name.
func Name(name string) string { return prometheus.BuildFQName("headwater", "origin", name) }

// Counter makes a counter.
func Counter(reg *prometheus.Registry, name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: Name(name), Help: help})
	reg.MustRegister(c)
	return c
}

// Counters makes one counter for each value of a label.
func Counters[T ~string](reg *prometheus.Registry, name, help, label string, values []T) map[T]prometheus.Counter {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: Name(name), Help: help}, []string{label})
	reg.MustRegister(v)
	out := make(map[T]prometheus.Counter)
	for _, x := range values {
		out[x] = v.WithLabelValues(string(x))
	}
	return out
}

// Gauge makes a gauge that is read when it is asked for.
func Gauge(reg *prometheus.Registry, name, help string, f func() float64) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: Name(name), Help: help}, f))
}

// Seconds makes a histogram of times.
func Seconds(reg *prometheus.Registry, name, help string) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: Name(name), Help: help,
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 4}})
	reg.MustRegister(h)
	return h
}
