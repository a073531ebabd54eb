//go:build linux

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
)

// serveNetHTTP is the least that Go's net/http needs to be an edge: one request
// for all, who get the body when it is there. Nothing is ever dropped.
func serveNetHTTP(ctx context.Context, addr, parent string) error {
	type object struct {
		ready  chan struct{}
		status int
		header http.Header
		body   []byte
	}
	var mu sync.Mutex // guards objects
	objects := map[string]*object{}
	fill := func(path string, o *object) {
		defer close(o.ready)
		o.status = http.StatusBadGateway
		resp, err := http.Get("http://" + parent + path)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return
		}
		o.status, o.header, o.body = resp.StatusCode, resp.Header, body
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		o := objects[r.URL.Path]
		if o == nil {
			o = &object{ready: make(chan struct{})}
			objects[r.URL.Path] = o
			go fill(r.URL.Path, o)
		}
		mu.Unlock()
		select {
		case <-o.ready:
		case <-r.Context().Done():
			return
		}
		for k, v := range o.header {
			w.Header()[k] = v
		}
		w.WriteHeader(o.status)
		w.Write(o.body)
	})}
	context.AfterFunc(ctx, func() { srv.Close() })
	if err := srv.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}
