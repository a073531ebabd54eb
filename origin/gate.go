package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"headwater/live"
	"headwater/store"
)

// Viewers play the segments of all pipelines with one init segment. A pipeline
// whose newest init segment does not fit it makes segments that it does not fit
// either, and most of that cannot be seen in the segment: so from the refusal
// on none of its segments of that rendition is taken, until it publishes an init
// segment that fits. A gate is what the newest init segment said.
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
type gate struct {
	token store.Token // of the arrival that decided; the zero token: nothing did
	// since is when the first of the init segments was refused, until when one
	// that fits arrived. What was published between them is not to be trusted.
	since, until time.Time
	why          string
	stored       bool // or the store was down
}

// shut reports whether the pipeline's segments are refused.
func (g *gate) shut() bool { return !g.since.IsZero() && g.until.IsZero() }

// holds reports whether what was published at that time came while it was shut.
func (g *gate) holds(published time.Time) bool {
	return !g.since.IsZero() && published.After(g.since) && (g.until.IsZero() || published.Before(g.until))
}

// problem is what a segment is answered while the gate is shut.
func (g *gate) problem(pipeline, rendition string) *live.Problem {
	return live.ErrInitDiffers.With(fmt.Sprintf("pipeline %q may not publish rendition %q since %s, when its %s was refused: %s. PUT one that fits first",
		pipeline, rendition, g.since.Format(live.TimeLayout), live.InitName, g.why))
}

// gateJSON is a gate at rest, as the metadata of the item PIPELINE/gate beside
// the pipeline's init segment. Its token is the item's.
type gateJSON struct {
	Life  int64  `json:"life,omitempty"`
	Since int64  `json:"since,omitempty"` // Unix ns
	Until int64  `json:"until,omitempty"`
	Why   string `json:"why,omitempty"`
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

func decodeGate(item store.Item) (g gate, life int64, err error) {
	var j gateJSON
	if err := json.Unmarshal(item.Meta, &j); err != nil {
		return g, 0, fmt.Errorf("origin: gate %s: %w", item.Key, err)
	}
	return gate{token: item.Token, since: fromUnixNano(j.Since), until: fromUnixNano(j.Until), why: j.Why, stored: true}, j.Life, nil
}

// gateOf is what is known of a pipeline's gate.
func (e *event) gateOf(rendition, pipeline string) gate {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.tracks[rendition]; t != nil {
		return t.gates[pipeline]
	}
	return gate{}
}

// A turning is what became of a gate that was learnt.
type turning struct {
	turned bool // it shut or opened
	marked []live.Candidate
}

// learnGate enters a gate, unless a newer one is known, and marks candidates
// that were published while it is shut.
func (e *event) learnGate(rendition, pipeline string, g gate) (out turning) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.track(rendition)
	old, known := t.gates[pipeline]
	switch c := g.token.Compare(old.token); {
	case c < 0:
		return out
	case c == 0 && known:
		// The same one, perhaps stored meanwhile. Each PUT comes by here: it must
		// not go through the DVR window.
		old.stored = old.stored || g.stored
		t.gates[pipeline] = old
		return out
	}
	if t.gates == nil {
		t.gates = make(map[string]gate)
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
	out.turned = g.shut() != old.shut()
	return out
}

// mark makes a candidate that came while the gate was shut one that is never
// served.
func (g *gate) mark(c *live.Candidate) {
	if g.holds(c.Published) {
		c.Findings = c.Findings.Merge(live.Findings{{Kind: live.InitMismatch}})
	}
}

// fillGates reads the gates of a rendition's pipelines, or of one of them.
func (g *registry) fillGates(ctx context.Context, e *event, rendition, pipeline string) error {
	opt := store.ScanOptions{}
	if pipeline != "" {
		opt.From, opt.To = pipeline+gateSuffix, pipeline+gateSuffix+"0"
	}
	return g.scan(ctx, initRecord(e.id, rendition), opt, func(item store.Item) error {
		if !strings.HasSuffix(item.Key, gateSuffix) {
			return nil
		}
		return g.takeGate(ctx, e, rendition, item)
	})
}

func (g *registry) takeGate(ctx context.Context, e *event, rendition string, item store.Item) error {
	x, life, err := decodeGate(item)
	if err != nil || life != e.life {
		return err
	}
	g.learnGate(ctx, e, rendition, strings.TrimSuffix(item.Key, gateSuffix), x)
	return nil
}

// learnGate enters a gate, and logs it where it turned. What it marks is taken
// out of the store: that says of a segment when its storing began, not when it
// was durable, and so not always that it came too late.
func (g *registry) learnGate(ctx context.Context, e *event, rendition, pipeline string, x gate) {
	t := e.learnGate(rendition, pipeline, x)
	for _, c := range t.marked {
		if err := g.store.Put(ctx, mediaRecord(e.id, rendition), store.Gone(segmentKey(c.Number, pipeline), tokenAfter(g.tokens, c.Published))); err != nil {
			g.log.Warn("a segment that was refused is left in the store", "event", e.id.String(), "pipeline", pipeline, "rendition", rendition, "number", int64(c.Number), "err", err)
		}
	}
	switch {
	case t.turned && x.shut():
		g.log.Warn("pipeline refused until its init segment fits", "event", e.id.String(), "pipeline", pipeline, "rendition", rendition, "why", x.why)
	case t.turned:
		g.log.Info("pipeline taken again: its init segment fits", "event", e.id.String(), "pipeline", pipeline, "rendition", rendition,
			"after", x.until.Sub(x.since).Truncate(time.Millisecond).String())
	}
}

// A refusedInit is a shut gate in the control API.
type refusedInit struct {
	Pipeline  string    `json:"pipeline"`
	Rendition string    `json:"rendition"`
	Since     time.Time `json:"since"`
	Why       string    `json:"why"`
}

// refusedInits lists the gates that are shut, of pipelines and renditions that
// the event has.
func (e *event) refusedInits() []refusedInit {
	cfg := e.view.Load().config()
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []refusedInit
	for _, r := range cfg.Renditions {
		t := e.tracks[r.Name]
		if t == nil {
			continue
		}
		for _, p := range slices.Sorted(maps.Keys(t.gates)) {
			if _, _, ok := cfg.Pipeline(p); !ok {
				continue
			}
			if g := t.gates[p]; g.shut() {
				out = append(out, refusedInit{p, r.Name, g.since, g.why})
			}
		}
	}
	return out
}
