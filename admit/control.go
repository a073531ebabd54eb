package admit

import (
	"math"
	"time"
)

// Signals say how far a process is from what it should do. Each is over its target:
// 1 is at it, more is too much.
type Signals struct {
	Late   float64 // how late the process itself runs
	Turn   float64 // how long who may be shed waits for its turn
	Store  float64 // how long store reads take
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
// value: Next gives the next one.
//
// It is made for readers who come back: to refuse one has its effect at once, to refuse
// one less has it within the Period after which who was refused asks again, and whoever
// was refused together comes back together. So what is refused has two parts. One
// follows the pressure at once and gently: of a crowd that comes back the most is let
// in, and has its answers one after the other, so that it does not stay together. The
// other grows and falls with what is left of the pressure, slower than readers come
// back, until the pressure is what it should be, and not at all while that is on its way
// there by itself. Only where there has been next to none for longer than those who were
// refused stay away it falls fast: the storm is over.
type Control struct {
	at       time.Time
	last     [2]float64    // pressures, newest first: one that stands alone says nothing
	pressure float64       // smoothed,
	before   float64       // and what that was lately
	level    float64       // the slow part: e^-level are let in
	calm     time.Duration // for which there has been next to no pressure
}

const (
	smoothing = 150 * time.Millisecond // of the pressure,
	lately    = time.Second            // and of what it was
	moves     = 0.03                   // part of it by which it is not what it was
	gently    = 0.2                    // that is refused at once for each 1 of pressure above 1,
	atOnce    = 0.8                    // and how much in all
	slowly    = 0.15                   // of the level, each second, for each 1 of pressure
	most      = 1.0                    // above or below 1
	calmBelow = 0.3                    // pressure that is next to none
	calmFor   = Period                 // until it is over,
	overTimes = 8                      // and how much faster the level falls then
	maxLevel  = 4.5                    // a hundredth is always let in: it finds out whether it has become better
	longest   = time.Second            // that one pressure speaks for
)

// Next is the control at now, if the pressure was p since it was last asked.
func (c Control) Next(now time.Time, p float64) Control {
	passed := now.Sub(c.at)
	if c.at.IsZero() || passed < 0 { // a clock that was set back
		passed = 0
	}
	c.at = now
	if passed > longest {
		c.last = [2]float64{p, p}
	}
	p, c.last = middle(p, c.last[0], c.last[1]), [2]float64{p, c.last[0]}
	c.pressure += (p - c.pressure) * (1 - math.Exp(-passed.Seconds()/smoothing.Seconds()))
	c.before += (c.pressure - c.before) * (1 - math.Exp(-passed.Seconds()/lately.Seconds()))
	times := 1.0
	if c.calm += passed; c.pressure > calmBelow {
		c.calm = 0
	} else if c.calm > calmFor {
		times = overTimes
	}
	excess := min(max(c.pressure-1, -most), most)
	if excess > 0 && c.pressure < c.before*(1-moves) || excess < 0 && c.pressure > c.before*(1+moves) {
		excess = 0
	}
	if excess > 0 {
		passed = min(passed, longest)
	}
	c.level = min(max(c.level+slowly*times*excess*passed.Seconds(), 0), maxLevel)
	return c
}

func middle(a, b, c float64) float64 { return max(min(a, b), min(max(a, b), c)) }

// Refused is the share of a class that is refused, from 0 to 1. The rest goes first;
// of DVR something is refused when a third of the rest is. Nothing that is live is
// refused for slowness: it has its turn before, and its own bounds.
func (c Control) Refused(class Class) float64 {
	level := c.level - math.Log(1-min(max(gently*(c.pressure-1), 0), atOnce))
	switch class {
	case Rest:
		return 1 - math.Exp(-4*level)
	case DVR:
		return 1 - math.Exp(-max(level-0.1, 0))
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
