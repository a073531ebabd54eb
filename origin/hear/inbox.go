package hear

import (
	"sync"
	"time"

	"headwater/announce"
	"headwater/live"
)

// An inbox holds what is to be read from the store, each thing once.
type inbox struct {
	filled chan struct{} // holds one while there is something

	mu   sync.Mutex // guards todo
	todo map[errand]reading
}

type errand struct {
	kind      announce.Kind
	event     live.EventID
	rendition string
}

// A reading is what an errand must at least bring.
type reading struct {
	stamp int64     // Changed, Init: as new as this
	since time.Time // Missed: from then on
	tries int
}

// maxErrands bounds an inbox. What does not fit is found when house is kept.
const maxErrands = 10_000

func newInbox() *inbox {
	return &inbox{filled: make(chan struct{}, 1), todo: make(map[errand]reading)}
}

func (b *inbox) put(x errand, r reading) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, ok := b.todo[x]; ok {
		r.stamp, r.tries = max(r.stamp, old.stamp), min(r.tries, old.tries)
		if old.since.Before(r.since) {
			r.since = old.since
		}
		b.todo[x] = r
	} else if len(b.todo) < maxErrands {
		b.todo[x] = r
	}
	b.signal()
}

// signal needs mu.
func (b *inbox) signal() {
	select {
	case b.filled <- struct{}{}:
	default:
	}
}

func (b *inbox) take() (errand, reading, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for x, r := range b.todo {
		delete(b.todo, x)
		if len(b.todo) > 0 {
			b.signal() // for another runner
		}
		return x, r, true
	}
	return errand{}, reading{}, false
}
