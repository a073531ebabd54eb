package viewer

import (
	"math"
	"math/bits"
	"time"
)

// A histogram counts durations in buckets of a constant relative width: 64 to
// each power of two, from a microsecond up. A quantile is the upper bound of its
// bucket, so it is never below the true value and above it by at most 1/64
// (1.6 %) or a microsecond. It takes 16 KB, whatever it counts; max is exact.
type histogram struct {
	counts [buckets]uint64
	n      uint64
	max    time.Duration
}

const (
	subBits = 6
	sub     = 1 << subBits
	// Values are microseconds of up to 32 bits: 71 minutes. Longer ones share
	// the last bucket, of which the bound is max.
	buckets = (32-subBits)*sub + sub
)

func bucketOf(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < sub {
		return int(us)
	}
	shift := bits.Len64(us) - subBits - 1
	return min((shift+1)*sub+int(us>>shift)-sub, buckets-1)
}

// bound is the first duration above bucket i.
func bound(i int) time.Duration {
	if i < sub {
		return time.Duration(i+1) * time.Microsecond
	}
	shift := i/sub - 1
	return time.Duration(uint64(i%sub+sub+1)<<shift) * time.Microsecond
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.n++
	h.max = max(h.max, d)
}

// quantile is the smallest bound below which at least the share q of all values
// lies; 0 when there are none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := max(uint64(math.Ceil(q*float64(h.n))), 1)
	var seen uint64
	for i, c := range h.counts {
		if seen += c; seen >= rank {
			if i == buckets-1 {
				return h.max
			}
			return min(bound(i), h.max)
		}
	}
	return 0
}

func (h *histogram) summary() Quantiles {
	return Quantiles{P50: millis(h.quantile(0.5)), P99: millis(h.quantile(0.99)), Max: millis(h.max), Count: int64(h.n)}
}

// millis is milliseconds to the microsecond.
func millis(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}
