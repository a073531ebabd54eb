//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// What is meant to fill memory: of the origin, of the edge, or of both.

// heads begins requests with 30 KiB of fields, and never ends them.
func (b *blower) heads() error {
	head := "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: "+strings.Repeat("a", 1000)+"\r\n", 30)
	return b.eachOf(12_000, []string{b.deliver, b.edge, b.publish}, func(_ int, c net.Conn) (string, error) {
		if _, err := io.WriteString(c, head); err != nil {
			return "", err
		}
		return "", wait(c)
	})
}

// bodies begins PUTs of two tenants, of which 3 MB come at once and the rest never.
func (b *blower) bodies() error {
	b.target = b.publish
	body, more := make([]byte, 3<<20), make([]byte, 1<<10)
	return b.each(800, func(i int, c net.Conn) (string, error) {
		event, newest := protected, b.newest-backlog-10
		if i%2 == 1 {
			event, newest = rival, b.rival-20
		}
		fmt.Fprintf(c, "PUT /%v/b/%s/%d.m4s HTTP/1.1\r\nHost: x\r\nContent-Type: video/mp4\r\nContent-Length: 30000000\r\n\r\n", event, renditions[i/2%4].name, newest-int64(i/8))
		if _, err := c.Write(body); err != nil {
			return answer(c) // why not
		}
		done := make(chan struct{})
		defer close(done)
		go func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(2 * time.Second):
					c.Write(more)
				}
			}
		}()
		return answer(c)
	})
}

// tlsNoRead asks the edge for segments over TLS, and reads nothing.
func (b *blower) tlsNoRead() error {
	b.target = b.tls
	return b.each(500, func(i int, c net.Conn) (string, error) {
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
		tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		if err := tc.Handshake(); err != nil {
			return "", err
		}
		for range 8 { // one behind the other
			fmt.Fprintf(tc, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", b.dvr(i, i))
		}
		for {
			time.Sleep(time.Second)
			if _, err := io.WriteString(tc, "\r\n"); err != nil {
				return "", err
			}
		}
	})
}

// http3NoRead asks the edge for many segments at once over HTTP/3, and reads nothing.
func (b *blower) http3NoRead() error {
	var mu sync.Mutex
	var all sync.WaitGroup
	ctx, cancel := context.WithDeadline(context.Background(), b.began.Add(b.length))
	defer cancel()
	b.Conns = 64
	for i := range b.Conns {
		t := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		for k := range 16 {
			all.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+b.tls+b.dvr(i*16+k, n), bytes.NewReader(nil))
					resp, err := t.RoundTrip(req)
					if err != nil {
						if ctx.Err() == nil {
							b.got(&mu, "", err)
						}
						continue
					}
					b.got(&mu, fmt.Sprint(resp.StatusCode), nil)
					if resp.StatusCode != http.StatusOK {
						resp.Body.Close()
						time.Sleep(100 * time.Millisecond)
						continue
					}
					<-ctx.Done()
					resp.Body.Close()
				}
			})
		}
		defer t.Close()
	}
	all.Wait()
	return nil
}
