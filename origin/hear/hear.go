// Package hear takes what other nodes announce.
//
// Locks: inbox.mu alone.
package hear

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"headwater/origin/book"
	"headwater/origin/look"
	"headwater/origin/metric"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/admit"
	"headwater/announce"
	"headwater/clock"
	"headwater/live"
	"headwater/selection"
)

// A Listener takes what other nodes announce.
type Listener struct {
	book      *book.Book
	look      *look.Looker
	log       *slog.Logger
	timeout   time.Duration // of one store operation
	inbox     *inbox
	overruled prometheus.Counter
}

// New returns a listener that hears nothing before Run.
func New(book *book.Book, look *look.Looker, timeout time.Duration, log *slog.Logger, metrics *prometheus.Registry) *Listener {
	return &Listener{book: book, look: look, log: log, timeout: timeout, inbox: newInbox(),
		overruled: metric.Counter(metrics, "choices_overruled_total", "Segments that this node had served otherwise than another node which chose at the same time, and whose choice stands.")}
}

// Run hears until ctx ends.
func (l *Listener) Run(ctx context.Context) {
	var runners sync.WaitGroup
	defer runners.Wait()
	for range errandRunners {
		runners.Go(func() { l.runErrands(ctx) })
	}
	defer l.book.Bus.Subscribe(l.hear)()
	<-ctx.Done()
}

// errandRunners is how many errands are run at once: one event whose record
// cannot be read must not keep the others waiting.
const errandRunners = 4

// hear takes an announcement of another node: a segment into the tables at
// once, all else into the inbox, since it has to be read from the store.
func (l *Listener) hear(m announce.Message) {
	if m.Node == l.book.Node {
		return
	}
	switch m.Kind {
	case announce.Published, announce.Pinned:
		e := l.book.Get(m.Event)
		if e != nil && e.Life == m.Life && m.Kind == announce.Pinned {
			l.hearPin(e, m)
		} else if e != nil && e.Life == m.Life {
			l.book.Clock.Message(clock.Origin, m.Node, m.Candidate.Published, time.Now())
			l.book.Learn(e, m.Rendition, m.Candidate)
		} else if e == nil || e.Life < m.Life {
			// What it is part of is not known here yet.
			l.inbox.missed(m.Event, l.book.Clock.Now())
		}
	case announce.Init:
		l.inbox.put(errand{m.Kind, m.Event, m.Rendition}, reading{stamp: m.Candidate.Published.UnixNano()})
	case announce.Changed:
		l.inbox.put(errand{kind: m.Kind, event: m.Event}, reading{stamp: m.Stamp})
	case announce.Missed:
		if since := l.book.Clock.At(m.Since); m.Event != (live.EventID{}) {
			l.inbox.missed(m.Event, since)
		} else {
			l.inbox.put(errand{kind: m.Kind}, reading{since: since})
		}
	}
}

// errNotYet is what an errand finds that was announced before the store here
// has it: another region's write may be on its way.
var errNotYet = errors.New("origin: the store does not have yet what was announced")

// How often an errand is run again. Then it is left to the next time that house
// is kept.
const (
	errandTries = 8
	errandPause = 25 * time.Millisecond // doubled each time
)

// runErrands reads from the store what announcements said is new there.
func (l *Listener) runErrands(ctx context.Context) {
	var waiting sync.WaitGroup
	defer waiting.Wait()
	again := func(x errand, r reading, in time.Duration) {
		waiting.Go(func() {
			pause := time.NewTimer(in)
			defer pause.Stop()
			select {
			case <-pause.C:
				if r.settle == 0 || l.inbox.goesOn(x.event, r.chain) {
					l.inbox.put(x, r)
				}
			case <-ctx.Done():
			}
		})
	}
	for {
		x, r, ok := l.inbox.take()
		if !ok {
			select {
			case <-l.inbox.filled:
				continue
			case <-ctx.Done():
				return
			}
		}
		news, err := l.runErrand(ctx, x, r)
		switch {
		case ctx.Err() != nil:
		case err != nil && r.tries+1 < errandTries:
			r.tries++
			again(x, r, errandPause<<r.tries)
		default:
			if err != nil {
				l.log.Warn("after an announcement", "event", x.event.String(), "rendition", x.rendition, "err", err)
			}
			// What was missed is looked for until it is quiet, and while it cannot be read.
			if x.kind != announce.Missed || !l.inbox.goesOn(x.event, r.chain) {
				continue
			}
			if next, over := r.settle.next(news > 0 || err != nil); over || l.book.Alone || l.book.Get(x.event) == nil {
				l.inbox.quiet(x.event)
			} else {
				again(x, reading{since: r.since, settle: next, chain: r.chain}, time.Duration(next))
			}
		}
	}
}

// runErrand runs one, and returns how many segments it learnt of.
func (l *Listener) runErrand(ctx context.Context, x errand, r reading) (news int, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	if x.kind == announce.Missed && x.event != (live.EventID{}) {
		return l.catchUp(ctx, x.event, r)
	}
	return 0, l.readAnew(ctx, x, r)
}

// readAnew reads what an announcement said is new.
func (l *Listener) readAnew(ctx context.Context, x errand, r reading) error {
	switch x.kind {
	case announce.Init:
		e := l.book.Get(x.event)
		if e == nil {
			return nil // what it is part of comes with it
		}
		if _, ok := e.View().Timelines[x.rendition]; !ok {
			return nil
		}
		if err := l.book.FillInits(ctx, e, x.rendition); err != nil {
			return err
		}
		if !e.HasInit(x.rendition, time.Unix(0, r.stamp)) {
			return errNotYet
		}
		return nil
	case announce.Missed:
		for _, e := range l.book.List() {
			l.inbox.missed(e.ID, r.since)
		}
		return l.book.Check(ctx)
	}
	if err := l.book.Refresh(ctx, x.event); err != nil {
		return err
	}
	if !l.book.Reaches(x.event, r.stamp) {
		return errNotYet
	}
	return nil
}

// hearPin takes an announced choice.
func (l *Listener) hearPin(e *book.Event, m announce.Message) {
	l.book.Learn(e, m.Rendition, m.Candidate) // the announcement of it may be behind
	c := m.Candidate
	if e.Adopt(m.Rendition, c.Number, &book.Pin{Pin: selection.Pin{Pipeline: c.Pipeline, Region: c.Region, Digest: c.Digest, Turn: m.Turn,
		At: time.Unix(0, m.Stamp).UTC(), Node: m.Node, Version: m.Version}}) {
		l.overruled.Inc()
		l.log.Warn("two nodes chose at once", "event", e.ID.String(), "rendition", m.Rendition, "number", int64(c.Number), "stands", c.Pipeline)
	}
}

// catchUp reads what may have been announced of an event since then: all that
// was published of the live window from there on, and the next times of what may come
// late. What is older is looked for when somebody asks for it.
func (l *Listener) catchUp(ctx context.Context, id live.EventID, r reading) (news int, err error) {
	if err := l.book.Refresh(ctx, id); err != nil {
		return 0, err
	}
	e := l.book.Get(id)
	if e == nil {
		return 0, nil
	}
	now := l.book.Clock.Now()
	v := e.View()
	window := time.Duration(v.Config().LiveWindowSeconds) * time.Second
	since := r.since.Add(-window)
	if r.settle > 0 {
		since = r.since.Add(-max(window, settleBack))
	}
	// What was not read yet since this node started is not what was missed.
	event := v.Config().Event.Timeline()
	first := max(event.At(since), event.First())
	if err := l.look.Know(ctx, e, e.Unknown(first, live.MaxNumber)); err != nil {
		return 0, err
	}
	var errs []error
	for name, tl := range v.Timelines {
		if err := l.book.FillInits(ctx, e, name); err != nil {
			errs = append(errs, err)
			continue
		}
		from := max(tl.Oldest(now), tl.At(since), tl.First())
		n, err := l.look.Around(ctx, e, name, from, live.MaxNumber, admit.Live)
		news += n
		if err != nil {
			errs = append(errs, err)
		}
	}
	if err := book.ReadPins(ctx, l.look.Store, e, first, live.MaxNumber); err != nil {
		errs = append(errs, err)
	}
	return news, errors.Join(errs...)
}
