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
	// Now says what time it is. The default is time.Now.
	Now func() time.Time
}

// sweepEvery is how often a mutation stops to forget what has expired.
const sweepEvery = 10 * time.Second

// Store implements store.Store. Open it with New.
type Store struct {
	*store.Front
	opt Options

	mu    sync.RWMutex
	index index.Index[value] // guarded by mu, like all below
	bytes int64
	swept time.Time
}

type value struct {
	meta, value []byte
	size        int64 // what it counts against MaxBytes
}

// New returns an empty store.
func New(opt Options) *Store {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	s := &Store{opt: opt, swept: opt.Now()}
	s.Front = store.NewFront(store.Backend{Name: "memory store", Now: opt.Now, Put: s.put, Get: s.get, Scan: s.scan, Delete: s.delete, Close: s.close})
	s.index.Removed = func(v value) { s.bytes -= v.size }
	return s
}

func (s *Store) put(_ context.Context, r store.Record, item store.Item) error {
	// Copied before the lock is taken.
	v := value{meta: bytes.Clone(item.Meta), value: bytes.Clone(item.Value), size: int64(len(item.Key) + len(item.Meta) + len(item.Value))}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	if s.index.PutStale(r, item.Key, item.Token) {
		return nil
	}
	need := s.bytes + v.size
	if old := s.index.Get(r, item.Key); old != nil {
		need -= old.Value.size
	}
	if s.opt.MaxBytes > 0 && need > s.opt.MaxBytes {
		return fmt.Errorf("%w: %d of %d bytes, %d more", store.ErrFull, s.bytes, s.opt.MaxBytes, v.size)
	}
	s.bytes += v.size
	s.index.Put(r, &index.Entry[value]{Key: item.Key, Token: item.Token, Expires: index.ExpiryOf(item.Expires), Value: v})
	return nil
}

// sweep forgets what has expired, now and then. mu is held.
func (s *Store) sweep() {
	now := s.opt.Now()
	if now.Sub(s.swept) < sweepEvery {
		return
	}
	s.swept = now
	for _, r := range s.index.Records() {
		s.index.Sweep(r, now)
	}
}

func (s *Store) delete(_ context.Context, r store.Record, t store.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	s.index.Delete(r, "", "", t)
	return nil
}

func itemOf(e *index.Entry[value]) store.Item {
	return store.Item{Key: e.Key, Token: e.Token, Meta: e.Value.meta, Value: e.Value.value,
		Size: int64(len(e.Value.value)), Expires: index.ExpiryTime(e.Expires)}
}

func (s *Store) get(_ context.Context, r store.Record, key string) (store.Item, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.index.Get(r, key); e != nil && e.Live(s.opt.Now()) {
		return itemOf(e), nil
	}
	return store.Item{}, store.ErrNotFound
}

func (s *Store) scan(_ context.Context, r store.Record, opt store.ScanOptions) (store.Page, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	now, bytes := s.opt.Now(), 0
	var page store.Page
	s.index.Ascend(r, max(opt.From, opt.Page), opt.To, func(e *index.Entry[value]) bool {
		if !e.Live(now) {
			return true
		}
		bytes += len(e.Key) + len(e.Value.meta)
		if opt.Values {
			bytes += len(e.Value.value)
		}
		if bytes > opt.MaxBytes && len(page.Items) > 0 {
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

func (s *Store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index = index.Index[value]{}
	return nil
}
