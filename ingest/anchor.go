package ingest

import (
	"fmt"
	"math/big"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

// What says when the media of an encoder whose decode times do not count from the
// event's epoch was filmed, the best first.
const (
	byDecode   = "decode times"
	byPRFT     = "prft"
	byManifest = "the manifest"
	byArrival  = "arrival"
)

// An anchor places the decode times of one encoder in time: what to add to them, in
// nanoseconds, to have the event's. It is a value.
type anchor struct {
	shift time.Duration
	by    string
	moved time.Duration // how much later than by says, so that segments begin on boundaries
}

func (a anchor) String() string {
	switch {
	case a.by == byDecode:
		return "decode times are the event's, and are kept"
	case a.moved == 0:
		return fmt.Sprintf("placed by %s", a.by)
	}
	way := "later"
	if a.moved < 0 {
		way = "earlier"
	}
	return fmt.Sprintf("placed by %s and %v %s, so that segments begin on the event's boundaries", a.by, abs(a.moved).Round(time.Millisecond), way)
}

// in is the shift in a timescale.
func (a anchor) in(timescale uint32) int64 { return toTicks(a.shift, timescale) }

// move gives event messages that say when they are the event's times. Those of version
// 0 count from media that is moved.
func (a anchor) move(events []cmaf.Event) {
	for i := range events {
		if events[i].Version > 0 {
			events[i].Time += a.in(events[i].Timescale)
		}
	}
}

// evidence is what is known of a fragment that is to be placed.
type evidence struct {
	decode   int64 // of its first sample, as it came
	shown    int64 // when that is shown
	duration int64 // of the fragment
	frame    int64 // of a sample
	scale    uint32
	video    bool
	stamp    time.Time // when its first sample was filmed, by prft
	said     time.Time // when its first sample was filmed, by the manifest
	arrived  time.Time // its last byte
}

// gather makes evidence of a fragment of a track.
func gather(p *cmaf.Part, t *cmaf.TrackFragment, arrived time.Time) evidence {
	s := t.Samples
	last := s[len(s)-1]
	e := evidence{
		decode: s[0].Decode, shown: s[0].Decode + int64(s[0].Composition) - t.Track.EditOffset,
		duration: last.Decode + int64(last.Duration) - s[0].Decode, frame: int64(s[0].Duration),
		scale: t.Track.Timescale, video: t.Track.Type == live.Video, arrived: arrived,
	}
	for _, stamp := range p.Producer {
		if stamp.TrackID == t.ID {
			// ffmpeg stamps the first sample, but writes there what its time was before
			// it made times begin at 0.
			at := s[0]
			for _, x := range s {
				if x.Decode == stamp.Media {
					at = x
				}
			}
			e.stamp = stamp.Time.Add(-toTime(at.Decode-s[0].Decode, e.scale))
		}
	}
	return e
}

// rank orders evidence by how well it places a stream: stamped video first.
func (e evidence) rank() int {
	r := 0
	if !e.stamp.IsZero() {
		r += 2
	}
	if e.video {
		r++
	}
	return r
}

const (
	// Media whose place, by the decode times that came, is so near to now needs no
	// other in an event whose media time begins with it.
	nearNow = 10 * time.Second
	// What a manifest says of when media was filmed counts where it arrived no earlier
	// than this before, and no later than that after.
	mostBefore, mostAfter = time.Second, 20 * time.Second
)

// absolute reports whether decode times are those of the event, by themselves.
func (e evidence) absolute(ev *live.Event) bool {
	if ev.MediaTime == live.MediaStart {
		return e.stamp.IsZero() && abs(ev.Start.Add(toTime(e.shown+e.duration, e.scale)).Sub(e.arrived)) <= nearNow
	}
	return e.decode/int64(e.scale) >= ev.Start.Unix()/2
}

// filmed is when the first sample of a fragment was, and what says so. Media that is
// sent late by a manifest is taken to be as late as it comes: so it is always.
func (e evidence) filmed() (at time.Time, by string) {
	if !e.stamp.IsZero() {
		return e.stamp, byPRFT
	}
	at = e.arrived.Add(-toTime(e.duration, e.scale))
	if e.said.IsZero() || e.said.Before(at.Add(-mostAfter)) || e.said.After(at.Add(mostBefore)) {
		return at, byArrival
	}
	if e.said.After(at) {
		at = e.said
	}
	return at, byManifest
}

// place decides how an encoder that begins with a fragment is placed. Where decode
// times do not count from the event's epoch, its first sample begins a segment: the
// first that begins no earlier than it was filmed, and that is not late by the time
// that the fragment took to come. snap says that boundaries matter: of video, or of
// what has none beside it.
func place(e evidence, ev *live.Event, snap bool) anchor {
	if e.absolute(ev) {
		return anchor{by: byDecode}
	}
	tl := ev.Timeline()
	filmed, by := e.filmed()
	a, slack := anchor{by: by}, tl.Allowance()/2
	if by == byPRFT {
		slack = toTime(e.frame, e.scale) // nothing but the stamp counts, so that two encoders are placed alike
	}
	at := filmed
	if snap {
		at = boundary(&tl, filmed.Add(-slack))
	}
	a.moved = at.Sub(filmed)
	if abs(a.moved) <= toTime(e.frame, e.scale) {
		a.moved = 0
	}
	epoch := time.Unix(0, 0)
	if ev.MediaTime == live.MediaStart {
		epoch = ev.Start
	}
	a.shift = at.Sub(epoch) - toTime(e.shown, e.scale)
	return a
}

// boundary is the first segment boundary that is not before t. Before the event
// they go on as they do in it.
func boundary(tl *live.Timeline, t time.Time) time.Time {
	if before := tl.Start(tl.First()).Sub(t); before > 0 {
		return t.Add(before % tl.Segment())
	}
	n := tl.At(t)
	for tl.Start(n).Before(t) {
		n++
	}
	return tl.Start(n)
}

// A move is what decode times did between two fragments of a track.
type move uint8

const (
	goesOn   move = iota
	repeated      // all of it was there before
	anew          // they began anew: the anchor is made anew
)

// judge decides about a fragment that comes where the track was to go on at next:
// a is the anchor of those before it.
func judge(e evidence, next int64, a anchor, ev *live.Event) move {
	tolerance := int64(e.scale)/1000 + 1
	back := e.decode < next-tolerance
	off := placed(e, a, ev).Sub(e.arrived)
	switch {
	case a.by != byDecode && back && off < -nearNow,
		a.by != byDecode && e.decode > next+int64(e.scale) && off > nearNow:
		return anew
	case a.by == byPRFT && back && !e.stamp.IsZero() && abs(e.stamp.Add(toTime(e.duration, e.scale)).Sub(placed(e, a, ev))) > toTime(ev.Segment.Ticks, uint32(ev.Segment.Timescale)):
		return anew
	case back && e.decode+e.duration <= next+tolerance:
		return repeated
	}
	return goesOn
}

// placed is when a fragment ends, by an anchor.
func placed(e evidence, a anchor, ev *live.Event) time.Time {
	epoch := time.Unix(0, 0)
	if ev.MediaTime == live.MediaStart {
		epoch = ev.Start
	}
	return epoch.Add(toTime(e.shown+e.duration, e.scale) + a.shift)
}

func abs(d time.Duration) time.Duration { return max(d, -d) }

// toTime is a number of ticks as a time, and toTicks the other way; both saturate.
func toTime(ticks int64, scale uint32) time.Duration {
	return time.Duration(mulDiv(ticks, int64(time.Second), int64(scale)))
}

func toTicks(d time.Duration, scale uint32) int64 {
	return mulDiv(int64(d), int64(scale), int64(time.Second))
}

// mulDiv is v*num/den rounded to the nearest.
func mulDiv(v, num, den int64) int64 {
	x := new(big.Int).Mul(big.NewInt(v), big.NewInt(num))
	x.Add(x.Lsh(x, 1), big.NewInt(den))
	x.Div(x, new(big.Int).Lsh(big.NewInt(den), 1)) // floor(v*num/den + 1/2)
	if !x.IsInt64() {
		if x.Sign() < 0 {
			return -1 << 62
		}
		return 1 << 62
	}
	return x.Int64()
}
