package packager

import (
	"headwater/cmaf"
	"headwater/live"
)

// A piece is one track of one fragment of the input.
type piece struct {
	part  *cmaf.Part
	track *cmaf.TrackFragment
	stamp *cmaf.ProducerTime // the prft of it, nil for none
}

func newPiece(p *cmaf.Part, t *cmaf.TrackFragment) piece {
	out := piece{part: p, track: t}
	for i := range p.Producer {
		if p.Producer[i].TrackID == t.ID {
			out.stamp = &p.Producer[i]
		}
	}
	return out
}

// rank orders pieces by how well they place a stream in time.
func (p piece) rank() int {
	switch {
	case p.stamp == nil:
		return 0
	case p.track.Track.Type != live.Video:
		return 1
	}
	return 2
}

// A lane mends the times of one track of the input: decode times of 32 bits
// that wrapped, and samples without a duration. Those of muxers that write each
// frame when it comes last until the next one comes, so a lane holds a fragment
// of only such samples back until then.
type lane struct {
	begun   bool
	wrapped bool   // decode times have 32 bits
	next    int64  // decode time that follows on the last sample; of what is held, its first
	end     int64  // where the last sample with a duration ends
	last    uint32 // duration of the last sample that has one
	held    *piece
}

// take takes a fragment and returns what is complete, in order. It mends the
// samples where they are.
func (l *lane) take(p piece) []piece {
	s := p.track.Samples
	if l.begun && !p.track.Whole {
		at := unwrap(s[0].Decode, l.next, p.track.Track.Timescale, l.wrapped)
		if by := at - s[0].Decode; by != 0 {
			l.wrapped = true
			for i := range s {
				s[i].Decode += by
			}
		}
	}
	l.begun = true
	out := l.release(s[0].Decode, p.track.Track.Timescale)
	known := len(s)
	for known > 0 && s[known-1].Duration == 0 {
		known--
	}
	switch {
	case known == len(s) || p.track.Whole:
	case known == 0:
		l.held, l.next = &p, s[0].Decode
		return out
	default:
		// To wait for what follows would be to wait for a whole fragment.
		spread(s[known:], s[known-1].Duration)
	}
	last := s[len(s)-1]
	l.last, l.next = last.Duration, last.Decode+int64(last.Duration)
	l.end = l.next
	return append(out, p)
}

// release completes what is held by the decode time of what follows.
func (l *lane) release(next int64, timescale uint32) []piece {
	h := l.held
	if h == nil {
		return nil
	}
	l.held = nil
	s := h.track.Samples
	if gap := next - l.end; next == s[0].Decode && gap > 0 && gap <= int64(l.last) {
		// ffmpeg's last frames but one: their time is where they end.
		s[0].Decode, l.end = l.end, next
		spread(s, uint32(gap/int64(len(s))))
		return []piece{*h}
	}
	l.last = lasts((next-s[0].Decode)/int64(len(s)), l.last, timescale)
	spread(s, l.last)
	l.end = s[0].Decode + int64(l.last)*int64(len(s))
	return []piece{*h}
}

// flush completes what is held when nothing follows.
func (l *lane) flush() []piece {
	if l.held == nil {
		return nil
	}
	h := *l.held
	l.held = nil
	spread(h.track.Samples, l.last)
	return []piece{h}
}

// lasts is how long a sample without a duration lasts until the next begins: as
// long as it takes, unless that is twice what the sample before lasted, or no
// time at all. Then samples are missing, and a hole shall stay a hole.
func lasts(until int64, before, timescale uint32) uint32 {
	if before > 0 && (until <= 0 || until >= 2*int64(before)-int64(timescale)/1000) {
		return before
	}
	return uint32(min(max(until, 0), 1<<31))
}

// spread gives samples that follow on each other a duration.
func spread(s []cmaf.Sample, duration uint32) {
	for i := range s {
		s[i].Duration = duration
		if i > 0 {
			s[i].Decode = s[i-1].Decode + int64(duration)
		}
	}
}

// mostUnwrapped is how far after the sample before a decode time may be to be
// taken for one that wrapped, in seconds: another timebase can begin anywhere.
const mostUnwrapped = 60

// unwrap is the decode time that one of 32 bits stands for, after samples up to
// next. Once a track is known to have 32 bits that is the nearest.
func unwrap(at, next int64, timescale uint32, known bool) int64 {
	const wrap = 1 << 32
	rounds := (next - at + wrap/2) >> 32
	if at >= wrap || rounds <= 0 {
		return at
	}
	near := at + rounds*wrap
	if !known && abs(near-next) > mostUnwrapped*int64(timescale) {
		return at
	}
	return near
}
