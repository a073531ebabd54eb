package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/store"
	"headwater/store/disk"
	"headwater/store/memory"
)

// An opening is what opening a store takes besides its address.
type opening struct {
	disk    disk.Options
	log     *slog.Logger
	metrics prometheus.Registerer // for the store's own metrics
}

// openStores opens the store at the address, and the one for control where
// that is another.
func openStores(ctx context.Context, address, control string, o opening) (store.Store, error) {
	st, err := openStore(ctx, "store", address, o)
	if err != nil || control == "" {
		return st, err
	}
	c, err := openStore(ctx, "control-store", control, o)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return store.Split(st, c), nil
}

// openStore opens the store that a flag gave the address of.
func openStore(ctx context.Context, flag, address string, o opening) (store.Store, error) {
	a, err := store.ParseAddress(address)
	if err != nil {
		return nil, usagef("--%s: %w", flag, err)
	}
	switch a.Scheme {
	case store.SchemeMemory:
		return memory.New(memory.Options{}), nil
	case store.SchemeDisk:
		return disk.Open(a.Path, o.disk)
	}
	return nil, usagef("--%s: this build has no %s store: use disk:DIR or memory:", flag, a.Scheme)
}

func closeStore(st store.Store, log *slog.Logger) {
	if err := st.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
		log.Error("closing the store", "err", err)
	}
}

var storeCommand = &command{
	name: "store", summary: "look after a store at rest",
	usage: "check [--store STORE]",
	about: `
check reads everything in a store and verifies every checksum. The origin that
owns a disk store must not be running.`,
}

func init() { storeCommand.run = runStore }

type storeFlags struct{ store string }

func (f *storeFlags) register(o *options) {
	o.String(&f.store, "store", "disk:headwater-data", "`STORE`: disk:DIR")
}

func runStore(ctx context.Context, env *environment, args []string) error {
	var f storeFlags
	o := newOptions("store")
	f.register(o)
	rest, err := o.parse(env, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 || rest[0] != "check" {
		return usagef("say what to do: store check")
	}
	a, err := store.ParseAddress(f.store)
	if err != nil {
		return usagef("--store: %w", err)
	}
	switch a.Scheme {
	case store.SchemeDisk:
		return checkDisk(ctx, env, a)
	}
	return usagef("--store: a %s store has nothing at rest to check", a.Scheme)
}

func checkDisk(ctx context.Context, env *environment, a store.Address) error {
	st, err := disk.Open(a.Path, disk.Options{})
	if err != nil {
		return err
	}
	defer st.Close()
	report, err := st.Check(ctx, func(p disk.Problem) { fmt.Fprintf(env.stdout, "bad: %v\n", p) })
	fmt.Fprintf(env.stdout, "%d records in %d files, %d bytes, %d problems\n", report.Records, report.Files, report.Bytes, report.Problems)
	if err == nil && report.Problems > 0 {
		return errQuiet
	}
	return err
}
