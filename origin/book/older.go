package book

import (
	"context"
	"fmt"
	"slices"
	"time"

	"headwater/origin/layout"

	"headwater/live"
	"headwater/selection"
	"headwater/store"
)

// A node that starts reads what was published of its events from the newest back: the
// live window before it serves, what is older beside that (fillOlder). Who asks for a
// number of which that was not read yet waits until it is, with what decides about it:
// its block of numbers is read at once (FillBlock). Reading a candidate or a choice twice,
// or after newer ones, changes nothing (Event.learn, Event.Adopt), so both may go on at
// the same time, and announcements beside them.

const (
	// block is how many numbers are read at once for who asks for one of them.
	block = 64
	// olderAtOnce is how many are read at once for nobody.
	olderAtOnce = 16 * block
	// recent is what is read before a node is ready, beside the live window and what
	// decides about that.
	recent = max(block, measured)
	// quietFor is for how long nothing is read for nobody.
	quietFor = 2 * time.Second
)

// An older is how much of what was published of an event is known. Guarded by the
// event's mu.
type older struct {
	from   live.Number          // all from here on is known
	blocks map[live.Number]bool // and those that begin here; nil before the first
	whole  chan struct{}        // closed when from is 0: there is nothing left to read
}

// reach is how many numbers before one decide about it, too.
func (e *Event) reach() live.Number {
	tl := e.View().Config().Event.Timeline()
	return max(selection.Lookback, live.Number(live.MaxFilled/tl.Segment())) + 1
}

// Unknown returns the blocks that have to be read before it is known what was published
// of a rendition's segments from and to those numbers: nearly always none.
func (e *Event) Unknown(from, to live.Number) (blocks []live.Number) {
	if int64(from) >= e.knownFrom.Load() {
		return nil
	}
	from = max(from-e.reach(), 0)
	e.mu.Lock()
	defer e.mu.Unlock()
	for b := from - from%block; b <= to && b < e.older.from; b += block {
		if !e.older.blocks[b] {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// Whole is closed when all that was published of the event is known.
func (e *Event) Whole() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.older.whole
}

// know notes that all from that number on is known.
func (e *Event) know(from live.Number) {
	reach := e.reach()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.older.from = from
	if e.knownFrom.Store(int64(from + reach)); from > 0 {
		return
	}
	e.knownFrom.Store(0)
	e.earlier.Store(nil)
	e.older.blocks = nil
	select {
	case <-e.older.whole:
	default:
		close(e.older.whole)
	}
}

// FillBlock reads what was published of a block of numbers.
func (g *Book) FillBlock(ctx context.Context, e *Event, b live.Number) error {
	if _, err := g.fillRange(ctx, e, b, b+block-1); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.older.blocks == nil {
		e.older.blocks = make(map[live.Number]bool)
	}
	if e.older.from > 0 {
		e.older.blocks[b] = true
	}
	return nil
}

// Know is FillBlock of all that is unknown of a range.
func (g *Book) Know(ctx context.Context, e *Event, from, to live.Number) error {
	for _, b := range e.Unknown(from, to) {
		if err := g.FillBlock(ctx, e, b); err != nil {
			return err
		}
	}
	return nil
}

// fill reads of an event what is needed to serve it, and leaves what is older for later.
// What is newest is known in any case, however long ago that was.
func (g *Book) fill(ctx context.Context, e *Event) error {
	cfg := e.View().Config()
	for _, r := range cfg.Renditions {
		if err := g.FillInits(ctx, e, r.Name); err != nil {
			return err
		}
	}
	tl := cfg.Event.Timeline()
	window := tl.At(g.Clock.Now().Add(-time.Duration(cfg.LiveWindowSeconds) * time.Second))
	from, to := max(window-2*e.reach()-recent, 0), live.Number(live.MaxNumber)
	e.mu.Lock()
	e.older = older{from: live.MaxNumber + 1, whole: make(chan struct{})}
	e.mu.Unlock()
	g.readUsage(ctx, e)
	for {
		if from < tl.First() {
			from = 0
		}
		found, err := g.fillRange(ctx, e, from, to)
		if err != nil {
			return err
		}
		if e.know(from); found || from == 0 {
			return nil
		}
		from, to = g.before(e, from)
	}
}

// before is what is read next of an event of which all from a number on is known: from
// and to. What has left the DVR window, and is still stored, is read at once.
func (g *Book) before(e *Event, known live.Number) (from, to live.Number) {
	tl := e.View().Config().Event.Timeline()
	from = known - olderAtOnce
	if from < max(tl.First(), tl.Oldest(g.Clock.Now())) {
		from = 0
	}
	return from, known - 1
}

// fillRange reads what was published of an event's segments from and to those numbers,
// inclusive, and which choices stand. What cannot be read is left out: one bad item must
// not take the rest with it.
func (g *Book) fillRange(ctx context.Context, e *Event, from, to live.Number) (found bool, err error) {
	cfg := e.View().Config()
	var opt store.ScanOptions
	opt.From, _ = layout.NumberRange(from)
	_, opt.To = layout.NumberRange(to)
	for _, r := range cfg.Renditions {
		var newest lastSeen
		err := g.scan(ctx, layout.Media(e.ID, r.Name), opt, func(item store.Item) error {
			c, life, err := layout.DecodeCandidate(item)
			if err == nil && life == e.Life {
				found = true
				e.learn(r.Name, c, false)
				newest.add(c)
			}
			return err
		})
		if err != nil {
			return found, err
		}
		// The lateness of an encoder does not change because this node starts.
		tl := cfg.Event.Timeline()
		var late time.Duration
		var changed bool
		for _, c := range newest {
			if d, ok := e.measure(r.Name, c, tl.Expected(c.Number)); ok {
				late, changed = d, true
			}
		}
		if changed {
			if err := e.setLateness(r.Name, late); err != nil {
				return found, err
			}
		}
	}
	return found, ReadPins(ctx, g.Store, e, from, to)
}

// lastSeen collects of the newest segments the candidate that was there first.
// They are added in the order of their numbers.
type lastSeen []live.Candidate

func (l *lastSeen) add(c live.Candidate) {
	if n := len(*l); n > 0 && (*l)[n-1].Number == c.Number {
		if c.Published.Before((*l)[n-1].Published) {
			(*l)[n-1] = c
		}
		return
	}
	if len(*l) == measured {
		copy(*l, (*l)[1:])
		*l = (*l)[:measured-1]
	}
	*l = append(*l, c)
}

// leave has fillOlder read the rest of an event, where there is one. The event is in the
// book: what is not is over.
func (g *Book) leave(e *Event) {
	select {
	case <-e.Whole():
		return
	default:
	}
	g.mu.Lock()
	g.partial = append(g.partial, e)
	g.mu.Unlock()
	select {
	case g.left <- struct{}{}:
	default:
	}
}

// fillOlder reads what fill has left, a part of each event in turn, until ctx ends. Whoever
// starts has other things to do at first.
func (g *Book) fillOlder(ctx context.Context) {
	select {
	case <-time.After(quietFor):
	case <-ctx.Done():
		return
	}
	for {
		g.mu.Lock()
		var e *Event
		if len(g.partial) > 0 {
			e = g.partial[0]
			g.partial = slices.Delete(g.partial, 0, 1)
		}
		g.mu.Unlock()
		if e == nil {
			select {
			case <-g.left:
				continue
			case <-ctx.Done():
				return
			}
		}
		e.mu.Lock()
		known := e.older.from
		e.mu.Unlock()
		from, to := g.before(e, known)
		_, err := g.fillRange(ctx, e, from, to)
		if err == nil {
			e.know(from)
		} else if ctx.Err() == nil {
			g.Log.Warn("reading what was published before", "event", e.ID.String(), "to", int64(to), "err", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return
		}
		if g.Get(e.ID) != e {
			e.know(0) // nobody is given anything of it any more
		}
		g.leave(e)
	}
}

// Await waits until all that was published of an event is known, or as long as one
// operation of the store may take.
func (g *Book) Await(ctx context.Context, e *Event) error {
	whole := e.Whole()
	select {
	case <-whole:
		return nil // nearly always
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	select {
	case <-whole:
		return nil
	case <-ctx.Done():
		return live.ErrStoreDown.With(fmt.Sprintf("what was published of event %v is still being read", e.ID))
	}
}
