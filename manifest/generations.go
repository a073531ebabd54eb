package manifest

import (
	"slices"
	"strconv"
	"time"

	"headwater/live"
)

// Where another generation begins (live.Generation), all playlists have a discontinuity,
// also of renditions that go on as they are: the same segments have the same
// discontinuity sequence number in all (RFC 8216bis, 6.2.4). It is the generation's
// index. An MPD has a Period for each, with ids and starts that stay as they are.

// Lead is how long before it begins a generation has to be known for every player to
// have heard of it: for as long as an MPD is kept, and asked for no more.
func Lead(in Input) time.Duration { return in.update() + steadyOf(&in) }

// steadyOf is how long an MPD may be cached of which nothing is about to change.
func steadyOf(in *Input) time.Duration {
	if in.tells() || in.renews() {
		return told
	}
	return steady
}

// update is after how long players ask for the MPD again.
func (in *Input) update() time.Duration {
	if !in.allKnown() || in.tells() || in.renews() {
		return telling
	}
	return steady
}

// renews reports whether a generation may begin by itself: players are to hear of it soon.
func (in *Input) renews() bool { return in.Config.OnNewInit == live.NewInitGeneration }

// begins reports whether another generation begins with a segment.
func (in *Input) begins(n live.Number) bool {
	return slices.ContainsFunc(in.Config.Generations, func(g live.Generation) bool { return g.From == n })
}

// appendMap says which init segment a rendition's segments have from n on, and which keys.
func (in *Input) appendMap(b []byte, rendition string, n live.Number, keys []byte) []byte {
	index, _ := in.Config.InitAt(rendition, n)
	b = append(b, keys...)
	return append(append(append(b, mapTag...), live.InitFile(index)...), "\"\n"...)
}

const mapTag = "#EXT-X-MAP:URI=\""

// appendDiscontinuity begins a generation.
func (in *Input) appendDiscontinuity(b []byte, tl *live.Timeline, rendition string, n live.Number, keys []byte) []byte {
	b = append(b, "#EXT-X-DISCONTINUITY\n"...)
	b = in.appendMap(b, rendition, n, keys)
	return tl.Start(n).AppendFormat(b, "#EXT-X-PROGRAM-DATE-TIME:"+timeLayout+"\n")
}

// periods are those of an MPD, of what is shown of the event in all.
func (in *Input) periods(all *period) []period {
	c := in.Config
	var out []period
	next := func(i int) live.Number {
		if i+1 < len(c.Generations) {
			return c.Generations[i+1].From
		}
		return live.MaxNumber + 1
	}
	oldest := all.tl.Oldest(in.Now.Add(margin(all.tl)))
	for i := -1; i < len(c.Generations); i++ {
		p, from := *all, all.tl.First()
		if i >= 0 {
			p.generation, from = &c.Generations[i], c.Generations[i].From
		}
		p.first, p.shown = max(p.first, from), max(p.shown, from)
		if until := next(i) - 1; until < live.MaxNumber && (!p.ends || until < p.last) {
			p.last, p.ends = until, true
			if until < oldest {
				continue // it has left the DVR window
			}
		}
		if p.ends && p.first > p.last {
			continue // it has no segment
		}
		p.sets = group(c.RenditionsAt(p.first))
		out = append(out, p)
	}
	return out
}

// list takes for each set of a Period the newest number that is listed. It reports
// whether there is one.
func (in *Input) list(p *period) bool {
	for _, s := range p.sets {
		if s.newest, _ = in.listedTo(s); p.ends {
			s.newest = min(s.newest, p.last)
		}
		if s.newest < p.first {
			return false
		}
	}
	return true
}

// initOf is the generation of the init segments of a set, where that is one.
func (p *period) initOf(s *set) (generation int, same bool) {
	generation, _ = p.config.InitAt(s.renditions[0].Name, p.first)
	return generation, !slices.ContainsFunc(s.renditions, func(r *live.Rendition) bool {
		g, _ := p.config.InitAt(r.Name, p.first)
		return g != generation
	})
}

// id is that of a Period.
func (p *period) id() string {
	if p.generation == nil {
		return "1"
	}
	return strconv.Itoa(p.generation.Index + 1)
}

// continuityScheme says that an AdaptationSet goes on from another Period as if there
// were no boundary (ISO/IEC 23009-1, 5.3.2.4).
const continuityScheme = "urn:mpeg:dash:period-continuity:2015"

// continues is the Period before, where a set goes on from that with the same init segments.
func (p *period) continues(s *set, before *period) string {
	if before == nil || slices.ContainsFunc(s.renditions, func(r *live.Rendition) bool { return p.generation.Renewed(r.Name) != nil }) {
		return ""
	}
	for _, was := range before.sets {
		if was.id == s.id && slices.EqualFunc(was.renditions, s.renditions, func(a, b *live.Rendition) bool { return a.Name == b.Name }) {
			return before.id()
		}
	}
	return ""
}
