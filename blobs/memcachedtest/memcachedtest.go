// Package memcachedtest runs real memcached servers inside tests.
package memcachedtest

import (
	"net"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// A Server is a real memcached, stopped when the test ends.
type Server struct {
	Addr string // HOST:PORT

	t   testing.TB
	cmd *exec.Cmd
}

// New starts a server on a free port.
func New(t testing.TB) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real servers")
	}
	if _, err := exec.LookPath("memcached"); err != nil {
		t.Fatal("this test needs memcached (Debian: apt-get install memcached)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &Server{t: t, Addr: l.Addr().String()}
	l.Close()
	m.Start()
	t.Cleanup(m.Kill)
	return m
}

// Start begins the server, on the same address again after a kill, and waits
// until it answers.
func (m *Server) Start() {
	m.t.Helper()
	host, port, _ := net.SplitHostPort(m.Addr)
	m.cmd = exec.Command("memcached", "-l", host, "-p", port, "-U", "0", "-m", "512", "-t", "2", "-u", "nobody")
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if m.Say("mn\r\n") == "MN\r\n" {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("memcached at %s does not answer", m.Addr)
		}
		time.Sleep(5 * time.Millisecond) // until the program has its socket
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
func (m *Server) Kill() {
	if m.cmd != nil {
		m.cmd.Process.Signal(syscall.SIGCONT)
		m.cmd.Process.Kill()
		m.cmd.Wait()
		m.cmd = nil
	}
}

// Hang stops it where it stands; its connections stay open.
func (m *Server) Hang() { m.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets it go on.
func (m *Server) Resume() { m.cmd.Process.Signal(syscall.SIGCONT) }

// Empty takes all out.
func (m *Server) Empty() {
	if got := m.Say("flush_all\r\n"); got != "OK\r\n" {
		m.t.Errorf("flush_all: %q", got)
	}
}
