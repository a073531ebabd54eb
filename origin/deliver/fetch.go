package deliver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"headwater/origin/book"
	"headwater/origin/layout"
	"headwater/origin/window"

	"headwater/admit"
	"headwater/blobs"
	"headwater/live"
	"headwater/store"
)

// fetch gets the chosen bytes: from memory, or from the store, once for all
// who ask. What cannot be had is not chosen again.
func (s *Server) fetch(d *delivery) (step, error) {
	c := *d.decision.Candidate
	key := keyOf(d, &c)
	if data, ok := s.Window.Get(key); ok {
		s.memory.Inc()
		d.data = data
		return s.makeFiller, nil
	}
	began := time.Now()
	if err := s.Look.MayRead(d.class, d.key(), began); err != nil {
		return nil, err
	}
	d.turn.Give() // the reading takes its own
	e, class, who, fallBack := d.event, d.class, d.taker(), s.mayFallBack(d.r.Header)
	res, err := s.readOnce(d.r.Context(), key, fallBack, func(ctx context.Context) ([]byte, error) {
		leave, err := s.Look.Enter(e.ID.Tenant, class)
		if err != nil {
			return nil, err
		}
		defer leave()
		if !s.Budget.Room(c.Size) && (class != admit.Live || !s.Budget.RoomFirst(c.Size)) {
			s.noRoom.Inc()
			return nil, live.ErrShed.With("there is no memory for more segments of the " + class.String() + " class just now")
		}
		s.reading.Add(c.Size)
		defer s.reading.Add(-c.Size)
		s.storeReads.Inc()
		work := s.Turns.Begin(ctx, class, who)
		defer work.End()
		ctx = store.WithPauses(ctx, work.Pause)
		return s.obtain(ctx, e, key, c, fallBack)
	})
	d.timing.Add("store", time.Since(began))
	switch {
	case errors.Is(err, errAbsent):
		if d.absent == nil {
			d.absent = make(map[live.Digest]bool)
		}
		d.absent[c.Digest] = true
	case errors.Is(err, errReselect):
	case errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrNotFound):
		tl := d.view.Timelines[d.path.Rendition]
		s.Log.Error("candidate condemned", "path", d.path.String(), "pipeline", c.Pipeline, "err", err)
		s.condemned.Inc()
		e.Condemn(d.path.Rendition, c, tl.Segment().Milliseconds())
	case err != nil:
		return nil, err
	default:
		if class == admit.Live {
			// After a restart the live window comes back to memory as it is asked for.
			s.Window.Put(key, res)
		}
		d.data, d.beside = res, class != admit.Live
		return s.makeFiller, nil
	}
	d.looked = false
	return s.place, nil
}

// readOnce calls f once for all who ask for the same bytes at the same time, with a
// context that is not the first asker's: others wait too. Those who may not go on to another region wait
// for none who do: it might be waiting for them.
func (s *Server) readOnce(ctx context.Context, k window.Key, fallBack bool, f func(ctx context.Context) ([]byte, error)) ([]byte, error) {
	ch := s.shared.DoChan("get "+strconv.FormatBool(fallBack)+" "+k.Event.String()+"/"+k.Rendition+"/"+layout.SegmentKey(k.Number, k.Pipeline)+k.Digest.ETag(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), s.StoreTimeout)
		defer cancel()
		return f(ctx)
	})
	select {
	case res := <-ch:
		data, _ := res.Val.([]byte)
		return data, res.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// errReselect is what retrieve returns when what is known of the segment is no
// longer what it was when its candidate was chosen.
var errReselect = errors.New("origin: choose again")

// retrieve reads a candidate's bytes: from the cache, or from the store. Where
// that has a newer candidate in its place, that is learnt.
func (s *Server) retrieve(ctx context.Context, e *book.Event, k window.Key, size int64) ([]byte, error) {
	began := store.WorkClock(ctx)
	item, err := s.Cache.Get(ctx, s.Look.Store, layout.Media(k.Event, k.Rendition), layout.SegmentKey(k.Number, k.Pipeline), k.Digest, size)
	other := errors.Is(err, blobs.ErrOther)
	if other {
		s.Look.Observe(ctx, began, nil)
	} else {
		s.Look.Observe(ctx, began, err)
	}
	if !other {
		return item.Value, err
	}
	got := blobs.DigestOf(ctx, item.Value)
	if c, life, err := layout.DecodeCandidate(item); err == nil && life == e.Life && c.Digest == got {
		if s.Book.Learn(e, k.Rendition, c) {
			s.Look.Missed.Inc()
			return nil, errReselect
		}
		if now, ok := e.Candidate(k.Rendition, k.Number, k.Pipeline); ok && now.Digest == got {
			return nil, errReselect // repaired between the choice and the reading
		}
	}
	return nil, fmt.Errorf("%w: the digest of %v is another", store.ErrCorrupt, layout.SegmentKey(k.Number, k.Pipeline))
}
