package world

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"headwater/blobs"
)

// A zone is the memcached beside origins that share a store: so much of one as they use.
// It forgets all when it is killed. It may answer with other people's bytes, as servers do
// whose keys collide, or of which somebody else has written the keys.
type zone struct {
	mu     sync.Mutex // guards the following
	rng    *rand.Rand
	items  map[string][]byte
	keys   []string // in the order in which they came
	others float64  // the share of answers with another item's bytes
	lied   int      // how many were
}

const (
	cacheName = "cache1"
	cachePort = "11211"
	zoneItems = 2000 // it throws the oldest out
)

// strange has so much more of what is asked for answered with other bytes.
func (z *zone) strange(by float64) {
	if z == nil {
		return
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.others += by
}

func (z *zone) put(key string, b []byte) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.items[key] == nil {
		z.keys = append(z.keys, key)
	}
	z.items[key] = b
	if len(z.keys) > zoneItems {
		delete(z.items, z.keys[0])
		z.keys = z.keys[1:]
	}
}

func (z *zone) get(key string) []byte {
	z.mu.Lock()
	defer z.mu.Unlock()
	b := z.items[key]
	if b == nil || z.rng.Float64() >= z.others {
		return b
	}
	z.lied++
	for _, other := range slices.Backward(z.keys) { // of the same size, if there is one
		if o := z.items[other]; other != key && len(o) == len(b) {
			return o
		}
	}
	b = slices.Clone(b)
	b[z.rng.IntN(len(b))] ^= 1
	return b
}

// startCache starts the memcached.
func (w *world) startCache() (func(), error) {
	z := w.zone
	z.mu.Lock()
	z.items, z.keys = map[string][]byte{}, nil
	z.mu.Unlock()
	l := w.net.listen(cacheName, cachePort)
	w.tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.tasks.Go(func() {
				defer c.Close()
				z.serve(c)
			})
		}
	})
	return func() { w.net.down(cacheName) }, nil
}

// serve speaks memcached's meta protocol until the connection ends.
func (z *zone) serve(c net.Conn) error {
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		f := strings.Fields(line)
		answer := "ERROR\r\n"
		switch {
		case len(f) == 1 && f[0] == "mn":
			answer = "MN\r\n"
		case len(f) >= 2 && f[0] == "mg":
			answer = "EN\r\n"
			if b := z.get(f[1]); b != nil {
				answer = fmt.Sprintf("VA %d t600\r\n%s\r\n", len(b), b)
			}
		case len(f) >= 3 && f[0] == "ms":
			n, err := strconv.ParseUint(f[2], 10, 20)
			if err != nil {
				return err
			}
			b := make([]byte, n+2)
			if _, err := io.ReadFull(in, b); err != nil {
				return err
			}
			z.put(f[1], b[:n])
			answer = "HD\r\n"
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return err
		}
	}
}

// openCache is the way of one run of an origin to the memcached; nil: there is none.
func (w *world) openCache(name string) *blobs.Cache {
	if w.zone == nil {
		return nil
	}
	c, err := blobs.New(blobs.Config{Zones: []blobs.Zone{{Name: "z", Servers: []string{cacheName + ":" + cachePort}}},
		Dial: func(ctx context.Context, addr string) (net.Conn, error) { return w.net.dialer(name)(ctx, "tcp", addr) }, Log: w.log(name)})
	if err != nil {
		panic(err) // it is all constants
	}
	return c
}
