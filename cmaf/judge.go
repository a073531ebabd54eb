package cmaf

import (
	"math"
	"math/bits"

	"headwater/live"
)

// run takes in one trun of f that decodes from decode on. It returns the decode
// time and the offset of the data after it. Of another track's run only these
// two are wanted.
func (in *inspection) run(f *trackFragment, r *sampleRun, decode int64, ours bool) (next, dataEnd int64) {
	if r.count == 0 {
		return decode, r.data
	}
	if ours {
		in.arrive(decode)
	}
	if r.stride == 0 {
		return in.uniform(f, r, decode, ours)
	}
	holder := extent{}
	if ours {
		holder = in.holder(r.data)
	}
	at := r.data
	for i := range int(r.count) {
		ticks, size, flags, composition := r.sample(i)
		duration := int64(ticks)
		if ours {
			if duration == 0 {
				duration = in.duration(f)
			}
			there := size > 0 && at >= holder.begin && at+int64(size) <= holder.end
			a := accessUnknown
			if there && !in.text {
				a = in.look(f, in.seg[at:at+int64(size)], i, syncFlags(flags))
			}
			in.judgeSync(flags, decode, composition, a)
			in.count(decode, duration, 1, composition)
			if !there && (size > 0 || !in.text) {
				in.lose(1, duration)
			}
		}
		decode += duration
		at += int64(size)
	}
	return decode, at
}

// uniform is run where no sample has an entry of its own. The number of
// samples is then a mere claim, so this counts without a loop.
func (in *inspection) uniform(f *trackFragment, r *sampleRun, decode int64, ours bool) (next, dataEnd int64) {
	n, duration, size := int64(r.count), int64(r.duration), int64(r.size)
	if duration == 0 && ours {
		duration = in.duration(f)
	}
	// A product of two uint32 fits a uint64, but not an int64.
	ticks, bytes := uint64(n)*uint64(duration), uint64(n)*uint64(size)
	if ticks > maxTime || bytes > maxTime {
		return -1, r.data
	}
	next, dataEnd = decode+int64(ticks), r.data+int64(bytes)
	if !ours {
		return next, dataEnd
	}
	lost, there := int64(0), int64(0)
	if size == 0 && !in.text {
		lost = n
	} else if size > 0 {
		// No mdat holds what lies before the first byte: an offset is a claim, too.
		if holder := in.holder(r.data); r.data >= holder.begin {
			there = min(n, max(holder.end-r.data, 0)/size)
		}
		lost = n - there
	}
	// The first two are enough: their number is a claim.
	head := func(i int64, flags uint32) {
		a := accessUnknown
		if i < there && !in.text {
			a = in.look(f, in.seg[r.data+i*size:r.data+(i+1)*size], int(i), syncFlags(flags))
		}
		in.judgeSync(flags, decode+i*duration, 0, a)
	}
	head(0, r.firstFlags)
	in.count(decode, duration, 1, 0)
	if n > 1 {
		head(1, r.sampleFlags)
		in.count(decode+duration, duration, n-1, 0)
		if syncFlags(r.sampleFlags) {
			in.flagged += n - 2
		}
	}
	in.lose(lost, lost*duration)
	return next, dataEnd
}

// duration is what a sample of f lasts that says 0: an equal share of the time
// up to the next fragment, else what most samples so far last. Muxers that
// write a fragment for every frame do not know better.
func (in *inspection) duration(f *trackFragment) int64 {
	if in.text {
		return 0
	}
	if f.unknown < 0 {
		f.unknown = 0
		known, n := int64(0), int64(0)
		for s := f.runs; s.more(); {
			c, err := s.next()
			if err != nil || c.Type != boxTrun {
				continue
			}
			r, err := f.parseRun(c, 0)
			if err != nil {
				break // and whoever reads on will say so
			}
			if r.durationAt < 0 {
				known += min(int64(r.count)*int64(r.duration), maxTime)
				if r.duration == 0 {
					n += int64(r.count)
				}
				continue
			}
			for i := range int(r.count) {
				if d := be32(r.table[i*r.stride+r.durationAt:]); d > 0 {
					known += int64(d)
				} else {
					n++
				}
			}
		}
		typical, _ := in.durations.typical()
		f.unknown = int64(typical)
		if left := in.follows() - f.decode - min(known, maxTime); n > 0 && left > 0 && left/n <= math.MaxUint32 {
			f.unknown = left / n
		}
	}
	return f.unknown
}

// follows is the decode time of the track's next fragment, if the next moof has
// one; else it is 0.
func (in *inspection) follows() int64 {
	for s := in.rest; s.more(); {
		x, err := s.next()
		if err != nil {
			return 0
		}
		if x.Type != boxMoof {
			continue
		}
		for s := x.children(0); s.more(); {
			c, err := s.next()
			if err != nil {
				return 0
			}
			if c.Type != boxTraf {
				continue
			}
			if f, err := parseTraf(c, 0, 0); err == nil && f.id == in.track.ID {
				return f.decode
			}
		}
		return 0
	}
	return 0
}

// judgeSync looks for the first sync sample, before count has the sample.
func (in *inspection) judgeSync(flags uint32, decode int64, composition int32, a access) {
	if !syncFlags(flags) {
		return
	}
	in.flagged++
	if a == accessNone {
		in.falseSync++
		return
	}
	if in.samples == 0 {
		in.access = a
	}
	if in.synced {
		return
	}
	in.synced, in.syncAt, in.keyframe = true, decode+in.shift(composition), in.samples == 0
}

// shift is from decode to presentation time.
func (in *inspection) shift(composition int32) int64 { return int64(composition) - in.track.EditOffset }

// lose notes samples without data. The sum stays within maxTime: a segment
// may claim the same time over and over.
func (in *inspection) lose(n, ticks int64) {
	in.lostSamples += n
	in.lostTicks = min(in.lostTicks+ticks, maxTime)
}

// tick is what times may be off without meaning it: muxers round to a
// millisecond.
func (in *inspection) tick() int64 { return max(int64(in.track.Timescale)/1000, 1) }

// arrive notes that samples begin at decode.
func (in *inspection) arrive(decode int64) {
	if in.samples == 0 {
		in.start, in.end = decode, decode
		in.first, in.last = math.MaxInt64, math.MinInt64
		return
	}
	in.start = min(in.start, decode)
	switch gap := decode - in.end; {
	case gap > in.tick():
		in.holes++
		in.holeTicks += gap
	case gap < -in.tick():
		in.backwards = true
	}
}

// count takes in n samples of one duration, end to end.
func (in *inspection) count(decode, duration, n int64, composition int32) {
	end, shift := decode+n*duration, in.shift(composition)
	if in.samples == 0 {
		in.key, in.latest = decode+shift, shift
	}
	in.samples += n
	in.durations.add(uint32(duration), n)
	in.end = max(in.end, end)
	in.first = min(in.first, decode+shift)
	in.last = max(in.last, end+shift)
	in.shifted = in.shifted || shift != in.latest
	in.latest = max(in.latest, shift)
}

// report draws the findings.
func (in *inspection) report() Report {
	frame, constant := in.durations.typical()
	r := Report{
		Samples: int(in.samples), Keyframe: in.keyframe, Fragments: in.fragments, FrameDuration: frame,
	}
	if in.samples > 0 {
		r.Span = live.Span{Start: in.first, End: in.last, Timescale: int64(in.track.Timescale)}
	}
	b := bill{timescale: in.track.Timescale, left: max(in.window.SegmentMS, 0)}
	if in.wrongTrack || in.mismatch || in.foreign != "" {
		r.Foreign = in.foreign
		kind := live.WrongTrack
		if !in.wrongTrack {
			kind = live.InitMismatch
		}
		b.all(kind)
		r.Findings = b.findings
		return r
	}
	remarks := in.place(&b, int64(frame))
	if !in.text {
		in.inside(&b, int64(frame), constant)
	}
	if in.lostSamples > 0 && in.text {
		b.add(live.MissingSamples, in.lostTicks, in.lostSamples)
	}
	if in.track.Type == live.Video && in.samples > 0 && !r.Keyframe {
		until := in.last
		if in.synced {
			until = in.syncAt
		}
		b.add(live.NoKeyframe, until-in.first, 0)
	} else if in.falseSync > 0 && in.flagged < in.samples {
		b.add(live.NoKeyframe, 0, 0)
	}
	if r.Keyframe && in.access == accessOpen && in.first < in.moved {
		remarks = append(remarks, live.Finding{Kind: live.OpenGOP})
	}
	r.Findings = append(b.findings, remarks...)
	return r
}

// inside judges what lies between the first and the last sample. A hole is seen
// in decode time, in presentation time, or in both: then it counts once. place
// goes before it.
func (in *inspection) inside(b *bill, frame int64, constant bool) {
	ticks, n := in.holeTicks, int64(0)
	if in.holes > 0 {
		n = max(in.holes, rounded(in.holeTicks, frame))
	}
	if constant {
		for _, d := range in.durations.counted() {
			if over := int64(d.duration) - frame; over*2 > frame {
				ticks = min(ticks+min(over*min(d.n, math.MaxInt32), maxTime), maxTime)
				n += max(1, rounded(over, frame)) * min(d.n, math.MaxInt32)
			}
		}
	}
	// What decodes inside may have been shown first or last.
	if in.order.begun && in.order.holeTicks >= ticks-in.outside {
		ticks, n = in.order.holeTicks, in.order.holes
	}
	ticks, n = min(ticks+in.lostTicks, maxTime), n+in.lostSamples
	if n > 0 {
		b.add(live.MissingSamples, ticks, n)
	}
}

// rounded is a/b to the nearest, 0 for b = 0.
func rounded(a, b int64) int64 {
	if b == 0 {
		return 0
	}
	return floorDiv(a+b/2, b)
}

// floorDiv is a/b rounded down, also of a below 0.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// A bill adds up findings to no more than the whole segment.
type bill struct {
	timescale uint32
	left      int64 // milliseconds
	findings  live.Findings
}

func (b *bill) add(k live.Kind, ticks, samples int64) {
	ms := min(milliseconds(ticks, b.timescale), b.left)
	b.left -= ms
	// Samples are a claim: without a bound they may leave the range of an
	// integer in a header field (RFC 9651, 3.3.1).
	b.findings = append(b.findings, live.Finding{Kind: k, MissingMS: ms, Samples: min(samples, math.MaxInt32)})
}

func (b *bill) all(k live.Kind) {
	b.findings = append(b.findings, live.Finding{Kind: k, MissingMS: b.left})
	b.left = 0
}

// milliseconds is ticks rounded to the nearest millisecond; no overflow.
func milliseconds(ticks int64, timescale uint32) int64 {
	if ticks <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(ticks), 1000)
	lo, carry := bits.Add64(lo, uint64(timescale)/2, 0)
	hi += carry
	if hi >= uint64(timescale) {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, uint64(timescale))
	return int64(min(q, math.MaxInt64))
}
