package live

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrPath is wrapped by every error about the form of a URL path.
var ErrPath = errors.New("live: path")

// PathReason is what is wrong with a path or a name, without the error's kind.
func PathReason(err error) string { return strings.TrimPrefix(err.Error(), ErrPath.Error()+": ") }

// A File says what a path names within an event.
type File uint8

// The files of an event.
const (
	FileSegment  File = iota // {rendition}/{number}.m4s
	FileInit                 // {rendition}/init.mp4
	FileMPD                  // manifest.mpd
	FileListed               // timeline.mpd
	FileHLS                  // main.m3u8
	FilePlaylist             // {rendition}/media.m3u8
	FileConfig               // event.json
	FileTimed                // {rendition}/t{time}.m4s: the segment of a media time in a MPD's timescale
	FileForeign              // publish only: a manifest or playlist of a packager's own
)

// Manifest reports whether it is a manifest or a playlist, which tell players what
// there is to play.
func (f File) Manifest() bool {
	return f == FileMPD || f == FileListed || f == FileHLS || f == FilePlaylist
}

// An EventID names an event: tenant and event name.
type EventID struct{ Tenant, Name string }

func (id EventID) String() string { return id.Tenant + "/" + id.Name }

// ParseEventID reads TENANT/EVENT.
func ParseEventID(s string) (EventID, error) {
	tenant, name, ok := strings.Cut(s, "/")
	if !ok || !ValidName(tenant) || !ValidName(name) {
		return EventID{}, fmt.Errorf("%w: event %q is not TENANT/EVENT with names of %s", ErrPath, s, namePattern)
	}
	return EventID{tenant, name}, nil
}

// A Path is a delivery URL: what a viewer or an edge asks for.
type Path struct {
	Event     EventID
	File      File
	Rendition string // FileSegment, FileInit, FilePlaylist
	Number    Number // FileSegment
	Time      int64  // FileTimed
}

// Names of files in URLs.
const (
	InitName     = "init.mp4"
	MPDName      = "manifest.mpd"
	ListedName   = "timeline.mpd"
	HLSName      = "main.m3u8"
	PlaylistName = "media.m3u8"
	ConfigName   = "event.json"
	segmentExt   = ".m4s"
)

// String is the URL path.
func (p Path) String() string {
	base := "/" + p.Event.Tenant + "/" + p.Event.Name + "/"
	switch p.File {
	case FileMPD:
		return base + MPDName
	case FileListed:
		return base + ListedName
	case FileHLS:
		return base + HLSName
	case FileConfig:
		return base + ConfigName
	case FileInit:
		return base + p.Rendition + "/" + InitName
	case FilePlaylist:
		return base + p.Rendition + "/" + PlaylistName
	case FileTimed:
		return base + p.Rendition + "/t" + strconv.FormatInt(p.Time, 10) + segmentExt
	}
	return base + p.Rendition + "/" + SegmentName(p.Number)
}

// SegmentName is the last part of a segment's URL.
func SegmentName(n Number) string { return strconv.FormatInt(int64(n), 10) + segmentExt }

// ParsePath reads a delivery URL path. The form is strict, without aliases (no
// leading zeros, no doubled slashes), since a cache would keep each alias.
func ParsePath(path string) (Path, error) {
	var p Path
	rest, err := p.Event.cut(path)
	if err != nil {
		return p, err
	}
	switch rest {
	case MPDName:
		p.File = FileMPD
		return p, nil
	case ListedName:
		p.File = FileListed
		return p, nil
	case HLSName:
		p.File = FileHLS
		return p, nil
	case ConfigName:
		p.File = FileConfig
		return p, nil
	}
	rendition, file, ok := strings.Cut(rest, "/")
	if !ok {
		return p, fmt.Errorf("%w: %q is not a file of an event: %s, %s, %s, %s or RENDITION/FILE", ErrPath, clip(rest), MPDName, ListedName, HLSName, ConfigName)
	}
	if !ValidName(rendition) {
		return p, fmt.Errorf("%w: rendition %q is not %s", ErrPath, clip(rendition), namePattern)
	}
	p.Rendition = rendition
	switch file {
	case InitName:
		p.File = FileInit
		return p, nil
	case PlaylistName:
		p.File = FilePlaylist
		return p, nil
	}
	if time, ok := strings.CutPrefix(file, "t"); ok {
		// The same digits as of a number, and no more of them.
		n, err := parseSegmentName(time)
		p.File, p.Time = FileTimed, int64(n)
		return p, err
	}
	p.File = FileSegment
	p.Number, err = parseSegmentName(file)
	return p, err
}

func (id *EventID) cut(path string) (rest string, err error) {
	s, ok := strings.CutPrefix(path, "/")
	if !ok {
		return "", fmt.Errorf("%w: %q does not begin with /", ErrPath, clip(path))
	}
	tenant, s, _ := strings.Cut(s, "/")
	name, s, ok := strings.Cut(s, "/")
	if !ok {
		return "", fmt.Errorf("%w: %q is not a path below /TENANT/EVENT", ErrPath, clip(path))
	}
	if !ValidName(tenant) {
		return "", fmt.Errorf("%w: tenant %q is not %s", ErrPath, clip(tenant), namePattern)
	}
	if !ValidName(name) {
		return "", fmt.Errorf("%w: event %q is not %s", ErrPath, clip(name), namePattern)
	}
	*id = EventID{tenant, name}
	return s, nil
}

func parseSegmentName(file string) (Number, error) {
	digits, ok := strings.CutSuffix(file, segmentExt)
	if !ok {
		return 0, fmt.Errorf("%w: file %q is not %s, %s or NUMBER%s", ErrPath, clip(file), InitName, PlaylistName, segmentExt)
	}
	if digits == "" || len(digits) > 16 {
		return 0, fmt.Errorf("%w: %q is not a segment number", ErrPath, clip(digits))
	}
	var n Number
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%w: %q is not a segment number", ErrPath, clip(digits))
		}
		n = n*10 + Number(c-'0')
	}
	if digits[0] == '0' && len(digits) > 1 {
		return 0, fmt.Errorf("%w: segment number %q has leading zeros: write %d (in ffmpeg, $Number$ without a width)", ErrPath, digits, n)
	}
	if n > MaxNumber {
		return 0, fmt.Errorf("%w: segment number %s is above %d", ErrPath, digits, int64(MaxNumber))
	}
	return n, nil
}

// A PublishPath is where a packager PUTs:
// /{tenant}/{event}/{pipeline}/{rendition}/{init.mp4 | number.m4s}.
type PublishPath struct {
	Event     EventID
	Pipeline  string
	Rendition string
	File      File // FileSegment, FileInit or FileForeign
	Number    Number
}

// String is the URL path. A FileForeign has none: it is empty.
func (p PublishPath) String() string {
	if p.File == FileForeign {
		return ""
	}
	base := "/" + p.Event.Tenant + "/" + p.Event.Name + "/" + p.Pipeline + "/" + p.Rendition + "/"
	if p.File == FileInit {
		return base + InitName
	}
	return base + SegmentName(p.Number)
}

// ParsePublishPath reads a publish URL path. A manifest or playlist anywhere
// below the event is FileForeign: packagers push their own, which are accepted
// and dropped. Of such a path only the event is checked; Pipeline is set where
// there is one.
func ParsePublishPath(path string) (PublishPath, error) {
	var p PublishPath
	rest, err := p.Event.cut(path)
	if err != nil {
		return p, err
	}
	if strings.HasSuffix(rest, ".mpd") || strings.HasSuffix(rest, ".m3u8") {
		p.File = FileForeign
		if pipeline, _, below := strings.Cut(rest, "/"); below && ValidName(pipeline) {
			p.Pipeline = pipeline
		}
		return p, nil
	}
	pipeline, rest, ok1 := strings.Cut(rest, "/")
	rendition, file, ok2 := strings.Cut(rest, "/")
	if !ok1 || !ok2 {
		return p, fmt.Errorf("%w: %q is not /TENANT/EVENT/PIPELINE/RENDITION/(%s or NUMBER%s)", ErrPath, clip(path), InitName, segmentExt)
	}
	if !ValidName(pipeline) {
		return p, fmt.Errorf("%w: pipeline %q is not %s", ErrPath, clip(pipeline), namePattern)
	}
	if !ValidName(rendition) {
		return p, fmt.Errorf("%w: rendition %q is not %s", ErrPath, clip(rendition), namePattern)
	}
	p.Pipeline, p.Rendition = pipeline, rendition
	if file == InitName {
		p.File = FileInit
		return p, nil
	}
	p.Number, err = parseSegmentName(file)
	return p, err
}

// clip bounds what an error repeats of what a stranger sent.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
