// Package cmaf reads CMAF (ISO/IEC 23000-19) init and media segments and says
// what is wrong with them: ParseInit, Inspect. It also takes a fragmented MP4
// stream apart (Reader) and makes single-track init segments and segments out
// of it (Init.Single, AppendSegment).
//
// It is pure: bytes in, bytes or findings out. It reads boxes and sample tables
// (ISO/IEC 14496-12), of the samples' data only what tells whether it is of the
// sample entry's kind, and allocates nothing in proportion to what a size field
// claims.
package cmaf

import (
	"errors"

	"headwater/live"
)

// ErrMalformed is wrapped by every error of this package that the bytes caused.
var ErrMalformed = errors.New("cmaf: malformed")

// ErrNotCMAF is wrapped where the bytes are not ISO BMFF at all, or an ISO
// file that is not fragmented (a progressive MP4, an MPEG transport stream).
var ErrNotCMAF = errors.New("cmaf: not CMAF")

// An Init is a parsed init segment.
type Init struct {
	Tracks []Track
}

// Track is the track with that ID, or nil.
func (i *Init) Track(id uint32) *Track {
	if i == nil {
		return nil
	}
	for n := range i.Tracks {
		if i.Tracks[n].ID == id {
			return &i.Tracks[n]
		}
	}
	return nil
}

// A Track is what an init segment says of one track.
type Track struct {
	ID        uint32
	Type      live.MediaType // video, audio, text; "" for other handlers
	Timescale uint32         // ticks per second of decode times and durations
	Codecs    string         // RFC 6381, e.g. avc1.64001f, mp4a.40.2, wvtt, stpp.ttml.im1t
	Language  string         // ISO 639-2/T or elng's BCP 47; "" when und
	Width     int            // video, pixels
	Height    int
	// SampleRate in Hz and Channels, audio only.
	SampleRate int
	Channels   int
	// ChannelConfig is the ChannelConfiguration of ISO/IEC 23091-3 and JOC the
	// complexity index of E-AC-3 with objects, audio only; 0 where not known.
	ChannelConfig, JOC int
	// SAR is the shape of a video sample (pasp), e.g. "4:3", and Color primaries,
	// transfer and matrix of ISO/IEC 23091-2 (colr, vpcC), e.g. "9-16-9"; ""
	// where not known.
	SAR, Color string
	// Bitrate is the larger of the maximum and the average that the track says it has
	// (btrt), in bits per second; 0 where it says nothing.
	Bitrate   int64
	Encrypted bool // a protected sample entry (encv, enca, ...): samples stay opaque
	// Of encrypted tracks: the scheme (ISO/IEC 23001-7, e.g. "cbcs"), the default key's
	// ID, which is zero where none is said, and what DRM systems take from the init
	// segment, its pssh boxes one behind the other.
	Scheme string
	KID    [16]byte
	PSSH   []byte
	// EventMessages says that samples hold event messages (ISO/IEC 23001-18, evte).
	EventMessages bool
	// Descriptions counts the sample entries: a fragment may refer to 1..Descriptions.
	Descriptions int
	// The defaults of trex (ISO/IEC 14496-12, 8.8.3).
	DefaultDescription, DefaultDuration, DefaultSize, DefaultFlags uint32
	// Config is the sample description box (stsd), whole: two init segments
	// are interchangeable when type, timescale and this agree. A subslice of
	// the bytes that were parsed.
	Config []byte
	// EditOffset is the media time at which presentation begins (elst), in the
	// track's timescale: presentation = decode + composition - EditOffset. 0
	// when there is no edit list.
	EditOffset int64

	codings []coding // of the sample entries, in their order
	open    []bool   // of them, which are not protected
	ivSize  int      // of each sample's initialization vector, encrypted tracks (tenc)
}

// A Sample is one entry of a fragment's sample table.
type Sample struct {
	Decode      int64 // decode time in the track's timescale
	Duration    uint32
	Size        uint32
	Composition int32 // composition offset
	Sync        bool
	Flags       uint32
	Description uint32 // sample entry, from 1
	Offset      int64  // of the sample's data, from the start of the bytes parsed
	// Aux is the sample's entry of senc (ISO/IEC 23001-7, 7.2): initialization
	// vector and subsamples. Encrypted tracks only; nil where there is none.
	Aux []byte
}
