package live

import (
	"math/bits"
	"time"
)

// Joining is how long those who join at now are to take for it together, each its own
// part (Spread): while an event begins, whose first segment everybody wants at once. It
// is 0 where nobody need wait. After an outage it is JoinMS, whenever that is.
func (e *Event) Joining(now time.Time) time.Duration {
	tl := e.Timeline()
	if now.Before(tl.Expected(tl.First()).Add(e.JoinWindow())) {
		return e.JoinWindow()
	}
	return 0
}

// JoinWindow is JoinMS.
func (e *Event) JoinWindow() time.Duration { return time.Duration(e.JoinMS) * time.Millisecond }

// Spread is a time of less than within, the same for the same key. Keys that have
// nothing but their difference in common are spread evenly.
func Spread(within time.Duration, key uint64) time.Duration {
	// The finaliser of SplitMix64.
	key += 0x9e3779b97f4a7c15
	key = (key ^ key>>30) * 0xbf58476d1ce4e5b9
	key = (key ^ key>>27) * 0x94d049bb133111eb
	part, _ := bits.Mul64(key^key>>31, uint64(max(within, 0)))
	return time.Duration(part)
}
