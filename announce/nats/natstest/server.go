// Package natstest runs a real NATS server inside a test.
package natstest

import (
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"
)

// A Server is a NATS server on a port of its own, which it keeps over Stop and
// Start.
type Server struct {
	t    testing.TB
	port int
	s    *server.Server // nil while it is stopped
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, port: server.RANDOM_PORT}
	s.Start()
	s.port = s.s.Addr().(*net.TCPAddr).Port
	t.Cleanup(s.Stop)
	return s
}

// Start runs it again after Stop.
func (s *Server) Start() {
	s.t.Helper()
	var err error
	if s.s, err = server.NewServer(&server.Options{Host: "127.0.0.1", Port: s.port, NoLog: true, NoSigs: true}); err != nil {
		s.t.Fatal(err)
	}
	s.s.Start()
	if !s.s.ReadyForConnections(10 * time.Second) {
		s.t.Fatalf("no NATS server on port %d", s.port)
	}
}

// Stop ends it, and every connection to it with it.
func (s *Server) Stop() {
	if s.s != nil {
		s.s.Shutdown()
		s.s.WaitForShutdown()
		s.s = nil
	}
}

// URL is where it is.
func (s *Server) URL() string { return s.s.ClientURL() }

// Publish sends raw data.
func (s *Server) Publish(subject string, data []byte) {
	s.t.Helper()
	conn, err := client.Connect(s.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if err = conn.Publish(subject, data); err == nil {
		err = conn.Flush()
	}
	if err != nil {
		s.t.Fatal(err)
	}
}
