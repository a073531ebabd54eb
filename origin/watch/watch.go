// Package watch tells an operator what goes wrong with events.
//
// Locks: Watchman.mu, then an event's.
package watch

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"headwater/live"
	"headwater/selection"
)

// The watch tells an operator in the log, with one line each, what goes wrong
// with an event, whether any viewer asks or not: a pipeline that falls silent and
// returns, a rendition without a candidate at its deadline, refusals at the live
// edge, a switch of pipelines that nobody wished. It is pure: what is seen and a
// time in, lines out. (watchman.go looks, and writes the log.)
type watch struct {
	events  map[live.EventID]*watched
	repeats map[repeatKey]*repeat
}

// A line is one line of the log.
type line struct {
	level slog.Level
	text  string
	attrs []any // names and values
}

// What is seen of an event at one time.
type seenEvent struct {
	id        live.EventID
	life      int64
	pipelines []string // in order
	tracks    []seenTrack
}

type seenTrack struct {
	rendition string
	timeline  live.Timeline
	slots     []seenSlot // ascending, those that anything is known of
}

type seenSlot struct {
	number live.Number
	by     []string // pipelines that have published
	served string   // the pipeline that was chosen here; "" for none
	reason selection.Reason
	chosen time.Time
}

// slot is what is known of a segment.
func (t *seenTrack) slot(n live.Number) (seenSlot, bool) {
	i, ok := slices.BinarySearchFunc(t.slots, n, func(x seenSlot, n live.Number) int { return cmp.Compare(x.number, n) })
	if !ok {
		return seenSlot{}, false
	}
	return t.slots[i], true
}

const (
	// A pipeline is silent when so many segments of all its renditions are
	// expected and not there, one rendition of it when so many are.
	silentSegments = 2
	silentTrack    = 3
	// How many segments back one look sees, from the newest, and judges, from the
	// deadline that passed last: those are seen for sure.
	seenBehind   = 64
	judgedBehind = 24
	// What repeats is summed up this often, and is over when it has not come again
	// for as long.
	sumUp      = 5 * time.Second
	maxRepeats = 512 // kinds of repeated lines at once
)

// watched is what is known of an event.
type watched struct {
	life      int64
	began     time.Time // what was chosen before is no news
	tracks    map[string]*watchedTrack
	pipelines map[string]*watchedPipeline

	lost, switches int64 // counters
}

type watchedTrack struct {
	judged live.Number            // deadlines up to here are over
	newest map[string]live.Number // by pipeline
	silent map[string]bool        // pipelines that are silent here alone
	served string
	at     live.Number // which served served
}

type watchedPipeline struct {
	heard  time.Time   // when the last segment was seen, or looking or the event began
	last   live.Number // which that was; -1 for none
	silent bool
	missed int // segments of the first rendition that it did not have by their deadline since
}

func newWatch() *watch {
	return &watch{events: make(map[live.EventID]*watched), repeats: make(map[repeatKey]*repeat)}
}

// from is the first number of a rendition that has to be seen.
func (w *watch) from(id live.EventID, rendition string) live.Number {
	if e := w.events[id]; e != nil && e.tracks[rendition] != nil {
		return e.tracks[rendition].judged + 1
	}
	return 0
}

// look takes what is seen of all events, and returns what to log.
func (w *watch) look(seen []seenEvent, now time.Time) (out []line) {
	known := make(map[live.EventID]bool)
	for _, s := range seen {
		known[s.id] = true
		e := w.events[s.id]
		if e == nil || e.life != s.life {
			e = &watched{life: s.life, began: now, tracks: make(map[string]*watchedTrack), pipelines: make(map[string]*watchedPipeline)}
			w.events[s.id] = e
		}
		out = append(out, w.lookAt(e, &s, now)...)
	}
	for id := range w.events {
		if !known[id] {
			delete(w.events, id)
		}
	}
	return append(out, w.sumUp(now)...)
}

// lookAt is look for one event.
func (w *watch) lookAt(e *watched, s *seenEvent, now time.Time) (out []line) {
	for _, p := range s.pipelines {
		if e.pipelines[p] == nil {
			heard := now
			for _, t := range s.tracks { // before the event nobody is silent
				if start := t.timeline.Start(t.timeline.First()); start.After(heard) {
					heard = start
				}
			}
			e.pipelines[p] = &watchedPipeline{heard: heard, last: -1}
		}
	}
	e.forget(s)
	heard := make(map[string]bool)
	for i := range s.tracks {
		t := &s.tracks[i]
		tl := &t.timeline
		edge, over := tl.Edge(now), tl.Edge(now.Add(-tl.Budget()-1))
		k := e.tracks[t.rendition]
		if k == nil {
			k = &watchedTrack{judged: over, newest: make(map[string]live.Number), silent: make(map[string]bool)}
			for _, p := range s.pipelines {
				k.newest[p] = edge // what was before is not judged
			}
			e.tracks[t.rendition] = k
		}
		for _, p := range s.pipelines {
			if _, ok := k.newest[p]; !ok {
				k.newest[p] = edge
			}
		}
		for _, x := range t.slots {
			for _, p := range x.by {
				if known := e.pipelines[p]; known != nil {
					known.last = max(known.last, x.number)
				}
				if n, ok := k.newest[p]; ok && x.number > n {
					k.newest[p], heard[p] = x.number, true
				}
			}
			if x.served == "" || x.number <= k.at {
				continue
			}
			if k.served != "" && k.served != x.served && !x.chosen.Before(e.began) && x.reason != selection.Preferred && x.reason != "" {
				e.switches++
				w.note(repeatKey{s.id, "viewers are on another pipeline", k.served + " to " + x.served + ", " + string(x.reason)}, slog.LevelWarn, t.rendition, x.number, 1, now)
			}
			k.served, k.at = x.served, x.number
		}
		// A clock that steps, or an event that is moved, is no loss of what lies between.
		for n := max(k.judged+1, tl.First(), over-judgedBehind+1); n <= over; n++ {
			x, _ := t.slot(n)
			for _, p := range s.pipelines {
				if i == 0 && !slices.Contains(x.by, p) {
					e.pipelines[p].missed++
				}
			}
			if len(x.by) == 0 {
				e.lost++
				w.note(repeatKey{s.id, "nothing was published by the deadline", ""}, slog.LevelError, t.rendition, n, 1, now)
			}
		}
		k.judged = max(k.judged, over)
		for p := range heard {
			// Of what it comes back before, not all deadlines are over.
			for n := k.judged + 1; i == 0 && n < k.newest[p]; n++ {
				if x, ok := t.slot(n); !ok || !slices.Contains(x.by, p) {
					e.pipelines[p].missed++
				}
			}
		}
	}
	for _, p := range s.pipelines {
		out = append(out, e.pipeline(s, p, heard[p], now)...)
	}
	return out
}

// forget drops what the event does not have any more.
func (e *watched) forget(s *seenEvent) {
	maps.DeleteFunc(e.pipelines, func(p string, _ *watchedPipeline) bool { return !slices.Contains(s.pipelines, p) })
	maps.DeleteFunc(e.tracks, func(r string, _ *watchedTrack) bool {
		return !slices.ContainsFunc(s.tracks, func(t seenTrack) bool { return t.rendition == r })
	})
}

// pipeline says whether one fell silent or returned, as a whole or in part.
func (e *watched) pipeline(s *seenEvent, name string, heard bool, now time.Time) (out []line) {
	p := e.pipelines[name]
	say := func(level slog.Level, text string, attrs ...any) {
		out = append(out, line{level, text, append([]any{"event", s.id.String(), "pipeline", name}, attrs...)})
	}
	if heard && p.silent {
		say(slog.LevelInfo, "a pipeline is back", "silent", now.Sub(p.heard).Round(100*time.Millisecond), "missed", p.missed)
		p.silent = false
		for i := range s.tracks { // the others have some time to follow
			t := &s.tracks[i]
			k := e.tracks[t.rendition]
			k.newest[name] = max(k.newest[name], t.timeline.Edge(now))
		}
	}
	if heard {
		p.heard, p.missed = now, 0
	}
	all := len(s.tracks) > 0
	var fell, back []string
	for i := range s.tracks {
		t := &s.tracks[i]
		k, edge := e.tracks[t.rendition], t.timeline.Edge(now)
		lacks := edge - k.newest[name]
		// What always comes late lacks as many now and then, and is heard all the time.
		all = all && lacks >= silentSegments && now.Sub(p.heard) >= silentSegments*t.timeline.Segment()
		switch {
		case lacks >= silentTrack && !k.silent[name]:
			fell = append(fell, t.rendition)
		case lacks < silentSegments && k.silent[name]:
			back = append(back, t.rendition)
		}
	}
	switch {
	case all && !p.silent:
		p.silent = true
		for _, k := range e.tracks {
			delete(k.silent, name)
		}
		var last any = "none"
		if p.last >= 0 {
			last = int64(p.last)
		}
		say(slog.LevelWarn, "a pipeline is silent", "last", last, "for", now.Sub(p.heard).Round(100*time.Millisecond))
	case p.silent:
	case len(fell) > 0:
		for _, r := range fell {
			e.tracks[r].silent[name] = true
		}
		say(slog.LevelWarn, "a pipeline is silent in some renditions", "renditions", some(fell))
	}
	if len(back) > 0 {
		for _, r := range back {
			delete(e.tracks[r].silent, name)
		}
		say(slog.LevelInfo, "a pipeline is back in some renditions", "renditions", some(back))
	}
	return out
}

// A repeatKey is what makes one line of several things that happen.
type repeatKey struct {
	event live.EventID // none for what is of no event
	text  string
	how   string // more that tells them apart
}

// A repeat is something that happened, and may again.
type repeat struct {
	level       slog.Level
	said        time.Time // when the last line was; zero: not yet
	first, last time.Time // of what was not said yet; last also of what was
	count       int
	from, to    live.Number
	renditions  []string
}

// note takes something that happened to a rendition's segment; without one, to "".
func (w *watch) note(key repeatKey, level slog.Level, rendition string, n live.Number, count int, now time.Time) {
	r := w.repeats[key]
	if r == nil {
		if len(w.repeats) >= maxRepeats {
			key = repeatKey{text: key.text, how: "many"}
			if r = w.repeats[key]; r == nil && len(w.repeats) >= 2*maxRepeats {
				return
			}
		}
		if r == nil {
			r = &repeat{level: level}
			w.repeats[key] = r
		}
	}
	if r.count == 0 {
		r.first, r.from, r.to, r.renditions = now, n, n, nil
	}
	r.count, r.last = r.count+count, now
	r.from, r.to = min(r.from, n), max(r.to, n)
	if rendition != "" && !slices.Contains(r.renditions, rendition) {
		r.renditions = append(r.renditions, rendition)
	}
}

// sumUp says what is new at once, and what repeats now and then.
func (w *watch) sumUp(now time.Time) (out []line) {
	for key, r := range w.repeats {
		switch {
		case r.count > 0 && (r.said.IsZero() || now.Sub(r.said) >= sumUp):
			out = append(out, r.line(key))
			r.said, r.count = now, 0
		case r.count == 0 && now.Sub(r.last) >= sumUp:
			delete(w.repeats, key)
		}
	}
	slices.SortFunc(out, func(a, b line) int { return strings.Compare(a.text+fmt.Sprint(a.attrs), b.text+fmt.Sprint(b.attrs)) })
	return out
}

func (r *repeat) line(key repeatKey) line {
	l := line{level: r.level, text: key.text}
	if key.event != (live.EventID{}) {
		l.attrs = append(l.attrs, "event", key.event.String())
	}
	if key.how != "" {
		l.attrs = append(l.attrs, "how", key.how)
	}
	if len(r.renditions) > 0 {
		l.attrs = append(l.attrs, "renditions", some(r.renditions), "from", int64(r.from), "to", int64(r.to))
	}
	l.attrs = append(l.attrs, "count", r.count)
	if !r.said.IsZero() {
		l.attrs = append(l.attrs, "in", r.last.Sub(r.said).Round(100*time.Millisecond))
	}
	return l
}

// some is a list of names, of many the first.
func some(names []string) string {
	const most = 8
	if over := len(names) - most; over > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ","), over)
	}
	return strings.Join(names, ",")
}
