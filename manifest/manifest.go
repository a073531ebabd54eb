// Package manifest writes what players read first: the MPD of DASH and the
// playlists of HLS. Everything here is a pure function of the event's
// configuration, what is known of its segments, and a time, so that an origin
// and any number of edges write the same without talking to each other.
//
// All URLs are relative to the manifest's own, so that any host and any prefix
// a CDN puts before the path works.
package manifest

import (
	"time"

	"headwater/live"
)

// The media types of what this package writes.
const (
	MPDType = "application/dash+xml"          // ISO/IEC 23009-1, annex C
	HLSType = "application/vnd.apple.mpegurl" // RFC 8216, section 10
)

const (
	// steady is how long a manifest may be cached, and after how long a DASH
	// player asks for it again, while nothing in it is about to change. An
	// operator's change of the event reaches players within twice this.
	steady = 10 * time.Second
	// learning is how long it may be cached while an init segment is missing.
	learning = time.Second
	// settling is how long after the first segment's deadline a manifest waits
	// for a rendition of each type.
	settling = 10 * time.Second
	// telling is steady of an MPD that says what viewers are told, and told how long it
	// may be cached.
	telling, told = 2 * time.Second, time.Second
	// overdue is how long a media playlist may be cached when the next
	// segment should have been published already.
	overdue = 200 * time.Millisecond
)

// Input is all that a manifest is made of. The functions are called from
// inside MPD, Multivariant and Media, Lost and Key up to once per listed segment. Each
// may be nil.
type Input struct {
	// Config is the event as event.json carries it, valid. Renditions without
	// Codecs are those whose init segment is not known yet.
	Config *live.Config
	// Now is the time of the answer.
	Now time.Time
	// Published is the newest number of a rendition that is published, as far
	// as is known. Without it the timeline's live edge stands for it.
	Published func(rendition string) (live.Number, bool)
	// Lost reports that a segment is known never to come (410). Players are
	// told to skip it.
	Lost func(rendition string, n live.Number) bool
	// Key is by which key a segment is encrypted, where that is known (nil: as its init
	// segment says).
	Key func(rendition string, n live.Number) (live.SegmentKey, bool)
	// Average is the measured average bit rate of renditions in bits per second,
	// where it is known.
	Average map[string]int64
	// Notifications are what viewers are told. From the first on players ask for MPDs
	// as often as they do for playlists.
	Notifications live.Notifications
	// DeltaUpdates says that whoever answers takes the query _HLS_skip=YES on
	// media playlists, and Skip that this request has it (RFC 8216bis,
	// 6.2.5.1). Such an answer is another one for caches.
	DeltaUpdates, Skip bool

	keyFrames bool // the playlist is that of key frames alone
}

// Lifetime is how long an answer may be cached that was made from the same
// input: the manifest of FileMPD or FileHLS, or the media playlist of one
// rendition, FilePlaylist. It is zero for other files. Where the function for
// the file gave an error, the error's own lifetime holds instead.
func Lifetime(in Input, file live.File, rendition string) time.Duration {
	tl := in.Config.Event.Timeline()
	switch file {
	case live.FileMPD:
		if !in.allKnown() {
			return learning
		}
		d := steadyOf(&in)
		// The MPD of a finished event is another one.
		if last, ok := tl.Last(); ok && !tl.Finished(in.Now) {
			return min(d, tl.Deadline(last).Sub(in.Now)+1)
		}
		return d
	case live.FileHLS:
		if !in.allKnown() {
			return learning
		}
		d := steady
		for _, g := range in.Config.Generations { // from then on it tells of its codecs
			if until := tl.Start(g.From).Sub(in.Now); until > 0 {
				d = min(d, until)
			}
		}
		return d
	case live.FilePlaylist:
		tl := in.Config.Timeline(rendition)
		newest := in.newest(&tl, rendition)
		if last, ok := tl.Last(); ok && newest >= last {
			return steady
		}
		// It changes when the next segment is published.
		if d := tl.Expected(newest + 1).Sub(in.Now); d > 0 {
			return min(d, tl.Segment())
		}
		return overdue
	case live.FileListed:
		d := steady
		for _, s := range group(in.Config.Renditions) {
			n, until := in.listedTo(s)
			if last, ok := tl.Last(); !ok || n < last {
				d = min(d, until.Sub(in.Now))
			}
		}
		if !in.allKnown() {
			d = min(d, learning)
		}
		return max(d, time.Millisecond)
	}
	return 0
}

// tells reports whether viewers were ever told of anything.
func (in *Input) tells() bool { return in.Notifications.Sequence > 0 }

// known reports whether players can be told of a rendition: its init segment
// has been published, so that they can be told what it takes to decode it.
func known(r *live.Rendition) bool { return r.Codecs != "" }

func (in *Input) allKnown() bool {
	for i := range in.Config.Renditions {
		if !known(&in.Config.Renditions[i]) {
			return false
		}
	}
	return true
}

// ready refuses a manifest that would lead players astray: few of them ever
// take up a type of media that was not there when they began. Without any
// video rendition there is no manifest of an event that has video; audio is
// waited for until well after the start, and then missed.
func (in *Input) ready(tl *live.Timeline) error {
	if in.unpublished(tl) {
		return errUnpublished
	}
	var of, have struct{ video, audio int }
	for i := range in.Config.Renditions {
		r := &in.Config.Renditions[i]
		n := 0
		if known(r) {
			n = 1
		}
		switch r.Type {
		case live.Video:
			of.video, have.video = of.video+1, have.video+n
		case live.Audio:
			of.audio, have.audio = of.audio+1, have.audio+n
		}
	}
	starting := in.Now.Before(tl.Deadline(tl.First()).Add(settling))
	switch {
	case of.video > 0 && have.video == 0:
		return live.ErrNoInit.With("no video rendition has been published yet")
	case of.audio > 0 && have.audio == 0 && (starting || have.video == 0):
		return live.ErrNoInit.With("no audio rendition has been published yet")
	}
	return nil
}

// errUnpublished is for an event of which nothing will be there any more. Its end may
// still be moved.
var errUnpublished = live.ErrGone.For(time.Minute).With("the event is over, and nothing of it was published")

// unpublished reports whether an event is over of which nothing was published.
func (in *Input) unpublished(tl *live.Timeline) bool {
	if in.Published == nil || !tl.Finished(in.Now) {
		return false
	}
	for i := range in.Config.Renditions {
		if _, ok := in.Published(in.Config.Renditions[i].Name); ok {
			return false
		}
	}
	return true
}

// newest is the newest number that a media playlist lists, at most one less
// than the first number when there is none.
//
// A listed segment must be there for immediate download (RFC 8216bis, 6.2.1),
// so that is what has been published, not what could be asked for and held: a
// player that polls gains nothing from a hold that a fresh playlist does not
// give it, and its measure of bandwidth would suffer. Numbers past their
// deadline are listed too, whatever became of them: they are lost, and a
// player must learn that it should go on without them.
func (in *Input) newest(tl *live.Timeline, rendition string) live.Number {
	if in.Published == nil {
		return tl.Edge(in.Now)
	}
	settled := tl.Edge(in.Now.Add(-tl.Budget() - 1))
	n, ok := in.Published(rendition)
	if !ok {
		return settled
	}
	if last, ok := tl.Last(); ok {
		n = min(n, last)
	}
	return max(n, settled)
}

// early refuses a list in which there is nothing before so long. An event's start may
// still be moved, so caches are to ask again as of any list.
func early(d time.Duration) error { return live.ErrEarly.For(min(d, steady)) }

// margin is how long before it leaves the DVR window a segment leaves the
// manifests: time for an answer to age in caches, and for a player to fetch
// what it listed.
func margin(tl *live.Timeline) time.Duration {
	return min(max(4*tl.Segment(), 2*steady), tl.DVR()/4)
}
