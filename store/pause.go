package store

import "context"

type pauseKey struct{}

// WithPauses has a store, and who works on what it brought, call pause before each
// piece of their work, so that others work in between: of a whole segment it takes
// milliseconds. It is called by one at a time.
func WithPauses(ctx context.Context, pause func()) context.Context {
	return context.WithValue(ctx, pauseKey{}, pause)
}

// Pause is called before work of some tens of microseconds: others, if anybody wants
// that, have their turns first.
func Pause(ctx context.Context) {
	if pause, ok := ctx.Value(pauseKey{}).(func()); ok {
		pause()
	}
}
