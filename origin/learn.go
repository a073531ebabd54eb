package origin

import (
	"context"
	"headwater/live"
	"slices"
	"strconv"
)

// learnFrameRate notes a video rendition's frame rate from its first segment:
// an init segment does not say it.
func (o *Origin) learnFrameRate(p *publication) {
	r, _ := p.view.config().Rendition(p.path.Rendition)
	d := int64(p.found.FrameDuration)
	if r.Type != live.Video || r.FrameRate != "" || d == 0 {
		return
	}
	ts := int64(p.init.track.Timescale)
	g := gcd(ts, d)
	rate := strconv.FormatInt(ts/g, 10)
	if d != g {
		rate += "/" + strconv.FormatInt(d/g, 10)
	}
	o.learnRendition(p, func(r *live.Rendition) { setIfEmpty(&r.FrameRate, rate) })
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// learnRendition fills in what the operator left out. The segment is stored
// whatever becomes of this.
func (o *Origin) learnRendition(p *publication, fill func(*live.Rendition)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.r.Context()), o.cfg.StoreTimeout)
	defer cancel()
	_, err := o.events.edit(ctx, p.path.Event, func(rec *eventRecord, exists bool) error {
		i := slices.IndexFunc(rec.Config.Renditions, func(r live.Rendition) bool { return r.Name == p.path.Rendition })
		if !exists || i < 0 {
			return errUnchanged
		}
		r := rec.Config.Renditions[i]
		fill(&r)
		if r == rec.Config.Renditions[i] {
			return errUnchanged
		}
		rec.Config.Renditions = slices.Clone(rec.Config.Renditions)
		rec.Config.Renditions[i] = r
		rec.Config.Version++
		return rec.Config.Validate()
	})
	if err != nil {
		o.log.Error("learning from media", "event", p.path.Event.String(), "rendition", p.path.Rendition, "err", err)
	}
}

func setIfEmpty[T comparable](dst *T, v T) {
	var zero T
	if *dst == zero {
		*dst = v
	}
}
