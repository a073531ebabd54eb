package store

import (
	"context"
	"sync/atomic"
	"time"
)

type pauseKey struct{}

// pauses are those of one piece of work.
type pauses struct {
	pause func()
	sum   atomic.Int64 // in nanoseconds
}

// WithPauses has a store, and who works on what it brought, call pause before each
// piece of their work, so that others work in between: of a whole segment it takes
// milliseconds. It is called by one at a time.
func WithPauses(ctx context.Context, pause func()) context.Context {
	return context.WithValue(ctx, pauseKey{}, &pauses{pause: pause})
}

// Pause is called before work of some tens of microseconds: others, if anybody wants
// that, have their turns first.
func Pause(ctx context.Context) {
	if p, ok := ctx.Value(pauseKey{}).(*pauses); ok {
		began := time.Now()
		p.pause()
		p.sum.Add(int64(time.Since(began)))
	}
}

// WorkClock stands still while ctx pauses: what it says took as long is the work, without
// what others had.
func WorkClock(ctx context.Context) time.Time {
	now := time.Now()
	if p, ok := ctx.Value(pauseKey{}).(*pauses); ok {
		now = now.Add(-time.Duration(p.sum.Load()))
	}
	return now
}
