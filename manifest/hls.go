package manifest

import (
	"strconv"

	"headwater/live"
)

// hlsVersion is the least that EXT-X-GAP needs (RFC 8216bis, 8).
const hlsVersion = 8

// Media writes the HLS media playlist of one rendition (RFC 8216bis, 4.4.3).
// Errors are *live.Problem, ready to be answered: live.ErrNoRendition,
// live.ErrNoInit while its init segment is not known, live.ErrEarly before
// the first segment, live.ErrGone once all have left the DVR window.
//
// A segment's media sequence number is its number, in every rendition. There
// is no EXT-X-PLAYLIST-TYPE: a DVR window goes on moving after the event's
// end, and both types promise that nothing is removed.
func Media(in Input, rendition string) ([]byte, error) {
	r, ok := in.Config.Rendition(rendition)
	if !ok {
		return nil, live.ErrNoRendition
	}
	if !known(&r) {
		return nil, live.ErrNoInit
	}
	tl := in.Config.Timeline(rendition)
	oldest, newest := tl.Oldest(in.Now.Add(margin(&tl))), in.newest(&tl, rendition)
	last, ends := tl.Last()
	switch {
	case ends && oldest > last:
		return nil, live.ErrGone
	case newest < tl.First():
		return nil, live.ErrEarly.For(max(overdue, tl.Expected(tl.First()).Sub(in.Now)))
	}
	oldest = min(oldest, newest) // a rendition so late that nothing is left lists its newest

	inf := extinfOf(in.Config.Segment, &tl)
	entry := inf.len() + len(newest.String()) + len(".m4s\n")
	b := make([]byte, 0, 512+int(newest-oldest+1)*entry)
	b = append(b, "#EXTM3U\n#EXT-X-VERSION:"...)
	b = appendInt(b, hlsVersion)
	b = append(b, "\n#EXT-X-TARGETDURATION:"...)
	target := targetDuration(in.Config.Segment)
	b = appendInt(b, target)
	b = append(b, "\n#EXT-X-MEDIA-SEQUENCE:"...)
	b = appendInt(b, int64(oldest))
	b = append(b, "\n#EXT-X-INDEPENDENT-SEGMENTS"...)
	if !(ends && newest == last) {
		// Three target durations are the least that is allowed (4.4.3.8).
		b = append(b, "\n#EXT-X-SERVER-CONTROL:HOLD-BACK="...)
		b = append(appendInt(b, 3*target), ".0"...)
	}
	b = append(b, "\n#EXT-X-MAP:URI=\""+live.InitName+"\"\n#EXT-X-PROGRAM-DATE-TIME:"...)
	b = tl.Start(oldest).AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, '\n')
	for n := oldest; n <= newest; n++ {
		b = inf.append(b, n)
		if in.Lost != nil && in.Lost(rendition, n) {
			b = append(b, "#EXT-X-GAP\n"...)
		}
		b = append(appendInt(b, int64(n)), ".m4s\n"...)
	}
	if ends && newest == last {
		b = append(b, "#EXT-X-ENDLIST\n"...)
	}
	return b, nil
}

// targetDuration is the largest EXTINF rounded to the nearest second, at least
// one (RFC 8216bis, 4.4.3.1).
func targetDuration(d live.Duration) int64 {
	return max(1, (2*d.Ticks+d.Timescale)/(2*d.Timescale))
}

// An extinf writes EXTINF tags in whole microseconds. Where the segment
// duration is not one, each is the difference of rounded times, so that their
// sum never drifts from the timeline, however long the playlist.
type extinf struct {
	tl   *live.Timeline
	same string // the tag, where it is the same for every number
}

func extinfOf(d live.Duration, tl *live.Timeline) extinf {
	e := extinf{tl: tl}
	if us := d.Ticks * 1_000_000; us%d.Timescale == 0 {
		e.same = string(appendExtinf(nil, us/d.Timescale))
	}
	return e
}

func (e *extinf) append(b []byte, n live.Number) []byte {
	if e.same != "" {
		return append(b, e.same...)
	}
	return appendExtinf(b, e.tl.End(n).UnixMicro()-e.tl.Start(n).UnixMicro())
}

func (e *extinf) len() int {
	if e.same != "" {
		return len(e.same)
	}
	return len("#EXTINF:60.000000,\n")
}

// appendExtinf writes milliseconds, and microseconds where there are any.
func appendExtinf(b []byte, us int64) []byte {
	b = append(b, "#EXTINF:"...)
	b = append(appendInt(b, us/1_000_000), '.')
	digits, frac := 6, us%1_000_000
	if frac%1000 == 0 {
		digits, frac = 3, frac/1000
	}
	b = appendPadded(b, frac, digits)
	return append(b, ",\n"...)
}

func appendPadded(b []byte, v int64, digits int) []byte {
	at := len(b)
	for range digits {
		b = append(b, '0')
	}
	for i := at + digits - 1; i >= at; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
	return b
}

func appendInt(b []byte, v int64) []byte { return strconv.AppendInt(b, v, 10) }
