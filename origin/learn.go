package origin

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"headwater/announce"
	"headwater/live"
)

// learn enters a candidate and what it tells of the rendition's lateness. It
// reports whether it was news.
func (o *Origin) learn(e *event, rendition string, c live.Candidate) bool {
	if !e.learn(rendition, c) {
		return false
	}
	tl := e.view.Load().config().Event.Timeline()
	if late, changed := e.measure(rendition, c, tl.Expected(c.Number)); changed {
		if err := e.setLateness(rendition, late); err != nil {
			o.log.Error("observed lateness", "event", e.id.String(), "rendition", rendition, "err", err)
		}
	}
	return true
}

// wantsFrameRate reports whether a segment tells the frame rate of a rendition
// of which it is not known yet: an init segment does not say it.
func (o *Origin) wantsFrameRate(p *publication) bool {
	r, _ := p.event.view.Load().config().Rendition(p.path.Rendition)
	return r.Type == live.Video && r.FrameRate == "" && p.found.FrameDuration > 0
}

func (o *Origin) learnFrameRate(p *publication) {
	ts, d := int64(p.init.track.Timescale), int64(p.found.FrameDuration)
	g := gcd(ts, d)
	rate := strconv.FormatInt(ts/g, 10)
	if d != g {
		rate += "/" + strconv.FormatInt(d/g, 10)
	}
	o.learnRendition(p, &live.Rendition{Name: p.path.Rendition, FrameRate: rate})
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// frameOf is how long a frame of a rendition lasts, as far as is known.
func frameOf(r live.Rendition) time.Duration {
	switch r.Type {
	case live.Video:
		num, den, _ := strings.Cut(r.FrameRate, "/")
		n, _ := strconv.ParseInt(num, 10, 64)
		d, _ := strconv.ParseInt(den, 10, 64)
		if n == 0 {
			n, d = 24, 1
		}
		return time.Duration(max(d, 1)) * time.Second / time.Duration(n)
	case live.Audio:
		samples := 1024 // AAC
		switch codec, _, _ := strings.Cut(r.Codecs, "."); {
		case codec == "ac-3" || codec == "ec-3":
			samples = 1536
		case strings.EqualFold(codec, "opus"):
			samples = 960
		case r.Codecs == "mp4a.40.5" || r.Codecs == "mp4a.40.29":
			samples = 2048
		}
		rate := r.SampleRate
		if rate == 0 {
			rate = 32_000
		}
		return time.Duration(samples) * time.Second / time.Duration(rate)
	}
	return 0
}

// learnRendition fills in what the operator left out. What was published is
// stored whatever becomes of this.
func (o *Origin) learnRendition(p *publication, told *live.Rendition) {
	learnt := false
	_, err := o.events.edit(p.r.Context(), p.path.Event, func(rec *eventRecord, exists bool) (edit, error) {
		r, ok := rec.Config.Rendition(told.Name)
		if !exists || !ok {
			return edit{}, errUnchanged
		}
		was := r
		learnFrom(&r, told)
		if r == was {
			return edit{}, errUnchanged
		}
		ev := rec.Config.Event
		ev.Renditions = slices.Clone(ev.Renditions)
		ev.Renditions[slices.Index(ev.Renditions, was)] = r
		learnt = true
		return edit{Learn: told}, ev.Validate()
	})
	switch {
	case errors.Is(err, errNoEvent):
	case err != nil:
		o.log.Error("learning from media", "event", p.path.Event.String(), "rendition", p.path.Rendition, "err", err)
	case learnt:
		o.changed(p.path.Event)
	}
}

func setIfEmpty[T comparable](dst *T, v T) {
	var zero T
	if *dst == zero {
		*dst = v
	}
}

// announce tells the other nodes. It may fail: they look into the store.
func (o *Origin) announce(m announce.Message) {
	m.Node = o.node
	if err := o.cfg.Bus.Announce(m); err != nil {
		o.metrics.lostAnnouncements.Inc()
		o.log.Warn("announcement lost", "event", m.Event.String(), "rendition", m.Rendition, "number", int64(m.Candidate.Number), "err", err)
	}
}

// changed announces a change of an event.
func (o *Origin) changed(id live.EventID) {
	o.announce(announce.Message{Kind: announce.Changed, Event: id, Stamp: o.events.stamp(id)})
}
