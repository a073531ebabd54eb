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
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"headwater/internal/selfsigned"
)

// certificate makes one for the edge.
func certificate(dir string) error {
	c, _ := selfsigned.New()
	cert, key := selfsigned.PEM(c)
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "key.pem"), key, 0o600)
}

// A turn of an attack by HTTP/2: frames for stream id.
type turn func(f *http2.Framer, id uint32, head []byte) error

func reset(f *http2.Framer, id uint32, head []byte) error {
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head, EndStream: true, EndHeaders: true}); err != nil {
		return err
	}
	return f.WriteRSTStream(id, http2.ErrCodeCancel)
}

func settings(f *http2.Framer, _ uint32, _ []byte) error {
	return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
}

func ping(f *http2.Framer, id uint32, _ []byte) error {
	return f.WritePing(false, [8]byte{byte(id), byte(id >> 8)})
}

func continuation(f *http2.Framer, id uint32, head []byte) error {
	if id == 1 {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head})
	}
	return f.WriteContinuation(1, false, []byte("\x00\x01x\x01y"))
}

// http2 attacks the edge by HTTP/2 over TLS: sixteen connections, as fast as they can.
func (b *blower) http2(t turn) error {
	b.target = b.tls
	return b.each(16, func(i int, c net.Conn) (string, error) {
		tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err := tc.Handshake(); err != nil {
			return "", err
		}
		if _, err := io.WriteString(tc, http2.ClientPreface); err != nil {
			return "", err
		}
		f := http2.NewFramer(tc, tc)
		if err := f.WriteSettings(); err != nil {
			return "", err
		}
		var head bytes.Buffer
		enc := hpack.NewEncoder(&head)
		for _, h := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", b.tls}, {":path", b.dvr(i, 0)}} {
			enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1], Sensitive: true})
		}
		away := make(chan string, 1)
		go func() {
			for {
				x, err := f.ReadFrame()
				if err != nil {
					away <- "closed"
					return
				}
				if g, ok := x.(*http2.GoAwayFrame); ok {
					away <- "GOAWAY " + g.ErrCode.String()
					return
				}
			}
		}()
		for id := uint32(1); ; id += 2 {
			if err := t(f, id, head.Bytes()); err != nil {
				select {
				case why := <-away:
					return why, nil
				case <-time.After(time.Second):
					return "", err
				}
			}
			select {
			case why := <-away:
				return why, nil
			default:
			}
		}
	})
}

// http3 reads DVR segments through the edge by HTTP/3.
func (b *blower) http3() error {
	var mu sync.Mutex
	var all sync.WaitGroup
	ctx, cancel := context.WithDeadline(context.Background(), b.began.Add(b.length))
	defer cancel()
	b.Conns = 16
	for i := range b.Conns {
		all.Go(func() {
			t := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
			defer t.Close()
			for k := 0; ctx.Err() == nil; k++ {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+b.tls+b.dvr(i, k), nil)
				if err != nil {
					return
				}
				resp, err := t.RoundTrip(req)
				if err != nil {
					if ctx.Err() == nil {
						b.got(&mu, "", err)
					}
					continue
				}
				n, _ := io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				b.got(&mu, fmt.Sprint(resp.StatusCode), nil)
				mu.Lock()
				b.Bytes += n
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return nil
}
