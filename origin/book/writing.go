package book

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"headwater/origin/layout"

	"golang.org/x/sync/errgroup"

	"headwater/live"
	"headwater/store"
)

// ErrNoEvent is what an edit of an unknown event returns.
var ErrNoEvent = errors.New("origin: no such event")

// ErrUnchanged is what a change returns that turns out to change nothing.
var ErrUnchanged = errors.New("origin: unchanged")

// inTurn calls f, with the time of one change, while nobody else changes the
// event.
func (g *Book) inTurn(ctx context.Context, id live.EventID, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	done, err := g.turns.Lock(ctx, id)
	if err != nil {
		return fmt.Errorf("origin: event %v: %w", id, err)
	}
	defer done()
	return f(ctx)
}

// Edit changes an event: change gets what it is (of a new one nothing but its
// counts, and exists false) and says what is to be changed. That is durable before
// anybody sees it, and it begins from what is stored, so that neither another
// node's edit goes unseen nor one of this node's of which the store did not say
// whether it took effect. A change that returns ErrUnchanged leaves all as it is.
// Edit goes on when the one who asked leaves. It returns what the event then is.
func (g *Book) Edit(ctx context.Context, id live.EventID, change func(rec *Record, exists bool) (Edit, error)) (v *View, err error) {
	err = g.inTurn(context.WithoutCancel(ctx), id, func(ctx context.Context) error {
		if err := g.read(ctx, id); err != nil {
			return err
		}
		e, tomb, _ := g.known(id)
		var rec Record
		if e != nil {
			v = e.View()
			rec = v.Record
		} else {
			rec.Config.Version, rec.Config.FlushVersion, rec.Notifications.Sequence = tomb.Version, tomb.FlushVersion, tomb.Sequence
		}
		x, err := change(&rec, e != nil)
		switch {
		case errors.Is(err, ErrUnchanged) && e == nil:
			return ErrNoEvent
		case errors.Is(err, ErrUnchanged):
			return nil
		case err != nil:
			return err
		case e == nil:
			v, err = g.create(ctx, id, rec, x, tomb.token)
			return err
		}
		if err := g.put(ctx, e, x); err != nil {
			return err
		}
		v = e.View()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// create stores the record of an event that there is not yet.
func (g *Book) create(ctx context.Context, id live.EventID, rec Record, x Edit, above store.Token) (*View, error) {
	rec.Apply(&x)
	rec.Life = rec.Config.Version
	if rec.Config.Version > 1 {
		rec.Config.FlushVersion = rec.Config.Version // nothing of a deleted event's
	}
	if rec.Life = max(rec.Life, x.Above+1); x.Adopt != 0 {
		rec.Life = x.Adopt
	}
	token := TokenAfter(g.Tokens, time.Unix(0, above.Time))
	if err := g.write(ctx, id, storedEvent{Record: &rec}, token, time.Time{}); err != nil {
		return nil, err
	}
	e, err := newEvent(id, ledger{base: rec, token: token})
	if err != nil {
		return nil, err
	}
	if x.Adopt != 0 {
		if err := g.fill(ctx, e); err != nil {
			return nil, err
		}
	}
	g.enter(e)
	g.leave(e)
	return e.View(), nil
}

// put stores an edit, after all that is known, and makes it. It needs the event's
// turn.
func (g *Book) put(ctx context.Context, e *Event, x Edit) error {
	x.Life, x.Token = e.Life, TokenAfter(g.Tokens, time.Unix(0, e.View().ledger.newest()))
	value, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("origin: event %v: %w", e.ID, err)
	}
	if err := g.Store.Put(ctx, layout.Events, store.Item{Key: editKey(e.ID, x.Token), Token: x.Token, Value: value}); err != nil {
		return fmt.Errorf("origin: storing an edit of event %v: %w", e.ID, err)
	}
	_, err = e.setLedger(e.View().ledger.with(x))
	return err
}

// fold writes the record of an event anew where there are many edits that are old enough
// to go into it, not for each that becomes so; or where it cannot be read.
func (g *Book) fold(ctx context.Context, e *Event) error {
	due := func() bool {
		l := &e.View().ledger
		return len(l.edits) >= foldAt && g.Clock.Since(time.Unix(0, l.edits[foldAt-1].Token.Time)) >= settled || e.unreadable.Load()
	}
	if !due() {
		return nil
	}
	return g.inTurn(ctx, e.ID, func(ctx context.Context) error {
		if err := g.read(ctx, e.ID); err != nil { // another node may have done it
			return err
		}
		if !due() || g.Get(e.ID) != e {
			return nil
		}
		l := &e.View().ledger
		rec, sweep := l.fold(g.Clock.Now())
		token := TokenAfter(g.Tokens, time.Unix(0, l.newest()))
		if err := g.write(ctx, e.ID, storedEvent{Record: &rec}, token, time.Time{}); err != nil {
			return err
		}
		e.unreadable.Store(false)
		if _, err := e.setLedger(l.on(rec, token)); err != nil {
			return err
		}
		return g.sweep(ctx, e.ID, sweep)
	})
}

// write stores a record under a token that wins over the one there.
func (g *Book) write(ctx context.Context, id live.EventID, rec storedEvent, token store.Token, expires time.Time) error {
	if rec.Record != nil {
		// The lateness is an observation of this run, not a setting.
		kept := *rec.Record
		kept.Config.LatenessMS = nil
		rec.Record = &kept
	}
	value, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("origin: event %v: %w", id, err)
	}
	if err := g.Store.Put(ctx, layout.Events, store.Item{Key: id.String(), Token: token, Value: value, Expires: expires}); err != nil {
		return fmt.Errorf("origin: storing event %v: %w", id, err)
	}
	return nil
}

// TokenAfter returns a token that wins over those of that time: another node's clock may be ahead of this one's, and a mutation
// that is older than what it replaces would change nothing, without an error.
func TokenAfter(tokens *store.Tokens, before time.Time) store.Token {
	t := tokens.Next()
	if !before.IsZero() {
		t.Time = max(t.Time, before.UnixNano()+1)
	}
	return t
}

// Remove deletes an event, and then all that was published of it. Where the
// latter fails nothing of it is ever served again all the same, and removing
// it again goes on.
func (g *Book) Remove(ctx context.Context, id live.EventID) error {
	return g.inTurn(context.WithoutCancel(ctx), id, func(ctx context.Context) error {
		if err := g.read(ctx, id); err != nil {
			return err
		}
		e, tomb, dead := g.known(id)
		switch {
		case e == nil && !dead:
			return ErrNoEvent
		case e != nil:
			v := e.View()
			tomb = tombstone{Version: v.Config().Version + 1, FlushVersion: v.Config().FlushVersion, Sequence: v.Record.Notifications.Sequence, At: g.Clock.Now().UTC()}
			for _, r := range v.Config().Renditions {
				tomb.Renditions = append(tomb.Renditions, r.Name)
			}
			tomb.token = TokenAfter(g.Tokens, time.Unix(0, v.ledger.newest()))
			if err := g.write(ctx, id, storedEvent{Tombstone: &tomb}, tomb.token, tomb.At.Add(tombstoneLife)); err != nil {
				return err
			}
			g.bury(id, tomb)
		}
		records := []store.Record{layout.Journal(id), layout.Slates(id)}
		for _, name := range tomb.Renditions {
			records = append(records, layout.Media(id, name), layout.Inits(id, name))
		}
		for _, r := range records {
			if err := g.Store.DeleteRecord(ctx, r, g.Tokens.Next()); err != nil {
				return fmt.Errorf("origin: event %v is deleted, of its segments some are still stored: %w", id, err)
			}
		}
		// What is left of its edits goes when another event has the name.
		if e == nil {
			return nil
		}
		l := &e.View().ledger
		left := slices.Clone(l.base.Folded)
		for _, x := range l.edits {
			left = append(left, x.Token)
		}
		return g.sweep(ctx, id, left)
	})
}

// sweep takes edits out of the store.
func (g *Book) sweep(ctx context.Context, id live.EventID, edits []store.Token) error {
	var some errgroup.Group
	some.SetLimit(8)
	for _, t := range edits {
		some.Go(func() error {
			return g.Store.Put(ctx, layout.Events, store.Gone(editKey(id, t), TokenAfter(g.Tokens, time.Unix(0, t.Time))))
		})
	}
	return some.Wait()
}
