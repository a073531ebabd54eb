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

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"headwater/announce"
	"headwater/live"
	"headwater/store"
)

// A registry holds every event in memory, and changes them through the store.
// Reading never leaves memory, so an unknown event costs a map look-up.
type registry struct {
	registryConfig
	lost     prometheus.Counter // announcements
	counters *byEvent
	// turns: whoever has an event's may read, change and write its record.
	turns *turns[live.EventID]

	mu     sync.RWMutex // guards the following
	events map[live.EventID]*event
	tombs  map[live.EventID]tombstone
	// tenants has those of events and tombs, and perhaps some more: whoever is
	// not in it never had an event.
	tenants map[string]bool
}

// A registryConfig is what a registry is built from.
type registryConfig struct {
	store   store.Store
	tokens  *store.Tokens
	bus     announce.Bus
	node    string        // what announcements call this node
	alone   bool          // no other node announces anything
	timeout time.Duration // of one change
	log     *slog.Logger
	metrics *prometheus.Registry
}

func newRegistry(cfg registryConfig) *registry {
	g := &registry{registryConfig: cfg, turns: newTurns[live.EventID](),
		events: make(map[live.EventID]*event), tombs: make(map[live.EventID]tombstone), tenants: make(map[string]bool)}
	g.lost = newCounter(cfg.metrics, "lost_announcements_total", "Announcements that the bus did not take.")
	g.counters = newByEvent(g.list)
	cfg.metrics.MustRegister(g.counters)
	newGauge(cfg.metrics, "events", "Events known.", func() float64 { return float64(len(g.list())) })
	return g
}

func (g *registry) get(id live.EventID) *event {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.events[id]
}

// timeline is that of an event, while it lives.
func (g *registry) timeline(of life) (live.Timeline, bool) {
	if e := g.get(of.event); e != nil && e.life == of.life {
		return e.view.Load().config().Event.Timeline(), true
	}
	return live.Timeline{}, false
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

// stamp is the time of the newest token of what memory has of a name: 0 for nothing.
func (g *registry) stamp(id live.EventID) int64 {
	e, tomb, _ := g.known(id)
	if e != nil {
		return e.view.Load().ledger.newest()
	}
	return tomb.token.Time
}

// reaches reports whether memory has what was stored of a name at that time.
func (g *registry) reaches(id live.EventID, at int64) bool {
	e, tomb, _ := g.known(id)
	if e != nil {
		return e.view.Load().ledger.reaches(at)
	}
	return at <= tomb.token.Time
}

func (g *registry) list() []*event {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return slices.SortedFunc(maps.Values(g.events), func(a, b *event) int { return cmp.Compare(a.id.String(), b.id.String()) })
}

// load reads every event, its init segments and the metadata of what was
// published, as a node does when it starts.
func (g *registry) load(ctx context.Context) error {
	records, edits := make(map[live.EventID]store.Item), make(map[live.EventID][]store.Item)
	for item, err := range store.All(ctx, g.store, eventsRecord, store.ScanOptions{Values: true}) {
		if err != nil && !errors.Is(err, store.ErrCorrupt) {
			return fmt.Errorf("origin: reading the events: %w", err)
		}
		id, isEdit, idErr := parseEventKey(item.Key)
		switch {
		case idErr != nil:
			g.log.Error("stored event left out", "key", item.Key, "err", idErr)
		case isEdit:
			edits[id] = append(edits[id], item) // without a value where it is corrupt
		default:
			records[id] = item
		}
	}
	for id, item := range records {
		if err := g.take(ctx, id, item, edits[id]); err != nil {
			return err
		}
	}
	return nil
}

// check finds what announcements did not tell: it asks the store for the keys
// and tokens of all records and edits, and reads what is new.
func (g *registry) check(ctx context.Context) error {
	news := make(map[live.EventID]bool)
	for item, err := range store.All(ctx, g.store, eventsRecord, store.ScanOptions{}) {
		if errors.Is(err, store.ErrCorrupt) {
			continue
		}
		if err != nil {
			return fmt.Errorf("origin: checking the events: %w", err)
		}
		if id, isEdit, err := parseEventKey(item.Key); err == nil && g.isNews(id, isEdit, item.Token) {
			news[id] = true
		}
	}
	for id := range news {
		if err := g.refresh(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (g *registry) isNews(id live.EventID, isEdit bool, t store.Token) bool {
	e, tomb, dead := g.known(id)
	switch {
	case e == nil:
		return !isEdit && !(dead && t.Compare(tomb.token) <= 0)
	case isEdit:
		return !e.view.Load().ledger.has(t)
	}
	return t.Compare(e.view.Load().ledger.token) > 0
}

// refresh reads what is stored of one event, in its turn.
func (g *registry) refresh(ctx context.Context, id live.EventID) error {
	return g.inTurn(ctx, id, func(ctx context.Context) error { return g.read(ctx, id) })
}

// inTurn calls f, with the time of one change, while nobody else changes the
// event.
func (g *registry) inTurn(ctx context.Context, id live.EventID, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	done, err := g.turns.enter(ctx, id)
	if err != nil {
		return fmt.Errorf("origin: event %v: %w", id, err)
	}
	defer done()
	return f(ctx)
}

// read brings memory up to the store, and says again what comes late. It needs
// the event's turn.
func (g *registry) read(ctx context.Context, id live.EventID) error {
	item, err := g.store.Get(ctx, eventsRecord, id.String())
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil // or it was never stored: memory knows nothing better either
	case errors.Is(err, store.ErrCorrupt):
		item.Key, item.Value = id.String(), nil
	case err != nil:
		return fmt.Errorf("origin: reading event %v: %w", id, err)
	}
	var edits []store.Item
	for x, err := range store.All(ctx, g.store, eventsRecord, store.ScanOptions{Values: true, From: id.String() + "/", To: id.String() + "0"}) {
		if err != nil && !errors.Is(err, store.ErrCorrupt) {
			return fmt.Errorf("origin: reading the edits of event %v: %w", id, err)
		}
		edits = append(edits, x)
	}
	before := g.get(id)
	var old *view
	if before != nil {
		old = before.view.Load()
	}
	if err := g.take(ctx, id, item, edits); err != nil {
		return err
	}
	if e := g.get(id); e != nil && e == before {
		if x, any := again(&old.record, &e.view.Load().record); any {
			if err := g.put(ctx, e, x); err != nil {
				return err
			}
			g.changed(id)
		}
	}
	return nil
}

// take enters what is stored of an event, as far as it is news. It needs the
// event's turn, except while the origin is being built.
func (g *registry) take(ctx context.Context, id live.EventID, item store.Item, edits []store.Item) error {
	var rec storedEvent
	err := json.Unmarshal(item.Value, &rec)
	e, tomb, dead := g.known(id)
	switch {
	case err != nil && e == nil:
		// As one that was deleted, with counts that are higher than any it can have
		// had, so that nothing goes back when it is created again.
		if !dead {
			g.log.Error("stored event is unreadable: create it again", "event", id.String(), "err", err)
			now := time.Now()
			g.bury(id, tombstone{Version: now.Unix(), FlushVersion: now.Unix(), Sequence: now.Unix(), At: now.UTC(), token: item.Token})
		}
		return nil
	case err != nil:
		e.unreadable.Store(true) // it goes on, and is written anew
	case rec.Tombstone != nil:
		if e == nil && dead && item.Token.Compare(tomb.token) <= 0 || e != nil && item.Token.Compare(e.view.Load().ledger.token) <= 0 {
			return nil
		}
		rec.Tombstone.token = item.Token
		g.bury(id, *rec.Tombstone)
		return nil
	case e == nil && dead && item.Token.Compare(tomb.token) <= 0:
		return nil
	case e == nil || e.life != rec.Life && item.Token.Compare(e.view.Load().ledger.token) > 0:
		l := ledger{base: *rec.eventRecord, token: item.Token}
		if e, err = newEvent(id, l.with(g.decode(ctx, id, rec.Life, edits)...)); err != nil {
			return err
		}
		if err := g.fill(ctx, e); err != nil {
			return err
		}
		g.enter(e)
		return nil
	}
	was := &e.view.Load().ledger
	l := *was
	if err == nil && item.Token.Compare(l.token) > 0 {
		l = l.on(*rec.eventRecord, item.Token)
	}
	if l = l.with(g.decode(ctx, id, e.life, edits)...); l.token == was.token && len(l.edits) == len(was.edits) {
		return nil
	}
	_, err = e.setLedger(l)
	return err
}

// decode reads edits of one life of an event. Those of an earlier one, which came
// while it was deleted, go.
func (g *registry) decode(ctx context.Context, id live.EventID, life int64, items []store.Item) (out []edit) {
	for _, item := range items {
		var err error
		if item.Token.IsZero() { // the store found it corrupt
			if item.Token, err = editToken(item.Key); err != nil {
				g.log.Error("stored edit left out", "key", item.Key, "err", err)
				continue
			}
		}
		x, err := decodeEdit(item, life)
		if err != nil {
			g.log.Error("stored edit is unreadable: what it did is lost", "event", id.String(), "key", item.Key, "err", err)
		}
		if x.Life < life {
			_ = g.sweep(ctx, id, []store.Token{x.token}) // or the next time
			continue
		}
		out = append(out, x)
	}
	return out
}

// sweep takes edits out of the store.
func (g *registry) sweep(ctx context.Context, id live.EventID, edits []store.Token) error {
	var some errgroup.Group
	some.SetLimit(8)
	for _, t := range edits {
		some.Go(func() error {
			return g.store.Put(ctx, eventsRecord, store.Gone(editKey(id, t), tokenAfter(g.tokens, time.Unix(0, t.Time))))
		})
	}
	return some.Wait()
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

// edit changes an event: change gets what it is (of a new one nothing but its
// counts, and exists false) and says what is to be changed. That is durable before
// anybody sees it, and it begins from what is stored, so that neither another
// node's edit goes unseen nor one of this node's of which the store did not say
// whether it took effect. A change that returns errUnchanged leaves all as it is.
// edit goes on when the one who asked leaves. It returns what the event then is.
func (g *registry) edit(ctx context.Context, id live.EventID, change func(rec *eventRecord, exists bool) (edit, error)) (v *view, err error) {
	err = g.inTurn(context.WithoutCancel(ctx), id, func(ctx context.Context) error {
		if err := g.read(ctx, id); err != nil {
			return err
		}
		e, tomb, _ := g.known(id)
		var rec eventRecord
		if e != nil {
			v = e.view.Load()
			rec = v.record
		} else {
			rec.Config.Version, rec.Config.FlushVersion, rec.Notifications.Sequence = tomb.Version, tomb.FlushVersion, tomb.Sequence
		}
		x, err := change(&rec, e != nil)
		switch {
		case errors.Is(err, errUnchanged) && e == nil:
			return errNoEvent
		case errors.Is(err, errUnchanged):
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
		v = e.view.Load()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// create stores the record of an event that there is not yet.
func (g *registry) create(ctx context.Context, id live.EventID, rec eventRecord, x edit, above store.Token) (*view, error) {
	rec.apply(&x)
	rec.Life = rec.Config.Version
	if rec.Config.Version > 1 {
		rec.Config.FlushVersion = rec.Config.Version // nothing of a deleted event's
	}
	token := tokenAfter(g.tokens, time.Unix(0, above.Time))
	if err := g.write(ctx, id, storedEvent{eventRecord: &rec}, token, time.Time{}); err != nil {
		return nil, err
	}
	e, err := newEvent(id, ledger{base: rec, token: token})
	if err != nil {
		return nil, err
	}
	g.enter(e)
	return e.view.Load(), nil
}

// put stores an edit, after all that is known, and makes it. It needs the event's
// turn.
func (g *registry) put(ctx context.Context, e *event, x edit) error {
	x.Life, x.token = e.life, tokenAfter(g.tokens, time.Unix(0, e.view.Load().ledger.newest()))
	value, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("origin: event %v: %w", e.id, err)
	}
	if err := g.store.Put(ctx, eventsRecord, store.Item{Key: editKey(e.id, x.token), Token: x.token, Value: value}); err != nil {
		return fmt.Errorf("origin: storing an edit of event %v: %w", e.id, err)
	}
	_, err = e.setLedger(e.view.Load().ledger.with(x))
	return err
}

// fold writes the record of an event anew where there are many edits, or where it
// cannot be read.
func (g *registry) fold(ctx context.Context, e *event) error {
	due := func() bool {
		l := &e.view.Load().ledger
		return len(l.edits) >= foldAt && time.Since(time.Unix(0, l.edits[0].token.Time)) >= settled || e.unreadable.Load()
	}
	if !due() {
		return nil
	}
	return g.inTurn(ctx, e.id, func(ctx context.Context) error {
		if err := g.read(ctx, e.id); err != nil { // another node may have done it
			return err
		}
		if !due() || g.get(e.id) != e {
			return nil
		}
		l := &e.view.Load().ledger
		rec, sweep := l.fold(time.Now())
		token := tokenAfter(g.tokens, time.Unix(0, l.newest()))
		if err := g.write(ctx, e.id, storedEvent{eventRecord: &rec}, token, time.Time{}); err != nil {
			return err
		}
		e.unreadable.Store(false)
		if _, err := e.setLedger(l.on(rec, token)); err != nil {
			return err
		}
		return g.sweep(ctx, e.id, sweep)
	})
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
	return g.inTurn(context.WithoutCancel(ctx), id, func(ctx context.Context) error {
		if err := g.read(ctx, id); err != nil {
			return err
		}
		e, tomb, dead := g.known(id)
		switch {
		case e == nil && !dead:
			return errNoEvent
		case e != nil:
			v := e.view.Load()
			tomb = tombstone{Version: v.config().Version + 1, FlushVersion: v.config().FlushVersion, Sequence: v.record.Notifications.Sequence, At: time.Now().UTC()}
			for _, r := range v.config().Renditions {
				tomb.Renditions = append(tomb.Renditions, r.Name)
			}
			tomb.token = tokenAfter(g.tokens, time.Unix(0, v.ledger.newest()))
			if err := g.write(ctx, id, storedEvent{Tombstone: &tomb}, tomb.token, tomb.At.Add(tombstoneLife)); err != nil {
				return err
			}
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
		// What is left of its edits goes when another event has the name.
		if e == nil {
			return nil
		}
		l := &e.view.Load().ledger
		left := slices.Clone(l.base.Folded)
		for _, x := range l.edits {
			left = append(left, x.token)
		}
		return g.sweep(ctx, id, left)
	})
}

// announce tells the other nodes. It may fail: they look into the store.
func (g *registry) announce(m announce.Message) {
	m.Node = g.node
	if err := g.bus.Announce(m); err != nil {
		g.lost.Inc()
		g.log.Warn("announcement lost", "event", m.Event.String(), "rendition", m.Rendition, "number", int64(m.Candidate.Number), "err", err)
	}
}

// changed announces a change of an event.
func (g *registry) changed(id live.EventID) {
	g.announce(announce.Message{Kind: announce.Changed, Event: id, Stamp: g.stamp(id)})
}

// learn enters a candidate and what it tells of the rendition's lateness. It
// reports whether it was news.
func (g *registry) learn(e *event, rendition string, c live.Candidate) bool {
	if !e.learn(rendition, c) {
		return false
	}
	tl := e.view.Load().config().Event.Timeline()
	if late, changed := e.measure(rendition, c, tl.Expected(c.Number)); changed {
		if err := e.setLateness(rendition, late); err != nil {
			g.log.Error("observed lateness", "event", e.id.String(), "rendition", rendition, "err", err)
		}
	}
	return true
}

// keepHouse is how often what is over is forgotten, and what no announcement
// told of is looked for. While announcements do not come, changes of events are
// looked for every checkVersions.
const (
	keepHouse     = 10 * time.Second
	checkVersions = time.Second
)

// run keeps house until ctx ends.
func (g *registry) run(ctx context.Context) {
	tick := time.NewTicker(checkVersions)
	defer tick.Stop()
	kept := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		whole := now.Sub(kept) >= keepHouse
		if whole {
			kept = now
			for _, e := range g.list() {
				e.prune(now)
			}
			g.prune(now)
		}
		if whole || g.bus.Health() != nil {
			g.checkEvents(ctx)
		}
	}
}

// checkEvents compares the versions of all events with the store's.
func (g *registry) checkEvents(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	if err := g.check(ctx); err != nil && !errors.Is(err, context.Canceled) {
		g.log.Warn("looking for changes", "err", err)
	}
	for _, e := range g.list() {
		if err := g.fold(ctx, e); err != nil && !errors.Is(err, context.Canceled) {
			g.log.Warn("writing an event's record anew", "event", e.id.String(), "err", err)
		}
	}
}
