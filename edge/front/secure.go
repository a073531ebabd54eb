package front

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"

	"headwater/edge/front/record"
)

// ServeTLS is Serve for HTTP/1.1 and HTTP/2 over TLS. A handshake has a goroutine;
// when it is over a loop has the connection. TLS 1.2 is net/http's.
func (s *Server) ServeTLS(l net.Listener, cfg *tls.Config) error {
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"h2", "http/1.1", "http/1.0"}
	server := record.NewServer(cfg)
	return s.serve(l, func(nc net.Conn, addr netip.Addr) {
		if !s.spawn(func() { s.secure(server, nc, addr) }) {
			nc.Close()
			s.forget(addr)
		}
	}, func(nc net.Conn) { nc.Close() }) // a handshake would cost more than it is worth
}

// secure makes a handshake, and gives the connection to who goes on with it.
func (s *Server) secure(server *record.Server, nc net.Conn, addr netip.Addr) {
	ctx, cancel := context.WithTimeout(s.ctx, s.HeaderTimeout)
	defer cancel()
	done, err := server.Handshake(ctx, nc)
	if err != nil {
		s.drop(dropHandshake)
		s.Log.Debug("handshake", "err", err)
		nc.Close()
		s.forget(addr)
		return
	}
	if done.Other != nil {
		s.handOver(done.Other, addr, nil)
		return
	}
	l, sock := s.socketOf(nc)
	if sock == nil {
		s.handOver(&sealedConn{Conn: nc, rec: done.Conn, came: done.Came}, addr, nil)
		return
	}
	seal := &sealed{socket: sock, rec: done.Conn, came: done.Came, burst: burstLeast}
	c := &conn{sock: seal, addr: addr, secure: true, readable: len(done.Came) > 0}
	if done.Protocol == "h2" {
		c.two = &mux{c: c, sock: seal}
	}
	s.open(l, c)
}

// isSecure reports whether net/http has a request by TLS: crypto/tls', or ours.
func isSecure(r *http.Request) bool {
	return r.TLS != nil || r.Context().Value(overTLS{}) != nil
}

type overTLS struct{}

// connContext marks what comes over our TLS.
func connContext(ctx context.Context, nc net.Conn) context.Context {
	if h, ok := nc.(*handedConn); ok {
		nc = h.Conn
	}
	if _, ok := nc.(*sealedConn); ok {
		ctx = context.WithValue(ctx, overTLS{}, true)
	}
	return ctx
}
