package live

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestPathways(t *testing.T) {
	for _, tt := range []struct {
		json, field string // "": it is valid
	}{
		{`[{"id": "a", "url": "https://a.example"}, {"id": "b", "url": "https://192.0.2.1"}, {"id": "c", "url": "https://[2001:db8::1]"}]`, ""},
		{`[{"id": "a", "url": "https://a.example"}, {"id": "b", "url": "http://b.example"}]`, "pathways[1].url"},
		{`[{"id": "a", "url": "https://a.example"}, {"id": "b", "url": "https://b.example:8443"}]`, "pathways[1].url"},
		{`[{"id": "A", "url": "https://a.example"}]`, "pathways[0].id"},
		{`[{"id": ".", "url": "https://a.example"}]`, "pathways[0].id"},
		{`[{"id": "a", "url": "https://a.example/"}]`, "pathways[0].url"},
		{`[{"id": "a", "url": "https://a.example/live"}]`, "pathways[0].url"},
		{`[{"id": "a", "url": "https://a.example?x"}]`, "pathways[0].url"},
		{`[{"id": "a", "url": "https://me@a.example"}]`, "pathways[0].url"},
		{`[{"id": "a", "url": "//a.example"}]`, "pathways[0].url"},
		{`[{"id": "a", "url": "ftp://a.example"}]`, "pathways[0].url"},
		{`[{"id": "a", "url": "https://:443"}]`, "pathways[0].url"},
		{`[{"id": "a", "url": "https://a.example"}, {"id": "a", "url": "https://b.example"}]`, "pathways[1].id"},
	} {
		e, err := ParseEvent(fmt.Appendf(nil, `{"start": "2026-11-23T20:00:00Z", "pathways": %s, "pipelines": [{"name": "a"}], "renditions": [{"name": "v", "type": "video", "bandwidth": 1}]}`, tt.json))
		var bad *FieldError
		switch {
		case tt.field == "" && err != nil, tt.field != "" && (!errors.As(err, &bad) || bad.Field != tt.field):
			t.Errorf("%s: %v", tt.json, err)
		case tt.field == "":
			b, _ := e.MarshalJSON()
			if again, err := ParseEvent(b); err != nil || !slices.Equal(again.Pathways, e.Pathways) || again.Pathways[1].Hostname() != "192.0.2.1" || again.Pathways[2].Hostname() != "[2001:db8::1]" {
				t.Errorf("%s: %v %v", b, again.Pathways, err)
			}
		}
	}
	e := Event{Pathways: make([]Pathway, MaxPathways+1)}
	if err := e.validatePathways(); err == nil {
		t.Error("too many pathways are valid")
	}
}
