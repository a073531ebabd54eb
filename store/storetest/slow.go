package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"headwater/store"
)

// Delay says how long an operation waits before it takes effect, and how long
// its answer waits afterwards. It is called for every operation, concurrently.
type Delay func(op Op, r store.Record) (before, after time.Duration)

// Slow is a store that takes its time. It waits with timers, so that a test in
// a synctest bubble decides when they end, and stops waiting when the context
// ends: before the operation it then has no effect, afterwards it has had it.
type Slow struct {
	around
	delay Delay
}

// NewSlow returns s, slowed.
func NewSlow(s store.Store, delay Delay) *Slow {
	slow := &Slow{delay: delay}
	slow.around = around{s, slow.op}
	return slow
}

// Always is a Delay of the same time before every operation.
func Always(before time.Duration) Delay {
	return func(Op, store.Record) (time.Duration, time.Duration) { return before, 0 }
}

// jitter is a Delay of up to a millisecond, before or after, one time in eight.
func jitter() Delay {
	return func(Op, store.Record) (before, after time.Duration) {
		if rand.N(8) > 0 {
			return 0, 0
		}
		return rand.N(time.Millisecond), rand.N(time.Millisecond)
	}
}

func (s *Slow) op(ctx context.Context, op Op, r store.Record, run func() error) error {
	before, after := s.delay(op, r)
	if err := wait(ctx, before); err != nil {
		return fmt.Errorf("slow store: %s %v: %w", op, r, err)
	}
	if err := run(); err != nil {
		return err
	}
	if err := wait(ctx, after); err != nil {
		return fmt.Errorf("slow store: answer to %s %v: %w", op, r, err)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
