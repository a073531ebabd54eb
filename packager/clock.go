package packager

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

// ErrClock is wrapped where nothing says what time the input's decode times mean.
var ErrClock = errors.New("packager: the input has no clock")

// A ClockMode says what places the input's decode times in time.
type ClockMode string

// The clock modes.
const (
	// ClockAuto: absolute where decode times can be, else by prft. The default.
	ClockAuto ClockMode = "auto"
	// ClockAbsolute: decode times count from the event's media_time epoch.
	ClockAbsolute ClockMode = "absolute"
	// ClockPRFT: producer reference time boxes (ISO/IEC 14496-12, 8.16.5) say
	// when a sample was captured, decode times may begin anywhere.
	ClockPRFT ClockMode = "prft"
)

// A clock maps decode times of the input to those of the event. The mapping is
// made at the first fragment after an init segment, and made anew where a later
// prft contradicts it by more than half a segment.
type clock struct {
	mode  ClockMode
	event *live.Event

	known   bool
	byPRFT  bool
	offset  int64 // ticks of scale to add
	scale   int64
	anchors uint32 // the track that prft speaks of
}

// reset forgets the mapping: another stream begins.
func (c *clock) reset() { c.known = false }

// shift is what to add to decode times in a timescale.
func (c *clock) shift(timescale uint32) int64 {
	if !c.byPRFT {
		return 0
	}
	return rescale(c.offset, int64(timescale), c.scale)
}

// observe looks at a fragment before it is cut. moved reports that a prft
// contradicted the mapping so far.
func (c *clock) observe(part *cmaf.Part) (moved bool, err error) {
	var first *cmaf.TrackFragment
	for i := range part.Fragment.Tracks {
		if t := &part.Fragment.Tracks[i]; t.Track != nil && len(t.Samples) > 0 {
			first = t
			break
		}
	}
	if first == nil {
		return false, nil
	}
	offset, scale, id, has := c.fromPRFT(part)
	if c.known {
		if !has || !c.byPRFT || id != c.anchors {
			return false, nil
		}
		half := rescale(c.event.Segment.Ticks, scale, 2*c.event.Segment.Timescale)
		if d := offset - c.offset; d > half || d < -half {
			c.offset, c.scale = offset, scale
			return true, nil
		}
		return false, nil
	}
	c.known, c.byPRFT = true, false
	switch c.mode {
	case ClockAbsolute:
		return false, nil
	case ClockPRFT:
		c.byPRFT = true
	default:
		if c.event.MediaTime == live.MediaStart {
			// Decode times from 0 are what the event wants, unless a prft says
			// that this stream began later than the event.
			segment := rescale(c.event.Segment.Ticks, scale, c.event.Segment.Timescale)
			c.byPRFT = has && (offset > segment || offset < -segment)
		} else {
			c.byPRFT = first.Samples[0].Decode/int64(first.Track.Timescale) < c.event.Start.Unix()/2
		}
	}
	if c.byPRFT && !has {
		return false, fmt.Errorf("%w: decode times begin at %d/%d s and no prft box before the first fragment says what time that is"+
			" (ffmpeg: -output_ts_offset UNIX-TIME -use_editlist 0 -avoid_negative_ts disabled -movflags +frag_discont, or -write_prft pts)",
			ErrClock, first.Samples[0].Decode, first.Track.Timescale)
	}
	c.offset, c.scale, c.anchors = offset, scale, id
	return false, nil
}

// fromPRFT works out the offset that a fragment's producer reference time asks
// for, with video preferred, as its frames are longest. The time is snapped to
// the frame grid that begins at the event's start, so that two encoders which
// stamp the same frame a little apart still cut the same.
func (c *clock) fromPRFT(part *cmaf.Part) (offset, scale int64, id uint32, ok bool) {
	var best *cmaf.TrackFragment
	var stamp cmaf.ProducerTime
	for _, p := range part.Producer {
		for i := range part.Fragment.Tracks {
			t := &part.Fragment.Tracks[i]
			if t.ID != p.TrackID || t.Track == nil || len(t.Samples) == 0 || t.Track.Timescale == 0 {
				continue
			}
			if best == nil || best.Track.Type != live.Video && t.Track.Type == live.Video {
				best, stamp = t, p
			}
		}
	}
	if best == nil {
		return 0, 1, 0, false
	}
	// The stamped sample is the one at Media. ffmpeg writes there what the time
	// was before it made decode times begin at 0: then it means the first sample.
	s := best.Samples[0]
	for _, x := range best.Samples {
		if x.Decode == stamp.Media {
			s = x
		}
	}
	scale = int64(best.Track.Timescale)
	at := presentation(s, best.Track)
	since := stamp.Time.Sub(c.event.Start) // saturates at 292 years
	ticks := rescale(int64(since), scale, int64(time.Second))
	if f := int64(s.Duration); f > 0 {
		ticks = floorDiv(ticks+f/2, f) * f
	}
	tl := c.event.Timeline()
	base, _ := tl.Media(tl.First(), scale)
	return base + ticks - at, scale, best.ID, true
}

// presentation is when a sample is shown, in its track's timescale.
func presentation(s cmaf.Sample, t *cmaf.Track) int64 {
	return s.Decode + int64(s.Composition) - t.EditOffset
}

// rescale is v*num/den rounded to the nearest, half away from zero, without
// overflow on the way. num and den are positive.
func rescale(v, num, den int64) int64 {
	neg := v < 0
	u := uint64(v)
	if neg {
		u = -u
	}
	hi, lo := bits.Mul64(u, uint64(num))
	lo, carry := bits.Add64(lo, uint64(den/2), 0)
	hi += carry
	q := uint64(1 << 62) // as far as it goes
	if hi < uint64(den) {
		q, _ = bits.Div64(hi, lo, uint64(den))
		q = min(q, 1<<62)
	}
	if neg {
		return -int64(q)
	}
	return int64(q)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
