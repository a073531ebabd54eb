package live

import (
	"strings"
	"testing"
)

// What manifests hand on to players is looked at; what they do not is anybody's.
func TestAdBreakData(t *testing.T) {
	for _, tt := range []struct {
		kind, data string
		ok         bool
		says       string // of the error
	}{
		{TypeAdBreak, "", false, ""},
		{TypeAdBreak, "{}", false, ""},
		{TypeAdBreak, "not JSON", false, ""},
		{TypeAdBreak, `{"asset_uri":"https://x.example/a?b=c&d=e"}`, true, ""},
		{TypeAdBreak, `{"asset_list":"https://x.example/l.json","asset_mpd":"http://x.example/a.mpd","restrict":["skip"]}`, true, ""},
		{TypeAdBreak, `{"asset_uri":"/relative"}`, true, "asset_uri"},
		{TypeAdBreak, `{"asset_uri":"javascript:alert(1)"}`, true, "asset_uri"},
		{TypeAdBreak, `{"asset_mpd":"https://x.example/\"quote"}`, true, "asset_mpd"},
		{TypeAdBreak, `{"asset_mpd":"https://x.example/\nline"}`, true, "asset_mpd"},
		{TypeAdBreak, `{"asset_uri":"https://a.example","asset_list":"https://b.example"}`, true, "both"},
		{TypeAdBreak, `{"asset_uri":"https://a.example","restrict":["run"]}`, true, "run"},
		{"score", `{"asset_uri":"/relative"}`, false, ""},
		{TypeSCTE35Out, "\xfc0", false, "at least"},
		{TypeSCTE35, "{}", false, "0xFC"},
	} {
		n := Notification{Type: tt.kind, ID: "x", From: 1, Data: []byte(tt.data)}
		err := n.Validate()
		if (tt.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s %q: %v, want %q", tt.kind, tt.data, err, tt.says)
		}
		if _, ok := n.AdBreak(); ok != tt.ok {
			t.Errorf("%s %q: an ad break that names something: %v", tt.kind, tt.data, ok)
		}
	}
}
