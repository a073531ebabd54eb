package cassandra

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"headwater/store"
)

// TestMissing: what becomes of an item whose row is there before its chunks are, or when
// they are no more.
func TestMissing(t *testing.T) {
	notAsked := fmt.Errorf("%w: %w", errMissing, errNotAsked)
	for _, c := range []struct {
		name         string
		age          time.Duration // of the item
		here, far    error
		comes        time.Duration // when it is here; 0: never
		want         error
		reads, asked int           // at least, and whether another data centre was asked
		slow         time.Duration // how long each reading takes
	}{
		{"there", time.Hour, nil, nil, 0, nil, 1, 0, 0},
		{"replaced between two reads", time.Hour, errMissing, errMissing, time.Millisecond, nil, 2, 0, 0},
		{"another data centre has it", time.Hour, errMissing, nil, 0, nil, 2, 1, 0},
		{"another data centre has it, and it is new", time.Second, errMissing, nil, 0, nil, 2, 1, 0},
		{"nobody has it", time.Hour, errMissing, errMissing, 0, store.ErrCorrupt, 3, 1, 0},
		{"nobody has it yet", time.Second, errMissing, errMissing, 0, store.ErrUnavailable, 3, 1, 0},
		{"nobody has it, and it comes", time.Second, errMissing, errMissing, time.Second, nil, 3, 1, 0},
		{"another data centre is away", time.Hour, errMissing, notAsked, 0, store.ErrUnavailable, 3, 1, 0},
		{"another data centre has it, and reading is slow", time.Hour, errMissing, nil, 0, nil, 2, 1, 2 * time.Second},
		{"the row is gone since", time.Hour, store.ErrNotFound, nil, 0, store.ErrNotFound, 1, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := offline()
				began, reads, far := time.Now(), 0, 0
				err := s.whole(t.Context(), func(_ context.Context, from place) (store.Token, error) {
					reads++
					time.Sleep(c.slow)
					token := store.Token{Time: began.Add(-c.age).UnixNano()}
					switch {
					case c.comes > 0 && time.Since(began) >= c.comes:
						return token, nil
					case from == everywhere:
						far++
						return token, c.far
					}
					return token, c.here
				})
				if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
					t.Errorf("%v, want %v", err, c.want)
				}
				if reads < c.reads || (far > 0) != (c.asked > 0) {
					t.Errorf("read %d times, %d of them everywhere", reads, far)
				}
			})
		})
	}
}
