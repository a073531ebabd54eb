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

// A mediaClock maps decode times of the input to those of the event. The mapping is
// made at the first fragment after an init segment. While decode times go on
// nothing moves it: the clock of an encoder's host may be stepped or slewed, and
// what it stamps is then off, but its frames still follow on each other. It is
// made anew only where decode times begin anew.
type mediaClock struct {
	mode  ClockMode
	event *live.Event

	known  bool
	byPRFT bool
	offset int64 // ticks of scale to add
	scale  int64
	anchor uint32 // the track whose stamps place the stream

	next   int64 // decode time that follows on the anchor's last sample
	stamp  int64 // the offset that its last stamp asked for
	said   int64 // how far stamps were off when that was last said
	jumped bool  // decode times of the anchor jumped, and no stamp has come since
}

// reset forgets the mapping: another stream begins.
func (c *mediaClock) reset() { c.known = false }

// shift is what to add to decode times in a timescale.
func (c *mediaClock) shift(timescale uint32) int64 {
	if !c.byPRFT {
		return 0
	}
	return rescale(c.offset, int64(timescale), c.scale)
}

// off is how far the anchor's last stamp is from the mapping.
func (c *mediaClock) off() time.Duration {
	return time.Duration(rescale(c.stamp-c.offset, int64(time.Second), c.scale))
}

// observe looks at a piece before it is cut.
func (c *mediaClock) observe(p piece) (stamps, error) {
	first, last := p.track.Samples[0], p.track.Samples[len(p.track.Samples)-1]
	scale := int64(p.track.Track.Timescale)
	offset, has := c.fromPRFT(p)
	defer func() {
		if p.track.ID == c.anchor {
			c.next = last.Decode + int64(last.Duration)
		}
	}()
	half := rescale(c.event.Segment.Ticks, scale, 2*c.event.Segment.Timescale)
	if c.known {
		if !c.byPRFT || p.track.ID != c.anchor {
			return stampsAgree, nil
		}
		c.jumped = c.jumped || abs(first.Decode-c.next) > half
		if !has {
			return stampsAgree, nil
		}
		said := judgeStamp(c.jumped, offset, c.stamp, c.offset, c.said, half)
		c.stamp, c.jumped = offset, false
		switch said {
		case stampsMoved:
			c.offset, c.said = offset, 0
		case stampsStepped, stampsReturned:
			c.said = offset - c.offset
		}
		return said, nil
	}
	c.known, c.byPRFT, c.jumped, c.said = true, false, false, 0
	switch c.mode {
	case ClockAbsolute:
		return stampsAgree, nil
	case ClockPRFT:
		c.byPRFT = true
	default:
		if c.event.MediaTime == live.MediaStart {
			// Decode times from 0 are what the event wants, unless a prft says
			// that this stream began later than the event.
			c.byPRFT = has && abs(offset) > 2*half
		} else {
			c.byPRFT = first.Decode/scale < c.event.Start.Unix()/2
		}
	}
	if c.byPRFT && !has {
		return stampsAgree, fmt.Errorf("%w: decode times begin at %d/%d s and no prft box before the first fragment says what time that is"+
			" (ffmpeg: -output_ts_offset UNIX-TIME -use_editlist 0 -avoid_negative_ts disabled -movflags +frag_discont, or -write_prft pts)",
			ErrClock, first.Decode, scale)
	}
	c.offset, c.stamp, c.scale, c.anchor = offset, offset, scale, p.track.ID
	return stampsAgree, nil
}

// What a stamp means for the mapping.
type stamps uint8

const (
	stampsAgree    stamps = iota
	stampsMoved           // decode times began anew: the mapping is made anew
	stampsStepped         // the stamps moved, decode times did not: the mapping stays
	stampsReturned        // they are near the mapping again
)

// judgeStamp decides, all in ticks: whether decode times jumped by more than
// half a segment, the offset that the stamp asks for, the one before it, that of
// the mapping, how far off stamps are known to be, and half a segment.
//
//	decode times   stamps                 the mapping
//	go on          whatever they say      stays
//	jump           jump as far as they    stays: media was lost
//	jump           do not follow          is made anew
func judgeStamp(jumped bool, offset, before, mapping, said, half int64) stamps {
	switch {
	case jumped && abs(offset-before) > half:
		return stampsMoved
	case abs(offset-mapping-said) <= half:
		return stampsAgree
	case abs(offset-mapping) <= half:
		return stampsReturned
	}
	return stampsStepped
}

// fromPRFT works out the offset that a piece's producer reference time asks for.
// The time is snapped to the frame grid that begins at the event's start, so that
// two encoders which stamp the same frame a little apart still cut the same.
func (c *mediaClock) fromPRFT(p piece) (offset int64, ok bool) {
	if p.stamp == nil {
		return 0, false
	}
	// The stamped sample is the one at Media. ffmpeg writes there what the time was
	// before it made decode times begin at 0: then it means the first sample.
	s := p.track.Samples[0]
	for _, x := range p.track.Samples {
		if x.Decode == p.stamp.Media {
			s = x
		}
	}
	scale := int64(p.track.Track.Timescale)
	since := p.stamp.Time.Sub(c.event.Start) // saturates at 292 years
	ticks := rescale(int64(since), scale, int64(time.Second))
	if f := int64(s.Duration); f > 0 {
		ticks = floorDiv(ticks+f/2, f) * f
	}
	tl := c.event.Timeline()
	base, _ := tl.Media(tl.First(), scale)
	return base + ticks - presentation(s, p.track.Track), true
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
