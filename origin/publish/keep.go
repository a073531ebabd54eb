package publish

import (
	"context"
	"fmt"
	"time"

	"headwater/origin/book"
	"headwater/origin/layout"
	"headwater/origin/window"

	"headwater/announce"
	"headwater/live"
	"headwater/selection"
	"headwater/store"
)

// takeTurn waits for the other publications of the slot by its pipeline, so that
// a hedged PUT meets its twin's outcome instead of racing it. Those of an init
// segment go one at a time for the whole rendition: the first must be one.
//
//	a PUT                 its hedge, without turns     with them
//	reconciles: new       reconciles: new              waits
//	stores, 201           stores again, 201
//	                                                   reconciles: identical, 200
func (s *Server) takeTurn(p *publication) (err error) {
	k := busyKey{p.path.Event, p.path.Pipeline, p.path.Rendition, p.path.Number}
	if p.path.File == live.FileInit {
		k = busyKey{p.path.Event, "", p.path.Rendition, -1}
	}
	p.leave, err = s.busy.Lock(p.r.Context(), k)
	return err
}

// reconcile compares with what this pipeline has already published of the slot,
// and when that was.
func (s *Server) reconcile(p *publication) error {
	p.outcome = book.Created
	old, ok := p.event.Candidate(p.path.Rendition, p.path.Number, p.path.Pipeline)
	ahead := p.event.Ahead(p.path.Rendition, p.path.Number, p.path.Pipeline)
	switch {
	case !ok, ahead: // of what nobody was told that it is published, nothing is
		if p.full != nil {
			return s.fullFor(p)
		}
	case p.full != nil && old.Digest != p.cand.Digest:
		return s.fullFor(p)
	case old.Digest == p.cand.Digest && old.Findings.Has(live.DigestMismatch) && !p.cand.Findings.Has(live.DigestMismatch):
		p.outcome = book.Repaired // what was stored of these very bytes is bad or gone
	case old.Digest == p.cand.Digest:
		said := p.cand.Quality // perhaps more than the first time
		p.outcome, p.cand = book.Identical, old
		p.cand.Quality = old.Quality.Merge(said)
	case selection.Better(p.cand.Findings, old.Findings):
		p.outcome = book.Repaired
	case old.Clean():
		return live.ErrConflict.With(fmt.Sprintf("pipeline %q has published other bytes of segment %d, without a defect", p.path.Pipeline, p.path.Number))
	default:
		return live.ErrConflict.With(fmt.Sprintf("pipeline %q has published segment %d with %v, and these bytes (%v) are no better", p.path.Pipeline, p.path.Number, old.Findings, p.cand.Findings))
	}
	p.before = old.Published
	return nil
}

// keep stores durably and writes through to memory. What it stores is newer
// than what was there, whatever the clock did.
func (s *Server) keep(p *publication) error {
	if p.outcome == book.Identical {
		if before, after, ok := p.event.Judge(p.path.Rendition, p.path.Number, p.path.Pipeline, p.cand.Digest, p.cand.Quality); ok {
			p.cand = after
			s.judged(p, before.Quality)
		}
		// This node may know it from the store alone: a PUT that the store took and
		// answered with an error told nobody of it.
		p.news = append(p.news, announce.Message{Kind: announce.Published, Event: p.path.Event, Life: p.event.Life, Rendition: p.path.Rendition, Candidate: p.cand})
		return nil
	}
	tl := p.view.Timelines[p.path.Rendition]
	// What is stored says when storing began, since it cannot say when it ended;
	// what is announced says when it was durable. They differ by one group commit.
	began := time.Now()
	token := book.TokenAfter(s.Book.Tokens, p.before)
	p.cand.Published = time.Unix(0, token.Time).UTC()
	meta, err := layout.EncodeMeta(p.cand, p.event.Life)
	if err != nil {
		return fmt.Errorf("publish: metadata: %w", err)
	}
	// The packager may be gone; what it sent whole is worth keeping all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.r.Context()), s.StoreTimeout)
	defer cancel()
	var inside []timed // what the store says of its own steps
	ctx = store.WithTrace(ctx, func(step string, d time.Duration) { inside = append(inside, timed{step, d}) })
	record := layout.Media(p.path.Event, p.path.Rendition)
	item := store.Item{
		Key: layout.SegmentKey(p.path.Number, p.path.Pipeline), Token: token, Meta: meta, Value: p.body,
		Expires: tl.GoneAt(p.path.Number).Add(time.Minute),
	}
	ahead := s.deliverAhead(p)
	p.conn.TakeTurn().Give() // storing waits for the disk, or the network
	stored := s.Turns.Storing()
	err = s.Cache.Put(ctx, s.Book.Store, record, item, p.cand.Digest)
	stored()
	early := ahead.stop()
	s.Writes.Note(time.Now(), err)
	if err != nil {
		return fmt.Errorf("publish: storing segment %d: %w", p.path.Number, err)
	}
	if s.Book.Get(p.path.Event) != p.event {
		// The event was deleted meanwhile. Where its deletion did not cover this,
		// it is of that event's life, and so of no other event's, and expires.
		return book.NoEvent(p.path.Event)
	}
	p.cand.Published = after(s.Clock.Now(), p.cand.Published)
	if err := s.passGate(p); err != nil {
		// Its pipeline's init segment was refused while this was stored.
		s.takeBack(ctx, p, record, item)
		if early {
			p.event.Condemn(p.path.Rendition, p.cand, tl.Segment().Milliseconds())
		}
		return err
	}
	p.step(stepStore, time.Since(began))
	for _, x := range inside {
		p.timing.Add(x.step, x.d)
	}
	p.wants = p.cand.Quality.Wants()
	began = time.Now()
	s.Window.Put(p.key(), p.body)
	wasAhead := p.event.Ahead(p.path.Rendition, p.path.Number, p.path.Pipeline)
	s.Book.Learn(p.event, p.path.Rendition, p.cand)
	p.step(stepCache, time.Since(began))
	p.news = append(p.news, announce.Message{Kind: announce.Published, Event: p.path.Event, Life: p.event.Life, Rendition: p.path.Rendition, Candidate: p.cand})
	if m, ok := s.Book.Chosen(p.event, p.path.Rendition, p.cand); wasAhead && ok {
		p.news = append(p.news, m) // it was not said while others would have taken it to be stored
	}
	return nil
}

// key names the bytes of a segment in memory.
func (p *publication) key() window.Key {
	return window.Key{Event: p.path.Event, Rendition: p.path.Rendition, Number: p.path.Number, Pipeline: p.path.Pipeline, Digest: p.cand.Digest}
}

// takeBack deletes what was stored and is not to be published after all.
func (s *Server) takeBack(ctx context.Context, p *publication, record store.Record, item store.Item) {
	if err := s.Book.Store.Put(ctx, record, store.Gone(item.Key, book.TokenAfter(s.Book.Tokens, time.Unix(0, item.Token.Time)))); err != nil {
		s.Log.Warn("a segment that was refused is left in the store", "path", p.path.String(), "err", err)
	}
}

// after is t, or before where t is not later.
func after(t, before time.Time) time.Time {
	if t = t.UTC().Round(0); t.Before(before) { // as it comes back from the store
		return before
	}
	return t
}
