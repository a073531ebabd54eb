package book

import (
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"headwater/live"
	"headwater/origin/journal"
)

// An Event is what a node knows of one event, all of it in memory: the
// configuration as operators set it and the tables of what was published.
type Event struct {
	ID    live.EventID
	Life  int64                // as Record.Life
	state atomic.Pointer[View] // replaced whole, never changed
	edge  atomic.Int64         // newest published number, -1 before the first
	bytes atomic.Int64         // of all candidates
	// what was stored before the start, until all of it is known; nil: it is, or nobody knows
	earlier atomic.Pointer[storedUsage]
	written atomic.Int64 // bytes when they were last written down

	counts atomic.Pointer[Counts] // nil before anything is counted

	unreadable atomic.Bool // the record in the store: it is to be written anew

	knownFrom atomic.Int64 // from here on all that decides about a segment is known: see older

	mu     sync.Mutex        // guards the following; no I/O under it, and no other lock
	tracks map[string]*track // by rendition
	heard  map[string]Heard  // by pipeline
	older  older
}

// Named names this one of the events that had the name.
func (e *Event) Named() journal.Life { return journal.Life{Event: e.ID, Life: e.Life} }

// View is what the event is now.
func (e *Event) View() *View { return e.state.Load() }

// Last is the newest published number, -1 before the first.
func (e *Event) Last() live.Number { return live.Number(e.edge.Load()) }

// newEvent needs a record that was validated.
func newEvent(id live.EventID, l ledger) (*Event, error) {
	rec := l.state()
	v, err := newView(l, rec)
	if err != nil {
		return nil, err
	}
	e := &Event{ID: id, Life: rec.Life, tracks: make(map[string]*track), heard: make(map[string]Heard), older: older{whole: make(chan struct{})}}
	close(e.older.whole) // nothing of it is stored; else see fill
	maps.Copy(e.heard, rec.Heard)
	e.edge.Store(-1)
	e.state.Store(v)
	return e, nil
}

// change replaces the view by one that f makes of its ledger and record, and
// wakes all who wait for a change.
func (e *Event) change(f func(l *ledger, rec *Record)) (*View, error) {
	for {
		old := e.View()
		l, rec := old.ledger, old.Record
		f(&l, &rec)
		v, err := newView(l, rec)
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
func (e *Event) setLedger(l ledger) (*View, error) {
	v, err := e.change(func(now *ledger, rec *Record) {
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
	_, err := e.change(func(_ *ledger, rec *Record) {
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
	v.Stamp(h)
	if edge, ok := e.LiveEdge(v, now); ok {
		h[live.HeaderEdge] = []string{strconv.FormatInt(int64(edge), 10)}
	}
}

// AppendStamp appends the same fields to a head.
func (e *Event) AppendStamp(b []byte, now time.Time) []byte {
	v := e.View()
	b = append(b, v.stampText...)
	if edge, ok := e.LiveEdge(v, now); ok {
		b = strconv.AppendInt(append(b, live.HeaderEdge+": "...), int64(edge), 10)
		b = append(b, "\r\n"...)
	}
	return b
}

// LiveEdge is the newest published number, of those that may be asked for at
// now: a packager whose clock is ahead publishes some that nobody is given yet.
func (e *Event) LiveEdge(v *View, now time.Time) (live.Number, bool) {
	tl := v.Config().Event.Timeline()
	edge := min(live.Number(e.edge.Load()), tl.Edge(now.Add(tl.Hold())))
	return edge, edge >= tl.First()
}

// Published reports whether anything of the event was published.
func (e *Event) Published() bool { return e.edge.Load() >= 0 }

// NoEvent is the refusal of what names an event that there is not.
func NoEvent(id live.EventID) error { return live.ErrNoEvent.For(-1).With(NoEventText(id)) }

// NoEventText says so.
func NoEventText(id live.EventID) string { return string(AppendNoEvent(nil, id)) }

// AppendNoEvent appends NoEventText.
func AppendNoEvent(b []byte, id live.EventID) []byte {
	return append(id.Append(append(b, "event "...)), " was deleted, or never created"...)
}
