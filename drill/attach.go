package drill

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"headwater/internal/proc"
	"headwater/live"
)

// Attached is a system that runs already, on this machine as far as its processes are to
// be broken. Whoever looks after these must start again what is killed. Drills that only
// kill and stop can be made there; of signs metrics and /readyz are looked for, of nodes
// whose address is known.
type Attached struct {
	Edges []string // base URLs for viewers
	Event live.EventID
	// Nodes are its processes, by the names that drills have for them: origin1, origin2,
	// edge1, edge2, and a and b for the packagers of the first origin.
	Nodes map[string]Running
}

// Running is a process that a drill did not start.
type Running struct {
	PID     int
	Control string // host:port of its /metrics and /readyz; "": not known
}

// ParseNode reads NAME=PID or NAME=PID@HOST:PORT.
func ParseNode(s string) (name string, r Running, err error) {
	name, rest, _ := strings.Cut(s, "=")
	pid, control, _ := strings.Cut(rest, "@")
	if r.PID, err = strconv.Atoi(pid); err != nil || r.PID < 2 {
		return "", r, fmt.Errorf("%q is not like origin1=4711@127.0.0.1:7003", s)
	}
	if !slices.Contains([]string{"origin1", "origin2", "edge1", "edge2", "a", "b"}, name) {
		return "", r, fmt.Errorf("%q is not origin1, origin2, edge1, edge2, a or b", name)
	}
	r.Control = control
	return name, r, nil
}

// attach is build for a system that runs already.
func attach(cfg *Config, d *Drill) (*system, error) {
	if d.signals == nil {
		return nil, errNotPossible{"it breaks more than processes: it is made on a system of its own only, without --edge"}
	}
	s := &system{cfg: cfg, nodes: make(map[string]*node), edges: cfg.Attached.Edges, id: cfg.Attached.Event,
		http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	for name, r := range cfg.Attached.Nodes {
		n := &node{control: r.Control, pid: r.PID}
		n.Name = name
		s.nodes[name] = n
	}
	for _, name := range d.signals {
		if s.nodes[name] == nil {
			return nil, errNotPossible{fmt.Sprintf("which process is %s? Give --node %s=PID", name, name)}
		}
	}
	return s, nil
}

// signsHere are those that can be looked for.
func (s *system) signsHere(all []Sign) (out []Sign) {
	for _, x := range all {
		n := s.nodes[x.Node]
		if n != nil && (n.pid == 0 || x.Log == nil && n.control != "") {
			out = append(out, x)
		}
	}
	return out
}

// Kill, Start, Pause and Resume are those of the process, whoever started it.
func (n *node) Kill() error {
	if n.pid == 0 {
		return n.Process.Kill()
	}
	return n.signal(syscall.SIGKILL)
}

// supervised is how long whoever looks after a process may take to start it again.
const supervised = time.Minute

// Start waits for another process in the place of one that was killed.
func (n *node) Start(ctx context.Context) error {
	switch {
	case n.pid == 0:
		return n.Process.Start(ctx)
	case n.control == "":
		return nil // nothing is known of it
	}
	ctx, cancel := context.WithTimeout(ctx, supervised)
	defer cancel()
	ask := proc.Answers("http://" + n.control + "/healthz")
	for err := ask(ctx); err != nil; err = ask(ctx) {
		if sleep(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("%s was killed, and nobody started it again within %v: %w", n.Name, supervised, err)
		}
	}
	return nil
}

func (n *node) Pause() error {
	if n.pid == 0 {
		return n.Process.Pause()
	}
	return n.signal(syscall.SIGSTOP)
}

func (n *node) Resume() error {
	if n.pid == 0 {
		return n.Process.Resume()
	}
	return n.signal(syscall.SIGCONT)
}

func (n *node) signal(sig syscall.Signal) error {
	p, err := os.FindProcess(n.pid)
	if err == nil {
		err = p.Signal(sig)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s, process %d: %v", n.Name, n.pid, sig), err)
	}
	return nil
}
