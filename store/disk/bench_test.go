package disk

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"headwater/store"
)

// BenchmarkGet reads segments, with their checksums verified.
func BenchmarkGet(b *testing.B) {
	for _, size := range []int{100_000, 1_500_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := mustOpen(b, osFS{}, b.TempDir(), Options{})
			const n = 64
			for i := range n {
				mustPut(b, s, media, newItem(fmt.Sprint(i), size))
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := s.Get(b.Context(), media, fmt.Sprint(i%n)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkScan lists a record of an hour's segments without their values.
func BenchmarkScan(b *testing.B) {
	s := filled(b, b.TempDir(), 1, 3600)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Scan(b.Context(), benchRecord(0), store.ScanOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart opens a store with 100,000 items of 4 KiB, and reports what
// the index takes of memory for each.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	const records, each = 10, 10_000
	mustClose(b, filled(b, dir, records, each))
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := mustOpen(b, osFS{}, dir, Options{})
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if got := s.Stats().Media.Items; got != records*each {
			b.Fatalf("%d items", got)
		}
		mustClose(b, s)
		b.StartTimer()
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(records*each), "B/item")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(records*each), "ns/item")
}

func benchRecord(i int) store.Record {
	return store.Record{Namespace: store.Media, ID: fmt.Sprintf("acme/final/v%d", i)}
}

func filled(b *testing.B, dir string, records, each int) *Store {
	s := mustOpen(b, osFS{}, dir, Options{})
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < records*each; i += 64 {
				item := newItem(fmt.Sprintf("%016x/a", i/records), 4000)
				item.Expires = time.Now().Add(time.Hour)
				if err := s.Put(b.Context(), benchRecord(i%records), item); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return s
}
