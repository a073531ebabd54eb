package origin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"headwater/live"
	"headwater/store"
)

// A registry holds every event in memory, and changes them through the store.
// Reading never leaves memory, so an unknown event costs a map look-up.
type registry struct {
	store   store.Store
	tokens  *store.Tokens
	timeout time.Duration // of one change
	log     *slog.Logger
	// turns: whoever has an event's may read, change and write its record.
	turns *turns[live.EventID]

	mu     sync.RWMutex // guards the following
	events map[live.EventID]*event
	tombs  map[live.EventID]tombstone
	// tenants has those of events and tombs, and perhaps some more: whoever is
	// not in it never had an event.
	tenants map[string]bool
	mine    map[live.EventID][]ownEdit // of late, oldest first
	// merged is called, in the event's turn, when an edit that another node had
	// overwritten was made again.
	merged func(id live.EventID)
}

func newRegistry(s store.Store, tokens *store.Tokens, timeout time.Duration, log *slog.Logger) *registry {
	return &registry{store: s, tokens: tokens, timeout: timeout, log: log, turns: newTurns[live.EventID](),
		events: make(map[live.EventID]*event), tombs: make(map[live.EventID]tombstone), tenants: make(map[string]bool), mine: make(map[live.EventID][]ownEdit), merged: func(live.EventID) {}}
}

func (g *registry) get(id live.EventID) *event {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.events[id]
}

func (g *registry) hasTenant(name string) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.tenants[name]
}

// known is what memory has of a name: an event, or what one left, or neither.
func (g *registry) known(id live.EventID) (e *event, tomb tombstone, dead bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	tomb, dead = g.tombs[id]
	return g.events[id], tomb, dead
}

// stamp is the time of the token of what memory has of a name: 0 for nothing.
func (g *registry) stamp(id live.EventID) int64 {
	e, tomb, _ := g.known(id)
	if e != nil {
		return e.view.Load().token.Time
	}
	return tomb.token.Time
}

func (g *registry) list() []*event {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return slices.SortedFunc(maps.Values(g.events), func(a, b *event) int { return cmp.Compare(a.id.String(), b.id.String()) })
}

// load reads every event, its init segments and the metadata of what was
// published, as a node does when it starts.
func (g *registry) load(ctx context.Context) error {
	for item, err := range store.All(ctx, g.store, eventsRecord, store.ScanOptions{Values: true}) {
		id, idErr := live.ParseEventID(item.Key)
		switch {
		case errors.Is(err, store.ErrCorrupt) && idErr == nil:
			g.unreadable(id, item.Token, err)
		case err != nil:
			return fmt.Errorf("origin: reading the events: %w", err)
		case idErr != nil:
			g.log.Error("stored event left out", "key", item.Key, "err", idErr)
		default:
			if err := g.take(ctx, id, item); err != nil {
				return err
			}
		}
	}
	return nil
}

// check finds what announcements did not tell: it asks the store for the
// versions of all records, and reads what is new.
func (g *registry) check(ctx context.Context) error {
	for item, err := range store.All(ctx, g.store, eventsRecord, store.ScanOptions{}) {
		if errors.Is(err, store.ErrCorrupt) {
			continue
		}
		if err != nil {
			return fmt.Errorf("origin: checking the events: %w", err)
		}
		id, err := live.ParseEventID(item.Key)
		if err != nil || !g.isNews(id, item.Token) {
			continue
		}
		if err := g.refresh(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (g *registry) isNews(id live.EventID, t store.Token) bool {
	e, tomb, dead := g.known(id)
	return !(e != nil && t.Compare(e.view.Load().token) <= 0 || dead && t.Compare(tomb.token) <= 0)
}

// refresh reads one event's record, in its turn.
func (g *registry) refresh(ctx context.Context, id live.EventID) error {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	done, err := g.turns.enter(ctx, id)
	if err != nil {
		return fmt.Errorf("origin: event %v: %w", id, err)
	}
	defer done()
	return g.current(ctx, id)
}

// read brings memory up to the store. It needs the event's turn.
func (g *registry) read(ctx context.Context, id live.EventID) error {
	item, err := g.store.Get(ctx, eventsRecord, id.String())
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil // or it was never stored: memory knows nothing better either
	case errors.Is(err, store.ErrCorrupt):
		g.unreadable(id, item.Token, err)
		return nil
	case err != nil:
		return fmt.Errorf("origin: reading event %v: %w", id, err)
	}
	return g.take(ctx, id, item)
}

// take enters a stored record, unless memory has it or a newer one. It needs
// the event's turn, except while the origin is being built.
func (g *registry) take(ctx context.Context, id live.EventID, item store.Item) error {
	if !g.isNews(id, item.Token) {
		return nil
	}
	var rec storedEvent
	if err := json.Unmarshal(item.Value, &rec); err != nil {
		g.unreadable(id, item.Token, err)
		return nil
	}
	if rec.Tombstone != nil {
		rec.Tombstone.token = item.Token
		g.bury(id, *rec.Tombstone)
		return nil
	}
	if e := g.get(id); e != nil && e.life == rec.Life {
		_, err := e.setRecord(*rec.eventRecord, item.Token)
		return err
	}
	e, err := newEvent(id, *rec.eventRecord, item.Token)
	if err != nil {
		return err
	}
	if err := g.fill(ctx, e); err != nil {
		return err
	}
	g.enter(e)
	return nil
}

// unreadable notes an event whose record cannot be read. One that is in memory
// goes on, and the next change writes it anew. One that is not is as deleted,
// with counts that are higher than any it can have had, so that nothing goes
// back when it is created again; the other events are none the worse.
func (g *registry) unreadable(id live.EventID, token store.Token, err error) {
	if e, _, dead := g.known(id); e == nil && !dead {
		g.log.Error("stored event is unreadable: create it again", "event", id.String(), "err", err)
		now := time.Now()
		g.bury(id, tombstone{Version: now.Unix(), FlushVersion: now.Unix(), Sequence: now.Unix(), At: now.UTC(), token: token})
	}
}

// enter makes e the event of its name.
func (g *registry) enter(e *event) {
	g.mu.Lock()
	old := g.events[e.id]
	delete(g.tombs, e.id)
	g.events[e.id] = e
	g.tenants[e.id.Tenant] = true
	g.mu.Unlock()
	if old != nil {
		old.wake()
	}
}

// bury makes the name that of a deleted event.
func (g *registry) bury(id live.EventID, tomb tombstone) {
	g.mu.Lock()
	old := g.events[id]
	delete(g.events, id)
	g.tombs[id] = tomb
	g.tenants[id.Tenant] = true
	g.mu.Unlock()
	if old != nil {
		old.wake() // those who wait find no event
	}
}

// prune forgets what deleted events left, as the store does.
func (g *registry) prune(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.tombs, func(_ live.EventID, t tombstone) bool { return now.Sub(t.At) > tombstoneLife })
	clear(g.tenants)
	for id := range g.events {
		g.tenants[id.Tenant] = true
	}
	for id := range g.tombs {
		g.tenants[id.Tenant] = true
	}
}

// errNoEvent is what an edit of an unknown event returns.
var errNoEvent = errors.New("origin: no such event")

// errUnchanged is what a change returns that turns out to change nothing.
var errUnchanged = errors.New("origin: unchanged")

// edit changes an event's record: change gets a copy of the current one (of a
// new event one with nothing but its counts, and exists false) and makes it
// the next. The change is durable before anybody sees it, and it begins from
// what is stored, so that neither another node's change is lost nor one of
// this node's of which the store did not say whether it took effect. A change
// that returns errUnchanged leaves all as it is. edit goes on when the one who
// asked leaves. It returns what the event then is.
func (g *registry) edit(ctx context.Context, id live.EventID, change func(rec *eventRecord, exists bool) error) (*view, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.timeout)
	defer cancel()
	done, err := g.turns.enter(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("origin: event %v: %w", id, err)
	}
	defer done()
	if err := g.current(ctx, id); err != nil {
		return nil, err
	}

	e, tomb, _ := g.known(id)
	var rec eventRecord
	if e != nil {
		rec = e.view.Load().record
	} else {
		rec.Config.Version, rec.Config.FlushVersion, rec.Notifications.Sequence = tomb.Version, tomb.FlushVersion, tomb.Sequence
	}
	base := rec
	switch err := change(&rec, e != nil); {
	case errors.Is(err, errUnchanged) && e == nil:
		return nil, errNoEvent
	case errors.Is(err, errUnchanged):
		return e.view.Load(), nil
	case err != nil:
		return nil, err
	}
	above := tomb.token
	if e != nil {
		above = e.view.Load().token
	}
	token := tokenAfter(g.tokens, time.Unix(0, above.Time))
	rec.Edits = withEdit(rec.Edits, token)
	if err := g.write(ctx, id, storedEvent{eventRecord: &rec}, token, time.Time{}); err != nil {
		return nil, err
	}
	g.remember(id, ownEdit{token, base, rec}, nil)
	if e != nil {
		return e.setRecord(rec, token)
	}
	if e, err = newEvent(id, rec, token); err != nil {
		return nil, err
	}
	g.enter(e)
	return e.view.Load(), nil
}

// write stores a record under a token that wins over the one there.
func (g *registry) write(ctx context.Context, id live.EventID, rec storedEvent, token store.Token, expires time.Time) error {
	if rec.eventRecord != nil {
		// The lateness is an observation of this run, not a setting.
		kept := *rec.eventRecord
		kept.Config.LatenessMS = nil
		rec.eventRecord = &kept
	}
	value, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("origin: event %v: %w", id, err)
	}
	if err := g.store.Put(ctx, eventsRecord, store.Item{Key: id.String(), Token: token, Value: value, Expires: expires}); err != nil {
		return fmt.Errorf("origin: storing event %v: %w", id, err)
	}
	return nil
}

// tokenAfter returns a token that wins over those of that time: another node's clock may be ahead of this one's, and a mutation
// that is older than what it replaces would change nothing, without an error.
func tokenAfter(tokens *store.Tokens, before time.Time) store.Token {
	t := tokens.Next()
	if !before.IsZero() {
		t.Time = max(t.Time, before.UnixNano()+1)
	}
	return t
}

// remove deletes an event, and then all that was published of it. Where the
// latter fails nothing of it is ever served again all the same, and removing
// it again goes on.
func (g *registry) remove(ctx context.Context, id live.EventID) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.timeout)
	defer cancel()
	done, err := g.turns.enter(ctx, id)
	if err != nil {
		return fmt.Errorf("origin: event %v: %w", id, err)
	}
	defer done()
	if err := g.read(ctx, id); err != nil {
		return err
	}
	e, tomb, dead := g.known(id)
	switch {
	case e == nil && !dead:
		return errNoEvent
	case e != nil:
		rec := e.view.Load().record
		tomb = tombstone{Version: rec.Config.Version + 1, FlushVersion: rec.Config.FlushVersion, Sequence: rec.Notifications.Sequence, At: time.Now().UTC()}
		for _, r := range rec.Config.Renditions {
			tomb.Renditions = append(tomb.Renditions, r.Name)
		}
		token := tokenAfter(g.tokens, time.Unix(0, e.view.Load().token.Time))
		if err := g.write(ctx, id, storedEvent{Tombstone: &tomb}, token, tomb.At.Add(tombstoneLife)); err != nil {
			return err
		}
		tomb.token = token
		g.bury(id, tomb)
	}
	records := []store.Record{journalRecord(id)}
	for _, name := range tomb.Renditions {
		records = append(records, mediaRecord(id, name), initRecord(id, name))
	}
	for _, r := range records {
		if err := g.store.DeleteRecord(ctx, r, g.tokens.Next()); err != nil {
			return fmt.Errorf("origin: event %v is deleted, of its segments some are still stored: %w", id, err)
		}
	}
	return nil
}
