// Command cluster runs a Cassandra cluster on loopback addresses until it is
// interrupted, to try things out on:
//
//	go run ./store/cassandra/cassandratest/cluster -dcs dc1,dc1,dc1
//
// It prints a store address, and removes everything at its end.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"headwater/store/cassandra/cassandratest"
)

func main() {
	dcs := flag.String("dcs", "dc1,dc1,dc1", "data centre of each node, with commas")
	heap := flag.Int("heap", 512, "Java heap of each node in MiB")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(*dcs, ","), *heap); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dcs []string, heap int) error {
	c, err := cassandratest.Start(ctx, cassandratest.Options{DCs: dcs, HeapMB: heap})
	if err != nil {
		return err
	}
	nodes := make(map[string]int)
	for _, dc := range dcs {
		nodes[dc]++
	}
	var replication []string
	for _, dc := range slices.Sorted(maps.Keys(nodes)) {
		replication = append(replication, fmt.Sprintf("%s:%d", dc, min(nodes[dc], 3)))
	}
	fmt.Printf("cassandra://%s/headwater?dc=%s&replication=%s\n", strings.Join(c.Hosts(), ","), dcs[0], strings.Join(replication, ","))
	<-ctx.Done()
	return c.Close()
}
