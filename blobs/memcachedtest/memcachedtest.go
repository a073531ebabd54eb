// Package memcachedtest runs real memcached servers inside tests.
package memcachedtest

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/internal/proc"
)

// A Server is a real memcached, stopped when the test ends.
type Server struct {
	Addr string // HOST:PORT

	t testing.TB
	p proc.Process
}

// New starts a server on a free port.
func New(t testing.TB) *Server {
	t.Helper()
	need.Long(t, "starts real servers")
	program := need.Program(t, "memcached")
	addr, err := proc.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	m := &Server{t: t, Addr: addr}
	host, port, _ := net.SplitHostPort(addr)
	m.p = proc.Process{
		Name: "memcached", Log: filepath.Join(t.TempDir(), "log"),
		Make: func() *exec.Cmd {
			return exec.Command(program, "-l", host, "-p", port, "-U", "0", "-m", "512", "-t", "2", "-u", "nobody")
		},
		Ready: func(context.Context) error {
			if m.Say("mn\r\n") != "MN\r\n" {
				return errors.New("no answer")
			}
			return nil
		},
	}
	m.Start()
	t.Cleanup(m.Kill)
	return m
}

// Start begins the server, on the same address again after a kill, and waits
// until it answers.
func (m *Server) Start() { m.must(m.p.Start(context.Background())) }

func (m *Server) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// Say sends a command past the client, and returns the beginning of the answer.
func (m *Server) Say(command string) string {
	c, err := net.DialTimeout("tcp", m.Addr, time.Second)
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte(command)); err != nil {
		return ""
	}
	answer := make([]byte, 4096)
	n, _ := c.Read(answer)
	return string(answer[:n])
}

// Kill ends it at once, with all that it had.
func (m *Server) Kill() { m.must(m.p.Kill()) }

// Hang stops it where it stands; its connections stay open.
func (m *Server) Hang() { m.must(m.p.Pause()) }

// Resume lets it go on.
func (m *Server) Resume() { m.must(m.p.Resume()) }

// Empty takes all out.
func (m *Server) Empty() {
	if got := m.Say("flush_all\r\n"); got != "OK\r\n" {
		m.t.Errorf("flush_all: %q", got)
	}
}
