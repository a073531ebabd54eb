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
	FileSegment  File = iota // {rendition}/{number}.m4s, {rendition}/k{number}.m4s
	FileInit                 // {rendition}/init.mp4, {rendition}/init.{generation}.mp4
	FileMPD                  // manifest.mpd
	FileListed               // timeline.mpd
	FileHLS                  // main.m3u8
	FilePlaylist             // {rendition}/media.m3u8, {rendition}/iframes.m3u8
	FileConfig               // event.json
	FileTimed                // {rendition}/t{time}.m4s: the segment of a media time in a MPD's timescale
	FileSteering             // steering.json
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

// Append appends String.
func (id EventID) Append(b []byte) []byte {
	return append(append(append(b, id.Tenant...), '/'), id.Name...)
}

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
	// Generation is that of a FileInit.
	Generation int
	// Key says that it is of the first key frame of a FileSegment alone, or the
	// FilePlaylist of those.
	Key bool
}

// Names of files in URLs.
const (
	InitName     = "init.mp4"
	MPDName      = "manifest.mpd"
	ListedName   = "timeline.mpd"
	HLSName      = "main.m3u8"
	PlaylistName = "media.m3u8"
	KeysName     = "iframes.m3u8"
	ConfigName   = "event.json"
	SteeringName = "steering.json"
	segmentExt   = ".m4s"
	// KeyPrefix stands before the number of a segment of which its key frame is asked for.
	KeyPrefix = "k"
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
	case FileSteering:
		return base + SteeringName
	case FileInit:
		return base + p.Rendition + "/" + InitFile(p.Generation)
	case FilePlaylist:
		if p.Key {
			return base + p.Rendition + "/" + KeysName
		}
		return base + p.Rendition + "/" + PlaylistName
	case FileTimed:
		return base + p.Rendition + "/t" + strconv.FormatInt(p.Time, 10) + segmentExt
	}
	base += p.Rendition + "/"
	if p.Key {
		base += KeyPrefix
	}
	return base + SegmentName(p.Number)
}

// SegmentName is the last part of a segment's URL.
func SegmentName(n Number) string { return strconv.FormatInt(int64(n), 10) + segmentExt }

// ParsePath reads a delivery URL path. The form is strict, without aliases (no
// leading zeros, no doubled slashes), since a cache would keep each alias.
func ParsePath(path string) (Path, error) {
	p, fault := ReadPath(path)
	return p, fault.err()
}

// ReadPath is ParsePath for those who answer very many requests: also what is wrong
// takes no memory.
func ReadPath(path string) (p Path, fault PathFault) {
	rest, fault := p.Event.cut(path)
	if fault.Is() {
		return p, fault
	}
	switch rest {
	case MPDName:
		p.File = FileMPD
		return p, fault
	case ListedName:
		p.File = FileListed
		return p, fault
	case HLSName:
		p.File = FileHLS
		return p, fault
	case ConfigName:
		p.File = FileConfig
		return p, fault
	case SteeringName:
		p.File = FileSteering
		return p, fault
	}
	rendition, file, ok := strings.Cut(rest, "/")
	if !ok {
		return Path{}, quoted("", rest, " is not a file of an event: "+MPDName+", "+ListedName+", "+HLSName+", "+ConfigName+", "+SteeringName+" or RENDITION/FILE")
	}
	if !ValidName(rendition) {
		return Path{}, quoted("rendition ", rendition, isNotName)
	}
	p.Rendition = rendition
	if file == PlaylistName || file == KeysName {
		p.File, p.Key = FilePlaylist, file == KeysName
		return p, fault
	}
	if generation, ok := parseInitFile(file); ok {
		p.File, p.Generation = FileInit, generation
		return p, fault
	}
	if time, ok := strings.CutPrefix(file, "t"); ok {
		// The same digits as of a number, and no more of them.
		p.File = FileTimed
		var n Number
		n, fault = readSegmentName(time)
		p.Time = int64(n)
	} else {
		p.File = FileSegment
		file, p.Key = strings.CutPrefix(file, KeyPrefix)
		p.Number, fault = readSegmentName(file)
	}
	if fault.Is() {
		return Path{}, fault
	}
	return p, fault
}

// A PathFault says what is wrong with a path. It lies in the path's bytes.
type PathFault struct {
	before string
	part   string // of the path
	bare   bool   // without quotes
	after  string
	right  string // how it would be right
	end    string
}

var maxNumberText = strconv.FormatInt(MaxNumber, 10)

const isNotName = " is not " + namePattern

func quoted(before, part, after string) PathFault {
	return PathFault{before: before, part: part, after: after}
}

// Is reports whether anything is wrong.
func (f PathFault) Is() bool { return f.after != "" }

// Append appends what is wrong.
func (f PathFault) Append(b []byte) []byte {
	b = append(b, f.before...)
	part, long := f.part, len(f.part) > clipped
	if long {
		part = part[:clipped]
	}
	if f.bare {
		b = append(b, part...)
	} else {
		b = strconv.AppendQuote(b, part)
	}
	if long {
		b = append(b[:len(b)-1], `..."`...)
	}
	return append(append(append(b, f.after...), f.right...), f.end...)
}

func (f PathFault) err() error {
	if !f.Is() {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrPath, f.Append(nil))
}

func (id *EventID) cut(path string) (rest string, fault PathFault) {
	s, ok := strings.CutPrefix(path, "/")
	if !ok {
		return "", quoted("", path, " does not begin with /")
	}
	tenant, s, _ := strings.Cut(s, "/")
	name, s, ok := strings.Cut(s, "/")
	if !ok {
		return "", quoted("", path, " is not a path below /TENANT/EVENT")
	}
	if !ValidName(tenant) {
		return "", quoted("tenant ", tenant, isNotName)
	}
	if !ValidName(name) {
		return "", quoted("event ", name, isNotName)
	}
	*id = EventID{tenant, name}
	return s, fault
}

func readSegmentName(file string) (n Number, fault PathFault) {
	digits, ok := strings.CutSuffix(file, segmentExt)
	if !ok {
		return 0, quoted("file ", file, " is not "+InitName+", "+PlaylistName+" or NUMBER"+segmentExt)
	}
	if digits == "" || len(digits) > 16 {
		return 0, quoted("", digits, " is not a segment number")
	}
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '9' {
			return 0, quoted("", digits, " is not a segment number")
		}
		n = n*10 + Number(c-'0')
	}
	if digits[0] == '0' && len(digits) > 1 {
		right := strings.TrimLeft(digits[:len(digits)-1], "0")
		return 0, PathFault{before: "segment number ", part: digits, after: " has leading zeros: write ", right: digits[len(digits)-1-len(right):], end: " (in ffmpeg, $Number$ without a width)"}
	}
	if n > MaxNumber {
		return 0, PathFault{before: "segment number ", part: digits, bare: true, after: " is above ", right: maxNumberText}
	}
	return n, fault
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
	rest, fault := p.Event.cut(path)
	if fault.Is() {
		return p, fault.err()
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
	p.Number, fault = readSegmentName(file)
	return p, fault.err()
}

// clipped is how much of what a stranger sent is repeated.
const clipped = 80

// clip bounds what an error repeats of what a stranger sent.
func clip(s string) string {
	if len(s) > clipped {
		return s[:clipped] + "..."
	}
	return s
}
