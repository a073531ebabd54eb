package book

import (
	"maps"
	"slices"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/store"
)

// A track is what was published of one rendition.
type track struct {
	init    *Init                   // what every pipeline must fit; nil before the first
	inits   map[string]PipelineInit // by pipeline
	later   map[string]*Init        // of generations after the first, by digest; nil before any
	refused map[string]*Init        // that were refused last, by pipeline; nil before any
	gates   map[string]Gate         // by pipeline; nil before the first
	looked  time.Time               // when the store was last looked into for init segments
	slots   map[live.Number]*slot   // one per segment that was published or is waited for
	awaited map[live.Number]*slot   // those that are waited for
	guarded bool                    // the guard is looking into the store
	late    [measured]time.Duration // ring: how late the newest segments came
	lates   int                     // how many were ever put in
	counted live.Number             // the newest that late has counted
	newest  live.Number             // the newest published, -1 before the first
	pinned  live.Number             // the newest that was chosen for, -1 before the first
	last    map[string]newest       // by pipeline; nil before the first
}

// An Init is the init segment that viewers get.
type Init struct {
	Data      []byte
	Digest    live.Digest
	Track     cmaf.Track
	Source    live.Source
	Published time.Time

	stored store.Token // of what is stored of it for generations after the first
}

// A PipelineInit is what a pipeline last PUT as its init segment.
type PipelineInit struct {
	Digest    live.Digest
	Published time.Time
}

// A slot is the candidates of one segment, and which was chosen.
type slot struct {
	candidates []live.Candidate // replaced whole, never changed: readers keep it without a lock
	pin        *Pin             // the choice that stands; nil before the first
	changed    chan struct{}    // closed when what is chosen may have changed; nil while nobody waits
	waiting    int              // holds that watch changed
	looked     time.Time        // when the store was last looked into
	// ahead is by pipeline what is delivered though the store may not have it; nil
	// where it has all, as nearly always.
	ahead map[string]bool
}

// wake needs the event's mu.
func (s *slot) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// track needs mu. It makes the track where there is none.
func (e *Event) track(rendition string) *track {
	t := e.tracks[rendition]
	if t == nil {
		t = &track{inits: make(map[string]PipelineInit), slots: make(map[live.Number]*slot), awaited: make(map[live.Number]*slot), counted: -1, newest: -1, pinned: -1}
		e.tracks[rendition] = t
	}
	return t
}

// peek needs mu. It returns the track to read from: an empty one where there is none.
func (e *Event) peek(rendition string) *track {
	if t := e.tracks[rendition]; t != nil {
		return t
	}
	return &track{newest: -1, pinned: -1}
}

// slot needs mu. It makes the slot where there is none.
func (e *Event) slot(rendition string, n live.Number) *slot {
	t := e.track(rendition)
	s := t.slots[n]
	if s == nil {
		s = new(slot)
		t.slots[n] = s
	}
	return s
}

// Candidates returns what was published of a segment.
func (e *Event) Candidates(rendition string, n live.Number) []live.Candidate {
	cs, _ := e.known(rendition, n)
	return cs
}

// Usable returns what was published of a segment, without what is masked or of a
// pipeline that the event does not have.
func (e *Event) Usable(v *View, rendition string, n live.Number) []live.Candidate {
	return v.unmasked(e.Candidates(rendition, n), rendition, n)
}

// Candidate returns what is known of one pipeline's version of a segment.
func (e *Event) Candidate(rendition string, n live.Number, pipeline string) (live.Candidate, bool) {
	cs := e.Candidates(rendition, n)
	i := slices.IndexFunc(cs, func(c live.Candidate) bool { return c.Pipeline == pipeline })
	if i < 0 {
		return live.Candidate{}, false
	}
	return cs[i], true
}

// Watch returns a channel that closes when what is chosen for a segment may have
// changed since. leave must be called once.
func (e *Event) Watch(rendition string, n live.Number) (changed <-chan struct{}, leave func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.slot(rendition, n)
	s.waiting++
	e.tracks[rendition].awaited[n] = s
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if s.waiting--; s.waiting > 0 {
			return
		}
		s.changed = nil
		delete(e.tracks[rendition].awaited, n)
		if s.idle() {
			delete(e.tracks[rendition].slots, n)
		}
	}
}

// idle reports whether the slot says nothing.
func (s *slot) idle() bool { return s.waiting == 0 && len(s.candidates) == 0 && s.looked.IsZero() }

// learn enters a candidate: from a publication, an announcement, or a look
// into the store; or ahead of the store, once until it is learnt that it is there.
// The same one again, or an older one, changes nothing. It reports whether it was news.
func (e *Event) learn(rendition string, c live.Candidate, ahead bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.slot(rendition, c.Number)
	if ahead && s.ahead[c.Pipeline] {
		return false
	}
	g := e.tracks[rendition].gates[c.Pipeline]
	g.mark(&c)
	if !ahead {
		delete(s.ahead, c.Pipeline)
	}
	i := slices.IndexFunc(s.candidates, func(x live.Candidate) bool { return x.Pipeline == c.Pipeline })
	if i < 0 {
		s.candidates = append(slices.Clip(s.candidates), c)
		e.bytes.Add(c.Size)
	} else {
		old := s.candidates[i]
		if old.Digest == c.Digest {
			e.judge(rendition, s, i, c.Quality)
			c.Quality = s.candidates[i].Quality
		}
		// The same bytes are known once, by the time at which they were durable;
		// the store knows only when storing began. If they were condemned they
		// may have been stored anew.
		if !old.Published.Before(c.Published) || old.Digest == c.Digest && !old.Findings.Has(live.DigestMismatch) {
			return false
		}
		s.candidates = slices.Clone(s.candidates)
		s.candidates[i] = c
		e.bytes.Add(c.Size - old.Size)
	}
	if ahead {
		if s.ahead == nil {
			s.ahead = make(map[string]bool)
		}
		s.ahead[c.Pipeline] = true
	}
	s.wake()
	t := e.tracks[rendition]
	t.newest = max(t.newest, c.Number)
	t.note(c)
	e.edge.Store(max(e.edge.Load(), int64(c.Number)))
	return true
}

// Judge adds to what is known of the quality of a candidate; the zero digest is that of
// any bytes. It returns the candidate as it was and as it is now; ok is false where
// there is none.
func (e *Event) Judge(rendition string, n live.Number, pipeline string, of live.Digest, q live.Quality) (before, after live.Candidate, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.peek(rendition).slots[n]
	if s == nil {
		return before, after, false
	}
	i := slices.IndexFunc(s.candidates, func(x live.Candidate) bool { return x.Pipeline == pipeline && (of.IsZero() || x.Digest == of) })
	if i < 0 {
		return before, after, false
	}
	before = s.candidates[i]
	e.judge(rendition, s, i, q)
	return before, s.candidates[i], true
}

// judge needs mu. What is said of a segment counts for those after it too.
func (e *Event) judge(rendition string, s *slot, i int, q live.Quality) {
	old := s.candidates[i]
	if q = old.Quality.Merge(q); q == old.Quality {
		return
	}
	s.candidates = slices.Clone(s.candidates)
	s.candidates[i].Quality = q
	for n, later := range e.tracks[rendition].awaited {
		if n >= old.Number && len(later.candidates) > 0 {
			later.wake()
		}
	}
}

// Condemn marks a candidate whose stored bytes turned out not to be what was
// published, so that selection goes on without it.
func (e *Event) Condemn(rendition string, c live.Candidate, costMS int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.slot(rendition, c.Number)
	s.candidates = slices.Clone(s.candidates)
	for i := range s.candidates {
		if x := &s.candidates[i]; x.Pipeline == c.Pipeline && x.Digest == c.Digest {
			x.Findings = x.Findings.Merge(live.Findings{{Kind: live.DigestMismatch, MissingMS: costMS}})
		}
	}
	s.wake()
}

// LearnInit enters a pipeline's init segment of the first generation.
func (e *Event) LearnInit(rendition string, in *Init) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.track(rendition)
	if own := t.inits[in.Source.Pipeline]; own.Published.Before(in.Published) {
		t.inits[in.Source.Pipeline] = PipelineInit{in.Digest, in.Published}
	}
	if t.init == nil || in.Published.Before(t.init.Published) {
		t.init = in
	}
}

// InitOf returns the rendition's init segment, nil where there is none yet,
// and what the pipeline last PUT.
func (e *Event) InitOf(rendition, pipeline string) (in *Init, own PipelineInit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.peek(rendition)
	return t.init, t.inits[pipeline]
}

// Newest is the newest number published of a rendition.
func (e *Event) Newest(rendition string) (live.Number, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.peek(rendition).newest
	return n, n >= 0
}

// prune forgets slots that have left the DVR window, and those of which all
// that is known is that there was nothing, and are not waited for.
func (e *Event) prune(now time.Time) {
	v := e.View()
	for _, name := range e.Renditions() {
		oldest := live.Number(live.MaxNumber + 1) // of a rendition that is no more
		if tl, ok := v.Timelines[name]; ok {
			oldest = tl.Oldest(now)
		}
		e.mu.Lock() // anew for each: a track may have many thousands
		for n, s := range e.tracks[name].slots {
			if s.waiting == 0 && (n < oldest || len(s.candidates) == 0) {
				delete(e.tracks[name].slots, n)
				for _, c := range s.candidates {
					e.bytes.Add(-c.Size)
				}
			}
		}
		e.mu.Unlock()
	}
}

// HasInit reports whether an init segment of the rendition is known that was
// published, or arrived and was refused, at that time or later.
func (e *Event) HasInit(rendition string, at time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.peek(rendition)
	for _, in := range t.inits {
		if !in.Published.Before(at) {
			return true
		}
	}
	for _, g := range t.gates {
		if g.Token.Time >= at.UnixNano() {
			return true
		}
	}
	return false
}

// ToGuard returns by rendition the segments that are waited for and may have
// been published by another node, of which no scan is under way. Where no other
// node announces anything, none is published before it is expected without
// being known; from others it may come once its last frame was filmed.
func (e *Event) ToGuard(now time.Time, alone bool) map[string][]live.Number {
	v := e.View()
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make(map[string][]live.Number)
	for name, t := range e.tracks {
		tl, ok := v.Timelines[name]
		if !ok || t.guarded {
			continue
		}
		for n := range t.awaited {
			from := tl.End(n)
			if alone {
				from = tl.Expected(n)
			}
			if now.Before(from) {
				continue
			}
			out[name] = append(out[name], n)
			t.guarded = true
		}
	}
	return out
}

// GuardEnds notes that the scan is over.
func (e *Event) GuardEnds(rendition string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.track(rendition).guarded = false
}

// LookedSince reports whether the store was looked into for a segment since then.
func (e *Event) LookedSince(rendition string, n live.Number, since time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.peek(rendition).slots[n]
	return s != nil && !s.looked.Before(since)
}

// Looked notes that it was.
func (e *Event) Looked(rendition string, n live.Number, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.slot(rendition, n).looked = at
}

// LookedForInits is when the store was last looked into for init segments.
func (e *Event) LookedForInits(rendition string) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.track(rendition).looked
}

// SetLookedForInits notes that it was.
func (e *Event) SetLookedForInits(rendition string, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.track(rendition).looked = at
}

// PublishedSlots is a copy of what was published of a rendition.
func (e *Event) PublishedSlots(rendition string) map[live.Number][]live.Candidate {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make(map[live.Number][]live.Candidate)
	for n, s := range e.peek(rendition).slots {
		if len(s.candidates) > 0 {
			out[n] = s.candidates
		}
	}
	return out
}

// Renditions are the names of those of which anything is known.
func (e *Event) Renditions() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Keys(e.tracks))
}

// A SlotState is what is known of a segment at one time.
type SlotState struct {
	Number     live.Number
	Candidates []live.Candidate
	Pin        *Pin
}

// Recent are the slots of a rendition from a number on, and from as many behind the
// newest published, ascending.
func (e *Event) Recent(rendition string, from live.Number, behind int) (out []SlotState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.peek(rendition)
	for n := max(from, t.newest-live.Number(behind), 0); n <= t.newest; n++ {
		if s := t.slots[n]; s != nil {
			out = append(out, SlotState{n, s.candidates, s.pin})
		}
	}
	return out
}

// size is how many slots it has.
func (e *Event) size() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.tracks {
		n += len(t.slots)
	}
	return n
}
