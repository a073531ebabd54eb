package book

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/origin/journal"
)

// An Event is what a node knows of one event, all of it in memory: the
// configuration as operators set it and the tables of what was published.
type Event struct {
	ID    live.EventID
	Life  int64                // as eventRecord.Life
	state atomic.Pointer[View] // replaced whole, never changed
	edge  atomic.Int64         // newest published number, -1 before the first

	counts atomic.Pointer[Counts] // nil before anything is counted

	unreadable atomic.Bool // the record in the store: it is to be written anew

	mu     sync.Mutex        // guards the following; no I/O under it, and no other lock
	tracks map[string]*track // by rendition
	heard  map[string]Heard  // by pipeline
}

// Named names this one of the events that had the name.
func (e *Event) Named() journal.Life { return journal.Life{Event: e.ID, Life: e.Life} }

// View is what the event is now.
func (e *Event) View() *View { return e.state.Load() }

// Last is the newest published number, -1 before the first.
func (e *Event) Last() live.Number { return live.Number(e.edge.Load()) }

// newEvent needs a record that was validated.
func newEvent(id live.EventID, l Ledger) (*Event, error) {
	rec := l.state()
	v, err := NewView(l, rec)
	if err != nil {
		return nil, err
	}
	e := &Event{ID: id, Life: rec.Life, tracks: make(map[string]*track), heard: make(map[string]Heard)}
	maps.Copy(e.heard, rec.Heard)
	e.edge.Store(-1)
	e.state.Store(v)
	return e, nil
}

// change replaces the view by one that f makes of its ledger and record, and
// wakes all who wait for a change.
func (e *Event) change(f func(l *Ledger, rec *Record)) (*View, error) {
	for {
		old := e.View()
		l, rec := old.ledger, old.Record
		f(&l, &rec)
		v, err := NewView(l, rec)
		if err != nil {
			return nil, err
		}
		if e.state.CompareAndSwap(old, v) {
			close(old.Changed)
			return v, nil
		}
	}
}

// setLedger takes what is stored of the event. What was observed meanwhile stays.
func (e *Event) setLedger(l Ledger) (*View, error) {
	v, err := e.change(func(now *Ledger, rec *Record) {
		late := rec.Config.LatenessMS
		*now, *rec = l, l.state()
		rec.Config.LatenessMS = late
	})
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for pipeline, h := range v.Record.Heard {
		if h.Newer(e.heard[pipeline]) {
			e.heard[pipeline] = h
		}
	}
	return v, nil
}

// setLateness publishes an observed figure in event.json. It is no change by
// an operator: the version stays.
func (e *Event) setLateness(rendition string, d time.Duration) error {
	_, err := e.change(func(_ *Ledger, rec *Record) {
		late := maps.Clone(rec.Config.LatenessMS)
		if late == nil {
			late = make(map[string]int64)
		}
		if late[rendition] = d.Milliseconds(); d == 0 {
			delete(late, rendition)
		}
		rec.Config.LatenessMS = late
	})
	return err
}

// wake makes all who wait look the event up again: it is not one any more.
func (e *Event) wake() {
	for {
		old := e.View()
		same := *old
		same.Changed = make(chan struct{})
		if e.state.CompareAndSwap(old, &same) {
			close(old.Changed)
			return
		}
	}
}

// Stamp puts on an answer what every answer of the event carries.
func (e *Event) Stamp(h http.Header, now time.Time) {
	v := e.View()
	h.Set(live.HeaderVersion, v.Version)
	if edge, ok := e.LiveEdge(v, now); ok {
		h.Set(live.HeaderEdge, strconv.FormatInt(int64(edge), 10))
	}
	if v.notifications != "" {
		h.Set(live.HeaderNotifications, v.notifications)
	}
}

// LiveEdge is the newest published number, of those that may be asked for at
// now: a packager whose clock is ahead publishes some that nobody is given yet.
func (e *Event) LiveEdge(v *View, now time.Time) (live.Number, bool) {
	tl := v.Config().Event.Timeline()
	edge := min(live.Number(e.edge.Load()), tl.Edge(now.Add(tl.Hold())))
	return edge, edge >= tl.First()
}

// A track is what was published of one rendition.
type track struct {
	init    *Init                   // what every pipeline must fit; nil before the first
	inits   map[string]PipelineInit // by pipeline
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
// into the store. The same one again, or an older one, changes nothing. It
// reports whether it was news.
func (e *Event) learn(rendition string, c live.Candidate) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.slot(rendition, c.Number)
	g := e.tracks[rendition].gates[c.Pipeline]
	g.mark(&c)
	i := slices.IndexFunc(s.candidates, func(x live.Candidate) bool { return x.Pipeline == c.Pipeline })
	if i < 0 {
		s.candidates = append(slices.Clip(s.candidates), c)
	} else {
		old := s.candidates[i]
		// The same bytes are known once, by the time at which they were durable;
		// the store knows only when storing began. If they were condemned they
		// may have been stored anew.
		if !old.Published.Before(c.Published) || old.Digest == c.Digest && !old.Findings.Has(live.DigestMismatch) {
			return false
		}
		s.candidates = slices.Clone(s.candidates)
		s.candidates[i] = c
	}
	s.wake()
	t := e.tracks[rendition]
	t.newest = max(t.newest, c.Number)
	t.note(c)
	e.edge.Store(max(e.edge.Load(), int64(c.Number)))
	return true
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

// LearnInit enters a pipeline's init segment.
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
	t := e.tracks[rendition]
	if t == nil {
		return nil, own
	}
	return t.init, t.inits[pipeline]
}

// Newest is the newest number published of a rendition.
func (e *Event) Newest(rendition string) (live.Number, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.tracks[rendition]; t != nil && t.newest >= 0 {
		return t.newest, true
	}
	return 0, false
}

// Published reports whether anything of the event was published.
func (e *Event) Published() bool { return e.edge.Load() >= 0 }

// measured is how many segments the observed lateness is taken from.
const measured = 16

// The observed lateness is published in steps, and raised only when it is half
// a step over one: else an encoder on the border of two would change the
// event's configuration with every segment.
const (
	latenessStep  = 100 * time.Millisecond
	latenessRaise = latenessStep * 3 / 2
)

// measure notes how late a rendition's newest segment came, and returns the
// observed lateness where that has changed. The figure is the least of the
// last 16, rounded down: a late spell never moves it, so that a refusal never
// outlives availability, but an encoder that is always late does.
func (e *Event) measure(rendition string, c live.Candidate, expected time.Time) (time.Duration, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.track(rendition)
	if c.Number <= t.counted {
		return 0, false
	}
	t.counted = c.Number
	t.late[t.lates%len(t.late)] = max(c.Published.Sub(expected), 0)
	t.lates++
	if t.lates < len(t.late) {
		return 0, false
	}
	least := slices.Min(t.late[:])
	known := time.Duration(e.View().Config().LatenessMS[rendition]) * time.Millisecond
	if known <= least && least < known+latenessRaise {
		return known, false
	}
	return least.Truncate(latenessStep), true
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
	t := e.tracks[rendition]
	if t == nil {
		return false
	}
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
	var out map[string][]live.Number
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
			if out == nil {
				out = make(map[string][]live.Number)
			}
			out[name] = append(out[name], n)
			t.guarded = true
		}
	}
	return out
}

func (e *Event) GuardEnds(rendition string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.track(rendition).guarded = false
}

func (e *Event) LookedSince(rendition string, n live.Number, since time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tracks[rendition]
	if t == nil || t.slots[n] == nil {
		return false
	}
	return !t.slots[n].looked.Before(since)
}

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

func (e *Event) SetLookedForInits(rendition string, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.track(rendition).looked = at
}

func NoEvent(id live.EventID) error { return live.ErrNoEvent.For(-1).With(NoEventText(id)) }

func NoEventText(id live.EventID) string {
	return fmt.Sprintf("event %v was deleted, or never created", id)
}

// PublishedSlots is a copy of what was published of a rendition.
func (e *Event) PublishedSlots(rendition string) map[live.Number][]live.Candidate {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tracks[rendition]
	if t == nil {
		return nil
	}
	out := make(map[live.Number][]live.Candidate, len(t.slots))
	for n, s := range t.slots {
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
	t := e.tracks[rendition]
	if t == nil {
		return nil
	}
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
