package live

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of an event. They keep every product of the timeline's arithmetic
// inside 128 bits and every list inside memory.
const (
	MaxPipelines     = 16
	MaxRenditions    = 512
	MaxTicks         = 1_000_000_000
	MinSegment       = 100 * time.Millisecond
	MaxSegment       = time.Minute
	MaxFirstNumber   = 100_000_000_000_000 // so that every number fits an integer of RFC 9651
	maxMilliseconds  = 600_000
	maxPatienceMS    = 10_000
	maxJoinMS        = 60_000
	maxSettle        = 32 // as far back as selection looks
	maxWindowSeconds = 366 * 24 * 3600
	MaxSessionData   = 32
	maxSessionValue  = 1024 // bytes
	maxLabel         = 64   // bytes
	maxMatchName     = 128  // bytes
)

// An Event is the configuration of one live event, as the control API takes
// it. Times without a unit in their name are UTC instants.
type Event struct {
	// Start is the capture time of the first frame of segment FirstNumber.
	Start time.Time
	// End is when the event ends, or zero while it is not known. The segment
	// that holds the last instant before End is the last one.
	End time.Time
	// FirstNumber is the number of the first segment. Default 1.
	FirstNumber Number
	// Segment is the constant average segment duration. Default 2 s.
	Segment Duration
	// MediaTime says what decode time zero is. Default MediaUnix.
	MediaTime MediaEpoch
	// AllowanceMS is the time from a segment's last frame to its publication. Default 500.
	AllowanceMS int64
	// HoldMS is how long before its expected time a segment may be asked for
	// and the request held. Default 2000.
	HoldMS int64
	// BudgetMS is how long after its expected time a segment may still arrive
	// and be waited for. Default 2000.
	BudgetMS int64
	// DVRSeconds is how far back viewers may go. Default 14400.
	DVRSeconds int64
	// LiveWindowSeconds is how far behind the live edge still counts as live. Default 30.
	LiveWindowSeconds int64
	// PatienceMS bounds how long a clean segment of another pipeline waits for
	// that of the pipeline which served the segment before. With 0 the first
	// clean one in the order of Pipelines serves. Default 150.
	PatienceMS int64
	// SettleSegments is how many segments in a row a preferred pipeline must have
	// been clean and in time to serve again. Default 5.
	SettleSegments int64
	// JoinMS is how long those who join together are to take for it: when the event
	// begins, and after an outage. Default 0: nobody waits for another.
	JoinMS int64
	// OnLost says what viewers get in place of a segment that nobody published.
	// Default LostFill.
	OnLost LostPolicy
	// OnNewInit says what is done about an init segment that cannot stand in for the
	// one that viewers have. Default NewInitRefuse.
	OnNewInit NewInitPolicy
	// TimeURL is an absolute URL of some edge's or origin's /time, by which DASH
	// players set their clocks. Without it they get one that is relative to the MPD.
	TimeURL string
	// SessionData is said in HLS multivariant playlists.
	SessionData []SessionDatum
	// Pathways are where else viewers may have it, the first preferred. Default: there
	// is nowhere else.
	Pathways []Pathway
	// Viewers says who may watch. Default: anybody.
	Viewers *Viewers
	// DRM says how players get the keys of encrypted renditions.
	DRM []DRM
	// Pipelines in order of preference.
	Pipelines []Pipeline
	// Renditions in the order manifests list them.
	Renditions []Rendition
}

// A Duration is an exact length of time: Ticks over Timescale seconds.
type Duration struct {
	Ticks     int64 `json:"ticks"`
	Timescale int64 `json:"timescale"`
}

// A MediaEpoch says what decode time zero means.
type MediaEpoch string

// The media epochs.
const (
	MediaUnix  MediaEpoch = "unix"  // decode time 0 is 1970-01-01T00:00:00Z
	MediaStart MediaEpoch = "start" // decode time 0 is the event's start
)

// A LostPolicy says what is done about segments that nobody published in time.
type LostPolicy string

// The policies.
const (
	LostFill  LostPolicy = "fill"  // a segment that is made of one before it stands in
	LostGap   LostPolicy = "gap"   // 410, and EXT-X-GAP in playlists
	LostSlate LostPolicy = "slate" // a piece of a clip that an operator has given, or else as LostFill
)

// MaxFilled is how long after the last segment that was published others stand in
// for lost ones: longer than encoders take to begin anew, and no endless picture of
// what is over.
const MaxFilled = 2 * time.Minute

// A Pipeline is one of the redundant chains of encoder and packager.
type Pipeline struct {
	Name   string `json:"name"`
	Region string `json:"region,omitempty"`
}

// A SessionDatum is what EXT-X-SESSION-DATA says (RFC 8216bis, 4.4.6.4).
type SessionDatum struct {
	ID       string `json:"id"` // a reverse DNS name
	Value    string `json:"value"`
	Language string `json:"language,omitempty"`
}

// A Rendition is one encoding of the event. What an init segment tells may be
// left out of the configuration and is learnt from it.
type Rendition struct {
	Name      string    `json:"name"`
	Type      MediaType `json:"type"`
	Bandwidth int64     `json:"bandwidth"` // bits per second
	Language  string    `json:"language,omitempty"`

	Codecs     string `json:"codecs,omitempty"` // RFC 6381
	Width      int    `json:"width,omitempty"`  // pixels
	Height     int    `json:"height,omitempty"`
	FrameRate  string `json:"frame_rate,omitempty"` // "30" or "30000/1001"
	Timescale  int64  `json:"timescale,omitempty"`  // ticks per second
	SampleRate int    `json:"sample_rate,omitempty"`
	Channels   int    `json:"channels,omitempty"`
	// ChannelConfig is the ChannelConfiguration of ISO/IEC 23091-3, e.g. 6 for 5.1.
	ChannelConfig int `json:"channel_config,omitempty"`
	// JOC is the complexity index of E-AC-3 that carries objects.
	JOC int `json:"joc,omitempty"`
	// SAR is the shape of a sample, "1:1" or e.g. "4:3".
	SAR string `json:"sar,omitempty"`
	// Color has primaries, transfer and matrix of ISO/IEC 23091-2, e.g. "9-16-9".
	Color string `json:"color,omitempty"`

	// Scheme is how it is encrypted (ISO/IEC 23001-7), KID the UUID of its default key,
	// PSSH what DRM systems take from its init segment: pssh boxes one behind the
	// other, in base64. Of what is in the clear all are empty.
	Scheme string `json:"scheme,omitempty"`
	KID    string `json:"kid,omitempty"`
	PSSH   string `json:"pssh,omitempty"`

	// Role is what the track is for: one of Roles, or empty.
	Role Role `json:"role,omitempty"`
	// InbandEvents are the kinds of event messages that its segments have.
	InbandEvents EventSchemes `json:"inband_events,omitempty"`
	// KeyFrames has players of a video rendition offered its key frames alone, for fast
	// seeking and pictures of where one seeks to.
	KeyFrames bool `json:"key_frames,omitempty"`
	// Label is what people read where they choose a track.
	Label string `json:"label,omitempty"`
	// Match says which track of an encoder it is, where that sends more than one that
	// it could be.
	Match Match `json:"match,omitzero"`
}

// A Match is how a rendition is found among the tracks that an encoder sends under
// names of its own. What is empty fits all.
type Match struct {
	Name     string `json:"name,omitempty"`     // what the encoder calls it; * stands for any characters
	Language string `json:"language,omitempty"` // BCP 47
	Codec    string `json:"codec,omitempty"`    // how it begins (RFC 6381), as in ec-3
	Width    int    `json:"width,omitempty"`    // pixels
	Height   int    `json:"height,omitempty"`
}

func (m *Match) validate(at string) error {
	if m.Name != "" && !readable(m.Name, maxMatchName) {
		return badField(at+"name", "is not 1 to %d bytes of text without quotes and control characters", maxMatchName)
	}
	if m.Language != "" && !validLanguage(m.Language) {
		return badField(at+"language", "%q is not a BCP 47 tag", m.Language)
	}
	if !plain(m.Codec) {
		return badField(at+"codec", "%q is not the beginning of an RFC 6381 string", m.Codec)
	}
	if m.Width < 0 || m.Height < 0 || m.Width > 1<<16 || m.Height > 1<<16 {
		return badField(at+"width, height", "%d and %d are no size", m.Width, m.Height)
	}
	return nil
}

// A Role is what a track is for (ISO/IEC 23009-1, 5.8.5.5).
type Role string

// Roles are those that a rendition may have.
var Roles = []Role{"main", "alternate", "supplementary", "commentary", "dub", "description", "enhanced-audio-intelligibility",
	"sign", "caption", "subtitle", "forced-subtitle", "easyreader"}

// ColorCodes are the three codes of Color; ok is false where it has none.
func (r *Rendition) ColorCodes() (primaries, transfer, matrix int, ok bool) {
	parts := strings.Split(r.Color, "-")
	if len(parts) != 3 {
		return 0, 0, 0, false
	}
	var v [3]int
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil {
			return 0, 0, 0, false
		}
		v[i] = int(n)
	}
	return v[0], v[1], v[2], true
}

// Default returns an event with every default set and nothing that has none.
func Default() Event {
	return Event{
		FirstNumber: 1, Segment: Duration{Ticks: 2, Timescale: 1}, MediaTime: MediaUnix,
		AllowanceMS: 500, HoldMS: 2000, BudgetMS: 2000, DVRSeconds: 14400, LiveWindowSeconds: 30,
		PatienceMS: 150, SettleSegments: 5, OnLost: LostFill, OnNewInit: NewInitRefuse,
	}
}

// A FieldError says which field of a configuration is wrong, and why. Field is
// the JSON path, e.g. renditions[1].bandwidth.
type FieldError struct {
	Field, Reason string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

func badField(field, format string, a ...any) error {
	return &FieldError{Field: field, Reason: fmt.Sprintf(format, a...)}
}

// Validate returns a *FieldError for the first impossible value.
func (e *Event) Validate() error {
	if e.Start.IsZero() {
		return badField("start", "is required: the UTC time of the first frame, e.g. 2026-11-23T20:00:00Z")
	}
	// The arithmetic is in nanoseconds of a signed 64-bit Unix time.
	if y := e.Start.UTC().Year(); y < 1971 || y > 2200 {
		return badField("start", "year %d is outside 1971 to 2200", y)
	}
	if !e.End.IsZero() {
		if !e.End.After(e.Start) {
			return badField("end", "is not after start")
		}
		if e.End.UTC().Year() > 2200 {
			return badField("end", "year %d is after 2200", e.End.UTC().Year())
		}
	}
	if e.FirstNumber < 0 || e.FirstNumber > MaxFirstNumber {
		return badField("first_number", "%d is outside 0 to %d", e.FirstNumber, int64(MaxFirstNumber))
	}
	d := e.Segment
	switch {
	case d.Ticks < 1 || d.Ticks > MaxTicks:
		return badField("segment.ticks", "%d is outside 1 to %d", d.Ticks, MaxTicks)
	case d.Timescale < 1 || d.Timescale > MaxTicks:
		return badField("segment.timescale", "%d is outside 1 to %d", d.Timescale, MaxTicks)
	case d.Floor() < MinSegment || d.Floor() > MaxSegment:
		return badField("segment", "%d/%d s is outside %v to %v", d.Ticks, d.Timescale, MinSegment, MaxSegment)
	}
	if e.MediaTime != MediaUnix && e.MediaTime != MediaStart {
		return badField("media_time", "%q is neither \"unix\" nor \"start\"", e.MediaTime)
	}
	if e.OnLost != LostFill && e.OnLost != LostGap && e.OnLost != LostSlate {
		return badField("on_lost", "%q is neither \"fill\" nor \"gap\" nor \"slate\"", clip(string(e.OnLost)))
	}
	if e.OnNewInit != NewInitRefuse && e.OnNewInit != NewInitGeneration {
		return badField("on_new_init", "%q is neither \"refuse\" nor \"generation\"", clip(string(e.OnNewInit)))
	}
	for _, f := range []struct {
		name           string
		v, least, most int64
	}{
		{"allowance_ms", e.AllowanceMS, 0, maxMilliseconds},
		{"hold_ms", e.HoldMS, 0, maxMilliseconds},
		{"budget_ms", e.BudgetMS, 0, maxMilliseconds},
		{"dvr_seconds", e.DVRSeconds, 1, maxWindowSeconds},
		{"live_window_seconds", e.LiveWindowSeconds, 1, maxWindowSeconds},
		{"patience_ms", e.PatienceMS, 0, maxPatienceMS},
		{"settle_segments", e.SettleSegments, 0, maxSettle},
		{"join_ms", e.JoinMS, 0, maxJoinMS},
	} {
		if f.v < f.least || f.v > f.most {
			return badField(f.name, "%d is outside %d to %d", f.v, f.least, f.most)
		}
	}
	if e.DVRSeconds*1000 < e.AllowanceMS+e.BudgetMS {
		return badField("dvr_seconds", "%d s is shorter than allowance_ms and budget_ms together", e.DVRSeconds)
	}
	if err := e.Viewers.validate(); err != nil {
		return err
	}
	if err := e.validatePipelines(); err != nil {
		return err
	}
	if err := e.validateSigns(); err != nil {
		return err
	}
	if err := e.validatePathways(); err != nil {
		return err
	}
	if err := e.validateDRM(); err != nil {
		return err
	}
	return e.validateRenditions()
}

// validateSigns looks at what manifests say beside the media.
func (e *Event) validateSigns() error {
	if u, err := url.Parse(e.TimeURL); e.TimeURL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !plain(e.TimeURL)) {
		return badField("time_url", "%q is not an absolute http or https URL", clip(e.TimeURL))
	}
	if n := len(e.SessionData); n > MaxSessionData {
		return badField("session_data", "%d given, at most %d are possible", n, MaxSessionData)
	}
	for i, d := range e.SessionData {
		at := "session_data[" + strconv.Itoa(i) + "]."
		if d.ID == "" || !plain(d.ID) {
			return badField(at+"id", "%q is not a name like com.example.title", clip(d.ID))
		}
		if d.Value == "" || !readable(d.Value, maxSessionValue) {
			return badField(at+"value", "is not 1 to %d bytes of text without quotes and control characters", maxSessionValue)
		}
		if d.Language != "" && !validLanguage(d.Language) {
			return badField(at+"language", "%q is not a BCP 47 tag", d.Language)
		}
		if slices.ContainsFunc(e.SessionData[:i], func(o SessionDatum) bool { return o.ID == d.ID && o.Language == d.Language }) {
			return badField(at+"id", "%q is there twice in one language", d.ID)
		}
	}
	return nil
}

func (e *Event) validatePipelines() error {
	if n := len(e.Pipelines); n < 1 || n > MaxPipelines {
		return badField("pipelines", "%d given, 1 to %d are possible", n, MaxPipelines)
	}
	for i, p := range e.Pipelines {
		at := "pipelines[" + strconv.Itoa(i) + "]."
		if !ValidName(p.Name) {
			return badField(at+"name", "%q is not %s", p.Name, namePattern)
		}
		if p.Region != "" && !ValidName(p.Region) {
			return badField(at+"region", "%q is not %s", p.Region, namePattern)
		}
		if slices.ContainsFunc(e.Pipelines[:i], func(q Pipeline) bool { return q.Name == p.Name }) {
			return badField(at+"name", "%q is there twice", p.Name)
		}
	}
	return nil
}

func (e *Event) validateRenditions() error {
	if n := len(e.Renditions); n < 1 || n > MaxRenditions {
		return badField("renditions", "%d given, 1 to %d are possible", n, MaxRenditions)
	}
	for i, r := range e.Renditions {
		at := "renditions[" + strconv.Itoa(i) + "]."
		if !ValidName(r.Name) {
			return badField(at+"name", "%q is not %s", r.Name, namePattern)
		}
		if slices.ContainsFunc(e.Renditions[:i], func(q Rendition) bool { return q.Name == r.Name }) {
			return badField(at+"name", "%q is there twice", r.Name)
		}
		switch r.Type {
		case Video, Audio, Text:
		default:
			return badField(at+"type", "%q is not video, audio or text", r.Type)
		}
		if r.Bandwidth < 1 || r.Bandwidth > 1e12 {
			return badField(at+"bandwidth", "%d is outside 1 to 10^12 bits per second", r.Bandwidth)
		}
		if r.Language != "" && !validLanguage(r.Language) {
			return badField(at+"language", "%q is not a BCP 47 tag", r.Language)
		}
		if !plain(r.Codecs) {
			return badField(at+"codecs", "%q is not an RFC 6381 string", r.Codecs)
		}
		if r.FrameRate != "" && !validFrameRate(r.FrameRate) {
			return badField(at+"frame_rate", "%q is not a number like 30 or 30000/1001", r.FrameRate)
		}
		if err := r.InbandEvents.validate(at); err != nil {
			return err
		}
		if r.KeyFrames && r.Type != Video {
			return badField(at+"key_frames", "is of video, not of %s", r.Type)
		}
		if r.Role != "" && !slices.Contains(Roles, r.Role) {
			return badField(at+"role", "%q is none of %v", clip(string(r.Role)), Roles)
		}
		if r.Label != "" && !readable(r.Label, maxLabel) {
			return badField(at+"label", "is not 1 to %d bytes of text without quotes and control characters", maxLabel)
		}
		if err := r.validateProtection(at); err != nil {
			return err
		}
		if err := r.Match.validate(at + "match."); err != nil {
			return err
		}
		if _, _, _, ok := r.ColorCodes(); r.Color != "" && !ok {
			return badField(at+"color", "%q is not PRIMARIES-TRANSFER-MATRIX like 9-16-9", clip(r.Color))
		}
		if r.SAR != "" && !validRatio(r.SAR) {
			return badField(at+"sar", "%q is not a ratio like 4:3", clip(r.SAR))
		}
		for _, f := range []struct {
			name    string
			v, most int64
		}{
			{"width", int64(r.Width), 65535}, {"height", int64(r.Height), 65535},
			{"timescale", r.Timescale, 1<<32 - 1}, {"sample_rate", int64(r.SampleRate), 1 << 24},
			{"channels", int64(r.Channels), 255}, {"channel_config", int64(r.ChannelConfig), 63}, {"joc", int64(r.JOC), 255},
		} {
			if f.v < 0 || f.v > f.most {
				return badField(at+f.name, "%d is outside 0 to %d", f.v, f.most)
			}
		}
	}
	return nil
}

// Floor is the duration rounded down to nanoseconds.
func (d Duration) Floor() time.Duration {
	return time.Duration(mulDiv(uint64(d.Ticks), nsPerSecond, uint64(d.Timescale)))
}

// Pipeline returns the pipeline of that name and its place in the order.
func (e *Event) Pipeline(name string) (Pipeline, int, bool) {
	for i, p := range e.Pipelines {
		if p.Name == name {
			return p, i, true
		}
	}
	return Pipeline{}, 0, false
}

// Rendition returns the rendition of that name.
func (e *Event) Rendition(name string) (Rendition, bool) {
	for _, r := range e.Renditions {
		if r.Name == name {
			return r, true
		}
	}
	return Rendition{}, false
}

// HasKeyFrames reports whether players are offered the key frames of a rendition alone.
func (e *Event) HasKeyFrames(rendition string) bool {
	return slices.ContainsFunc(e.Renditions, func(r Rendition) bool { return r.KeyFrames && r.Name == rendition })
}

const namePattern = "[a-z0-9][a-z0-9-]{0,62}"

// ValidName reports whether s can name a tenant, event, pipeline, region or
// rendition: [a-z0-9][a-z0-9-]{0,62}.
func ValidName(s string) bool {
	if len(s) < 1 || len(s) > 63 || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func validLanguage(s string) bool {
	if len(s) > 35 {
		return false
	}
	for part := range strings.SplitSeq(s, "-") {
		if len(part) < 1 || len(part) > 8 {
			return false
		}
		for i := range len(part) {
			c := part[i] | 0x20
			if (c < 'a' || c > 'z') && (part[i] < '0' || part[i] > '9') {
				return false
			}
		}
	}
	return true
}

// plain reports whether s can stand in a header, a playlist attribute and an
// XML attribute as it is.
func plain(s string) bool {
	if len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte(`"<>&'\`, s[i]) >= 0 {
			return false
		}
	}
	return true
}

// readable reports whether s is text that can stand in a quoted string of a
// playlist, of 1 to most bytes.
func readable(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r == '"' || unicode.IsControl(r) })
}

func validRatio(s string) bool {
	a, b, ok := strings.Cut(s, ":")
	return ok && validFrameRate(a) && validFrameRate(b) && !strings.Contains(s, "/")
}

func validFrameRate(s string) bool {
	num, den, frac := strings.Cut(s, "/")
	n, err := strconv.ParseUint(num, 10, 32)
	if err != nil || n == 0 {
		return false
	}
	if !frac {
		return true
	}
	d, err := strconv.ParseUint(den, 10, 32)
	return err == nil && d > 0
}
