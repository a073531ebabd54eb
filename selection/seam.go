package selection

import (
	"time"

	"headwater/live"
)

// minSeam is the least that counts as missing or doubled between two segments:
// less is rounding.
const minSeam = 5 * time.Millisecond

// Seam says what a viewer who was given prev, and then next, misses or sees twice
// between the two, besides what their own findings say: they are held against
// the template boundaries, and the ends that meet may both lie off them. frame is
// the duration of a frame, 0 where it is not known; up to one is nothing. segment
// bounds what can be missing.
func Seam(prev, next *live.Candidate, frame, segment time.Duration) live.Findings {
	if !prev.Span.Known() || !next.Span.Known() {
		return nil
	}
	gap := between(prev.Span.End, prev.Span.Timescale, next.Span.Start, next.Span.Timescale)
	least := max(frame, minSeam)
	if gap > 0 {
		gap = min(gap, segment) - told(prev.Findings, live.Short) - told(next.Findings, live.Gap)
		if gap > least {
			return live.Findings{{Kind: live.Gap, MissingMS: gap.Milliseconds()}}
		}
		return nil
	}
	if -gap > least && !prev.Findings.Has(live.Overlap) && !next.Findings.Has(live.Overlap) {
		return live.Findings{{Kind: live.Overlap}}
	}
	return nil
}

func told(f live.Findings, k live.Kind) time.Duration {
	var ms int64
	for _, x := range f {
		if x.Kind == k {
			ms += x.MissingMS
		}
	}
	return time.Duration(ms) * time.Millisecond
}

// between is how long after one instant another is. Instants lie at ticks of
// different tracks, and can be anywhere: what is longer than an hour is an hour.
func between(from, fromScale, to, toScale int64) time.Duration {
	seconds := to/toScale - from/fromScale
	part := func(at, scale int64) time.Duration {
		return time.Duration(float64(at%scale) / float64(scale) * float64(time.Second))
	}
	const most = int64(time.Hour / time.Second)
	d := time.Duration(max(min(seconds, most), -most)) * time.Second
	return d + part(to, toScale) - part(from, fromScale)
}

// WithSeam adds a seam to a segment's own findings: what both miss adds up.
func WithSeam(own, seam live.Findings) live.Findings {
	if len(seam) == 0 {
		return own
	}
	out := append(live.Findings(nil), own...)
	for _, x := range seam {
		found := false
		for i := range out {
			if out[i].Kind == x.Kind {
				out[i].MissingMS += x.MissingMS
				found = true
			}
		}
		if !found {
			out = append(out, x)
		}
	}
	return out
}
