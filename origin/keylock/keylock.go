// Package keylock lets one after the other do what must not overlap, by key.
//
// Locks: Locks.mu alone, and never while one waits.
package keylock

import (
	"context"
	"sync"
)

// Locks lets one after the other do what must not overlap, by key: the
// publications of one slot by one pipeline, so that a hedged PUT meets its
// twin's outcome instead of racing it, and the changes of one event.
type Locks[K comparable] struct {
	mu    sync.Mutex          // guards taken
	taken map[K]chan struct{} // closed when the turn is over
}

// New returns locks of which none is taken.
func New[K comparable]() *Locks[K] { return &Locks[K]{taken: make(map[K]chan struct{})} }

// Lock waits for its turn. The caller calls done, once, when it is through.
func (t *Locks[K]) Lock(ctx context.Context, k K) (done func(), err error) {
	for {
		t.mu.Lock()
		before, taken := t.taken[k]
		if !taken {
			mine := make(chan struct{})
			t.taken[k] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				defer t.mu.Unlock()
				delete(t.taken, k)
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
