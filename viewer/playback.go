package viewer

import (
	"slices"
	"time"

	"headwater/live"
)

// A playback is the clock of one player: pure arithmetic on the times at which
// segments arrived.
//
// Segment n is to be played at Start(n) + delay. The picture begins with the
// first segment that all tracks have; delay is then the wanted latency, or more
// where the first segment came too late for that. Where a segment is not there
// at its time, the picture stands until it is: a stall, by which delay grows
// (nobody catches up afterwards). A lost segment is a gap: the picture stands for
// as long as the segment lasts and delay stays, so that a gap costs no latency
// and asks for nothing earlier; should the next segment not be there at its own
// time, that is a stall.
type playback struct {
	tracks  int
	latency time.Duration // wanted; negative: begin with the first segment, whenever it comes
	begun   bool
	next    live.Number // the segment to be played next
	delay   time.Duration
	// slots are the segments from next on that some track has an answer for.
	slots []slot
	// gaps are the lost segments of which the time on screen has come or will.
	gaps []live.Number
}

// A slot collects what the tracks were answered for one segment.
type slot struct {
	answers int
	at      time.Time // of the last answer
	lost    bool
	trouble string // what went wrong on the way, though it was overcome
}

// A step is what became of one segment.
type step struct {
	n       live.Number
	begins  bool          // the picture began with it
	stall   time.Duration // the picture stood for so long before it
	lost    bool
	delay   time.Duration // between capture and screen
	trouble string
}

// newPlayback begins at segment n.
func newPlayback(tracks int, n live.Number, latency time.Duration) playback {
	return playback{tracks: tracks, latency: latency, next: n}
}

// answer records that a track was answered for segment n at a time, and calls
// yield for each segment that all tracks now have an answer for. Each track
// gives its answers in the order of the numbers.
func (p *playback) answer(tl *live.Timeline, n live.Number, s slot, yield func(step)) {
	i := int(n - p.next)
	if i < 0 {
		return
	}
	for len(p.slots) <= i {
		p.slots = append(p.slots, slot{})
	}
	x := &p.slots[i]
	x.answers++
	x.lost = x.lost || s.lost
	if s.at.After(x.at) {
		x.at = s.at
	}
	if s.trouble != "" {
		x.trouble = s.trouble
	}
	for len(p.slots) > 0 && p.slots[0].answers == p.tracks {
		yield(p.play(tl, p.slots[0]))
		p.slots = append(p.slots[:0], p.slots[1:]...)
		p.next++
	}
}

func (p *playback) play(tl *live.Timeline, s slot) step {
	out := step{n: p.next, lost: s.lost, trouble: s.trouble}
	switch start := tl.Start(p.next); {
	case !p.begun:
		p.begun, out.begins = true, true
		p.delay = p.latency
		// Too late for the wanted latency even to begin within the segment.
		if p.latency < 0 || s.at.After(tl.End(p.next).Add(p.latency)) {
			p.delay = s.at.Sub(start)
		}
	case !s.lost:
		if late := s.at.Sub(start.Add(p.delay)); late > 0 {
			out.stall = late
			p.delay += late
		}
	}
	out.delay = p.delay
	p.gaps = slices.DeleteFunc(p.gaps, func(n live.Number) bool { return !tl.End(n).Add(p.delay).After(s.at) })
	if s.lost {
		p.gaps = append(p.gaps, p.next)
	}
	return out
}

// wants is when segment n is to be played; ok is false before the picture has begun.
func (p *playback) wants(tl *live.Timeline, n live.Number) (t time.Time, ok bool) {
	return tl.Start(n).Add(p.delay), p.begun
}

// standing is for how long the picture has been standing at t for want of the
// next segment.
func (p *playback) standing(tl *live.Timeline, t time.Time) time.Duration {
	if !p.begun || !tl.Holds(p.next) {
		return 0
	}
	return max(t.Sub(tl.Start(p.next).Add(p.delay)), 0)
}

// inGap says whether t is when the lost segment n would be on screen.
func (p *playback) inGap(tl *live.Timeline, n live.Number, t time.Time) bool {
	return !t.Before(tl.Start(n).Add(p.delay)) && t.Before(tl.End(n).Add(p.delay))
}

// dark says whether a picture that has begun is missing at t.
func (p *playback) dark(tl *live.Timeline, t time.Time) bool {
	return p.standing(tl, t) > 0 || slices.ContainsFunc(p.gaps, func(n live.Number) bool { return p.inGap(tl, n, t) })
}

// trouble is what went wrong with the next segment so far.
func (p *playback) trouble() string {
	if len(p.slots) == 0 {
		return ""
	}
	return p.slots[0].trouble
}
