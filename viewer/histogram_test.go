package viewer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramError(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var all []time.Duration
	for range 20000 {
		d := time.Duration(rng.ExpFloat64() * float64(300*time.Millisecond))
		h.add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(int(q*float64(len(all)))-1, 0)]
		got := h.quantile(q)
		if got < want || got > want+want/64+time.Microsecond {
			t.Errorf("quantile %g: %v, true %v", q, got, want)
		}
	}
	if h.max != all[len(all)-1] || h.quantile(1) != h.max {
		t.Errorf("max %v, %v; want %v", h.max, h.quantile(1), all[len(all)-1])
	}
}

func TestHistogramEdges(t *testing.T) {
	var empty histogram
	if got := empty.summary(); got != (Quantiles{}) {
		t.Errorf("empty: %+v", got)
	}
	for _, d := range []time.Duration{-time.Second, 0, 1, time.Microsecond, 63 * time.Microsecond, 64 * time.Microsecond, 65 * time.Microsecond,
		127 * time.Microsecond, 128 * time.Microsecond, time.Hour, 1000 * time.Hour} {
		var h histogram
		h.add(d)
		if got, want := h.quantile(0.5), max(d, 0); got < min(want, h.max) || got > want+want/64+time.Microsecond {
			t.Errorf("%v counted as %v", d, got)
		}
	}
	// Each bucket ends where the next one begins.
	for i := range buckets - 1 {
		if b := bucketOf(bound(i)); b != i+1 {
			t.Fatalf("bucket %d ends at %v, which is in bucket %d", i, bound(i), b)
		}
		if b := bucketOf(bound(i) - 1); b != i {
			t.Fatalf("the last of bucket %d is in bucket %d", i, b)
		}
	}
}

func BenchmarkHistogram(b *testing.B) {
	var h histogram
	for i := range b.N {
		h.add(time.Duration(i) * time.Microsecond)
	}
}
