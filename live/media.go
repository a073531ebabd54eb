package live

import (
	"math"
	"math/bits"
	"time"
)

// A MediaType says what kind of samples a rendition carries.
type MediaType string

// The media types.
const (
	Video MediaType = "video"
	Audio MediaType = "audio"
	Text  MediaType = "text" // wvtt or stpp
)

// Media returns the template boundaries of segment n on a track with that
// timescale: the decode times, rounded down to a tick, at which it begins and
// ends. Frames rarely divide a segment, so real boundaries follow these to
// within one frame. Decode times are below 2^63: where the timescale is so fine
// that the media epoch lies further back, they stay there.
func (tl *Timeline) Media(n Number, timescale int64) (start, end int64) {
	k := int64(n - tl.first)
	return tl.mediaAt(k, timescale), tl.mediaAt(k+1, timescale)
}

// mediaAt is floor((S + k*D) * timescale), S being 0 where decode time 0 is
// the event's start. Whole parts and fractions are added apart, so that the
// sum is rounded once.
func (tl *Timeline) mediaAt(k, timescale int64) int64 {
	ts := uint64(timescale)
	var sec, fracNum uint64 // S = sec s + fracNum ns
	if tl.media != MediaStart {
		sec, fracNum = uint64(tl.start)/nsPerSecond, uint64(tl.start)%nsPerSecond
	}
	hi, lo := bits.Mul64(uint64(max(k, 0)), tl.ticks*ts)
	if k < 0 || hi >= tl.scale {
		if k < 0 {
			return tl.mediaAt(0, timescale)
		}
		return math.MaxInt64
	}
	q1, r1 := bits.Div64(hi, lo, tl.scale)
	f := fracNum * ts
	q2, r2 := f/nsPerSecond, f%nsPerSecond
	if r1*nsPerSecond+r2*tl.scale >= nsPerSecond*tl.scale {
		q2++
	}
	whole := int64(min(mulDiv(sec, ts, 1), math.MaxInt64))
	return add(add(whole, int64(q2)), int64(min(q1, math.MaxInt64)))
}

// NumberHolding is the number of the segment whose template boundaries hold a
// decode time: the largest n with start <= decode. It is First-1 for what lies
// before the event, and can be after the last number.
func (tl *Timeline) NumberHolding(decode, timescale int64) Number {
	base := tl.mediaAt(0, timescale)
	if decode < base {
		return tl.first - 1
	}
	k := int64(min(mulDiv(uint64(decode-base), tl.scale, tl.ticks*uint64(timescale)), math.MaxInt64/4))
	// The boundaries are rounded down, so more segments than the quotient may
	// have begun: one, or as many as begin in one tick of a coarse timescale.
	for i := time.Duration(0); i <= time.Second/MinSegment && tl.mediaAt(k+1, timescale) <= decode; i++ {
		k++
	}
	return tl.first + Number(k)
}

// NumberNear is the number of the segment whose start is nearest to a decode
// time: what a segment that begins there is meant to be.
func (tl *Timeline) NumberNear(decode, timescale int64) Number {
	n := tl.NumberHolding(decode, timescale)
	if n < tl.first {
		base := tl.mediaAt(0, timescale)
		_, end := tl.Media(tl.first, timescale)
		if decode >= base-(end-base)/2 {
			return tl.first
		}
		return n
	}
	start, end := tl.Media(n, timescale)
	if end-decode < decode-start {
		return n + 1
	}
	return n
}
