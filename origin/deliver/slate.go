package deliver

import (
	"context"
	"errors"

	"headwater/admit"
	"headwater/blobs"
	"headwater/live"
	"headwater/origin/book"
	"headwater/origin/layout"
	"headwater/origin/window"
	"headwater/selection"
	"headwater/store"
)

// clipBytes of slates stay in memory: where both pipelines are lost the store may be slow.
const clipBytes = 64 << 20

// makeSlate has a piece of the operator's clip stand in for a segment that is lost. Like a
// filler it is a candidate of no pipeline, and lasts a segment's duration. Where it cannot be
// had the segment is filled: a picture of before is better than none.
func (s *Server) makeSlate(d *delivery) (step, error) {
	s.release(d)
	made, err := s.slateOf(d, d.view.Slate(d.path.Rendition, d.path.Number))
	switch {
	case errors.Is(err, live.ErrShed), d.r.Context().Err() != nil:
		return nil, err
	case err != nil:
		s.Log.Warn("a slate cannot be had", "path", d.path.String(), "err", err)
		s.unslated.Inc()
		return s.fill, nil
	}
	tl, n := d.view.Timelines[d.path.Rendition], d.path.Number
	d.data = made.data
	d.decision = book.Choice{Decision: selection.Decision{Action: selection.Serve, Reason: selection.Slated, Candidate: &live.Candidate{
		Number: n, Digest: made.digest, Size: int64(len(made.data)),
		Findings: live.Findings{{Kind: live.Filled, MissingMS: tl.Segment().Milliseconds()}, {Kind: live.Slate}},
	}}}
	s.Book.Decided(d.event, selection.Slated)
	if tl.Live(n, s.Clock.Now()) {
		s.Watchman.Filled(d.path.Event, d.path.Rendition, n, "slate")
	}
	return s.cutKeyFrame, nil
}

// filled reports whether what is sent stands in for what is lost.
func (d *delivery) filled() bool {
	return d.decision.Reason == selection.Filled || d.decision.Reason == selection.Slated
}

// slateOf is what of a clip stands in for the segment that is asked for. It is made once
// for all who ask at the same time, and what is live stays in memory, as fillers do.
func (s *Server) slateOf(d *delivery, clip *book.Slate) (filler, error) {
	in, err := s.findInit(d)
	if err != nil {
		return filler{}, err
	}
	n := d.path.Number
	key := window.Key{Event: d.path.Event, Rendition: d.path.Rendition, Number: n, Pipeline: "-slate/" + clip.ID}
	data, there := s.Window.Get(key)
	if digest, known := s.fillers.get(key); there && known {
		return filler{data, digest}, nil
	}
	piece, err := s.pieceOf(d, clip)
	if err != nil {
		return filler{}, err
	}
	made, err, _ := s.shared.Do("slate "+d.path.String()+" "+clip.ID, func() (any, error) {
		work := s.Turns.Begin(context.Background(), d.class, d.taker())
		defer work.End()
		data, err := in.Slate(d.view.Timelines[d.path.Rendition], piece, n, work.Pause)
		if err != nil {
			return filler{}, err
		}
		made := filler{data, blobs.DigestOf(store.WithPauses(context.Background(), work.Pause), data)}
		if d.class == admit.Live {
			s.Window.Put(key, data)
			s.fillers.put(key, made.digest)
		}
		return made, nil
	})
	return made.(filler), err
}

// pieceOf reads a piece of a clip, from memory or, once for all who ask, the store.
func (s *Server) pieceOf(d *delivery, clip *book.Slate) ([]byte, error) {
	i := clip.Piece(d.path.Number)
	key := window.Key{Event: d.path.Event, Rendition: d.path.Rendition, Number: live.Number(i), Pipeline: clip.ID}
	if data, ok := s.clips.Get(key); ok {
		return data, nil
	}
	e, class := d.event, d.class
	return s.readOnce(d.r.Context(), key, false, func(ctx context.Context) ([]byte, error) {
		leave, err := s.Look.Enter(e.ID.Tenant, class)
		if err != nil {
			return nil, err
		}
		defer leave()
		item, err := s.Look.Store.Get(ctx, layout.Slates(e.ID), layout.SlateKey(i, clip.ID))
		if err != nil {
			return nil, err
		}
		s.clips.Put(key, item.Value)
		return item.Value, nil
	})
}
