package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/access"
	"headwater/access/token"
	"headwater/edge"
	files "headwater/internal/reread"
)

// nodeFlags say who an edge is to its parents and its site, and how it knows
// viewers and other nodes.
type nodeFlags struct {
	viewerKeys, credentials string
	parent                  clientFlags
	peer, peerFile          string
	nodes                   nodeListener
	insecure                bool
	near                    bool // its site is this machine's, and nodes say no secrets
}

func (f *nodeFlags) register(o *options) {
	o.String(&f.viewerKeys, "viewer-keys", "", "`FILE` of the keys (a JSON Web Key Set, with tenants) of tokens that viewers show, of events that want them (headwater keys viewers makes it). It is read again when it changes, and on SIGHUP; a broken one changes nothing")
	o.String(&f.credentials, "credentials", "", "`FILE` of the nodes below this one and of its site (the rights deliver and peer); read again as --viewer-keys is")
	f.parent.registerAs(o, "parent-token", "parent-")
	o.Secret(&f.peer, "peer-token", "`SECRET` to send to the nodes of the site")
	o.String(&f.peerFile, "peer-token-file", "", "`FILE` of the secret to send to the nodes of the site; --credentials says who they are")
	f.nodes.register(o)
	o.Bool(&f.insecure, "insecure", "be in a site beyond this machine though its nodes need not say who they are")
}

// apply puts the flags into the configuration, and says what must run.
func (f *nodeFlags) apply(cfg *edge.Config, log *slog.Logger) (watched []func(context.Context, <-chan os.Signal), err error) {
	if cfg.ParentSecret, err = f.parent.secret(); err != nil {
		return nil, err
	}
	peer := clientFlags{token: f.peer, tokenFile: f.peerFile, flag: "peer-token"}
	if cfg.PeerSecret, err = peer.secret(); err != nil {
		return nil, err
	}
	if cfg.TLS, err = f.parent.tls(); err != nil {
		return nil, err
	}
	if err := f.nodes.validate(f); err != nil {
		return nil, err
	}
	known := f.credentials != "" && (cfg.PeerSecret != "" || f.nodes.listen != "" && f.parent.cert != "")
	if len(cfg.Site) > 0 && !known && !f.insecure {
		f.near = true
		for _, base := range cfg.Site {
			if u, err := url.Parse(base); err == nil && !loopback(withPort(u)) {
				return nil, usagef("--site: anybody could pass for node %s: give --credentials FILE and --peer-token-file FILE (headwater keys init makes both), or --peer-listen and certificates, or --insecure", base)
			}
		}
	}
	if f.credentials != "" {
		g, err := access.NewGuard(f.credentials, nil, log, cfg.Metrics)
		if err != nil {
			return nil, usagef("--credentials: %w", err)
		}
		cfg.Peers = func(authorization string) bool {
			return f.nodes.admitted(authorization) || isNode(g.Known(authorization, time.Now()))
		}
		watched = append(watched, g.Run)
		if err := f.nodes.prepare(g, log); err != nil {
			return nil, err
		}
	}
	if f.viewerKeys != "" {
		k := &viewerKeys{name: f.viewerKeys, log: log}
		if k.files, err = files.Of(k.read, f.viewerKeys); err != nil {
			return nil, usagef("--viewer-keys: %w", err)
		}
		k.failures = prometheus.NewCounter(prometheus.CounterOpts{Namespace: "headwater", Subsystem: "edge", Name: "viewer_keys_failures_total", Help: "New keys of viewers' tokens that were not usable: the ones before stay."})
		cfg.Metrics.MustRegister(k.failures)
		cfg.Tokens = k.now.Load
		watched = append(watched, k.run)
	}
	return watched, nil
}

// isNode reports whether somebody is a node of the site, or below it.
func isNode(id *access.Identity) bool {
	return access.Decide(id, access.Want{Right: access.Peer}) == access.Allowed || access.Decide(id, access.Want{Right: access.Deliver}) == access.Allowed
}

func withPort(u *url.URL) string {
	if u.Port() == "" {
		return u.Host + ":80"
	}
	return u.Host
}

// viewerKeys are the keys of tokens, of a file that may change.
type viewerKeys struct {
	name     string
	files    *files.Files
	log      *slog.Logger
	now      atomic.Pointer[token.Verifier]
	failures prometheus.Counter
}

func (k *viewerKeys) read() error {
	keys, err := readViewerKeys(k.name)
	if err != nil {
		return err
	}
	k.now.Store(token.NewVerifier(keys))
	if keys.Len() == 0 {
		k.log.Warn("there is not one key of viewers' tokens: nobody can watch an event that wants them", "file", k.name)
	}
	return nil
}

func readViewerKeys(name string) (*token.Keys, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	keys, err := token.ParseKeys(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
}

func (k *viewerKeys) run(ctx context.Context, reload <-chan os.Signal) {
	k.files.Run(ctx, reload, func() {
		k.log.Info("keys of viewers' tokens read", "file", k.name)
	}, func(err error) {
		k.failures.Inc()
		k.log.Error("the new keys of viewers' tokens are not usable: the old ones stay", "err", err)
	})
}

// metricsHandler serves /metrics, /healthz and /readyz.
func metricsHandler(ed *edge.Edge) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", ed.Metrics())
	for _, path := range []string{"/healthz", "/readyz"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { ed.ServeNode(w, r) })
	}
	return mux
}
