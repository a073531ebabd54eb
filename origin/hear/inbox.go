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

	mu     sync.Mutex // guards the following
	todo   map[errand]reading
	chains map[live.EventID]chain
}

// A chain is the looks at one event after something was missed. There is one of each
// event: something else that is missed begins it anew.
type chain struct {
	number int
	since  time.Time
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

	settle settling // Missed, of an event,
	chain  int      // and of which chain of looks at it this is one
}

// maxErrands bounds an inbox. What does not fit is found when house is kept.
const maxErrands = 10_000

func newInbox() *inbox {
	return &inbox{filled: make(chan struct{}, 1), todo: make(map[errand]reading), chains: make(map[live.EventID]chain)}
}

// missed begins a chain of looks at an event.
func (b *inbox) missed(id live.EventID, since time.Time) {
	b.mu.Lock()
	c, running := b.chains[id]
	c.number++
	if !running || since.Before(c.since) {
		c.since = since
	}
	b.chains[id] = c
	b.mu.Unlock()
	b.put(errand{kind: announce.Missed, event: id}, reading{since: c.since, chain: c.number})
}

// goesOn reports whether a chain is the newest of its event.
func (b *inbox) goesOn(id live.EventID, number int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, running := b.chains[id]
	return running && c.number == number
}

// quiet ends a chain.
func (b *inbox) quiet(id live.EventID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.chains, id)
}

func (b *inbox) put(x errand, r reading) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, ok := b.todo[x]; ok {
		r.stamp, r.tries, r.settle, r.chain = max(r.stamp, old.stamp), min(r.tries, old.tries), min(r.settle, old.settle), max(r.chain, old.chain)
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
