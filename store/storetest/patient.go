package storetest

import (
	"context"
	"errors"

	"headwater/store"
)

// Patient is a store whose client repeats what fails with ErrUnavailable, with
// the same token, as clients should. Over Faulty it keeps the contract only if
// the store below takes every repetition for what it is.
type Patient struct{ store.Store }

// NewPatient returns s, with a client that repeats.
func NewPatient(s store.Store) Patient { return Patient{s} }

func persist(ctx context.Context, f func() error) error {
	for {
		err := f()
		if !errors.Is(err, store.ErrUnavailable) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (p Patient) Put(ctx context.Context, r store.Record, item store.Item) error {
	return persist(ctx, func() error { return p.Store.Put(ctx, r, item) })
}

func (p Patient) Get(ctx context.Context, r store.Record, key string) (item store.Item, err error) {
	err = persist(ctx, func() error { item, err = p.Store.Get(ctx, r, key); return err })
	return item, err
}

func (p Patient) Scan(ctx context.Context, r store.Record, opt store.ScanOptions) (page store.Page, err error) {
	err = persist(ctx, func() error { page, err = p.Store.Scan(ctx, r, opt); return err })
	return page, err
}

func (p Patient) DeleteItem(ctx context.Context, r store.Record, key string, t store.Token) error {
	return persist(ctx, func() error { return p.Store.DeleteItem(ctx, r, key, t) })
}

func (p Patient) DeleteRange(ctx context.Context, r store.Record, from, to string, t store.Token) error {
	return persist(ctx, func() error { return p.Store.DeleteRange(ctx, r, from, to, t) })
}

func (p Patient) DeleteRecord(ctx context.Context, r store.Record, t store.Token) error {
	return persist(ctx, func() error { return p.Store.DeleteRecord(ctx, r, t) })
}

// Troubled returns the store behind every decorator: one in three operations
// fails, before or after it has taken effect, some are late, and a client repeats.
func Troubled(s store.Store) store.Store {
	faulty := NewFaulty(s,
		Fault{Every: 3, Err: store.ErrUnavailable, After: true},
		Fault{Every: 5, Err: store.ErrUnavailable},
	)
	return NewPatient(NewSlow(faulty, jitter()))
}
