package storetest

import (
	"context"
	"errors"

	"headwater/store"
)

// patient is a store whose client repeats what fails with ErrUnavailable, with
// the same token, as clients should. Over Faulty it keeps the contract only if
// the store below takes every repetition for what it is.
func patient(s store.Store) store.Store {
	return &around{s, func(ctx context.Context, _ Op, _ store.Record, run func() error) error {
		for {
			err := run()
			if !errors.Is(err, store.ErrUnavailable) {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}}
}

// Troubled returns the store behind every decorator: one in three operations
// fails, before or after it has taken effect, some are late, and a client repeats.
func Troubled(s store.Store) store.Store {
	faulty := NewFaulty(s,
		Fault{Every: 3, Err: store.ErrUnavailable, After: true},
		Fault{Every: 5, Err: store.ErrUnavailable},
	)
	return patient(NewSlow(faulty, jitter()))
}
