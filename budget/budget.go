// Package budget holds a process to the memory it may take. Its parts count what they
// know that they have: bodies that are being read, segments in memory. What nobody
// counts (heads, buffers of connections, TLS, HTTP/2 and HTTP/3, copies, goroutines) is
// measured: after each collection it is what was found in use, less what was counted
// then. So what may still be taken follows what is really there.
package budget

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// Parts of a limit, in percent. The collector needs the rest, to work at all: garbage
// lies there until it has come round.
const (
	forAll   = 60
	forFirst = 75 // for publishing and what is live
)

// A Budget is what a process may take. Methods of nil are for one that knows no bound.
type Budget struct {
	limit   int64
	counted []func() int64
	told    []func(rest int64)

	rest       atomic.Int64
	since      atomic.Int64 // what was let in since that was measured
	collecting atomic.Bool
	once       sync.Once
}

// New returns the budget of a process whose memory is to stay below limit, in bytes;
// nil where that is 0.
func New(limit int64) *Budget {
	if limit <= 0 {
		return nil
	}
	return &Budget{limit: limit}
}

// Count has f counted with: it says what a part of the process has now. To be called
// before Run.
func (b *Budget) Count(f func() int64) {
	if b != nil {
		b.counted = append(b.counted, f)
	}
}

// Tell has f told of what nobody counts, after each collection. To be called before Run.
func (b *Budget) Tell(f func(rest int64)) {
	if b != nil {
		b.told = append(b.told, f)
	}
}

// Run measures after each collection, until the process ends.
func (b *Budget) Run() {
	if b != nil {
		b.once.Do(func() { b.arm() })
	}
}

// arm has the collector say when it has come round.
func (b *Budget) arm() {
	sentinel := new([16]byte)
	runtime.AddCleanup(sentinel, func(b *Budget) {
		b.arm()
		b.look()
	}, b)
}

// Names of what the runtime tells.
const (
	inUse  = "/gc/heap/live:bytes"
	stacks = "/memory/classes/heap/stacks:bytes"
)

// look measures.
func (b *Budget) look() {
	s := []metrics.Sample{{Name: inUse}, {Name: stacks}}
	metrics.Read(s)
	b.since.Store(0)
	rest := max(int64(s[0].Value.Uint64()+s[1].Value.Uint64())-b.Counted(), 0)
	b.rest.Store(rest)
	for _, f := range b.told {
		f(rest)
	}
}

// Counted is what is counted now.
func (b *Budget) Counted() (sum int64) {
	if b == nil {
		return 0
	}
	for _, f := range b.counted {
		sum += f()
	}
	return sum
}

// Rest is what nobody counted when it was measured last.
func (b *Budget) Rest() int64 {
	if b == nil {
		return 0
	}
	return b.rest.Load()
}

// Limit is what all should stay below; 0 is no bound.
func (b *Budget) Limit() int64 {
	if b == nil {
		return 0
	}
	return b.limit
}

// Bound is what may be taken, counted or not, by what may be refused.
func (b *Budget) Bound() int64 {
	if b == nil {
		return 0
	}
	return b.limit / 100 * forAll
}

// Room reports whether n bytes more may be taken for what may be refused first.
func (b *Budget) Room(n int64) bool { return b.room(n, forAll) }

// RoomFirst is Room for publishing and what is live, which have a part to themselves.
func (b *Budget) RoomFirst(n int64) bool { return b.room(n, forFirst) }

// Let is RoomFirst for what nobody counts, such as a connection: it takes n until it is
// measured.
func (b *Budget) Let(n int64) bool {
	if b == nil {
		return true
	}
	if !b.RoomFirst(n) {
		return false
	}
	// Most of what was let in has left again when half of what there was is gone.
	if since := b.since.Add(n); b.Counted()+b.rest.Load()+2*since > b.limit/100*forFirst {
		b.collect()
	}
	return true
}

func (b *Budget) room(n, percent int64) bool {
	if b == nil || b.Counted()+b.rest.Load()+b.since.Load()+n <= b.limit/100*percent {
		return true
	}
	b.collect() // what was measured may be gone: nothing is refused for long for what is garbage
	return false
}

// A collection that is asked for is followed by none for pauses times as long, and for
// leastPause: however much is refused, most of the processors is for what is not.
const (
	pauses     = 9
	leastPause = 100 * time.Millisecond
)

// collect has the collector come round, and measures.
func (b *Budget) collect() {
	if b.collecting.CompareAndSwap(false, true) {
		go func() {
			began := time.Now()
			runtime.GC()
			b.look()
			time.Sleep(max(pauses*time.Since(began), leastPause))
			b.collecting.Store(false)
		}()
	}
}
