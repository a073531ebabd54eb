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
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/budget"
	"headwater/edge"
	edgefront "headwater/edge/front"
	"headwater/listen"
)

// frontFlags are what an edge shows its viewers: addresses, limits, and how it
// comes and goes.
type frontFlags struct {
	listen                              string
	tlsListen, tlsCert, tlsKey          string
	http3                               bool
	headerTimeout, idleTimeout          time.Duration
	writeTimeout                        time.Duration
	maxHeader                           int64
	maxStreams, maxConns, maxPerAddress int
	drainDelay, drainTimeout            time.Duration
	handover                            string
	metrics                             string
	nodes                               *nodeListener // nil: nodes come as viewers do,
	near                                bool          // and only from this machine
}

func (f *frontFlags) register(o *options) {
	o.String(&f.listen, "listen", ":8080", "`ADDRESS` that viewers connect to, without TLS")
	o.String(&f.tlsListen, "tls-listen", "", "`ADDRESS` that viewers connect to with TLS 1.2 or later, for HTTP/1.1 and HTTP/2")
	o.String(&f.tlsCert, "tls-cert", "", "`FILE` of the certificate chain (PEM). It is read again when it changes, and on SIGHUP; a broken one changes nothing")
	o.String(&f.tlsKey, "tls-key", "", "`FILE` of the certificate's key (PEM)")
	o.Bool(&f.http3, "http3", "serve HTTP/3 as well, on the UDP port of --tls-listen, and tell browsers by Alt-Svc")
	o.Duration(&f.headerTimeout, "header-timeout", listen.HeaderTimeout, "`TIME` that a request's head may take, that a new connection may say nothing, and that a request's body (at most 4 KiB) may take")
	o.Duration(&f.idleTimeout, "idle-timeout", listen.IdleTimeout, "`TIME` that a connection may wait for its next request")
	o.Duration(&f.writeTimeout, "write-timeout", 30*time.Second, "`TIME` that a viewer may take for each 256 KiB of an answer")
	o.Bytes(&f.maxHeader, "max-header", listen.MaxHeader, "`SIZE` of a request's head; larger ones are answered 431")
	o.Int(&f.maxStreams, "max-streams", 100, "`NUMBER` of requests at once on one connection of HTTP/2 or HTTP/3")
	o.Int(&f.maxConns, "max-conns", 0, "`NUMBER` of connections; those over it are answered 503. 0 is what the limit of open files (raised to the hard one) leaves")
	o.Int(&f.maxPerAddress, "max-conns-per-address", 0, "`NUMBER` of connections of one IPv4 address or IPv6 /64; those over it are answered 503. 0 is no limit, since many viewers may share an address")
	o.Duration(&f.drainDelay, "drain-delay", 0, "`TIME` between SIGTERM, when /readyz becomes 503, and the end of listening: for load balancers that look at it")
	o.Duration(&f.drainTimeout, "drain-timeout", drainTimeout, "`TIME` after the end of listening in which what is held and being sent ends; then the rest is cut off")
	o.String(&f.metrics, "metrics", "", "`ADDRESS` of a listener of its own for /metrics, /healthz and /readyz; viewers: /metrics is on the viewers' listeners; default: it is nowhere")
	o.String(&f.handover, "handover", "", "`PATH` of a Unix socket by which a new process, started with the same path, takes over the listening sockets from the one that runs, which then drains: no viewer notices. SIGUSR2 starts one")
}

func (f *frontFlags) validate() error {
	switch {
	case f.tlsListen == "" && (f.tlsCert != "" || f.tlsKey != ""):
		return usagef("--tls-cert and --tls-key are for --tls-listen: give that as well")
	case f.tlsListen != "" && (f.tlsCert == "" || f.tlsKey == ""):
		return usagef("--tls-listen: give --tls-cert and --tls-key as well")
	case f.http3 && f.tlsListen == "":
		return usagef("--http3 is for the port of --tls-listen: give that as well")
	}
	for name, d := range map[string]time.Duration{"header-timeout": f.headerTimeout, "idle-timeout": f.idleTimeout, "write-timeout": f.writeTimeout, "drain-timeout": f.drainTimeout} {
		if d <= 0 {
			return usagef("--%s: %v is not more than 0", name, d)
		}
	}
	for name, n := range map[string]int{"max-conns": f.maxConns, "max-conns-per-address": f.maxPerAddress, "max-streams": f.maxStreams - 1, "drain-delay": int(f.drainDelay)} {
		if n < 0 {
			return usagef("--%s is too small", name)
		}
	}
	if f.maxHeader < 1<<10 || f.maxHeader > 1<<20 {
		return usagef("--max-header: %d is not between 1KiB and 1MiB", f.maxHeader)
	}
	return nil
}

// A front is an edge's listeners, while they run.
type front struct {
	*frontFlags
	log   *slog.Logger
	edge  *edge.Edge
	srv   *edgefront.Server
	socks *listen.Sockets
	certs *listen.Certificates // nil without TLS
	peers *http.Server         // of the nodes' listener; nil where there is none
	probe *prober
	tasks sync.WaitGroup
	ended chan error // of what serves a socket
}

// serve serves until ctx ends, another process takes over, or a listener
// fails; then it drains. Every address is listened on before any is served.
func (f *frontFlags) serve(ctx context.Context, env *environment, log *slog.Logger, ed *edge.Edge, mem *budget.Budget, reg *prometheus.Registry) error {
	fr := &front{frontFlags: f, log: log, edge: ed, probe: newProber(), ended: make(chan error, 5)}
	handler := edgefront.Handler(ed)
	if f.near {
		handler = nearOnly(handler)
	}
	fr.srv = &edgefront.Server{
		Edge: ed, Handler: fr.probe.answers(handler), HeaderTimeout: f.headerTimeout, IdleTimeout: f.idleTimeout, MaxHeaderBytes: int(f.maxHeader), MaxStreams: f.maxStreams,
		MaxConns: f.connections(log), MaxConnsPerAddress: f.maxPerAddress, WriteTimeout: f.writeTimeout, Room: mem.RoomFirst, Let: func() bool { return mem.Let(edgeConnBytes) }, Log: log, Metrics: reg,
	}
	mem.Count(fr.srv.Heads)
	mem.Run()
	var err error
	if fr.socks, err = listen.Open(ctx, f.handover, log, env.getenv); err != nil {
		return fmt.Errorf("--handover: %w", err)
	}
	defer fr.socks.Close()
	// Helpers live until all is drained.
	helpers, stop := context.WithCancel(context.Background())
	defer fr.tasks.Wait()
	defer stop()
	defer fr.srv.Close()
	if err := fr.start(ctx, helpers, reg); err != nil {
		return err
	}
	linger, end := min(time.Second, f.drainTimeout/2), context.WithoutCancel(ctx)
	select {
	case <-ctx.Done():
		log.Info("draining: told to stop", "delay", f.drainDelay, "timeout", f.drainTimeout)
		ed.Leave()
		ed.Drain()
		if f.drainDelay > 0 {
			select {
			case <-time.After(f.drainDelay):
			case err = <-fr.ended:
			}
		}
	case <-fr.socks.Taken():
		log.Info("draining: another process serves", "timeout", f.drainTimeout)
		ed.Drain()
		// Viewers come back within a segment; there is no hurry.
		linger, end = min(5*time.Second, f.drainTimeout/2), ctx
	case err = <-fr.ended:
	}
	fr.socks.Close()
	fr.srv.LingerFor(linger)
	end, cancel := context.WithTimeout(end, f.drainTimeout)
	defer cancel()
	var peers sync.WaitGroup
	if fr.peers != nil {
		peers.Go(func() { _ = fr.peers.Shutdown(end) }) // what is left is closed with the helpers
	}
	switch e := fr.srv.Shutdown(end); {
	case errors.Is(e, context.DeadlineExceeded):
		err = errors.Join(err, fmt.Errorf("--drain-timeout: cut off what had not ended after %v", f.drainTimeout))
	default:
		err = errors.Join(err, e)
	}
	peers.Wait()
	return err
}

// start listens on everything, then serves it.
func (fr *front) start(ctx, helpers context.Context, reg *prometheus.Registry) error {
	plain, err := fr.socks.Listen(ctx, fr.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	var own *net.TCPListener
	if fr.metrics != "" && fr.metrics != "viewers" {
		if own, err = fr.socks.Listen(ctx, fr.metrics); err != nil {
			plain.Close()
			return fmt.Errorf("--metrics: %w", err)
		}
	}
	nodes, err := fr.listenForNodes(ctx)
	if err != nil {
		plain.Close()
		return err
	}
	serving := func(flag, addr string, serve func() error) {
		fr.log.Info("listening", "for", flag, "address", addr)
		fr.tasks.Go(func() {
			if err := serve(); !errors.Is(err, http.ErrServerClosed) {
				fr.ended <- fmt.Errorf("--%s: %w", flag, err)
			}
		})
	}
	if own != nil {
		srv := listen.NewServer(metricsHandler(fr.edge), fr.log)
		fr.tasks.Go(func() { <-helpers.Done(); srv.Close() })
		serving("metrics", own.Addr().String(), func() error { return srv.Serve(own) })
	}
	if nodes != nil {
		fr.peers = listen.NewServer(fr.nodes.admit(edgefront.Handler(fr.edge)), fr.log)
		fr.tasks.Go(func() { <-helpers.Done(); fr.peers.Close() })
		fr.reread(helpers, fr.nodes.certs)
		measureCertificates("peers", fr.nodes.certs, reg)
		serving("peer-listen", nodes.Addr().String(), func() error { return fr.peers.Serve(fr.nodes.wrap(nodes)) })
	}
	if fr.tlsListen == "" {
		serving("listen", plain.Addr().String(), func() error { return fr.srv.Serve(plain) })
		return fr.ready(ctx, helpers, plain.Addr())
	}
	var secure *tlsSockets
	if secure, err = fr.secure(ctx); err != nil {
		plain.Close()
		return err
	}
	measureCertificates("edge", fr.certs, reg)
	fr.reread(helpers, fr.certs)
	serving("listen", plain.Addr().String(), func() error { return fr.srv.Serve(plain) })
	serving("tls-listen", secure.tcp.Addr().String(), func() error { return fr.srv.ServeTLS(secure.tcp, secure.config) })
	if err := fr.ready(ctx, helpers, plain.Addr()); err != nil {
		return err
	}
	if secure.udp != nil {
		// Only now: of two processes one may read it.
		serving("http3", secure.udp.LocalAddr().String(), func() error { return fr.srv.ServeHTTP3(secure.udp, secure.config) })
	}
	return nil
}

// reread has certificates be read again while they are used.
func (fr *front) reread(ctx context.Context, certs *listen.Certificates) {
	reload := make(chan os.Signal, 1)
	if hangup != nil {
		signal.Notify(reload, hangup)
	}
	fr.tasks.Go(func() {
		defer signal.Stop(reload)
		certs.Run(ctx, reload)
	})
}

type tlsSockets struct {
	tcp    *net.TCPListener
	udp    *listen.Packets // nil without HTTP/3
	config *tls.Config
}

// secure reads the certificate and listens for TLS.
func (fr *front) secure(ctx context.Context) (*tlsSockets, error) {
	var err error
	if fr.certs, err = listen.ReadCertificates(fr.tlsCert, fr.tlsKey, "", fr.log); err != nil {
		return nil, fmt.Errorf("--tls-cert: %w", err)
	}
	tcp, err := fr.socks.Listen(ctx, fr.tlsListen)
	if err != nil {
		return nil, fmt.Errorf("--tls-listen: %w", err)
	}
	s := &tlsSockets{tcp: tcp, config: fr.certs.Config()}
	if fr.http3 {
		// The same port, also where it was any.
		if s.udp, err = fr.socks.ListenPacket(ctx, tcp.Addr().String()); err != nil {
			tcp.Close()
			return nil, fmt.Errorf("--http3: %w", err)
		}
	}
	return s, nil
}

// ready lets the process that ran before go, once this one has shown that it serves, and
// waits for the next.
func (fr *front) ready(ctx, helpers context.Context, addr net.Addr) error {
	if err := fr.socks.Prove(ctx, fr.probe.ask(false, addr)); err != nil {
		return fmt.Errorf("--handover: %w", err)
	}
	if err := fr.socks.Ready(); err != nil {
		return fmt.Errorf("--handover: %w", err)
	}
	if fr.handover != "" && successor != nil {
		c := make(chan os.Signal, 1)
		signal.Notify(c, successor)
		fr.tasks.Go(func() {
			defer signal.Stop(c)
			succeed(helpers, fr.log, fr.socks, c)
		})
	}
	return nil
}

// measureCertificates tells of the certificate of a role's listeners.
func measureCertificates(role string, certs *listen.Certificates, reg prometheus.Registerer) {
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "headwater", Subsystem: role, Name: "certificate_expires_seconds", Help: "Unix time at which the certificate in use expires."},
			func() float64 { return float64(certs.Expires().Unix()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "headwater", Subsystem: role, Name: "certificate_failures_total", Help: "New certificates that were not usable."},
			func() float64 { return float64(certs.Failures()) }),
	)
}

// connections is how many there may be.
func (f *frontFlags) connections(log *slog.Logger) int {
	files, err := listen.RaiseFiles()
	if err != nil {
		log.Warn("limit of open files", "err", err)
	}
	if files == 0 {
		return f.maxConns
	}
	most := files - spare(files)
	if f.maxConns > most {
		log.Warn("--max-conns is more than the limit of open files leaves", "max-conns", f.maxConns, "leaves", most, "files", files)
	}
	if f.maxConns > 0 {
		return min(f.maxConns, most)
	}
	return most
}

// spare is how many of so many files are for all else: parents, logs, the disk.
func spare(files int) int { return min(max(files/10, 64), 2048, files/2) }
