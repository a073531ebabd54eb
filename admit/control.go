package admit

import "time"

// Signals say how far a process is from what it should do. Each is over its target:
// 1 is at it, more is too much.
type Signals struct {
	Late   float64 // how late the process itself runs
	Turn   float64 // how long who may be shed waits for its turn
	Store  float64 // the share of store reads that are slow
	Egress float64 // the share of live segments that are slow to be sent
	Bytes  float64 // in flight
	Held   float64 // requests
	Files  float64 // descriptors
}

// Pressure is the signal that is furthest from its target.
func (s Signals) Pressure() float64 {
	return max(s.Late, s.Turn, s.Store, s.Egress, s.Bytes, s.Held, s.Files)
}

// A Control turns pressure over time into how much of each class is refused. It is a
// value: Next gives the next one. It goes up the faster the higher the pressure is,
// down slowly, and not at all in between: so it settles where the pressure is just
// not too much, instead of swinging between all and nothing.
type Control struct {
	at    time.Time
	level float64 // 0: nothing is refused; 1: all that may be
}

const (
	easy     = 0.7             // pressure below which the level falls
	riseTime = time.Second     // from nothing to all, where the pressure is twice what it should be
	fallTime = 6 * time.Second // from all to nothing
	steepest = 2               // times riseTime, however high the pressure
	longest  = time.Second     // that one pressure speaks for, going up
)

// Next is the control at now, if the pressure was p since it was last asked.
func (c Control) Next(now time.Time, p float64) Control {
	passed := now.Sub(c.at)
	switch {
	case c.at.IsZero(), passed < 0: // a clock that was set back
		passed = 0
	case p > 1:
		c.level += min(p-1, steepest) * min(passed, longest).Seconds() / riseTime.Seconds()
	case p < easy:
		c.level -= passed.Seconds() / fallTime.Seconds()
	}
	c.at, c.level = now, min(max(c.level, 0), 1)
	return c
}

// Refused is the share of a class that is refused, from 0 to 1. The rest goes first;
// of DVR something is refused when half of the rest is. Nothing that is live is
// refused for slowness: it has its turn before, and its own bounds.
func (c Control) Refused(class Class) float64 {
	switch class {
	case Rest:
		return min(2*c.level, 1)
	case DVR:
		return max(0, (c.level-0.25)/0.75)
	}
	return 0
}

// Period is how long a refusal stands: whoever asks again within it gets the same.
const Period = 5 * time.Second

// Refuses reports whether what has this key is among a share that is refused at now.
// For a period the same keys are: to ask again changes nothing, and a cache asks once
// for all. The periods of different keys begin at different times.
func Refuses(share float64, key uint64, now time.Time) bool {
	if share <= 0 {
		return false
	}
	key = mix(key)
	epoch := (uint64(now.UnixNano()) + key%uint64(Period)) / uint64(Period)
	return float64(mix(key^epoch)>>11)/(1<<53) < share
}

// mix is the finaliser of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Delay is how long the answer is kept back of who is refused again and again within
// a period, for the n-th time in a row: a client that heeds Retry-After never meets
// it, and of one that does not a connection costs next to nothing. By chance, from 0
// to 1, those who were refused together do not come back together.
func Delay(n int, chance float64) time.Duration {
	if n < 2 {
		return 0
	}
	most := min(200*time.Millisecond<<min(n-2, 10), 2*time.Second)
	return time.Duration((0.5 + chance) * float64(most))
}
