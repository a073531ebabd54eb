package edge

import (
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/edge/front"
	"headwater/live"
)

// BenchmarkHit asks an edge for segments of 1.5 MB by loopback TCP: of the DVR
// window that are on disk, and that are in memory. One client.
func BenchmarkHit(b *testing.B) {
	const size, many = 1_500_000, 60
	e := live.Default()
	e.Start = time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	e.Pipelines = []live.Pipeline{{Name: "a"}}
	e.Renditions = []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 6_000_000}}
	body := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(body)
	parent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch p, err := live.ParsePath(r.URL.Path); {
		case r.URL.Path == live.TimePath:
			live.ServeTime(w, r, time.Now())
		case err != nil:
			http.NotFound(w, r)
		case p.File == live.FileConfig && r.URL.Query().Get("after") != "":
			<-r.Context().Done()
		case p.File == live.FileConfig:
			c, _ := live.Config{Event: e, Version: 1}.MarshalJSON()
			w.Write(c)
		default:
			w.Header().Set("Cache-Control", live.FormatLifetimes(time.Minute, time.Hour))
			serveBytes(w, r, body)
		}
	}))
	b.Cleanup(parent.Close)
	for _, from := range []string{"memory", "disk"} {
		b.Run(from, func(b *testing.B) {
			memory := int64(1 << 30)
			if from == "disk" {
				memory = 16 << 20
			}
			reg := prometheus.NewRegistry()
			ed, err := New(Config{Parents: []string{parent.URL}, Disk: b.TempDir(), MemoryBytes: memory, Metrics: reg})
			if err != nil {
				b.Fatal(err)
			}
			defer ed.Close()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			srv := &front.Server{Edge: ed}
			go srv.Serve(l)
			defer srv.Close()
			buf := make([]byte, 256<<10)
			get := func(n int) (status string) {
				resp, err := http.Get("http://" + l.Addr().String() + segmentPath(n))
				if err != nil {
					b.Fatal(err)
				}
				defer resp.Body.Close()
				if got, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buf); err != nil || got != size {
					b.Fatalf("%d bytes, %v", got, err)
				}
				return resp.Header.Get("Cache-Status")
			}
			for n := 1; n <= many; n++ {
				get(n)
				for written(b, reg) < n {
					time.Sleep(time.Millisecond)
				}
			}
			var took []time.Duration
			others := 0 // answered otherwise: the machine was busy, and the disk slow
			b.SetBytes(size)
			b.ReportAllocs()
			before := cpuTime()
			for i := 0; b.Loop(); i++ {
				began := time.Now()
				status := get(1 + i%many)
				took = append(took, time.Since(began))
				if strings.HasSuffix(status, ";disk") != (from == "disk") {
					others++
				}
			}
			reportCPU(b, before)
			b.ReportMetric(float64(others), "others")
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// cpuTime is what this process, the client in it too, has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func reportCPU(b *testing.B, before time.Duration) {
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// BenchmarkSend compares ways to get 1.5 MB of a log file to a viewer by
// loopback TCP: from memory; read from the file first; with its checksums held
// against it, as a hit is; and by sendfile. Cold is without the page cache.
func BenchmarkSend(b *testing.B) {
	const size, many = 1_500_000, 64
	path := filepath.Join(b.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	body := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(body)
	for range many {
		f.Write(body)
	}
	f.Sync()
	table := crc32.MakeTable(crc32.Castagnoli)
	digest, sum := sha256.Sum256(body), crc32.Checksum(body, table)
	read := func(i int) []byte {
		buf := make([]byte, size)
		if _, err := f.ReadAt(buf, int64(i%many)*size); err != nil {
			b.Fatal(err)
		}
		return buf
	}
	ways := []struct {
		name string
		send func(c *net.TCPConn, i int) error
	}{
		{"memory", func(c *net.TCPConn, i int) error { _, err := c.Write(body); return err }},
		{"pread", func(c *net.TCPConn, i int) error { _, err := c.Write(read(i)); return err }},
		{"pread-verify", func(c *net.TCPConn, i int) error {
			buf := read(i)
			if sha256.Sum256(buf) != digest || crc32.Checksum(buf, table) != sum {
				return errDigest
			}
			_, err := c.Write(buf)
			return err
		}},
		{"sendfile", func(c *net.TCPConn, i int) error {
			part, err := os.Open(path)
			if err != nil {
				return err
			}
			defer part.Close()
			if _, err := part.Seek(int64(i%many)*size, io.SeekStart); err != nil {
				return err
			}
			_, err = c.ReadFrom(&io.LimitedReader{R: part, N: size})
			return err
		}},
	}
	for _, cold := range []bool{false, true} {
		for _, way := range ways {
			if cold && way.name == "memory" {
				continue
			}
			b.Run(fmt.Sprintf("cold=%v/%s", cold, way.name), func(b *testing.B) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				defer l.Close()
				client, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				defer client.Close()
				server, err := l.Accept()
				if err != nil {
					b.Fatal(err)
				}
				defer server.Close()
				got := make(chan error)
				go func() {
					buf := make([]byte, 256<<10)
					for {
						_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(client, size), buf)
						select {
						case got <- err:
						case <-b.Context().Done():
							return
						}
					}
				}()
				b.SetBytes(size)
				before := cpuTime()
				for i := 0; b.Loop(); i++ {
					if cold && i%many == 0 {
						b.StopTimer()
						if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
							b.Fatal(err)
						}
						b.StartTimer()
					}
					if err := way.send(server.(*net.TCPConn), i); err != nil {
						b.Fatal(err)
					}
					if err := <-got; err != nil {
						b.Fatal(err)
					}
				}
				reportCPU(b, before)
			})
		}
	}
}

// written is how many answers are on the disk.
func written(b *testing.B, reg *prometheus.Registry) int {
	families, err := reg.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "headwater_edge_disk_writes_total" {
			return int(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	return 0
}
