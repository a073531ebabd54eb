package control

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"headwater/live"
	"headwater/origin/book"
)

// A generationRequest begins a generation with what was refused of a rendition, or of
// all; of one pipeline, where they have different ones.
type generationRequest struct {
	Rendition string `json:"rendition"`
	Pipeline  string `json:"pipeline"`
	From      point  `json:"from"` // none: the first by which all players know of it
}

// mostAhead is how long before it begins a generation can be begun. Until it is taken back
// no other can begin before it: a digit too many would leave none for the event.
const mostAhead = time.Hour

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func answerGenerations(w http.ResponseWriter, v *book.View) error {
	return writeJSON(w, http.StatusOK, map[string]any{"generations": append([]live.Generation{}, v.Config().Generations...)})
}

func (s *server) getGenerations(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	e, err := s.lookUp(id)
	if err != nil {
		return err
	}
	return answerGenerations(w, e.View())
}

// postGeneration begins a generation with init segments that were refused.
func (s *server) postGeneration(c *change) error {
	var in generationRequest
	if err := decode(c.r, &in); err != nil {
		return err
	}
	e, err := s.lookUp(c.id)
	if err != nil {
		return err
	}
	cfg := e.View().Config()
	tl := cfg.Event.Timeline()
	b := book.Beginning{}
	if in.From.set() {
		if b.From, _, err = readRange(&tl, in.From, point{}, s.Clock.Now()); err != nil {
			return err
		}
		if least := e.UnpublishedFrom(&e.View().Record); b.From < least {
			return &live.FieldError{Field: "from", Reason: fmt.Sprintf("segment %d is published: it may be %d or later", b.From, least)}
		}
		if most := tl.At(later(s.Clock.Now(), cfg.Start).Add(mostAhead)); b.From > most {
			return &live.FieldError{Field: "from", Reason: fmt.Sprintf("segment %d is more than %v ahead: it may be %d or sooner, since none can begin before one that is known", b.From, mostAhead, most)}
		}
	}
	if b.Inits, err = s.refused(c, e, &in); err != nil {
		return err
	}
	renditions := slices.Sorted(maps.Keys(b.Inits))
	if !c.dryRun {
		if err := s.Book.KeepGenerations(c.r.Context(), e, b.Inits); err != nil {
			return err
		}
	}
	var begun live.Generation
	return s.apply(c, nil, existing(c.id, func(rec *book.Record) (book.Edit, error) {
		now := s.Clock.Now()
		if !in.From.set() {
			b.From = e.NextGeneration(rec, now, s.Book.Lead(rec), renditions...)
		}
		x, err := e.Begin(rec, b, now)
		begun = *x.Generation
		return x, err
	}), func(v *book.View) error {
		if err := s.Book.OpenFor(c.r.Context(), e, renditions); err != nil {
			return err // said again it begins no other: the gates are opened
		}
		return writeJSON(c.w, http.StatusOK, v.Config().Generation(begun.Index))
	})
}

// takeBackGeneration is for one that has not begun: no viewer came to it. Pipelines whose
// init segment is of it need another.
func (s *server) takeBackGeneration(c *change) error {
	index, err := strconv.Atoi(c.r.PathValue("index"))
	if err != nil {
		return live.ErrNotHere.For(-1).With("generations have numbers")
	}
	return s.apply(c, nil, existing(c.id, func(rec *book.Record) (book.Edit, error) {
		all := rec.Config.Generations
		g, tl := rec.Config.Generation(index), rec.Config.Event.Timeline()
		switch {
		case g == nil:
			return book.Edit{}, live.ErrNotHere.For(-1).With(fmt.Sprintf("the event has no generation %d", index))
		case g.From <= tl.At(s.Clock.Now()):
			return book.Edit{}, live.ErrBadRequest.With(fmt.Sprintf("generation %d has begun, with segment %d: begin another with the init segment of before, which is refused once more and then meant", index, g.From))
		case index != all[len(all)-1].Index:
			return book.Edit{}, live.ErrBadRequest.With(fmt.Sprintf("generation %d comes after it: take that back first", all[len(all)-1].Index))
		}
		return book.Edit{TakeBack: index}, nil
	}), func(v *book.View) error { return answerGenerations(c.w, v) })
}

// beginning says of a generation when it begins, and with what.
func beginning(g *live.Generation, cfg *live.Config) string {
	var with []string
	for _, r := range g.Renditions {
		words := r.Name
		if r.Width > 0 {
			words += fmt.Sprintf(" %dx%d", r.Width, r.Height)
		}
		with = append(with, words+" "+r.Codecs)
	}
	tl := cfg.Event.Timeline()
	return fmt.Sprintf("generation %d from segment %d on, %s: %s", g.Index, g.From, tl.Start(g.From).Format(live.TimeLayout), strings.Join(with, ", "))
}

// refused are the init segments that a request means, by rendition.
func (s *server) refused(c *change, e *book.Event, in *generationRequest) (map[string]*book.Init, error) {
	cfg := e.View().Config()
	if _, _, ok := cfg.Event.Pipeline(in.Pipeline); in.Pipeline != "" && !ok {
		return nil, &live.FieldError{Field: "pipeline", Reason: fmt.Sprintf("the event has no %q", in.Pipeline)}
	}
	out := make(map[string]*book.Init)
	var seen []string
	for _, r := range cfg.Renditions {
		if in.Rendition != "" && r.Name != in.Rendition {
			continue
		}
		seen = append(seen, r.Name)
		// Another node may have refused it.
		if err := s.Book.FillInits(c.r.Context(), e, r.Name); err != nil {
			return nil, err
		}
		var of string
		for _, pipeline := range slices.Sorted(maps.Keys(e.Refused(r.Name))) {
			x := e.Refused(r.Name)[pipeline]
			if x == nil || in.Pipeline != "" && pipeline != in.Pipeline {
				continue
			}
			if had := out[r.Name]; had != nil && had.Track.Compatible(&x.Track) != nil {
				return nil, &live.FieldError{Field: "pipeline", Reason: fmt.Sprintf("is needed: of rendition %q those of %s and %s were refused, and differ: %v", r.Name, of, pipeline, had.Track.Compatible(&x.Track))}
			}
			out[r.Name], of = x, pipeline
		}
	}
	switch {
	case len(seen) == 0:
		return nil, &live.FieldError{Field: "rendition", Reason: fmt.Sprintf("the event has no %q", in.Rendition)}
	case len(out) == 0:
		return nil, live.ErrBadRequest.With(fmt.Sprintf("no init segment of %s is refused: a generation begins with one that a pipeline has PUT; or set \"on_new_init\": \"generation\", and it begins when one comes", strings.Join(seen, ", ")))
	}
	return out, nil
}
