package cmaf

import (
	"math"
	"math/bits"

	"headwater/live"
)

// textTolerance is for text what one frame is for video, in milliseconds.
const textTolerance = 100

// run takes in one trun that decodes from decode on. It returns the decode
// time and the offset of the data after it. Of another track's run only these
// two are wanted.
func (in *inspection) run(r *sampleRun, decode int64, ours bool) (next, dataEnd int64) {
	if r.count == 0 {
		return decode, r.data
	}
	if ours {
		in.arrive(decode)
	}
	if r.stride == 0 {
		return in.uniform(r, decode, ours)
	}
	holder := extent{}
	if ours {
		holder = in.holder(r.data)
	}
	at := r.data
	for i := range int(r.count) {
		duration, size, flags, composition := r.sample(i)
		if ours {
			in.judgeSync(flags, decode)
			in.count(decode, int64(duration), 1, composition)
			if size == 0 && !in.text || size > 0 && (at < holder.begin || at+int64(size) > holder.end) {
				in.lose(1, int64(duration))
			}
		}
		decode += int64(duration)
		at += int64(size)
	}
	return decode, at
}

// uniform is run where no sample has an entry of its own. The number of
// samples is then a mere claim, so this counts without a loop.
func (in *inspection) uniform(r *sampleRun, decode int64, ours bool) (next, dataEnd int64) {
	n, duration, size := int64(r.count), int64(r.duration), int64(r.size)
	// A product of two uint32 fits a uint64, but not an int64.
	ticks, bytes := uint64(n)*uint64(duration), uint64(n)*uint64(size)
	if ticks > maxTime || bytes > maxTime {
		return -1, r.data
	}
	next, dataEnd = decode+int64(ticks), r.data+int64(bytes)
	if !ours {
		return next, dataEnd
	}
	in.judgeSync(r.firstFlags, decode)
	in.count(decode, duration, n, 0)
	if n > 1 {
		in.judgeSync(r.sampleFlags, decode+duration)
	}
	lost := int64(0)
	if size == 0 && !in.text {
		lost = n
	} else if size > 0 {
		holder := in.holder(r.data)
		lost = n - min(n, max(holder.end-r.data, 0)/size)
	}
	in.lose(lost, lost*duration)
	return next, dataEnd
}

// judgeSync looks for the first sync sample, before count has the sample.
func (in *inspection) judgeSync(flags uint32, decode int64) {
	if in.synced || !syncFlags(flags) {
		return
	}
	in.synced, in.syncAt, in.keyframe = true, decode, in.samples == 0
}

// lose notes samples without data. The sum stays within maxTime: a segment
// may claim the same time over and over.
func (in *inspection) lose(n, ticks int64) {
	in.lostSamples += n
	in.lostTicks = min(in.lostTicks+ticks, maxTime)
}

// arrive notes that samples begin at decode.
func (in *inspection) arrive(decode int64) {
	if in.samples == 0 {
		in.start, in.end = decode, decode
		in.first, in.last = math.MaxInt64, math.MinInt64
		return
	}
	in.start = min(in.start, decode)
	tolerance := max(int64(in.track.Timescale)/1000, 1)
	switch gap := decode - in.end; {
	case gap > tolerance:
		in.holes++
		in.holeTicks += gap
	case gap < -tolerance:
		in.backwards = true
	}
}

// count takes in n samples of one duration, end to end.
func (in *inspection) count(decode, duration, n int64, composition int32) {
	in.samples += n
	in.durations.add(uint32(duration), n)
	end := decode + n*duration
	in.end = max(in.end, end)
	shift := int64(composition) - in.track.EditOffset
	in.first = min(in.first, decode+shift)
	in.last = max(in.last, end+shift)
}

// report draws the findings.
func (in *inspection) report() Report {
	frame, constant := in.durations.typical()
	r := Report{
		Start: in.start, End: in.end, Samples: int(in.samples),
		Keyframe: in.keyframe, Fragments: in.fragments, FrameDuration: frame,
	}
	b := bill{timescale: in.track.Timescale, left: max(in.window.SegmentMS, 0)}
	if in.wrongTrack || in.mismatch {
		kind := live.WrongTrack
		if !in.wrongTrack {
			kind = live.InitMismatch
		}
		b.all(kind)
		r.Findings = b.findings
		return r
	}
	in.boundaries(&b, int64(frame))
	if !in.text {
		in.inside(&b, int64(frame), constant)
	}
	if in.lostSamples > 0 && in.text {
		b.add(live.MissingSamples, in.lostTicks, in.lostSamples)
	}
	if in.track.Type == live.Video && in.samples > 0 && !r.Keyframe {
		until := in.end
		if in.synced {
			until = in.syncAt
		}
		b.add(live.NoKeyframe, until-in.start, 0)
	}
	r.Findings = b.findings
	return r
}

// boundaries judges where the segment lies.
func (in *inspection) boundaries(b *bill, frame int64) {
	w := in.window
	tolerance := frame
	if in.text {
		tolerance = int64(in.track.Timescale) * textTolerance / 1000
	}
	start, end := in.start, in.end
	if in.samples > 0 && in.presented(tolerance) {
		start, end = w.Start, w.End
	}
	switch {
	case in.samples == 0 && !in.text:
		b.all(live.Short)
		return
	case start >= w.End && start-w.Start > tolerance:
		b.all(live.Gap)
		return
	case end <= w.Start && start < w.Start && w.End-end > tolerance:
		b.all(live.Overlap)
		return
	}
	if late := start - w.Start; late > tolerance && !in.text {
		b.add(live.Gap, late, 0)
	}
	if early := w.End - end; early > tolerance && !in.text {
		b.add(live.Short, early, 0)
	}
	if w.Start-start > tolerance || end-w.End > tolerance || in.backwards {
		b.add(live.Overlap, 0, 0)
	}
}

// presented reports whether the segment as a whole is where it belongs in
// presentation time, though its decode times are ahead of that.
func (in *inspection) presented(tolerance int64) bool {
	near := func(a, b int64) bool { return a-b <= tolerance && b-a <= tolerance }
	w := in.window
	return near(in.first, w.Start) && near(in.last, w.End) && near(in.end-in.start, w.End-w.Start)
}

// inside judges what lies between the first and the last sample.
func (in *inspection) inside(b *bill, frame int64, constant bool) {
	ticks, n := min(in.holeTicks+in.lostTicks, maxTime), in.lostSamples
	if in.holes > 0 {
		n += max(in.holes, rounded(in.holeTicks, frame))
	}
	if constant {
		for _, d := range in.durations.counted() {
			if over := int64(d.duration) - frame; over*2 > frame {
				ticks = min(ticks+min(over*min(d.n, math.MaxInt32), maxTime), maxTime)
				n += max(1, rounded(over, frame)) * min(d.n, math.MaxInt32)
			}
		}
	}
	if n > 0 {
		b.add(live.MissingSamples, ticks, n)
	}
}

// rounded is a/b to the nearest, 0 for b = 0.
func rounded(a, b int64) int64 {
	if b == 0 {
		return 0
	}
	return (a + b/2) / b
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
