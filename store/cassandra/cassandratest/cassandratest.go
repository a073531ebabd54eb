// Package cassandratest runs a real Apache Cassandra cluster on loopback
// addresses, for tests and benchmarks. It needs a Java 17 runtime and, once, Maven to
// fetch Cassandra's jars, which it keeps below the user's cache directory.
package cassandratest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Options says what cluster to run. The zero value is its default.
type Options struct {
	// DCs names the data centre of each node; each node is a rack of its own.
	// The default is three nodes of dc1.
	DCs []string
	// HeapMB is each node's Java heap in MiB, 512 by default. A node takes
	// about 500 MiB more outside of it.
	HeapMB int
	// Quick has the nodes start soon rather than run fast: for tests, which end
	// before Java has found out what to compile well.
	Quick bool
	// Hosts are the nodes' addresses, by default free ones of the loopback
	// network. Within has for each node, where it is given, the command to run
	// it under, such as ip netns exec NAME.
	Hosts  []string
	Within [][]string
	// Dir holds the nodes' data, configuration and logs. The default is a
	// temporary directory that Close removes.
	Dir string
}

// Cluster is a running cluster.
type Cluster struct {
	Nodes []*Node

	dir       string
	temporary bool
}

// Start fetches Cassandra where it is not there yet, and returns when every
// node serves. All nodes start at once: they are given their tokens, so none
// waits for another to join.
func Start(ctx context.Context, opt Options) (*Cluster, error) {
	if len(opt.DCs) == 0 {
		opt.DCs = []string{"dc1", "dc1", "dc1"}
	}
	if opt.HeapMB == 0 {
		opt.HeapMB = 512
	}
	lib, err := jars(ctx)
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: opt.Dir}
	if c.dir == "" {
		if c.dir, err = os.MkdirTemp("", "headwater-cassandra-"); err != nil {
			return nil, err
		}
		c.temporary = true
	}
	hosts := opt.Hosts
	if hosts == nil {
		network, err := freeNetwork(len(opt.DCs))
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		for i := range opt.DCs {
			hosts = append(hosts, fmt.Sprintf("%s.%d", network, i+1))
		}
	}
	// All are seeds: whichever comes first need not wait for the others.
	var seeds []string
	for _, host := range hosts {
		seeds = append(seeds, fmt.Sprintf("%s:%d", host, portGossip))
	}
	for i, dc := range opt.DCs {
		n := &Node{
			Host: hosts[i], DC: dc, seeds: strings.Join(seeds, ","),
			number: i + 1, of: len(opt.DCs), dir: filepath.Join(c.dir, fmt.Sprintf("node%d", i+1)), lib: lib, heap: opt.HeapMB, quick: opt.Quick,
		}
		if opt.Within != nil {
			n.within = opt.Within[i]
		}
		if err := n.configure(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.Nodes = append(c.Nodes, n)
	}
	for round := 1; ; round++ {
		if err = c.start(ctx); err == nil {
			return c, nil
		}
		err = fmt.Errorf("%w\n%s", err, c.Trouble())
		if round == rounds || ctx.Err() != nil {
			return nil, errors.Join(err, c.Close())
		}
		fmt.Fprintln(os.Stderr, "cassandratest: starting again with empty nodes:", err)
		for _, n := range c.Nodes {
			if err := n.clear(); err != nil {
				return nil, errors.Join(err, c.Close())
			}
		}
	}
}

// rounds is how often empty nodes are started until they agree: of those that meet
// on a machine that is too busy, one may not get the schema for good.
const rounds = 3

// start runs all nodes, and returns when they have agreed on a change of the schema.
func (c *Cluster) start(ctx context.Context) error {
	errs := make([]error, len(c.Nodes))
	var wg sync.WaitGroup
	for i, n := range c.Nodes {
		wg.Go(func() { errs[i] = n.Start(ctx) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return c.settle(ctx)
}

// Trouble is what the nodes say of themselves when something is wrong with them: who has
// ended, and the last warnings and errors of each.
func (c *Cluster) Trouble() string {
	var b strings.Builder
	for _, n := range c.Nodes {
		fmt.Fprintf(&b, "node %s: running %v\n", n.Host, n.p.Running())
		log, _ := os.ReadFile(n.Log())
		var lines []string
		for line := range strings.Lines(string(log)) {
			if strings.HasPrefix(line, "WARN") || strings.HasPrefix(line, "ERROR") || strings.HasPrefix(line, "java.") || strings.Contains(line, "OutOfMemoryError:") {
				lines = append(lines, line)
			}
		}
		for _, line := range lines[max(0, len(lines)-10):] {
			b.WriteString("  " + line)
		}
	}
	return b.String()
}

// Hosts returns the nodes' addresses, all on the default port.
func (c *Cluster) Hosts() []string {
	var hosts []string
	for _, n := range c.Nodes {
		hosts = append(hosts, n.Host)
	}
	return hosts
}

// Close kills every node and removes what was temporary.
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.Nodes {
		errs = append(errs, n.Kill())
	}
	if c.temporary {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}

// freeNetwork finds 127.x.y where the first n addresses are free, so that
// several clusters can run on one machine.
func freeNetwork(n int) (string, error) {
	for range 100 {
		network := fmt.Sprintf("127.%d.%d", 1+rand.IntN(254), rand.IntN(255))
		if free(network, n) {
			return network, nil
		}
	}
	return "", errors.New("cassandratest: no free loopback addresses")
}

func free(network string, n int) bool {
	for i := range n {
		for _, port := range []int{portCQL, portGossip} {
			l, err := net.Listen("tcp", fmt.Sprintf("%s.%d:%d", network, i+1, port))
			if err != nil {
				return false
			}
			l.Close()
		}
	}
	return true
}
