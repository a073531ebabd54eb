package cassandra

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"headwater/store"
)

// Whose time is over decides the error: only the caller's own context ends as such,
// also for a scan, which ends a little before.
func TestWhoseTimeIsOver(t *testing.T) {
	for name, c := range map[string]struct {
		caller time.Duration // 0: no deadline
		early  time.Duration // that the operation ends before the bound on it
		leaves bool
		want   error
	}{
		"ours, no other":         {0, 0, false, store.ErrUnavailable},
		"ours, early":            {0, 50 * time.Millisecond, false, store.ErrUnavailable},
		"ours, before theirs":    {time.Minute, 50 * time.Millisecond, false, store.ErrUnavailable},
		"theirs":                 {time.Second, 0, false, context.DeadlineExceeded},
		"theirs, early":          {time.Second, 50 * time.Millisecond, false, context.DeadlineExceeded},
		"the caller has left":    {0, 0, true, context.Canceled},
		"and left with deadline": {time.Minute, 0, true, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := offline()
				s.spaces = map[string]*space{store.Media: newSpace("k")}
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				if c.caller > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.caller)
					defer cancel()
				}
				if c.leaves {
					time.AfterFunc(time.Millisecond, leave)
				}
				own, _, end, err := s.begin(ctx, store.Record{Namespace: store.Media, ID: "r"})
				if err != nil {
					t.Fatal(err)
				}
				limit, _ := own.Deadline()
				early, cancel := context.WithDeadline(own, limit.Add(-c.early))
				defer cancel()
				err = s.do(early, newRequest("test", time.Second), func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
				s.attempts.Wait()
				end(&err)
				if !errors.Is(err, c.want) || errors.Is(err, store.ErrUnavailable) != (c.want == store.ErrUnavailable) {
					t.Error(err)
				}
			})
		})
	}
}
