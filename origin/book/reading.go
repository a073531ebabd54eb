package book

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"headwater/origin/journal"
	"headwater/origin/layout"

	"headwater/cmaf"
	"headwater/live"
	"headwater/selection"
	"headwater/store"
)

// Load reads every event, its init segments and the metadata of what was
// published lately, as a node does when it starts.
func (g *Book) Load(ctx context.Context) error {
	records, edits := make(map[live.EventID]store.Item), make(map[live.EventID][]store.Item)
	for item, err := range store.All(ctx, g.Store, layout.Events, store.ScanOptions{Values: true}) {
		if err != nil && !errors.Is(err, store.ErrCorrupt) {
			return fmt.Errorf("origin: reading the events: %w", err)
		}
		id, isEdit, idErr := parseEventKey(item.Key)
		switch {
		case idErr != nil:
			g.Log.Error("stored event left out", "key", item.Key, "err", idErr)
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

// Check finds what announcements did not tell: it asks the store for the keys
// and tokens of all records and edits, and reads what is new.
func (g *Book) Check(ctx context.Context) error {
	news := make(map[live.EventID]bool)
	for item, err := range store.All(ctx, g.Store, layout.Events, store.ScanOptions{}) {
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
		if err := g.Refresh(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (g *Book) isNews(id live.EventID, isEdit bool, t store.Token) bool {
	e, tomb, dead := g.known(id)
	switch {
	case e == nil:
		return !isEdit && !(dead && t.Compare(tomb.token) <= 0)
	case isEdit:
		return !e.View().ledger.has(t)
	}
	return t.Compare(e.View().ledger.token) > 0
}

// Refresh reads what is stored of one event, in its turn.
func (g *Book) Refresh(ctx context.Context, id live.EventID) error {
	return g.inTurn(ctx, id, func(ctx context.Context) error { return g.read(ctx, id) })
}

// read brings memory up to the store, and says again what comes late. It needs
// the event's turn.
func (g *Book) read(ctx context.Context, id live.EventID) error {
	item, err := g.Store.Get(ctx, layout.Events, id.String())
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil // or it was never stored: memory knows nothing better either
	case errors.Is(err, store.ErrCorrupt):
		item.Key, item.Value = id.String(), nil
	case err != nil:
		return fmt.Errorf("origin: reading event %v: %w", id, err)
	}
	var edits []store.Item
	for x, err := range store.All(ctx, g.Store, layout.Events, store.ScanOptions{Values: true, From: id.String() + "/", To: id.String() + "0"}) {
		if err != nil && !errors.Is(err, store.ErrCorrupt) {
			return fmt.Errorf("origin: reading the edits of event %v: %w", id, err)
		}
		edits = append(edits, x)
	}
	before := g.Get(id)
	var old *View
	if before != nil {
		old = before.View()
	}
	if err := g.take(ctx, id, item, edits); err != nil {
		return err
	}
	if e := g.Get(id); e != nil && e == before {
		if x, any := again(&old.Record, &e.View().Record); any {
			if err := g.put(ctx, e, x); err != nil {
				return err
			}
			g.Changed(id)
		}
	}
	return nil
}

// take enters what is stored of an event, as far as it is news. It needs the
// event's turn, except while the origin is being built.
func (g *Book) take(ctx context.Context, id live.EventID, item store.Item, edits []store.Item) error {
	var rec storedEvent
	err := json.Unmarshal(item.Value, &rec)
	e, tomb, dead := g.known(id)
	switch {
	case err != nil && e == nil:
		// As one that was deleted, with counts that are higher than any it can have
		// had, so that nothing goes back when it is created again.
		if !dead {
			g.Log.Error("stored event is unreadable: create it again", "event", id.String(), "err", err)
			now := g.Clock.Now()
			g.bury(id, tombstone{Version: now.Unix(), FlushVersion: now.Unix(), Sequence: now.Unix(), At: now.UTC(), token: item.Token, unreadable: true})
		}
		return nil
	case err != nil:
		e.unreadable.Store(true) // it goes on, and is written anew
	case rec.Tombstone != nil:
		if e == nil && dead && item.Token.Compare(tomb.token) <= 0 || e != nil && item.Token.Compare(e.View().ledger.token) <= 0 {
			return nil
		}
		rec.Tombstone.token = item.Token
		g.bury(id, *rec.Tombstone)
		return nil
	case e == nil && dead && item.Token.Compare(tomb.token) <= 0:
		return nil
	case e == nil || e.Life != rec.Life && item.Token.Compare(e.View().ledger.token) > 0:
		l := ledger{base: *rec.Record, token: item.Token}
		if e, err = newEvent(id, l.with(g.decode(ctx, id, rec.Life, edits)...)); err != nil {
			return err
		}
		if err := g.fill(ctx, e); err != nil {
			return err
		}
		g.enter(e)
		g.leave(e)
		return nil
	}
	was := &e.View().ledger
	l := *was
	if err == nil && item.Token.Compare(l.token) > 0 {
		l = l.on(*rec.Record, item.Token)
	}
	if l = l.with(g.decode(ctx, id, e.Life, edits)...); l.token == was.token && len(l.edits) == len(was.edits) {
		return nil
	}
	_, err = e.setLedger(l)
	return err
}

// decode reads edits of one life of an event. Those of an earlier one, which came
// while it was deleted, go.
func (g *Book) decode(ctx context.Context, id live.EventID, life int64, items []store.Item) (out []Edit) {
	for _, item := range items {
		var err error
		if item.Token.IsZero() { // the store found it corrupt
			if item.Token, err = editToken(item.Key); err != nil {
				g.Log.Error("stored edit left out", "key", item.Key, "err", err)
				continue
			}
		}
		x, err := decodeEdit(item, life)
		if err != nil {
			g.Log.Error("stored edit is unreadable: what it did is lost", "event", id.String(), "key", item.Key, "err", err)
		}
		if x.Life < life {
			_ = g.sweep(ctx, id, []store.Token{x.Token}) // or the next time
			continue
		}
		out = append(out, x)
	}
	return out
}

// FillInits reads the init segments of a rendition, and which pipelines' newest
// was refused. The oldest is the one that viewers have.
func (g *Book) FillInits(ctx context.Context, e *Event, rendition string) error {
	return g.scan(ctx, layout.Inits(e.ID, rendition), store.ScanOptions{Values: true}, func(item store.Item) error {
		if strings.HasSuffix(item.Key, gateSuffix) {
			return g.takeGate(ctx, e, rendition, item)
		}
		if is, err := g.takeLater(e, rendition, item); is {
			return err
		}
		c, life, err := layout.DecodeMeta(item, 0, item.Key)
		if err != nil || life != e.Life {
			return err
		}
		in, err := NewInit(item.Value, live.Source{Pipeline: c.Pipeline, Region: c.Region}, c.Published)
		if err != nil {
			return fmt.Errorf("origin: stored init segment of %v %s %s: %w", e.ID, rendition, item.Key, err)
		}
		if c.Generation > 0 { // of a pipeline that had none before
			e.Accept(rendition, c.Pipeline, in)
			return nil
		}
		e.LearnInit(rendition, in)
		return nil
	})
}

// scan calls f for every item of a record that opt names. What f cannot read
// is logged and left out, as is what the store finds corrupt.
func (g *Book) scan(ctx context.Context, r store.Record, opt store.ScanOptions, f func(store.Item) error) error {
	return layout.Scan(ctx, g.Store, g.Log, r, opt, f)
}

// NewInit reads an init segment.
func NewInit(data []byte, source live.Source, published time.Time) (*Init, error) {
	parsed, err := cmaf.ParseInit(data)
	if err != nil {
		return nil, err
	}
	if len(parsed.Tracks) != 1 {
		return nil, fmt.Errorf("%w: %d tracks, a CMAF init segment has one", cmaf.ErrMalformed, len(parsed.Tracks))
	}
	return &Init{Data: data, Digest: live.DigestOf(data), Track: parsed.Tracks[0], Source: source, Published: published}, nil
}

// ReadPins brings back from the journal which choices stand, and what was said of
// segments after they were published.
func ReadPins(ctx context.Context, s store.Store, e *Event, from, to live.Number) error {
	return journal.ReadJournal(ctx, s, e.Named(), from, to, func(_ string, x *journal.Entry) {
		digest, err := live.ParseDigest([]string{x.Digest})
		if x.Turn == journal.Verdict && err == nil {
			if q, err := live.ParseQuality([]string{x.Quality}); err == nil {
				e.Judge(x.Rendition, x.Number, x.Pipeline, digest, q)
			}
			return
		}
		if !x.Choice() || err != nil {
			return
		}
		e.Adopt(x.Rendition, x.Number, &Pin{Reason: selection.Reason(x.Reason), Pin: selection.Pin{Pipeline: x.Pipeline, Region: x.Region, Digest: digest,
			Turn: x.Turn, At: time.Unix(0, x.Chosen).UTC(), Node: x.By, Version: x.Version}})
	})
}
