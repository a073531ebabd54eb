package cassandra_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"headwater/store"
	"headwater/store/storetest"
)

// TestContract has every operation done by either of two stores, as two origins do,
// which remove what they replace as soon as they can.
func TestContract(t *testing.T) {
	storetest.Checks(t, 8)
	o := inCommon(t)
	o.ReplacedAge = time.Millisecond
	o.Timeout = 2 * time.Minute // the largest item on a busy machine
	storetest.Run(t, func(t *testing.T) store.Store { return pair{open(t, o), open(t, o)} })
}

func TestContractInTrouble(t *testing.T) {
	storetest.Checks(t, 3)
	o := inCommon(t)
	o.Timeout = 2 * time.Minute
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

func (p pair) DeleteRecord(ctx context.Context, r store.Record, t store.Token) error {
	return p.any().DeleteRecord(ctx, r, t)
}

func (p pair) Close() error { return errors.Join(p[0].Close(), p[1].Close()) }
