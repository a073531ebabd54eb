package blobs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// network is memcached servers in memory, by address, which do as they are told.
type network struct {
	mu      sync.Mutex // guards the following
	servers map[string]*fake
}

// fake is one of them.
type fake struct {
	mu    sync.Mutex // guards the following
	items map[string][]byte
	conns map[net.Conn]bool
	mode  mode
	dials int
	gate  chan bool // closed: answers go on
}

type mode string

const (
	well     mode = "well"
	refusing mode = "refuses connections"
	hung     mode = "hung"
	lying    mode = "answers with other bytes"
	short    mode = "answers with fewer bytes"
	garbage  mode = "answers with garbage"
	cutting  mode = "breaks off in the middle"
	full     mode = "is out of memory"
)

func newNetwork(zones []Zone) *network {
	n := &network{servers: make(map[string]*fake)}
	for _, z := range zones {
		for _, addr := range z.Servers {
			n.servers[addr] = &fake{items: make(map[string][]byte), conns: make(map[net.Conn]bool), mode: well, gate: make(chan bool)}
		}
	}
	return n
}

func (n *network) dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	f := n.servers[addr]
	n.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials++
	if f.mode == refusing {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	f.conns[theirs] = true
	go f.serve(theirs)
	return ours, ctx.Err()
}

// be changes what a server does from now on; what it has is left.
func (f *fake) be(m mode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mode == hung && m != hung {
		close(f.gate)
		f.gate = make(chan bool)
	}
	f.mode = m
	if m == refusing {
		f.cut()
	}
}

// cut breaks all connections off.
func (f *fake) cut() {
	for c := range f.conns {
		c.Close()
	}
	clear(f.conns)
}

func (f *fake) empty() {
	f.mu.Lock()
	clear(f.items)
	f.mu.Unlock()
}

func (f *fake) count() (items, dials int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.items), f.dials
}

// serve answers one connection. What it writes waits in memory: a client may
// write all before it reads.
func (f *fake) serve(c net.Conn) {
	defer c.Close()
	var mu sync.Mutex
	var out bytes.Buffer
	ready, ended := make(chan bool, 1), make(chan bool)
	go func() {
		defer close(ended)
		for range ready {
			mu.Lock()
			b := bytes.Clone(out.Bytes())
			out.Reset()
			mu.Unlock()
			if _, err := c.Write(b); err != nil {
				c.Close()
				return
			}
		}
	}()
	defer func() { close(ready); <-ended }()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		var value []byte
		if words[0] == "ms" {
			n, _ := strconv.Atoi(words[2])
			value = make([]byte, n+2)
			if _, err := io.ReadFull(r, value); err != nil {
				return
			}
			value = value[:n]
		}
		f.mu.Lock()
		for f.mode == hung {
			gate := f.gate
			f.mu.Unlock()
			<-gate
			f.mu.Lock()
		}
		answer, last := f.answer(words, value)
		f.mu.Unlock()
		mu.Lock()
		out.WriteString(answer)
		mu.Unlock()
		select {
		case ready <- true:
		default:
		}
		if last {
			return
		}
	}
}

// answer needs f.mu.
func (f *fake) answer(words []string, value []byte) (answer string, last bool) {
	switch {
	case words[0] == "mn":
		return "MN\r\n", false
	case f.mode == full:
		return "SERVER_ERROR out of memory storing object\r\n", false
	case words[0] == "ms":
		f.items[words[1]] = value
		return "HD\r\n", false
	}
	v, ok := f.items[words[1]]
	if !ok {
		return "EN\r\n", false
	}
	switch f.mode {
	case lying:
		v = bytes.Clone(v)
		v[0] ^= 1
	case short:
		v = v[1:]
	case garbage:
		return "<html>\r\n", false
	}
	answer = fmt.Sprintf("VA %d t3600\r\n%s\r\n", len(v), v)
	if f.mode == cutting {
		return answer[:len(answer)/2], true
	}
	return answer, false
}

// twoZones are a local one and another, of one server each.
func twoZones() []Zone {
	return []Zone{{Name: "near", Servers: []string{"near:1"}}, {Name: "far", Servers: []string{"far:1"}}}
}

func opened(t testing.TB, cfg Config) *Cache {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const budget = 50 * time.Millisecond
