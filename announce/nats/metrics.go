package nats

import "github.com/prometheus/client_golang/prometheus"

// A dropReason is why a message reached nobody. Counters share the names.
type dropReason string

const (
	dropFull    dropReason = "queue-full" // no server for so long that newer ones took the place
	dropClosed  dropReason = "closed"     // the bus was closed first
	dropInvalid dropReason = "invalid"    // it cannot be encoded
	dropSlow    dropReason = "slow"       // it arrived, and this node was too slow to take it
)

// A refuseReason is why a message from the network was not taken.
type refuseReason string

const (
	refuseVersion   refuseReason = "version"
	refuseMalformed refuseReason = "malformed"
	refuseSubject   refuseReason = "subject"
)

// A missReason is how it was found that messages may be missing.
type missReason string

const (
	missFirst      missReason = "first"      // a node was heard of for the first time
	missGap        missReason = "gap"        // numbers are missing
	missSilence    missReason = "silence"    // a node went without a word
	missConnection missReason = "connection" // there was no connection
	missSlow       missReason = "slow"       // this node was too slow
)

type metrics struct {
	sent, received, missed, reconnects prometheus.Counter
	dropped                            map[dropReason]prometheus.Counter
	refused                            map[refuseReason]prometheus.Counter
	misses                             map[missReason]prometheus.Counter
}

func newMetrics(reg *prometheus.Registry, b *Bus) *metrics {
	const namespace, subsystem = "headwater", "announce"
	one := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		sent:       one("sent_total", "Announcements and beats handed to a server."),
		received:   one("received_total", "Announcements of other nodes."),
		missed:     one("missed_total", "Announcements of other nodes that are known not to have come."),
		reconnects: one("reconnects_total", "Connections after the first."),
		dropped:    make(map[dropReason]prometheus.Counter),
		refused:    make(map[refuseReason]prometheus.Counter),
		misses:     make(map[missReason]prometheus.Counter),
	}
	byReason(reg, m.dropped, "dropped_total", "Announcements that reached nobody.", dropFull, dropClosed, dropInvalid, dropSlow)
	byReason(reg, m.refused, "refused_total", "Messages that were not taken.", refuseVersion, refuseMalformed, refuseSubject)
	byReason(reg, m.misses, "misses_total", "How often announcements may have been missing, and the store was looked into.",
		missFirst, missGap, missSilence, missConnection, missSlow)
	gauge := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, f))
	}
	gauge("queue", "Announcements that wait to be sent.", func() float64 { return float64(b.queue.len()) })
	gauge("connected", "1 while a server is reached.", func() float64 {
		if b.Health() != nil {
			return 0
		}
		return 1
	})
	return m
}

func byReason[R ~string](reg *prometheus.Registry, m map[R]prometheus.Counter, name, help string, reasons ...R) {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "headwater", Subsystem: "announce", Name: name, Help: help}, []string{"reason"})
	reg.MustRegister(v)
	for _, r := range reasons {
		m[r] = v.WithLabelValues(string(r))
	}
}
