package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"headwater/cmaf"
	"headwater/internal/need"
	"headwater/live"
	"headwater/packager/clip"
)

// mostResident is the most memory that a process ever had.
func mostResident(t *testing.T, pid int) (bytes int64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == "VmHWM:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			bytes = kb << 10
		}
	}
	return bytes
}

// beset has many connections begin something at once and hold on to it. It returns
// when each has written all that it was to, or no more is taken of it. They end with the
// test.
func beset(t *testing.T, addr string, conns int, send func(i int, nc net.Conn) error) {
	t.Helper()
	var all sync.WaitGroup
	for i := range conns {
		all.Go(func() {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				return
			}
			t.Cleanup(func() { nc.Close() })
			nc.SetWriteDeadline(time.Now().Add(5 * time.Second))
			send(i, nc) // it may be refused
		})
	}
	all.Wait()
}

// An origin and an edge that many connections want more memory of than they have stay
// below what they were given: bodies that do not end, heads that do not end, and readers
// who do not read.
func TestMemoryStaysBelowItsLimit(t *testing.T) {
	need.Long(t, "starts processes")
	const limit = 192 << 20
	binary := build(t)
	publish, deliver, control, viewers := freePort(t), freePort(t), freePort(t), freePort(t)
	org := &process{t: t, args: []string{"origin", "--store", "disk:" + t.TempDir(), "--publish", publish, "--deliver", deliver, "--control", control, "--memory-limit", "192MiB", "--log-level", "error"}}
	org.start(binary)
	t.Cleanup(org.kill)
	waitFor(t, "http://"+control+"/healthz")
	edge := &process{t: t, args: []string{"edge", "--parent", "http://" + deliver, "--listen", viewers, "--memory-limit", "192MiB", "--header-timeout", "20s", "--log-level", "error"}}
	edge.start(binary)
	t.Cleanup(edge.kill)
	waitFor(t, "http://"+viewers+"/healthz")

	ev := live.Default()
	ev.Start = time.Now().Add(-time.Hour).UTC().Truncate(8 * time.Second)
	ev.DVRSeconds = 3600
	ev.Pipelines = []live.Pipeline{{Name: "a"}}
	ev.Renditions = []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 6_000_000}}
	put := func(url, ct string, body []byte) int {
		req, _ := http.NewRequest(http.MethodPut, url, bytes.NewReader(body))
		req.Header.Set("Content-Type", ct)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode >= 300 {
			t.Logf("PUT %s: %s %.200s", url, resp.Status, b)
		}
		return resp.StatusCode
	}
	config, err := json.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	if status := put("http://"+control+"/v1/events/acme/final", "application/json", config); status >= 300 {
		t.Fatal(status)
	}
	init, segment := film(t)
	if status := put("http://"+publish+"/acme/final/a/v/init.mp4", "video/mp4", init); status != http.StatusCreated {
		t.Fatal(status)
	}
	tl := ev.Timeline()
	newest := tl.Edge(time.Now()) - 1
	const many, size = 120, 3 << 19
	for n := newest - many; n < newest; n++ {
		if status := put(fmt.Sprintf("http://%s/acme/final/a/v/%d.m4s", publish, n), "video/mp4", segment(&tl, n, size)); status != http.StatusCreated {
			t.Fatal(status)
		}
	}
	body := make([]byte, size-1)
	for name, do := range map[string]func(t *testing.T){
		"bodies that do not end": func(t *testing.T) {
			beset(t, publish, 600, func(i int, nc net.Conn) error {
				fmt.Fprintf(nc, "PUT /acme/final/a/v/%d.m4s HTTP/1.1\r\nHost: o\r\nContent-Type: video/mp4\r\nContent-Length: %d\r\n\r\n", newest-live.Number(i), size)
				_, err := nc.Write(body)
				return err
			})
		},
		"heads that do not end, to the origin": func(t *testing.T) {
			beset(t, deliver, 4000, func(_ int, nc net.Conn) error {
				_, err := io.WriteString(nc, "GET /acme/final/v/1.m4s HTTP/1.1\r\nHost: o\r\n"+strings.Repeat("A: "+strings.Repeat("a", 1000)+"\r\n", 30))
				return err
			})
		},
		"heads that do not end, to the edge": func(t *testing.T) {
			beset(t, viewers, 8000, func(_ int, nc net.Conn) error {
				_, err := io.WriteString(nc, "GET /acme/final/v/1.m4s HTTP/1.1\r\nHost: o\r\n"+strings.Repeat("A: "+strings.Repeat("a", 1000)+"\r\n", 30))
				return err
			})
		},
		"readers who do not read, of the origin": func(t *testing.T) {
			beset(t, deliver, 500, func(i int, nc net.Conn) error {
				nc.(*net.TCPConn).SetReadBuffer(4 << 10)
				_, err := fmt.Fprintf(nc, "GET /acme/final/v/%d.m4s HTTP/1.1\r\nHost: o\r\n\r\n", newest-1-live.Number(i%many))
				return err
			})
		},
		"readers who do not read, of the edge": func(t *testing.T) {
			beset(t, viewers, 500, func(i int, nc net.Conn) error {
				nc.(*net.TCPConn).SetReadBuffer(4 << 10)
				_, err := fmt.Fprintf(nc, "GET /acme/final/v/%d.m4s HTTP/1.1\r\nHost: o\r\n\r\n", newest-1-live.Number(i%many))
				return err
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			do(t)
			for name, p := range map[string]*process{"origin": org, "edge": edge} {
				most := mostResident(t, p.cmd.Process.Pid)
				t.Logf("%s: %d MB at most", name, most>>20)
				if most > limit {
					t.Errorf("the %s had %d MB, and was to have %d", name, most>>20, limit>>20)
				}
			}
		})
	}
	// Both still serve.
	for _, addr := range []string{deliver, viewers} {
		waitFor(t, "http://"+addr+"/acme/final/event.json")
	}
}

// film returns an init segment, and what makes segments of any size for it.
func film(t *testing.T) (init []byte, segment func(tl *live.Timeline, n live.Number, size int) []byte) {
	t.Helper()
	part, err := cmaf.NewReader(bytes.NewReader(clip.A)).Next()
	if err != nil {
		t.Fatal(err)
	}
	for _, track := range part.Init.Tracks {
		if track.Type == live.Video && init == nil {
			if init, err = part.Init.Single(part.Raw, track.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	one, err := cmaf.ParseInit(init)
	if err != nil {
		t.Fatal(err)
	}
	track := &one.Tracks[0]
	return init, func(tl *live.Timeline, n live.Number, size int) []byte {
		start, end := tl.Media(n, int64(track.Timescale))
		const frames = 60
		samples := make([]cmaf.Sample, frames)
		for i := range samples {
			step := (end - start) / frames
			samples[i] = cmaf.Sample{Decode: start + int64(i)*step, Duration: uint32(step), Sync: i == 0, Description: 1, Flags: 0x01010000}
		}
		samples[0].Flags = 0x02000000
		return cmaf.AppendSegment(nil, uint32(n), track, samples, func(i int) []byte {
			b := make([]byte, size/frames)
			binary.BigEndian.PutUint32(b, uint32(len(b)-4)) // one slice, of an IDR picture or another
			copy(b[4:], "\x41\x9a\x24")
			if i == 0 {
				copy(b[4:], "\x65\x88\x84")
			}
			binary.BigEndian.PutUint64(b[8:], uint64(n)) // it is unlike the others
			return b
		})
	}
}
