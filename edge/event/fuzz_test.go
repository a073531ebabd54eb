package event

import (
	"encoding/json"
	"testing"
	"time"

	"headwater/live"
)

// A configuration of a parent is one, with a name, or an error.
func FuzzConfiguration(f *testing.F) {
	e := live.Default()
	e.Start = time.Unix(1_700_000_000, 0).UTC()
	e.Pipelines = []live.Pipeline{{Name: "a"}}
	e.Renditions = []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1}}
	b, err := json.Marshal(live.Config{Event: e, Version: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, `"1"`)
	f.Add([]byte(`{}`), "")
	f.Fuzz(func(t *testing.T, b []byte, etag string) {
		c, err := parse(b, etag)
		if err != nil {
			return
		}
		if c.ETag == "" || len(c.Renditions) == 0 {
			t.Errorf("%q: %+v", b, c)
		}
		for name, r := range c.Renditions {
			if r.Name != name || r.Timeline.Segment() <= 0 {
				t.Errorf("%q: %q is %+v", b, name, r)
			}
		}
	})
}
