package origin

import "github.com/prometheus/client_golang/prometheus"

// The metrics of an origin. Each exists at zero from the start, and shares its
// label values with the names in the code. Each part registers its own.

func originName(name string) string { return prometheus.BuildFQName("headwater", "origin", name) }

func newCounter(reg *prometheus.Registry, name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: originName(name), Help: help})
	reg.MustRegister(c)
	return c
}

// newCounters makes one counter for each value of a label.
func newCounters[T ~string](reg *prometheus.Registry, name, help, label string, values []T) map[T]prometheus.Counter {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: originName(name), Help: help}, []string{label})
	reg.MustRegister(v)
	out := make(map[T]prometheus.Counter)
	for _, x := range values {
		out[x] = v.WithLabelValues(string(x))
	}
	return out
}

func newGauge(reg *prometheus.Registry, name, help string, f func() float64) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: originName(name), Help: help}, f))
}

// newSeconds makes a histogram of times.
func newSeconds(reg *prometheus.Registry, name, help string) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: originName(name), Help: help,
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 4}})
	reg.MustRegister(h)
	return h
}
