package storetest

import (
	"context"
	"fmt"
	"sync"

	"headwater/store"
)

// Op is a kind of operation on a store.
type Op string

// The kinds. Any is for a Fault that takes every kind.
const (
	Any          Op = ""
	Put          Op = "put"
	Get          Op = "get"
	Scan         Op = "scan"
	DeleteItem   Op = "delete item"
	DeleteRange  Op = "delete range"
	DeleteRecord Op = "delete record"
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
	store.Store

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
	f := &Faulty{Store: s, counts: make(map[Op]int)}
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

// do runs one operation under the faults.
func (f *Faulty) do(op Op, namespace string, run func() error) error {
	f.mu.Lock()
	f.counts[op]++
	var hit *fault
	for _, x := range f.faults {
		if x.Op != Any && x.Op != op || x.Namespace != "" && x.Namespace != namespace {
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

func (f *Faulty) Put(ctx context.Context, r store.Record, item store.Item) error {
	return f.do(Put, r.Namespace, func() error { return f.Store.Put(ctx, r, item) })
}

func (f *Faulty) Get(ctx context.Context, r store.Record, key string) (item store.Item, err error) {
	err = f.do(Get, r.Namespace, func() error { item, err = f.Store.Get(ctx, r, key); return err })
	if err != nil {
		return store.Item{}, err
	}
	return item, nil
}

func (f *Faulty) Scan(ctx context.Context, r store.Record, opt store.ScanOptions) (page store.Page, err error) {
	err = f.do(Scan, r.Namespace, func() error { page, err = f.Store.Scan(ctx, r, opt); return err })
	if err != nil {
		return store.Page{}, err
	}
	return page, nil
}

func (f *Faulty) DeleteItem(ctx context.Context, r store.Record, key string, t store.Token) error {
	return f.do(DeleteItem, r.Namespace, func() error { return f.Store.DeleteItem(ctx, r, key, t) })
}

func (f *Faulty) DeleteRange(ctx context.Context, r store.Record, from, to string, t store.Token) error {
	return f.do(DeleteRange, r.Namespace, func() error { return f.Store.DeleteRange(ctx, r, from, to, t) })
}

func (f *Faulty) DeleteRecord(ctx context.Context, r store.Record, t store.Token) error {
	return f.do(DeleteRecord, r.Namespace, func() error { return f.Store.DeleteRecord(ctx, r, t) })
}
