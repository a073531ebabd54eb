//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// depth is how many requests go in one piece.
const depth = 64

// pipeline has connections ask for so many paths in all, many in one piece: so the
// server is the limit, and not the client.
func (b *blower) pipeline(conns int, total int64, path func(conn, k int) string) error {
	b.Conns = conns
	var left atomic.Int64
	left.Store(total)
	var all sync.WaitGroup
	var mu sync.Mutex // guards b
	var failed error
	for i := range conns {
		all.Go(func() {
			statuses, bytesRead := map[string]int64{}, int64(0)
			err := b.pipe(i, &left, path, statuses, &bytesRead)
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
			b.Bytes += bytesRead
			for s, n := range statuses {
				b.Statuses[s] += n
				b.Requests += n
			}
		})
	}
	all.Wait()
	return failed
}

// pipe is one connection of it.
func (b *blower) pipe(slot int, left *atomic.Int64, path func(conn, k int) string, statuses map[string]int64, bytesRead *int64) error {
	nc, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: elsewhere[:]}}).Dial("tcp", b.target)
	if err != nil {
		return err
	}
	defer nc.Close()
	r := bufio.NewReaderSize(nc, 256<<10)
	var requests bytes.Buffer
	for k := 0; time.Since(b.began) < b.length && left.Add(-depth) >= 0; {
		requests.Reset()
		for range depth {
			fmt.Fprintf(&requests, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path(slot, k), b.target)
			k++
		}
		wrote := make(chan error, 1)
		go func() { _, err := nc.Write(requests.Bytes()); wrote <- err }()
		for range depth {
			status, n, err := skipAnswer(r)
			if err != nil {
				return err
			}
			statuses[status]++
			*bytesRead += n
		}
		if err := <-wrote; err != nil {
			return err
		}
	}
	return nil
}

// skipAnswer reads an answer and throws it away.
func skipAnswer(r *bufio.Reader) (status string, size int64, err error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return "", 0, err
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case status == "":
			status = string(line[9:min(12, len(line))])
		case len(name) == 14 && bytes.EqualFold(name, []byte("content-length")):
			if size, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return "", 0, err
			}
		case len(line) == 2:
			_, err := io.CopyN(io.Discard, r, size)
			return status, size, err
		}
	}
}

// seldom is unknown, with a sixty-fourth of what there is and is small.
func (b *blower) seldom(conn, k int) string {
	if k%64 == 0 {
		return fmt.Sprintf("/%v/%s", protected, []string{"event.json", "main.m3u8", renditions[3].name + "/init.mp4", renditions[3].name + "/media.m3u8"}[k/64%4])
	}
	return b.unknown(conn, k)
}
