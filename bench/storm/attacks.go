//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// got counts an answer or a failure.
func (b *blower) got(mu *sync.Mutex, status string, err error) {
	mu.Lock()
	defer mu.Unlock()
	b.Requests++
	if err != nil {
		text := err.Error()
		if i := strings.LastIndex(text, ": "); i >= 0 {
			text = text[i+2:]
		}
		b.Failures[text]++
		return
	}
	b.Statuses[status]++
}

func dial(addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: elsewhere[:]}}
	return d.Dial("tcp", addr)
}

// each runs f for so many connections to the target, until the storm ends.
func (b *blower) each(n int, f func(i int, c net.Conn) (string, error)) error {
	return b.eachOf(n, []string{b.target}, f)
}

// eachOf is each to one target after the other.
func (b *blower) eachOf(n int, targets []string, f func(i int, c net.Conn) (string, error)) error {
	var mu sync.Mutex
	var all sync.WaitGroup
	b.Conns = n
	end := b.began.Add(b.length)
	for i := range n {
		all.Go(func() {
			for time.Now().Before(end) {
				c, err := dial(targets[i%len(targets)])
				if err != nil {
					b.got(&mu, "", err)
					time.Sleep(100 * time.Millisecond)
					continue
				}
				c.SetDeadline(end)
				status, err := f(i, c)
				c.Close()
				if time.Now().Before(end) {
					b.got(&mu, status, err)
				}
			}
		})
	}
	all.Wait()
	return nil
}

// answer reads an answer's status, and waits for the connection's end.
func answer(c net.Conn) (string, error) {
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return fmt.Sprint(resp.StatusCode), nil
}

// oneByte begins PUTs of a segment, each of which then brings nothing more.
func (b *blower) oneByte() error {
	b.target = b.publish
	return b.each(4400, func(i int, c net.Conn) (string, error) {
		fmt.Fprintf(c, "PUT /%v/%s/%s/%d.m4s HTTP/1.1\r\nHost: x\r\nContent-Type: video/mp4\r\nContent-Length: 1000000\r\n\r\n\x00",
			rival, pipelines[i%2], renditions[i/2%4].name, b.rival-int64(i/8%1000))
		return answer(c)
	})
}

// noRead asks for segments and reads nothing.
func (b *blower) noRead() error { return b.unread(b.rival - 9) }

// noReadLost asks for such as were lost, and reads nothing.
func (b *blower) noReadLost() error { return b.unread(b.rival + 1) }

func (b *blower) unread(from int64) error {
	return b.each(68, func(i int, c net.Conn) (string, error) {
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprintf(c, "GET /%v/%s/%d.m4s HTTP/1.1\r\nHost: x\r\n\r\n", rival, renditions[0].name, from+int64(i%10))
		// Only when nothing more is sent it looks what became of it.
		for end := b.began.Add(b.length); time.Now().Before(end); {
			time.Sleep(200 * time.Millisecond)
			if _, err := c.Write([]byte("\r\n")); err != nil {
				return "", err
			}
		}
		return "", nil
	})
}

func (b *blower) idle() error {
	return b.each(360, func(_ int, c net.Conn) (string, error) {
		// One answer, so that it is a connection that waits for its next request.
		fmt.Fprintf(c, "GET /%v/event.json HTTP/1.1\r\nHost: x\r\n\r\n", protected)
		return "", wait(c)
	})
}

// wait waits for the end of a connection.
func wait(c net.Conn) error {
	_, err := io.Copy(io.Discard, c)
	if err == nil {
		err = io.EOF
	}
	return err
}

// held asks for a configuration when it is another.
func (b *blower) held() error {
	resp, err := http.Get("http://" + b.deliver + "/" + rival.String() + "/event.json")
	if err != nil {
		return err
	}
	resp.Body.Close()
	tag := strings.Trim(resp.Header.Get("ETag"), `"`)
	return b.each(20_000, func(_ int, c net.Conn) (string, error) {
		fmt.Fprintf(c, "GET /%v/event.json?after=%s HTTP/1.1\r\nHost: x\r\n\r\n", rival, tag)
		return answer(c)
	})
}

// heldLive asks for the segment that is published next.
func (b *blower) heldLive() error {
	return b.each(10_000, func(i int, c net.Conn) (string, error) {
		fmt.Fprintf(c, "GET /%v/%s/%d.m4s HTTP/1.1\r\nHost: x\r\n\r\n", protected, renditions[3].name, b.newest+int64(time.Since(b.began)/segment)+1)
		return answer(c)
	})
}

// halfOpen has connections on which nothing comes, and such as are closed in one
// direction behind a request.
func (b *blower) halfOpen() error {
	return b.eachOf(4000, []string{b.deliver, b.publish, b.edge, b.tls}, func(i int, c net.Conn) (string, error) {
		if i/4%2 == 0 {
			return "", wait(c)
		}
		fmt.Fprintf(c, "GET /%v/event.json HTTP/1.1\r\nHost: x\r\n\r\n", protected)
		c.(*net.TCPConn).CloseWrite()
		return answer(c)
	})
}

// slowWrite sends heads to where segments are delivered, and bodies to where they are
// published, a byte a second.
func (b *blower) slowWrite() error {
	return b.eachOf(2000, []string{b.deliver, b.publish}, func(i int, c net.Conn) (string, error) {
		text := "GET /" + protected.String() + "/event.json HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 1000)
		if i%2 == 1 {
			fmt.Fprintf(c, "PUT /%v/a/v180/%d.m4s HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n", rival, b.rival)
			text = strings.Repeat("\x00", 1000)
		}
		done := make(chan struct{})
		defer close(done)
		go func() {
			for k := range len(text) {
				if _, err := c.Write([]byte{text[k]}); err != nil {
					return
				}
				select {
				case <-done:
					return
				case <-time.After(time.Second):
				}
			}
		}()
		return answer(c)
	})
}

// slowRead reads segments at 4 kB/s.
func (b *blower) slowRead() error {
	return b.each(500, func(i int, c net.Conn) (string, error) {
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", b.dvr(i, int(time.Since(b.began)/time.Second)))
		buf := make([]byte, 4<<10)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return "", err
			}
			if strings.HasPrefix(string(buf[:n]), "HTTP/1.1 503") {
				return "503", nil
			}
			time.Sleep(time.Second)
		}
	})
}

// flood opens and drops connections.
func (b *blower) flood() error {
	return b.eachOf(64, []string{b.deliver, b.publish, b.edge}, func(_ int, c net.Conn) (string, error) {
		c.(*net.TCPConn).SetLinger(0)
		return "opened", nil
	})
}
