package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A Backend is what a store does with a request that is known to be good: its
// names and its token are, ctx has not ended, and the store is open. Its errors
// are the contract's; what was asked for is added to them.
type Backend struct {
	Name   string           // what errors begin with
	Now    func() time.Time // default time.Now
	Put    func(ctx context.Context, r Record, item Item) error
	Get    func(ctx context.Context, r Record, key string) (Item, error)
	Scan   func(ctx context.Context, r Record, opt ScanOptions) (Page, error)
	Delete func(ctx context.Context, r Record, t Token) error
	Close  func() error // called once, when no operation is under way
}

// Front is what all stores do alike: it implements Store by a Backend.
type Front struct {
	b Backend
	// newest is the newest time of the tokens that are known to be in the store: that an
	// item has one of the future must not keep what follows it out.
	newest atomic.Int64

	mu     sync.Mutex // guards closed
	closed bool
	under  sync.WaitGroup // operations; Add under mu while not closed
}

// NewFront returns the front of b.
func NewFront(b Backend) *Front {
	if b.Now == nil {
		b.Now = time.Now
	}
	return &Front{b: b}
}

// Begin counts an operation as under way until end, for which Close waits.
func (f *Front) Begin(ctx context.Context) (end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, ErrClosed
	}
	f.under.Add(1)
	return f.under.Done, nil
}

// mutate runs an operation that has a token, and run one that has none.
func (f *Front) mutate(ctx context.Context, r Record, t Token, do func() error) error {
	return f.run(ctx, r, func() error {
		if err := f.checkDrift(t); err != nil {
			return err
		}
		err := do()
		if err == nil {
			f.saw(t)
		}
		return err
	})
}

// succession is how far a token may be ahead of one that is stored and that it follows:
// many times the nanosecond that it takes.
const succession = time.Second

// checkDrift refuses a token that is too far from now. What others would suffer from is
// one that is further ahead than all they know of. One that follows on what is stored is
// not: whoever wants to win over it needs but another nanosecond, as for what is stored
// already.
func (f *Front) checkDrift(t Token) error {
	now := f.b.Now()
	err := t.CheckDrift(now)
	if err != nil && t.Time > now.UnixNano() && t.Time-int64(succession) <= f.newest.Load() {
		return nil
	}
	return err
}

// saw notes a token that is in the store.
func (f *Front) saw(t Token) {
	for {
		newest := f.newest.Load()
		if t.Time <= newest || f.newest.CompareAndSwap(newest, t.Time) {
			return
		}
	}
}

func (f *Front) run(ctx context.Context, r Record, do func() error) error {
	if err := r.Validate(); err != nil {
		return err
	}
	end, err := f.Begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return do()
}

// Put implements Store.
func (f *Front) Put(ctx context.Context, r Record, item Item) error {
	err := item.Validate()
	if err == nil {
		if f.checkDrift(item.Token) != nil {
			_, _ = f.Get(ctx, r, item.Key) // it may follow on what others have put here
		}
		err = f.mutate(ctx, r, item.Token, func() error { return f.b.Put(ctx, r, item) })
	}
	if err != nil {
		return fmt.Errorf("%s: put %v, key %q: %w", f.b.Name, r, item.Key, err)
	}
	return nil
}

// Get implements Store.
func (f *Front) Get(ctx context.Context, r Record, key string) (item Item, err error) {
	if err = ValidateKey(key); err == nil {
		err = f.run(ctx, r, func() (err error) { item, err = f.b.Get(ctx, r, key); return err })
	}
	if err != nil {
		return Item{}, fmt.Errorf("%s: get %v, key %q: %w", f.b.Name, r, key, err)
	}
	f.saw(item.Token)
	return item, nil
}

// Scan implements Store.
func (f *Front) Scan(ctx context.Context, r Record, opt ScanOptions) (page Page, err error) {
	if err = opt.Validate(); err == nil {
		if opt.MaxBytes == 0 {
			opt.MaxBytes = DefaultPageBytes
		}
		err = f.run(ctx, r, func() (err error) { page, err = f.b.Scan(ctx, r, opt); return err })
	}
	if err != nil {
		return Page{}, fmt.Errorf("%s: scan %v: %w", f.b.Name, r, err)
	}
	for i := range page.Items {
		f.saw(page.Items[i].Token)
	}
	return page, nil
}

// DeleteRecord implements Store.
func (f *Front) DeleteRecord(ctx context.Context, r Record, t Token) error {
	if err := f.mutate(ctx, r, t, func() error { return f.b.Delete(ctx, r, t) }); err != nil {
		return fmt.Errorf("%s: delete %v: %w", f.b.Name, r, err)
	}
	return nil
}

// Close implements Store.
func (f *Front) Close() error {
	f.mu.Lock()
	err := ErrClosed
	if !f.closed {
		f.closed, err = true, nil
	}
	f.mu.Unlock()
	if f.under.Wait(); err == nil {
		err = f.b.Close()
	}
	if err != nil {
		return fmt.Errorf("%s: close: %w", f.b.Name, err)
	}
	return nil
}
