package admit

import (
	"math"
	"runtime/metrics"
	"time"
)

// A Lateness knows how long goroutines of this process wait for a processor.
type Lateness struct {
	sample [1]metrics.Sample
	before []uint64
}

// NewLateness returns one that begins now.
func NewLateness() *Lateness {
	l := &Lateness{}
	l.sample[0].Name = "/sched/latencies:seconds"
	l.Read()
	return l
}

// Read returns what 99 of 100 goroutines that became able to run since it was last
// asked have waited less than; 0 where they are few.
func (l *Lateness) Read() time.Duration {
	metrics.Read(l.sample[:])
	if l.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0 // another Go does not know it
	}
	h := l.sample[0].Value.Float64Histogram()
	d := quantile(h.Counts, l.before, h.Buckets)
	l.before = append(l.before[:0], h.Counts...)
	return d
}

// leastSchedulings are too few to say something.
const leastSchedulings = 100

func quantile(counts, before []uint64, bounds []float64) time.Duration {
	since := func(i int) uint64 {
		if i < len(before) {
			return counts[i] - before[i]
		}
		return counts[i]
	}
	total := uint64(0)
	for i := range counts {
		total += since(i)
	}
	if total < leastSchedulings {
		return 0
	}
	above := total / 100
	for i := len(counts) - 1; i >= 0; i-- {
		if since(i) > above {
			at := bounds[i] // the lower bound: never more than it was
			if math.IsInf(at, 0) {
				return 0
			}
			return time.Duration(at * float64(time.Second))
		}
		above -= since(i)
	}
	return 0
}
