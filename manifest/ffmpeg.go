package manifest

import "time"

// ffmpeg, and what is built on it (mpv, yt-dlp), reckons the number of the newest segment
// from availabilityStartTime and takes presentationTimeOffset off the time that has passed,
// as if no Period could begin at another media time than 0. Where decode times count from
// 1970 it then asks for numbers that never were, as fast as it is refused. It looks for
// elements by their names alone, in capitals or not and in any namespace, and in a
// Representation before the AdaptationSet. So one of a namespace of ours, with a small
// letter, tells it that there is no offset and that numbers count from the event's start.
// Nobody else takes it for anything, not even who has no idea of namespaces (GStreamer,
// Go's encoding/xml).
const (
	ffmpegNamespace = "urn:headwater:ffmpeg"
	ffmpegTemplate  = "ffmpeg:segmentTemplate"
	ffmpegBuffer    = "ffmpeg:timeshiftbufferdepth"
)

// misleads reports whether ffmpeg reckons wrongly by the Period's SegmentTemplate.
func (p *period) misleads() bool {
	return !p.static && !p.listed && p.scale.offset(p.tl, p.shown) > 0
}

// tellFFmpeg tells it in a Representation, before the SegmentTemplate where that has its
// own: it takes the first for all there is.
func (p *period) tellFFmpeg(x *xmlWriter, generation int, own bool, as naming) {
	if !p.misleads() {
		return
	}
	x.start(ffmpegTemplate)
	x.attrInt("presentationTimeOffset", 0)
	if first := p.tl.First(); own || p.first != first {
		x.attrInt("startNumber", int64(first))
	}
	if own {
		x.attrInt("timescale", p.scale.timescale)
		x.attrInt("duration", p.scale.duration)
		as.write(x, generation)
	}
	x.end()
}

// shallow is the timeShiftBufferDepth that ffmpeg is told, if that is less than the
// right one. It takes it from the time that has passed, and what is less than nothing for a
// lot: then every segment is too old, and it reads the one to begin with again and again. So
// it is told no more than has passed. It never reads this MPD again: with no more than it stays
// behind, segments would be too old for ever; so it is told at least that and two segments,
// and goes on as soon as as much has passed.
func (in *Input) shallow(p *period) (d time.Duration, less bool) {
	least := roundUp(delay(p.tl)+2*p.tl.Segment(), time.Second)
	d = max(in.Now.Sub(available(p.tl)).Truncate(time.Second), least)
	return d, !p.static && !p.listed && d < depth(p.tl)
}
