package packager

import (
	"math"
	"slices"
	"sync"

	"headwater/cmaf"
	"headwater/live"
)

// Event messages (emsg) go with the sample that they came before, into the segment that
// it is in, of each video track of the stream, or of each track where it has no video:
// players that change rendition must find them in all. Their ids, schemes and data
// stay; their times are the event's, as those of the media. What is dropped leaves its
// messages to what comes next.

// events are the messages that came with a piece and its part, with the event's times.
func (s *splitter) events(p piece) []cmaf.Event {
	out := p.part.Events
	p.part.Events = nil // of all pieces of a part the first has them
	first := presentation(p.track.Samples[0], p.track.Track)
	for _, x := range p.track.Samples {
		first = min(first, presentation(x, p.track.Track))
	}
	scale := p.track.Track.Timescale
	shift := s.clock.shift(scale)
	for i := range out {
		e := &out[i]
		if e.Version == 0 {
			e.Time += rescale(first+shift, int64(e.Timescale), int64(scale))
		} else {
			e.Time += rescale(shift, int64(e.Timescale), int64(scale))
		}
	}
	return slices.DeleteFunc(out, func(e cmaf.Event) bool { return e.Time < 0 || e.Time > 1<<61 })
}

// tell gives the messages that came with a piece to the cutters whose segments are to
// have them.
func (s *splitter) tell(p piece) {
	told := s.told // of event message tracks: no fragment of media came with them
	s.told = nil
	for i := range told {
		told[i].Time += rescale(s.clock.shift(p.track.Track.Timescale), int64(told[i].Timescale), int64(p.track.Track.Timescale))
	}
	if told = append(told, s.events(p)...); len(told) == 0 {
		return
	}
	video := s.hasVideo()
	for _, c := range s.cutters {
		if c.video() == video {
			c.told = merge(c.told, told)
		}
	}
}

// merge adds messages to those that wait, each once.
func merge(waiting, more []cmaf.Event) []cmaf.Event {
	for _, e := range more {
		if len(waiting) < cmaf.MaxEvents && !slices.ContainsFunc(waiting, func(o cmaf.Event) bool { return o.Same(&e) }) {
			waiting = append(waiting, e)
		}
	}
	return waiting
}

// appendEvents writes the messages of samples before what they are for. One of version 0
// counts from the segment's first picture, and becomes version 1 where it is before that.
func appendEvents(dst []byte, t *cmaf.Track, samples []sample) []byte {
	var events []cmaf.Event
	first := int64(math.MaxInt64)
	for i := range samples {
		events = merge(events, samples[i].events)
		first = min(first, presentation(samples[i].Sample, t))
	}
	for _, e := range events {
		if e.Version == 0 {
			after := e.Time - rescale(first, int64(e.Timescale), int64(t.Timescale))
			if after < 0 || after > math.MaxUint32 {
				e.Version = 1
			} else {
				e.Time = after
			}
		}
		dst = cmaf.AppendEvent(dst, &e)
	}
	return dst
}

// Tell gives a feed event messages that came by themselves, of version 1 and with the
// event's times: each stream of video has them in the segment that is next, or each
// stream, where the event has no video. What it was told before it is not told again.
func (f *Feed) Tell(events []cmaf.Event) { f.telling.tell(events) }

// A telling is what a feed was told, which each of its streams reads by itself.
type telling struct {
	mu   sync.Mutex // guards the following
	all  []cmaf.Event
	from int // how many were there before all
}

func (t *telling) tell(events []cmaf.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range events {
		if !slices.ContainsFunc(t.all, func(o cmaf.Event) bool { return o.Same(&e) }) {
			t.all = append(t.all, e)
		}
	}
	if over := len(t.all) - cmaf.MaxEvents; over > 0 {
		t.all, t.from = slices.Delete(t.all, 0, over), t.from+over
	}
}

// since are those that came after so many, and how many there are now.
func (t *telling) since(n int) ([]cmaf.Event, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.all[min(max(n-t.from, 0), len(t.all)):]), t.from + len(t.all)
}

// hears reports whether a stream's segments have what its feed was told.
func (s *splitter) hears() bool {
	return slices.ContainsFunc(s.event.Renditions, func(r live.Rendition) bool { return r.Type == live.Video }) == s.hasVideo()
}

func (s *splitter) hasVideo() bool {
	for _, c := range s.cutters {
		if c.video() {
			return true
		}
	}
	return false
}
