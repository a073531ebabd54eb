package origin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"headwater/live"
	"headwater/selection"
)

// A view is one state of an event's configuration, with all that is derived
// from it. It is immutable.
type view struct {
	ledger        ledger                   // what is stored of it
	record        eventRecord              // what that makes, with the lateness
	timelines     map[string]live.Timeline // by rendition, with its lateness
	json          []byte                   // event.json
	etag          string
	version       string        // Live-Version
	notifications string        // Live-Notifications; "" where there never were any
	changed       chan struct{} // closed when there is a newer one
}

// config is the live configuration of the view.
func (v *view) config() *live.Config { return &v.record.Config }

func newView(l ledger, rec eventRecord) (*view, error) {
	v := &view{ledger: l, record: rec, timelines: make(map[string]live.Timeline), changed: make(chan struct{})}
	cfg := &v.record.Config
	for _, r := range cfg.Renditions {
		v.timelines[r.Name] = cfg.Timeline(r.Name)
	}
	var err error
	if v.json, err = json.Marshal(cfg); err != nil {
		return nil, fmt.Errorf("origin: event configuration: %w", err)
	}
	v.json = append(v.json, '\n')
	sum := sha256.Sum256(v.json)
	v.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	v.version = strconv.FormatInt(cfg.Version, 10)
	if rec.Notifications.Sequence > 0 {
		if v.notifications, err = rec.Notifications.Header(); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// input is what selection among candidates for a slot of the view's timeline
// depends on, but for what is known of the slot's choice and of slots before it.
func (v *view) input(rendition string, n live.Number, cs []live.Candidate) selection.Input {
	tl, cfg := v.timelines[rendition], v.config()
	in := selection.Input{Order: cfg.Pipelines, Candidates: cs, End: tl.End(n), Decide: tl.Decide(n), Deadline: tl.Deadline(n),
		Patience: time.Duration(cfg.PatienceMS) * time.Millisecond, Settle: int(cfg.SettleSegments)}
	if len(cfg.Masks) > 0 {
		in.Masked = func(p live.Pipeline) bool { return v.masked(p, rendition, n) }
	}
	return in
}

// unmasked is what is left of a segment's candidates without those that are
// masked or whose pipeline the event does not have. It changes nothing.
func (v *view) unmasked(cs []live.Candidate, rendition string, n live.Number) []live.Candidate {
	out := func(c live.Candidate) bool {
		p, _, known := v.config().Pipeline(c.Pipeline)
		return !known || v.masked(p, rendition, n)
	}
	if !slices.ContainsFunc(cs, out) {
		return cs
	}
	return slices.DeleteFunc(slices.Clone(cs), out)
}

func (v *view) masked(p live.Pipeline, rendition string, n live.Number) bool {
	return slices.ContainsFunc(v.config().Masks, func(m live.Mask) bool { return m.Holds(p.Name, p.Region, rendition, n) })
}
