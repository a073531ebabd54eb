package origin

import (
	"context"
	"errors"
	"sync"
	"time"

	"headwater/admit"
	"headwater/announce"
	"headwater/live"
)

// keepHouse is how often what is over is forgotten, and what no announcement
// told of is looked for. While announcements do not come, changes of events are
// looked for every checkVersions.
const (
	keepHouse     = 10 * time.Second
	checkVersions = time.Second
)

// errandRunners is how many errands are run at once: one event whose record
// cannot be read must not keep the others waiting.
const errandRunners = 4

// Run listens to announcements, guards what is waited for and keeps house until
// ctx ends.
func (o *Origin) Run(ctx context.Context) error {
	defer o.Drain()
	defer o.far.CloseIdleConnections()
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	for range errandRunners {
		tasks.Go(func() { o.runErrands(ctx) })
	}
	tasks.Go(func() { o.guard(ctx) })
	tasks.Go(func() { o.watchman.run(ctx) })
	tasks.Go(func() { o.journal.run(ctx) })
	defer o.cfg.Bus.Subscribe(o.hear)()
	tick := time.NewTicker(checkVersions)
	defer tick.Stop()
	kept := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Now()
		whole := now.Sub(kept) >= keepHouse
		if whole {
			kept = now
			for _, e := range o.events.list() {
				e.prune(now)
			}
			o.events.prune(now)
		}
		if whole || o.cfg.Bus.Health() != nil {
			o.checkEvents(ctx)
		}
	}
}

// checkEvents compares the versions of all events with the store's.
func (o *Origin) checkEvents(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.StoreTimeout)
	defer cancel()
	if err := o.events.check(ctx); err != nil && !errors.Is(err, context.Canceled) {
		o.log.Warn("looking for changes", "err", err)
	}
	for _, e := range o.events.list() {
		if err := o.events.fold(ctx, e); err != nil && !errors.Is(err, context.Canceled) {
			o.log.Warn("writing an event's record anew", "event", e.id.String(), "err", err)
		}
	}
}

// hear takes an announcement of another node: a segment into the tables at
// once, all else into the inbox, since it has to be read from the store.
func (o *Origin) hear(m announce.Message) {
	if m.Node == o.node {
		return
	}
	switch m.Kind {
	case announce.Published, announce.Pinned:
		e := o.events.get(m.Event)
		if e != nil && e.life == m.Life && m.Kind == announce.Pinned {
			o.hearPin(e, m)
		} else if e != nil && e.life == m.Life {
			o.learn(e, m.Rendition, m.Candidate)
		} else if e == nil || e.life < m.Life {
			// What it is part of is not known here yet.
			o.inbox.put(errand{kind: announce.Missed, event: m.Event}, reading{since: time.Now()})
		}
	case announce.Init:
		o.inbox.put(errand{m.Kind, m.Event, m.Rendition}, reading{stamp: m.Candidate.Published.UnixNano()})
	case announce.Changed:
		o.inbox.put(errand{kind: m.Kind, event: m.Event}, reading{stamp: m.Stamp})
	case announce.Missed:
		o.inbox.put(errand{kind: m.Kind, event: m.Event}, reading{since: m.Since})
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
func (o *Origin) runErrands(ctx context.Context) {
	var again sync.WaitGroup
	defer again.Wait()
	for {
		x, r, ok := o.inbox.take()
		if !ok {
			select {
			case <-o.inbox.filled:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := o.runErrand(ctx, x, r)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if r.tries++; r.tries == errandTries {
			o.log.Warn("after an announcement", "event", x.event.String(), "rendition", x.rendition, "err", err)
			continue
		}
		again.Go(func() {
			pause := time.NewTimer(errandPause << r.tries)
			defer pause.Stop()
			select {
			case <-pause.C:
				o.inbox.put(x, r)
			case <-ctx.Done():
			}
		})
	}
}

func (o *Origin) runErrand(ctx context.Context, x errand, r reading) error {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.StoreTimeout)
	defer cancel()
	switch x.kind {
	case announce.Init:
		e := o.events.get(x.event)
		if e == nil {
			return nil // what it is part of comes with it
		}
		if _, ok := e.view.Load().timelines[x.rendition]; !ok {
			return nil
		}
		if err := o.events.fillInits(ctx, e, x.rendition); err != nil {
			return err
		}
		if !e.hasInit(x.rendition, time.Unix(0, r.stamp)) {
			return errNotYet
		}
		return nil
	case announce.Missed:
		if (x.event == live.EventID{}) {
			for _, e := range o.events.list() {
				o.inbox.put(errand{kind: announce.Missed, event: e.id}, reading{since: r.since})
			}
			return o.events.check(ctx)
		}
		return o.catchUp(ctx, x.event, r.since)
	}
	if err := o.events.refresh(ctx, x.event); err != nil {
		return err
	}
	if !o.events.reaches(x.event, r.stamp) {
		return errNotYet
	}
	return nil
}

// catchUp reads what may have been announced of an event since then: all that
// was published of the live window from there on. What is older is looked for
// when somebody asks for it.
func (o *Origin) catchUp(ctx context.Context, id live.EventID, since time.Time) error {
	if err := o.events.refresh(ctx, id); err != nil {
		return err
	}
	e := o.events.get(id)
	if e == nil {
		return nil
	}
	now := time.Now()
	v := e.view.Load()
	var errs []error
	for name, tl := range v.timelines {
		if err := o.events.fillInits(ctx, e, name); err != nil {
			errs = append(errs, err)
			continue
		}
		window := time.Duration(v.config().LiveWindowSeconds) * time.Second
		from := max(tl.Oldest(now), tl.At(since.Add(-window)), tl.First())
		if err := o.lookAtRange(ctx, e, name, from, live.MaxNumber, admit.Live); err != nil {
			errs = append(errs, err)
		}
	}
	tl := v.config().Event.Timeline()
	window := time.Duration(v.config().LiveWindowSeconds) * time.Second
	if err := readPins(ctx, o.reader, e, max(tl.At(since.Add(-window)), tl.First()), live.MaxNumber); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// hasInit reports whether an init segment of the rendition is known that was
// published, or arrived and was refused, at that time or later.
func (e *event) hasInit(rendition string, at time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tracks[rendition]
	if t == nil {
		return false
	}
	for _, in := range t.inits {
		if !in.published.Before(at) {
			return true
		}
	}
	for _, g := range t.gates {
		if g.token.Time >= at.UnixNano() {
			return true
		}
	}
	return false
}
