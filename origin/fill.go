package origin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/selection"
	"headwater/store"
)

// fill reads what was published of an event. What cannot be read is left out:
// one bad item must not take the rest with it.
func (g *registry) fill(ctx context.Context, e *event) error {
	cfg := e.view.Load().config()
	for _, r := range cfg.Renditions {
		if err := g.fillInits(ctx, e, r.Name); err != nil {
			return err
		}
		var newest lastSeen
		err := g.scan(ctx, mediaRecord(e.id, r.Name), store.ScanOptions{}, func(item store.Item) error {
			c, life, err := decodeCandidate(item)
			if err == nil && life == e.life {
				e.learn(r.Name, c)
				newest.add(c)
			}
			return err
		})
		if err != nil {
			return err
		}
		// The lateness of an encoder does not change because this node starts.
		tl := cfg.Event.Timeline()
		var late time.Duration
		var changed bool
		for _, c := range newest {
			if d, ok := e.measure(r.Name, c, tl.Expected(c.Number)); ok {
				late, changed = d, true
			}
		}
		if changed {
			if err := e.setLateness(r.Name, late); err != nil {
				return err
			}
		}
	}
	return readPins(ctx, g.store, e, 0, live.MaxNumber)
}

// lastSeen collects of the newest segments the candidate that was there first.
// They are added in the order of their numbers.
type lastSeen []live.Candidate

func (l *lastSeen) add(c live.Candidate) {
	if n := len(*l); n > 0 && (*l)[n-1].Number == c.Number {
		if c.Published.Before((*l)[n-1].Published) {
			(*l)[n-1] = c
		}
		return
	}
	if len(*l) == measured {
		copy(*l, (*l)[1:])
		*l = (*l)[:measured-1]
	}
	*l = append(*l, c)
}

// fillInits reads the init segments of a rendition, and which pipelines' newest
// was refused. The oldest is the one that viewers have.
func (g *registry) fillInits(ctx context.Context, e *event, rendition string) error {
	return g.scan(ctx, initRecord(e.id, rendition), store.ScanOptions{Values: true}, func(item store.Item) error {
		if strings.HasSuffix(item.Key, gateSuffix) {
			return g.takeGate(ctx, e, rendition, item)
		}
		c, life, err := decodeMeta(item, 0, item.Key)
		if err != nil || life != e.life {
			return err
		}
		in, err := newInit(item.Value, live.Source{Pipeline: c.Pipeline, Region: c.Region}, c.Published)
		if err != nil {
			return fmt.Errorf("origin: stored init segment of %v %s %s: %w", e.id, rendition, item.Key, err)
		}
		e.learnInit(rendition, in)
		return nil
	})
}

// scan calls f for every item of a record that opt names. What f cannot read
// is logged and left out, as is what the store finds corrupt.
func (g *registry) scan(ctx context.Context, r store.Record, opt store.ScanOptions, f func(store.Item) error) error {
	return scan(ctx, g.store, g.log, r, opt, f)
}

func scan(ctx context.Context, s store.Store, log *slog.Logger, r store.Record, opt store.ScanOptions, f func(store.Item) error) error {
	for item, err := range store.All(ctx, s, r, opt) {
		if err == nil {
			err = f(item)
		} else if !errors.Is(err, store.ErrCorrupt) {
			return fmt.Errorf("origin: scanning %v: %w", r, err)
		}
		if err != nil {
			log.Error("stored item left out", "record", r.String(), "key", item.Key, "err", err)
		}
	}
	return nil
}

func newInit(data []byte, source live.Source, published time.Time) (*initSegment, error) {
	parsed, err := cmaf.ParseInit(data)
	if err != nil {
		return nil, err
	}
	if len(parsed.Tracks) != 1 {
		return nil, fmt.Errorf("%w: %d tracks, a CMAF init segment has one", cmaf.ErrMalformed, len(parsed.Tracks))
	}
	return &initSegment{data: data, digest: live.DigestOf(data), track: parsed.Tracks[0], source: source, published: published}, nil
}

// readPins brings back from the journal which choices stand.
func readPins(ctx context.Context, s store.Store, e *event, from, to live.Number) error {
	return readJournal(ctx, s, life{e.id, e.life}, from, to, func(_ string, x *entry) {
		digest, err := live.ParseDigest([]string{x.Digest})
		if x.Digest == "" || x.Turn == inPlace || err != nil {
			return
		}
		e.adopt(x.Rendition, x.Number, &pin{reason: selection.Reason(x.Reason), Pin: selection.Pin{Pipeline: x.Pipeline, Region: x.Region, Digest: digest,
			Turn: x.Turn, At: time.Unix(0, x.Chosen).UTC(), Node: x.By, Version: x.Version}})
	})
}
