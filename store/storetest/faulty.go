package storetest

import (
	"context"
	"fmt"
	"sync"

	"headwater/store"
)

// Fault says which operations fail, and how.
type Fault struct {
	Op        Op
	Namespace string // "" for any
	Nth       int    // only the nth matching operation since the fault was added, from 1; 0 for all
	Every     int    // every that many matching operations; 0 for what Nth says
	Err       error  // what the operation returns; it is wrapped
	After     bool   // fail after the operation has taken effect: the answer is lost, not the request
}

// Faulty is a store that fails as it is told and otherwise does what the store
// below it does. It is safe for concurrent use.
type Faulty struct {
	around

	mu       sync.Mutex
	faults   []*fault   // guarded by mu
	counts   map[Op]int // guarded by mu
	injected int        // guarded by mu
}

type fault struct {
	Fault
	seen int
}

// NewFaulty returns s with the given faults.
func NewFaulty(s store.Store, faults ...Fault) *Faulty {
	f := &Faulty{counts: make(map[Op]int)}
	f.around = around{s, f.op}
	f.Add(faults...)
	return f
}

// Add adds faults. Of several that match an operation the first added decides.
func (f *Faulty) Add(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, add := range faults {
		f.faults = append(f.faults, &fault{Fault: add})
	}
}

// Clear removes all faults: the store is well again.
func (f *Faulty) Clear() {
	f.mu.Lock()
	f.faults = nil
	f.mu.Unlock()
}

// Count returns how many operations of a kind were begun, failed ones included.
func (f *Faulty) Count(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if op != Any {
		return f.counts[op]
	}
	n := 0
	for _, c := range f.counts {
		n += c
	}
	return n
}

// Injected returns how many operations were made to fail.
func (f *Faulty) Injected() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.injected
}

// op runs one operation under the faults.
func (f *Faulty) op(_ context.Context, op Op, r store.Record, run func() error) error {
	f.mu.Lock()
	f.counts[op]++
	var hit *fault
	for _, x := range f.faults {
		if x.Op != Any && x.Op != op || x.Namespace != "" && x.Namespace != r.Namespace {
			continue
		}
		x.seen++
		if hit == nil && (x.Every > 0 && x.seen%x.Every == 0 || x.Every == 0 && (x.Nth == 0 || x.Nth == x.seen)) {
			hit = x
		}
	}
	if hit != nil {
		f.injected++
	}
	f.mu.Unlock()
	switch {
	case hit == nil:
		return run()
	case hit.After:
		if err := run(); err != nil {
			return err
		}
	}
	return fmt.Errorf("injected fault: %s: %w", op, hit.Err)
}
