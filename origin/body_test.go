package origin

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// oneConn is a listener that has one connection.
type oneConn chan net.Conn

func (l oneConn) Accept() (net.Conn, error) {
	if c, ok := <-l; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l oneConn) Close() error   { close(l); return nil }
func (l oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// TestBodyInRealTime: a segment of two seconds may take them to arrive, and a
// time-out of one second more, if it never pauses for as long as that.
func TestBodyInRealTime(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int // of the segment
		pieces int
		pause  time.Duration // before each piece but the first
		status int
		took   time.Duration
		detail string
	}{
		{"filmed while it is sent", 0, 3, 900 * time.Millisecond, 201, 1800 * time.Millisecond, ""},
		{"a little behind", 0, 4, 900 * time.Millisecond, 201, 2700 * time.Millisecond, ""},
		{"a pause of the time-out", 0, 3, 1001 * time.Millisecond, 408, time.Second, "then none for 1s"},
		{"byte by byte", 0, 1000, 900 * time.Millisecond, 408, 3 * time.Second, "that is too slow"},
		{"a slow uplink", 512 << 10, 9, 900 * time.Millisecond, 201, 7200 * time.Millisecond, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, Config{BodyTimeout: time.Second})
				r.putInits("a")
				n := r.next()
				seg := r.m.segment(r.tl, "v", n, take{size: c.size})
				client, server := net.Pipe()
				l := make(oneConn, 1)
				l <- server
				srv := &http.Server{Handler: r.pub}
				go srv.Serve(l)
				defer srv.Close()

				began := time.Now()
				var packager sync.WaitGroup
				packager.Go(func() {
					head := fmt.Sprintf("PUT /acme/final/a/v/%d.m4s HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n", n)
					io.WriteString(client, strings.ReplaceAll(head, "\n", "\r\n"))
					for i := range c.pieces {
						if i > 0 {
							time.Sleep(c.pause)
						}
						piece := seg[i*len(seg)/c.pieces : (i+1)*len(seg)/c.pieces]
						if c.pieces == 1000 {
							piece = seg[i : i+1]
						}
						if _, err := fmt.Fprintf(client, "%x\r\n%s\r\n", len(piece), piece); err != nil {
							return
						}
					}
					io.WriteString(client, "0\r\n\r\n")
				})
				resp, err := http.ReadResponse(bufio.NewReader(client), nil)
				if err != nil {
					t.Fatal(err)
				}
				took := time.Since(began)
				body, _ := io.ReadAll(resp.Body)
				client.Close()
				packager.Wait()
				if resp.StatusCode != c.status || took < c.took || took > c.took+20*time.Millisecond || !strings.Contains(string(body), c.detail) {
					t.Errorf("%s after %v: %s", resp.Status, took, body)
				}
				if used := r.o.publish.Bodies.Used(); used != 0 {
					t.Errorf("%d bytes are still counted", used)
				}
			})
		})
	}
}

// TestClockHearsOfABodysEnd: a segment that is sent while it is filmed says what time it
// is when its last byte comes, and not two seconds too early, when its headers do; one that
// is refused for what its headers say, when they come.
func TestClockHearsOfABodysEnd(t *testing.T) {
	says := func(r *rig) float64 { return r.metric(`headwater_clock_offset_seconds{source="pipeline"}`) }
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next() + 2
		seg := r.m.segment(r.tl, "v", n, take{})
		body, packager := io.Pipe()
		until(r.tl.Start(n))
		go func() {
			packager.Write(seg[:len(seg)/2])
			until(r.tl.End(n))
			packager.Write(seg[len(seg)/2:])
			packager.Close()
		}()
		r.want(serve(r.pub, request("PUT", fmt.Sprintf("/acme/final/a/v/%d.m4s", n), body)), 201, "")
		// In time is until the deadline: 2.5 s after its end.
		if got := says(r); got < 0 || got > 2.5 {
			t.Errorf("the pipeline's clock is told to be %v s ahead", got)
		}
	})
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next() + 100
		r.want(r.put(fmt.Sprintf("a/v/%d.m4s", n), []byte("never read")), 400, "number-in-future")
		if got := says(r); got < 190 || got > 210 {
			t.Errorf("the pipeline's clock is told to be %v s ahead", got)
		}
	})
}
