package cassandra_test

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"testing"

	"headwater/store"
	"headwater/store/storetest"
)

// checks is how many random schedules the contract test tries: each is a
// hundred requests to a real cluster.
func checks(t *testing.T, n string) {
	f := flag.Lookup("rapid.checks")
	old := f.Value.String()
	if err := flag.Set(f.Name, n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { flag.Set(f.Name, old) })
}

// TestContract has every operation done by either of two stores, as two origins do.
func TestContract(t *testing.T) {
	checks(t, "8")
	o := optionsFor(t, "contract")
	initialise(t, o)
	storetest.Run(t, func(t *testing.T) store.Store { return pair{open(t, o), open(t, o)} })
}

func TestContractInTrouble(t *testing.T) {
	checks(t, "3")
	o := optionsFor(t, "trouble")
	initialise(t, o)
	storetest.Run(t, func(t *testing.T) store.Store { return storetest.Troubled(open(t, o)) })
}

// pair is two stores on the same cluster.
type pair [2]store.Store

func (p pair) any() store.Store { return p[rand.IntN(2)] }

func (p pair) Put(ctx context.Context, r store.Record, item store.Item) error {
	return p.any().Put(ctx, r, item)
}

func (p pair) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	return p.any().Get(ctx, r, key)
}

func (p pair) Scan(ctx context.Context, r store.Record, opt store.ScanOptions) (store.Page, error) {
	return p.any().Scan(ctx, r, opt)
}

func (p pair) DeleteItem(ctx context.Context, r store.Record, key string, t store.Token) error {
	return p.any().DeleteItem(ctx, r, key, t)
}

func (p pair) DeleteRange(ctx context.Context, r store.Record, from, to string, t store.Token) error {
	return p.any().DeleteRange(ctx, r, from, to, t)
}

func (p pair) DeleteRecord(ctx context.Context, r store.Record, t store.Token) error {
	return p.any().DeleteRecord(ctx, r, t)
}

func (p pair) Close() error { return errors.Join(p[0].Close(), p[1].Close()) }
