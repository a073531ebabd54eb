package book

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"headwater/live"
	"headwater/selection"
)

// Which choice stands, where two are made at once. At one node the second is made
// again, since Settle takes the place only of the pin that was known:
//
//	request 1         request 2
//	chooses a         chooses b
//	settles a
//	                  cannot settle b: it did not know of a
//
// Of two nodes no rule can keep both from serving; they come to agree, and the one
// whose choice fell counts it:
//
//	node 1                        node 2
//	has a only, serves it         has b only, waits for a in vain
//	                              serves b
//	hears of b and its choice     hears of a and its choice: it was earlier
//	a stays                       a from now on, and counts

// A Pin is the choice that stands for a slot.
type Pin struct {
	selection.Pin
	Reason selection.Reason // why; "" where another node chose
	Served atomic.Int64     // when this node first served it, Unix ns; 0: not yet
	Head   atomic.Pointer[Head]
}

// A Head is what all answers with a candidate have in common, once one was made. It
// is shared and never changed.
type Head struct {
	Published time.Time // of the candidate: it may have been stored anew
	Header    http.Header
}

// A Choice is what selection makes of a slot, and the pin that it knew.
type Choice struct {
	selection.Decision
	Pin *Pin
}

// Choose selects for a slot, from all that is known of it and of those before
// it. Candidates in absent do not count: they could not be had.
func (e *Event) Choose(v *View, rendition string, n live.Number, absent map[live.Digest]bool, now time.Time) Choice {
	cs, p := e.known(rendition, n)
	in := v.Input(rendition, n, present(cs, absent))
	if p != nil && !p.Revoked(v.Config(), rendition, n) {
		in.Pin = &p.Pin
		if d := selection.Choose(in, now); d.Reason == selection.Pinned {
			return Choice{d, p} // what came before does not matter
		}
	}
	if len(in.Candidates) > 0 {
		in.Before = e.before(v, rendition, n)
	}
	return Choice{selection.Choose(in, now), p}
}

// known is what is known of a segment: its candidates and the choice that stands.
func (e *Event) known(rendition string, n live.Number) ([]live.Candidate, *Pin) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.peek(rendition).slots[n]; s != nil {
		return s.candidates, s.pin
	}
	return nil, nil
}

// KeyOf is by which key what serves of a segment is encrypted, or will be; ok is false
// where nothing of it is known.
func (e *Event) KeyOf(v *View, rendition string, n live.Number) (k live.SegmentKey, ok bool) {
	cs, pin := e.known(rendition, n)
	for _, c := range v.unmasked(cs, rendition, n) {
		if served := pin != nil && pin.Pipeline == c.Pipeline && pin.Digest == c.Digest; served || !ok {
			if k, ok = c.Key, true; served {
				break
			}
		}
	}
	return k, ok
}

// before is what is known of the segments before one.
func (e *Event) before(v *View, rendition string, n live.Number) []selection.Past {
	tl := v.Timelines[rendition]
	out := make([]selection.Past, 0, selection.Lookback+1)
	decided := false
	e.mu.Lock()
	t := e.track(rendition)
	for m := n - 1; m >= tl.First() && len(out) < selection.Lookback; m-- {
		var past selection.Past
		if s := t.slots[m]; s != nil {
			past.Candidates = s.candidates
			if s.pin != nil {
				past.Served, decided = s.pin.Pipeline, true
			}
		}
		out = append(out, past)
	}
	if !decided && t.pinned < n {
		// The nearest one lies further back: it is the newest of all.
		if s := t.slots[t.pinned]; s != nil && s.pin != nil {
			out = append(out, selection.Past{Served: s.pin.Pipeline})
		}
	}
	e.mu.Unlock()
	for i := range out {
		m := n - 1 - live.Number(i)
		out[i].End = tl.End(m)
		out[i].Candidates = v.unmasked(out[i].Candidates, rendition, m)
	}
	return out
}

// present is what is left of a segment's candidates without those that could
// not be had. It changes nothing.
func present(cs []live.Candidate, absent map[live.Digest]bool) []live.Candidate {
	if len(absent) == 0 {
		return cs
	}
	return slices.DeleteFunc(slices.Clone(cs), func(c live.Candidate) bool { return absent[c.Digest] })
}

// Settle puts p in the place of the pin that its choice knew of.
func (e *Event) Settle(rendition string, n live.Number, p, known *Pin) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.slot(rendition, n)
	if s.pin != known {
		return false
	}
	e.tracks[rendition].setPin(n, s, p)
	return true
}

// Adopt takes another's choice for a segment, or one of a run before, where it
// is over the one known here. overruled: this node served otherwise.
func (e *Event) Adopt(rendition string, n live.Number, p *Pin) (overruled bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.slot(rendition, n)
	old := s.pin
	if old != nil && !p.Over(&old.Pin) {
		return false
	}
	e.tracks[rendition].setPin(n, s, p)
	return old != nil && old.Turn == p.Turn && old.Digest != p.Digest && old.Served.Load() > 0
}

// setPin needs the event's mu. Whoever waits for the slot is served, and whoever
// waits for a later one may wait for another pipeline now.
func (t *track) setPin(n live.Number, s *slot, p *Pin) {
	s.pin = p
	s.wake()
	t.pinned = max(t.pinned, n)
	for m, later := range t.awaited {
		if m > n && len(later.candidates) > 0 {
			later.wake()
		}
	}
}

// Seam is what lies between the segment before, as it was served, and c.
func (e *Event) Seam(v *View, rendition string, c *live.Candidate) live.Findings {
	cs, p := e.known(rendition, c.Number-1)
	if p == nil {
		return nil
	}
	for i := range cs {
		if cs[i].Pipeline == p.Pipeline && cs[i].Digest == p.Digest {
			r, _ := v.Config().RenditionAt(rendition, c.Number)
			tl := v.Timelines[rendition]
			return selection.Seam(&cs[i], c, frameOf(r), tl.Segment())
		}
	}
	return nil
}

// frameOf is how long a frame of a rendition lasts, as far as is known.
func frameOf(r live.Rendition) time.Duration {
	switch r.Type {
	case live.Video:
		num, den, _ := strings.Cut(r.FrameRate, "/")
		n, _ := strconv.ParseInt(num, 10, 64)
		d, _ := strconv.ParseInt(den, 10, 64)
		if n == 0 {
			n, d = 24, 1
		}
		return time.Duration(max(d, 1)) * time.Second / time.Duration(n)
	case live.Audio:
		samples := 1024 // AAC
		switch codec, _, _ := strings.Cut(r.Codecs, "."); {
		case codec == "ac-3" || codec == "ec-3":
			samples = 1536
		case strings.EqualFold(codec, "opus"):
			samples = 960
		case r.Codecs == "mp4a.40.5" || r.Codecs == "mp4a.40.29":
			samples = 2048
		}
		rate := r.SampleRate
		if rate == 0 {
			rate = 32_000
		}
		return time.Duration(samples) * time.Second / time.Duration(rate)
	}
	return 0
}
