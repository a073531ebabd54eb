package origin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/admit"
	"headwater/origin/metric"
)

// maxPublications bounds what is being published at once.
const maxPublications = 4096

// A shedder counts what it refused.
type shedder interface{ Shed(c admit.Class) int64 }

// measureAdmission registers what is shed, and why.
func measureAdmission(reg *prometheus.Registry, all []shedder, admission, reading *admit.Admission) {
	for _, c := range admit.Classes {
		labels := prometheus.Labels{"class": c.String()}
		reg.MustRegister(
			prometheus.NewCounterFunc(prometheus.CounterOpts{Name: metric.Name("shed_total"), Help: "Requests shed by class.", ConstLabels: labels}, func() (sum float64) {
				for _, s := range all {
					sum += float64(s.Shed(c))
				}
				return sum
			}),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metric.Name("shed_ratio"), Help: "Share of what is asked for that is refused now, by class.", ConstLabels: labels}, func() float64 {
				return max(admission.Refused(c, time.Now()), reading.Refused(c, time.Now()))
			}),
		)
	}
	for name, of := range map[string]func(s, r admit.Signals) float64{
		"late":  func(s, _ admit.Signals) float64 { return s.Late },
		"turn":  func(s, _ admit.Signals) float64 { return s.Turn },
		"bytes": func(s, _ admit.Signals) float64 { return s.Bytes },
		"held":  func(s, _ admit.Signals) float64 { return s.Held },
		"files": func(s, _ admit.Signals) float64 { return s.Files },
		"store": func(_, r admit.Signals) float64 { return r.Store },
	} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metric.Name("pressure"),
			Help: "How far a signal is from its target: from 1 on, lower classes are shed.", ConstLabels: prometheus.Labels{"signal": name}},
			func() float64 { return of(admission.Signals(time.Now()), reading.Signals(time.Now())) }))
	}
}
