package viewer

import (
	"cmp"
	"slices"
	"time"

	"headwater/live"
)

// A SegmentDelay is how long one segment took to its viewers.
type SegmentDelay struct {
	Rendition string      `json:"rendition"`
	Number    live.Number `json:"number"`
	Quantiles
}

const (
	// maxOpen bounds the segments that are being counted, 16 KB each: the
	// newest. Viewers at the live edge are never so far apart.
	maxOpen = 64
	// maxSlowest bounds the segments that are reported.
	maxSlowest = 10
)

// slowest finds the segments that took longest from publication to the viewers.
type slowest struct {
	open   []*openSegment         // oldest first
	closed map[string]live.Number // by rendition, the highest that is no longer counted
	worst  []SegmentDelay         // of those, slowest first
}

type openSegment struct {
	rendition string
	number    live.Number
	histogram
}

func (s *slowest) add(rendition string, n live.Number, d time.Duration) {
	if last, ok := s.closed[rendition]; ok && n <= last {
		return
	}
	i := slices.IndexFunc(s.open, func(o *openSegment) bool { return o.number == n && o.rendition == rendition })
	if i < 0 {
		var o *openSegment
		if len(s.open) < maxOpen {
			o = new(openSegment)
		} else {
			o = s.open[0]
			s.open = slices.Delete(s.open, 0, 1)
			if s.closed == nil {
				s.closed = make(map[string]live.Number)
			}
			s.closed[o.rendition] = max(s.closed[o.rendition], o.number)
			s.worst = worstOf(append(s.worst, o.delay()))
		}
		*o = openSegment{rendition: rendition, number: n}
		i = len(s.open)
		s.open = append(s.open, o)
	}
	s.open[i].histogram.add(d)
}

func (o *openSegment) delay() SegmentDelay {
	return SegmentDelay{o.rendition, o.number, o.summary()}
}

// worstOf keeps the slowest of all, in their order.
func worstOf(all []SegmentDelay) []SegmentDelay {
	slices.SortStableFunc(all, func(a, b SegmentDelay) int { return cmp.Compare(b.P99, a.P99) })
	return all[:min(len(all), maxSlowest)]
}

// report is what there is so far. It changes nothing.
func (s *slowest) report() []SegmentDelay {
	all := slices.Clone(s.worst)
	for _, o := range s.open {
		all = append(all, o.delay())
	}
	return worstOf(all)
}
