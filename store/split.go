package store

import (
	"bytes"
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

func (s *split) DeleteItem(ctx context.Context, r Record, key string, t Token) error {
	return s.of(r).DeleteItem(ctx, r, key, t)
}

func (s *split) DeleteRange(ctx context.Context, r Record, from, to string, t Token) error {
	return s.of(r).DeleteRange(ctx, r, from, to, t)
}

func (s *split) DeleteRecord(ctx context.Context, r Record, t Token) error {
	return s.of(r).DeleteRecord(ctx, r, t)
}

// Open implements Opener, in memory where the store below does not.
func (s *split) Open(ctx context.Context, r Record, key string) (Reader, error) {
	st := s.of(r)
	if o, ok := st.(Opener); ok {
		return o.Open(ctx, r, key)
	}
	item, err := st.Get(ctx, r, key)
	if err != nil {
		return nil, err
	}
	return ReadItem(item), nil
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

func (s *split) Close() error {
	// A store that was closed before is closed all the same.
	return errors.Join(s.media.Close(), s.control.Close())
}

// ReadItem returns a reader of an item that has its value.
func ReadItem(item Item) Reader {
	r := &itemReader{Reader: *bytes.NewReader(item.Value), item: item}
	r.item.Value = nil
	return r
}

type itemReader struct {
	bytes.Reader
	item Item
}

func (r *itemReader) Item() Item   { return r.item }
func (r *itemReader) Close() error { return nil }
