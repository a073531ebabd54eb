package origin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/selection"
)

// An event is what a node knows of one event, all of it in memory: the
// configuration as operators set it and the tables of what was published.
type event struct {
	id   live.EventID
	view atomic.Pointer[view] // replaced whole, never changed
	edge atomic.Int64         // newest published number, -1 before the first

	mu     sync.Mutex        // guards the following; no I/O under it
	tracks map[string]*track // by rendition
}

// A view is one state of an event's configuration, with all that is derived
// from it. It is immutable.
type view struct {
	record        eventRecord
	timelines     map[string]live.Timeline // by rendition, with its lateness
	json          []byte                   // event.json
	etag          string
	version       string // Live-Version
	notifications string // Live-Notifications; "" where there never were any
	changed       chan struct{}
}

// config is the live configuration of the view.
func (v *view) config() *live.Config { return &v.record.Config }

func newView(rec eventRecord) (*view, error) {
	v := &view{record: rec, timelines: make(map[string]live.Timeline), changed: make(chan struct{})}
	cfg := &v.record.Config
	for _, r := range cfg.Renditions {
		v.timelines[r.Name] = cfg.Timeline(r.Name)
	}
	var err error
	if v.json, err = json.Marshal(cfg); err != nil {
		return nil, fmt.Errorf("origin: event configuration: %w", err)
	}
	v.json = append(v.json, '\n')
	sum := sha256.Sum256(v.json)
	v.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	v.version = strconv.FormatInt(cfg.Version, 10)
	if rec.Notifications.Sequence > 0 {
		if v.notifications, err = rec.Notifications.Header(); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// newEvent needs a record that was validated.
func newEvent(id live.EventID, rec eventRecord) (*event, error) {
	v, err := newView(rec)
	if err != nil {
		return nil, err
	}
	e := &event{id: id, tracks: make(map[string]*track)}
	e.edge.Store(-1)
	e.view.Store(v)
	return e, nil
}

// setView replaces the view and wakes all who wait for a change.
func (e *event) setView(v *view) {
	old := e.view.Swap(v)
	close(old.changed)
	// A mask or another order of pipelines can decide what is being waited for.
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.tracks {
		for _, s := range t.slots {
			s.wake()
		}
	}
}

// A track is what was published of one rendition.
type track struct {
	init    *initSegment           // what every pipeline must fit; nil before the first
	inits   map[string]live.Digest // by pipeline, what it last PUT
	slots   map[live.Number]*slot  // one per segment that was published or is waited for
	late    [16]time.Duration      // ring: how late the newest segments came
	lates   int                    // how many were ever put in
	counted live.Number            // the newest that late has counted
	newest  live.Number            // the newest published, -1 before the first
}

// An initSegment is the init segment that viewers get.
type initSegment struct {
	data      []byte
	digest    live.Digest
	track     cmaf.Track
	source    live.Source
	published time.Time
}

// A slot is the candidates of one segment.
type slot struct {
	candidates []live.Candidate // replaced whole, never changed: readers keep it without a lock
	changed    chan struct{}    // closed when candidates or masks change
	looked     time.Time        // when the store was last looked into
	waiting    int              // holds that watch changed
}

func newSlot() *slot { return &slot{changed: make(chan struct{})} }

// wake needs the event's mu.
func (s *slot) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// track needs mu. It makes the track where there is none.
func (e *event) track(rendition string) *track {
	t := e.tracks[rendition]
	if t == nil {
		t = &track{inits: make(map[string]live.Digest), slots: make(map[live.Number]*slot), counted: -1, newest: -1}
		e.tracks[rendition] = t
	}
	return t
}

// slot needs mu. It makes the slot where there is none.
func (e *event) slot(rendition string, n live.Number) *slot {
	t := e.track(rendition)
	s := t.slots[n]
	if s == nil {
		s = newSlot()
		t.slots[n] = s
	}
	return s
}

// candidates returns what is known of a segment.
func (e *event) candidates(rendition string, n live.Number) []live.Candidate {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.tracks[rendition]; t != nil {
		if s := t.slots[n]; s != nil {
			return s.candidates
		}
	}
	return nil
}

// candidate returns what is known of one pipeline's version of a segment.
func (e *event) candidate(rendition string, n live.Number, pipeline string) (live.Candidate, bool) {
	cs := e.candidates(rendition, n)
	i := slices.IndexFunc(cs, func(c live.Candidate) bool { return c.Pipeline == pipeline })
	if i < 0 {
		return live.Candidate{}, false
	}
	return cs[i], true
}

// learn enters a candidate: from an announcement, or from a look into the
// store. The same one again, or an older one, changes nothing. It reports
// whether it was news.
func (e *event) learn(rendition string, c live.Candidate) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.slot(rendition, c.Number)
	i := slices.IndexFunc(s.candidates, func(x live.Candidate) bool { return x.Pipeline == c.Pipeline })
	switch {
	case i < 0:
		s.candidates = append(slices.Clip(s.candidates), c)
	case s.candidates[i].Digest != c.Digest && s.candidates[i].Published.Before(c.Published):
		s.candidates = slices.Clone(s.candidates)
		s.candidates[i] = c
	default:
		return false
	}
	s.wake()
	t := e.tracks[rendition]
	t.newest = max(t.newest, c.Number)
	e.edge.Store(max(e.edge.Load(), int64(c.Number)))
	return true
}

// condemn marks a candidate whose stored bytes turned out not to be what was
// published, so that selection goes on without it.
func (e *event) condemn(rendition string, c live.Candidate, costMS int64) {
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

// measure notes how late a rendition's newest segment came, and returns the
// observed lateness where that has changed. The figure is the least of the last
// 16 in steps of 100 ms: a late spell never moves it, so that a refusal never
// outlives availability, but an encoder that is always late does.
func (e *event) measure(rendition string, c live.Candidate, expected time.Time) (time.Duration, bool) {
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
	least := slices.Min(t.late[:]).Truncate(100 * time.Millisecond)
	known := time.Duration(e.view.Load().config().LatenessMS[rendition]) * time.Millisecond
	return least, least != known
}

// setLateness publishes an observed figure in event.json. It is no change by
// an operator: the version stays.
func (e *event) setLateness(rendition string, d time.Duration) error {
	for {
		old := e.view.Load()
		rec := old.record
		rec.Config.LatenessMS = maps.Clone(rec.Config.LatenessMS)
		if rec.Config.LatenessMS == nil {
			rec.Config.LatenessMS = make(map[string]int64)
		}
		if d == 0 {
			delete(rec.Config.LatenessMS, rendition)
		} else {
			rec.Config.LatenessMS[rendition] = d.Milliseconds()
		}
		v, err := newView(rec)
		if err != nil {
			return err
		}
		if e.view.CompareAndSwap(old, v) {
			close(old.changed)
			return nil
		}
	}
}

// choose selects among candidates for a slot of the view's timeline.
func (v *view) choose(rendition string, n live.Number, cs []live.Candidate, now time.Time) selection.Decision {
	tl := v.timelines[rendition]
	return selection.Choose(selection.Input{
		Order:      v.config().Pipelines,
		Candidates: cs,
		Masked:     func(p live.Pipeline) bool { return v.masked(p, rendition, n) },
		Decide:     tl.Decide(n),
		Deadline:   tl.Deadline(n),
	}, now)
}

func (v *view) masked(p live.Pipeline, rendition string, n live.Number) bool {
	return slices.ContainsFunc(v.config().Masks, func(m live.Mask) bool { return m.Holds(p.Name, p.Region, rendition, n) })
}

// prune forgets slots that have left the DVR window and are not waited for.
func (e *event) prune(now time.Time) {
	v := e.view.Load()
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, t := range e.tracks {
		tl, ok := v.timelines[name]
		for n, s := range t.slots {
			if s.waiting == 0 && (!ok || tl.Place(n, now) == live.Gone) {
				delete(t.slots, n)
			}
		}
	}
}

// published reports whether anything of the event was published.
func (e *event) published() bool { return e.edge.Load() >= 0 }
