package book

import (
	"context"
	"fmt"
	"time"

	"headwater/live"
	"headwater/origin/layout"
	"headwater/store"
)

// keptInits is how long init segments of generations after the first stay once nothing that
// they are for is in the DVR window, or once they were stored: they are before the edit is
// that names them.
const keptInits = time.Hour

// dropInits removes the init segments of generations that are over.
//
//	this node                            another
//	finds one that nothing names
//	                                     stores it anew, for a generation
//	                                     that begins with it
//	removes what was stored until half
//	a minute ago: what is new stays
func (g *Book) dropInits(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	for _, e := range g.List() {
		for rendition, inits := range e.over(g.Clock.Now()) {
			for _, in := range inits {
				if err := g.dropInit(ctx, e, rendition, in); err != nil {
					if ctx.Err() == nil {
						g.Log.Warn("an init segment that nothing needs is left in the store", "event", e.ID.String(), "rendition", rendition, "err", err)
					}
					continue
				}
				g.dropped.Inc()
				g.Log.Info("an init segment is removed: of its generation nothing is in the DVR window", "event", e.ID.String(), "rendition", rendition,
					"pipeline", in.Source.Pipeline, "published", in.Published, "digest", in.Digest.String())
			}
		}
	}
}

func (g *Book) dropInit(ctx context.Context, e *Event, rendition string, in *Init) error {
	t := g.Tokens.Next()
	t.Time -= int64(store.MaxDrift / 2)
	if err := g.Store.Put(ctx, layout.Inits(e.ID, rendition), store.Gone(generationKey(in.Digest), t)); err != nil {
		return fmt.Errorf("origin: removing an init segment: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if later := e.track(rendition).later; later[in.Digest.String()] == in {
		delete(later, in.Digest.String())
	}
	return nil
}

// over are the init segments of generations after the first that nothing needs, by
// rendition.
func (e *Event) over(now time.Time) map[string][]*Init {
	c := e.View().Config()
	tl := c.Event.Timeline()
	since := now.Add(-keptInits)
	needed := make(map[string]bool) // by rendition and digest
	for _, g := range live.NeededGenerations(c.Generations, tl.Oldest(since)) {
		for _, r := range g.Renditions {
			needed[r.Name+" "+r.Digest] = true
		}
	}
	out := make(map[string][]*Init)
	e.mu.Lock()
	defer e.mu.Unlock()
	for rendition, t := range e.tracks {
		for digest, in := range t.later {
			if !needed[rendition+" "+digest] && in.stored.Time < since.UnixNano() {
				out[rendition] = append(out[rendition], in)
			}
		}
	}
	return out
}
