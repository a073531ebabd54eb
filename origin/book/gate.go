package book

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"headwater/origin/layout"

	"headwater/live"
	"headwater/store"
)

// A Gate is what a pipeline's newest init segment said. Viewers play the segments
// of all pipelines with one init segment. A pipeline whose newest one does not fit
// it makes segments that it does not fit either, and most of that cannot be seen in
// the segment: so from the refusal on none of its segments of that rendition is
// taken, until it publishes an init segment that fits.
//
// Which is the newest is decided by arrival: each PUT of an init segment has the
// token of when it arrived, later than that of the gate known at the time, and
// the higher token wins, at this node, in the store and at other nodes. Fit and
// unfit are such PUTs of one pipeline, seg is one of its segments:
//
//	who, in order                                        gate then   seg
//	unfit arrives, seg is PUT                            shut        412
//	seg inspected, unfit refused, seg stored             shut        412, deleted from the store
//	seg durable, unfit refused, seg acknowledged         shut        stays: it was there first
//	unfit arrives, fit arrives, fit taken, unfit refused open        taken
//	fit arrives, unfit arrives, unfit refused, fit read  shut        412; so is fit: PUT it again
//	unfit refused here, store down                       shut here   412 here; stored with the next
//	                                                                 PUT that is refused for it
//	unfit refused at another node, announcement lost     found       412: each PUT looks into the store
//	unfit refused at another node while seg is stored    found later 201; when found, init-mismatch
//	                                                                 and deleted
//
// Candidates from before the refusal stay.
type Gate struct {
	Token store.Token // of the arrival that decided; the zero token: nothing did
	// since is when the first of the init segments was refused, until when one
	// that fits arrived. What was published between them is not to be trusted.
	Since, Until time.Time
	Why          string
	Stored       bool // or the store was down
	// Of is the generation whose init segment the newest one fits, while it is open.
	Of int
}

// Shut reports whether the pipeline's segments are refused.
func (g *Gate) Shut() bool { return !g.Since.IsZero() && g.Until.IsZero() }

// holds reports whether what was published at that time came while it was shut.
func (g *Gate) holds(published time.Time) bool {
	return !g.Since.IsZero() && published.After(g.Since) && (g.Until.IsZero() || published.Before(g.Until))
}

// Problem is what a segment is answered while the gate is shut.
func (g *Gate) Problem(pipeline, rendition string) *live.Problem {
	return live.ErrInitDiffers.With(fmt.Sprintf("pipeline %q may not publish rendition %q since %s, when its %s was refused: %s. PUT one that fits first",
		pipeline, rendition, g.Since.Format(live.TimeLayout), live.InitName, g.Why))
}

// gateJSON is a gate at rest, as the metadata of the item PIPELINE/gate beside
// the pipeline's init segment. Its token is the item's.
type gateJSON struct {
	Life  int64  `json:"life,omitempty"`
	Since int64  `json:"since,omitempty"` // Unix ns
	Until int64  `json:"until,omitempty"`
	Why   string `json:"why,omitempty"`
	Of    int    `json:"of,omitempty"`
}

// gateSuffix is what the key of a gate ends with. No pipeline's name has a slash.
const gateSuffix = "/gate"

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromUnixNano(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

func decodeGate(item store.Item) (g Gate, life int64, err error) {
	var j gateJSON
	if err := json.Unmarshal(item.Meta, &j); err != nil {
		return g, 0, fmt.Errorf("origin: gate %s: %w", item.Key, err)
	}
	return Gate{Token: item.Token, Since: fromUnixNano(j.Since), Until: fromUnixNano(j.Until), Why: j.Why, Stored: true, Of: j.Of}, j.Life, nil
}

// GateOf is what is known of a pipeline's gate.
func (e *Event) GateOf(rendition, pipeline string) Gate {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.peek(rendition).gates[pipeline]
}

// A turning is what became of a gate that was learnt.
type turning struct {
	turned bool // it shut or opened
	marked []live.Candidate
}

// learnGate enters a gate, unless a newer one is known, and marks candidates
// that were published while it is shut.
func (e *Event) learnGate(rendition, pipeline string, g Gate) (out turning) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.track(rendition)
	old, known := t.gates[pipeline]
	switch c := g.Token.Compare(old.Token); {
	case c < 0:
		return out
	case c == 0 && known:
		// The same one, perhaps stored meanwhile. Each PUT comes by here: it must
		// not go through the DVR window.
		old.Stored = old.Stored || g.Stored
		t.gates[pipeline] = old
		return out
	}
	if t.gates == nil {
		t.gates = make(map[string]Gate)
	}
	t.gates[pipeline] = g
	for _, s := range t.slots {
		i := slices.IndexFunc(s.candidates, func(c live.Candidate) bool { return c.Pipeline == pipeline && g.holds(c.Published) })
		if i >= 0 && !s.candidates[i].Findings.Has(live.InitMismatch) {
			s.candidates = slices.Clone(s.candidates)
			g.mark(&s.candidates[i])
			out.marked = append(out.marked, s.candidates[i])
			s.wake()
		}
	}
	out.turned = g.Shut() != old.Shut()
	return out
}

// mark makes a candidate that came while the gate was shut one that is never
// served.
func (g *Gate) mark(c *live.Candidate) {
	if g.holds(c.Published) {
		c.Findings = c.Findings.Merge(live.Findings{{Kind: live.InitMismatch}})
	}
}

// FillGates reads the gates of a rendition's pipelines, or of one of them.
func (g *Book) FillGates(ctx context.Context, e *Event, rendition, pipeline string) error {
	opt := store.ScanOptions{}
	if pipeline != "" {
		opt.From, opt.To = pipeline+gateSuffix, pipeline+gateSuffix+"0"
	}
	return g.scan(ctx, layout.Inits(e.ID, rendition), opt, func(item store.Item) error {
		if !strings.HasSuffix(item.Key, gateSuffix) {
			return nil
		}
		return g.takeGate(ctx, e, rendition, item)
	})
}

func (g *Book) takeGate(ctx context.Context, e *Event, rendition string, item store.Item) error {
	x, life, err := decodeGate(item)
	if err != nil || life != e.Life {
		return err
	}
	g.LearnGate(ctx, e, rendition, strings.TrimSuffix(item.Key, gateSuffix), x)
	return nil
}

// LearnGate enters a gate, and logs it where it turned. What it marks is taken
// out of the store: that says of a segment when its storing began, not when it
// was durable, and so not always that it came too late.
func (g *Book) LearnGate(ctx context.Context, e *Event, rendition, pipeline string, x Gate) {
	t := e.learnGate(rendition, pipeline, x)
	for _, c := range t.marked {
		if err := g.Store.Put(ctx, layout.Media(e.ID, rendition), store.Gone(layout.SegmentKey(c.Number, pipeline), TokenAfter(g.Tokens, c.Published))); err != nil {
			g.Log.Warn("a segment that was refused is left in the store", "event", e.ID.String(), "pipeline", pipeline, "rendition", rendition, "number", int64(c.Number), "err", err)
		}
	}
	switch {
	case t.turned && x.Shut():
		g.Log.Warn("pipeline refused until its init segment fits", "event", e.ID.String(), "pipeline", pipeline, "rendition", rendition, "why", x.Why)
	case t.turned:
		g.Log.Info("pipeline taken again: its init segment fits", "event", e.ID.String(), "pipeline", pipeline, "rendition", rendition,
			"after", x.Until.Sub(x.Since).Truncate(time.Millisecond).String())
	}
}

// KeepGate stores a gate, and enters it.
func (g *Book) KeepGate(ctx context.Context, e *Event, rendition, pipeline string, x Gate) error {
	meta, err := json.Marshal(gateJSON{Life: e.Life, Since: unixNano(x.Since), Until: unixNano(x.Until), Why: x.Why, Of: x.Of})
	if err != nil {
		return fmt.Errorf("origin: gate: %w", err)
	}
	if err := g.Store.Put(ctx, layout.Inits(e.ID, rendition), store.Item{Key: pipeline + gateSuffix, Token: x.Token, Meta: meta}); err != nil {
		return fmt.Errorf("origin: storing what became of the init segment: %w", err)
	}
	x.Stored = true
	g.LearnGate(ctx, e, rendition, pipeline, x)
	return nil
}

// A RefusedInit is a shut gate in the control API.
type RefusedInit struct {
	Pipeline  string    `json:"pipeline"`
	Rendition string    `json:"rendition"`
	Since     time.Time `json:"since"`
	Why       string    `json:"why"`
}

// RefusedInits lists the gates that are shut, of pipelines and renditions that
// the event has.
func (e *Event) RefusedInits() []RefusedInit {
	cfg := e.View().Config()
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []RefusedInit
	for _, r := range cfg.Renditions {
		t := e.peek(r.Name)
		for _, p := range slices.Sorted(maps.Keys(t.gates)) {
			if _, _, ok := cfg.Pipeline(p); !ok {
				continue
			}
			if g := t.gates[p]; g.Shut() {
				out = append(out, RefusedInit{p, r.Name, g.Since, g.Why})
			}
		}
	}
	return out
}
