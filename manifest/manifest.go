// Package manifest writes what players read first: the MPD of DASH and the
// playlists of HLS. Everything here is a pure function of the event's
// configuration and a time, so that an origin and any number of edges write
// the same bytes without talking to each other.
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
	// learning is the same while an init segment is still missing.
	learning = time.Second
	// overdue is how long a media playlist may be cached when the next
	// segment should have been published already.
	overdue = 200 * time.Millisecond
)

// Input is all that a manifest is made of. The functions may be called from
// inside MPD, Multivariant and Media, at most once per rendition and segment;
// any of them may be nil.
type Input struct {
	// Config is the event as event.json carries it. Renditions without Codecs
	// are those whose init segment is not known yet.
	Config *live.Config
	// Now is the time of the answer.
	Now time.Time
	// Published is the newest number of a rendition that is published, as far
	// as is known. Without it the timeline's live edge stands for it.
	Published func(rendition string) (live.Number, bool)
	// Lost reports that a segment is known never to come (410). Players are
	// told to skip it.
	Lost func(rendition string, n live.Number) bool
	// Average is the measured average bit rate of a rendition in bits per
	// second, 0 where it is not known.
	Average func(rendition string) int64
}

// Lifetime is how long an answer with that file may be cached: FileMPD,
// FileHLS or, of one rendition, FilePlaylist. It is zero for other files.
func Lifetime(in Input, file live.File, rendition string) time.Duration {
	return 0
}

// margin is how long before it leaves the DVR window a segment leaves the
// manifests: time for an answer to age in caches, and for a player to fetch
// what it listed.
func margin(tl *live.Timeline) time.Duration {
	return min(max(4*tl.Segment(), 2*steady), tl.DVR()/4)
}
