package ingest

import (
	"errors"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"
)

// ErrManifest is wrapped by every error that a manifest or playlist caused.
var ErrManifest = errors.New("ingest: manifest")

// Bounds of what is read.
const (
	maxManifest = 4 << 20         // bytes
	maxTold     = 4 * maxManifest // of all manifests of one encoder
	maxDepth    = 24              // of elements
	maxElements = 200_000         // and lines of playlists
	maxListed   = 512             // streams of one manifest
)

// A manifest is what a manifest or a playlist that an encoder pushes says of its
// streams. Names are paths below where the encoder pushes to, as the manifest's own.
type manifest struct {
	size    int       // bytes
	start   time.Time // availabilityStartTime; zero where nothing is said
	ended   bool      // nothing more comes: type="static", EXT-X-ENDLIST
	streams []described
	// lists are the media playlists that a multivariant one names; their streams
	// are known only with them.
	lists []described
}

// described is one stream as a manifest describes it.
type described struct {
	id        string // @id of the Representation; of HLS the name of the playlist
	init      string // its init segment
	list      string // HLS: its media playlist
	language  string
	label     string
	bandwidth int64

	segment time.Duration // how long its segments are, 0: not said
	// Of DASH: when media time 0 is, after manifest.start.
	zero time.Duration
	// Of HLS: EXT-X-PROGRAM-DATE-TIME of its segments, by name.
	dates map[string]time.Time

	media *regexp.Regexp  // names of its segments, nil for none
	names map[string]bool // or all of them
}

// has reports whether a file is a segment of the stream.
func (d *described) has(name string) bool {
	return d.names[name] || d.media != nil && d.media.MatchString(name)
}

// resolve is the path that a reference in a manifest leads to; hosts are not looked
// at, since encoders are told one and write another. root is where they push to.
func resolve(root, from string, refs ...string) string {
	at := &url.URL{Path: "/" + from}
	for _, ref := range refs {
		u, err := url.Parse(ref)
		if err != nil {
			return ""
		}
		at = at.ResolveReference(&url.URL{Path: u.Path})
	}
	return strings.TrimPrefix(strings.TrimPrefix(path.Clean(at.Path), root), "/")
}

// template makes what matches names of a $...$ template (ISO/IEC 23009-1, 5.3.9.4.4)
// of one Representation.
func template(pattern, id, bandwidth string) *regexp.Regexp {
	var b strings.Builder
	b.WriteByte('^')
	for i, part := range strings.Split(pattern, "$") {
		name, _, _ := strings.Cut(part, "%")
		switch {
		case i%2 == 0:
			b.WriteString(regexp.QuoteMeta(part))
		case part == "":
			b.WriteString(`\$`)
		case name == "RepresentationID":
			b.WriteString(regexp.QuoteMeta(id))
		case name == "Bandwidth":
			b.WriteString(regexp.QuoteMeta(bandwidth))
		default:
			b.WriteString(`[0-9]+`)
		}
	}
	b.WriteByte('$')
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil
	}
	return re
}

// fill is a template with an id in it, for names without a number.
func fill(pattern, id, bandwidth string) string {
	return strings.NewReplacer("$RepresentationID$", id, "$Bandwidth$", bandwidth, "$$", "$").Replace(pattern)
}
