package main

import (
	"context"
	"fmt"
	"time"

	"headwater/store"
	"headwater/store/cassandra"
)

func openCassandra(ctx context.Context, flag string, a store.Address, o opening) (store.Store, error) {
	opt, err := cassandra.FromAddress(a)
	if err != nil {
		return nil, usagef("--%s: %w", flag, err)
	}
	opt.Now, opt.Logger = o.now, o.log
	st, err := cassandra.Open(ctx, opt)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	return st, nil
}

// initTimeout bounds how long init waits for another one and for the cluster's nodes to agree.
const initTimeout = 3 * time.Minute

func initCassandra(ctx context.Context, env *environment, a store.Address) error {
	opt, err := cassandra.FromAddress(a)
	if err != nil {
		return usagef("--store: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	return cassandra.Init(ctx, opt, func(done string) { fmt.Fprintln(env.stdout, done) })
}
