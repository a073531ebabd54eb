package store

import (
	"context"
	"time"
)

type traceKey struct{}

// WithTrace returns a context with which a store tells f how long the steps of
// one operation took: those that its caller can do something about, like
// "staged" and "committed". f is not called after the operation returned, and
// by one goroutine at a time.
func WithTrace(ctx context.Context, f func(step string, d time.Duration)) context.Context {
	return context.WithValue(ctx, traceKey{}, f)
}

// Trace tells how long a step took, if anybody wants to know.
func Trace(ctx context.Context, step string, d time.Duration) {
	if f, ok := ctx.Value(traceKey{}).(func(string, time.Duration)); ok {
		f(step, d)
	}
}
