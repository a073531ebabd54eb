package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"headwater/store"
	"headwater/store/disk"
)

// A yieldingStore is a disk store that is closed while another process has its directory,
// and opened again where that does not go on.
type yieldingStore struct {
	reopen func(ctx context.Context) (*disk.Store, error)

	mu sync.RWMutex // guards the following
	st *disk.Store  // nil while another has it
}

var errYielded = fmt.Errorf("%w: another process has taken the disk store over", store.ErrUnavailable)

// now is the store, nil while another process has it.
func (y *yieldingStore) now() *disk.Store {
	y.mu.RLock()
	defer y.mu.RUnlock()
	return y.st
}

// yield closes the store.
func (y *yieldingStore) yield() error {
	y.mu.Lock()
	st := y.st
	y.st = nil
	y.mu.Unlock()
	if st == nil {
		return nil
	}
	return st.Close()
}

// resume opens it again.
func (y *yieldingStore) resume(ctx context.Context) error {
	st, err := y.reopen(ctx)
	if err != nil {
		return err
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	y.st = st
	return nil
}

// Put implements store.Store.
func (y *yieldingStore) Put(ctx context.Context, r store.Record, item store.Item) error {
	if st := y.now(); st != nil {
		return yieldedError(st.Put(ctx, r, item))
	}
	return errYielded
}

// Get implements store.Store.
func (y *yieldingStore) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	if st := y.now(); st != nil {
		item, err := st.Get(ctx, r, key)
		return item, yieldedError(err)
	}
	return store.Item{}, errYielded
}

// Scan implements store.Store.
func (y *yieldingStore) Scan(ctx context.Context, r store.Record, opt store.ScanOptions) (store.Page, error) {
	if st := y.now(); st != nil {
		page, err := st.Scan(ctx, r, opt)
		return page, yieldedError(err)
	}
	return store.Page{}, errYielded
}

// DeleteRecord implements store.Store.
func (y *yieldingStore) DeleteRecord(ctx context.Context, r store.Record, t store.Token) error {
	if st := y.now(); st != nil {
		return yieldedError(st.DeleteRecord(ctx, r, t))
	}
	return errYielded
}

// yieldedError makes that the store was closed meanwhile what it is to callers.
func yieldedError(err error) error {
	if errors.Is(err, store.ErrClosed) {
		return errYielded
	}
	return err
}

// Condition implements store.Conditioner.
func (y *yieldingStore) Condition() error {
	if st := y.now(); st != nil {
		return st.Condition()
	}
	return errYielded
}

// Close implements store.Store.
func (y *yieldingStore) Close() error { return y.yield() }

// takeBack is resume once the other process has ended: its lock may be the last of it to go.
func (y *yieldingStore) takeBack(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	err := y.resume(ctx)
	for tries := 0; errors.Is(err, disk.ErrLocked) && tries < 100; tries++ {
		select {
		case <-tick.C:
			err = y.resume(ctx)
		case <-ctx.Done():
			return err
		}
	}
	return err
}

// yieldAll has a gate and stores give up what only one process can have, and returns what
// takes it back. Where that fails the gate stays shut and fails: a process that can do
// nothing any more ends, and what started it starts it again.
func yieldAll(ctx context.Context, g *gate, stores []*yieldingStore, log *slog.Logger) func() (resume func()) {
	if len(stores) == 0 {
		return nil
	}
	g.failed = make(chan error, 1)
	return func() func() {
		log.Info("another process takes the store over")
		g.close()
		for _, y := range stores {
			if err := y.yield(); err != nil {
				log.Error("closing the store", "err", err)
			}
		}
		return func() {
			for _, y := range stores {
				if err := y.takeBack(ctx); err != nil {
					g.fail(fmt.Errorf("--handover: the store cannot be opened again: %w", err))
					return
				}
			}
			g.open()
			log.Info("the store is taken back: the other process does not serve")
		}
	}
}
