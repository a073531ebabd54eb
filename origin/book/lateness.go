package book

import (
	"slices"
	"time"

	"headwater/live"
)

// measured is how many segments the observed lateness is taken from.
const measured = 16

// The observed lateness is published in steps, and raised only when it is half
// a step over one: else an encoder on the border of two would change the
// event's configuration with every segment.
const (
	latenessStep  = 100 * time.Millisecond
	latenessRaise = latenessStep * 3 / 2
)

// measure notes how late a rendition's newest segment came, and returns the
// observed lateness where that has changed. The figure is the least of the
// last 16, rounded down: a late spell never moves it, so that a refusal never
// outlives availability, but an encoder that is always late does.
func (e *Event) measure(rendition string, c live.Candidate, expected time.Time) (time.Duration, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.track(rendition)
	if c.Number <= t.counted {
		return 0, false
	}
	t.counted = c.Number
	t.late[t.lates%len(t.late)] = max(c.Published.Sub(expected), 0)
	t.lates++
	if t.lates < len(t.late) {
		return 0, false
	}
	least := slices.Min(t.late[:])
	known := time.Duration(e.View().Config().LatenessMS[rendition]) * time.Millisecond
	if known <= least && least < known+latenessRaise {
		return known, false
	}
	return least.Truncate(latenessStep), true
}
