package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"headwater/announce"
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

// gateLook bounds a look at a gate in the store. What it does not bring in time
// is not waited for: then the refusal must have been announced.
const gateLook = 250 * time.Millisecond

// arrive gives the PUT of an init segment its place in the order of arrivals,
// and begins to look for a refusal that no announcement told of.
func (o *Origin) arrive(p *publication) {
	looked := make(chan struct{})
	p.looked = looked
	if o.alone {
		close(looked)
	} else {
		go func() {
			defer close(looked)
			o.lookAtGate(p.r.Context(), p)
		}()
	}
	if p.path.File == live.FileInit {
		<-looked
		known := p.event.gateOf(p.path.Rendition, p.path.Pipeline)
		p.arrived = tokenAfter(o.tokens, time.Unix(0, known.token.Time))
	}
}

// lookAtGate learns from the store what another node may have decided.
func (o *Origin) lookAtGate(ctx context.Context, p *publication) {
	ctx, cancel := context.WithTimeout(ctx, gateLook)
	defer cancel()
	if err := o.events.fillGates(ctx, p.event, p.path.Rendition, p.path.Pipeline); err != nil {
		o.metrics.gateLooksFailed.Inc()
	}
}

// pass refuses a segment whose pipeline's gate is shut.
func (o *Origin) pass(p *publication) error {
	g := p.event.gateOf(p.path.Rendition, p.path.Pipeline)
	if !g.shut() {
		return nil
	}
	if !g.stored {
		if err := o.keepGate(p, g); err != nil {
			o.log.Error("a refused init segment is known to this node alone: the store does not take it", "path", p.path.String(), "err", err)
		}
	}
	return g.problem(p.path.Pipeline, p.path.Rendition)
}

// refuseInit shuts the gate, and returns why: the problem, or an error where
// it is shut at this node and not durable.
func (o *Origin) refuseInit(p *publication, why *live.Problem) error {
	old := p.event.gateOf(p.path.Rendition, p.path.Pipeline)
	g := gate{token: p.arrived, since: time.Now().UTC().Round(0), why: why.Detail}
	if old.shut() {
		g.since = old.since
	}
	o.events.learnGate(p.r.Context(), p.event, p.path.Rendition, p.path.Pipeline, g)
	if err := o.keepGate(p, g); err != nil {
		return err
	}
	return why
}

// openGate lets the pipeline publish whose init segment fits.
func (o *Origin) openGate(p *publication) error {
	old := p.event.gateOf(p.path.Rendition, p.path.Pipeline)
	g := gate{token: p.arrived, since: old.since, until: old.until}
	if old.shut() {
		g.until = time.Unix(0, p.arrived.Time).UTC()
	}
	if err := o.keepGate(p, g); err != nil {
		return err
	}
	if now := p.event.gateOf(p.path.Rendition, p.path.Pipeline); now.shut() {
		return live.ErrInitDiffers.With(fmt.Sprintf("this init segment fits, but another of pipeline %q came after it and was refused (%s): PUT it again", p.path.Pipeline, now.why))
	}
	return nil
}

// keepGate stores a gate, enters it and announces it. A fitting init segment's
// is not known here before it is durable, a refused one's is already.
func (o *Origin) keepGate(p *publication, g gate) error {
	meta, err := json.Marshal(gateJSON{Life: p.event.life, Since: unixNano(g.since), Until: unixNano(g.until), Why: g.why})
	if err != nil {
		return fmt.Errorf("publish: gate: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.r.Context()), o.cfg.StoreTimeout)
	defer cancel()
	item := store.Item{Key: p.path.Pipeline + gateSuffix, Token: g.token, Meta: meta}
	if err := o.store.Put(ctx, initRecord(p.path.Event, p.path.Rendition), item); err != nil {
		return fmt.Errorf("publish: storing what became of the init segment: %w", err)
	}
	g.stored = true
	o.events.learnGate(ctx, p.event, p.path.Rendition, p.path.Pipeline, g)
	if !o.alone {
		o.lookAtGate(ctx, p) // where a newer one was there already, Put has changed nothing
	}
	o.announce(announce.Message{Kind: announce.Init, Event: p.path.Event, Life: p.event.life, Rendition: p.path.Rendition,
		Candidate: live.Candidate{Pipeline: p.path.Pipeline, Region: p.source.Region, Digest: p.cand.Digest, Size: int64(len(p.body)), Published: time.Unix(0, g.token.Time).UTC()}})
	return nil
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
