package store

import (
	"context"
	"errors"
)

// Split returns a store that keeps control apart from everything else, so that
// the two can be sized, placed and lost apart. Close closes both.
func Split(media, control Store) Store { return &split{media, control} }

type split struct{ media, control Store }

func (s *split) of(r Record) Store {
	if r.Namespace == Control {
		return s.control
	}
	return s.media // which refuses a namespace that is neither
}

func (s *split) Put(ctx context.Context, r Record, item Item) error { return s.of(r).Put(ctx, r, item) }

func (s *split) Get(ctx context.Context, r Record, key string) (Item, error) {
	return s.of(r).Get(ctx, r, key)
}

func (s *split) Scan(ctx context.Context, r Record, opt ScanOptions) (Page, error) {
	return s.of(r).Scan(ctx, r, opt)
}

func (s *split) DeleteRecord(ctx context.Context, r Record, t Token) error {
	return s.of(r).DeleteRecord(ctx, r, t)
}

// Signals implements Signaller: those of media, then those of control, named so.
func (s *split) Signals() []Signal {
	all := SignalsOf(s.media)
	for _, sig := range SignalsOf(s.control) {
		sig.Op = "control " + sig.Op
		all = append(all, sig)
	}
	return all
}

// Condition implements Conditioner.
func (s *split) Condition() error { return errors.Join(ConditionOf(s.media), ConditionOf(s.control)) }

func (s *split) Close() error {
	// A store that was closed before is closed all the same.
	return errors.Join(s.media.Close(), s.control.Close())
}
