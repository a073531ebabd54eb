package viewer

import (
	"math/rand/v2"
	"time"

	"headwater/live"
)

// A plan is what one viewer means to do in one sitting, by the edge's clock.
type plan struct {
	from    live.Number
	latency time.Duration // negative: begin at from, whenever it comes
	leave   time.Time     // zero: never
	seek    time.Time     // zero: never
}

// How long sittings last, and what comes between them.
const (
	stayMean, stayMin, stayMax = 15 * time.Second, 3 * time.Second, time.Minute
	seekMean, seekMin, seekMax = 10 * time.Second, 2 * time.Second, time.Minute
	awayMax                    = 2 * time.Second
)

// planOf decides a sitting that begins now.
func planOf(b Behaviour, rng *rand.Rand, tl *live.Timeline, now time.Time, latency, early time.Duration) plan {
	p := plan{from: livePoint(tl, now, latency), latency: latency}
	switch b {
	case Join:
		p.leave = now.Add(spread(rng, stayMean, stayMin, stayMax))
	case DVR:
		p.from, p.latency = dvrPoint(rng, tl, now), -1
	case Seek:
		p.seek = now.Add(spread(rng, seekMean, seekMin, seekMax))
	case Leave:
		// Some way into the margin of a segment to come: the request for it is
		// being held, as nothing is published before its last frame.
		n := max(tl.Edge(now)+2+live.Number(rng.IntN(4)), tl.First())
		p.leave = tl.Expected(n).Add(-early + time.Duration((0.1+0.4*rng.Float64())*float64(early)))
	}
	return p
}

// seekTo is where a seeking viewer goes: half of the times back to the live edge.
func seekTo(rng *rand.Rand, tl *live.Timeline, now time.Time, latency time.Duration) plan {
	p := plan{from: livePoint(tl, now, latency), latency: latency}
	if rng.IntN(2) == 0 {
		p.from, p.latency = dvrPoint(rng, tl, now), -1
	}
	p.seek = now.Add(spread(rng, seekMean, seekMin, seekMax))
	return p
}

// livePoint is the segment that is on screen now for who is latency behind.
func livePoint(tl *live.Timeline, now time.Time, latency time.Duration) live.Number {
	return max(tl.At(now.Add(-latency)), tl.Oldest(now), tl.First())
}

// dvrMargin is how many segments a viewer keeps from the end of the DVR window,
// so that they are still there when it has come to them.
const dvrMargin = 2

// dvrPoint is a segment somewhere in the DVR window.
func dvrPoint(rng *rand.Rand, tl *live.Timeline, now time.Time) live.Number {
	from, to := tl.Oldest(now), tl.Edge(now)
	if from > tl.First() {
		from += dvrMargin
	}
	if to <= from {
		return max(min(from, to), tl.First())
	}
	return from + live.Number(rng.Int64N(int64(to-from)))
}

// spread is an exponentially distributed time within bounds.
func spread(rng *rand.Rand, mean, low, high time.Duration) time.Duration {
	return min(max(time.Duration(rng.ExpFloat64()*float64(mean)), low), high)
}
