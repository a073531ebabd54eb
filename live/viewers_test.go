package live

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// TestViewers: who may watch goes over the wire, and what cannot be is named.
func TestViewers(t *testing.T) {
	event := func(viewers string) string {
		return `{"start": "2026-11-23T20:00:00Z", "pipelines": [{"name": "a"}], "renditions": [{"name": "v", "type": "video", "bandwidth": 1}], "viewers": ` + viewers + `}`
	}
	ev, err := ParseEvent([]byte(event(`{"tokens": true, "issuers": ["us"], "audience": "here", "origins": ["https://www.example", "http://localhost:3000"]}`)))
	if err != nil || !ev.NeedsToken() {
		t.Fatal(ev.Viewers, err)
	}
	b, err := json.Marshal(Config{Event: ev})
	if err != nil {
		t.Fatal(err)
	}
	var back Config
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back.Viewers, ev.Viewers) {
		t.Errorf("%s: %v", b, err)
	}
	if ev, err := ParseEvent([]byte(event("null"))); err != nil || ev.NeedsToken() {
		t.Error(ev.Viewers, err)
	}
	for viewers, field := range map[string]string{
		`{"token": true}`:                                         "token",
		`{"origins": ["https://www.example/"]}`:                   "viewers.origins[0]",
		`{"origins": ["https://a.example", "https://A.example"]}`: "viewers.origins[1]",
		`{"origins": ["https://a.example", "https://a.example"]}`: "viewers.origins[1]",
		`{"origins": ["*"]}`:                                      "viewers.origins[0]",
		`{"issuers": [""]}`:                                       "viewers.issuers[0]",
		`{"audience": "` + strings.Repeat("a", 257) + `"}`:        "viewers.audience",
	} {
		var f *FieldError
		if _, err := ParseEvent([]byte(event(viewers))); !errors.As(err, &f) || !strings.Contains(f.Field, field) {
			t.Errorf("%s: %v, want %s", viewers, err, field)
		}
	}
}
