package through

import (
	"net"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// memcached is a real server, stopped when the test ends.
type memcached struct {
	t    testing.TB
	addr string
	cmd  *exec.Cmd
}

func startMemcached(t testing.TB) *memcached {
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
	m := &memcached{t: t, addr: l.Addr().String()}
	l.Close()
	m.start()
	t.Cleanup(m.kill)
	return m
}

// start begins the server, on the same address again after a kill, and waits
// until it answers.
func (m *memcached) start() {
	m.t.Helper()
	host, port, _ := net.SplitHostPort(m.addr)
	m.cmd = exec.Command("memcached", "-l", host, "-p", port, "-U", "0", "-m", "512", "-t", "2", "-u", "nobody")
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if m.say("mn\r\n") == "MN\r\n" {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("memcached at %s does not answer", m.addr)
		}
		time.Sleep(5 * time.Millisecond) // until the program has its socket
	}
}

// say sends a command past the client, and returns the beginning of the answer.
func (m *memcached) say(command string) string {
	c, err := net.DialTimeout("tcp", m.addr, time.Second)
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

func (m *memcached) kill() {
	if m.cmd != nil {
		m.cmd.Process.Signal(syscall.SIGCONT)
		m.cmd.Process.Kill()
		m.cmd.Wait()
		m.cmd = nil
	}
}

func (m *memcached) hang()   { m.cmd.Process.Signal(syscall.SIGSTOP) }
func (m *memcached) resume() { m.cmd.Process.Signal(syscall.SIGCONT) }
func (m *memcached) empty() {
	if got := m.say("flush_all\r\n"); got != "OK\r\n" {
		m.t.Errorf("flush_all: %q", got)
	}
}

// twoZones starts two zones of two servers.
func twoZones(t testing.TB) ([]Zone, []*memcached) {
	t.Helper()
	var zones []Zone
	var all []*memcached
	for i := range 2 {
		z := Zone{Name: "zone-" + strconv.Itoa(i)}
		for range 2 {
			m := startMemcached(t)
			all = append(all, m)
			z.Servers = append(z.Servers, m.addr)
		}
		zones = append(zones, z)
	}
	return zones, all
}
