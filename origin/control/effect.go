package control

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"headwater/origin/book"

	"headwater/live"
	"headwater/selection"
)

// An Effect is what a change would do to viewers.
type Effect struct {
	DryRun bool   `json:"dry_run"`
	Verb   string `json:"verb"`
	// Scope is what the request names, with its times as numbers.
	Scope      *live.Scope       `json:"scope,omitempty"`
	Renditions []RenditionEffect `json:"renditions"`
	// NothingLeft: viewers of a rendition would get nothing where they get, or
	// would get, something as it is.
	NothingLeft bool `json:"nothing_left"`
	// Of a PUT of an event: created, changed or unchanged; what of its
	// configuration changes; and what of that a person should mean. Of a generation:
	// when it would begin, or would have, and with what.
	Result   string   `json:"result,omitempty"`
	Changes  []string `json:"changes,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// A RenditionEffect is what it would do to one rendition.
type RenditionEffect struct {
	Rendition string `json:"rendition"`
	// Segments are the published ones that are touched, From to To the range they lie in.
	Segments int         `json:"segments"`
	From     live.Number `json:"from,omitempty"`
	To       live.Number `json:"to,omitempty"`
	// Serves is of how many of them each pipeline's serves, ThenServes of how
	// many it would, and of the rest nothing.
	Serves     map[string]int `json:"serves"`
	ThenServes map[string]int `json:"then_serves"`
	// Next are the pipelines that can serve what comes, ThenNext those that could.
	Next     []string `json:"next"`
	ThenNext []string `json:"then_next"`
}

// rehearse says what a change would do.
func (s *server) rehearse(c *change, touched *live.Scope, f func(rec *book.Record, exists bool) (book.Edit, error)) error {
	e := s.Book.Get(c.id)
	var rec book.Record
	if e != nil {
		rec = e.View().Record
	}
	x, err := f(&rec, e != nil)
	switch {
	case err == nil:
		x.Token.Time = s.Clock.Now().UnixNano()
		rec.Apply(&x)
	case !errors.Is(err, book.ErrUnchanged):
		return err
	}
	if e == nil {
		return writeJSON(c.w, 200, Effect{DryRun: true, Verb: c.verb, Renditions: []RenditionEffect{}, Result: "created"})
	}
	then, err := book.ViewOf(rec)
	if err != nil {
		return err
	}
	if err := s.Book.Await(c.r.Context(), e); err != nil {
		return err
	}
	out := effectOf(e, c.verb, then, touched, s.Clock.Now())
	out.NothingLeft = out.NothingLeft || c.blackout
	if x.Generation != nil {
		out.Changes = []string{beginning(x.Generation, &rec.Config)}
	}
	if g := e.View().Config().Generation(x.TakeBack); g != nil {
		out.Changes = []string{"taken back: " + beginning(g, &rec.Config)}
	}
	if c.verb == configureVerb {
		out.compare(rec.Config.Event, e.View().Config().Event, s.Clock.Now())
	}
	return writeJSON(c.w, 200, out)
}

// effectOf compares what is served with what would be in another view, nil where
// the event is no more, of the segments that are touched or change.
func effectOf(e *book.Event, verb string, then *book.View, touched *live.Scope, now time.Time) Effect {
	v := e.View()
	out := Effect{DryRun: true, Verb: verb, Scope: touched, Renditions: []RenditionEffect{}}
	var from live.Number
	if touched != nil {
		from = touched.From
	}
	for _, r := range v.Config().Renditions {
		row := RenditionEffect{Rendition: r.Name, Serves: map[string]int{}, ThenServes: map[string]int{}}
		served, thenServed := 0, 0
		for n, cs := range e.PublishedSlots(r.Name) {
			a, b := serves(e, v, r.Name, n, now), serves(e, then, r.Name, n, now)
			if a == b && !(touched != nil && slices.ContainsFunc(cs, func(c live.Candidate) bool {
				return touched.Holds(c.Pipeline, c.Region, r.Name, n)
			})) {
				continue
			}
			if row.Segments == 0 || n < row.From {
				row.From = n
			}
			row.Segments, row.To = row.Segments+1, max(row.To, n)
			if a != "" {
				row.Serves[a]++
				served++
			}
			if b != "" {
				row.ThenServes[b]++
				thenServed++
			}
		}
		row.Next, row.ThenNext = next(v, r.Name, from, now), next(then, r.Name, from, now)
		if row.Segments > 0 || !slices.Equal(row.Next, row.ThenNext) {
			out.Renditions = append(out.Renditions, row)
		}
		out.NothingLeft = out.NothingLeft || thenServed < served || len(row.ThenNext) == 0 && len(row.Next) > 0
	}
	return out
}

// serves is the pipeline that serves a published segment, or may still; "" for none.
func serves(e *book.Event, v *book.View, rendition string, n live.Number, now time.Time) string {
	if v == nil {
		return ""
	}
	tl, ok := v.Timelines[rendition]
	if place := tl.Place(n, now); !ok || place == live.Never || place == live.Gone {
		return ""
	}
	d := e.Choose(v, rendition, n, nil, now)
	switch d.Action {
	case selection.Serve:
		return d.Candidate.Pipeline
	case selection.Wait:
		if left := v.Config().Unmasked(rendition, n); len(left) > 0 {
			return left[0].Name
		}
	}
	return ""
}

// next are the pipelines that can serve what is filmed now, or from a number on,
// and what follows it.
func next(v *book.View, rendition string, from live.Number, now time.Time) []string {
	names := []string{}
	if v == nil {
		return names
	}
	tl, ok := v.Timelines[rendition]
	if !ok {
		return names
	}
	n := max(tl.At(now), tl.First(), from)
	if !tl.Holds(n + 1) {
		return names
	}
	after := v.Config().Unmasked(rendition, n+1)
	for _, p := range v.Config().Unmasked(rendition, n) {
		if slices.Contains(after, p) {
			names = append(names, p.Name)
		}
	}
	return names
}

// A use is what of a name is published.
type use struct {
	segments int
	from, to live.Number
}

func (u use) add(n live.Number) use {
	if u.segments == 0 || n < u.from {
		u.from = n
	}
	return use{u.segments + 1, u.from, max(u.to, n)}
}

type uses struct{ pipelines, renditions map[string]use }

// inUse is by pipeline and by rendition what is published.
func inUse(e *book.Event) uses {
	out := uses{make(map[string]use), make(map[string]use)}
	for _, rendition := range e.Renditions() {
		for n, cs := range e.PublishedSlots(rendition) {
			out.renditions[rendition] = out.renditions[rendition].add(n)
			for _, c := range cs {
				out.pipelines[c.Pipeline] = out.pipelines[c.Pipeline].add(n)
			}
		}
	}
	return out
}

// droppedBy says what of an event's is published and not in ev.
func droppedBy(e *book.Event, ev live.Event) (lost []string) {
	used, old := inUse(e), e.View().Config()
	say := func(kind, name string, u use, kept bool) {
		if u.segments > 0 && !kept {
			lost = append(lost, fmt.Sprintf("%s %q has published %d segments, from %d to %d", kind, name, u.segments, u.from, u.to))
		}
	}
	for _, p := range old.Pipelines {
		_, _, kept := ev.Pipeline(p.Name)
		say("pipeline", p.Name, used.pipelines[p.Name], kept)
	}
	for _, r := range old.Renditions {
		_, kept := ev.Rendition(r.Name)
		say("rendition", r.Name, used.renditions[r.Name], kept)
	}
	return lost
}
