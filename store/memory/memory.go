// Package memory is a store that keeps everything in memory and loses it when
// it is closed: for tests, and for an event whose loss nobody minds. Its Put is
// therefore durable only as long as the process lives.
package memory

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"headwater/store"
	"headwater/store/internal/index"
)

// Options says how a Store behaves. The zero value is its default.
type Options struct {
	// MaxBytes bounds the keys, metadata and values of the items in bytes; a
	// Put over it fails with ErrFull. The default, zero, is no bound.
	MaxBytes int64
}

// sweepEvery is how often a mutation stops to forget what has expired.
const sweepEvery = 10 * time.Second

// Store implements store.Store. Open it with New.
type Store struct {
	opt Options

	mu     sync.RWMutex
	index  index.Index[value] // guarded by mu, like all below
	bytes  int64
	swept  time.Time
	closed bool
}

type value struct {
	meta, value []byte
	size        int64 // what it counts against MaxBytes
}

// New returns an empty store.
func New(opt Options) *Store {
	s := &Store{opt: opt, swept: time.Now()}
	s.index.Removed = func(v value) { s.bytes -= v.size }
	return s
}

// Bytes returns the keys, metadata and values held, in bytes.
func (s *Store) Bytes() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.bytes
}

func (s *Store) Put(ctx context.Context, r store.Record, item store.Item) error {
	err := item.Validate()
	if err == nil {
		v := value{size: int64(len(item.Key) + len(item.Meta) + len(item.Value))}
		e := &index.Entry[value]{Key: item.Key, Token: item.Token, Expires: index.ExpiryOf(item.Expires)}
		// Copied before the lock is taken.
		v.meta, v.value = bytes.Clone(item.Meta), bytes.Clone(item.Value)
		e.Value = v
		err = s.mutate(ctx, r, item.Token, func() error {
			if s.index.PutStale(r, e.Key, e.Token) {
				return nil
			}
			need := s.bytes + v.size
			if old := s.index.Get(r, e.Key); old != nil {
				need -= old.Value.size
			}
			if s.opt.MaxBytes > 0 && need > s.opt.MaxBytes {
				return fmt.Errorf("%w: %d of %d bytes, %d more", store.ErrFull, s.bytes, s.opt.MaxBytes, v.size)
			}
			s.bytes += v.size
			s.index.Put(r, e)
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("memory store: put %v, key %q: %w", r, item.Key, err)
	}
	return nil
}

// mutate runs change under the lock if the request is good.
func (s *Store) mutate(ctx context.Context, r store.Record, t store.Token, change func() error) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	now := time.Now()
	if err := t.CheckDrift(now); err != nil {
		return err
	}
	if now.Sub(s.swept) >= sweepEvery {
		s.swept = now
		for _, r := range s.index.Records() {
			s.index.Sweep(r, now)
		}
	}
	return change()
}

func (s *Store) DeleteRecord(ctx context.Context, r store.Record, t store.Token) error {
	err := s.mutate(ctx, r, t, func() error {
		s.index.Delete(r, "", "", t)
		return nil
	})
	if err != nil {
		return fmt.Errorf("memory store: delete %v: %w", r, err)
	}
	return nil
}

// view begins a read: with a nil error the read lock is held.
func (s *Store) view(ctx context.Context, r store.Record) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return store.ErrClosed
	}
	return nil
}

func itemOf(e *index.Entry[value]) store.Item {
	return store.Item{Key: e.Key, Token: e.Token, Meta: e.Value.meta, Value: e.Value.value,
		Size: int64(len(e.Value.value)), Expires: index.ExpiryTime(e.Expires)}
}

func (s *Store) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	err := store.ValidateKey(key)
	if err == nil {
		err = s.view(ctx, r)
	}
	if err == nil {
		e := s.index.Get(r, key)
		s.mu.RUnlock()
		if e != nil && e.Live(time.Now()) {
			return itemOf(e), nil
		}
		err = store.ErrNotFound
	}
	return store.Item{}, fmt.Errorf("memory store: get %v, key %q: %w", r, key, err)
}

func (s *Store) Scan(ctx context.Context, r store.Record, opt store.ScanOptions) (store.Page, error) {
	err := opt.Validate()
	if err == nil {
		err = s.view(ctx, r)
	}
	if err != nil {
		return store.Page{}, fmt.Errorf("memory store: scan %v: %w", r, err)
	}
	defer s.mu.RUnlock()
	limit := opt.MaxBytes
	if limit == 0 {
		limit = store.DefaultPageBytes
	}
	now, bytes := time.Now(), 0
	var page store.Page
	s.index.Ascend(r, max(opt.From, opt.Page), opt.To, func(e *index.Entry[value]) bool {
		if !e.Live(now) {
			return true
		}
		bytes += len(e.Key) + len(e.Value.meta)
		if opt.Values {
			bytes += len(e.Value.value)
		}
		if bytes > limit && len(page.Items) > 0 {
			page.Next = e.Key // the page token is the key to go on at
			return false
		}
		item := itemOf(e)
		if !opt.Values {
			item.Value = nil
		}
		page.Items = append(page.Items, item)
		return true
	})
	return page, nil
}

func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("memory store: close: %w", store.ErrClosed)
	}
	s.closed = true
	s.index = index.Index[value]{}
	return nil
}
