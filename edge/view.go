package edge

import (
	"encoding/json"
	"fmt"

	"headwater/live"
)

// A view is one state of an event's configuration. It is immutable.
type view struct {
	config     live.Config
	renditions map[string]*rendition
	json       []byte
	etag       string
}

type rendition struct {
	name     string
	timeline live.Timeline
}

func newView(body []byte, etag string) (*view, error) {
	v := &view{json: body, etag: etag, renditions: make(map[string]*rendition)}
	if err := json.Unmarshal(body, &v.config); err != nil {
		return nil, fmt.Errorf("edge: event configuration: %w", err)
	}
	for _, r := range v.config.Renditions {
		v.renditions[r.Name] = &rendition{r.Name, v.config.Timeline(r.Name)}
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
	if o.isReady() && o.err == nil {
		return v.withdrewAnswer(o.key.path, o.made, &o.source)
	}
	return v.withdrewAnswer(o.key.path, o.begun, nil)
}

// withdrewAnswer is the same for an answer that was made under a version. Where
// its source is not known, nil, it may be of any.
func (v *view) withdrewAnswer(p live.Path, made int64, from *live.Source) bool {
	list := v.config.Invalidations
	for i := range list {
		inv := &list[i]
		scope := inv.Scope
		source := live.Source{Pipeline: scope.Pipeline, Region: scope.Region}
		if from != nil {
			source = *from
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
