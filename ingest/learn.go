package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"headwater/live"
)

// create makes the event where there is none, and gives it the pipeline where it
// has not got it.
func (p *publication) create(tracks []candidate, best evidence, segment time.Duration) error {
	make := p.srv.cfg.Create
	ev := p.event
	if ev == nil {
		made, err := learn(p.key.pipeline, tracks, best, segment)
		if err != nil {
			return live.ErrBadEvent.With(err.Error())
		}
		ev = made
	} else if _, _, ok := ev.Pipeline(p.key.pipeline); !ok {
		more := *ev
		more.Pipelines = append(slices.Clone(ev.Pipelines), live.Pipeline{Name: p.key.pipeline})
		ev = &more
	} else {
		return nil
	}
	ctx, cancel := context.WithTimeout(p.ctx, 10*time.Second)
	defer cancel()
	if err := make(ctx, p.secret, p.key.event, ev); err != nil {
		as := live.ErrUpstream
		if prob, ok := errors.AsType[*live.Problem](err); ok && prob.Status == http.StatusForbidden {
			as = prob // what it may not does not come with time
		}
		return as.With(fmt.Sprintf("event %s could not be made: %v", p.key.event, err))
	}
	p.log.Info("the event was made from what came, or given the pipeline", "start", ev.Start, "segment", fmt.Sprintf("%d/%d s", ev.Segment.Ticks, ev.Segment.Timescale),
		"renditions", describeRenditions(ev.Renditions), "pipelines", len(ev.Pipelines))
	p.event = ev
	return nil
}

// learn makes an event of what an encoder sends: a rendition for each track, segments
// as long as its own, which begin where its first does.
func learn(pipeline string, tracks []candidate, best evidence, segment time.Duration) (*live.Event, error) {
	ev := live.Default()
	ev.Pipelines = []live.Pipeline{{Name: pipeline}}
	ev.Segment = rational(min(max(segment, time.Second/10), time.Minute))
	used := map[string]bool{}
	for _, c := range tracks {
		if c.track.Type == "" {
			continue
		}
		r := live.Rendition{Name: unused(naming(c), used), Type: c.track.Type, Bandwidth: c.bandwidth, Language: c.language, Label: c.label,
			Width: c.track.Width, Height: c.track.Height}
		if r.Bandwidth == 0 {
			r.Bandwidth = cmp.Or(c.measured, guess(c))
		}
		ev.Renditions = append(ev.Renditions, r)
	}
	// By decode times, where they count from the epoch, else by what says when.
	first := time.Unix(0, 0).Add(toTime(best.shown, best.scale))
	if best.decode/int64(best.scale) < best.arrived.Unix()/2 {
		first, _ = best.filmed()
	}
	ev.Start = first.UTC().Round(time.Millisecond)
	err := ev.Validate()
	if err != nil {
		// What an encoder says for people to read may be unfit for it.
		for i := range ev.Renditions {
			ev.Renditions[i].Label, ev.Renditions[i].Language = "", ""
		}
		err = ev.Validate()
	}
	return &ev, err
}

// naming is what to call a track: as the encoder does where that says more than a
// number, else by its size or language.
func naming(c candidate) string {
	for _, n := range c.names {
		if n != "" && (n[0] < '0' || n[0] > '9') && n != "media" && n != "playlist" && n[:min(len(n), 6)] != "stream" {
			return n
		}
	}
	switch c.track.Type {
	case live.Video:
		return fmt.Sprintf("v%d", c.track.Height)
	case live.Audio:
		return "a-" + cmp.Or(toName(c.language), "main")
	}
	return "t-" + cmp.Or(toName(c.language), "main")
}

func unused(name string, used map[string]bool) string {
	out := name
	for n := 2; used[out]; n++ {
		out = fmt.Sprintf("%s-%d", name, n)
	}
	used[out] = true
	return out
}

// guess is a bandwidth where nothing tells one, in bits per second.
func guess(c candidate) int64 {
	switch c.track.Type {
	case live.Video:
		return max(int64(c.track.Width)*int64(c.track.Height)*3, 200_000)
	case live.Audio:
		return max(int64(c.track.Channels), 1) * 64_000
	}
	return 10_000
}

// rational is a duration as ticks, exact to the millisecond, and to a frame of 29.97
// or 59.94 a second.
func rational(d time.Duration) live.Duration {
	for _, scale := range []int64{1, 25, 1000, 30000} {
		ticks := toTicks(d, uint32(scale))
		if num := ticks; scale == 30000 {
			num = (ticks + 500) / 1001 * 1001
			if abs(toTime(num, 30000)-d) < time.Millisecond/4 {
				return live.Duration{Ticks: num, Timescale: scale}
			}
		}
		if abs(toTime(ticks, uint32(scale))-d) < 50*time.Microsecond {
			return live.Duration{Ticks: ticks, Timescale: scale}
		}
	}
	return live.Duration{Ticks: toTicks(d, 1_000_000), Timescale: 1_000_000}
}
