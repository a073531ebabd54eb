package book

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/origin/layout"
	"headwater/store"
)

// A slate is a clip that an operator has stand in for what is lost of a rendition, where
// the event's policy is live.LostSlate: of segment n its piece n mod K. What is sent follows
// from that and from n alone, so all nodes send the same. The pieces are stored, under a
// name that no other clip has, before the edit that names them is: no node knows of a slate
// that is not there. A clip is of one init segment, that of a generation; under another
// one what is lost is filled as if there were no clip.

// The limits of slates, in bytes.
const (
	MaxSlateBytes  = 32 << 20  // of a clip
	maxSlatesBytes = 512 << 20 // of all clips of an event
)

// A Slate is a clip that was given for a rendition.
type Slate struct {
	Rendition  string    `json:"rendition"`
	Generation int       `json:"generation"` // whose init segment its pieces are played with
	ID         string    `json:"id"`         // in the store; another one each time
	Digest     string    `json:"digest"`     // of what was uploaded, as Content-Digest
	Segments   int       `json:"segments"`
	Bytes      int64     `json:"bytes"`
	Uploaded   time.Time `json:"uploaded"`
}

// slateOf is the clip of a rendition in a generation; nil where there is none.
func (rec *Record) slateOf(rendition string, generation int) *Slate {
	for i := range rec.Slates {
		if s := &rec.Slates[i]; s.Rendition == rendition && s.Generation == generation {
			return s
		}
	}
	return nil
}

// Slate is the clip that stands in for a segment, should that be lost; nil where none does.
func (v *View) Slate(rendition string, n live.Number) *Slate {
	if v.Config().OnLost != live.LostSlate || !v.anyUnmasked(rendition, n) {
		return nil
	}
	index, _ := v.Config().InitAt(rendition, n)
	return v.Record.slateOf(rendition, index)
}

// A SlateNeeded says of which rendition what is lost is filled, though its event has slates.
type SlateNeeded struct {
	Rendition string `json:"rendition"`
	Why       string `json:"why"`
}

// SlatesNeeded are the renditions of an event with live.LostSlate whose newest generation
// has no clip. Text needs none: what is lost of it says nothing.
func (rec *Record) SlatesNeeded() (out []SlateNeeded) {
	cfg := &rec.Config
	if cfg.OnLost != live.LostSlate {
		return nil
	}
	for _, r := range cfg.Renditions {
		index, _ := cfg.InitAt(r.Name, live.MaxNumber)
		if r.Type == live.Text || rec.slateOf(r.Name, index) != nil {
			continue
		}
		why := "no clip was uploaded: what is lost is filled"
		if i := slices.IndexFunc(rec.Slates, func(s Slate) bool { return s.Rendition == r.Name }); i >= 0 {
			why = fmt.Sprintf("its clip is of generation %d: upload one for generation %d, until then what is lost is filled", rec.Slates[i].Generation, index)
		}
		out = append(out, SlateNeeded{r.Name, why})
	}
	return out
}

// slated adds a clip, in place of the one that its generation has. Those of generations of
// which no segment is needed from oldest on go.
func (rec *Record) slated(s *Slate, oldest live.Number) []Slate {
	least, _ := rec.Config.InitAt(s.Rendition, oldest)
	out := slices.DeleteFunc(slices.Clone(rec.Slates), func(x Slate) bool {
		return x.Rendition == s.Rendition && (x.Generation == s.Generation || x.Generation < least)
	})
	return append(out, *s)
}

// MaySlate refuses a clip that would be too much for the event.
func (rec *Record) MaySlate(s *Slate) error {
	sum := s.Bytes
	for _, x := range rec.Slates {
		if x.Rendition != s.Rendition || x.Generation != s.Generation {
			sum += x.Bytes
		}
	}
	if sum > maxSlatesBytes {
		return live.ErrBadRequest.With(fmt.Sprintf("the clips of the event would be %d bytes, at most %d are possible", sum, int64(maxSlatesBytes)))
	}
	return nil
}

// Unslated are the clips that a record does not have any more, of those that another had.
func (rec *Record) Unslated(before *Record) []Slate {
	return slices.DeleteFunc(slices.Clone(before.Slates), func(x Slate) bool {
		return slices.ContainsFunc(rec.Slates, func(y Slate) bool { return y.ID == x.ID })
	})
}

// CutSlate makes of an operator's file the pieces that stand in for segments of a rendition:
// for the generation of now, or else for one to come whose init segment it fits.
func (e *Event) CutSlate(v *View, rendition string, file []byte, now time.Time) (pieces [][]byte, generation int, err error) {
	tl := v.Config().Event.Timeline()
	n := max(tl.At(now), tl.First())
	in, index := e.InitAt(v, rendition, n)
	if in == nil {
		return nil, 0, live.ErrBadRequest.With(fmt.Sprintf("the init segment of rendition %q is not there yet: upload the clip when a pipeline has PUT it, since it has to fit that", rendition))
	}
	pieces, err = in.cutSlate(tl, file, n)
	for i := range v.Config().Generations {
		g := &v.Config().Generations[i]
		if !errors.Is(err, cmaf.ErrUnfit) || g.From <= n || g.Renewed(rendition) == nil {
			continue
		}
		if next := e.InitOfGeneration(v, rendition, g.Index); next != nil {
			if other, no := next.cutSlate(tl, file, g.From); no == nil {
				return other, g.Index, nil
			}
		}
	}
	return pieces, index, clipProblem(err)
}

// clipProblem is what an operator is told of a clip that cannot be taken.
func clipProblem(err error) error {
	switch {
	case errors.Is(err, cmaf.ErrNotCMAF):
		return live.ErrNotCMAF.With(err.Error())
	case err != nil:
		return live.ErrBadRequest.With("clip: " + err.Error())
	}
	return nil
}

// cutSlate cuts a file for one init segment, and looks at what viewers would get in the
// place of segment n and those behind it.
func (in *Init) cutSlate(tl live.Timeline, file []byte, n live.Number) ([][]byte, error) {
	first, _ := tl.Media(n, int64(in.Track.Timescale))
	pieces, err := cmaf.ParseClip(file, &in.Track, func(k int) int64 {
		at, _ := tl.Media(n+live.Number(k), int64(in.Track.Timescale))
		return at - first
	})
	if err != nil {
		return nil, err
	}
	for k := range pieces {
		m := n + live.Number(k)
		b, err := in.Slate(tl, pieces[k], m, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: piece %d: %w", cmaf.ErrUnfit, k, err)
		}
		w := in.window(tl, m)
		w.SegmentMS = tl.Segment().Milliseconds()
		if r, err := cmaf.Inspect(b, &in.Track, w); err != nil || !r.Findings.Clean() {
			return nil, fmt.Errorf("%w: piece %d: %s %v", cmaf.ErrUnfit, k, r.Findings, err)
		}
	}
	return pieces, nil
}

// Slate has a piece of a clip stand in for segment n.
func (in *Init) Slate(tl live.Timeline, piece []byte, n live.Number, pause func()) ([]byte, error) {
	return cmaf.Again(piece, &in.Track, in.window(tl, n), uint32(n), pause)
}

// Piece is which piece of a clip stands in for a segment.
func (s *Slate) Piece(n live.Number) int { return int(int64(n) % int64(s.Segments)) }

// KeepSlate stores the pieces of a clip.
func (g *Book) KeepSlate(ctx context.Context, e *Event, s *Slate, pieces [][]byte) error {
	for i, b := range pieces {
		item := store.Item{Key: layout.SlateKey(i, s.ID), Token: g.Tokens.Next(), Value: b}
		if err := g.putSlate(ctx, e, item); err != nil {
			return fmt.Errorf("origin: storing a slate: %w", err)
		}
	}
	return nil
}

// DropSlates takes clips out of the store that no record names. What the store does not
// take stays until the event is deleted.
func (g *Book) DropSlates(ctx context.Context, e *Event, all []Slate) {
	for _, s := range all {
		for i := range s.Segments {
			if err := g.putSlate(ctx, e, store.Gone(layout.SlateKey(i, s.ID), g.Tokens.Next())); err != nil {
				g.Log.Warn("a slate that was replaced stays in the store", "event", e.ID.String(), "rendition", s.Rendition, "err", err)
				return
			}
		}
	}
}

func (g *Book) putSlate(ctx context.Context, e *Event, item store.Item) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.Timeout)
	defer cancel()
	return g.Store.Put(ctx, layout.Slates(e.ID), item)
}
