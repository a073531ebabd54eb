package storetest

import (
	"context"

	"headwater/store"
)

// Op is a kind of operation on a store.
type Op string

// The kinds. Any is for a Fault that takes every kind.
const (
	Any          Op = ""
	Put          Op = "put"
	Get          Op = "get"
	Scan         Op = "scan"
	DeleteRecord Op = "delete record"
)

// around is a store of which every operation goes through do, which calls run
// once, never, or more often.
type around struct {
	store.Store
	do func(ctx context.Context, op Op, r store.Record, run func() error) error
}

func (a *around) Put(ctx context.Context, r store.Record, item store.Item) error {
	return a.do(ctx, Put, r, func() error { return a.Store.Put(ctx, r, item) })
}

func (a *around) Get(ctx context.Context, r store.Record, key string) (item store.Item, err error) {
	err = a.do(ctx, Get, r, func() error { item, err = a.Store.Get(ctx, r, key); return err })
	if err != nil {
		return store.Item{}, err
	}
	return item, nil
}

func (a *around) Scan(ctx context.Context, r store.Record, opt store.ScanOptions) (page store.Page, err error) {
	err = a.do(ctx, Scan, r, func() error { page, err = a.Store.Scan(ctx, r, opt); return err })
	if err != nil {
		return store.Page{}, err
	}
	return page, nil
}

func (a *around) DeleteRecord(ctx context.Context, r store.Record, t store.Token) error {
	return a.do(ctx, DeleteRecord, r, func() error { return a.Store.DeleteRecord(ctx, r, t) })
}
