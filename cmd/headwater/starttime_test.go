package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"headwater/origin"
	"headwater/origin/layout"
	"headwater/store"
	"headwater/store/disk"
)

// BenchmarkOriginStart starts the program over stores of 1,000 segments and more, up to
// HEADWATER_STARTS, and reports how long it takes until it says that it is ready: with
// the files in memory, and where the system lets go of them, from the disk.
func BenchmarkOriginStart(b *testing.B) {
	most, err := strconv.Atoi(os.Getenv("HEADWATER_STARTS"))
	if err != nil {
		most = 1000
	}
	os.Unsetenv("HEADWATER_STARTS") // the program refuses what it does not know
	binary := build(b)
	for _, n := range []int{1000, 10_000, 144_000, 1_000_000} {
		if n > most {
			break
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			fillOrigin(b, dir, n, 5000, 256<<20)
			start := func() time.Duration {
				control := freePort(b)
				p := &process{t: b, args: []string{"origin", "--store", "disk:" + dir, "--publish", freePort(b), "--deliver", freePort(b), "--control", control}}
				begun := time.Now()
				p.start(binary)
				defer p.kill()
				awaitReady(b, p, control)
				return time.Since(begun)
			}
			start() // as the next one finds it
			for b.Loop() {
				b.ReportMetric(float64(start().Milliseconds()), "ms-warm")
				if os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0) == nil {
					b.ReportMetric(float64(start().Milliseconds()), "ms-cold")
				}
			}
		})
	}
}

// fillOrigin makes the store of an origin with one event of six renditions and two
// pipelines, of which n segments of that size are published.
func fillOrigin(b testing.TB, dir string, n, size int, fileBytes int64) {
	b.Helper()
	st, err := disk.Open(dir, disk.Options{FileBytes: fileBytes})
	if err != nil {
		b.Fatal(err)
	}
	org, err := origin.New(b.Context(), origin.Config{Store: st, Metrics: newRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	id := live.EventID{Tenant: "acme", Name: "final"}
	seconds := n/12*2 + 60
	event := map[string]any{"start": time.Now().Add(-time.Duration(seconds) * time.Second).UTC().Truncate(time.Second).Format(live.TimeLayout), "first_number": 1, "dvr_seconds": 24 * 3600,
		"pipelines": []map[string]string{{"name": "a"}, {"name": "b"}}}
	var renditions []map[string]any
	for r := range 6 {
		renditions = append(renditions, map[string]any{"name": fmt.Sprint("v", r), "type": "video", "bandwidth": 1_000_000 * (r + 1)})
	}
	event["renditions"] = renditions
	body, err := json.Marshal(event)
	if err != nil {
		b.Fatal(err)
	}
	w := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodPut, "http://127.0.0.1/v1/events/acme/final", strings.NewReader(string(body)))
	req.Header.Set("Content-Type", "application/json")
	org.ControlHandler().ServeHTTP(w, req)
	if w.Code != http.StatusCreated {
		b.Fatalf("%d %s", w.Code, w.Body)
	}
	tokens := store.NewTokens()
	workers := min(1000, 1+n/1000) // few make it the same each time
	done := make(chan error, workers)
	for worker := range workers {
		go func() {
			for i := worker; i < n; i += workers {
				number := live.Number(i/12 + 1)
				value := bytes.Repeat([]byte(fmt.Sprintf("%08d", i)), size/8)
				c := live.Candidate{Pipeline: string('a' + rune(i/6%2)), Number: number, Digest: live.DigestOf(value), Region: "east", Published: time.Now(), Span: live.Span{Start: int64(number-1) * 180000, End: int64(number) * 180000, Timescale: 90000}}
				meta, err := layout.EncodeMeta(c, 1)
				if err == nil {
					err = st.Put(b.Context(), layout.Media(id, fmt.Sprint("v", i%6)), store.Item{Key: layout.SegmentKey(number, c.Pipeline), Token: tokens.Next(), Meta: meta, Value: value, Expires: time.Now().Add(24 * time.Hour)})
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
}
