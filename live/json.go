package live

import (
	"encoding/json"
	"fmt"
	"time"
)

// eventJSON is the event on the wire. Times are strings here so that a bad one
// is reported with its field; numbers are pointers so that 0 is not a default.
type eventJSON struct {
	Start             *string        `json:"start"`
	End               *string        `json:"end"`
	FirstNumber       *Number        `json:"first_number"`
	Segment           *Duration      `json:"segment"`
	MediaTime         *MediaEpoch    `json:"media_time"`
	AllowanceMS       *int64         `json:"allowance_ms"`
	HoldMS            *int64         `json:"hold_ms"`
	BudgetMS          *int64         `json:"budget_ms"`
	DVRSeconds        *int64         `json:"dvr_seconds"`
	LiveWindowSeconds *int64         `json:"live_window_seconds"`
	PatienceMS        *int64         `json:"patience_ms"`
	SettleSegments    *int64         `json:"settle_segments"`
	JoinMS            *int64         `json:"join_ms,omitempty"`
	OnLost            *LostPolicy    `json:"on_lost"`
	OnNewInit         *NewInitPolicy `json:"on_new_init,omitempty"`
	TimeURL           *string        `json:"time_url,omitempty"`
	SessionData       []SessionDatum `json:"session_data,omitempty"`
	Pathways          []Pathway      `json:"pathways,omitempty"`
	Viewers           *Viewers       `json:"viewers,omitempty"`
	DRM               []DRM          `json:"drm,omitempty"`
	Pipelines         []Pipeline     `json:"pipelines"`
	Renditions        []Rendition    `json:"renditions"`
}

// configJSON is what GET returns: an event and what the origin adds.
type configJSON struct {
	eventJSON
	Version       int64            `json:"version"`
	FlushVersion  int64            `json:"flush_version,omitempty"`
	LatenessMS    map[string]int64 `json:"lateness_ms,omitempty"`
	Masks         []Mask           `json:"masks,omitempty"`
	Invalidations []Invalidation   `json:"invalidations,omitempty"`
	Generations   []Generation     `json:"generations,omitempty"`
	TakenBack     int              `json:"taken_back,omitempty"`
}

// putJSON is what PUT takes. What GET added is accepted and ignored, so that
// an operator can edit what GET returned and PUT it back.
type putJSON struct {
	eventJSON
	Version       json.RawMessage `json:"version"`
	FlushVersion  json.RawMessage `json:"flush_version"`
	LatenessMS    json.RawMessage `json:"lateness_ms"`
	Masks         json.RawMessage `json:"masks"`
	Invalidations json.RawMessage `json:"invalidations"`
	RefusedInits  json.RawMessage `json:"refused_inits"`
	Slates        json.RawMessage `json:"slates"`
	SlatesNeeded  json.RawMessage `json:"slates_needed"`
	Generations   json.RawMessage `json:"generations"`
	TakenBack     json.RawMessage `json:"taken_back"`
}

// ParseEvent reads an event strictly: unknown or repeated fields (letters count
// in their case), wrong types, trailing data and impossible values are refused
// with a *FieldError that names the field. Absent fields, and those that are
// null, get their defaults.
func ParseEvent(b []byte) (Event, error) {
	var w putJSON
	if err := ParseJSON(b, "event", &w); err != nil {
		return Event{}, err
	}
	e, err := w.event()
	if err != nil {
		return Event{}, err
	}
	return e, e.Validate()
}

func (w *eventJSON) event() (Event, error) {
	e := Default()
	var err error
	if e.Start, err = parseTime("start", w.Start); err != nil {
		return e, err
	}
	if e.End, err = parseTime("end", w.End); err != nil {
		return e, err
	}
	set(&e.FirstNumber, w.FirstNumber)
	set(&e.Segment, w.Segment)
	set(&e.MediaTime, w.MediaTime)
	set(&e.AllowanceMS, w.AllowanceMS)
	// Whoever has read one segment to its end may ask for the next at once.
	e.HoldMS = min(max(e.HoldMS, (e.Segment.Floor()+time.Millisecond-1).Milliseconds()+max(e.AllowanceMS, 0)), maxMilliseconds)
	set(&e.HoldMS, w.HoldMS)
	set(&e.BudgetMS, w.BudgetMS)
	set(&e.DVRSeconds, w.DVRSeconds)
	set(&e.LiveWindowSeconds, w.LiveWindowSeconds)
	set(&e.PatienceMS, w.PatienceMS)
	set(&e.SettleSegments, w.SettleSegments)
	set(&e.JoinMS, w.JoinMS)
	set(&e.OnLost, w.OnLost)
	set(&e.OnNewInit, w.OnNewInit)
	set(&e.TimeURL, w.TimeURL)
	e.SessionData = w.SessionData
	e.Pathways = w.Pathways
	e.Viewers = w.Viewers
	e.DRM = w.DRM
	e.Pipelines, e.Renditions = w.Pipelines, w.Renditions
	return e, nil
}

func set[T any](dst *T, v *T) {
	if v != nil {
		*dst = *v
	}
}

func parseTime(field string, s *string) (time.Time, error) {
	if s == nil {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, *s)
	if err != nil {
		return time.Time{}, badField(field, "%q is not an RFC 3339 time like 2026-11-23T20:00:00Z", *s)
	}
	if t.IsZero() { // would read as not given
		return t, badField(field, "year 1 is outside 1971 to 2200")
	}
	return t.UTC(), nil
}

func (e *Event) wire() eventJSON {
	start := e.Start.UTC().Format(time.RFC3339Nano)
	w := eventJSON{
		Start: &start, FirstNumber: &e.FirstNumber, Segment: &e.Segment, MediaTime: &e.MediaTime,
		AllowanceMS: &e.AllowanceMS, HoldMS: &e.HoldMS, BudgetMS: &e.BudgetMS,
		DVRSeconds: &e.DVRSeconds, LiveWindowSeconds: &e.LiveWindowSeconds,
		PatienceMS: &e.PatienceMS, SettleSegments: &e.SettleSegments, OnLost: &e.OnLost,
		Viewers: e.Viewers, DRM: e.DRM, SessionData: e.SessionData, Pathways: e.Pathways, Pipelines: e.Pipelines, Renditions: e.Renditions,
	}
	if e.JoinMS != 0 {
		w.JoinMS = &e.JoinMS
	}
	if e.OnNewInit != NewInitRefuse {
		w.OnNewInit = &e.OnNewInit
	}
	if e.TimeURL != "" {
		w.TimeURL = &e.TimeURL
	}
	if !e.End.IsZero() {
		end := e.End.UTC().Format(time.RFC3339Nano)
		w.End = &end
	}
	return w
}

// MarshalJSON writes the event with every field.
func (e Event) MarshalJSON() ([]byte, error) { return json.Marshal(e.wire()) }

// UnmarshalJSON reads leniently and without validation: for what this program
// wrote itself. ParseEvent is for what comes from outside.
func (e *Event) UnmarshalJSON(b []byte) error {
	var w eventJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	var err error
	*e, err = w.written()
	return err
}

// written is event of what this program wrote itself. From before there were
// policies segments that were lost left gaps, and go on to.
func (w *eventJSON) written() (Event, error) {
	if w.OnLost == nil {
		gap := LostGap
		w.OnLost = &gap
	}
	return w.event()
}

// A Config is the live event configuration: what event.json carries from
// origin to edges and players.
type Config struct {
	Event
	// Version grows with every change by an operator.
	Version int64
	// FlushVersion is the Version at the last flush: a cache keeps nothing
	// that it filled under a lower one.
	FlushVersion int64
	// LatenessMS is by rendition how much later than expected its segments
	// are published, as the origin measures it, in milliseconds.
	LatenessMS    map[string]int64
	Masks         []Mask
	Invalidations []Invalidation
	// Generations, by their index: see Generation.
	Generations []Generation
	// TakenBack is the highest index of a generation that was taken back before it began:
	// no other has it again.
	TakenBack int
}

// MarshalJSON writes one flat object: the event's fields and the config's own.
func (c Config) MarshalJSON() ([]byte, error) {
	return json.Marshal(configJSON{eventJSON: c.Event.wire(), Version: c.Version, FlushVersion: c.FlushVersion,
		LatenessMS: c.LatenessMS, Masks: c.Masks, Invalidations: c.Invalidations, Generations: c.Generations, TakenBack: c.TakenBack})
}

// UnmarshalJSON reads leniently (a newer origin may send more) but validates
// the event: an edge or a player builds a timeline from it.
func (c *Config) UnmarshalJSON(b []byte) error {
	var w configJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("live: event configuration: %w", err)
	}
	e, err := w.written()
	if err != nil {
		return err
	}
	*c = Config{Event: e, Version: w.Version, FlushVersion: w.FlushVersion,
		LatenessMS: w.LatenessMS, Masks: w.Masks, Invalidations: w.Invalidations, Generations: w.Generations, TakenBack: w.TakenBack}
	if err := e.Validate(); err != nil {
		return err
	}
	return c.ValidateGenerations()
}

// Timeline returns the timeline of one rendition: the event's, with the
// rendition's observed lateness.
func (c *Config) Timeline(rendition string) Timeline {
	ms := min(max(c.LatenessMS[rendition], -maxMilliseconds), maxMilliseconds)
	return c.Event.Timeline().Late(time.Duration(ms) * time.Millisecond)
}
