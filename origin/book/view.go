package book

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"headwater/live"
	"headwater/selection"
)

// A View is one state of an event's configuration, with all that is derived
// from it. It is immutable.
type View struct {
	ledger        ledger                   // what is stored of it
	Record        Record                   // what that makes, with the lateness
	Timelines     map[string]live.Timeline // by rendition, with its lateness
	JSON          []byte                   // event.json
	ETag          string
	Version       string        // Live-Version
	stamp         http.Header   // what each answer carries of it, shared and never changed,
	stampText     []byte        // and the same as fields of a head
	notifications string        // Live-Notifications; "" where there never were any
	Changed       chan struct{} // closed when there is a newer one
}

// Config is the live configuration of the view.
func (v *View) Config() *live.Config { return &v.Record.Config }

// ViewOf is the view of a record that is not stored: of what would be.
func ViewOf(rec Record) (*View, error) { return newView(ledger{}, rec) }

func newView(l ledger, rec Record) (*View, error) {
	v := &View{ledger: l, Record: rec, Timelines: make(map[string]live.Timeline), Changed: make(chan struct{})}
	cfg := &v.Record.Config
	for _, r := range cfg.Renditions {
		v.Timelines[r.Name] = cfg.Timeline(r.Name)
	}
	var err error
	if v.JSON, err = json.Marshal(cfg); err != nil {
		return nil, fmt.Errorf("origin: event configuration: %w", err)
	}
	v.JSON = append(v.JSON, '\n')
	sum := sha256.Sum256(v.JSON)
	v.ETag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	v.Version = strconv.FormatInt(cfg.Version, 10)
	if rec.Notifications.Sequence > 0 {
		if v.notifications, err = rec.Notifications.Header(); err != nil {
			return nil, err
		}
	}
	v.stamp = http.Header{live.HeaderVersion: {v.Version}}
	if v.notifications != "" {
		v.stamp[live.HeaderNotifications] = []string{v.notifications}
	}
	for name, values := range v.stamp {
		v.stampText = append(v.stampText, name+": "+values[0]+"\r\n"...)
	}
	return v, nil
}

// Stamp puts on an answer what each carries of the view.
func (v *View) Stamp(h http.Header) { maps.Copy(h, v.stamp) }

// Input is what selection among candidates for a slot of the view's timeline
// depends on, but for what is known of the slot's choice and of slots before it.
func (v *View) Input(rendition string, n live.Number, cs []live.Candidate) selection.Input {
	cs = v.fitting(cs, rendition, n)
	tl, cfg := v.Timelines[rendition], v.Config()
	in := selection.Input{Order: cfg.Pipelines, Candidates: cs, End: tl.End(n), Decide: tl.Decide(n), Deadline: tl.Deadline(n), Segment: tl.Segment(),
		Patience: time.Duration(cfg.PatienceMS) * time.Millisecond, Settle: int(cfg.SettleSegments)}
	if len(cfg.Masks) > 0 {
		in.Masked = func(p live.Pipeline) bool { return v.Masked(p, rendition, n) }
	}
	return in
}

// unmasked is what is left of a segment's candidates without those that are of
// another generation, masked or whose pipeline the event does not have. It changes nothing.
func (v *View) unmasked(cs []live.Candidate, rendition string, n live.Number) []live.Candidate {
	cs = v.fitting(cs, rendition, n)
	out := func(c live.Candidate) bool {
		p, _, known := v.Config().Pipeline(c.Pipeline)
		return !known || v.Masked(p, rendition, n)
	}
	if !slices.ContainsFunc(cs, out) {
		return cs
	}
	return slices.DeleteFunc(slices.Clone(cs), out)
}

// Masked reports whether a mask takes out a pipeline's candidate of a segment.
func (v *View) Masked(p live.Pipeline, rendition string, n live.Number) bool {
	return slices.ContainsFunc(v.Config().Masks, func(m live.Mask) bool { return m.Holds(p.Name, p.Region, rendition, n) })
}
