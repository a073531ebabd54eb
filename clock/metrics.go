package clock

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	offsetDesc  = prometheus.NewDesc("headwater_clock_offset_seconds", "What clocks say, by source, minus what this process tells: of the clocks of a kind the furthest; 0 where there is none.", []string{"source"}, nil)
	sourcesDesc = prometheus.NewDesc("headwater_clock_sources", "Clocks that are heard, by source.", []string{"source"}, nil)
	errorDesc   = prometheus.NewDesc("headwater_clock_error_seconds", "How far off what this process tells may be, by what others say.", nil, nil)
	agreeDesc   = prometheus.NewDesc("headwater_clock_agree_ratio", "Share of all clocks, by weight, that agree with this one.", nil, nil)
	stateDesc   = prometheus.NewDesc("headwater_clock_state", "1 for what the clock is: alone, agreed, wrong (and being corrected) or disputed; else 0.", []string{"state"}, nil)
	trustedDesc = prometheus.NewDesc("headwater_clock_trusted", "0 where the clock is known to be off by more than it may be corrected, else 1.", nil, nil)
	stepsDesc   = prometheus.NewDesc("headwater_clock_steps_total", "Steps of the system's clock that were noticed.", nil, nil)
	correctDesc = prometheus.NewDesc("headwater_clock_corrections_total", "Corrections of the clock, at once or little by little.", []string{"how"}, nil)
)

// Describe implements prometheus.Collector.
func (c *Clock) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{offsetDesc, sourcesDesc, errorDesc, agreeDesc, stateDesc, trustedDesc, stepsDesc, correctDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Clock) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	passed := time.Since(c.start)
	told := c.line.Load().at(passed)
	far, count := make(map[Kind]time.Duration), make(map[Kind]float64)
	for source, t := range c.tracks {
		if s, ok := t.best(passed); ok {
			count[source.Kind]++
			if off := (s.lo+s.hi)/2 - told; off.Abs() >= far[source.Kind].Abs() {
				far[source.Kind] = off
			}
		}
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, k := range Kinds {
		gauge(offsetDesc, far[k].Seconds(), string(k))
		gauge(sourcesDesc, count[k], string(k))
	}
	flag := map[bool]float64{true: 1}
	for _, s := range States {
		gauge(stateDesc, flag[s == c.verdict.State], s.String())
	}
	share := 1.0
	if c.verdict.Total > 0 {
		share = c.verdict.Agree / c.verdict.Total
	}
	gauge(agreeDesc, share)
	gauge(errorDesc, c.verdict.Error.Seconds())
	gauge(trustedDesc, flag[!c.refused])
	ch <- prometheus.MustNewConstMetric(stepsDesc, prometheus.CounterValue, float64(c.steps))
	ch <- prometheus.MustNewConstMetric(correctDesc, prometheus.CounterValue, float64(c.stepped), "stepped")
	ch <- prometheus.MustNewConstMetric(correctDesc, prometheus.CounterValue, float64(c.slewed), "slewed")
}
