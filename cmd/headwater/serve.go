package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"time"

	"headwater/listen"
)

// A listener is one address that a command serves.
type listener struct {
	flag    string // the flag that named the address, for errors
	addr    string
	handler http.Handler
	limits  listen.Limits

	net.Listener
}

const (
	drainTimeout = 10 * time.Second
	writeTimeout = 30 * time.Second // for each 256 KiB of an answer
)

// serve opens every listener before it serves any, so that a taken port stops
// the command before it begins. When ctx ends, or another process has taken the
// sockets over, it calls drain, and shuts the listeners down in reverse order: what
// is being answered is answered. With certificates all of them speak TLS. Sockets
// and gate are nil where no other process ever takes over.
func serve(ctx context.Context, log *slog.Logger, certs *listen.Certificates, drain func(), socks *listen.Sockets, g *gate, listeners ...*listener) error {
	if socks == nil {
		socks, _ = listen.Open(ctx, "", log, func(string) string { return "" })
		g = new(gate)
	}
	for i, l := range listeners {
		tcp, err := socks.Listen(ctx, l.addr)
		if err != nil {
			for _, open := range listeners[:i] {
				open.Close()
			}
			return fmt.Errorf("--%s: %w", l.flag, err)
		}
		l.Listener = g.listen(tcp)
	}
	probe := newProber()
	servers := make([]*http.Server, len(listeners))
	addrs := make([]net.Addr, len(listeners))
	failed := make(chan error, len(listeners))
	for i, l := range listeners {
		servers[i] = listen.NewServer(probe.answers(g.wrap(l.handler)), log)
		addrs[i] = l.Addr()
		l.wrap(certs)
		log.Info("listening", "for", l.flag, "address", l.Addr().String(), "tls", certs != nil)
		go func() { failed <- servers[i].Serve(l) }()
	}
	helpers, stop := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	defer func() { stop(); tasks.Wait() }()
	err := socks.Prove(ctx, probe.ask(certs != nil, addrs...))
	if err == nil {
		err = socks.Ready()
	}
	if err != nil {
		err = fmt.Errorf("--handover: %w", err)
	} else {
		if successor != nil {
			c := make(chan os.Signal, 1)
			signal.Notify(c, successor)
			defer signal.Stop(c)
			tasks.Go(func() { succeed(helpers, log, socks, c) })
		}
		select {
		case <-ctx.Done():
			log.Info("stopping")
		case <-socks.Taken():
			log.Info("draining: another process serves")
		case err = <-failed:
		case err = <-g.failed:
		}
	}
	socks.Close()
	drain()
	end, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	for i := len(servers) - 1; i >= 0; i-- {
		if e := servers[i].Shutdown(end); e != nil {
			err = errors.Join(err, fmt.Errorf("--%s: %w", listeners[i].flag, e))
			servers[i].Close()
		}
	}
	return err
}

// wrap puts limits around what it listens on and, with certificates, TLS.
func (l *listener) wrap(certs *listen.Certificates) {
	if certs == nil {
		l.Listener = listen.Limit(l.Listener, l.limits)
		return
	}
	l.limits.Refuse = nil // below TLS it would answer who speaks none
	// Each held request has a connection of its own, as without TLS.
	cfg := certs.Config()
	cfg.NextProtos = []string{"http/1.1"}
	l.Listener = tls.NewListener(listen.Limit(l.Listener, l.limits), cfg)
}

// moreThreads lets more of Go's threads run than there are processors, and returns
// how many these are. Go looks for what the network has brought when it has nothing
// else to run, and otherwise every 10 ms: a PUT whose pieces come one by one would
// take seconds beside readers that always have something to run. A thread that has
// nothing to run waits for the network itself, and the system lets it run at once.
func moreThreads(getenv func(string) string) (processors int) {
	processors = startThreads
	if getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2*processors + 2)
	}
	return processors
}

// startThreads is how many threads of Go may run when the process starts.
var startThreads = runtime.GOMAXPROCS(0)
