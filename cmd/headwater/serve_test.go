package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"headwater/listen"
	"headwater/listen/plain"
)

// TestNothingIsRefusedBelowTLS: who speaks HTTP to a listener of TLS learns that alone, not
// which events there are.
func TestNothingIsRefusedBelowTLS(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	certFile, keyFile, _ := pair(t, t.TempDir())
	certs, err := listen.ReadCertificates(certFile, keyFile, "", log)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		certs *listen.Certificates
		want  int
	}{{nil, http.StatusNotFound}, {certs, http.StatusBadRequest}} {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := &listener{Listener: tcp, limits: listen.Limits{Refuse: func(b []byte, _ *plain.Head) []byte {
			return append(b, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"...)
		}}}
		l.wrap(c.certs)
		srv, done := listen.NewServer(http.NotFoundHandler(), log), make(chan error, 1)
		go func() { done <- srv.Serve(l) }()
		nc, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprint(nc, "GET /a/b/event.json HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil || resp.StatusCode != c.want {
			t.Errorf("TLS %t: %+v, %v, want %d", c.certs != nil, resp, err, c.want)
		} else {
			io.Copy(io.Discard, resp.Body)
		}
		nc.Close()
		srv.Close()
		<-done
	}
}
