package manifest

import (
	"strconv"
	"time"

	"headwater/live"
)

const (
	// hlsVersion is what EXT-X-GAP needs, skipVersion what EXT-X-SKIP does
	// (RFC 8216bis, 8).
	hlsVersion, skipVersion = 8, 9
	// holdBack is how many target durations behind the end players stay: the
	// least that is allowed (RFC 8216bis, 4.4.3.8).
	holdBack = 3
	// keepListed is how many target durations a delta update lists: twice the
	// least that is allowed, so that a player may miss some answers. It skips no
	// fewer segments than it lists: video.js takes one for nothing new that lists as
	// many as the playlist that it has, and would so for ever, from when an event is
	// one segment longer than what is listed.
	keepListed = 12
	// gapsBefore is how many segments before the first are listed as gaps while it is
	// not there: players give an event up that has no playlist, or one without
	// segments. hls.js begins at the first of them, and passes over two target durations
	// at most where nothing has been played yet.
	gapsBefore = 1
	// maxListed is how many segments a playlist lists, a day of two seconds each: one
	// of a longer window is of no use to a player, and would cost it, and whoever makes
	// it, a hundred megabytes.
	maxListed = 43_200
)

// Playlist writes the playlist that is asked for of a rendition: Media, or that of its key
// frames alone (RFC 8216bis, 4.4.3.6).
func Playlist(in Input, p live.Path) ([]byte, error) {
	if p.Key {
		in.DeltaUpdates, in.keyFrames = false, true
	}
	return Media(in, p.Rendition)
}

// Media writes the HLS media playlist of one rendition (RFC 8216bis, 4.4.3).
// Errors are *live.Problem, ready to be answered: live.ErrNoRendition,
// live.ErrNoInit while its init segment is not known, live.ErrGone once all
// segments have left the DVR window or the event is over without one, and
// live.ErrEarly before the first where that is number 0: of others there is
// a gap before it.
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
	case in.unpublished(&tl):
		return nil, errUnpublished
	case newest < tl.First():
		if oldest = max(0, tl.First()-gapsBefore); oldest == tl.First() {
			return nil, early(max(overdue, tl.Expected(tl.First()).Sub(in.Now)))
		}
		newest = tl.First() - 1
	}
	oldest = min(max(oldest, newest-maxListed+1), newest) // a rendition so late that nothing is left lists its newest

	target := targetDuration(in.Config.Segment)
	ended := ends && newest == last
	from, version := oldest, int64(hlsVersion)
	if in.Skip && in.DeltaUpdates && !ended {
		keep := (keepListed*target*in.Config.Segment.Timescale + in.Config.Segment.Ticks - 1) / in.Config.Segment.Ticks
		if f := newest - live.Number(keep) + 1; f-oldest > newest-f {
			from, version = f, skipVersion
		}
	}
	inf := extinfOf(in.Config.Segment, &tl)
	entry := inf.len() + digits(int64(newest)) + len(live.KeyPrefix+".m4s\n")
	b := make([]byte, 0, 512+int(newest-from+1)*entry)
	b = appendInt(append(b, "#EXTM3U\n#EXT-X-VERSION:"...), version)
	b = appendInt(append(b, "\n#EXT-X-TARGETDURATION:"...), target)
	b = appendInt(append(b, "\n#EXT-X-MEDIA-SEQUENCE:"...), int64(oldest))
	if index := in.Config.DiscontinuityAt(oldest); index > 0 {
		b = appendInt(append(b, "\n#EXT-X-DISCONTINUITY-SEQUENCE:"...), int64(index))
	}
	b = append(b, "\n#EXT-X-INDEPENDENT-SEGMENTS\n"...)
	if in.keyFrames {
		b = append(b, "#EXT-X-I-FRAMES-ONLY\n"...)
	}
	if !ended {
		b = appendInt(append(b, "#EXT-X-SERVER-CONTROL:HOLD-BACK="...), holdBack*target)
		b = append(b, ".0"...)
		if in.DeltaUpdates {
			b = appendInt(append(b, ",CAN-SKIP-UNTIL="...), keepListed*target)
			b = append(b, ".0"...)
		}
		b = append(b, '\n')
	}
	keys := in.keys(rendition, oldest, newest)
	b = in.appendMap(b, rendition, oldest, keys.text)
	if !in.keyFrames { // of those nobody plays what is told
		b = in.appendDateRanges(b, &tl, oldest)
	}
	if from > oldest {
		b = appendInt(append(b, "#EXT-X-SKIP:SKIPPED-SEGMENTS="...), int64(from-oldest))
		b = append(b, '\n')
		changed := keys.upTo(&in, oldest+1, from-1) // among what is skipped
		switch {
		case in.Config.GenerationAt(from-1) != in.Config.GenerationAt(oldest):
			b = in.appendMap(b, rendition, from-1, keys.text)
		case changed:
			b = append(b, keys.text...)
		}
	}
	start := tl.Start(from)
	if from < tl.First() { // where the timeline ends
		start = start.Add(-tl.Segment() * time.Duration(tl.First()-from))
	}
	b = start.AppendFormat(b, "#EXT-X-PROGRAM-DATE-TIME:"+timeLayout+"\n")
	for n := from; n <= newest; n++ {
		changed := n > oldest && keys.upTo(&in, n, n)
		switch {
		case n > oldest && in.begins(n):
			b = in.appendDiscontinuity(b, &tl, rendition, n, keys.text)
		case changed:
			b = append(b, keys.text...)
		}
		b = inf.append(b, n)
		if n < tl.First() || in.Lost != nil && in.Lost(rendition, n) {
			b = append(b, "#EXT-X-GAP\n"...)
		}
		if in.keyFrames {
			b = append(b, live.KeyPrefix...)
		}
		b = append(appendInt(b, int64(n)), ".m4s\n"...)
	}
	if ended {
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
	same [maxExtinf]byte // the tag, where it is the same for every number,
	n    int             // and its length, else 0
}

const maxExtinf = len("#EXTINF:60.000000,\n")

func extinfOf(d live.Duration, tl *live.Timeline) extinf {
	e := extinf{tl: tl}
	if us := d.Ticks * 1_000_000; us%d.Timescale == 0 {
		e.n = len(appendExtinf(e.same[:0], us/d.Timescale))
	}
	return e
}

func (e *extinf) append(b []byte, n live.Number) []byte {
	if e.n > 0 {
		return append(b, e.same[:e.n]...)
	}
	if n < e.tl.First() {
		return appendExtinf(b, e.tl.Segment().Microseconds())
	}
	return appendExtinf(b, e.tl.End(n).UnixMicro()-e.tl.Start(n).UnixMicro())
}

func (e *extinf) len() int {
	if e.n > 0 {
		return e.n
	}
	return maxExtinf
}

// appendExtinf writes milliseconds, and microseconds where there are any.
func appendExtinf(b []byte, us int64) []byte {
	b = append(b, "#EXTINF:"...)
	b = append(appendInt(b, us/1_000_000), '.')
	width, frac := 6, us%1_000_000
	if frac%1000 == 0 {
		width, frac = 3, frac/1000
	}
	b = appendPadded(b, frac, width)
	return append(b, ",\n"...)
}

func appendPadded(b []byte, v int64, width int) []byte {
	at := len(b)
	for range width {
		b = append(b, '0')
	}
	for i := at + width - 1; i >= at; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
	return b
}

func digits(v int64) (n int) {
	for n = 1; v >= 10; v /= 10 {
		n++
	}
	return n
}

func appendInt(b []byte, v int64) []byte { return strconv.AppendInt(b, v, 10) }
