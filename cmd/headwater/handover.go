package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"headwater/listen"
	"headwater/listen/plain"
	"headwater/live"
)

// A prober has a process ask itself, by the sockets that it shares with the one it
// follows: whoever answers, the answer says whether it was this one.
type prober struct{ id string }

func newProber() *prober { return &prober{rand.Text()} }

// probeHeader has the id of the process that asks.
const probeHeader = "Headwater-Probe"

// answers says to this process's own probes that they came back.
func (p *prober) answers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" && r.Header.Get(probeHeader) == p.id {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// proveTimeout is how long a process may take until it has answered itself: the other
// one takes its share of the connections.
const proveTimeout = 10 * time.Second

// ask returns a function that asks at an address, until this process has answered.
func (p *prober) ask(secure bool, addrs ...net.Addr) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, proveTimeout)
		defer cancel()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // it is not the certificate that is asked for
		for _, addr := range addrs {
			if err := p.askAt(ctx, client, secure, addr.(*net.TCPAddr)); err != nil {
				return err
			}
		}
		return nil
	}
}

func (p *prober) askAt(ctx context.Context, client *http.Client, secure bool, addr *net.TCPAddr) error {
	host, scheme := addr.String(), "http"
	if addr.IP.IsUnspecified() {
		host = fmt.Sprintf("localhost:%d", addr.Port)
	}
	if secure {
		scheme = "https"
	}
	var last error
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+host+"/healthz", nil)
		if err != nil {
			return err
		}
		req.Header.Set(probeHeader, p.id)
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusNoContent {
				return nil
			}
			err = errors.New("another process answered")
		}
		last = err
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return fmt.Errorf("%s: %w", addr, errors.Join(last, ctx.Err()))
}

// succeed starts a process like this one, with the program as it is now on
// disk, whenever a signal says so. It takes over by itself.
func succeed(helpers context.Context, log *slog.Logger, socks *listen.Sockets, signals <-chan os.Signal) {
	for {
		select {
		case <-signals:
		case <-socks.Taken():
			return
		case <-helpers.Done():
			return
		}
		pid, err := startLike()
		if err != nil {
			log.Error("starting another process", "err", err)
			continue
		}
		log.Info("started another process", "pid", pid)
	}
}

// startLike starts a process like this one, which is nobody's to wait for: it
// lives on when this one has ended.
func startLike() (pid int, err error) {
	c := exec.Command(os.Args[0], os.Args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := c.Start(); err != nil {
		return 0, err
	}
	pid = c.Process.Pid
	return pid, c.Process.Release()
}

// A gate keeps requests out while another process has the store: those that come by new
// connections wait in the sockets, which both have, and those by old ones are told to
// come by a new one.
type gate struct {
	failed chan error // gets why it can never be opened again; nil: it is never shut

	mu        sync.Mutex // guards the following
	shut      bool
	changing  int           // requests that change something and are under way
	idle      chan struct{} // closed when there are none any more; nil: nobody waits
	listeners []*pausable
}

func (g *gate) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		changes := r.Method != http.MethodGet && r.Method != http.MethodHead
		g.mu.Lock()
		shut := g.shut
		if changes && !shut {
			g.changing++
		}
		g.mu.Unlock()
		if shut {
			w.Header().Set("Connection", "close")
			live.ErrDraining.Write(w, r)
			return
		}
		if changes {
			defer g.changed()
		}
		next.ServeHTTP(w, r)
	})
}

// refusing has requests refused before they come to a handler, while the gate is open.
func (g *gate) refusing(refuse func([]byte, *plain.Head) []byte) func([]byte, *plain.Head) []byte {
	return func(b []byte, h *plain.Head) []byte {
		g.mu.Lock()
		shut := g.shut
		g.mu.Unlock()
		if shut {
			return b
		}
		return refuse(b, h)
	}
}

func (g *gate) changed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changing--; g.changing == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// yieldTimeout is how long what is being published may take to end: the rest is sent again.
const yieldTimeout = 2 * time.Second

// close lets nobody in, and waits for those who are changing something.
func (g *gate) close() {
	g.mu.Lock()
	g.shut = true
	idle := make(chan struct{})
	if g.changing > 0 {
		g.idle = idle
	} else {
		close(idle)
	}
	listeners := g.listeners
	g.mu.Unlock()
	for _, l := range listeners {
		l.pause()
	}
	select {
	case <-idle:
	case <-time.After(yieldTimeout):
	}
}

func (g *gate) open() {
	g.mu.Lock()
	g.shut = false
	listeners := g.listeners
	g.mu.Unlock()
	for _, l := range listeners {
		l.resume()
	}
}

// fail says that the gate stays shut. Who serves is told once, and ends.
func (g *gate) fail(err error) {
	select {
	case g.failed <- err:
	default:
	}
}

// listen returns a listener that the gate pauses.
func (g *gate) listen(l *net.TCPListener) net.Listener {
	p := &pausable{TCPListener: l, closed: make(chan struct{})}
	g.mu.Lock()
	g.listeners = append(g.listeners, p)
	g.mu.Unlock()
	return p
}

// pausable is a listener that takes no connection while it is paused. They wait in its
// socket.
type pausable struct {
	*net.TCPListener
	once   sync.Once
	closed chan struct{}

	mu     sync.Mutex // guards the following
	paused chan struct{}
}

func (p *pausable) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused == nil {
		p.paused = make(chan struct{})
		p.SetDeadline(time.Now()) // wakes who accepts
	}
}

func (p *pausable) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused != nil {
		p.SetDeadline(time.Time{})
		close(p.paused)
		p.paused = nil
	}
}

// Accept implements net.Listener.
func (p *pausable) Accept() (net.Conn, error) {
	for {
		c, err := p.TCPListener.Accept()
		p.mu.Lock()
		paused := p.paused
		p.mu.Unlock()
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return c, err
		}
		if paused == nil {
			continue // it was just resumed
		}
		select {
		case <-paused:
		case <-p.closed:
			return nil, net.ErrClosed
		}
	}
}

// Close implements net.Listener.
func (p *pausable) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.TCPListener.Close()
}
