package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// A network is two regions, each a network namespace, that reach each other and
// this process through a third one, which can cut them off from each other.
// What is cut off is lost in silence, as on a real network: no one is told.
type network struct{ name string }

// A region is a host of its own: 10.77.N.1 to .30 are its addresses.
type region struct {
	name string // of the region, and in the addresses' third byte its number
	dc   string
	ns   string // network namespace
	n    int
}

func (r region) addr(host int) string { return fmt.Sprintf("10.77.%d.%d", r.n, host) }

// in is a command that runs in the region.
func (r region) in(name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", r.ns, name}, args...)...)
}

const regionHosts = 30

// ip runs one ip command.
func ip(args string) error {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func newNetwork() (*network, []region, error) {
	n := &network{name: "hw"}
	n.close() // what a run that was killed left
	east, west := region{"us-east-1", "dc1", "hw-east", 1}, region{"us-west-2", "dc2", "hw-west", 2}
	cmds := []string{
		"netns add hw-wan", "netns add hw-east", "netns add hw-west",
		"link add hw-root type veth peer name root netns hw-wan",
		"-n hw-wan link add east type veth peer name wan netns hw-east",
		"-n hw-wan link add west type veth peer name wan netns hw-west",
		"addr add 10.77.0.1/30 dev hw-root", "-n hw-wan addr add 10.77.0.2/30 dev root",
		"-n hw-east addr add 10.77.0.5/30 dev wan", "-n hw-wan addr add 10.77.0.6/30 dev east",
		"-n hw-west addr add 10.77.0.9/30 dev wan", "-n hw-wan addr add 10.77.0.10/30 dev west",
		"link set hw-root up", "-n hw-wan link set root up", "-n hw-wan link set east up", "-n hw-wan link set west up",
		"-n hw-wan link set lo up", "-n hw-east link set lo up", "-n hw-west link set lo up",
		"-n hw-east link set wan up", "-n hw-west link set wan up",
		"route add 10.77.1.0/24 via 10.77.0.2", "route add 10.77.2.0/24 via 10.77.0.2",
		"-n hw-wan route add 10.77.1.0/24 via 10.77.0.5", "-n hw-wan route add 10.77.2.0/24 via 10.77.0.9",
		"-n hw-east route add default via 10.77.0.6", "-n hw-west route add default via 10.77.0.10",
		"netns exec hw-wan sysctl -q -w net.ipv4.ip_forward=1",
	}
	for _, r := range []region{east, west} {
		for host := 1; host <= regionHosts; host++ {
			cmds = append(cmds, fmt.Sprintf("-n %s addr add %s/32 dev lo", r.ns, r.addr(host)))
		}
	}
	for _, c := range cmds {
		if err := ip(c); err != nil {
			return nil, nil, errors.Join(err, n.close())
		}
	}
	return n, []region{east, west}, nil
}

// cuts are what the namespace between drops while the regions are cut off.
var cuts = []string{
	"iif east to 10.77.2.0/24 blackhole", "iif east to 10.77.0.8/30 blackhole",
	"iif west to 10.77.1.0/24 blackhole", "iif west to 10.77.0.4/30 blackhole",
}

func (n *network) cut() error {
	for _, c := range cuts {
		if err := ip("-n hw-wan rule add " + c); err != nil {
			return err
		}
	}
	return nil
}

func (n *network) heal() error {
	var errs []error
	for _, c := range cuts {
		errs = append(errs, ip("-n hw-wan rule del "+c))
	}
	return errors.Join(errs...)
}

// close takes everything away. Processes in the regions must have ended.
func (n *network) close() error {
	for _, ns := range []string{"hw-wan", "hw-east", "hw-west"} {
		ip("netns del " + ns) // and its ends of the links
	}
	ip("link del hw-root")
	return nil
}
