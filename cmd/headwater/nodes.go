package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"

	"headwater/access"
	"headwater/listen"
	"headwater/live"
)

// nodeConns bounds the connections of nodes: each request that is held has one.
const nodeConns = 4096

// A nodeListener is the one of an edge at which nodes, of its site and below it, say by
// certificates who they are. Viewers are never asked for one.
type nodeListener struct {
	listen              string // "": there is none
	cert, key, clientCA string

	guard *access.Guard
	certs *listen.Certificates
	pass  string // what stands for a certificate within this process, and nobody else knows
}

func (n *nodeListener) register(o *options) {
	o.String(&n.listen, "peer-listen", "", "`ADDRESS` that nodes connect to with TLS, and certificates that --credentials names; --site then has https://host:port of it. To others they show --parent-tls-cert, and hold them against --parent-tls-ca")
	o.String(&n.cert, "peer-tls-cert", "", "`FILE` of its certificate chain (PEM), read again when it changes, and on SIGHUP")
	o.String(&n.key, "peer-tls-key", "", "`FILE` of the certificate's key (PEM)")
	o.String(&n.clientCA, "peer-tls-client-ca", "", "`FILE` of the certificates (PEM) that sign those of nodes")
}

func (n *nodeListener) validate(f *nodeFlags) error {
	switch {
	case n.listen == "" && n.cert+n.key+n.clientCA != "":
		return usagef("--peer-tls-cert, --peer-tls-key and --peer-tls-client-ca are for --peer-listen: give that as well")
	case n.listen != "" && (n.cert == "" || n.key == "" || n.clientCA == "" || f.credentials == ""):
		return usagef("--peer-listen: give --peer-tls-cert, --peer-tls-key, --peer-tls-client-ca and --credentials as well")
	}
	return nil
}

// prepare reads the certificates.
func (n *nodeListener) prepare(g *access.Guard, log *slog.Logger) (err error) {
	if n.listen == "" {
		return nil
	}
	n.guard, n.pass = g, "Bearer "+rand.Text()
	if n.certs, err = listen.ReadCertificates(n.cert, n.key, n.clientCA, log); err != nil {
		return usagef("--peer-tls-cert: %w", err)
	}
	return nil
}

// admitted reports whether a request came by the listener, from a node.
func (n *nodeListener) admitted(authorization string) bool {
	return n.pass != "" && subtle.ConstantTimeCompare([]byte(authorization), []byte(n.pass)) == 1
}

// admit has nodes answered, and nobody else.
func (n *nodeListener) admit(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := n.guard.Identify(w, r); !isNode(id) {
			want := access.Want{Right: access.Peer}
			access.Decide(id, want).Problem(want).Write(w, r)
			return
		}
		r.Header.Set("Authorization", n.pass)
		h.ServeHTTP(w, r)
	})
}

// nearOnly has a site whose nodes say no secrets, since all are on this machine, told to who
// asks from there, and nobody else pass for a node.
func nearOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if at, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !at.Addr().Unmap().IsLoopback() {
			r.Header.Del(live.HeaderSite)
		}
		h.ServeHTTP(w, r)
	})
}

// wrap puts limits and TLS around what it listens on. Each held request has a connection of
// its own, as without TLS.
func (n *nodeListener) wrap(l net.Listener) net.Listener {
	cfg := n.certs.Config()
	cfg.NextProtos = []string{"http/1.1"}
	return tls.NewListener(listen.Limit(l, listen.Limits{Conns: nodeConns, WriteTimeout: writeTimeout}), cfg)
}

// listenForNodes listens where nodes connect to; nil where they do not.
func (fr *front) listenForNodes(ctx context.Context) (*net.TCPListener, error) {
	if fr.nodes == nil || fr.nodes.listen == "" {
		return nil, nil
	}
	l, err := fr.socks.Listen(ctx, fr.nodes.listen)
	if err != nil {
		return nil, fmt.Errorf("--peer-listen: %w", err)
	}
	return l, nil
}
