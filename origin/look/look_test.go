package look

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/admit"
	"headwater/origin/health"
	"headwater/store"
	"headwater/store/memory"
)

// TestTurnsAreNoSlownessOfTheStore: where reads wait for their turns the store is not slow,
// and not unwell where they come to nothing for it.
func TestTurnsAreNoSlownessOfTheStore(t *testing.T) {
	late := fmt.Errorf("reading: %w", context.DeadlineExceeded)
	for _, c := range []struct {
		what        string
		pause, work time.Duration
		err         error
		slow        bool
	}{
		{"it waits for its turn", time.Second, 50 * time.Millisecond, nil, false},
		{"it waits for its turn until it is too late", 2 * time.Second, 50 * time.Millisecond, late, false},
		{"it waits for the store", time.Millisecond, 600 * time.Millisecond, nil, true},
		{"it waits for the store until it is too late", time.Millisecond, 2 * time.Second, late, true},
		{"the store fails", time.Second, time.Millisecond, store.ErrUnavailable, true},
		{"there is none", time.Second, time.Millisecond, store.ErrNotFound, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := admit.NewSlowness(500 * time.Millisecond)
				l := New(Config{Slow: slow, Health: health.ReadsOf(memory.New(memory.Options{}), "here"), Timeout: 2 * time.Second,
					Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: prometheus.NewRegistry()})
				for range 30 {
					ctx := store.WithPauses(t.Context(), func() { time.Sleep(c.pause) })
					began := store.WorkClock(ctx)
					store.Pause(ctx)
					time.Sleep(c.work)
					l.Observe(ctx, began, c.err)
				}
				if got := slow.Slow(time.Now()); got > 0 != c.slow {
					t.Errorf("%v of the reads were slow", got)
				}
			})
		})
	}
}
