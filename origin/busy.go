package origin

import (
	"context"
	"headwater/live"
	"sync"
)

// busyKeys makes publications of one slot by one pipeline follow each other,
// so that a hedged PUT meets its twin's outcome instead of racing it.
type busyKeys struct {
	mu   sync.Mutex // guards keys
	keys map[busyKey]chan struct{}
}

type busyKey struct {
	event     live.EventID
	pipeline  string
	rendition string
	number    live.Number // -1 for the init segment
}

// enter waits for its turn. The caller calls done when it is through.
func (b *busyKeys) enter(ctx context.Context, k busyKey) (done func(), err error) {
	for {
		b.mu.Lock()
		before, taken := b.keys[k]
		if !taken {
			mine := make(chan struct{})
			b.keys[k] = mine
			b.mu.Unlock()
			return func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				delete(b.keys, k)
				close(mine)
			}, nil
		}
		b.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
