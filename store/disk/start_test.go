package disk

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"headwater/store"
)

// BenchmarkStartByRecords opens stores of so many segments, each of six renditions of two
// pipelines in turn, and reads the metadata of all as an origin does when it starts.
// HEADWATER_STARTS is the largest; files lie where TMPDIR says.
func BenchmarkStartByRecords(b *testing.B) {
	most, err := strconv.Atoi(os.Getenv("HEADWATER_STARTS"))
	if err != nil {
		most = 10_000
	}
	for n := 1000; n <= most; n *= 10 {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			fillStore(b, dir, n)
			for b.Loop() {
				s, err := Open(dir, Options{})
				if err != nil {
					b.Fatal(err)
				}
				found := 0
				for r := range 6 {
					for _, err := range store.All(b.Context(), s, segmentsOf(r), store.ScanOptions{}) {
						if err != nil {
							b.Fatal(err)
						}
						found++
					}
				}
				if found != n {
					b.Fatalf("%d of %d", found, n)
				}
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

func segmentsOf(rendition int) store.Record {
	return store.Record{Namespace: store.Media, ID: fmt.Sprintf("acme/final/v%d", rendition)}
}

// fillStore puts n segments, small ones: what a start reads of them is the same.
func fillStore(tb testing.TB, dir string, n int) {
	tb.Helper()
	s, err := Open(dir, Options{Cache: false, FileBytes: 64 << 20})
	if err != nil {
		tb.Fatal(err)
	}
	meta := []byte(`{"digest":"sha-256=:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=:","region":"east","published":1790000000000000000,"life":1,"start":160000000000000,"end":160000000180000,"timescale":90000}`)
	value := make([]byte, mediaTwinValue+1)
	done := make(chan error, 64)
	for w := range 64 {
		go func() {
			for i := w; i < n; i += 64 {
				item := store.Item{Key: fmt.Sprintf("%016d/%c", i/12, 'a'+rune(i/6%2)), Token: nextToken(), Meta: meta, Value: value, Expires: time.Now().Add(time.Hour)}
				if err := s.Put(tb.Context(), segmentsOf(i%6), item); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 64 {
		if err := <-done; err != nil {
			tb.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
}
