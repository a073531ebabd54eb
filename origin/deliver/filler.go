package deliver

import (
	"context"
	"errors"
	"sync"

	"headwater/admit"
	"headwater/blobs"
	"headwater/live"
	"headwater/origin/book"
	"headwater/origin/window"
	"headwater/selection"
	"headwater/store"
)

// makeFiller makes, where the bytes are those of a segment before the one that is
// asked for, what stands in for it. It is a candidate of no pipeline: nobody
// chooses it, and it lasts a segment's duration only, so that a backfill still wins.
func (s *Server) makeFiller(d *delivery) (step, error) {
	src, n := d.decision.Candidate, d.path.Number
	if src.Number == n {
		return s.cutKeyFrame, nil
	}
	s.release(d)
	var made filler
	in, err := s.findInit(d)
	switch {
	case err == nil:
		made, err = s.fillerOf(d, in, src)
	case !errors.Is(err, live.ErrNoInit):
		return nil, err // it is not known whether there is one
	}
	if err != nil {
		s.Log.Warn("nothing can stand in for a lost segment", "path", d.path.String(), "of", int64(src.Number), "pipeline", src.Pipeline, "err", err)
		s.unfilled.Inc()
		d.decision = book.Choice{Decision: selection.Decision{Action: selection.Refuse, Reason: selection.NonePublished}}
		s.Book.Decided(d.event, selection.NonePublished)
		return nil, d.lost(s.Clock.Now())
	}
	tl := d.view.Timelines[d.path.Rendition]
	d.data = made.data
	d.decision = book.Choice{Decision: selection.Decision{Action: selection.Serve, Reason: selection.Filled, Candidate: &live.Candidate{
		Pipeline: src.Pipeline, Region: src.Region, Number: n, Digest: made.digest, Size: int64(len(made.data)),
		Findings: live.Findings{{Kind: live.Filled, MissingMS: tl.Segment().Milliseconds()}},
	}}}
	s.Book.Decided(d.event, selection.Filled)
	if tl.Live(n, s.Clock.Now()) {
		s.Watchman.Filled(d.path.Event, d.path.Rendition, n, "")
	}
	return s.cutKeyFrame, nil
}

type filler struct {
	data   []byte
	digest live.Digest
}

// fillers are the digests of those that were made last.
type fillers struct {
	mu sync.Mutex // guards the following
	by map[window.Key]live.Digest
}

// maxFillers are remembered; then it begins anew.
const maxFillers = 1024

func (f *fillers) get(k window.Key) (live.Digest, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	digest, ok := f.by[k]
	return digest, ok
}

func (f *fillers) put(k window.Key, digest live.Digest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil || len(f.by) >= maxFillers {
		f.by = make(map[window.Key]live.Digest)
	}
	f.by[k] = digest
}

// fillerOf is the filler that d asks for, of src: from memory, where it was made
// before. Its key there is of no pipeline, and has the digest of what it is made of. It
// is made, and its digest, once for all who ask at the same time: at a segment's
// deadline that is everybody who waited for it. One that is not live stays in nobody's
// memory: of the DVR window a tenant could ask for as many as push out all that is live.
func (s *Server) fillerOf(d *delivery, in *book.Init, src *live.Candidate) (filler, error) {
	key := window.Key{Event: d.path.Event, Rendition: d.path.Rendition, Number: d.path.Number, Digest: src.Digest}
	made, err, _ := s.shared.Do("fill "+d.path.String()+" "+src.Digest.ETag(), func() (any, error) {
		data, there := s.Window.Get(key)
		if digest, known := s.fillers.get(key); there && known {
			return filler{data, digest}, nil
		}
		work := s.Turns.Begin(context.Background(), d.class, d.taker())
		defer work.End()
		if !there {
			var err error
			if data, err = in.Filler(d.view.Timelines[d.path.Rendition], d.data, src.Number, d.path.Number, work.Pause); err != nil {
				return filler{}, err
			}
		}
		made := filler{data, blobs.DigestOf(store.WithPauses(context.Background(), work.Pause), data)}
		if !there && d.class == admit.Live {
			s.Window.Put(key, data)
			s.fillers.put(key, made.digest)
		}
		return made, nil
	})
	return made.(filler), err
}
