package book

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"headwater/announce"
	"headwater/live"
	"headwater/origin/layout"
	"headwater/store"
)

// A generation (live.Generation) begins with an init segment that was refused, of one
// pipeline or of several that all have the same. It is stored under its digest before
// the edit that names it is, so that no node ever knows of a generation whose init
// segment is not to be had:
//
//	pipeline a            origin                            pipeline b
//	PUTs another init     refused: kept, gate shut          goes on
//	                      generation 1 begins at 1042:
//	                        stores the init, the edit
//	                        opens a's gate, for 1
//	PUTs 1041             other-generation                  PUTs 1041: serves
//	PUTs 1042: serves                                       PUTs 1042: other-generation
//	                                                        PUTs the new init, 1050: a candidate

// Keys beside a pipeline's init segment and its gate. No pipeline's name has a slash,
// or begins with a hyphen.
const (
	refusedSuffix    = "/refused"
	generationPrefix = "-generation/"
)

// generationKey is the key of an init segment of a generation after the first.
func generationKey(d live.Digest) string { return generationPrefix + fmt.Sprintf("%x", d) }

// KeepRefused stores the newest init segment of a pipeline that was refused.
func (g *Book) KeepRefused(ctx context.Context, e *Event, rendition string, in *Init) error {
	e.learnRefused(rendition, in)
	_, err := g.putInit(ctx, e, rendition, in.Source.Pipeline+refusedSuffix, in)
	return err
}

func (g *Book) putInit(ctx context.Context, e *Event, rendition, key string, in *Init) (t store.Token, err error) {
	meta, err := layout.EncodeNamedMeta(live.Candidate{Pipeline: in.Source.Pipeline, Region: in.Source.Region, Digest: in.Digest, Published: in.Published}, e.Life)
	if err != nil {
		return t, fmt.Errorf("origin: init segment: %w", err)
	}
	t = g.Tokens.Next()
	if err := g.Store.Put(ctx, layout.Inits(e.ID, rendition), store.Item{Key: key, Token: t, Meta: meta, Value: in.Data}); err != nil {
		return t, fmt.Errorf("origin: storing an init segment: %w", err)
	}
	return t, nil
}

// takeLater enters an init segment that is stored beside those of the first generation.
// It reports whether it is one.
func (g *Book) takeLater(e *Event, rendition string, item store.Item) (bool, error) {
	pipeline, refused := strings.CutSuffix(item.Key, refusedSuffix)
	if !refused && !strings.HasPrefix(item.Key, generationPrefix) {
		return false, nil
	}
	if !refused {
		pipeline = "" // the key does not say whose it is, and what was stored at first neither
	}
	c, life, err := layout.DecodeMeta(item, 0, pipeline)
	if err != nil || life != e.Life {
		return true, err
	}
	in, err := NewInit(item.Value, live.Source{Pipeline: c.Pipeline, Region: c.Region}, c.Published)
	if err != nil {
		return true, fmt.Errorf("origin: stored init segment of %v %s %s: %w", e.ID, rendition, item.Key, err)
	}
	if refused {
		e.learnRefused(rendition, in)
		return true, nil
	}
	in.stored = item.Token
	e.learnLater(rendition, in)
	return true, nil
}

func (e *Event) learnRefused(rendition string, in *Init) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.track(rendition)
	if t.refused == nil {
		t.refused = make(map[string]*Init)
	}
	if old := t.refused[in.Source.Pipeline]; old == nil || !in.Published.Before(old.Published) {
		t.refused[in.Source.Pipeline] = in
	}
}

func (e *Event) learnLater(rendition string, in *Init) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.track(rendition)
	if t.later == nil {
		t.later = make(map[string]*Init)
	}
	t.later[in.Digest.String()] = in
}

// Refused are the init segments of a rendition that were refused last, by pipeline, of
// those pipelines whose gate is shut.
func (e *Event) Refused(rendition string) map[string]*Init {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.peek(rendition)
	out := maps.Clone(t.refused)
	maps.DeleteFunc(out, func(pipeline string, _ *Init) bool { g := t.gates[pipeline]; return !g.Shut() })
	return out
}

// InitAt is the init segment of a rendition's segment n, nil where it is not known
// here, and the index of its generation.
func (e *Event) InitAt(v *View, rendition string, n live.Number) (in *Init, index int) {
	index, _ = v.Config().InitAt(rendition, n)
	return e.InitOfGeneration(v, rendition, index), index
}

// InitOfGeneration is the init segment that a generation gave a rendition.
func (e *Event) InitOfGeneration(v *View, rendition string, index int) *Init {
	if index == 0 {
		in, _ := e.InitOf(rendition, "")
		return in
	}
	g := v.Config().Generation(index)
	if g == nil {
		return nil
	}
	r := g.Renewed(rendition)
	if r == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.peek(rendition).later[r.Digest]
}

// Fits finds the generation that an init segment fits, of those that begin with or
// after the one of segment n; with ok false there is none, and why says how it
// differs from that one. Of the first generation there must be an init segment.
func (e *Event) Fits(v *View, rendition string, in *Init, n live.Number) (index int, ok bool, why error) {
	cfg := v.Config()
	current, index := e.InitAt(v, rendition, n)
	if current != nil {
		if why = current.Track.Compatible(&in.Track); why == nil {
			return index, true, nil
		}
	}
	for i := range cfg.Generations {
		g := &cfg.Generations[i]
		if g.From <= n || g.Renewed(rendition) == nil {
			continue
		}
		if next := e.InitOfGeneration(v, rendition, g.Index); next != nil && next.Track.Compatible(&in.Track) == nil {
			return g.Index, true, nil
		}
	}
	return 0, false, why
}

// serves reports whether a pipeline whose newest init segment fits one generation
// makes segments of another: they may have the same.
func (e *Event) serves(v *View, rendition string, fits, index int) bool {
	if fits == index {
		return true
	}
	a, b := e.InitOfGeneration(v, rendition, fits), e.InitOfGeneration(v, rendition, index)
	return a != nil && b != nil && a.Track.Compatible(&b.Track) == nil
}

// MayPublish says why a pipeline's segment n is not taken, of a pipeline whose newest
// init segment was: it is of another generation than the segment.
func (e *Event) MayPublish(v *View, rendition, pipeline string, n live.Number) error {
	index, from := v.Config().InitAt(rendition, n)
	g := e.GateOf(rendition, pipeline)
	if e.serves(v, rendition, g.Of, index) {
		return nil
	}
	detail := fmt.Sprintf("segment %d of rendition %q needs the init segment of generation %d, from %d on, and that of pipeline %q is of generation %d", n, rendition, index, from, pipeline, g.Of)
	if g.Of > index {
		if of := v.Config().Generation(g.Of); of != nil {
			detail += fmt.Sprintf(", which begins with segment %d", of.From)
		} else {
			detail += ", which was taken back: PUT one that fits"
		}
	} else {
		detail += ": PUT one that fits"
	}
	return live.ErrGeneration.With(detail)
}

// fitting is what is left of a segment's candidates without those that were published
// for another generation: by a node that did not know of it yet. It changes nothing.
func (v *View) fitting(cs []live.Candidate, rendition string, n live.Number) []live.Candidate {
	index, _ := v.Config().InitAt(rendition, n)
	other := func(c live.Candidate) bool { return c.Generation != index }
	if !slices.ContainsFunc(cs, other) {
		return cs
	}
	return slices.DeleteFunc(slices.Clone(cs), other)
}

// A Beginning is a generation to be begun.
type Beginning struct {
	From  live.Number
	Inits map[string]*Init // by rendition
}

// NextGeneration is the first number that a generation may begin with which players are
// to know of for so long before: one that is still to begin, where it leaves these
// renditions as they are, or the first of which nothing is published.
func (e *Event) NextGeneration(rec *Record, now time.Time, lead time.Duration, renditions ...string) live.Number {
	c := &rec.Config
	tl := c.Event.Timeline()
	least := e.UnpublishedFrom(rec)
	if n := len(c.Generations); n > 0 {
		last := &c.Generations[n-1]
		if last.From > tl.At(now) && last.From >= least && !slices.ContainsFunc(renditions, func(r string) bool { return last.Renewed(r) != nil }) {
			return last.From
		}
		least = max(least, last.From+1)
	}
	return max(least, tl.At(now.Add(lead))+1)
}

// UnpublishedFrom is the first number from which on nothing is published.
func (e *Event) UnpublishedFrom(rec *Record) live.Number {
	tl := rec.Config.Event.Timeline()
	return max(tl.First(), e.Last()+1)
}

// Renews reports whether a generation that is still to begin gives a rendition the init
// segment of this digest.
func (rec *Record) Renews(rendition string, d live.Digest, now time.Time) bool {
	tl := rec.Config.Event.Timeline()
	return slices.ContainsFunc(rec.Config.Generations, func(g live.Generation) bool {
		r := g.Renewed(rendition)
		return g.From > tl.At(now) && r != nil && r.Digest == d.String()
	})
}

// Begin is the edit by which a generation begins with these init segments, in an event
// as it is; or why it cannot.
func (e *Event) Begin(rec *Record, b Beginning, now time.Time) (Edit, error) {
	c := &rec.Config
	tl := c.Event.Timeline()
	oldest := tl.Oldest(now)
	g := live.Generation{Index: c.TakenBack + 1, From: b.From}
	x := Edit{Generation: &g, Oldest: oldest}
	all := live.NeededGenerations(c.Generations, oldest)
	if n := len(all); n > 0 {
		last := &all[n-1]
		g.Index = max(g.Index, last.Index+1)
		switch joins := b.From == last.From; {
		case joins:
			g.Index = last.Index
		case b.From < last.From:
			return x, live.ErrBadRequest.With(fmt.Sprintf("from: generation %d begins later, with segment %d", last.Index, last.From))
		case n >= live.MaxGenerations:
			return x, live.ErrBadRequest.With(fmt.Sprintf("an event has at most %d generations in its DVR window", live.MaxGenerations))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.Inits)) {
		r, ok := c.Rendition(name)
		if !ok {
			return x, live.ErrBadRequest.With(fmt.Sprintf("rendition: the event has no %q", name))
		}
		in := b.Inits[name]
		told := live.Rendition{Name: r.Name, Type: r.Type, Bandwidth: r.Bandwidth}
		LearnFrom(&told, in.Tells(name))
		g.Renditions = append(g.Renditions, live.Renewed{Rendition: told, Digest: in.Digest.String()})
	}
	// It may not be taken back any more: what edges would not read would be the end of the event.
	next := *c
	next.Generations = begin(all, &g, c.TakenBack)
	if err := next.ValidateGenerations(); err != nil {
		return x, err
	}
	if b, err := json.Marshal(next.Generations); err != nil || len(b) > live.MaxGenerationBytes {
		return x, live.ErrBadRequest.With(fmt.Sprintf("an event has at most %d bytes of generations: %d", live.MaxGenerationBytes, len(b)))
	}
	return x, nil
}

// Tells is what an init segment says of its rendition.
func (in *Init) Tells(rendition string) *live.Rendition {
	t := &in.Track
	kid := ""
	if t.KID != [16]byte{} {
		kid = live.FormatUUID(t.KID)
	}
	pssh := base64.StdEncoding.EncodeToString(t.PSSH)
	if _, ok := live.SplitPSSH(pssh); !ok {
		pssh = "" // too much to tell, or none: players have the init segment's own
	}
	return &live.Rendition{Name: rendition, Codecs: t.Codecs, Width: t.Width, Height: t.Height,
		Timescale: int64(t.Timescale), SampleRate: t.SampleRate, Channels: t.Channels,
		ChannelConfig: t.ChannelConfig, JOC: t.JOC, SAR: t.SAR, Color: t.Color,
		Scheme: t.Scheme, KID: kid, PSSH: pssh}
}

// KeepGenerations stores the init segments that a generation is to begin with.
func (g *Book) KeepGenerations(ctx context.Context, e *Event, inits map[string]*Init) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.Timeout)
	defer cancel()
	for rendition, in := range inits {
		t, err := g.putInit(ctx, e, rendition, generationKey(in.Digest), in)
		if err != nil {
			return err
		}
		kept := *in
		kept.stored = t
		e.learnLater(rendition, &kept)
	}
	return nil
}

// OpenFor opens the gates of the pipelines whose newest init segment was refused and
// fits a generation that there is now.
func (g *Book) OpenFor(ctx context.Context, e *Event, renditions []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.Timeout)
	defer cancel()
	v := e.View()
	tl := v.Config().Event.Timeline()
	var errs []error
	for _, rendition := range renditions {
		for pipeline, in := range e.Refused(rendition) {
			of, ok, _ := e.Fits(v, rendition, in, tl.At(g.Clock.Now()))
			if !ok {
				continue
			}
			old := e.GateOf(rendition, pipeline)
			x := Gate{Token: TokenAfter(g.Tokens, time.Unix(0, old.Token.Time)), Since: old.Since, Of: of}
			x.Until = time.Unix(0, x.Token.Time).UTC()
			if err := g.KeepGate(ctx, e, rendition, pipeline, x); err != nil {
				errs = append(errs, err)
				continue
			}
			e.Accept(rendition, pipeline, in)
			g.Announce(announce.Message{Kind: announce.Init, Event: e.ID, Life: e.Life, Rendition: rendition,
				Candidate: live.Candidate{Pipeline: pipeline, Region: in.Source.Region, Digest: in.Digest, Size: int64(len(in.Data)), Published: x.Until}})
		}
	}
	return errors.Join(errs...)
}

// Accept notes an init segment of a pipeline that fits a generation after the first.
func (e *Event) Accept(rendition, pipeline string, in *Init) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.track(rendition).inits[pipeline] = PipelineInit{in.Digest, in.Published}
}

// begin adds a generation. Where two nodes began one at once the first stands, and the
// other is of it, with the renditions that the first does not have. One that was taken
// back meanwhile stays so.
func begin(list []live.Generation, g *live.Generation, takenBack int) []live.Generation {
	list = slices.Clone(list)
	n := len(list)
	if g.Index <= takenBack {
		return list
	}
	if n == 0 || g.Index > list[n-1].Index && g.From > list[n-1].From {
		next := *g
		if next.Skipped = g.Index - 1; n > 0 { // what is last is never left out: what is between was taken back
			next.Skipped += list[n-1].Skipped - list[n-1].Index
		}
		return append(list, next)
	}
	last := &list[n-1]
	if g.Index != last.Index {
		return list
	}
	last.Renditions = slices.Clone(last.Renditions)
	for _, r := range g.Renditions {
		if last.Renewed(r.Name) == nil {
			last.Renditions = append(last.Renditions, r)
		}
	}
	return list
}

// learnIn fills in what is not known of a rendition in a generation.
func learnIn(list []live.Generation, index int, told *live.Rendition) []live.Generation {
	list = slices.Clone(list)
	for i := range list {
		if g := &list[i]; g.Index == index {
			g.Renditions = slices.Clone(g.Renditions)
			if r := g.Renewed(told.Name); r != nil {
				LearnFrom(&r.Rendition, told)
			}
		}
	}
	return list
}
