package clock

import (
	"context"
	"time"
)

const (
	askEvery = 2 * time.Second
	// firstAsks are made soon after each other: for a clock to be settled soon.
	firstAsks = 4
	askFor    = time.Second
)

// Ask has those who answer to ask tell what time it is, each with its name, until ctx ends.
// What one says counts to within the time that its answer took.
func (c *Clock) Ask(ctx context.Context, kind Kind, ask func(ctx context.Context) (whose string, told time.Time, err error)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 1; ; n++ {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		one, cancel := context.WithTimeout(ctx, askFor)
		asked := time.Now()
		if whose, told, err := ask(one); err == nil {
			c.Exchange(kind, whose, told, asked, time.Now(), 1)
		}
		cancel()
		pause := askEvery
		if n < firstAsks {
			pause = lookEvery
		}
		timer.Reset(pause)
	}
}
