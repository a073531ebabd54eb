package edge

import (
	"encoding/json"
	"fmt"

	"headwater/live"
)

// A view is one state of an event's configuration. It is immutable.
type view struct {
	config    live.Config
	timelines map[string]live.Timeline
	json      []byte
	etag      string
	changed   chan struct{} // closed when there is a newer one, or none any more
}

func newView(body []byte, etag string) (*view, error) {
	v := &view{json: body, etag: etag, timelines: make(map[string]live.Timeline), changed: make(chan struct{})}
	if err := json.Unmarshal(body, &v.config); err != nil {
		return nil, fmt.Errorf("edge: event configuration: %w", err)
	}
	for _, r := range v.config.Renditions {
		v.timelines[r.Name] = v.config.Timeline(r.Name)
	}
	if v.etag == "" {
		// There must be a name for it to ask for what comes after.
		v.etag = live.DigestOf(body).ETag()
	}
	return v, nil
}

// withdrew reports whether an invalidation since the object was made, or asked
// for, tells caches to drop it. It is looked at when the object is looked up,
// so that neither a fill under way nor one from a parent that lags can slip by.
func (v *view) withdrew(o *object) bool {
	list := v.config.Invalidations
	if len(list) == 0 {
		return false
	}
	ready := o.isReady() && o.err == nil
	for i := range list {
		inv := &list[i]
		scope, p, made := inv.Scope, o.key.path, o.begun
		source := live.Source{Pipeline: scope.Pipeline, Region: scope.Region} // it may be of any
		if ready {
			made, source = o.made, o.source
		}
		if made >= inv.Version {
			continue
		}
		switch p.File {
		case live.FileSegment:
			if scope.Holds(source.Pipeline, source.Region, p.Rendition, p.Number) {
				return true
			}
		case live.FileInit:
			// An init segment has no number: only a scope without a range holds it.
			if scope.From == 0 && scope.To == 0 && scope.Holds(source.Pipeline, source.Region, p.Rendition, 0) {
				return true
			}
		}
	}
	return false
}
