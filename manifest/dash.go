package manifest

import (
	"cmp"
	"slices"
	"time"

	"headwater/live"
)

// aheadShare bounds how long before a segment is expected a DASH player asks
// for it: at most this part of a segment's duration.
//
// A player asks for a segment the moment the MPD makes it available, and the
// origin holds requests from Due on. So nothing is gained by telling players
// to wait for the publish allowance: they may ask when the last frame has been
// filmed, the answer leaves the instant the segment is there, and viewers gain
// whatever the encoder does not use of the allowance. What a hold costs is
// that some players count the wait as part of the download: they measure at
// least D/(wait+download) of the rendition's bit rate. With a wait of at most
// a quarter of D they see up to four times the rendition's bit rate, which is
// more than the next step of any common ladder, and never too little to stay.
const aheadShare = 4

// ahead is how long before Expected a player is told to ask: from the
// segment's end on, as far as aheadShare and the hold window allow.
func ahead(tl *live.Timeline) time.Duration {
	return max(0, min(tl.Allowance(), tl.Hold(), tl.Segment()/aheadShare))
}

// delay is how far behind the live edge players should stay: the segment
// that plays, the allowance and the whole retry budget of the next, and half
// a segment to bring it over. A segment that comes at its deadline is still
// in time.
func delay(tl *live.Timeline) time.Duration {
	d := tl.Segment()
	return roundUp(d+tl.Allowance()+tl.Budget()+d/2, 100*time.Millisecond)
}

func roundUp(d, unit time.Duration) time.Duration { return (d + unit - 1) / unit * unit }

// MPD writes the event's DASH manifest (ISO/IEC 23009-1:2022, profile
// isoff-live). Errors are *live.Problem, ready to be answered: live.ErrNoInit
// while too little is known of what there is to play, live.ErrGone once the
// whole event has left the DVR window.
//
// Presentation time 0 is the event's start, and stays so: also in the static
// MPD of a finished event, whose one Period begins where the DVR window does.
// A template with a constant duration has no word for a lost segment, as HLS
// has: a player learns of it from the answer to its request.
func MPD(in Input) ([]byte, error) { return in.mpd(false) }

// ListedMPD writes the MPD that lists segments (SegmentTimeline), as media
// playlists do, and is to be asked for again for every one. It is for tools that
// reckon wrongly by the clock, and are not helped by what ffmpeg is told. Besides MPD's
// errors there is live.ErrEarly before the first segment.
func ListedMPD(in Input) ([]byte, error) { return in.mpd(true) }

func (in *Input) mpd(listed bool) ([]byte, error) {
	tl := in.Config.Event.Timeline()
	if err := in.ready(&tl); err != nil {
		return nil, err
	}
	sets := group(in.Config.Renditions)
	if len(sets) == 0 {
		return nil, live.ErrNoInit
	}
	p := in.period(&tl)
	if p.listed = listed; listed {
		p.first = tl.Oldest(in.Now.Add(margin(&tl)))
		for _, s := range sets {
			var until time.Time
			if s.newest, until = in.listedTo(s); s.newest < tl.First() {
				return nil, early(until.Sub(in.Now))
			}
			p.first = min(p.first, s.newest)
		}
	}
	if p.static && p.shown > p.last {
		return nil, live.ErrGone
	}
	x := &xmlWriter{b: make([]byte, 0, 3072+1024*len(in.Config.Renditions))}
	x.b = append(x.b, `<?xml version="1.0" encoding="UTF-8"?>`...)
	x.start("MPD")
	x.attr("xmlns", "urn:mpeg:dash:schema:mpd:2011")
	if slices.ContainsFunc(in.Config.Renditions, func(r live.Rendition) bool { return in.isEncrypted(r.Name) }) {
		x.attr("xmlns:cenc", "urn:mpeg:cenc:2013")
		x.attr("xmlns:dashif", "https://dashif.org/CPS")
	}
	periods := in.periods(&p)
	behind, less := in.shallow(&p)
	if less || slices.ContainsFunc(periods, func(q period) bool { return q.misleads() }) {
		x.attr("xmlns:ffmpeg", ffmpegNamespace)
	}
	x.attr("profiles", "urn:mpeg:dash:profile:isoff-live:2011")
	in.timing(x, &p)
	if less {
		x.attrDuration(ffmpegBuffer, behind) // behind the right one: the last counts
	}
	x.attrDuration("minBufferTime", roundUp(tl.Segment(), time.Millisecond))
	x.attrDuration("maxSegmentDuration", roundUp(tl.Segment(), time.Millisecond))
	if !p.static {
		serviceDescription(x, &tl)
	}
	var before *period
	for _, q := range periods {
		if listed && !in.list(&q) {
			continue // it has not begun
		}
		x.start("Period")
		x.attr("id", q.id())
		x.attrDuration("start", tl.Start(q.shown).Sub(tl.Start(tl.First())))
		if q.static { // without it ffmpeg takes the event's duration for the Period's, and asks for what never was
			x.attrDuration("duration", tl.End(q.last).Sub(tl.Start(q.shown)))
		}
		in.eventStreams(x, &q)
		for _, s := range q.sets {
			s.write(x, &q, q.continues(s, before))
			s.writeKeyFrames(x, &q)
		}
		x.end()
		before = &q
	}
	if !p.static {
		x.start("UTCTiming")
		x.attr("schemeIdUri", isoClock)
		// In the same place as the manifest's host, tenant and event: /time.
		x.attr("value", cmp.Or(in.Config.TimeURL, "../../time"))
		x.end()
	}
	x.end()
	return append(x.b, '\n'), nil
}

const isoClock = "urn:mpeg:dash:utc:http-iso:2014"

// A period is what the MPD shows of the event.
type period struct {
	tl          *live.Timeline
	first, last live.Number
	shown       live.Number // the Period begins with it
	ends        bool        // last is known
	static      bool        // nothing is to come any more
	listed      bool        // segments are listed
	scale       scale
	config      *live.Config
	generation  *live.Generation // nil: the first
	sets        []*set
}

func (in *Input) period(tl *live.Timeline) period {
	p := period{tl: tl, config: in.Config, first: tl.First(), static: tl.Finished(in.Now), scale: scaleOf(in.Config)}
	p.last, p.ends = tl.Last()
	if p.static {
		p.first = tl.Oldest(in.Now.Add(margin(tl)))
	}
	p.shown = p.first
	return p
}

func (in *Input) timing(x *xmlWriter, p *period) {
	tl := p.tl
	if p.static {
		x.attr("type", "static")
		x.attrDuration("mediaPresentationDuration", tl.End(p.last).Sub(tl.Start(tl.First())))
		return
	}
	x.attr("type", "dynamic")
	// Where it is the event's start, latency that players work out from it is that from
	// the camera. That is why it is not said by availabilityTimeOffset that they
	// may ask before a segment is expected: the sum is the same, the latency not.
	x.attr("availabilityStartTime", isoTime(available(tl)))
	x.attr("publishTime", isoTime(in.Now.Truncate(time.Second)))
	update := in.update()
	if p.listed {
		update = tl.Segment()
	}
	x.attrDuration("minimumUpdatePeriod", update)
	if p.ends {
		x.attrDuration("mediaPresentationDuration", tl.End(p.last).Sub(tl.Start(tl.First())))
	}
	x.attrDuration("timeShiftBufferDepth", depth(tl))
	x.attrDuration("suggestedPresentationDelay", delay(tl))
}

// available is when the first segment may be asked for, less its duration.
func available(tl *live.Timeline) time.Time {
	return tl.Start(tl.First()).Add(tl.Allowance() - ahead(tl))
}

// depth is how far behind that players may seek.
func depth(tl *live.Timeline) time.Duration { return tl.DVR() - margin(tl) }

// serviceDescription says how far behind the camera players should stay, and
// that they may play a little faster or slower for it.
func serviceDescription(x *xmlWriter, tl *live.Timeline) {
	x.start("ServiceDescription")
	x.attrInt("id", 0)
	x.start("Latency")
	x.attrInt("referenceId", captureID)
	x.attrInt("target", delay(tl).Milliseconds())
	x.end()
	x.start("PlaybackRate")
	x.attr("min", "0.96")
	x.attr("max", "1.04")
	x.end()
	x.end()
}

// captureID names the ProducerReferenceTime by which latency is measured.
const captureID = 0

// captured says which media time was filmed when.
func (p *period) captured(x *xmlWriter) {
	x.start("ProducerReferenceTime")
	x.attrInt("id", captureID)
	x.attr("type", "captured")
	x.attr("wallClockTime", isoTime(p.tl.Start(p.shown)))
	x.attrInt("presentationTime", p.scale.offset(p.tl, p.shown))
	x.end()
}

// template is the same for every rendition with an init segment of that generation:
// numbers are aligned, and the template's timescale need not be the track's.
func (p *period) template(x *xmlWriter, s *set, generation int, as naming) {
	x.start("SegmentTemplate")
	x.attrInt("timescale", p.scale.timescale)
	if p.listed {
		as.name = timed
	} else {
		x.attrInt("duration", p.scale.duration)
		x.attrInt("startNumber", int64(p.first))
		if p.ends {
			x.attrInt("endNumber", int64(p.last))
		}
	}
	x.attrPositive("presentationTimeOffset", p.scale.offset(p.tl, p.shown))
	as.write(x, generation)
	if p.listed {
		x.start("SegmentTimeline")
		x.start("S")
		x.attrInt("t", p.scale.offset(p.tl, p.first))
		x.attrInt("d", p.scale.duration)
		x.attrPositive("r", int64(s.newest-p.first))
		x.end()
		x.end()
	}
	x.end()
}

// ffmpeg takes a startNumber for the place in the list. So where it is listed a segment has
// its time for a name.
const numbered, timed = "$Number$", "t$Time$"

// A naming is where segments of a Representation are, and what they are called there.
type naming struct{ of, name string }

// plain is that of whole segments: a Representation is called what its rendition is.
var plain = naming{"$RepresentationID$", numbered}

func (n naming) write(x *xmlWriter, generation int) {
	x.attr("initialization", n.of+"/"+live.InitFile(generation))
	x.attr("media", n.of+"/"+n.name+".m4s")
}

// listedTo is the newest number that all renditions of a set may be asked for, and
// until when that stays so. What is not published yet is held. ffmpeg asks for the
// end of the list again and again while the list does not grow, so that is not
// left to what has been published, but is the timeline's.
func (in *Input) listedTo(s *set) (n live.Number, until time.Time) {
	n = live.MaxNumber
	for _, r := range s.renditions {
		tl := in.Config.Timeline(r.Name)
		if m := tl.Edge(in.Now.Add(tl.Hold())); m < n {
			n, until = m, tl.Due(m+1)
		}
	}
	return n, until
}

// A scale is a timescale in which both the segment duration and the media
// time of the event's start are whole.
type scale struct{ timescale, duration int64 }

// maxTimescale keeps media times since 1970 below 2^53, so that JavaScript
// players count them exactly, until the year 2200.
const maxTimescale = 1_000_000

// scaleOf returns the event's scale. The segment duration is always whole in
// it; where the start lies on no tick that fits maxTimescale, its media time
// is rounded, by less than a frame: up to half a tick of at least
// maxTimescale/2.
func scaleOf(c *live.Config) scale {
	d := c.Segment
	g := int64(gcd(uint64(d.Ticks), uint64(d.Timescale)))
	s := scale{timescale: d.Timescale / g, duration: d.Ticks / g}
	ns := uint64(c.Start.UnixNano() % 1e9)
	if c.MediaTime == live.MediaStart || ns == 0 {
		return s
	}
	// The start is on a tick when ns*timescale divides by 10^9.
	k := int64(1e9 / gcd(1e9, ns))
	k /= int64(gcd(uint64(k), uint64(s.timescale)))
	if s.timescale*k > maxTimescale {
		k = max(1, maxTimescale/s.timescale)
	}
	return scale{s.timescale * k, s.duration * k}
}

// NumberAt is the number of the segment that ListedMPD calls by a time; false
// where there is none of exactly that.
func NumberAt(c *live.Config, time int64) (live.Number, bool) {
	tl, s := c.Event.Timeline(), scaleOf(c)
	n := tl.NumberHolding(time, s.timescale)
	if n < tl.First() {
		return 0, false
	}
	return n, s.offset(&tl, n) == time
}

// offset is the media time of the start of segment n.
func (s scale) offset(tl *live.Timeline, n live.Number) int64 {
	start, _ := tl.Media(n, s.timescale)
	return start
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
