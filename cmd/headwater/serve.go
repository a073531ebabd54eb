package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
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
// the command before it begins. When ctx ends it calls drain, and shuts the
// listeners down in reverse order: what is being answered is answered.
// With certificates all of them speak TLS.
func serve(ctx context.Context, log *slog.Logger, certs *listen.Certificates, drain func(), listeners ...*listener) error {
	for i, l := range listeners {
		var err error
		if l.Listener, err = new(net.ListenConfig).Listen(ctx, "tcp", l.addr); err != nil {
			for _, open := range listeners[:i] {
				open.Close()
			}
			return fmt.Errorf("--%s: %w", l.flag, err)
		}
	}
	servers := make([]*http.Server, len(listeners))
	failed := make(chan error, len(listeners))
	for i, l := range listeners {
		servers[i] = listen.NewServer(l.handler, log)
		l.Listener = listen.Limit(l.Listener, l.limits)
		if certs != nil {
			// Each held request has a connection of its own, as without TLS.
			cfg := certs.Config()
			cfg.NextProtos = []string{"http/1.1"}
			l.Listener = tls.NewListener(l.Listener, cfg)
		}
		log.Info("listening", "for", l.flag, "address", l.Addr().String(), "tls", certs != nil)
		go func() { failed <- servers[i].Serve(l) }()
	}
	var err error
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case err = <-failed:
	}
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

// moreThreads lets more of Go's threads run than there are processors, and returns
// how many these are. Go looks for what the network has brought when it has nothing
// else to run, and otherwise every 10 ms: a PUT whose pieces come one by one would
// take seconds beside readers that always have something to run. A thread that has
// nothing to run waits for the network itself, and the system lets it run at once.
func moreThreads(getenv func(string) string) (processors int) {
	processors = runtime.GOMAXPROCS(0)
	if getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2*processors + 2)
	}
	return processors
}
