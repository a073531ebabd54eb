package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/access"
	"headwater/clock"
	"headwater/ingest"
	"headwater/listen"
	"headwater/live"
	"headwater/origin"
	"headwater/packager"
)

// allowBy asks a guard who may publish.
func allowBy(guard *access.Guard) func(w http.ResponseWriter, r *http.Request, id live.EventID, pipeline string) error {
	return func(w http.ResponseWriter, r *http.Request, id live.EventID, pipeline string) error {
		_, err := guard.Check(w, r, access.Want{Right: access.Publish, Tenant: id.Tenant, Pipeline: pipeline})
		return err
	}
}

// createBy makes events by a control API, with a secret, or else with that of a
// request for ingest.
func createBy(base, secret string, client *http.Client) func(ctx context.Context, theirs string, id live.EventID, ev *live.Event) error {
	return func(ctx context.Context, theirs string, id live.EventID, ev *live.Event) error {
		c := &control{base: strings.TrimSuffix(base, "/"), token: secret, client: client, what: "create"}
		if secret == "" {
			c.token = theirs
		}
		_, err := c.request(ctx, http.MethodPut, "/v1/events/"+id.String(), ev)
		return err
	}
}

// packagerListener are the flags of packager --listen.
type packagerListener struct {
	address      string
	access       accessFlags
	tokens       []string
	create       bool
	control      string
	controlToken clientFlags
}

func (f *packagerListener) register(o *options) {
	o.String(&f.address, "listen", "", "`ADDRESS` on which encoders may send (DASH-IF Live Media Ingest; ffmpeg -f dash, -f hls) instead of standard input; beyond this machine it wants --listen-credentials")
	o.String(&f.access.credentials, "listen-credentials", "", "`FILE` of who may send (headwater keys makes it), with the right publish")
	o.SecretList(&f.tokens, "listen-token", "`SECRET` that encoders must send (Bearer, or Basic's password)")
	o.String(&f.access.tlsCert, "listen-tls-cert", "", "`FILE` of the certificate chain (PEM) of --listen, which then speaks TLS")
	o.String(&f.access.tlsKey, "listen-tls-key", "", "`FILE` of its key (PEM)")
	o.Bool(&f.access.insecure, "insecure", "listen beyond this machine though nobody must say who they are")
	o.Bool(&f.create, "create", "with --listen: make the event of what comes, where there is none, and add the pipeline where it has not got it")
	o.String(&f.control, "control", controlURL, "with --create: base `URL` of the origin's control listener")
	f.controlToken.registerAs(o, "control-token", "control-")
}

// run answers encoders until ctx ends.
func (f *packagerListener) run(ctx context.Context, cfg packager.Config, stats time.Duration, metrics string, log *slog.Logger) error {
	tenant, _, _ := strings.Cut(cfg.Event, "/")
	for _, secret := range f.tokens {
		f.access.publishTokens = append(f.access.publishTokens, tenant+"/"+cfg.Pipeline+"="+secret)
	}
	if (f.access.tlsCert == "") != (f.access.tlsKey == "") {
		return usagef("--listen-tls-cert and --listen-tls-key go together")
	}
	if !f.access.wanted() && !f.access.insecure && !loopback(f.address) {
		return usagef("--listen %s would let anybody who reaches it publish: give --listen-credentials FILE, or --listen 127.0.0.1:%s, or --insecure", f.address, portOf(f.address))
	}
	guard, err := f.access.guard(log, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	certs, err := f.access.certificates(log)
	if err != nil {
		return err
	}
	in := ingest.Config{Packager: cfg, Event: cfg.Event, Pipeline: cfg.Pipeline, Log: log}
	if guard != nil {
		in.Allow = allowBy(guard)
	}
	if f.create {
		secret, err := f.controlToken.secret()
		if err != nil {
			return err
		}
		client, err := f.controlToken.client()
		if err != nil {
			return err
		}
		in.Create = createBy(f.control, secret, client)
	}
	srv, err := ingest.New(in)
	if err != nil {
		return usageError{err}
	}
	if guard != nil {
		defer reread(guard.Run)()
	}
	if certs != nil {
		defer reread(certs.Run)()
	}
	defer sayIngest(ctx, srv, stats, log)()
	stop, err := showFigures(ctx, metrics, srv.Packagers, log)
	if err != nil {
		return err
	}
	defer stop()
	return serve(ctx, log, certs, srv.Drain, nil, nil, &listener{flag: "listen", addr: f.address, handler: srv, limits: listen.Limits{Conns: 1024, WriteTimeout: writeTimeout}})
}

// sayIngest writes lines of statistics now and then, until stop is called.
func sayIngest(ctx context.Context, srv *ingest.Server, every time.Duration, log *slog.Logger) (stop func()) {
	if every <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var task sync.WaitGroup
	task.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				for name, s := range srv.Packagers() {
					logStats(log.With("of", name), s)
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); task.Wait() }
}

// An inside is an origin's own listeners in memory, for ingest in the same process:
// what it makes of media is published as any packager's is.
type inside struct {
	servers map[string]*http.Server
	conns   map[string]*inMemory
}

// newInside serves handlers by host.
func newInside(org *origin.Origin, log *slog.Logger) *inside {
	in := &inside{servers: map[string]*http.Server{}, conns: map[string]*inMemory{}}
	for host, h := range map[string]http.Handler{"publish": org.PublishHandler(), "deliver": org.DeliverHandler(), "control": org.ControlHandler()} {
		in.conns[host] = &inMemory{host: host, conns: make(chan net.Conn), closed: make(chan struct{})}
		in.servers[host] = &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
		go in.servers[host].Serve(in.conns[host])
	}
	return in
}

// dial connects to host:port, of which the port says nothing.
func (in *inside) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	l := in.conns[host]
	if l == nil {
		return nil, fmt.Errorf("no listener %q in memory", host)
	}
	a, b := net.Pipe()
	select {
	case l.conns <- b:
		return a, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (in *inside) close() {
	for _, s := range in.servers {
		s.Close()
	}
}

// inMemory is a listener whose connections are pipes.
type inMemory struct {
	host   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *inMemory) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *inMemory) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *inMemory) Addr() net.Addr { return &net.UnixAddr{Name: l.host, Net: "memory"} }

// newIngest is the ingest of an origin.
func newIngest(in *inside, guard *access.Guard, create bool, look int, tenantShare int, clk *clock.Clock, log *slog.Logger, metrics prometheus.Registerer) (*ingest.Server, error) {
	cfg := ingest.Config{
		Packager: packager.Config{To: []string{"http://publish:7001"}, EventURL: "http://deliver:7002", EventWait: -1, Dial: in.dial, Time: clk},
		Log:      log, TenantPercent: tenantShare,
	}
	if look > 0 {
		cfg.Packager.Look, cfg.Packager.Watchers = "ffmpeg", make(packager.Watchers, look)
	}
	if guard != nil {
		cfg.Allow = allowBy(guard)
		cfg.Secret = func(r *http.Request) string { s, _ := access.SecretOf(r); return s }
	}
	if create {
		client := &http.Client{Transport: &http.Transport{DialContext: in.dial}}
		cfg.Create = createBy("http://control:7003", "", client)
	}
	srv, err := ingest.New(cfg)
	if err != nil {
		return nil, err
	}
	metrics.MustRegister(ingestFigures{srv}, packagerFigures{srv.Packagers})
	return srv, nil
}

// ingestFigures is a collector of what ingest does.
type ingestFigures struct{ srv *ingest.Server }

var (
	ingestEncoders  = prometheus.NewDesc("headwater_ingest_encoders", "Encoders that send, by event and pipeline, and those that did lately.", nil, nil)
	ingestRequests  = prometheus.NewDesc("headwater_ingest_requests_total", "Requests of encoders by what became of them.", []string{"outcome"}, nil)
	ingestFragments = prometheus.NewDesc("headwater_ingest_fragments_total", "Fragments that came.", nil, nil)
	ingestRepeated  = prometheus.NewDesc("headwater_ingest_repeated_fragments_total", "Of them, those that had come before.", nil, nil)
	ingestAnchors   = prometheus.NewDesc("headwater_ingest_anchors_total", "How often an encoder was placed in time.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c ingestFigures) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c ingestFigures) Collect(ch chan<- prometheus.Metric) {
	s := c.srv.Stats()
	ch <- prometheus.MustNewConstMetric(ingestEncoders, prometheus.GaugeValue, float64(s.Publications))
	for outcome, n := range s.Requests {
		ch <- prometheus.MustNewConstMetric(ingestRequests, prometheus.CounterValue, float64(n), outcome)
	}
	ch <- prometheus.MustNewConstMetric(ingestFragments, prometheus.CounterValue, float64(s.Fragments))
	ch <- prometheus.MustNewConstMetric(ingestRepeated, prometheus.CounterValue, float64(s.Repeated))
	ch <- prometheus.MustNewConstMetric(ingestAnchors, prometheus.CounterValue, float64(s.Anchors))
}
